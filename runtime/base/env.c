#include "runtime/base/env.h"

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

vj_status vj_env_check(void)
{
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
