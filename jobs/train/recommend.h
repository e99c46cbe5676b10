// Which checkpoint to cool down from. A cooldown multiplies what is there, so it should begin at a checkpoint of the
// constant phase that is late, and not worse than the run has been.
#ifndef VJ_JOBS_TRAIN_RECOMMEND_H
#define VJ_JOBS_TRAIN_RECOMMEND_H

#include "checkpoints/checkpoint.h"
#include "jobs/train/warnings.h"

typedef struct vj_recommendation {
    int64_t step;          // -1: none
    double ratio;          // the held-out ratio it had; NAN: not known
    int64_t ratio_step;    // where that figure was made; -1: not known
    char why[512];         // one sentence with its figures
} vj_recommendation;

// Among the readable checkpoints of the constant phase that are there (`list`, n, by step):
//   a warning is in force   the last one before the first such warning began
//   otherwise               the latest whose held-out ratio is within `noise` (relative) of the run's best, no warning
//                           having been in force at it; when none is that good any more, the best that is there
void vj_recommend(vj_recommendation *out, const vj_checkpoint_info *list, int64_t n, const vj_warnings *w, double noise);

#endif
