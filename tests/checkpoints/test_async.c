// Saving beside the training, alone: the files of a save that is waited for, whatever happens to the state meanwhile; deaths and full
// disks at every point of the writer's thread. Many ranks: tests/jobs/ranks*.test.sh.

#include "tests/checkpoints/state_fixture.h"

#include "checkpoints/async.h"

static void start(vj_async_save *a, model *m, int64_t step, vj_async_outcome *how)
{
    const vj_run_state s = state_of(step);
    OK(vj_async_save_start(a, run_dir, m->parts, PARTS, &s, m->st, 10, 0, how));
}

static void shard_of(int64_t step, char **bytes, size_t *n)
{
    char path[200];
    snprintf(path, sizeof path, "%s/ckpt/step-%08lld/shard-00000-of-00001.h5", run_dir, (long long)step);
    OK(vj_file_read(path, bytes, n, 0));
}

static void same_bytes_as_waiting(const char *device)
{
    char *want, *got;
    size_t n, k;
    model *m = make_model(device);
    fill(m, 7);
    const vj_run_state s = state_of(7);
    OK(vj_checkpoint_save(run_dir, m->parts, PARTS, &s, m->st, 10, 0));
    shard_of(7, &want, &n);
    OK(vj_dir_remove(run_dir));

    vj_async_save *a = NULL;
    vj_async_outcome how;
    bool saved = false, failed;
    OK(vj_async_save_create(&a, NULL));
    assert_int_equal(vj_async_save_step(a), -1);
    assert_false(vj_async_save_ready(a, &failed));
    assert_int_equal(vj_async_save_bytes(a), 0);
    if (strcmp(device, "ref") != 0) {   // with and without memory that was taken before
        vj_async_save_prepare(a, m->parts, PARTS);
        assert_true(vj_async_save_bytes(a) > 0);
        assert_int_equal(vj_async_save_step(a), -1);
    }
    start(a, m, 7, &how);
    fill(m, 8);   // the training goes on at once
    assert_int_equal(how, VJ_ASYNC_STARTED);
    assert_int_equal(vj_async_save_step(a), 7);
    assert_true(vj_async_save_bytes(a) > 0);
    OK(vj_async_save_finish(a, &saved));
    assert_true(saved);
    assert_int_equal(vj_async_save_step(a), -1);
    newest_is(7);
    shard_of(7, &got, &k);
    assert_int_equal(k, n);
    assert_memory_equal(got, want, n);
    free(got);

    // The next one, in the same copy; its readiness is seen without waiting.
    start(a, m, 8, &how);
    while (!vj_async_save_ready(a, &failed)) usleep(1000);
    assert_false(failed);
    OK(vj_async_save_advance(a, false, &saved));
    assert_true(saved);
    newest_is(8);
    start(a, m, 8, &how);
    assert_int_equal(how, VJ_ASYNC_THERE);
    nothing_half_made_is_there();
    vj_async_save_destroy(&a);
    free(want);
    free_model(m);
}

static void files_are_those_of_a_save_that_is_waited_for(void **state)
{
    (void)state;
    same_bytes_as_waiting("cpu");
    OK(vj_dir_remove(run_dir));
    same_bytes_as_waiting("far");
    OK(vj_dir_remove(run_dir));
    same_bytes_as_waiting("ref");
}

// Saves `step` beside nothing in a child with VJ_FAULT=`fault`; its wait status. A failure must leave the writer able to save `next`
// (unless it is 0).
static int async_in_child(int64_t step, const char *fault, int64_t next)
{
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (fault) setenv("VJ_FAULT", fault, 1);
        vj_fault_reread();
        model *m = make_model("cpu");
        fill(m, step);
        vj_async_save *a = NULL;
        vj_async_outcome how = VJ_ASYNC_STARTED;
        bool saved;
        vj_run_state s = state_of(step);
        vj_status status = vj_async_save_create(&a, NULL);
        if (status == VJ_OK) status = vj_async_save_start(a, run_dir, m->parts, PARTS, &s, m->st, 2, 0, &how);
        if (status == VJ_OK && how == VJ_ASYNC_NO_ROOM) _exit(99);
        if (status == VJ_OK) status = vj_async_save_finish(a, &saved);
        if (status != VJ_OK) leave_message();
        if (next > 0) {
            s = state_of(next);
            fill(m, next);
            if (vj_async_save_start(a, run_dir, m->parts, PARTS, &s, m->st, 2, 0, &how) != VJ_OK ||
                vj_async_save_finish(a, &saved) != VJ_OK || !saved) _exit(98);
        }
        _exit(vj_status_exit_code(status));
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
}

