// data/masks_draw.c
//
// One sample: where its blocks lie, how many tokens they leave, and which. And the counts of `fixed`, which are a property of the
// block shape.
//
// Easy to get wrong: a rejected drawing's random numbers are used up; with the published generator nothing may be left out, not
// even a draw that can only be 0.

#include <stdlib.h>
#include <string.h>

#include "data/masks_impl.h"

// Which stream of random numbers a drawing takes.
typedef struct draw_key { uint64_t seed, g; uint32_t tag, mask, redraw; bool official; } draw_key;

// A position in [0, room].
static int64_t draw_position(vj_masks *m, const draw_key *key, uint32_t draw, int64_t room)
{
    if (key->official) return (int64_t)(vj_mt19937_next(&m->positions) % (uint64_t)(room + 1));
    if (room == 0) return 0;
    return (int64_t)vj_rng_below(key->seed, key->g, key->tag, VJ_MASK_DRAWS * key->mask + draw, key->redraw, (uint64_t)(room + 1));
}

static void draw_places(vj_masks *m, const draw_key *key, vj_token_grid grid, vj_block_size size)
{
    for (uint32_t block = 0; block < (uint32_t)m->config->blocks.v[key->mask]; block++) {
        m->places.top[block] = draw_position(m, key, 3 * block, grid.h - size.h);
        m->places.left[block] = draw_position(m, key, 3 * block + 1, grid.w - size.w);
        m->places.start[block] = draw_position(m, key, 3 * block + 2, grid.t - size.t);
    }
}

// Frames of tokens that may be context at all.
static int64_t duration_of(const vj_masks *m, int mask, vj_token_grid grid)
{
    const int64_t duration = (int64_t)((double)grid.t * m->config->max_temporal_keep.v[mask]);
    return duration < 1 ? 1 : duration;
}

static void set_bits(uint64_t *row, int64_t from, int64_t n)
{
    for (int64_t end = from + n; from < end;) {
        const int64_t bit = from % 64, run = end - from < 64 - bit ? end - from : 64 - bit;
        row[from / 64] |= (run == 64 ? ~UINT64_C(0) : (UINT64_C(1) << run) - 1) << bit;
        from += run;
    }
}

// How many tokens are left, without listing them: between two borders of blocks in time all frames are alike.
static int64_t count_kept(vj_masks *m, int mask, vj_token_grid grid, vj_block_size size)
{
    const int64_t words = (grid.w + 63) / 64, duration = duration_of(m, mask, grid), blocks = m->config->blocks.v[mask];
    const vj_mask_places *p = &m->places;
    int64_t kept = 0;
    for (int64_t t = 0, next; t < duration; t = next) {
        next = duration;
        memset(m->rows, 0, (size_t)(grid.h * words) * sizeof *m->rows);
        for (int64_t k = 0; k < blocks; k++) {
            const int64_t start = p->start[k], end = start + size.t, border = t < start ? start : end;
            if (border > t && border < next) next = border;
            if (t < start || t >= end) continue;
            for (int64_t y = p->top[k]; y < p->top[k] + size.h; y++) set_bits(m->rows + y * words, p->left[k], size.w);
        }
        int64_t cut = 0;
        for (int64_t i = 0; i < grid.h * words; i++) cut += __builtin_popcountll(m->rows[i]);
        kept += (next - t) * (grid.h * grid.w - cut);
    }
    return kept;
}

static vj_status draw_until(vj_masks *m, draw_key key, vj_token_grid grid, vj_block_size size, int64_t least_K, int64_t least_P,
                            int64_t *kept)
{
    const int64_t N = grid.t * grid.h * grid.w;
    for (key.redraw = 0; key.redraw < VJ_MASK_REDRAWS; key.redraw++) {
        draw_places(m, &key, grid, size);
        *kept = count_kept(m, (int)key.mask, grid, size);
        if (*kept >= 1 && *kept >= least_K && N - *kept >= least_P) return VJ_OK;
    }
    VJ_FAIL(VJ_ERR_CONFIG,
            "mask %d: %lld blocks of %lld x %lld x %lld left no context in %d drawings of a clip of %lld x %lld x %lld "
            "tokens; lower mask.blocks or mask.spatial_high",
            (int)key.mask + 1, (long long)m->config->blocks.v[key.mask], (long long)size.t, (long long)size.h, (long long)size.w,
            VJ_MASK_REDRAWS, (long long)grid.t, (long long)grid.h, (long long)grid.w);
}

