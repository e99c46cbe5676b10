// Messages: made once, context added, cut when too long, one per thread; exit codes; bugs end the program with 70.

#include "runtime/base/status.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/support/scratch.h"

static vj_status inner(void) { VJ_FAIL(VJ_ERR_DATA, "clip has %d frames", 3); }
static vj_status middle(void)
{
    VJ_TRY_CTX(inner(), "decoding sample %d", 17);
    return VJ_OK;
}

static void context_is_added_on_the_way_up(void **state)
{
    (void)state;
    unsetenv("VJ_LOG");
    assert_int_equal(middle(), VJ_ERR_DATA);
    vj_context("filling batch %d", 8);
    assert_string_equal(vj_error_text(), "clip has 3 frames\n  while decoding sample 17\n  while filling batch 8");
    assert_int_equal(vj_fail(VJ_ERR_IO, "again: %s", vj_error_text()), VJ_ERR_IO);   // may quote the old message
    assert_string_equal(vj_error_text(), "again: clip has 3 frames\n  while decoding sample 17\n  while filling batch 8");
    vj_error_clear();
    assert_string_equal(vj_error_text(), "");
    assert_int_equal(vj_fail_text(VJ_ERR_NOMEM, "50%s"), VJ_ERR_NOMEM);   // a text, not a format
    assert_string_equal(vj_error_text(), "50%s");
    assert_int_equal(vj_fail_text(VJ_ERR_IO, vj_error_text() + 1), VJ_ERR_IO);   // may be a part of itself
    assert_string_equal(vj_error_text(), "0%s");
}

static void debug_says_where(void **state)
{
    (void)state;
    setenv("VJ_LOG", "debug", 1);
    assert_int_equal(middle(), VJ_ERR_DATA);
    unsetenv("VJ_LOG");
    assert_non_null(strstr(vj_error_text(), "test_status.c:"));
    assert_non_null(strstr(vj_error_text(), "inner]"));
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    char lengthy[20000];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    assert_int_equal(vj_fail(VJ_ERR_IO, "head %s", lengthy), VJ_ERR_IO);
    for (int i = 0; i < 100; i++) vj_context("%s", lengthy);
    assert_true(strncmp(vj_error_text(), "head xxx", 8) == 0);
    assert_in_range(strlen(vj_error_text()), 1000, 19999);
}

static void *other_thread(void *seen)
{
    *(bool *)seen = vj_error_text()[0] == '\0' && vj_fail(VJ_ERR_IO, "of the other thread") == VJ_ERR_IO;
    return NULL;
}

static void messages_belong_to_their_thread(void **state)
{
    (void)state;
    bool was_empty = false;
    pthread_t thread;
    assert_int_equal(vj_fail(VJ_ERR_IO, "of this thread"), VJ_ERR_IO);
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &was_empty), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(was_empty);
    assert_string_equal(vj_error_text(), "of this thread");
}

static void exit_codes(void **state)
{
    (void)state;
    static const int want[VJ_STATUS_COUNT] = { 0, 1, 2, 2, 65, 70, 71, 71, 74, 74, 75, 86, 87 };
    for (int s = 0; s < VJ_STATUS_COUNT; s++) assert_int_equal(vj_status_exit_code((vj_status)s), want[s]);
    assert_int_equal(vj_status_exit_code((vj_status)1000), 70);
}

static void a_bug_ends_with_70(void **state)
{
    (void)state;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipe_ends[1], 2);
        VJ_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    close(pipe_ends[1]);
    char text[2000];
    size_t n = 0;
    for (ssize_t k; (k = read(pipe_ends[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)k;
    text[n] = '\0';
    close(pipe_ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 70);
    assert_non_null(strstr(text, "assertion failed: 1 + 1 == 3"));
    assert_non_null(strstr(text, "test_status.c:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_is_added_on_the_way_up),
        cmocka_unit_test(debug_says_where),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(messages_belong_to_their_thread),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(a_bug_ends_with_70),
    };
    return cmocka_run_group_tests_name("runtime/status", tests, NULL, NULL);
}
