// data/masks.c
//
// Blocks are cut out of a clip of ones: what is left is context, what was cut is predicted. One block size per call for
// all samples, one position per block and sample.
//
// Easy to get wrong: the published generator draws top, left, start in this order; rounding is half-to-even; a rejected
// drawing (no context left) does not count for the smallest counts, but its random numbers are used up. A group is drawn mask by
// mask, so with `rank` the published generator has gone through all slots of a mask before it comes to the next.

#include "data/masks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/masks_impl.h"

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
    m->rows = calloc((size_t)tokens, sizeof *m->rows);
    m->ctx = calloc((size_t)(samples * tokens), sizeof *m->ctx);
    m->tgt = calloc((size_t)(samples * tokens), sizeof *m->tgt);
    m->K = calloc((size_t)samples, sizeof *m->K);
    m->P = calloc((size_t)samples, sizeof *m->P);
    if (!m->kept || !m->rows || !m->ctx || !m->tgt || !m->K || !m->P) {
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
    free(m->rows);
    free(m->fixed);
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

// ---- groups -------------------------------------------------------------------------------------------------------

static vj_status size_at(const vj_masks *m, int mask, vj_token_grid grid, vj_block_size *size)
{
    *size = vj_masks_size(m, mask, grid);
    VJ_CHECK(size->h >= 1 && size->w >= 1, VJ_ERR_CONFIG, "mask %d: a block of %lld x %lld tokens; raise mask.spatial_low", mask + 1,
             (long long)size->h, (long long)size->w);
    return VJ_OK;
}

// With `rank` and the published generator each mask of a group has a place in the stream, which all slots of the rank move on.
static bool has_streams(const vj_masks *m) { return m->config->rng == VJ_MASK_OFFICIAL && m->config->truncate == VJ_TRUNCATE_RANK; }

vj_status vj_masks_count(vj_masks *m, vj_token_grid grid, const uint64_t *g, int64_t B, vj_mask_cut *cut)
{
    const int64_t N = grid.t * grid.h * grid.w;
    VJ_ASSERT(B >= 1 && N >= 1 && N <= m->tokens);
    for (int mask = 0; mask < m->config->n; mask++) {
        vj_block_size size;
        VJ_TRY(size_at(m, mask, grid, &size));
        int64_t K = cut->K[mask] > 0 ? cut->K[mask] : N, P = cut->P[mask] > 0 ? cut->P[mask] : N;
        if (has_streams(m)) cut->positions[mask] = m->positions;
        for (int64_t b = 0; b < B; b++) {
            int64_t kept;
            VJ_TRY(vj_masks_draw(m, mask, grid, size, g ? g[b] : (uint64_t)b, 0, 0, &kept));
            if (kept < K) K = kept;
            if (N - kept < P) P = N - kept;
        }
        cut->K[mask] = K;
        cut->P[mask] = P;
    }
    return VJ_OK;
}

vj_status vj_masks_group(vj_masks *m, vj_token_grid grid, const uint64_t *g, int64_t B, vj_mask_cut *cut, int32_t *ids,
                         vj_mask_pair *pairs)
{
    const vj_mask_config *c = m->config;
    const int64_t N = grid.t * grid.h * grid.w;
    VJ_ASSERT(B >= 1 && B <= m->samples && N >= 1 && N <= m->tokens);
    for (int mask = 0; mask < c->n; mask++) {
        vj_block_size size;
        VJ_TRY(size_at(m, mask, grid, &size));
        int64_t fixed_K = 0, fixed_P = 0, K = N, P = N;
        if (c->truncate == VJ_TRUNCATE_FIXED) VJ_TRY(vj_masks_fixed(m, mask, grid, &fixed_K, &fixed_P));
        if (cut && has_streams(m)) m->positions = cut->positions[mask];
        for (int64_t b = 0; b < B; b++) {
            int64_t kept;
            VJ_TRY(vj_masks_draw(m, mask, grid, size, g ? g[b] : (uint64_t)b, fixed_K, fixed_P, &kept));
            vj_masks_list(m, mask, grid, size, m->ctx + b * N, m->tgt + b * N);
            if (kept < K) K = kept;
            if (N - kept < P) P = N - kept;
        }
        if (cut && has_streams(m)) cut->positions[mask] = m->positions;
        if (cut) {
            VJ_ASSERT(cut->K[mask] >= 1 && cut->K[mask] <= K && cut->P[mask] >= 1 && cut->P[mask] <= P);
            K = cut->K[mask];
            P = cut->P[mask];
        }
        if (c->truncate == VJ_TRUNCATE_FIXED) {
            K = fixed_K;
            P = fixed_P;
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

// The lengths of one step at `grid`: a slot of B samples out of `slots`.
static vj_status lengths(vj_masks *m, vj_token_grid grid, int64_t step, int64_t B, int64_t slots, uint64_t *g, vj_mask_cut *cut)
{
    const vj_mask_config *c = m->config;
    *cut = (vj_mask_cut){ 0 };
    vj_masks_slot(m, step, 0);
    if (c->truncate == VJ_TRUNCATE_FIXED) {
        for (int mask = 0; mask < c->n; mask++) {
            vj_block_size size;
            VJ_TRY(size_at(m, mask, grid, &size));
            VJ_TRY(vj_masks_fixed(m, mask, grid, &cut->K[mask], &cut->P[mask]));
        }
        return VJ_OK;
    }
    if (c->truncate != VJ_TRUNCATE_GLOBAL) slots = 1;
    if (slots * B > VJ_MASK_SIMULATED) slots = B < VJ_MASK_SIMULATED ? VJ_MASK_SIMULATED / B : 1;
    for (int64_t slot = 0; slot < slots; slot++) {
        for (int64_t b = 0; b < B; b++) g[b] = (uint64_t)((step * slots + slot) * B + b);
        vj_masks_slot(m, step, slot);
        VJ_TRY(vj_masks_count(m, grid, g, B, cut));
    }
    for (int mask = 0; mask < c->n; mask++) {
        if (c->max_keep.v[mask] > 0 && cut->K[mask] > c->max_keep.v[mask]) cut->K[mask] = c->max_keep.v[mask];
    }
    return VJ_OK;
}

vj_status vj_masks_simulate(const vj_mask_config *config, uint64_t seed, vj_token_grid grid, int64_t B, int64_t slots, int64_t steps,
                            vj_mask_counts out[VJ_MAX_MASKS])
{
    VJ_TRY(vj_masks_check(config, grid));
    vj_masks *m = NULL;
    VJ_TRY(vj_masks_create(&m, config, seed, 1, grid.t * grid.h * grid.w));
    uint64_t *g = malloc((size_t)B * sizeof *g);
    vj_status status = g ? VJ_OK : vj_fail(VJ_ERR_NOMEM, "no memory for masks");
    memset(out, 0, VJ_MAX_MASKS * sizeof *out);
    for (int64_t step = 0; step < steps && status == VJ_OK; step++) {
        vj_mask_cut cut;
        status = lengths(m, grid, step, B, slots, g, &cut);
        for (int k = 0; k < config->n && status == VJ_OK; k++) {
            out[k].mean_K += (double)cut.K[k] / (double)steps;
            out[k].mean_P += (double)cut.P[k] / (double)steps;
            out[k].mean_KK += (double)cut.K[k] * (double)cut.K[k] / (double)steps;
            if (cut.K[k] > out[k].max_K) out[k].max_K = cut.K[k];
            if (cut.P[k] > out[k].max_P) out[k].max_P = cut.P[k];
        }
    }
    free(g);
    vj_masks_destroy(&m);
    return status;
}