vj_status vj_masks_draw(vj_masks *m, int mask, vj_token_grid grid, vj_block_size size, uint64_t g, int64_t least_K, int64_t least_P,
                        int64_t *kept)
{
    const draw_key key = { .seed = m->seed, .g = g, .tag = VJ_TAG_MASK_POSITION, .mask = (uint32_t)mask,
                           .official = m->config->rng == VJ_MASK_OFFICIAL };
    return draw_until(m, key, grid, size, least_K, least_P, kept);
}

void vj_masks_list(vj_masks *m, int mask, vj_token_grid grid, vj_block_size size, int32_t *ctx, int32_t *tgt)
{
    const int64_t N = grid.t * grid.h * grid.w, duration = duration_of(m, mask, grid), frame = grid.h * grid.w;
    memset(m->kept, 1, (size_t)N);
    for (int64_t k = 0; k < m->config->blocks.v[mask]; k++) {
        for (int64_t t = m->places.start[k]; t < m->places.start[k] + size.t; t++) {
            uint8_t *row = m->kept + (t * grid.h + m->places.top[k]) * grid.w + m->places.left[k];
            for (int64_t y = 0; y < size.h; y++) memset(row + y * grid.w, 0, (size_t)size.w);
        }
    }
    memset(m->kept + duration * frame, 0, (size_t)((grid.t - duration) * frame));
    int64_t K = 0, P = 0;
    for (int32_t id = 0; id < N; id++) {
        if (m->kept[id]) ctx[K++] = id;
        else tgt[P++] = id;
    }
}

// ---- fixed counts -----------------------------------------------------------------------------------------------------------

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static bool same_shape(const vj_mask_fixed *f, int mask, vj_token_grid grid, vj_block_size size)
{
    return f->mask == mask && f->grid.t == grid.t && f->grid.h == grid.h && f->grid.w == grid.w && f->size.t == size.t &&
           f->size.h == size.h && f->size.w == size.w;
}

// The draws have a stream of their own that neither the run's seed nor mask.rng has a part in: the counts are those of the shape.
static vj_status quantiles(vj_masks *m, vj_mask_fixed *f)
{
    const int64_t N = f->grid.t * f->grid.h * f->grid.w;
    int64_t *kept = malloc(VJ_MASK_FIXED_DRAWS * sizeof *kept);
    VJ_CHECK(kept != NULL, VJ_ERR_NOMEM, "no memory for %d mask counts", VJ_MASK_FIXED_DRAWS);
    vj_status status = VJ_OK;
    for (uint64_t i = 0; i < VJ_MASK_FIXED_DRAWS && status == VJ_OK; i++) {
        const draw_key key = { .g = i, .tag = VJ_TAG_MASK_FIXED, .mask = (uint32_t)f->mask };
        status = draw_until(m, key, f->grid, f->size, 0, 0, &kept[i]);
    }
    if (status == VJ_OK) {
        qsort(kept, VJ_MASK_FIXED_DRAWS, sizeof *kept, ascending);
        const int64_t below = VJ_MASK_FIXED_DRAWS / 24;
        f->K = kept[below];
        f->P = N - kept[VJ_MASK_FIXED_DRAWS - 1 - below];   // what is not kept is removed
    }
    free(kept);
    return status;
}

vj_status vj_masks_fixed(vj_masks *m, int mask, vj_token_grid grid, int64_t *K, int64_t *P)
{
    const vj_block_size size = vj_masks_size(m, mask, grid);
    int64_t at = 0;
    while (at < m->n_fixed && !same_shape(&m->fixed[at], mask, grid, size)) at++;
    if (at == m->n_fixed) {
        if (m->n_fixed == m->room_fixed) {
            const int64_t room = m->room_fixed ? 2 * m->room_fixed : 16;
            vj_mask_fixed *more = realloc(m->fixed, (size_t)room * sizeof *more);
            VJ_CHECK(more != NULL, VJ_ERR_NOMEM, "no memory for %lld mask shapes", (long long)room);
            m->fixed = more;
            m->room_fixed = room;
        }
        m->fixed[at] = (vj_mask_fixed){ .mask = mask, .grid = grid, .size = size };
        VJ_TRY(quantiles(m, &m->fixed[at]));
        m->n_fixed++;
    }
    const int64_t most = m->config->max_keep.v[mask];
    *K = most > 0 && m->fixed[at].K > most ? most : m->fixed[at].K;
    *P = m->fixed[at].P;
    return VJ_OK;
}
