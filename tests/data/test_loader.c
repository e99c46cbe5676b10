// tests/data/test_loader.c: the same batches whatever the machinery (spec/data.md 5.1 T7, T8, T10, T16; 5.2)

#include <string.h>

#include "data/loader_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/hash.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

enum { STEPS = 6, BATCH = 8, SLOT = 2 };

static char shards_dir[4096], bad_dir[4096];

// Four videos of 12 s in 4 s windows (one in three held out) and twelve pictures.
static int setup(void **state)
{
    if (scratch_setup(state) != 0) return -1;
    const vj_tiny_shards_options options = { .images = 12, .hold_out = 0.3, .threads = 2 };
    vj_path_join(shards_dir, sizeof shards_dir, *state, "shards");
    if (vj_tiny_shards(*state, &options) == VJ_OK) return 0;
    fprintf(stderr, "%s\n", vj_error_text());
    return -1;
}

static vj_data_config data_config(void)
{
    vj_data_config c = { .fps = 4, .crop = 32, .crop_scale_low = 0.3, .crop_scale_high = 1, .crop_ratio_low = 0.75,
                         .crop_ratio_high = 1.35, .flip = true, .prefetch = 2, .max_bad = 0.001,
                         .weights = { .n = 2, .name = { "tiny", "pictures" }, .v = { 0.75, 0.25 } } };
    vj_format(c.dir, sizeof c.dir, "%s", shards_dir);
    return c;
}

static vj_mask_config mask_config(void)
{
    return (vj_mask_config){
        .group = SLOT, .n = 2, .blocks = { .n = 2, .v = { 3, 1 } },
        .spatial_low = { .n = 2, .v = { 0.15, 0.5 } }, .spatial_high = { .n = 2, .v = { 0.2, 0.6 } },
        .temporal_low = { .n = 2, .v = { 1, 1 } }, .temporal_high = { .n = 2, .v = { 1, 1 } },
        .aspect_low = { .n = 2, .v = { 0.75, 0.75 } }, .aspect_high = { .n = 2, .v = { 1.5, 1.5 } },
        .max_temporal_keep = { .n = 2, .v = { 1, 1 } }, .max_keep = { .n = 2, .v = { 0, 0 } },
    };
}

static vj_loader_stage stage_of(int threads)
{
    return (vj_loader_stage){ .seed = 239, .batch = BATCH, .slot = SLOT, .crop = 32, .tubelet = 2, .patch = 8,
                              .fpc = { .n = 2, .v = { 8, 4 } }, .fps = 4, .rank = 0, .world = 1, .threads = threads };
}

static vj_loader *open_loader(const vj_data_config *config, const vj_mask_config *masks, const vj_loader_stage *stage,
                              const vj_loader_state *state, const char *quarantine)
{
    vj_loader *l = NULL;
    assert_ok(vj_loader_open(&l, config, masks, stage, state, quarantine));
    return l;
}

// ---- digests of what is delivered ---------------------------------------------------------------------------------

static uint64_t slot_digest(const vj_slot *slot)
{
    vj_sha256 h;
    unsigned char out[32];
    uint64_t digest;
    vj_sha256_start(&h);
    vj_sha256_add(&h, &slot->index, sizeof slot->index);
    for (int i = 0; i < slot->n_groups; i++) {
        const vj_clip_group *g = &slot->groups[i];
        vj_sha256_add(&h, &g->fpc_index, sizeof g->fpc_index);
        vj_sha256_add(&h, g->g, (size_t)g->B * sizeof *g->g);
        vj_sha256_add(&h, g->clips, (size_t)(g->B * 3 * g->F * g->height * g->width) * sizeof(float));
        for (int p = 0; p < g->n_pairs; p++) {
            vj_sha256_add(&h, g->pairs[p].ctx, (size_t)(g->B * g->pairs[p].K) * sizeof(int32_t));
            vj_sha256_add(&h, g->pairs[p].tgt, (size_t)(g->B * g->pairs[p].P) * sizeof(int32_t));
        }
    }
    vj_sha256_end(&h, out);
    memcpy(&digest, out, sizeof digest);
    return digest;
}

typedef struct run { uint64_t slots[STEPS][BATCH / SLOT]; } run;

