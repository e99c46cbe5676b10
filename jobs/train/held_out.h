// Held-out figures: does the model predict what it has not seen, and from the clip itself?
//
//   loss      mean |prediction - target| on held-out windows (video only), masks and crops fixed for the whole run
//   constant  the same with the best constant in place of the prediction: the median per channel and token position of
//             the targets of at least held_out.constant *training* clips under the same target encoder
//   swapped   the same predictions against the targets of a clip from a different file
//   moved     ||target encoder - its start|| / ||its start||, over all parameters
//
// loss / constant well below 1 says that it learned; swapped / constant near or above 1 says that what it predicts
// belongs to the clip at hand. A collapsed model has small loss *and* small constant: the ratio goes to 1.
#ifndef VJ_JOBS_TRAIN_HELD_OUT_H
#define VJ_JOBS_TRAIN_HELD_OUT_H

#include "configs/run_config.h"
#include "data/loader.h"
#include "model/vjepa.h"

typedef struct vj_held_out_figures {
    double loss, constant, swapped;   // swapped is NAN when all held-out windows come from one file
    double moved;                     // NAN when the start is not known
    int64_t samples, swapped_samples, constant_samples;
    double seconds;
} vj_held_out_figures;

typedef struct vj_held_out vj_held_out;

// `stage` is the training stage; the held-out one is derived from it. *out is NULL (and VJ_OK) when the data has no
// held-out windows or `held_out.every` is 0: said once in the log. `start` reads parameter `p` of the target encoder as
// it was at the start of the run (false: not known any more).
typedef bool (*vj_start_fn)(void *context, int param, double *out);
vj_status vj_held_out_create(vj_held_out **out, const vj_run_config *config, const vj_loader_stage *stage, vj_vjepa *model,
                             vj_start_fn start, void *start_context) VJ_MUST_CHECK;
void vj_held_out_destroy(vj_held_out **h);
vj_status vj_held_out_run(vj_held_out *h, vj_held_out_figures *out) VJ_MUST_CHECK;

#endif
