#include "runtime/base/env.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/str.h"

extern char **environ;

// Without a meaning: of no use to people.
static const struct { const char *name, *values, *meaning; } known[] = {
    { "VJ_LOG", "debug|info|warn|error", "least level of messages; debug adds file and line to errors" },
    { "VJ_CPU", "portable|avx2|avx512", "lowers the choice of kernels; never above what the CPU has" },
    { "VJ_FAULT", NULL, NULL },         // runtime/base/fault.h
    { "VJ_FAULT_TRACE", NULL, NULL },
    { "VJ_FAULT_DISK", NULL, NULL },
    { "VJ_BUILD", NULL, NULL },         // set by the tests: their build folder
};
enum { KNOWN = sizeof known / sizeof known[0] };

const char *vj_env_variable(int index, const char **values, const char **meaning)
{
    for (int i = 0; i < KNOWN; i++) {
        if (!known[i].meaning || index-- > 0) continue;
        *values = known[i].values;
        *meaning = known[i].meaning;
        return known[i].name;
    }
    return NULL;
}

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
        const char *names[KNOWN + 1] = { NULL };
        for (int i = 0; i < KNOWN; i++) {
            names[i] = known[i].name;
            found = found || strcmp(known[i].name, name) == 0;
        }
        if (found) continue;
        const char *near = vj_nearest(name, names);
        VJ_FAIL(VJ_ERR_USAGE, "%s: unknown environment variable%s%s%s; unset it", name, near ? " (did you mean " : "", near ? near : "",
                near ? "?)" : "");
    }
    return VJ_OK;
}