// Steps `from` .. STEPS of this rank, into their places.
static void collect(vj_loader *l, int64_t from, run *out)
{
    for (int64_t step = from; step < STEPS; step++) {
        const vj_batch *batch = NULL;
        assert_ok(vj_loader_next(l, &batch));
        assert_int_equal(batch->step, step);
        assert_int_equal(batch->first, step * BATCH);
        for (int s = 0; s < batch->n_slots; s++)
            out->slots[step][batch->slots[s].index] = slot_digest(&batch->slots[s]);
        vj_loader_release(l, batch);
    }
}

static run run_with(int threads, int64_t prefetch, int rng)
{
    vj_data_config config = data_config();
    vj_mask_config masks = mask_config();
    const vj_loader_stage stage = stage_of(threads);
    run out = { 0 };
    config.prefetch = prefetch;
    masks.rng = rng;
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    collect(l, 0, &out);
    vj_loader_close(&l);
    return out;
}

static void threads_and_prefetch_change_nothing(void **state)
{
    (void)state;
    for (int rng = 0; rng < 2; rng++) {
        const run want = run_with(1, 1, rng);
        static const struct { int threads, prefetch; } cases[] = { { 1, 4 }, { 2, 1 }, { 2, 4 }, { 8, 1 }, { 8, 4 } };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const run got = run_with(cases[i].threads, cases[i].prefetch, rng);
            assert_memory_equal(&want, &got, sizeof want);
        }
        for (int step = 1; step < STEPS; step++) assert_true(want.slots[step][0] != want.slots[step - 1][0]);
    }
}

static void slots_are_shared_out_without_gaps(void **state)
{
    (void)state;
    static const int worlds[] = { 1, 2, 3, 4, 7, 8, 12, 128 };
    for (size_t k = 0; k < sizeof worlds / sizeof *worlds; k++) {
        for (int64_t V = worlds[k]; V < worlds[k] + 40; V++) {
            vj_loader_stage stage = { .batch = 3 * V, .slot = 3, .world = worlds[k] };
            int64_t all = 0;
            for (stage.rank = 0; stage.rank < stage.world; stage.rank++) {
                const int64_t count = vj_loader_own_slots(&stage);
                assert_true(stage.rank + (count - 1) * stage.world < V && stage.rank + count * stage.world >= V);   // the last is there, no more
                all += count;
            }
            assert_int_equal(all, V);
        }
    }
}

static void ranks_together_deliver_the_same(void **state)
{
    (void)state;
    const run want = run_with(1, 2, VJ_MASK_PHILOX);
    const vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    for (int world = 1; world <= BATCH / SLOT; world++) {   // 3 does not divide 4
        run got = { 0 };
        for (int rank = 0; rank < world; rank++) {
            vj_loader_stage stage = stage_of(1);
            stage.rank = rank;
            stage.world = world;
            vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
            collect(l, 0, &got);
            vj_loader_close(&l);
        }
        assert_memory_equal(&want, &got, sizeof want);
    }
}

static void resuming_anywhere_changes_nothing(void **state)
{
    (void)state;
    const run want = run_with(2, 2, VJ_MASK_PHILOX);
    vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    for (int64_t stop = 0; stop < STEPS; stop++) {
        vj_loader_stage stage = stage_of(1 + (int)stop % 2);
        vj_loader_state saved;
        config.prefetch = 1 + stop % 3;
        run got = { 0 };
        vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
        for (int64_t step = 0; step < stop; step++) {
            const vj_batch *batch;
            assert_ok(vj_loader_next(l, &batch));
            for (int s = 0; s < batch->n_slots; s++) got.slots[step][s] = slot_digest(&batch->slots[s]);
            vj_loader_release(l, batch);
        }
        const vj_batch *held = NULL;   // taken but not given back: not consumed
        assert_ok(vj_loader_next(l, &held));
        vj_loader_state_get(l, &saved);
        assert_int_equal(saved.step, stop);
        assert_int_equal(saved.cursor, stop * BATCH);
        vj_loader_close(&l);
        config.prefetch = 3;
        stage.threads = 2;
        l = open_loader(&config, &masks, &stage, &saved, NULL);
        collect(l, stop, &got);
        vj_loader_close(&l);
        assert_memory_equal(&want, &got, sizeof want);
    }
}

