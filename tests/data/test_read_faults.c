// Reads that fail, stall or crawl (runtime/base/fault.h) under a loader: the same batches, or one message and the exit code that
// belongs to it.

#include <string.h>
#include <sys/wait.h>

#include "data/loader_impl.h"
#include "runtime/base/fault.h"
#include "runtime/base/hash.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

enum { STEPS = 4, BATCH = 4 };

static char shards_dir[4096];
typedef struct outcome {
    uint64_t digest;
    vj_status status;
    vj_loader_stats stats;
    char message[2048];
} outcome;
static outcome clean;

// The batches of some steps under VJ_FAULT=fault. Retries and the wait for stuck threads take thousandths of their time.
static bool consumer_hangs;   // it asks for no batch, for ever
static outcome load(const char *fault, double warn, double hedge, double fatal)
{
    vj_data_config config = { .fps = 4, .crop = 32, .crop_scale_low = 0.3, .crop_scale_high = 1, .crop_ratio_low = 0.75, .crop_ratio_high = 1.35,
                              .flip = true, .prefetch = 2, .max_bad = 0.001, .io_warn = warn, .io_hedge = hedge, .io_fatal = fatal };
    const vj_mask_config masks = { .group = 1, .n = 1, .blocks = { .n = 1, .v = { 2 } }, .spatial_low = { .n = 1, .v = { 0.2 } },
                                   .spatial_high = { .n = 1, .v = { 0.3 } }, .temporal_low = { .n = 1, .v = { 1 } }, .temporal_high = { .n = 1, .v = { 1 } },
                                   .aspect_low = { .n = 1, .v = { 0.75 } }, .aspect_high = { .n = 1, .v = { 1.5 } },
                                   .max_temporal_keep = { .n = 1, .v = { 1 } }, .max_keep = { .n = 1, .v = { 0 } } };
    const vj_loader_stage stage = { .seed = 3, .batch = BATCH, .slot = 1, .crop = 32, .tubelet = 2, .patch = 8, .fpc = { .n = 1, .v = { 4 } }, .fps = 4,
                                    .world = 1, .threads = 2 };
    outcome o = { .status = VJ_OK };
    vj_loader *l = NULL;
    vj_format(config.dir, sizeof config.dir, "%s", shards_dir);
    vj_loader_test_patience(1e-3, fault && vj_str_starts(fault, "stall@") ? 0.1 : 60);   // those that come back are waited for
    vj_fault_set(fault);
    o.status = vj_loader_open(&l, &config, &masks, &stage, NULL, NULL);
    while (consumer_hangs) pause();
    for (int step = 0; step < STEPS && o.status == VJ_OK; step++) {
        const vj_batch *batch = NULL;
        o.status = vj_loader_next(l, &batch);
        if (o.status != VJ_OK) break;
        for (int s = 0; s < batch->n_slots; s++) {
            const vj_clip_group *g = &batch->slots[s].groups[0];
            o.digest = o.digest * 31 + vj_xxh64(g->clips, (size_t)(g->B * 3 * g->F * g->height * g->width) * sizeof(float));
        }
        vj_loader_release(l, batch);
    }
    vj_format(o.message, sizeof o.message, "%s", vj_error_text());
    if (l != NULL) vj_loader_stats_get(l, &o.stats);
    vj_loader_close(&l);
    if (!fault || !vj_str_starts(fault, "stall@")) vj_fault_set(NULL);   // a thread that was left behind still looks at it
    vj_loader_test_patience(1, 5);
    return o;
}

static int setup(void **state)
{
    if (scratch_setup(state) != 0) return -1;
    vj_path_join(shards_dir, sizeof shards_dir, *state, "shards");
    if (vj_tiny_shards(*state, &(vj_tiny_shards_options){ .threads = 2 }) != VJ_OK) return -1;
    clean = load(NULL, 0, 0, 0);
    return clean.status == VJ_OK ? 0 : -1;
}

static void expect_clean(const outcome *o, const char *fault)
{
    if (o->status != VJ_OK) fail_msg("%s: %s", fault, o->message);
    if (o->digest != clean.digest || o->stats.bad != 0) fail_msg("%s changed the samples", fault);
}

// The first OPENING reads are those of the shard's metadata and index; samples come behind them.
enum { OPENING = 24 };

static void what_passes_changes_nothing(void **state)
{
    (void)state;
    static const char *const kinds[] = { "eio", "estale", "eagain", "etimedout", "eintr", "short" };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (int n = 1; n <= OPENING + 9; n += 4) {
            char fault[64];
            vj_format(fault, sizeof fault, "%s@read[tiny-]:%d", kinds[k], n);
            const outcome o = load(fault, 0, 0, 0);
            expect_clean(&o, fault);
            assert_int_equal(o.stats.retried, k < 4);
        }
    }
    static const char *const always[] = { "eintr@read:1+", "short@read[tiny-]:1+" };
    for (int k = 0; k < 2; k++) {
        const outcome o = load(always[k], 0, 0, 0);
        expect_clean(&o, always[k]);
    }
}

