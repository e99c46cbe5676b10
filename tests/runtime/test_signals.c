// Signals: every case is a child process, since handlers and requests belong to a whole process and are never taken back.

#include "runtime/base/signals.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/support/scratch.h"

static char said[2000];   // what the last child wrote to stderr

// Runs `body` in a child that has installed the handlers; returns its wait status.
static int in_child(int (*body)(int), int argument)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 2);
        alarm(60);   // a child that hangs fails the test instead of holding it
        const struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        for (int s = 1; s < 32; s++) signal(s, SIG_DFL);   // cmocka's own handlers
        if (vj_signals_install() != VJ_OK) _exit(97);
        _exit(body(argument));
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t k; (k = read(ends[0], said + n, sizeof said - 1 - n)) > 0;) n += (size_t)k;
    said[n] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void expect_exit(int status, int code)
{
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code) {
        fail_msg("exit code %d was expected, the wait status is 0x%x; stderr: %s", code, (unsigned)status, said);
    }
}

static int request_by(int signal)
{
    if (vj_stop_requested() || strcmp(vj_stop_reason(), "") != 0) return 1;
    raise(signal);
    if (!vj_stop_requested()) return 2;
    const char *want = signal == SIGUSR2 ? "SIGUSR2" : signal == SIGTERM ? "SIGTERM" : "SIGINT";
    if (strcmp(vj_stop_reason(), want) != 0) return 3;
    raise(signal == SIGUSR2 ? SIGTERM : SIGUSR2);   // the first reason stays, and nothing ends the process
    vj_stop_request("stop file");
    return strcmp(vj_stop_reason(), want) == 0 ? 0 : 4;
}

static void stops_are_requests(void **state)
{
    (void)state;
    expect_exit(in_child(request_by, SIGUSR2), 0);
    expect_exit(in_child(request_by, SIGTERM), 0);
    expect_exit(in_child(request_by, SIGINT), 0);
    assert_string_equal(said, "");
}

static int many_terms(int count)
{
    for (int i = 0; i < count; i++) raise(SIGTERM);   // schedulers repeat themselves
    return vj_stop_requested() ? 0 : 1;
}

static int interrupts_after(int first)
{
    if (first) raise(first);
    raise(SIGINT);
    if (!vj_stop_requested()) return 1;
    raise(SIGINT);
    return 2;   // not reached
}

static void a_second_interrupt_leaves(void **state)
{
    (void)state;
    expect_exit(in_child(many_terms, 5), 0);
    expect_exit(in_child(interrupts_after, 0), 130);
    expect_exit(in_child(interrupts_after, SIGTERM), 130);
}

static int by_name(int unused)
{
    (void)unused;
    char lengthy[300];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    vj_stop_request(lengthy);   // cut, not overflowing
    if (!vj_stop_requested() || strncmp(vj_stop_reason(), "xxxx", 4) != 0 || strlen(vj_stop_reason()) > 63) return 1;
    vj_stop_request("later");
    return strncmp(vj_stop_reason(), "xxxx", 4) == 0 ? 0 : 2;
}

static void a_request_may_have_a_name(void **state)
{
    (void)state;
    expect_exit(in_child(by_name, 0), 0);
}

// A system call in progress is not disturbed: data is read whole although a request arrives in between.
static int fds[2];
static void *write_later(void *reader)
{
    usleep(20000);
    pthread_kill(*(pthread_t *)reader, SIGUSR2);
    usleep(20000);
    return write(fds[1], "x", 1) == 1 ? NULL : reader;
}
static int reading(int unused)
{
    (void)unused;
    pthread_t self = pthread_self(), other;
    char byte = 0;
    if (pipe(fds) != 0 || pthread_create(&other, NULL, write_later, &self) != 0) return 1;
    const ssize_t n = read(fds[0], &byte, 1);
    pthread_join(other, NULL);
    return n == 1 && byte == 'x' && vj_stop_requested() ? 0 : 2;
}

// A reader of our output that has gone is an error of the write, not the end of the process.
static int to_nobody(int unused)
{
    (void)unused;
    int ends[2];
    if (pipe(ends) != 0) return 1;
    close(ends[0]);
    return write(ends[1], "x", 1) == -1 ? 0 : 2;
}

static void calls_go_on(void **state)
{
    (void)state;
    expect_exit(in_child(reading, 0), 0);
    expect_exit(in_child(to_nobody, 0), 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static int crash_by(int signal)
{
    raise(signal);
    return 0;
}

static int touch(int unused)
{
    (void)unused;
    *(volatile int *)(uintptr_t)8 = 1;
    return 0;
}

static int deeper(int depth)
{
    volatile char frame[4096];
    memset((void *)(uintptr_t)frame, depth, sizeof frame);
    return depth == -1 ? 0 : deeper(depth + 1) + frame[17];
}

static void a_crash_is_a_bug_of_ours(void **state)
{
    (void)state;
    static const struct { int number; const char *name; } crash[] = {
        { SIGSEGV, "SIGSEGV" }, { SIGBUS, "SIGBUS" }, { SIGFPE, "SIGFPE" }, { SIGABRT, "SIGABRT" },
    };
    for (size_t i = 0; i < sizeof crash / sizeof crash[0]; i++) {
        char want[200];
        expect_exit(in_child(crash_by, crash[i].number), 70);
        vj_format(want, sizeof want, "vjepa: bug: crashed with %s; please report this with the command and its log\n", crash[i].name);
        assert_string_equal(said, want);   // one line
    }
    expect_exit(in_child(touch, 0), 70);
    assert_non_null(strstr(said, "SIGSEGV"));
    expect_exit(in_child(deeper, 0), 70);   // the handler has a stack of its own
    assert_non_null(strstr(said, "SIGSEGV"));
}
#else
static void a_crash_is_a_bug_of_ours(void **state)
{
    (void)state;   // the sanitizer reports crashes itself, so the handlers are not installed in these profiles
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_are_requests),
        cmocka_unit_test(a_second_interrupt_leaves),
        cmocka_unit_test(a_request_may_have_a_name),
        cmocka_unit_test(calls_go_on),
        cmocka_unit_test(a_crash_is_a_bug_of_ours),
    };
    return cmocka_run_group_tests_name("runtime/signals", tests, NULL, NULL);
}
