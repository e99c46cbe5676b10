// tests/data/test_masks.c: contexts and targets (spec/pretrain.md 3.2 to 3.5, 13.3; contracts 2)

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/masks.h"
#include "runtime/base/hash.h"

static vj_mask_config paper(int rng)
{
    return (vj_mask_config){
        .group = 24, .rng = rng, .truncate = VJ_TRUNCATE_SLOT, .n = 2,
        .blocks = { .n = 2, .v = { 8, 2 } },
        .spatial_low = { .n = 2, .v = { 0.15, 0.7 } }, .spatial_high = { .n = 2, .v = { 0.15, 0.7 } },
        .temporal_low = { .n = 2, .v = { 1, 1 } }, .temporal_high = { .n = 2, .v = { 1, 1 } },
        .aspect_low = { .n = 2, .v = { 0.75, 0.75 } }, .aspect_high = { .n = 2, .v = { 1.5, 1.5 } },
        .max_temporal_keep = { .n = 2, .v = { 1, 1 } }, .max_keep = { .n = 2, .v = { 0, 0 } },
    };
}

static const vj_token_grid grid16 = { 8, 16, 16 }, grid24 = { 32, 24, 24 };

static vj_masks *make(const vj_mask_config *config, int64_t samples, int64_t tokens)
{
    vj_masks *masks = NULL;
    if (vj_masks_create(&masks, config, 239, samples, tokens) != VJ_OK) fail_msg("%s", vj_error_text());
    return masks;
}

static void group(vj_masks *m, vj_token_grid grid, const uint64_t *g, int64_t B, int32_t *ids, vj_mask_pair *pairs)
{
    if (vj_masks_group(m, grid, g, B, NULL, ids, pairs) != VJ_OK) fail_msg("%s", vj_error_text());
}

static void golden_sizes(void **state)
{
    (void)state;
    static const struct { int seed, h16[2], w16[2], h24[2], w24[2]; } want[6] = {
        { 0, { 6, 12 }, { 7, 15 }, { 8, 18 }, { 10, 22 } }, { 1, { 6, 14 }, { 6, 13 }, { 10, 21 }, { 9, 20 } },
        { 2, { 7, 15 }, { 6, 12 }, { 10, 22 }, { 8, 18 } }, { 3, { 6, 13 }, { 6, 14 }, { 9, 20 }, { 9, 20 } },
        { 4, { 6, 12 }, { 7, 15 }, { 0, 0 }, { 0, 0 } },     { 5, { 7, 16 }, { 5, 11 }, { 11, 24 }, { 8, 17 } },
    };
    const vj_mask_config config = paper(VJ_MASK_OFFICIAL);
    vj_masks *m = make(&config, 1, 1);
    for (int k = 0; k < 6; k++) {
        vj_masks_slot(m, want[k].seed, 0);
        for (int mask = 0; mask < 2; mask++) {
            const vj_block_size a = vj_masks_size(m, mask, grid16), b = vj_masks_size(m, mask, grid24);
            assert_int_equal(a.t, 8);
            assert_int_equal(a.h, want[k].h16[mask]);
            assert_int_equal(a.w, want[k].w16[mask]);
            if (want[k].h24[mask] == 0) continue;
            assert_int_equal(b.h, want[k].h24[mask]);
            assert_int_equal(b.w, want[k].w24[mask]);
        }
    }
    vj_masks_destroy(&m);
}

static void golden_calls(void **state)
{
    (void)state;
    static const struct { int64_t K, P, sum_ctx, sum_tgt; uint32_t crc_ctx, crc_tgt; } want[4] = {
        { 640, 1184, 1699046, 3333065, 0x2fb5284a,
          0xe6bb53d0 }, { 400, 1560, 1163410, 4610185, 0x391ac86c, 0xf024c6fc },
        { 800, 1096, 2371211, 3047173, 0x639b645b, 0xfd0b4098 }, { 176, 1560, 338700, 4350515, 0xc43984d2, 0xaf646e84 },
    };
    const vj_mask_config config = paper(VJ_MASK_OFFICIAL);
    vj_masks *m = make(&config, 3, 2048);
    int32_t *ids = malloc(2 * 3 * 2048 * sizeof *ids);
    vj_masks_slot(m, 0, 0);
    vj_masks_seed_positions(m, 123);
    for (int call = 0; call < 2; call++) {
        vj_mask_pair pairs[2];
        group(m, grid16, NULL, 3, ids, pairs);
        for (int mask = 0; mask < 2; mask++) {
            const int k = 2 * call + mask;
            assert_int_equal(pairs[mask].K, want[k].K);
            assert_int_equal(pairs[mask].P, want[k].P);
            int64_t ctx = 0, tgt = 0;
            for (int64_t i = 0; i < 3 * pairs[mask].K; i++) ctx += pairs[mask].ctx[i];
            for (int64_t i = 0; i < 3 * pairs[mask].P; i++) tgt += pairs[mask].tgt[i];
            assert_int_equal(ctx, want[k].sum_ctx);
            assert_int_equal(tgt, want[k].sum_tgt);
            assert_int_equal(vj_crc32(0, pairs[mask].ctx, (size_t)(3 * pairs[mask].K) * 4), want[k].crc_ctx);
            assert_int_equal(vj_crc32(0, pairs[mask].tgt, (size_t)(3 * pairs[mask].P) * 4), want[k].crc_tgt);
        }
        vj_masks_step(m, 1);   // other sizes, while the positions run on
    }
    free(ids);
    vj_masks_destroy(&m);
}

