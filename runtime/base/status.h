// Errors. A function that can fail returns vj_status and makes its message where the thing happened; callers add
// context on the way up; the command line prints the text once and turns the status into an exit code.
//
//   world is wrong (file, configuration, memory, device)   return VJ_FAIL(...)
//   our own rule is broken                                 VJ_ASSERT(...): message, exit code 70
//   odd but survivable (one bad sample)                    vj_log(VJ_WARN, ...) and a counter
#ifndef VJ_RUNTIME_BASE_STATUS_H
#define VJ_RUNTIME_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vj_status {
    VJ_OK = 0,
    VJ_ERR_MISMATCH,     // exit 1: a comparison or verification failed, a result is incomplete
    VJ_ERR_USAGE,        // exit 2: command line
    VJ_ERR_CONFIG,       // exit 2: configuration, another run's or another model's files
    VJ_ERR_DATA,         // exit 65: content of data
    VJ_ERR_BUG,          // exit 70: we broke our own rule
    VJ_ERR_NOMEM,        // exit 71: memory
    VJ_ERR_DEVICE,       // exit 71: device or communication
    VJ_ERR_IO,           // exit 74: storage
    VJ_ERR_CHECKPOINT,   // exit 74: a checkpoint that cannot be read or written
    VJ_ERR_STOPPED,      // exit 75: stopped on request, resumable
    VJ_ERR_HANG,         // exit 86
    VJ_ERR_NONFINITE,    // exit 87
    VJ_STATUS_COUNT
} vj_status;

#define VJ_MUST_CHECK __attribute__((warn_unused_result))
#define VJ_PRINTF(fmt_index, first_index) __attribute__((format(printf, fmt_index, first_index)))

// The exit code of contracts section 6 for a status.
int vj_status_exit_code(vj_status status);

// This thread's last message with its context lines ("" after vj_error_clear). Lines are joined by "\n  ".
// With VJ_LOG=debug each line also says file:line.
const char *vj_error_text(void);
void vj_error_clear(void);

// Makes a message (replacing the last one) and returns `code`.
vj_status vj_fail_at(const char *file, int line, const char *func, vj_status code, const char *fmt, ...) VJ_PRINTF(5, 6);
// Appends "while ..." to the message.
void vj_context_at(const char *file, int line, const char *func, const char *fmt, ...) VJ_PRINTF(4, 5);
// Takes over a message made on another thread (copied from that thread's vj_error_text()).
vj_status vj_fail_text(vj_status code, const char *text);
// Prints the message with file:line, flushes, and leaves with exit code 70.
void vj_bug_at(const char *file, int line, const char *func, const char *fmt, ...) VJ_PRINTF(4, 5)
    __attribute__((noreturn));

#define vj_fail(code, ...) vj_fail_at(__FILE__, __LINE__, __func__, (code), __VA_ARGS__)
#define vj_context(...) vj_context_at(__FILE__, __LINE__, __func__, __VA_ARGS__)
#define VJ_FAIL(code, ...) return vj_fail_at(__FILE__, __LINE__, __func__, (code), __VA_ARGS__)
#define VJ_CHECK(cond, code, ...)                                                                                      \
    do {                                                                                                               \
        if (!(cond)) VJ_FAIL(code, __VA_ARGS__);                                                                       \
    } while (0)
#define VJ_TRY(call)                                                                                                   \
    do {                                                                                                               \
        vj_status try_ = (call);                                                                                       \
        if (try_ != VJ_OK) return try_;                                                                                \
    } while (0)
#define VJ_TRY_CTX(call, ...)                                                                                          \
    do {                                                                                                               \
        vj_status try_ = (call);                                                                                       \
        if (try_ != VJ_OK) {                                                                                           \
            vj_context(__VA_ARGS__);                                                                                   \
            return try_;                                                                                               \
        }                                                                                                              \
    } while (0)
// For functions with one clean-up label and a local `status`.
#define VJ_TRY_GOTO(call, label)                                                                                       \
    do {                                                                                                               \
        status = (call);                                                                                               \
        if (status != VJ_OK) goto label;                                                                               \
    } while (0)
// Stays on in release builds; not for kernels.
#define VJ_ASSERT(cond)                                                                                                \
    do {                                                                                                               \
        if (!(cond)) vj_bug_at(__FILE__, __LINE__, __func__, "assertion failed: %s", #cond);                           \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
