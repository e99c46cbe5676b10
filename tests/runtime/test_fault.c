// The fault shim: a child dies or fails at the named point of an atomic write; the file is the old one or the new one.
// The variables are read once per process, so every case is a child, and this process reaches no point before it.

#include "runtime/base/fault.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "runtime/base/clock.h"
#include "runtime/base/env.h"
#include "tests/support/scratch.h"

static char file[4200], trace[4200];

// Exit status of a child that replaces `file` (which holds "old") by "new" under VJ_FAULT=fault.
static int write_under(const char *fault)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(fputs("old", f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("VJ_FAULT", fault, 1);
        setenv("VJ_FAULT_TRACE", trace, 1);
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        const vj_status status = vj_file_write_atomic(file, "new", 3);
        if (status == VJ_OK) _exit(0);
        _exit(strstr(vj_error_text(), "No space left") ? vj_status_exit_code(status) : 98);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void expect_content(const char *want)
{
    char text[16] = "";   // not by vj_file_read: reads are points too
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, want);
}

static int64_t files_in(const char *dir)
{
    char **names;
    int64_t count;
    assert_ok(vj_dir_list(dir, &names, &count));
    vj_names_free(&names, count);
    return count;
}

static int setup(void **state)
{
    if (scratch_setup(state) != 0) return -1;
    char dir[4200];
    vj_path_join(dir, sizeof dir, *state, "dir");
    if (vj_dir_create(dir) != VJ_OK) return -1;
    vj_path_join(file, sizeof file, dir, "file");
    vj_path_join(trace, sizeof trace, *state, "trace");
    return 0;
}

static const struct { const char *point; bool after; } points[] = {
    { "create", false }, { "pwrite", false }, { "fsync", false }, { "rename", false }, { "fsync_dir", true },
};

static void a_kill_leaves_old_or_new(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        char fault[64];
        vj_format(fault, sizeof fault, "kill@%s:1", points[i].point);
        const int status = write_under(fault);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        expect_content(points[i].after ? "new" : "old");
    }
}

static void a_failure_leaves_no_rest(void **state)
{
    char dir[4200];
    vj_path_join(dir, sizeof dir, *state, "dir");
    assert_ok(vj_dir_remove(dir));   // what the killed ones left
    assert_ok(vj_dir_create(dir));
    for (size_t i = 0; i < 5; i++) {
        char fault[64];
        vj_format(fault, sizeof fault, "fail@%s:1", points[i].point);
        const int status = write_under(fault);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 74);
        expect_content(points[i].after ? "new" : "old");
        assert_int_equal(files_in(dir), 1);
    }
    assert_int_equal(WEXITSTATUS(write_under("short@pwrite:1")), 74);
    expect_content("old");
    assert_int_equal(files_in(dir), 1);
}

// Half of a write comes to the disk before it is full.
static void a_short_write_leaves_half(void **state)
{
    char path[4200];
    vj_path_join(path, sizeof path, *state, "half");
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("VJ_FAULT", "short@pwrite:2", 1);
        int fd = -1;
        if (vj_io_create(&fd, path) != VJ_OK || vj_io_pwrite(fd, "abcd", 4, 0, path) != VJ_OK) _exit(98);
        _exit(vj_status_exit_code(vj_io_pwrite(fd, "efgh", 4, 4, path)));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 74);
    FILE *f = fopen(path, "r");
    char text[16] = "";
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, "abcdef");
}