// Sorted, apart from each other, equal counts; complete before truncation.
static void check_pair(const vj_mask_pair *p, int64_t B, int64_t N, bool one_is_whole)
{
    bool whole = false;
    assert_true(p->K >= 1 && p->P >= 1);
    unsigned char *seen = malloc((size_t)N);
    for (int64_t b = 0; b < B; b++) {
        memset(seen, 0, (size_t)N);
        for (int64_t i = 0; i < p->K; i++) {
            const int32_t id = p->ctx[b * p->K + i];
            assert_in_range(id, 0, N - 1);
            assert_true(i == 0 || id > p->ctx[b * p->K + i - 1]);
            seen[id] = 1;
        }
        for (int64_t i = 0; i < p->P; i++) {
            const int32_t id = p->tgt[b * p->P + i];
            assert_in_range(id, 0, N - 1);
            assert_true(i == 0 || id > p->tgt[b * p->P + i - 1]);
            assert_false(seen[id]);
            seen[id] = 2;
        }
        whole = whole || p->K + p->P == N;
    }
    if (one_is_whole) assert_true(whole);
    free(seen);
}

static void masks_have_their_properties(void **state)
{
    (void)state;
    static const vj_token_grid grids[] = { { 8, 16, 16 }, { 4, 4, 4 }, { 1, 8, 5 }, { 3, 7, 11 } };
    for (int rng = 0; rng < 2; rng++) {
        const vj_mask_config config = paper(rng);
        vj_masks *m = make(&config, 5, 2048);
        int32_t *ids = malloc(2 * 5 * 2048 * sizeof *ids);
        for (int64_t step = 0; step < 40; step++) {
            const vj_token_grid grid = grids[step % 4];
            vj_mask_pair pairs[2];
            vj_masks_slot(m, step, 0);
            group(m, grid, (const uint64_t[5]){ 10, 11, 12, 13, 14 }, 5, ids, pairs);
            for (int k = 0; k < 2; k++) check_pair(&pairs[k], 5, grid.t * grid.h * grid.w, false);
            group(m, grid, (const uint64_t[1]){ 10 }, 1, ids, pairs);
            for (int k = 0; k < 2; k++) check_pair(&pairs[k], 1, grid.t * grid.h * grid.w, true);
        }
        free(ids);
        vj_masks_destroy(&m);
    }
}

// Blocks shorter than the clip, a context that ends early, frames wider than a word of bits: counts and lists agree.
static void wide_frames_and_short_blocks(void **state)
{
    (void)state;
    static const vj_token_grid grids[] = { { 7, 5, 130 }, { 4, 30, 64 }, { 9, 3, 65 }, { 1, 2, 200 } };
    vj_mask_config config = paper(VJ_MASK_PHILOX);
    config.temporal_low = (vj_float_list){ .n = 2, .v = { 0.1, 0.4 } };
    config.temporal_high = (vj_float_list){ .n = 2, .v = { 0.7, 0.9 } };
    config.max_temporal_keep = (vj_float_list){ .n = 2, .v = { 0.8, 0.5 } };
    config.aspect_low = (vj_float_list){ .n = 2, .v = { 0.1, 0.1 } };
    vj_masks *m = make(&config, 1, 8192);
    int32_t *ids = malloc(2 * 8192 * sizeof *ids);
    for (int64_t step = 0; step < 100; step++) {
        const vj_token_grid grid = grids[step % 4];
        vj_mask_pair pairs[2];
        vj_masks_slot(m, step, 0);
        group(m, grid, (const uint64_t[1]){ (uint64_t)step }, 1, ids, pairs);
        for (int k = 0; k < 2; k++) check_pair(&pairs[k], 1, grid.t * grid.h * grid.w, true);
    }
    free(ids);
    vj_masks_destroy(&m);
}