// T10: the crop size and the number of frames are no part of the order.
static void order_does_not_depend_on_the_shape_of_clips(void **state)
{
    (void)state;
    const vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    vj_loader_stage small = stage_of(1), large = stage_of(1);
    large.crop = 48;
    large.fpc = (vj_int_list){ .n = 1, .v = { 16 } };
    vj_loader *a = open_loader(&config, &masks, &small, NULL, NULL), *b =
        open_loader(&config, &masks, &large, NULL, NULL);
    for (int step = 0; step < STEPS; step++) {
        const vj_batch *x, *y;
        assert_ok(vj_loader_next(a, &x));
        assert_ok(vj_loader_next(b, &y));
        for (int64_t i = 0; i < BATCH; i++) {
            vj_sample_origin p, q;
            assert_ok(vj_loader_origin(a, x, i, &p));
            assert_ok(vj_loader_origin(b, y, i, &q));
            assert_int_equal(p.g, step * BATCH + i);
            assert_int_equal(p.g, q.g);
            assert_int_equal(p.key, q.key);
            assert_string_equal(p.file, q.file);
        }
        vj_loader_release(a, x);
        vj_loader_release(b, y);
    }
    vj_loader_state sa, sb;
    vj_loader_state_get(a, &sa);
    vj_loader_state_get(b, &sb);
    assert_int_equal(sa.plan_digest, sb.plan_digest);   // a cooldown goes on from a pretraining checkpoint
    vj_loader_close(&a);
    vj_loader_close(&b);
}

static void groups_hold_clips_of_one_length(void **state)
{
    (void)state;
    const vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    const vj_loader_stage stage = stage_of(2);
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    int mixed = 0, pictures = 0, videos = 0;
    for (int step = 0; step < STEPS; step++) {
        const vj_batch *batch;
        assert_ok(vj_loader_next(l, &batch));
        assert_int_equal(batch->samples, BATCH);
        for (int s = 0; s < batch->n_slots; s++) {
            const vj_slot *slot = &batch->slots[s];
            int64_t samples = 0;
            mixed += slot->n_groups == 2;
            for (int i = 0; i < slot->n_groups; i++) {
                const vj_clip_group *g = &slot->groups[i];
                samples += g->B;
                assert_int_equal(g->F, g->fpc_index == 0 ? 8 : 4);
                for (int64_t b = 0; b < g->B; b++) {
                    vj_sample_origin origin;
                    assert_ok(vj_loader_origin(l, batch, (int64_t)(g->g[b] - batch->first), &origin));
                    assert_int_equal(origin.g, g->g[b]);
                    assert_int_equal(origin.image, g->fpc_index == 1);
                    const float *clip = (const float *)g->clips + b * 3 * g->F * 32 * 32;
                    bool still = true;
                    for (int64_t f = 1; f < g->F; f++) still = still && memcmp(clip, clip + f * 1024, 4096) == 0;
                    assert_int_equal(still, origin.image);   // a picture is the same in all frames, a video is not
                    for (int64_t k = 0; k < 3 * g->F * 1024; k++) assert_true(clip[k] > -2.3f && clip[k] < 2.7f);
                    if (origin.image) pictures++;
                    else videos++;
                }
            }
            assert_int_equal(samples, SLOT);
        }
        vj_loader_release(l, batch);
    }
    assert_true(mixed > 0 && pictures > 0 && videos > pictures);
    vj_loader_stats stats;
    vj_loader_stats_get(l, &stats);
    assert_true(stats.samples >= STEPS * BATCH);
    assert_true(stats.frames_used > 0 && stats.frames_decoded >= pictures && stats.decode_seconds > 0);
    assert_int_equal(stats.bad + stats.substituted, 0);
    vj_loader_close(&l);
}

static void frames_by_time_work_too(void **state)
{
    (void)state;
    vj_data_config config = data_config();
    config.temporal = VJ_TEMPORAL_PTS;
    const vj_mask_config masks = mask_config();
    run runs[2] = { 0 };
    for (int i = 0; i < 2; i++) {
        const vj_loader_stage stage = stage_of(1 + i);
        vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
        collect(l, 0, &runs[i]);
        vj_loader_close(&l);
    }
    assert_memory_equal(&runs[0], &runs[1], sizeof runs[0]);
    const run code = run_with(1, 1, VJ_MASK_PHILOX);
    assert_true(memcmp(&code, &runs[0], sizeof code) != 0);
}

