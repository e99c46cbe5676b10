// The lock of a run directory: many at once, the dead, the reused pid, other machines, garbage, crashes half-way, a stolen lock.

#include "jobs/train/run_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fault.h"
#include "runtime/log/log.h"
#include "tests/support/scratch.h"

static char dir[512];

static void new_dir(const char *scratch, const char *name)
{
    vj_path_join(dir, sizeof dir, scratch, name);
    assert_ok(vj_dir_remove(dir));
    assert_ok(vj_dir_create(dir));
}

static const char *in(const char *name)
{
    static char path[640];
    vj_path_join(path, sizeof path, dir, name);
    return path;
}

static void aged(const char *name, int seconds)
{
    struct timespec t[2];
    clock_gettime(CLOCK_REALTIME, &t[0]);
    t[0].tv_sec -= seconds;
    t[1] = t[0];
    assert_int_equal(utimensat(AT_FDCWD, in(name), t, 0), 0);
}

static void put(const char *name, const char *text, int age)
{
    FILE *f = fopen(in(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    aged(name, age);
}

static char *text_of(const char *name)
{
    char *text = NULL;
    assert_ok(vj_file_read(in(name), &text, NULL, 0));
    return text;
}

// A lock as another machine's process would write it; `token`: one digit, repeated.
static void put_foreign(const char *name, const char *host, char token, int age)
{
    char text[400], digits[33];
    memset(digits, token, 32);
    digits[32] = '\0';
    vj_format(text, sizeof text, "{\"host\":\"%s\",\"pid\":1,\"started\":\"5\",\"system\":\"a/b\",\"token\":\"%s\",\"since\":\"2026-03-01T12:00:00Z\",\"state\":\"held\"}\n",
              host, digits);
    put(name, text, age);
}

static int64_t files(void)
{
    char **names = NULL;
    int64_t n = 0;
    assert_ok(vj_dir_list(dir, &names, &n));
    vj_names_free(&names, n);
    return n;
}

// It can be taken now, and afterwards there is nothing but `lock`.
static void is_free(void)
{
    vj_run_lock *l = NULL;
    assert_ok(vj_run_lock_take(&l, dir));
    assert_ok(vj_run_lock_check(l, true));
    vj_run_lock_release(&l);
    assert_int_equal(files(), 1);
}

static void is_held(const char *part)
{
    vj_run_lock *l = NULL;
    char *before = text_of("lock"), *after = NULL;
    const int64_t n = files();
    assert_fails(vj_run_lock_take(&l, dir), VJ_ERR_CONFIG, part);
    assert_null(l);
    after = text_of("lock");
    assert_string_equal(before, after);
    assert_int_equal(files(), n);   // the refused one leaves nothing
    free(before);
    free(after);
}

// ---- one ---------------------------------------------------------------------------------------------------------------
static void one_holds_it(void **state)
{
    new_dir(*state, "one");
    vj_run_lock *l = NULL;
    assert_ok(vj_run_lock_take(&l, dir));
    char pid[32], host[128] = "";
    vj_format(pid, sizeof pid, "pid %d on ", (int)getpid());
    gethostname(host, sizeof host - 1);
    is_held(pid);
    is_held(host);
    is_held("choose another --run");
    char *text = text_of("lock");
    assert_non_null(strstr(text, "\"state\":\"held\""));
    assert_non_null(strstr(text, host));
    free(text);
    assert_ok(vj_run_lock_check(l, true));
    vj_run_lock_release(&l);
    assert_null(l);
    text = text_of("lock");
    assert_non_null(strstr(text, "\"state\":\"released\""));
    free(text);
    is_free();
    assert_fails(vj_run_lock_take(&l, in("missing")), VJ_ERR_IO, "cannot be written");
    assert_fails(vj_run_lock_take(&l, "/proc"), VJ_ERR_IO, "is the directory writable");
}

static pid_t child_that_takes_it(bool ends_alone)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        vj_run_lock *l = NULL;
        const char ok = vj_run_lock_take(&l, dir) == VJ_OK;
        if (write(ready[1], &ok, 1) != 1) _exit(3);
        while (!ends_alone) pause();
        _exit(0);   // not released
    }
    char ok = 0;
    assert_int_equal(read(ready[0], &ok, 1), 1);
    assert_int_equal(ok, 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void the_dead_hold_nothing(void **state)
{
    new_dir(*state, "dead");
    pid_t pid = child_that_takes_it(true);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    is_free();
    pid = child_that_takes_it(false);
    aged("lock", 1000);
    kill(pid, SIGSTOP);
    is_held("stop it first");   // silent, but there: nobody can know what it will do
    kill(pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    is_free();                  // ended, although nobody has fetched its exit status yet
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    // Another process with the same pid is not the one that held it.
    pid = child_that_takes_it(true);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    char *text = text_of("lock"), *colon = strstr(text, "\"pid\":"), other[1200];
    assert_non_null(colon);
    vj_format(other, sizeof other, "%.*s\"pid\":%d%s", (int)(colon - text), text, (int)getpid(), strchr(colon, ','));
    put("lock", other, 0);
    free(text);
    is_free();
}

static void other_machines_are_known_by_their_silence(void **state)
{
    new_dir(*state, "other");
    put_foreign("lock", "n17", 'a', 0);
    is_held("pid 1 on n17");
    is_held("30 s after its last sign of life");
    put_foreign("lock", "n17", 'a', VJ_RUN_LOCK_STALE_S - 10);
    is_held("n17");
    put_foreign("lock", "n17", 'a', VJ_RUN_LOCK_STALE_S + 1);
    is_free();
    // This machine's name alone proves nothing: containers and rebooted machines have the same.
    char host[128] = "";
    gethostname(host, sizeof host - 1);
    put_foreign("lock", host, 'b', 0);
    is_held(host);
    put_foreign("lock", host, 'b', VJ_RUN_LOCK_STALE_S + 1);
    is_free();
}

static void garbage_is_waited_for(void **state)
{
    new_dir(*state, "garbage");
    static const char *const texts[] = {
        "", "pid 12\n", "{", "{\"host\":\"x\"}", "\x1b[2J",
        "{\"host\":\"x\",\"pid\":1,\"started\":\"5\",\"system\":\"a\",\"token\":\"../../../../../../../../etc/passwd\",\"since\":\"s\",\"state\":\"held\"}",
        "{\"host\":\"\\u001b[2J\",\"pid\":1,\"started\":\"5\",\"system\":\"a\",\"token\":\"00000000000000000000000000000000\",\"since\":\"s\",\"state\":\"held\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put("lock", texts[i], 0);
        is_held("holds no lock that can be read");
        put("lock", texts[i], VJ_RUN_LOCK_STALE_S + 1);
        is_free();
    }
}

// ---- a chain -----------------------------------------------------------------------------------------------------------
static void a_crash_while_taking_leaves_it_takeable(void **state)
{
    new_dir(*state, "chain");
    put_foreign("lock", "n1", 'a', 100);
    put_foreign("lock.after-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "n2", 'b', 0);
    is_held("pid 1 on n2");   // it has the right of the next already
    aged("lock.after-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 100);
    put_foreign("lock.after-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "n3", 'c', 0);
    is_held("pid 1 on n3");
    aged("lock.after-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 100);
    put("lock.new-00000000000000000000000000000000", "", 100);
    is_free();
    // Names of lives long past are in nobody's way.
    put_foreign("lock.after-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "n2", 'b', 0);
    is_free();
    // A torn name, as file systems without hard links may show it.
    put_foreign("lock", "n1", 'a', 100);
    put("lock.after-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "", 0);
    is_held("holds no lock that can be read");
    aged("lock.after-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 100);
    is_free();
}

static void hard_links_are_not_needed(void **state)
{
    new_dir(*state, "links");
    for (int i = 0; i < 2; i++) {   // none there; then one to follow
        vj_fault_set("fail@lock.link:1");
        vj_run_lock *l = NULL;
        assert_ok(vj_run_lock_take(&l, dir));
        is_held("another process trains");
        assert_ok(vj_run_lock_check(l, true));
        vj_run_lock_release(&l);
        assert_int_equal(files(), 1);
    }
    vj_fault_set(NULL);
}

enum { TAKERS = 8 };

// Eight at the same time: one gets it, seven are refused. Leaves it released or, with `dies`, held by a process that is gone.
static void race(bool dies)
{
    int go[2], said[2], leave[2];
    pid_t pids[TAKERS];
    assert_int_equal(pipe(go) + pipe(said) + pipe(leave), 0);
    for (int i = 0; i < TAKERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] != 0) continue;
        char c;
        vj_run_lock *l = NULL;
        close(go[1]);
        close(leave[1]);
        if (read(go[0], &c, 1) != 0) _exit(3);   // ends for all when the parent closes it
        const vj_status got = vj_run_lock_take(&l, dir);
        c = got == VJ_OK && vj_run_lock_check(l, true) == VJ_OK ? 'W' : got == VJ_ERR_CONFIG ? 'R' : 'E';
        if (c == 'E') fprintf(stderr, "%s\n", vj_error_text());
        if (write(said[1], &c, 1) != 1 || read(leave[0], &c, 1) != 0) _exit(3);
        if (!dies) vj_run_lock_release(&l);
        _exit(0);
    }
    close(go[1]);
    int won = 0, refused = 0;
    for (int i = 0; i < TAKERS; i++) {
        char c = 0;
        assert_int_equal(read(said[0], &c, 1), 1);
        won += c == 'W';
        refused += c == 'R';
    }
    assert_int_equal(won, 1);
    assert_int_equal(refused, TAKERS - 1);
    close(leave[1]);
    for (int i = 0; i < TAKERS; i++) assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    close(go[0]);
    close(leave[0]);
    close(said[0]);
    close(said[1]);
    assert_int_equal(files(), 1);
}

static void of_many_one_gets_it(void **state)
{
    for (int i = 0; i < 30; i++) {
        new_dir(*state, "race");
        race(false);                                            // nobody held it
        race(true);                                             // it was released
        race(false);                                            // its process is gone
        put_foreign("lock", "n17", 'a', VJ_RUN_LOCK_STALE_S + 5);
        race(true);                                             // another machine's, silent
        put("lock", "garbage", VJ_RUN_LOCK_STALE_S + 5);
        race(false);
    }
}

// ---- losing it ---------------------------------------------------------------------------------------------------------
static void who_lost_it_leaves(void **state)
{
    new_dir(*state, "stolen");
    vj_run_lock *l = NULL;
    assert_ok(vj_run_lock_take(&l, dir));
    put_foreign("other", "n17", 'd', 0);
    char to[640];
    vj_format(to, sizeof to, "%s", in("lock"));
    assert_int_equal(rename(in("other"), to), 0);
    char *before = text_of("lock");
    assert_fails(vj_run_lock_check(l, true), VJ_ERR_IO, "was taken by pid 1 on n17");
    assert_fails(vj_run_lock_check(l, false), VJ_ERR_IO, "leaves without writing anything");
    vj_run_lock_release(&l);
    char *after = text_of("lock");
    assert_string_equal(before, after);   // the other's file is not touched
    free(before);
    free(after);

    new_dir(*state, "removed");
    assert_ok(vj_run_lock_take(&l, dir));
    assert_int_equal(unlink(in("lock")), 0);
    assert_fails(vj_run_lock_check(l, true), VJ_ERR_IO, "is gone");
    vj_run_lock_release(&l);
    assert_int_equal(files(), 0);
    assert_ok(vj_run_lock_check(NULL, true));   // ranks that do not lead hold none
}

// Nobody calls it: its own thread renews it and sees the theft.
static void the_thread_renews_and_looks(void **state)
{
    new_dir(*state, "thread");
    vj_run_lock *l = NULL;
    assert_ok(vj_run_lock_take(&l, dir));
    aged("lock", 1000);
    struct stat st;
    for (int i = 0; i < 600; i++) {
        assert_int_equal(stat(in("lock"), &st), 0);
        if (time(NULL) - st.st_mtim.tv_sec < 500) break;
        usleep(50000);
    }
    assert_true(time(NULL) - st.st_mtim.tv_sec < 500);
    put_foreign("lock", "n17", 'd', 0);
    vj_status status = VJ_OK;
    for (int i = 0; i < 600 && status == VJ_OK; i++) {
        usleep(50000);
        status = vj_run_lock_check(l, false);
    }
    assert_int_equal(status, VJ_ERR_IO);
    vj_run_lock_release(&l);
}

int main(void)
{
    vj_log_level_set(VJ_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_holds_it),
        cmocka_unit_test(the_dead_hold_nothing),
        cmocka_unit_test(other_machines_are_known_by_their_silence),
        cmocka_unit_test(garbage_is_waited_for),
        cmocka_unit_test(a_crash_while_taking_leaves_it_takeable),
        cmocka_unit_test(hard_links_are_not_needed),
        cmocka_unit_test(of_many_one_gets_it),
        cmocka_unit_test(who_lost_it_leaves),
        cmocka_unit_test(the_thread_renews_and_looks),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