// Every target of a single sample lies in a union of boxes that reach through time: each frame has the same pattern.
static void whole_clip_blocks_are_tubes(void **state)
{
    (void)state;
    const vj_mask_config config = paper(VJ_MASK_PHILOX);
    vj_masks *m = make(&config, 1, 2048);
    int32_t *ids = malloc(2 * 2048 * sizeof *ids);
    vj_mask_pair pairs[2];
    group(m, grid16, (const uint64_t[1]){ 77 }, 1, ids, pairs);
    for (int k = 0; k < 2; k++) {
        const int64_t per_frame = pairs[k].P / 8;
        assert_int_equal(pairs[k].P, 8 * per_frame);
        for (int64_t i = 0; i < pairs[k].P; i++)
            assert_int_equal(pairs[k].tgt[i], pairs[k].tgt[i % per_frame] + 256 * (i / per_frame));
    }
    free(ids);
    vj_masks_destroy(&m);
}

// philox: a sample's mask depends on its number and the step, not on who is beside it.
static void philox_masks_belong_to_the_sample(void **state)
{
    (void)state;
    const vj_mask_config config = paper(VJ_MASK_PHILOX);
    vj_masks *m = make(&config, 4, 2048);
    int32_t *alone = malloc(2 * 4 * 2048 * sizeof *alone), *together = malloc(2 * 4 * 2048 * sizeof *together);
    vj_mask_pair a[2], t[2];
    vj_masks_slot(m, 5, 3);
    group(m, grid16, (const uint64_t[4]){ 100, 101, 102, 103 }, 4, together, t);
    vj_masks_slot(m, 5, 0);   // the slot plays no part
    for (uint64_t b = 0; b < 4; b++) {
        group(m, grid16, (const uint64_t[1]){ 100 + b }, 1, alone, a);
        for (int k = 0; k < 2; k++) {
            assert_memory_equal(a[k].ctx, t[k].ctx + (int64_t)b * t[k].K, (size_t)t[k].K * 4);
            assert_memory_equal(a[k].tgt, t[k].tgt + (int64_t)b * t[k].P, (size_t)t[k].P * 4);
        }
    }
    group(m, grid16, (const uint64_t[1]){ 104 }, 1, alone, a);
    group(m, grid16, (const uint64_t[1]){ 100 }, 1, together, t);
    assert_true(a[0].P != t[0].P || memcmp(a[0].tgt, t[0].tgt, (size_t)t[0].P * 4) != 0);
    free(alone);
    free(together);
    vj_masks_destroy(&m);
}

// spec/pretrain.md 3.4: what is left of 8 x 16 x 16 tokens, alone and after truncation over 24 samples.
static void token_counts_agree_with_the_published_means(void **state)
{
    (void)state;
    vj_mask_counts c[VJ_MAX_MASKS];
    const vj_mask_config config = paper(VJ_MASK_PHILOX);
    assert_int_equal(vj_masks_simulate(&config, 1, grid16, 1, 1, 3000, c), VJ_OK);
    assert_true(fabs(c[0].mean_K / 2048 - 0.384) < 0.008);
    assert_true(fabs(c[1].mean_K / 2048 - 0.190) < 0.008);
    assert_int_equal(vj_masks_simulate(&config, 1, grid16, 24, 128, 300, c), VJ_OK);
    assert_true(fabs(c[0].mean_K - 502) < 25 && fabs(c[0].mean_P - 953) < 30);
    assert_true(fabs(c[1].mean_K - 134) < 15 && fabs(c[1].mean_P - 1441) < 25);
    assert_true(c[0].max_K <= 720 && c[1].max_K <= 320);
    assert_true(c[0].mean_KK >= c[0].mean_K * c[0].mean_K);
}

