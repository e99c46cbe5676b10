// Inside of the mask generator. Private to data/ and its tests.
#ifndef VJ_DATA_MASKS_IMPL_H
#define VJ_DATA_MASKS_IMPL_H

#include "data/masks.h"
#include "runtime/base/rng.h"

// Where the blocks of one sample lie.
typedef struct vj_mask_places { int64_t top[VJ_MASK_DRAWS / 3], left[VJ_MASK_DRAWS / 3], start[VJ_MASK_DRAWS / 3]; } vj_mask_places;

// `fixed`: the counts of a block shape, kept once they are known.
typedef struct vj_mask_fixed { int mask; vj_token_grid grid; vj_block_size size; int64_t K, P; } vj_mask_fixed;

struct vj_masks {
    const vj_mask_config *config;
    uint64_t seed;
    int64_t samples, tokens;      // capacity
    int64_t step, slot;
    vj_mt19937 positions;         // official
    vj_mask_places places;        // of the sample drawn last
    uint8_t *kept;                // (tokens) 1: context
    uint64_t *rows;               // (tokens) a bit per token of a frame, rows of whole words: w / 64 words, rounded up, are at most w
    int32_t *ctx, *tgt;           // (samples, tokens) before truncation
    int64_t *K, *P;               // (samples)
    vj_mask_fixed *fixed;         // (n_fixed, room_fixed)
    int64_t n_fixed, room_fixed;
};

// Draws blocks for sample g until some context is left, and at least least_K and least_P tokens; *kept of them are context.
vj_status vj_masks_draw(vj_masks *m, int mask, vj_token_grid grid, vj_block_size size, uint64_t g, int64_t least_K, int64_t least_P,
                        int64_t *kept) VJ_MUST_CHECK;
// The ids of the sample drawn last, in ascending order.
void vj_masks_list(vj_masks *m, int mask, vj_token_grid grid, vj_block_size size, int32_t *ctx, int32_t *tgt);

#endif