// ---- held-out windows ---------------------------------------------------------------------------------------------

static void held_out_windows_come_in_turn(void **state)
{
    (void)state;
    const vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    vj_loader_stage stage = stage_of(2);
    stage.held_out = true;
    stage.batch = SLOT;
    vj_data_summary summary;
    assert_ok(vj_data_summary_read(shards_dir, &summary));
    assert_true(summary.held_out >= 2 && summary.held_out_files >= 2);
    uint64_t first[32] = { 0 };
    for (int pass = 0; pass < 2; pass++) {
        vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
        char previous[256] = "";
        int changes = 0;
        int64_t seen[64] = { 0 };
        for (int step = 0; step < 32; step++) {
            const vj_batch *batch;
            assert_ok(vj_loader_next(l, &batch));
            const uint64_t digest = slot_digest(&batch->slots[0]);
            if (pass == 0) first[step] = digest;
            assert_int_equal(first[step], digest);   // the same in each run over them
            for (int earlier = 0; earlier < step; earlier++) assert_true(first[earlier] != digest);   // draws are fresh
            for (int64_t i = 0; i < SLOT; i++) {
                vj_sample_origin o;
                assert_ok(vj_loader_origin(l, batch, i, &o));
                assert_int_equal(o.g, VJ_HELD_OUT_BIT | (uint64_t)(step * SLOT + i));
                assert_string_equal(o.source_name, "tiny");
                assert_false(o.image);
                assert_in_range(o.row, 0, summary.held_out - 1);
                seen[o.row]++;
                changes += strcmp(previous, o.file) != 0;
                vj_format(previous, sizeof previous, "%s", o.file);
            }
            vj_loader_release(l, batch);
        }
        for (int64_t row = 0; row < summary.held_out; row++) assert_true(seen[row] >= 64 / summary.held_out);
        assert_true(changes > 48);   // of 64: neighbours mostly come from different files
        vj_loader_close(&l);
    }
}

static void held_out_keys_are_not_trained_on(void **state)
{
    (void)state;
    const vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    uint64_t trained[STEPS * BATCH];
    vj_loader_stage stage = stage_of(2);
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    for (int step = 0; step < STEPS; step++) {
        const vj_batch *batch;
        assert_ok(vj_loader_next(l, &batch));
        for (int64_t i = 0; i < BATCH; i++) {
            vj_sample_origin o;
            assert_ok(vj_loader_origin(l, batch, i, &o));
            trained[step * BATCH + i] = o.key;
        }
        vj_loader_release(l, batch);
    }
    vj_loader_close(&l);
    stage.held_out = true;
    l = open_loader(&config, &masks, &stage, NULL, NULL);
    const vj_batch *batch;
    assert_ok(vj_loader_next(l, &batch));
    for (int64_t i = 0; i < BATCH; i++) {
        vj_sample_origin o;
        assert_ok(vj_loader_origin(l, batch, i, &o));
        for (int k = 0; k < STEPS * BATCH; k++) assert_true(trained[k] != o.key);
    }
    vj_loader_close(&l);
}

// ---- trouble ------------------------------------------------------------------------------------------------------

typedef struct trouble {
    vj_status status;
    int64_t rows[4];       // of source 0; -1 ends, -2 all
    int attempts;          // the first so many attempts fail
    int calls;
} trouble;

static vj_status fail_reads(void *context, int source, int64_t row, int attempt)
{
    trouble *t = context;
    __atomic_fetch_add(&t->calls, 1, __ATOMIC_RELAXED);
    if (source != 0 || attempt >= t->attempts) return VJ_OK;
    for (int i = 0; i < 4 && t->rows[i] != -1; i++) {
        if (t->rows[i] == -2 || t->rows[i] == row)
            return vj_fail(t->status, "row %lld fails in this test", (long long)row);
    }
    return VJ_OK;
}

static void end_trouble(void)
{
    vj_loader_test_reads(NULL, NULL);
    vj_loader_test_patience(1, 5);
}

