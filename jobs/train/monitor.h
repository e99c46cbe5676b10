// Monitors: do features of different clips still differ, and do predictions vary with what is predicted? Looked at every
// few steps on a few fixed clips that are decoded once, so that a collapse is seen while it happens, not at the next
// held-out figures.
//
//   spread          standard deviation over clips of pooled target features, mean over channels
//   rank            RankMe of them, from 1 (all clips alike) to the number of clips
//   cosine          mean cosine between pooled features of clips of different windows
//   variance_ratio  variance of predictions / variance of their targets, each over the predicted tokens of a quarter of
//                   the clips
//   target_variance that denominator: targets are normalised per token, so it lies between 0 (all tokens alike) and 1
//
// Pooled features are the mean over a clip's tokens of the target encoder's output. Looking changes no bit of training.
#ifndef VJ_JOBS_TRAIN_MONITOR_H
#define VJ_JOBS_TRAIN_MONITOR_H

#include "configs/run_config.h"
#include "data/loader.h"
#include "model/vjepa.h"

typedef struct vj_monitor_figures {
    double spread, rank, cosine, variance_ratio, target_variance;
    int64_t clips;
    bool held_out;       // false: the data holds no held-out windows, the clips are training ones
    double seconds;
} vj_monitor_figures;

typedef struct vj_monitor vj_monitor;

// Reads and keeps `monitor.clips` clips of the held-out windows (of the training ones when there are none: said in the
// log) with crops and masks as the first held-out figures have them. `stage` is the training stage. *out is NULL, with
// VJ_OK, when monitor.every is 0 or there is no video.
vj_status vj_monitor_create(vj_monitor **out, const vj_run_config *config, const vj_loader_stage *stage,
                            vj_vjepa *model) VJ_MUST_CHECK;
void vj_monitor_destroy(vj_monitor **m);
// Between two steps. Figures that are not finite are NAN.
vj_status vj_monitor_run(vj_monitor *m, vj_monitor_figures *out) VJ_MUST_CHECK;
// Host memory it keeps, for `config check`; 0 when it is off.
int64_t vj_monitor_bytes(const vj_run_config *config);

#endif