static void a_slow_disk_takes_its_time(void **state)
{
    char path[4200];
    vj_path_join(path, sizeof path, *state, "slow");
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("VJ_FAULT_DISK", "10000", 1);
        int fd = -1;
        const double began = vj_now();
        static const char data[1000];
        if (vj_io_create(&fd, path) != VJ_OK) _exit(98);
        for (int i = 0; i < 2; i++) {
            if (vj_io_pwrite(fd, data, sizeof data, 1000 * i, path) != VJ_OK) _exit(97);
        }
        _exit(vj_now() - began >= 0.2 ? 0 : 1);   // never faster than that; slower is the machine's affair
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void only_the_nth_time_and_point(void **state)
{
    (void)state;
    static const char *const passing[] = { "kill@pwrite:2", "kill@elsewhere:1", "fail@fsyn:1", "slow0.001@pwrite:1", "" };
    for (size_t i = 0; i < 5; i++) {
        const int status = write_under(passing[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        expect_content("new");
    }
}

static void malformed_ones_end_with_2(void **state)
{
    (void)state;
    static const char *const bad[] = { "kill", "kill@", "kill@pwrite", "kill@pwrite:0", "kill@pwrite:x", "kill@:1", "die@pwrite:1", "short@fsync:1", "eio@read", "eio@read:0", "eio@read[]:1",
                                       "eio@read[a:1", "eio@reads:1", "stallx@read:1", "enoent@read:1", "short@read:1++", "slow@pwrite:1", "slow0@pwrite:1",
                                       "slow1@:1", "slow1@pwrite:0" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const int status = write_under(bad[i]);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 2) fail_msg("VJ_FAULT=%s was not refused", bad[i]);
        expect_content("old");
    }
}

static void a_trace_that_cannot_be_written_ends_with_2(void **state)
{
    char kept[4200];
    memcpy(kept, trace, sizeof kept);
    vj_path_join(trace, sizeof trace, *state, "missing/trace");
    const int status = write_under("");
    memcpy(trace, kept, sizeof trace);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    expect_content("old");
}

static void the_trace_names_points_and_paths(void **state)
{
    (void)state;
    if (unlink(trace) != 0) fail_msg("no trace was written");
    assert_int_equal(write_under(""), 0);
    char *text = NULL, want[4300];
    assert_ok(vj_file_read(trace, &text, NULL, 0));
    static const char *const order[] = { "create ", "pwrite ", "fsync ", "rename ", "fsync_dir " };
    const char *line = text;
    for (int i = 0; i < 5; i++) {
        assert_true(vj_str_starts(line, order[i]));
        line = strchr(line, '\n') + 1;
    }
    assert_string_equal(line, "");
    vj_format(want, sizeof want, "rename %s\n", file);
    assert_non_null(strstr(text, want));
    free(text);
}

static void unknown_variables_are_errors(void **state)
{
    (void)state;
    unsetenv("VJ_LOG");
    assert_ok(vj_env_check());
    setenv("VJ_TEST_ANYTHING", "1", 1);
    setenv("NOTVJ_LGO", "1", 1);
    setenv("VJ_LOG", "info", 1);
    assert_ok(vj_env_check());
    setenv("VJ_LOG", "loud", 1);
    assert_fails(vj_env_check(), VJ_ERR_USAGE, "VJ_LOG=loud: debug, info, warn or error was expected");
    unsetenv("VJ_LOG");
    setenv("VJ_CPU", "mmx", 1);
    assert_fails(vj_env_check(), VJ_ERR_USAGE, "VJ_CPU=mmx: portable, avx2 or avx512 was expected");
    unsetenv("VJ_CPU");
    setenv("VJ_LGO", "debug", 1);
    assert_fails(vj_env_check(), VJ_ERR_USAGE, "VJ_LGO: unknown environment variable (did you mean VJ_LOG?)");
    unsetenv("VJ_LGO");
    setenv("VJ_", "", 1);
    assert_fails(vj_env_check(), VJ_ERR_USAGE, "VJ_");
    unsetenv("VJ_");
    setenv("VJ_A_NAME_THAT_IS_FAR_TOO_LONG_FOR_ANY_VARIABLE_OF_OURS_AND_MUST_NOT_OVERFLOW_ANYTHING", "1", 1);
    assert_fails(vj_env_check(), VJ_ERR_USAGE, "unknown environment variable");
    unsetenv("VJ_A_NAME_THAT_IS_FAR_TOO_LONG_FOR_ANY_VARIABLE_OF_OURS_AND_MUST_NOT_OVERFLOW_ANYTHING");
    assert_ok(vj_env_check());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_leaves_old_or_new),
        cmocka_unit_test(a_failure_leaves_no_rest),
        cmocka_unit_test(a_short_write_leaves_half),
        cmocka_unit_test(a_slow_disk_takes_its_time),
        cmocka_unit_test(only_the_nth_time_and_point),
        cmocka_unit_test(malformed_ones_end_with_2),
        cmocka_unit_test(a_trace_that_cannot_be_written_ends_with_2),
        cmocka_unit_test(the_trace_names_points_and_paths),
        cmocka_unit_test(unknown_variables_are_errors),
    };
    return cmocka_run_group_tests_name("runtime/fault", tests, setup, scratch_teardown);
}
