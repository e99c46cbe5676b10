// Which tokens a clip keeps as context and which it must predict (spec/pretrain.md 3, contracts 2). Pure: no I/O.
//
//   philox     block sizes keyed by (step, mask), positions by (global sample index, redraw, mask, block)
//   official   the published generator: sizes from MT19937 seeded with the step, positions from another MT19937 that
//              runs on over samples, masks and groups; in a run that one is seeded anew for each slot
//
// Truncation: the samples of a group in a slot are cut to the smallest context and the smallest target among them.
#ifndef VJ_DATA_MASKS_H
#define VJ_DATA_MASKS_H

#include "data/data_config.h"
#include "runtime/tensor/clip_batch.h"

typedef struct vj_token_grid { int64_t t, h, w; } vj_token_grid;     // N = t * h * w; id = (t*h + y)*w + x
typedef struct vj_block_size { int64_t t, h, w; } vj_block_size;

// Draws of one position: draw = 63 * mask + 3 * block + {top, left, start}; 252 of the 256 a stream has.
enum { VJ_MASK_DRAWS = 63, VJ_MASK_REDRAWS = 4096 };

// Settings that no step could use: no tokens in a block, more blocks than draws, a truncation that is not there yet.
// VJ_ERR_CONFIG names the key and the mask.
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

// All masks of one group: pairs[0 .. config->n). The ids are written into `ids`, room for n * B * N. Groups of a slot
// must come in order (`official` depends on it). VJ_ERR_CONFIG when no context can be found.
vj_status vj_masks_group(vj_masks *masks, vj_token_grid grid, const uint64_t *g, int64_t B, int32_t *ids,
                         vj_mask_pair *pairs)
    VJ_MUST_CHECK;

// Mean and largest K and P per mask over `steps` steps of slots with B samples: what `config check` counts with.
typedef struct vj_mask_counts { double mean_K, mean_P, mean_KK; int64_t max_K,
                                max_P; } vj_mask_counts;   // KK: mean of K^2
vj_status vj_masks_simulate(const vj_mask_config *config, uint64_t seed, vj_token_grid grid, int64_t B, int64_t steps,
                            vj_mask_counts out[VJ_MAX_MASKS]) VJ_MUST_CHECK;

#endif
