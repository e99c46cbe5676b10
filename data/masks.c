// data/masks.c
//
// Blocks are cut out of a clip of ones: what is left is context, what was cut is predicted. One block size per call for
// all samples, one position per block and sample.
//
// Easy to get wrong: the published generator draws top, left, start in this order; rounding is half-to-even; a rejected
// drawing (no context left) does not count for the smallest counts, but its random numbers are used up.

#include "data/masks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/rng.h"

struct vj_masks {
    const vj_mask_config *config;
    uint64_t seed;
    int64_t samples, tokens;      // capacity
    int64_t step, slot;
    vj_mt19937 positions;         // official
    uint8_t *kept;                // (tokens) 1: context
    int32_t *ctx, *tgt;           // (samples, tokens) before truncation
    int64_t *K, *P;               // (samples)
};

// ---- sizes --------------------------------------------------------------------------------------------------------

static vj_block_size size_of(const vj_mask_config *c, int m, vj_token_grid grid, const double u[3])
{
    const double temporal = c->temporal_low.v[m] + u[0] * (c->temporal_high.v[m] - c->temporal_low.v[m]);
    const double spatial = c->spatial_low.v[m] + u[1] * (c->spatial_high.v[m] - c->spatial_low.v[m]);
    const double aspect = c->aspect_low.v[m] + u[2] * (c->aspect_high.v[m] - c->aspect_low.v[m]);
    const int64_t t = (int64_t)((double)grid.t * temporal), k = (int64_t)((double)(grid.h * grid.w) * spatial);
    const int64_t h = (int64_t)nearbyint(sqrt((double)k * aspect)), w = (int64_t)nearbyint(sqrt((double)k / aspect));
    return (vj_block_size){ .t = t < 1 ? 1 : t, .h = h < grid.h ? h : grid.h, .w = w < grid.w ? w : grid.w };
}

vj_block_size vj_masks_size(const vj_masks *masks, int mask, vj_token_grid grid)
{
    double u[3];
    if (masks->config->rng == VJ_MASK_OFFICIAL) {
        vj_mt19937 mt;
        vj_mt19937_seed(&mt, (uint32_t)masks->step);
        for (int i = 0; i < 3; i++) u[i] = (double)(vj_mt19937_next(&mt) & 0xffffff) * 0x1p-24;
    } else {
        for (uint32_t i = 0; i < 3; i++) {
            u[i] = vj_rng_uniform(masks->seed, (uint64_t)masks->step, VJ_TAG_MASK_SIZE, 4 * (uint32_t)mask + i, 0);
        }
    }
    return size_of(masks->config, mask, grid, u);
}

vj_status vj_masks_check(const vj_mask_config *c, vj_token_grid grid)
{
    VJ_CHECK(c->truncate == VJ_TRUNCATE_SLOT, VJ_ERR_CONFIG,
             "mask.truncate: only 'slot' is there; the others come with ranks");
    VJ_CHECK(c->n >= 1 && c->n <= VJ_MAX_MASKS, VJ_ERR_CONFIG, "mask.blocks: %lld masks, between 1 and %d are possible",
             (long long)c->n, VJ_MAX_MASKS);
    VJ_CHECK(grid.t >= 1 && grid.h >= 1 && grid.w >= 1, VJ_ERR_CONFIG, "a clip of %lld x %lld x %lld tokens is empty",
             (long long)grid.t, (long long)grid.h, (long long)grid.w);
    for (int m = 0; m < c->n; m++) {
        VJ_CHECK(c->blocks.v[m] >= 1 && c->blocks.v[m] * 3 <= VJ_MASK_DRAWS, VJ_ERR_CONFIG,
                 "mask.blocks: entry %d is %lld, between 1 and %d are possible", m + 1, (long long)c->blocks.v[m],
                 VJ_MASK_DRAWS / 3);
        VJ_CHECK(c->aspect_low.v[m] > 0, VJ_ERR_CONFIG, "mask.aspect_low: entry %d is %g, it must be positive", m + 1,
                 c->aspect_low.v[m]);
        // Height grows with the aspect ratio, width falls; both grow with the area.
        const vj_block_size low = size_of(c, m, grid, (double[3]){ 0, 0, 0 });
        const vj_block_size high = size_of(c, m, grid, (double[3]){ 0, 0, 1 });
        VJ_CHECK(low.h >= 1 && high.w >= 1, VJ_ERR_CONFIG,
                 "mask.spatial_low: entry %d, %g, cuts no whole token out of %lld x %lld; use a larger share or more tokens",
                 m + 1,
                 c->spatial_low.v[m], (long long)grid.h, (long long)grid.w);
        const vj_block_size least = size_of(c, m, grid, (double[3]){ 0, 0, 0.5 });
        VJ_CHECK(low.t < grid.t || least.h < grid.h || least.w < grid.w, VJ_ERR_CONFIG,
                 "mask.spatial_low: entry %d, %g, always cuts out the whole clip of %lld x %lld x %lld tokens", m + 1,
                 c->spatial_low.v[m], (long long)grid.t, (long long)grid.h, (long long)grid.w);
    }
    return VJ_OK;
}

