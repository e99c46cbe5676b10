// tests/data/test_mask_modes.c: mask.truncate through the loader, against masks drawn here by the definitions of contracts 2: all
// samples of the scope are painted, the smallest counts (or the quantiles) looked up, the first ids taken.

#include <math.h>
#include <string.h>

#include "data/loader_impl.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

enum { STEPS = 4, BATCH = 8, SLOT = 2, SLOTS = BATCH / SLOT, MASKS = 2, SIDE = 8, SEED = 239, MOST = 4 * SIDE * SIDE };

static char shards_dir[4096];
static int64_t fpc_of[STEPS * BATCH];   // place in the list of frames per clip of each sample: 8 frames of videos, 4 of pictures

static vj_data_config data_config(void)
{
    vj_data_config c = { .fps = 4, .crop = 64, .crop_scale_low = 0.3, .crop_scale_high = 1, .crop_ratio_low = 0.75,
                         .crop_ratio_high = 1.35, .flip = true, .prefetch = 2, .max_bad = 0.001,
                         .weights = { .n = 2, .name = { "tiny", "pictures" }, .v = { 0.75, 0.25 } } };
    vj_format(c.dir, sizeof c.dir, "%s", shards_dir);
    return c;
}

static vj_mask_config mask_config(int rng, int truncate)
{
    return (vj_mask_config){
        .group = SLOT, .n = MASKS, .rng = rng, .truncate = truncate, .blocks = { .n = 2, .v = { 3, 1 } },
        .spatial_low = { .n = 2, .v = { 0.15, 0.5 } }, .spatial_high = { .n = 2, .v = { 0.2, 0.6 } },
        .temporal_low = { .n = 2, .v = { 0.3, 1 } }, .temporal_high = { .n = 2, .v = { 1, 1 } },
        .aspect_low = { .n = 2, .v = { 0.75, 0.75 } }, .aspect_high = { .n = 2, .v = { 1.5, 1.5 } },
        .max_temporal_keep = { .n = 2, .v = { 1, 0.8 } }, .max_keep = { .n = 2, .v = { 100, 0 } },
    };
}

static vj_loader_stage stage_of(int rank, int world)
{
    return (vj_loader_stage){ .seed = SEED, .batch = BATCH, .slot = SLOT, .crop = 8 * SIDE, .tubelet = 2, .patch = 8,
                              .fpc = { .n = 2, .v = { 8, 4 } }, .fps = 4, .rank = rank, .world = world, .threads = 1 };
}

static vj_loader *open_loader(const vj_mask_config *masks, int rank, int world)
{
    vj_loader *l = NULL;
    const vj_data_config config = data_config();
    const vj_loader_stage stage = stage_of(rank, world);
    assert_ok(vj_loader_open(&l, &config, masks, &stage, NULL, NULL));
    return l;
}

static int setup(void **state)
{
    if (scratch_setup(state) != 0) return -1;
    const vj_tiny_shards_options options = { .images = 12, .hold_out = 0.3, .threads = 2 };
    vj_path_join(shards_dir, sizeof shards_dir, *state, "shards");
    if (vj_tiny_shards(*state, &options) != VJ_OK) return -1;
    const vj_mask_config masks = mask_config(VJ_MASK_PHILOX, VJ_TRUNCATE_SLOT);
    vj_loader *l = open_loader(&masks, 0, 1);
    for (int step = 0; step < STEPS; step++) {
        const vj_batch *batch;
        assert_ok(vj_loader_next(l, &batch));
        for (int s = 0; s < SLOTS; s++) {
            for (int i = 0; i < batch->slots[s].n_groups; i++) {
                const vj_clip_group *g = &batch->slots[s].groups[i];
                for (int64_t b = 0; b < g->B; b++) fpc_of[g->g[b]] = g->fpc_index;
            }
        }
        vj_loader_release(l, batch);
    }
    vj_loader_close(&l);
    return 0;
}

// ---- the definitions --------------------------------------------------------------------------------------------------

typedef struct sample { int64_t K, P; bool kept[MOST]; } sample;
static sample drawn[STEPS * BATCH][MASKS];
typedef struct counts { int64_t K, P; } counts;

static vj_token_grid grid_of(int64_t index) { return (vj_token_grid){ index == 0 ? 4 : 2, SIDE, SIDE }; }

