// Which tokens a clip keeps as context and which it must predict (spec/pretrain.md 3, contracts 2). Pure: no I/O.
//
//   philox     block sizes keyed by (step, mask), positions by (global sample index, redraw, mask, block)
//   official   the published generator: sizes from MT19937 seeded with the step, positions from another MT19937 that
//              runs on over samples, masks and groups; in a run that one is seeded anew for each slot
//
// Truncation (mask.truncate): samples of equal frames per clip are cut to one length of context and one of targets,
//
//   slot     the smallest among those of a slot
//   global   the smallest among all samples of the step: every rank counts all of them (pure functions, nothing is sent)
//   fixed    the 1/24 quantiles of what the step's block shape leaves and takes in 4,096 draws; a sample with less is drawn again
//   rank     the smallest among all samples of a rank, as published: the only one that depends on the number of ranks
#ifndef VJ_DATA_MASKS_H
#define VJ_DATA_MASKS_H

#include "data/data_config.h"
#include "runtime/base/rng.h"
#include "runtime/tensor/clip_batch.h"

typedef struct vj_token_grid { int64_t t, h, w; } vj_token_grid;     // N = t * h * w; id = (t*h + y)*w + x
typedef struct vj_block_size { int64_t t, h, w; } vj_block_size;

// Draws of one position: draw = 63 * mask + 3 * block + {top, left, start}; 252 of the 256 a stream has.
enum { VJ_MASK_DRAWS = 63, VJ_MASK_REDRAWS = 4096, VJ_MASK_FIXED_DRAWS = 4096, VJ_MASK_SIMULATED = 16384 };

// Settings that no step could use: no tokens in a block, more blocks than draws. VJ_ERR_CONFIG names the key and the mask.
vj_status vj_masks_check(const vj_mask_config *config, vj_token_grid grid) VJ_MUST_CHECK;

// A generator with room for groups of `samples` x `tokens`; one per thread. `config` must outlive it.
typedef struct vj_masks vj_masks;
vj_status vj_masks_create(vj_masks **out, const vj_mask_config *config, uint64_t seed, int64_t samples, int64_t tokens)
    VJ_MUST_CHECK;
void vj_masks_destroy(vj_masks **masks);

// What follows belongs to this slot of this step.
void vj_masks_slot(vj_masks *masks, int64_t step, int64_t slot);
// `official` alone, for goldens: the position generator seeded by hand; another step for the sizes while it runs on.
void vj_masks_seed_positions(vj_masks *masks, uint32_t seed);
void vj_masks_step(vj_masks *masks, int64_t step);
vj_block_size vj_masks_size(const vj_masks *masks, int mask, vj_token_grid grid);

// Lengths that are agreed on beyond one group of one slot: {0} before anything is counted. One for each frames-per-clip value of a step.
typedef struct vj_mask_cut {
    int64_t K[VJ_MAX_MASKS], P[VJ_MAX_MASKS];   // smallest so far; 0: nothing counted
    vj_mt19937 positions[VJ_MAX_MASKS];         // `rank` with `official`: where the generator stands in each mask
} vj_mask_cut;

// Lowers `cut` to what vj_masks_group would draw for the same samples at this place, without listing ids. `global`: called for this
// group of every slot of the step; `rank`: once for all samples of the rank together, B as large as it may be.
vj_status vj_masks_count(vj_masks *masks, vj_token_grid grid, const uint64_t *g, int64_t B, vj_mask_cut *cut) VJ_MUST_CHECK;
// `fixed`: context and targets of a mask at this step's block shape (mask.max_keep counted in), the same for any seed.
vj_status vj_masks_fixed(vj_masks *masks, int mask, vj_token_grid grid, int64_t *K, int64_t *P) VJ_MUST_CHECK;

// All masks of one group: pairs[0 .. config->n). The ids are written into `ids`, room for n * B * N. Groups of a slot
// must come in order (`official` depends on it). `cut`: with `global` and `rank` the lengths counted before, else NULL. NULL there
// too: this group alone. VJ_ERR_CONFIG when no context can be found.
vj_status vj_masks_group(vj_masks *masks, vj_token_grid grid, const uint64_t *g, int64_t B, vj_mask_cut *cut, int32_t *ids,
                         vj_mask_pair *pairs)
    VJ_MUST_CHECK;

// Mean and largest K and P per mask over `steps` steps of `slots` slots with B samples: what `config check` counts with. `rank`:
// as with one slot per rank, which leaves most; `global`: of a step no more than VJ_MASK_SIMULATED samples are drawn.
typedef struct vj_mask_counts { double mean_K, mean_P, mean_KK; int64_t max_K,
                                max_P; } vj_mask_counts;   // KK: mean of K^2
vj_status vj_masks_simulate(const vj_mask_config *config, uint64_t seed, vj_token_grid grid, int64_t B, int64_t slots, int64_t steps,
                            vj_mask_counts out[VJ_MAX_MASKS]) VJ_MUST_CHECK;

#endif