// ---- life ---------------------------------------------------------------------------------------------------------

vj_status vj_masks_create(vj_masks **out, const vj_mask_config *config, uint64_t seed, int64_t samples, int64_t tokens)
{
    *out = NULL;
    vj_masks *m = calloc(1, sizeof *m);
    VJ_CHECK(m != NULL, VJ_ERR_NOMEM, "no memory for a mask generator");
    m->config = config;
    m->seed = seed;
    m->samples = samples;
    m->tokens = tokens;
    m->kept = calloc((size_t)tokens, 1);
    m->ctx = calloc((size_t)(samples * tokens), sizeof *m->ctx);
    m->tgt = calloc((size_t)(samples * tokens), sizeof *m->tgt);
    m->K = calloc((size_t)samples, sizeof *m->K);
    m->P = calloc((size_t)samples, sizeof *m->P);
    if (!m->kept || !m->ctx || !m->tgt || !m->K || !m->P) {
        vj_masks_destroy(&m);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for masks of %lld samples x %lld tokens", (long long)samples,
                (long long)tokens);
    }
    vj_masks_slot(m, 0, 0);
    *out = m;
    return VJ_OK;
}

void vj_masks_destroy(vj_masks **masks)
{
    vj_masks *m = *masks;
    if (m == NULL) return;
    free(m->kept);
    free(m->ctx);
    free(m->tgt);
    free(m->K);
    free(m->P);
    free(m);
    *masks = NULL;
}

void vj_masks_seed_positions(vj_masks *masks, uint32_t seed) { vj_mt19937_seed(&masks->positions, seed); }

void vj_masks_step(vj_masks *masks, int64_t step) { masks->step = step; }

void vj_masks_slot(vj_masks *masks, int64_t step, int64_t slot)
{
    masks->step = step;
    masks->slot = slot;
    if (masks->config->rng != VJ_MASK_OFFICIAL) return;
    const uint64_t seed = vj_rng_u64(masks->seed, (uint64_t)step, VJ_TAG_MASK_SEED, 0, (uint32_t)slot);
    vj_masks_seed_positions(masks, (uint32_t)seed);
}

// ---- one sample ---------------------------------------------------------------------------------------------------

typedef struct sample_key { uint64_t g; uint32_t redraw; uint32_t mask; } sample_key;

// A position in [0, room].
static int64_t draw_position(vj_masks *m, const sample_key *key, uint32_t draw, int64_t room)
{
    if (m->config->rng == VJ_MASK_OFFICIAL) return (int64_t)(vj_mt19937_next(&m->positions) % (uint64_t)(room + 1));
    return (int64_t)vj_rng_below(m->seed, key->g, VJ_TAG_MASK_POSITION, VJ_MASK_DRAWS * key->mask + draw, key->redraw,
                                 (uint64_t)(room + 1));
}

static void cut_blocks(vj_masks *m, const sample_key *key, vj_token_grid grid, vj_block_size size)
{
    memset(m->kept, 1, (size_t)(grid.t * grid.h * grid.w));
    for (uint32_t block = 0; block < (uint32_t)m->config->blocks.v[key->mask]; block++) {
        const int64_t top = draw_position(m, key, 3 * block, grid.h - size.h);
        const int64_t left = draw_position(m, key, 3 * block + 1, grid.w - size.w);
        const int64_t start = draw_position(m, key, 3 * block + 2, grid.t - size.t);
        for (int64_t t = start; t < start + size.t; t++) {
            uint8_t *row = m->kept + (t * grid.h + top) * grid.w + left;
            for (int64_t y = 0; y < size.h; y++) memset(row + y * grid.w, 0, (size_t)size.w);
        }
    }
    int64_t duration = (int64_t)((double)grid.t * m->config->max_temporal_keep.v[key->mask]);
    if (duration < 1) duration = 1;
    for (int64_t t = duration; t < grid.t; t++) memset(m->kept + t * grid.h * grid.w, 0, (size_t)(grid.h * grid.w));
}