static const char *const points[] = { "create", "pwrite", "fsync", "fsync_dir", "rename", "checkpoint.begin", "checkpoint.shard",
                                      "checkpoint.before_manifest", "checkpoint.after_manifest", "checkpoint.before_rename",
                                      "checkpoint.after_rename", "checkpoint.before_latest", "checkpoint.after_latest" };

static void dies_anywhere(void **state)
{
    (void)state;
    saved(1);
    int64_t step = 2, died = 0;
    for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
        for (int n = 1; n <= 3; n++, step++) {
            char fault[64];
            snprintf(fault, sizeof fault, "kill@%s:%d", points[p], n);
            const int how = async_in_child(step, fault, 0);
            died += WIFSIGNALED(how);
            assert_true(WIFSIGNALED(how) || WEXITSTATUS(how) == 0);
            vj_checkpoint *c = NULL;
            OK(vj_checkpoint_open(&c, run_dir, false));
            const int64_t newest = vj_checkpoint_state(c)->step;
            OK(vj_checkpoint_verify(run_dir));
            vj_checkpoint_destroy(&c);
            assert_true(newest == step || newest < step);
            assert_int_equal(async_in_child(++step, NULL, 0), 0);   // the next start removes what is left over
            newest_is(step);
            nothing_half_made_is_there();
        }
    }
    assert_true(died >= (int64_t)(sizeof points / sizeof *points));
}

static void a_full_disk_is_said_and_the_next_save_works(void **state)
{
    (void)state;
    saved(1);
    int64_t step = 2;
    for (size_t p = 0; p < sizeof points / sizeof *points; p++, step += 2) {
        char fault[64];
        snprintf(fault, sizeof fault, "fail@%s:1", points[p]);
        const int how = async_in_child(step, fault, step + 1);
        assert_true(WIFEXITED(how));
        if (WEXITSTATUS(how) != 74) print_error("%s: exit %d\n", fault, WEXITSTATUS(how));
        assert_int_equal(WEXITSTATUS(how), 74);
        message_says("space");
        newest_is(step + 1);
        nothing_half_made_is_there();
    }
}

static void without_room_nothing_is_begun(void **state)
{
    (void)state;
    saved(1);
    assert_int_equal(WEXITSTATUS(async_in_child(2, "fail@checkpoint.copy:1", 0)), 99);
    newest_is(1);
    nothing_half_made_is_there();
}

static void given_up_is_not_committed(void **state)
{
    (void)state;
    saved(1);
    model *m = make_model("cpu");
    fill(m, 2);
    for (int64_t step = 2; step < 6; step++) {
        vj_async_save *a = NULL;
        vj_async_outcome how;
        OK(vj_async_save_create(&a, NULL));
        start(a, m, step, &how);
        vj_async_save_destroy(&a);
        vj_checkpoint *c = NULL;   // it may have been faster: then it is whole
        OK(vj_checkpoint_open(&c, run_dir, false));
        OK(vj_checkpoint_verify(vj_checkpoint_path(c)));
        vj_checkpoint_destroy(&c);
    }
    free_model(m);
    saved(9);
    nothing_half_made_is_there();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch, scratch_away)
    const struct CMUnitTest tests[] = { T(files_are_those_of_a_save_that_is_waited_for), T(dies_anywhere),
                                        T(a_full_disk_is_said_and_the_next_save_works), T(without_room_nothing_is_begun),
                                        T(given_up_is_not_committed) };
    return cmocka_run_group_tests_name("checkpoints/async", tests, NULL, NULL);
}
