// Messages live in one buffer per thread; a message that does not fit is cut, never lost.

#include "runtime/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/crash.h"

enum { MESSAGE_BYTES = 8192 };
static _Thread_local char message[MESSAGE_BYTES];

int vj_status_exit_code(vj_status status)
{
    static const int code[VJ_STATUS_COUNT] = {
        [VJ_OK] = 0, [VJ_ERR_MISMATCH] = 1, [VJ_ERR_USAGE] = 2, [VJ_ERR_CONFIG] = 2, [VJ_ERR_DATA] = 65,
        [VJ_ERR_BUG] = 70, [VJ_ERR_NOMEM] = 71, [VJ_ERR_DEVICE] = 71, [VJ_ERR_IO] = 74, [VJ_ERR_CHECKPOINT] = 74,
        [VJ_ERR_STOPPED] = 75, [VJ_ERR_HANG] = 86, [VJ_ERR_NONFINITE] = 87,
    };
    return (unsigned)status < VJ_STATUS_COUNT ? code[status] : 70;
}

const char *vj_error_text(void) { return message; }
void vj_error_clear(void) { message[0] = '\0'; }

static bool positions_wanted(void)
{
    const char *level = getenv("VJ_LOG");
    return level && strcmp(level, "debug") == 0;
}

static void append(const char *fmt, va_list args)
{
    const size_t used = strlen(message);
    if (used + 1 < sizeof message) vsnprintf(message + used, sizeof message - used, fmt, args);
}

static void append_text(const char *fmt, ...) VJ_PRINTF(1, 2);
static void append_text(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    append(fmt, args);
    va_end(args);
}

vj_status vj_fail_at(const char *file, int line, const char *func, vj_status code, const char *fmt, ...)
{
    char made[MESSAGE_BYTES];   // arguments may point into the old message
    va_list args;
    va_start(args, fmt);
    vsnprintf(made, sizeof made, fmt, args);
    va_end(args);
    memcpy(message, made, sizeof message);
    if (positions_wanted()) append_text(" [%s:%d %s]", file, line, func);
    return code;
}

void vj_context_at(const char *file, int line, const char *func, const char *fmt, ...)
{
    append_text("\n  while ");
    va_list args;
    va_start(args, fmt);
    append(fmt, args);
    va_end(args);
    if (positions_wanted()) append_text(" [%s:%d %s]", file, line, func);
}

vj_status vj_fail_text(vj_status code, const char *text)
{
    const size_t n = strnlen(text, sizeof message - 1);
    memmove(message, text, n);   // `text` may be the message itself
    message[n] = '\0';
    return code;
}

void vj_bug_at(const char *file, int line, const char *func, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fprintf(stderr, "vjepa: bug: %s\n  at %s:%d in %s\n  please report this with the command and its log\n", text, file, line, func);
    if (message[0]) fprintf(stderr, "  last message: %s\n", message);
    vj_crash_report(text);
    fflush(NULL);
    _exit(70);
}
