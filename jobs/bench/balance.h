// How evenly each way of cutting masks (mask.truncate) spreads the work of a step over ranks, and what it leaves of a clip: counts
// of drawn masks, nothing is trained.
#ifndef VJ_JOBS_BENCH_BALANCE_H
#define VJ_JOBS_BENCH_BALANCE_H

#include "data/masks.h"
#include "model/vjepa.h"

enum { VJ_BENCH_CUTS = VJ_TRUNCATE_RANK + 1 };   // vj_mask_truncate

typedef struct vj_bench_cut {
    double K[VJ_MAX_MASKS], P[VJ_MAX_MASKS];     // context and target tokens of each mask: means over steps and slots
    double flop;                                 // of a rank in a step (vj_vjepa_slot_flop), mean
    double balance;                              // FLOP of the busiest rank, which a step waits for, over the mean rank's; over all steps
    double balance_recompute;                    // the same with the blocks' forward pass made again (model.recompute=block)
    double worst;                                // balance of the most uneven step
} vj_bench_cut;

typedef struct vj_bench_balance {
    int64_t frames, crop, ranks, slots, steps;   // slots: of a rank
    vj_bench_cut cut[VJ_BENCH_CUTS];
    double count_seconds;                        // to count the masks of all slots of a step, as every rank does with `global`
} vj_bench_balance;

// `masks` for group, sizes and mask.rng; its truncate plays no part. frames .. steps of *out are what to measure, the rest is filled
// in. One clip length for all samples.
vj_status vj_bench_balance_measure(const vj_model_config *model, const vj_mask_config *masks, uint64_t seed, vj_bench_balance *out)
    VJ_MUST_CHECK;

#endif