// What `config check` counts with: over all slots of a step less is left; fixed counts are between those of a group and those of all.
static void simulation_knows_the_modes(void **state)
{
    (void)state;
    vj_mask_counts slot[VJ_MAX_MASKS], global[VJ_MAX_MASKS], fixed[VJ_MAX_MASKS], rank[VJ_MAX_MASKS];
    vj_mask_config config = paper(VJ_MASK_PHILOX);
    assert_int_equal(vj_masks_simulate(&config, 1, grid16, 24, 8, 50, slot), VJ_OK);
    config.truncate = VJ_TRUNCATE_GLOBAL;
    assert_int_equal(vj_masks_simulate(&config, 1, grid16, 24, 8, 50, global), VJ_OK);
    config.truncate = VJ_TRUNCATE_FIXED;
    assert_int_equal(vj_masks_simulate(&config, 1, grid16, 24, 8, 50, fixed), VJ_OK);
    config.truncate = VJ_TRUNCATE_RANK;
    assert_int_equal(vj_masks_simulate(&config, 1, grid16, 24, 8, 50, rank), VJ_OK);
    for (int k = 0; k < 2; k++) {
        assert_true(global[k].mean_K < 0.95 * slot[k].mean_K && global[k].mean_P < slot[k].mean_P);
        assert_true(global[k].max_K < slot[k].max_K && global[k].max_P <= slot[k].max_P);
        assert_true(fabs(fixed[k].mean_K / slot[k].mean_K - 1) < 0.25 && fixed[k].mean_K > global[k].mean_K);
        assert_true(rank[k].mean_K == slot[k].mean_K && rank[k].max_P == slot[k].max_P);   // one slot per rank
    }
}

static void limits_on_the_context(void **state)
{
    (void)state;
    vj_mask_config config = paper(VJ_MASK_PHILOX);
    config.max_keep = (vj_int_list){ .n = 2, .v = { 100, 1 } };
    config.max_temporal_keep = (vj_float_list){ .n = 2, .v = { 0.5, 0.01 } };
    vj_masks *m = make(&config, 3, 2048);
    int32_t *ids = malloc(2 * 3 * 2048 * sizeof *ids);
    vj_mask_pair pairs[2];
    for (int64_t step = 0; step < 20; step++) {
        vj_masks_slot(m, step, 0);
        group(m, grid16, (const uint64_t[3]){ 1, 2, 3 }, 3, ids, pairs);
        assert_true(pairs[0].K <= 100);
        assert_int_equal(pairs[1].K, 1);   // one id per sample is a list like any other
        for (int64_t i = 0; i < 3 * pairs[0].K; i++) assert_true(pairs[0].ctx[i] < 4 * 256);
        for (int64_t i = 0; i < 3; i++) assert_true(pairs[1].ctx[i] < 256);
        check_pair(&pairs[0], 3, 2048, false);
        check_pair(&pairs[1], 3, 2048, false);
    }
    free(ids);
    vj_masks_destroy(&m);
}

static void impossible_masks_are_refused(void **state)
{
    (void)state;
    vj_mask_config config = paper(VJ_MASK_PHILOX);
    assert_int_equal(vj_masks_check(&config, grid16), VJ_OK);
    assert_int_equal(vj_masks_check(&config, (vj_token_grid){ 8, 2, 2 }), VJ_ERR_CONFIG);   // 0.15 of 4 tokens is none
    assert_non_null(strstr(vj_error_text(), "entry 1, 0.15, cuts no whole token out of 2 x 2"));
    config = paper(VJ_MASK_PHILOX);
    config.spatial_low.v[1] = config.spatial_high.v[1] = 1;
    config.aspect_low.v[1] = config.aspect_high.v[1] = 1;
    assert_int_equal(vj_masks_check(&config, grid16), VJ_ERR_CONFIG);
    assert_non_null(strstr(vj_error_text(), "always cuts out the whole clip"));
    // Not always, but with the aspect ratio of some step: found when drawing, and the drawing ends.
    config.spatial_low.v[1] = 0.9;
    vj_masks *m = make(&config, 1, 2048);
    int32_t *ids = malloc(2 * 2048 * sizeof *ids);
    vj_mask_pair pairs[2];
    config.blocks.v[1] = 21;
    config.spatial_low.v[1] = 0.97;
    vj_status status = VJ_OK;
    for (int64_t step = 0; step < 50 && status == VJ_OK; step++) {
        vj_masks_slot(m, step, 0);
        status = vj_masks_group(m, grid16, (const uint64_t[1]){ 1 }, 1, NULL, ids, pairs);
    }
    assert_int_equal(status, VJ_ERR_CONFIG);
    assert_non_null(strstr(vj_error_text(), "left no context in 4096 drawings"));
    free(ids);
    vj_masks_destroy(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_sizes),
        cmocka_unit_test(golden_calls),
        cmocka_unit_test(masks_have_their_properties),
        cmocka_unit_test(wide_frames_and_short_blocks),
        cmocka_unit_test(whole_clip_blocks_are_tubes),
        cmocka_unit_test(philox_masks_belong_to_the_sample),
        cmocka_unit_test(token_counts_agree_with_the_published_means),
        cmocka_unit_test(simulation_knows_the_modes),
        cmocka_unit_test(limits_on_the_context),
        cmocka_unit_test(impossible_masks_are_refused),
    };
    return cmocka_run_group_tests_name("data/masks", tests, NULL, NULL);
}