// T16: found while running or known before, the same samples come out; masks and other samples do not change.
static void bad_samples_are_replaced_in_one_way(void **state)
{
    (void)state;
    const vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    const vj_loader_stage stage = stage_of(2);
    const run clean = run_with(1, 1, VJ_MASK_PHILOX);
    run found = { 0 }, known = { 0 }, resumed = { 0 };
    trouble t = { .status = VJ_ERR_DATA, .rows = { 0, 3, -1 }, .attempts = 1 };
    vj_loader_test_reads(fail_reads, &t);
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    int substituted = 0;
    for (int step = 0; step < STEPS; step++) {
        const vj_batch *batch;
        assert_ok(vj_loader_next(l, &batch));
        for (int64_t i = 0; i < BATCH; i++) {
            vj_sample_origin o;
            assert_ok(vj_loader_origin(l, batch, i, &o));
            assert_true(o.source != 0 || (o.row != 0 && o.row != 3));
            substituted += o.substitution > 0;
        }
        for (int s = 0; s < batch->n_slots; s++) found.slots[step][s] = slot_digest(&batch->slots[s]);
        vj_loader_release(l, batch);
    }
    assert_true(substituted > 0);
    char *json = NULL;
    vj_loader_state end;
    vj_loader_stats stats;
    assert_ok(vj_loader_quarantine(l, &json));
    vj_loader_state_get(l, &end);
    vj_loader_stats_get(l, &stats);
    assert_int_equal(stats.bad, 2);
    assert_true(stats.substituted >= substituted);
    assert_non_null(strstr(json, "fails in this test"));
    vj_loader_close(&l);
    end_trouble();

    int changed = 0;
    for (int step = 0; step < STEPS; step++) {
        for (int s = 0; s < BATCH / SLOT; s++) changed += clean.slots[step][s] != found.slots[step][s];
    }
    assert_true(changed > 0 && changed <= substituted);

    l = open_loader(&config, &masks, &stage, NULL, json);   // known before; reads would succeed now
    collect(l, 0, &known);
    vj_loader_close(&l);
    assert_memory_equal(&found, &known, sizeof found);

    // A checkpoint from before the discovery goes on with the grown list; one from after it needs the list.
    const vj_loader_state before = { .plan_digest = end.plan_digest, .catalog_digest = end.catalog_digest };
    l = open_loader(&config, &masks, &stage, &before, json);
    collect(l, 0, &resumed);
    vj_loader_close(&l);
    assert_memory_equal(&found, &resumed, sizeof found);
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, &end, NULL), VJ_ERR_CONFIG,
                 "lacks some that the checkpoint knew");
    l = open_loader(&config, &masks, &stage, &end, json);
    vj_loader_close(&l);
    free(json);
}

// The step that ends the run and what is said do not depend on threads or time.
static void too_many_bad_samples_end_the_run(void **state)
{
    (void)state;
    const vj_mask_config masks = mask_config();
    const vj_loader_stage plain = stage_of(2);
    static const int64_t rows[2][4] = { { -2, -1 }, { 0, 1, 3, 5 } };
    for (int which = 0; which < 2; which++) {
        char *first = NULL;
        int64_t steps = -1;
        for (int threads = 1; threads <= 4; threads++) {
            for (int again = 0; again < 3; again++) {
                vj_data_config config = data_config();
                vj_loader_stage stage = plain;
                stage.threads = threads;
                config.prefetch = threads + 1;
                trouble t = { .status = VJ_ERR_DATA, .attempts = 1 };
                memcpy(t.rows, rows[which], sizeof t.rows);
                vj_loader_test_reads(fail_reads, &t);
                vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
                const vj_batch *batch;
                vj_status status;
                int64_t delivered = -1;
                do {
                    delivered++;
                    status = vj_loader_next(l, &batch);
                    if (status == VJ_OK) vj_loader_release(l, batch);
                } while (status == VJ_OK);
                assert_int_equal(status, VJ_ERR_DATA);
                assert_non_null(strstr(vj_error_text(), "source tiny: 4 of "));
                assert_non_null(strstr(vj_error_text(), "3 are allowed"));
                assert_non_null(strstr(vj_error_text(), "fails in this test"));
                assert_non_null(strstr(vj_error_text(), "row "));
                if (first == NULL) first = vj_strdup(vj_error_text());
                if (steps < 0) steps = delivered;
                assert_string_equal(vj_error_text(), first);
                assert_int_equal(delivered, steps);
                assert_int_equal(vj_loader_next(l, &batch), VJ_ERR_DATA);   // asking again says the same
                assert_string_equal(vj_error_text(), first);
                vj_loader_close(&l);
                end_trouble();
            }
        }
        assert_true(steps >= 0);
        free(first);
    }
}