static vj_block_size size_at(const vj_mask_config *c, int64_t step, int m, vj_token_grid grid)
{
    double u[3];
    vj_mt19937 mt;
    vj_mt19937_seed(&mt, (uint32_t)step);
    for (uint32_t i = 0; i < 3; i++) {
        u[i] = c->rng == VJ_MASK_OFFICIAL ? (double)(vj_mt19937_next(&mt) & 0xffffff) / 16777216.0
                                          : vj_rng_uniform(SEED, (uint64_t)step, VJ_TAG_MASK_SIZE, 4 * (uint32_t)m + i, 0);
    }
    const double t = c->temporal_low.v[m] + u[0] * (c->temporal_high.v[m] - c->temporal_low.v[m]);
    const double area = c->spatial_low.v[m] + u[1] * (c->spatial_high.v[m] - c->spatial_low.v[m]);
    const double aspect = c->aspect_low.v[m] + u[2] * (c->aspect_high.v[m] - c->aspect_low.v[m]);
    const double k = floor((double)(grid.h * grid.w) * area);
    return (vj_block_size){ (int64_t)fmax(1, floor((double)grid.t * t)), (int64_t)fmin((double)grid.h, rint(sqrt(k * aspect))),
                            (int64_t)fmin((double)grid.w, rint(sqrt(k / aspect))) };
}

// One drawing of all blocks, painted token by token. `mt` NULL: Philox.
static void paint(const vj_mask_config *c, int m, vj_token_grid grid, vj_block_size size, vj_mt19937 *mt, uint64_t seed, uint32_t tag,
                  uint64_t id, uint32_t redraw, sample *out)
{
    const int64_t N = grid.t * grid.h * grid.w, room[3] = { grid.h - size.h, grid.w - size.w, grid.t - size.t };
    const int64_t duration = (int64_t)fmax(1, floor((double)grid.t * c->max_temporal_keep.v[m]));
    for (int64_t i = 0; i < N; i++) out->kept[i] = i / (grid.h * grid.w) < duration;
    for (uint32_t block = 0; block < (uint32_t)c->blocks.v[m]; block++) {
        int64_t at[3];
        for (uint32_t i = 0; i < 3; i++) {
            at[i] = mt ? (int64_t)(vj_mt19937_next(mt) % (uint64_t)(room[i] + 1))
                       : (int64_t)vj_rng_below(seed, id, tag, 63 * (uint32_t)m + 3 * block + i, redraw, (uint64_t)(room[i] + 1));
        }
        for (int64_t i = 0; i < N; i++) {
            const int64_t t = i / (grid.h * grid.w), y = i / grid.w % grid.h, x = i % grid.w;
            const bool inside = y >= at[0] && y < at[0] + size.h && x >= at[1] && x < at[1] + size.w && t >= at[2] && t < at[2] + size.t;
            if (inside) out->kept[i] = false;
        }
    }
    out->K = 0;
    for (int64_t i = 0; i < N; i++) out->K += out->kept[i];
    out->P = N - out->K;
}

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

// The 1/24 quantiles of kept and of removed counts over 4,096 draws: 170 (4,096 / 24) of them come before.
static counts quantiles(const vj_mask_config *c, int m, vj_token_grid grid, vj_block_size size)
{
    static int64_t kept[4096], removed[4096];
    static counts known[MASKS][5][5][2 * SIDE + 1][2 * SIDE + 1];
    counts *out = &known[m][grid.t][size.t][size.h][size.w];
    if (out->K > 0) return *out;
    sample s;
    for (uint64_t i = 0; i < 4096; i++) {
        uint32_t redraw = 0;
        do paint(c, m, grid, size, NULL, 0, VJ_TAG_MASK_FIXED, i, redraw++, &s);
        while (s.K == 0);
        kept[i] = s.K;
        removed[i] = s.P;
    }
    qsort(kept, 4096, sizeof *kept, ascending);
    qsort(removed, 4096, sizeof *removed, ascending);
    *out = (counts){ c->max_keep.v[m] > 0 && kept[170] > c->max_keep.v[m] ? c->max_keep.v[m] : kept[170], removed[170] };
    return *out;
}

// Draws sample g into its place, again while it has too little; from `mt` on with the published generator.
static void draw(const vj_mask_config *c, int64_t step, int64_t g, int m, vj_mt19937 *mt)
{
    const vj_token_grid grid = grid_of(fpc_of[g]);
    const vj_block_size size = size_at(c, step, m, grid);
    counts least = { 1, 0 };
    if (c->truncate == VJ_TRUNCATE_FIXED) least = quantiles(c, m, grid, size);
    uint32_t redraw = 0;
    do paint(c, m, grid, size, c->rng == VJ_MASK_OFFICIAL ? mt : NULL, SEED, VJ_TAG_MASK_POSITION, (uint64_t)g, redraw++, &drawn[g][m]);
    while (drawn[g][m].K < least.K || drawn[g][m].P < least.P);
}