static void what_does_not_pass_is_a_problem_of_storage(void **state)
{
    (void)state;
    static const char *const kinds[] = { "eio", "estale", "eagain", "etimedout" };
    static const char *const said[] = { "Input/output error", "Stale file handle", "temporarily unavailable", "timed out" };
    for (int k = 0; k < 4; k++) {
        for (int n = 1; n <= OPENING + 9; n += 16) {
            char fault[64];
            vj_format(fault, sizeof fault, "%s@read[tiny-]:%d+", kinds[k], n);
            const outcome o = load(fault, 0, 0, 0);
            assert_int_equal(o.status, VJ_ERR_IO);
            assert_int_equal(vj_status_exit_code(o.status), 74);
            if (!strstr(o.message, said[k]) || !strstr(o.message, "tiny-00000.h5") || !strstr(o.message, "for the 4th time")) fail_msg("%s: %s", fault, o.message);
            assert_int_equal(o.stats.bad, 0);   // not the fault of the samples
            assert_true(o.stats.retried >= VJ_READ_RETRIES);
        }
    }
}

// A read that comes late is named, and made again by another thread; the late one is thrown away.
static void a_late_read_is_made_again(void **state)
{
    (void)state;
    int hedged = 0;
    for (int n = OPENING + 1; n <= OPENING + 6; n++) {
        char fault[64];
        vj_format(fault, sizeof fault, "stall0.6@read[tiny-]:%d", n);
        const outcome o = load(fault, 0.02, 0.05, 0);
        expect_clean(&o, fault);
        assert_true(o.stats.stalled >= o.stats.hedged);
        hedged += o.stats.hedged > 0;
    }
    assert_true(hedged == 6);
    const outcome named = load("stall0.3@read[tiny-]:30", 0.02, 0, 0);
    expect_clean(&named, "a warning alone");
    assert_true(named.stats.stalled >= 1 && named.stats.hedged == 0);
}

static vj_status in_a_child(const char *fault, double warn, double hedge, double fatal)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const outcome o = load(fault, warn, hedge, fatal);   // closes too: a stuck thread is left behind
        if (o.status == VJ_ERR_HANG && (!strstr(o.message, "tiny-00000.h5 row ") || !strstr(o.message, "data.io_fatal_s"))) _exit(99);
        if (o.status == VJ_OK && o.digest != clean.digest) _exit(98);
        _exit(vj_status_exit_code(o.status));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return (vj_status)WEXITSTATUS(status);
}

// For ever: with another thread's read the run goes on; when those stall too, or without, it ends with 86.
static void a_read_that_never_ends_does_not_hang(void **state)
{
    (void)state;
    assert_int_equal(in_a_child("stall@read[tiny-]:30", 0.02, 0.05, 60), 0);
    assert_int_equal(in_a_child("stall@read[tiny-]:1", 0.02, 0.05, 60), 0);   // while a shard is opened
    assert_int_equal(in_a_child("stall@read[tiny-]:30", 0.02, 0, 0.3), 86);
    assert_int_equal(in_a_child("stall@read[tiny-]:30+", 0.02, 0.05, 0.3), 86);
    assert_int_equal(in_a_child("stall@read[tiny-]:1+", 0, 0, 0.3), 86);   // while a shard is opened
    consumer_hangs = true;   // in a read that is not the loader's, say: the watch ends the process
    assert_int_equal(in_a_child("stall@read[tiny-]:1+", 0, 0, 0.3), 86);
    consumer_hangs = false;
}

static int64_t resident_kb(void)
{
    long long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%lld %lld", &total, &resident) != 2) resident = 0;
    if (f != NULL) fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void a_slow_disk_is_waited_for(void **state)
{
    (void)state;
    const int64_t before = resident_kb();
    const outcome o = load("slow@read[tiny-]:1+", 0, 0, 0);
    expect_clean(&o, "slow");
    assert_true(o.stats.samples <= (STEPS + 3) * BATCH);   // no further ahead than the ring
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(resident_kb() - before < 16 << 10);
#else
    (void)before;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_passes_changes_nothing),
        cmocka_unit_test(what_does_not_pass_is_a_problem_of_storage),
        cmocka_unit_test(a_late_read_is_made_again),
        cmocka_unit_test(a_read_that_never_ends_does_not_hang),
        cmocka_unit_test(a_slow_disk_is_waited_for),
    };
    return cmocka_run_group_tests_name("data/read_faults", tests, setup, scratch_teardown);
}