static void passing_read_errors_are_tried_again(void **state)
{
    (void)state;
    const vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    const vj_loader_stage stage = stage_of(2);
    const run want = run_with(1, 1, VJ_MASK_PHILOX);
    run got = { 0 };
    trouble t = { .status = VJ_ERR_IO, .rows = { 0, 1, 2, -1 }, .attempts = 3 };
    vj_loader_test_reads(fail_reads, &t);
    vj_loader_test_patience(1e-3, 5);
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    collect(l, 0, &got);
    vj_loader_close(&l);
    assert_memory_equal(&want, &got, sizeof want);

    t.attempts = 4;   // one more than is tried: a storage problem, not a bad sample
    l = open_loader(&config, &masks, &stage, NULL, NULL);
    const vj_batch *batch;
    vj_status status;
    do {
        status = vj_loader_next(l, &batch);
        if (status == VJ_OK) vj_loader_release(l, batch);
    } while (status == VJ_OK);
    assert_int_equal(status, VJ_ERR_IO);
    assert_non_null(strstr(vj_error_text(), "for the 4th time"));
    vj_loader_close(&l);
    end_trouble();
}

// A byte of one sample is flipped on the disk: that row is named and replaced, the others come out as before.
static void a_flipped_byte_costs_one_sample(void **state)
{
    (void)state;
    char command[3 * 4096], path[4200];
    vj_path_join(bad_dir, sizeof bad_dir, *state, "bad");
    vj_format(command, sizeof command, "cp -r '%s' '%s'", shards_dir, bad_dir);
    assert_int_equal(system(command), 0);
    vj_catalog *c = NULL;
    assert_ok(vj_catalog_read(&c, bad_dir));
    const vj_shard_entry *shard = &c->sources[0].train.v[0];
    vj_format(path, sizeof path, "%s/%s", bad_dir, shard->path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(shard->blob_offset + 400), SEEK_SET), 0);
    const int byte = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    fputc(byte ^ 1, f);
    fclose(f);
    vj_catalog_destroy(&c);

    vj_data_config config = data_config();
    vj_format(config.dir, sizeof config.dir, "%s", bad_dir);
    const vj_mask_config masks = mask_config();
    const vj_loader_stage stage = stage_of(1);
    const run clean = run_with(1, 1, VJ_MASK_PHILOX);
    run got = { 0 };
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    collect(l, 0, &got);
    char *json = NULL;
    assert_ok(vj_loader_quarantine(l, &json));
    assert_non_null(strstr(json, "checksum"));
    assert_non_null(strstr(json, "row 0"));
    assert_null(strstr(json, "\"key\":\"0000000000000000\""));
    assert_null(strstr(json, "\"key\": \"0000000000000000\""));
    free(json);
    vj_loader_close(&l);
    int changed = 0;
    for (int step = 0; step < STEPS; step++) {
        for (int s = 0; s < BATCH / SLOT; s++) changed += clean.slots[step][s] != got.slots[step][s];
    }
    assert_in_range(changed, 1, STEPS * BATCH / SLOT / 2);
}

static void closing_does_not_wait(void **state)
{
    (void)state;
    const vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    const vj_loader_stage stage = stage_of(2);
    for (int i = 0; i < 3; i++) {   // at once; in the middle; with the ring full
        vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
        usleep((useconds_t)(i * 100000));
        const double began = vj_now();
        vj_loader_close(&l);
        assert_true(vj_now() - began < 2);
    }
    trouble t = { .status = VJ_ERR_IO, .rows = { -2, -1 }, .attempts = 4 };
    vj_loader_test_reads(fail_reads, &t);
    vj_loader_test_patience(1000, 5);   // waits of minutes between attempts
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    usleep(100000);
    const double began = vj_now();
    vj_loader_close(&l);
    assert_true(vj_now() - began < 2);
    end_trouble();
}

