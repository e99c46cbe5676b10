// A scratch folder per test program, and checks that print the error text.
#ifndef VJ_TESTS_SUPPORT_SCRATCH_H
#define VJ_TESTS_SUPPORT_SCRATCH_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/file.h"
#include "runtime/base/str.h"

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        vj_status ok_ = (call);                                                                                        \
        if (ok_ != VJ_OK) fail_msg("%s: %s", #call, vj_error_text());                                                  \
    } while (0)
// The same, short enough to stand before long calls.
#define OK(call) assert_ok(call)
// Fails with this status, and its message holds `part`.
#define assert_fails(call, status, part)                                                                               \
    do {                                                                                                               \
        vj_status got_ = (call);                                                                                       \
        assert_int_equal(got_, status);                                                                                \
        if (strstr(vj_error_text(), part) == NULL) fail_msg("'%s' is not in: %s", part, vj_error_text());              \
    } while (0)

// Group fixtures: *state is the folder's path.
static inline int scratch_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    char *dir = malloc(4096);
    vj_format(dir, 4096, "%s/vjepa-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(dir) == NULL) return -1;
    *state = dir;
    return 0;
}

static inline int scratch_teardown(void **state)
{
    const int rc = vj_dir_remove(*state) == VJ_OK ? 0 : -1;
    free(*state);
    return rc;
}

#endif