// All samples of a step in the order of the published generator, which begins anew for each slot, with `rank` for each rank: groups
// in the order of the list, in them masks, in them samples.
static void draw_step(const vj_mask_config *c, int64_t step, int world)
{
    const int64_t streams = c->truncate == VJ_TRUNCATE_RANK ? world : SLOTS;
    for (int64_t stream = 0; stream < streams; stream++) {
        vj_mt19937 mt;
        vj_mt19937_seed(&mt, (uint32_t)vj_rng_u64(SEED, (uint64_t)step, VJ_TAG_MASK_SEED, 0, (uint32_t)stream));
        for (int64_t index = 0; index < 2; index++) {
            for (int m = 0; m < MASKS; m++) {
                for (int64_t v = stream; v < SLOTS; v += streams) {
                    for (int64_t b = 0; b < SLOT; b++) {
                        const int64_t g = step * BATCH + v * SLOT + b;
                        if (fpc_of[g] == index) draw(c, step, g, m, &mt);
                    }
                }
            }
        }
    }
}

// What the samples of one slot and one length of clip are cut to.
static counts cut(const vj_mask_config *c, int64_t step, int64_t slot, int64_t index, int m, int world)
{
    if (c->truncate == VJ_TRUNCATE_FIXED) return quantiles(c, m, grid_of(index), size_at(c, step, m, grid_of(index)));
    counts least = { MOST, MOST };
    for (int64_t v = 0; v < SLOTS; v++) {
        if (c->truncate == VJ_TRUNCATE_SLOT && v != slot) continue;
        if (c->truncate == VJ_TRUNCATE_RANK && v % world != slot % world) continue;
        for (int64_t g = step * BATCH + v * SLOT; g < step * BATCH + (v + 1) * SLOT; g++) {
            if (fpc_of[g] != index) continue;
            if (drawn[g][m].K < least.K) least.K = drawn[g][m].K;
            if (drawn[g][m].P < least.P) least.P = drawn[g][m].P;
        }
    }
    if (c->max_keep.v[m] > 0 && least.K > c->max_keep.v[m]) least.K = c->max_keep.v[m];
    return least;
}

static void check_ids(const int32_t *ids, int64_t n, const sample *s, bool kept)
{
    int64_t at = 0;
    for (int32_t id = 0; at < n; id++) {
        assert_true(id < MOST);
        if (s->kept[id] == kept) assert_int_equal(ids[at++], id);
    }
}

static void check_slot(const vj_mask_config *c, int64_t step, const vj_slot *slot, int world)
{
    for (int i = 0; i < slot->n_groups; i++) {
        const vj_clip_group *g = &slot->groups[i];
        for (int m = 0; m < MASKS; m++) {
            const counts want = cut(c, step, slot->index, g->fpc_index, m, world);
            assert_int_equal(g->pairs[m].K, want.K);
            assert_int_equal(g->pairs[m].P, want.P);
            for (int64_t b = 0; b < g->B; b++) {
                check_ids(g->pairs[m].ctx + b * want.K, want.K, &drawn[g->g[b]][m], true);
                check_ids(g->pairs[m].tgt + b * want.P, want.P, &drawn[g->g[b]][m], false);
            }
        }
    }
}

// ---- tests ------------------------------------------------------------------------------------------------------------

// slot, global and fixed are checked against one drawing of the step whatever the number of ranks: so it changes nothing.
static void every_mode_is_as_defined(void **state)
{
    (void)state;
    for (int rng = 0; rng < 2; rng++) {
        for (int truncate = VJ_TRUNCATE_SLOT; truncate <= VJ_TRUNCATE_RANK; truncate++) {
            const vj_mask_config masks = mask_config(rng, truncate);
            for (int world = 1; world <= SLOTS; world++) {   // 3 does not divide 4
                if (world == 1 || truncate == VJ_TRUNCATE_RANK) {
                    for (int step = 0; step < STEPS; step++) draw_step(&masks, step, world);
                }
                for (int rank = 0; rank < world; rank++) {
                    vj_loader *l = open_loader(&masks, rank, world);
                    for (int step = 0; step < STEPS; step++) {
                        const vj_batch *batch;
                        assert_ok(vj_loader_next(l, &batch));
                        for (int s = 0; s < batch->n_slots; s++) check_slot(&masks, step, &batch->slots[s], world);
                        vj_loader_release(l, batch);
                    }
                    vj_loader_close(&l);
                }
            }
        }
    }
}