// ---- what is refused ----------------------------------------------------------------------------------------------

static void other_data_or_order_is_refused(void **state)
{
    (void)state;
    vj_data_config config = data_config();
    const vj_mask_config masks = mask_config();
    vj_loader_stage stage = stage_of(1);
    vj_loader_state saved;
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    vj_loader_state_get(l, &saved);
    vj_loader_close(&l);
    stage.seed = 240;
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, &saved, NULL), VJ_ERR_CONFIG,
                 "the order of samples is not the checkpoint's");
    stage.seed = 239;
    config.weights.v[0] = 0.5;
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, &saved, NULL), VJ_ERR_CONFIG, "data.weights");
    config.weights.v[0] = 0.75;
    saved.catalog_digest++;
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, &saved, NULL), VJ_ERR_CONFIG, "does not hold the data");
    assert_null(l);
}

static void impossible_settings_are_refused(void **state)
{
    (void)state;
    const vj_mask_config masks = mask_config();
    vj_data_config config = data_config();
    vj_loader_stage stage = stage_of(1);
    vj_loader *l = NULL;
    stage.batch = 7;
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_CONFIG,
                 "7 is not a multiple of mask.group 2");
    stage = stage_of(1);
    stage.world = 5;
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_CONFIG, "use at most 4 ranks");
    stage = stage_of(1);
    stage.fpc = (vj_int_list){ .n = 3, .v = { 8, 8, 8 } };
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_CONFIG, "data.fpc has 3 entries");
    stage.fpc = (vj_int_list){ .n = 1, .v = { 7 } };
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_CONFIG,
                 "7 is not a multiple of the tubelet 2");
    stage = stage_of(1);
    stage.crop = 33;
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_CONFIG,
                 "33 is not a multiple of the patch size 8");
    stage = stage_of(1);
    stage.batch = 2000000000;
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_NOMEM, "lower train.batch");
    stage = stage_of(1);
    vj_format(config.weights.name[0], sizeof config.weights.name[0], "tinny");
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_CONFIG, "did you mean 'tiny'");
    config = data_config();
    config.dir[0] = 0;
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_CONFIG, "data.dir is not set");
    vj_format(config.dir, sizeof config.dir, "/nonexistent-shards");
    assert_fails(vj_loader_open(&l, &config, &masks, &stage, NULL, NULL), VJ_ERR_CONFIG, "/nonexistent-shards");
    assert_null(l);
}

static void holding_everything_is_an_error_not_a_hang(void **state)
{
    (void)state;
    vj_data_config config = data_config();
    config.prefetch = 1;
    const vj_mask_config masks = mask_config();
    const vj_loader_stage stage = stage_of(1);
    vj_loader *l = open_loader(&config, &masks, &stage, NULL, NULL);
    const vj_batch *batch;
    assert_ok(vj_loader_next(l, &batch));
    assert_ok(vj_loader_next(l, &batch));
    assert_fails(vj_loader_next(l, &batch), VJ_ERR_BUG, "release one");
    vj_loader_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_prefetch_change_nothing),
        cmocka_unit_test(slots_are_shared_out_without_gaps),
        cmocka_unit_test(ranks_together_deliver_the_same),
        cmocka_unit_test(resuming_anywhere_changes_nothing),
        cmocka_unit_test(order_does_not_depend_on_the_shape_of_clips),
        cmocka_unit_test(groups_hold_clips_of_one_length),
        cmocka_unit_test(frames_by_time_work_too),
        cmocka_unit_test(held_out_windows_come_in_turn),
        cmocka_unit_test(held_out_keys_are_not_trained_on),
        cmocka_unit_test(bad_samples_are_replaced_in_one_way),
        cmocka_unit_test(too_many_bad_samples_end_the_run),
        cmocka_unit_test(passing_read_errors_are_tried_again),
        cmocka_unit_test(a_flipped_byte_costs_one_sample),
        cmocka_unit_test(closing_does_not_wait),
        cmocka_unit_test(other_data_or_order_is_refused),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(holding_everything_is_an_error_not_a_hang),
    };
    return cmocka_run_group_tests_name("data/loader", tests, setup, scratch_teardown);
}
