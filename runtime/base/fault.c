// The fault shim (see the header). Parsed once; counting is atomic since several threads may write.

#include "runtime/base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/str.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool active;
static char wanted[64];
static int64_t wanted_count;
static bool kills, breaks;
static atomic_int_fast64_t reached;
static int trace = -1;

static void malformed(const char *text)
{
    fprintf(stderr, "vjepa: error: VJ_FAULT=%s: expected kill@POINT:N, fail@POINT:N or bug@POINT:N with N from 1\n", text);
    _exit(2);
}

static void parse(void)
{
    const char *fault = getenv("VJ_FAULT"), *file = getenv("VJ_FAULT_TRACE");
    if (fault && *fault) {
        kills = vj_str_starts(fault, "kill@");
        breaks = vj_str_starts(fault, "bug@");
        const char *point = fault + (breaks ? 4 : 5), *colon = strrchr(fault, ':');
        if ((!kills && !breaks && !vj_str_starts(fault, "fail@")) || !colon || colon - point < 1 || (size_t)(colon - point) >= sizeof wanted ||
            !vj_parse_i64(colon + 1, &wanted_count) || wanted_count < 1) {
            malformed(fault);
        }
        memcpy(wanted, point, (size_t)(colon - point));
        active = true;
    }
    if (file && *file) {
        trace = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (trace < 0) {   // a trace that is silently empty would let a test pass
            fprintf(stderr, "vjepa: error: VJ_FAULT_TRACE=%s: cannot be written: %s\n", file, strerror(errno));
            _exit(2);
        }
        active = true;
    }
}

bool vj_fault_point(const char *point, const char *path)
{
    pthread_once(&once, parse);
    if (!active) return false;
    if (trace >= 0) {
        char line[1200];
        const int n = snprintf(line, sizeof line, "%s %s\n", point, path ? path : "");
        if (n > 0 && write(trace, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0) trace = -1;
    }
    if (!wanted[0] || strcmp(point, wanted) != 0) return false;
    if (atomic_fetch_add(&reached, 1) + 1 != wanted_count) return false;
    if (kills) {
        kill(getpid(), SIGKILL);
        pause();
    }
    if (breaks) vj_bug_at(__FILE__, __LINE__, __func__, "injected at %s (%s)", point, path ? path : "");
    return true;
}