// The modes differ where they should: some slot is cut to more than the step, some rank to more than the step.
static void modes_differ(void **state)
{
    (void)state;
    int64_t sum[VJ_TRUNCATE_RANK + 1] = { 0 };
    for (int truncate = VJ_TRUNCATE_SLOT; truncate <= VJ_TRUNCATE_RANK; truncate++) {
        const vj_mask_config masks = mask_config(VJ_MASK_PHILOX, truncate);
        for (int step = 0; step < STEPS; step++) {
            draw_step(&masks, step, 2);
            for (int slot = 0; slot < SLOTS; slot++) sum[truncate] += cut(&masks, step, slot, 0, 1, 2).K + cut(&masks, step, slot, 0, 0, 2).P;
        }
    }
    assert_true(sum[VJ_TRUNCATE_SLOT] > sum[VJ_TRUNCATE_RANK] && sum[VJ_TRUNCATE_RANK] > sum[VJ_TRUNCATE_GLOBAL]);
}

// The counts of `fixed` are the quantiles of the block shape: neither the seed nor the generator has a part in them, and a step of the
// same shape has the same ones. 256 tokens in one frame have enough different counts to tell 1/24 from 1/25.
static void fixed_counts_belong_to_the_shape(void **state)
{
    (void)state;
    const vj_token_grid grid = { 1, 2 * SIDE, 2 * SIDE };
    int64_t seen[2 * SIDE + 1][2 * SIDE + 1] = { 0 };
    int shapes = 0, again = 0;
    for (int rng = 0; rng < 2; rng++) {
        vj_mask_config masks = mask_config(rng, VJ_TRUNCATE_FIXED);
        masks.max_keep = (vj_int_list){ .n = 2, .v = { 0, 0 } };
        masks.spatial_low.v[0] = masks.spatial_high.v[0] = 0.15;
        vj_masks *m = NULL;
        assert_ok(vj_masks_create(&m, &masks, 7 + (uint64_t)rng, 1, 256));
        for (int step = 0; step < 20; step++) {
            int64_t K, P;
            vj_masks_slot(m, step, 0);
            const vj_block_size size = vj_masks_size(m, 0, grid);
            assert_ok(vj_masks_fixed(m, 0, grid, &K, &P));
            const counts want = quantiles(&masks, 0, grid, size);
            assert_int_equal(K, want.K);
            assert_int_equal(P, want.P);
            int64_t *known = &seen[size.h][size.w];
            if (*known == 0) shapes++;
            else again++;
            if (*known != 0) assert_int_equal(*known, K * 4096 + P);
            *known = K * 4096 + P;
        }
        vj_masks_destroy(&m);
    }
    assert_true(shapes >= 3 && again >= 3);
}

// With one group of one slot there is nothing to agree on: global and rank are slot, as for held-out clips.
static void one_slot_is_all_there_is(void **state)
{
    (void)state;
    for (int truncate = VJ_TRUNCATE_GLOBAL; truncate <= VJ_TRUNCATE_RANK; truncate++) {
        if (truncate == VJ_TRUNCATE_FIXED) continue;
        const vj_data_config config = data_config();
        const vj_mask_config masks = mask_config(VJ_MASK_PHILOX, truncate), plain = mask_config(VJ_MASK_PHILOX, VJ_TRUNCATE_SLOT);
        vj_loader_stage stage = stage_of(0, 1);
        stage.batch = stage.slot;
        stage.held_out = true;
        vj_loader *a = NULL, *b = NULL;
        assert_ok(vj_loader_open(&a, &config, &masks, &stage, NULL, NULL));
        assert_ok(vj_loader_open(&b, &config, &plain, &stage, NULL, NULL));
        for (int step = 0; step < STEPS; step++) {
            const vj_batch *x, *y;
            assert_ok(vj_loader_next(a, &x));
            assert_ok(vj_loader_next(b, &y));
            const vj_clip_group *p = &x->slots[0].groups[0], *q = &y->slots[0].groups[0];
            for (int m = 0; m < MASKS; m++) {
                assert_int_equal(p->pairs[m].K, q->pairs[m].K);
                assert_int_equal(p->pairs[m].P, q->pairs[m].P);
                assert_memory_equal(p->pairs[m].ctx, q->pairs[m].ctx, (size_t)(p->B * p->pairs[m].K) * 4);
                assert_memory_equal(p->pairs[m].tgt, q->pairs[m].tgt, (size_t)(p->B * p->pairs[m].P) * 4);
            }
            vj_loader_release(a, x);
            vj_loader_release(b, y);
        }
        vj_loader_close(&a);
        vj_loader_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode_is_as_defined),
        cmocka_unit_test(modes_differ),
        cmocka_unit_test(fixed_counts_belong_to_the_shape),
        cmocka_unit_test(one_slot_is_all_there_is),
    };
    return cmocka_run_group_tests_name("data/mask_modes", tests, setup, scratch_teardown);
}
