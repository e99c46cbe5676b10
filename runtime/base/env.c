#include "runtime/base/env.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/str.h"

extern char **environ;

static const char *const known[] = {
    "VJ_LOG",           // debug | info | warn | error
    "VJ_CPU",           // portable | avx2 | avx512: lowers the choice of kernels
    "VJ_FAULT",         // runtime/base/fault.h
    "VJ_FAULT_TRACE",
    "VJ_BUILD",         // set by the tests: their build folder
    NULL,
};

// A value that would be passed over in silence is an error too. VJ_FAULT is checked where it is read.
static vj_status check_value(const char *name, const char *const *values, const char *expected)
{
    const char *value = getenv(name);
    if (!value || !*value) return VJ_OK;
    for (; *values; values++) {
        if (strcmp(*values, value) == 0) return VJ_OK;
    }
    VJ_FAIL(VJ_ERR_USAGE, "%s=%.60s: %s was expected; unset it", name, value, expected);
}

vj_status vj_env_check(void)
{
    VJ_TRY(check_value("VJ_LOG", (const char *const[]){ "debug", "info", "warn", "error", NULL }, "debug, info, warn or error"));
    VJ_TRY(check_value("VJ_CPU", (const char *const[]){ "portable", "avx2", "avx512", NULL }, "portable, avx2 or avx512"));
    for (char **e = environ; *e; e++) {
        if (!vj_str_starts(*e, "VJ_") || vj_str_starts(*e, "VJ_TEST_")) continue;
        char name[64];
        const size_t length = strcspn(*e, "=");
        if (length >= sizeof name) VJ_FAIL(VJ_ERR_USAGE, "%.60s...: unknown environment variable", *e);
        vj_format(name, sizeof name, "%.*s", (int)length, *e);
        bool found = false;
        for (int i = 0; known[i]; i++) found = found || strcmp(known[i], name) == 0;
        if (found) continue;
        const char *near = vj_nearest(name, known);
        VJ_FAIL(VJ_ERR_USAGE, "%s: unknown environment variable%s%s%s; unset it", name, near ? " (did you mean " : "", near ? near : "",
                near ? "?)" : "");
    }
    return VJ_OK;
}