// Draws until some context is left; the ids of sample b go to ctx[b] and tgt[b].
static vj_status draw_sample(vj_masks *m, int mask, vj_token_grid grid, vj_block_size size, uint64_t g, int64_t b)
{
    const int64_t N = grid.t * grid.h * grid.w;
    int32_t *ctx = m->ctx + b * N, *tgt = m->tgt + b * N;
    for (uint32_t redraw = 0; redraw < VJ_MASK_REDRAWS; redraw++) {
        cut_blocks(m, &(sample_key){ .g = g, .redraw = redraw, .mask = (uint32_t)mask }, grid, size);
        int64_t K = 0, P = 0;
        for (int32_t id = 0; id < N; id++) {
            ctx[K] = tgt[P] = id;
            K += m->kept[id];
            P += 1 - m->kept[id];
        }
        m->K[b] = K;
        m->P[b] = P;
        if (K > 0) return VJ_OK;
    }
    VJ_FAIL(VJ_ERR_CONFIG,
            "mask %d: %lld blocks of %lld x %lld x %lld left no context in %d drawings of a clip of %lld x %lld x %lld "
            "tokens; lower mask.blocks or mask.spatial_high",
            mask + 1, (long long)m->config->blocks.v[mask], (long long)size.t, (long long)size.h, (long long)size.w,
            VJ_MASK_REDRAWS, (long long)grid.t, (long long)grid.h, (long long)grid.w);
}

// ---- groups -------------------------------------------------------------------------------------------------------

vj_status vj_masks_group(vj_masks *m, vj_token_grid grid, const uint64_t *g, int64_t B, int32_t *ids,
                         vj_mask_pair *pairs)
{
    const vj_mask_config *c = m->config;
    const int64_t N = grid.t * grid.h * grid.w;
    VJ_ASSERT(B >= 1 && B <= m->samples && N >= 1 && N <= m->tokens);
    for (int mask = 0; mask < c->n; mask++) {
        const vj_block_size size = vj_masks_size(m, mask, grid);
        VJ_CHECK(size.h >= 1 && size.w >= 1, VJ_ERR_CONFIG,
                 "mask %d: a block of %lld x %lld tokens; raise mask.spatial_low",
                 mask + 1, (long long)size.h, (long long)size.w);
        int64_t K = N, P = N;
        for (int64_t b = 0; b < B; b++) {
            VJ_TRY(draw_sample(m, mask, grid, size, g ? g[b] : (uint64_t)b, b));
            if (m->K[b] < K) K = m->K[b];
            if (m->P[b] < P) P = m->P[b];
        }
        if (c->max_keep.v[mask] > 0 && K > c->max_keep.v[mask]) K = c->max_keep.v[mask];
        int32_t *ctx = ids, *tgt = ids + B * K;
        for (int64_t b = 0; b < B; b++) {
            memcpy(ctx + b * K, m->ctx + b * N, (size_t)K * sizeof *ctx);
            memcpy(tgt + b * P, m->tgt + b * N, (size_t)P * sizeof *tgt);
        }
        pairs[mask] = (vj_mask_pair){ .K = K, .P = P, .ctx = ctx, .tgt = tgt };
        ids += B * (K + P);   // at most B * N
    }
    return VJ_OK;
}

vj_status vj_masks_simulate(const vj_mask_config *config, uint64_t seed, vj_token_grid grid, int64_t B, int64_t steps,
                            vj_mask_counts out[VJ_MAX_MASKS])
{
    VJ_TRY(vj_masks_check(config, grid));
    const int64_t N = grid.t * grid.h * grid.w;
    vj_masks *m = NULL;
    VJ_TRY(vj_masks_create(&m, config, seed, B, N));
    int32_t *ids = malloc((size_t)(config->n * B * N) * sizeof *ids);
    uint64_t *g = malloc((size_t)B * sizeof *g);
    vj_status status = ids && g ? VJ_OK : vj_fail(VJ_ERR_NOMEM, "no memory for masks");
    memset(out, 0, VJ_MAX_MASKS * sizeof *out);
    for (int64_t step = 0; step < steps && status == VJ_OK; step++) {
        vj_mask_pair pairs[VJ_MAX_MASKS];
        for (int64_t b = 0; b < B; b++) g[b] = (uint64_t)(step * B + b);
        vj_masks_slot(m, step, 0);
        status = vj_masks_group(m, grid, g, B, ids, pairs);
        for (int k = 0; k < config->n && status == VJ_OK; k++) {
            out[k].mean_K += (double)pairs[k].K / (double)steps;
            out[k].mean_P += (double)pairs[k].P / (double)steps;
            out[k].mean_KK += (double)pairs[k].K * (double)pairs[k].K / (double)steps;
            if (pairs[k].K > out[k].max_K) out[k].max_K = pairs[k].K;
            if (pairs[k].P > out[k].max_P) out[k].max_P = pairs[k].P;
        }
    }
    free(ids);
    free(g);
    vj_masks_destroy(&m);
    return status;
}
