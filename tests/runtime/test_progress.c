// Log lines and progress: plain lines in a file, a bar on a terminal that log lines wipe, nothing for short work. The clock is
// the test's own, so nothing waits.

#include "runtime/log/progress.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "runtime/log/log.h"
#include "tests/support/scratch.h"

static double monotonic = 1000;

// Stands before the C library's: vj_now reads this one.
int clock_gettime(clockid_t id, struct timespec *out)
{
    if (id != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, id, out);
    out->tv_sec = (time_t)monotonic;
    out->tv_nsec = (long)((monotonic - (double)out->tv_sec) * 1e9);
    return 0;
}

static int real_stderr = -1;
static void stderr_to(int fd)
{
    if (real_stderr < 0) real_stderr = dup(2);
    assert_int_equal(dup2(fd, 2), 2);
}
static void stderr_back(void) { assert_int_equal(dup2(real_stderr, 2), 2); }

static const char *read_all(int fd, bool from_start)
{
    static char text[20000];
    size_t n = 0;
    ssize_t got;
    if (from_start) assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    while (n < sizeof text - 1 && (got = read(fd, text + n, sizeof text - 1 - n)) > 0) n += (size_t)got;
    text[n] = '\0';
    return text;
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) n++;
    return n;
}

static void plain_lines_in_a_file(void **state)
{
    char path[4200];
    vj_path_join(path, sizeof path, *state, "err");
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    stderr_to(fd);
    vj_progress_update(1, NULL);   // nothing runs
    vj_progress_start("train", 100, "steps");
    for (int i = 1; i <= 100; i++) {
        monotonic += 1;
        vj_progress_update(i, "loss 0.5");
    }
    vj_progress_stop();
    vj_progress_update(1, NULL);
    vj_progress_start("quick", 10, "files");   // under two seconds: nothing
    for (int i = 1; i <= 10; i++) {
        monotonic += 0.19;
        vj_progress_update(i, NULL);
    }
    vj_progress_stop();
    stderr_back();
    const char *text = read_all(fd, true);
    assert_int_equal(count(text, "\n"), 3);   // 100 s, one line every 30
    assert_int_equal(count(text, "\r"), 0);
    assert_int_equal(count(text, "\033"), 0);
    assert_int_equal(count(text, "quick"), 0);
    if (!strstr(text, "train 30 of 100 steps, 1 a second, ") || !strstr(text, "loss 0.5")) fail_msg("%s", text);
    close(fd);
}

static void a_resumed_run_counts_from_where_it_began(void **state)
{
    char path[4200];
    vj_path_join(path, sizeof path, *state, "err");
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    stderr_to(fd);
    vj_progress_start("train", 1000, "steps");
    for (int i = 901; i <= 931; i++) {
        monotonic += 1;
        vj_progress_update(i, NULL);
    }
    vj_progress_stop();
    stderr_back();
    const char *text = read_all(fd, true);
    if (!strstr(text, "930 of 1000 steps, 1 a second")) fail_msg("%s", text);
    close(fd);
}

static void a_bar_on_a_terminal(void **state)
{
    (void)state;
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) skip();   // no terminals here
    const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0) skip();
    stderr_to(slave);
    vj_progress_start("train", 10, "steps");
    assert_false(vj_progress_is_terminal());   // nothing is drawn yet
    for (int i = 1; i <= 5; i++) {
        monotonic += 1;
        vj_progress_update(i, "loss 0.5");
    }
    const bool drawn = vj_progress_is_terminal();
    vj_log(VJ_WARN, "data", "a message");
    vj_progress_stop();
    const bool after = vj_progress_is_terminal();
    vj_log(VJ_INFO, "data", "later");
    stderr_back();
    assert_true(drawn);
    assert_false(after);
    const char *text = read_all(master, false);
    if (!strstr(text, "train [############............] 5/10 steps  1/s")) fail_msg("%s", text);
    assert_int_equal(count(text, "5/10 steps"), 1);
    const char *message = strstr(text, "data WARN a message\r\n"), *later = strstr(text, "data later");
    assert_non_null(message);
    assert_non_null(later);
    // The bar's line is wiped before the message, and when the work stops; later lines stand alone.
    assert_memory_equal(message - 4 - 9, "\r\033[K", 4);
    assert_memory_equal(later - 4 - 9, "\r\033[K", 4);
    close(slave);
    close(master);
}

static void log_lines(void **state)
{
    char path[4200], log[4200];
    vj_path_join(path, sizeof path, *state, "err");
    vj_path_join(log, sizeof log, *state, "log.txt");
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    const int64_t warnings = vj_log_warnings();
    char lengthy[6000];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    stderr_to(fd);
    vj_log_level_set(VJ_WARN);
    vj_log(VJ_INFO, "data", "not this");
    vj_log(VJ_ERROR, "data", "but this");
    vj_log_level_set(VJ_INFO);
    const vj_status opened = vj_log_file(log);
    vj_log(VJ_INFO, "data", "%s", lengthy);   // cut, still one line
    vj_log(VJ_WARN, "train", "in both");
    const vj_status closed = vj_log_file(NULL);
    vj_log(VJ_INFO, "data", "only here");
    stderr_back();
    assert_ok(opened);
    assert_ok(closed);
    assert_int_equal(vj_log_warnings() - warnings, 2);
    const char *text = read_all(fd, true);
    assert_int_equal(count(text, "\n"), 4);
    assert_null(strstr(text, "not this"));
    assert_non_null(strstr(text, " data ERROR but this\n"));
    assert_non_null(strstr(text, "xxx\n"));
    assert_non_null(strstr(text, " train WARN in both\n"));
    close(fd);
    char *file = NULL;
    assert_ok(vj_file_read(log, &file, NULL, 0));
    assert_int_equal(count(file, "\n"), 2);
    assert_non_null(strstr(file, " train WARN in both\n"));
    free(file);
    vj_path_join(log, sizeof log, *state, "missing/log.txt");
    assert_fails(vj_log_file(log), VJ_ERR_IO, log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lines_in_a_file),
        cmocka_unit_test(a_resumed_run_counts_from_where_it_began),
        cmocka_unit_test(a_bar_on_a_terminal),
        cmocka_unit_test(log_lines),
    };
    return cmocka_run_group_tests_name("runtime/progress", tests, scratch_setup, scratch_teardown);
}
