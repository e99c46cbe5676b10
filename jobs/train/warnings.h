// Warnings: what the lines of metrics.jsonl say about a run that goes wrong. A pure function of the lines, one after
// another, so a resumed run that reads its lines again knows what an uninterrupted one knows.
//
//   rank_fall         rank < rank_fall x its highest within the window: clips become alike, quickly. One line is enough,
//                     fixed clips have no noise; over when half of the fall is made good
//   rank_low          rank < rank_low x its highest so far
//   spread_low        spread < spread_low x its highest so far
//   targets_alike     target_variance < target_variance_low x its highest so far
//   clips_alike       cosine > cosine_high
//   predicts_constant variance_ratio < variance_ratio_low, after warm-up
//   gradient_jump     grad_norm > gradient_high x its median of the last 50 lines
//   encoder_gradient  grad_norm_encoder < encoder_gradient_low x its median of the last 50 lines
//   loss_rise         loss > loss_rise x its least of the last 20 lines
//   held_out          held-out ratio > held_out_high, twice in a row, after twice the warm-up
//   straggler         a rank is named as one (jobs/train/phases.h); that it is another one ends and begins it. It says
//                     nothing about what is learned, so no checkpoint is worse for it
//
// A warning begins after `patience` lines in a row beyond its limit, and ends after as many that are back by the margin
// of `hysteresis`. What a figure is compared with stays as it was when the warning began: a collapsed run does not get
// used to being collapsed. Where a stage begins all comparisons start anew (its clips are others).
#ifndef VJ_JOBS_TRAIN_WARNINGS_H
#define VJ_JOBS_TRAIN_WARNINGS_H

#include "configs/monitor_config.h"
#include "runtime/base/json.h"

typedef enum vj_warning {
    VJ_WARNING_RANK_FALL, VJ_WARNING_RANK_LOW, VJ_WARNING_SPREAD_LOW, VJ_WARNING_TARGETS_ALIKE, VJ_WARNING_CLIPS_ALIKE,
    VJ_WARNING_PREDICTS_CONSTANT, VJ_WARNING_GRADIENT_JUMP, VJ_WARNING_ENCODER_GRADIENT, VJ_WARNING_LOSS_RISE,
    VJ_WARNING_HELD_OUT, VJ_WARNING_STRAGGLER, VJ_WARNINGS
} vj_warning;
extern const char *const vj_warning_names[VJ_WARNINGS];

// One line of metrics.jsonl; what it does not hold is NAN.
typedef struct vj_watch_point {
    int64_t step;
    int64_t stage;                // from 1; runs without stages: 1
    double loss, grad_norm, grad_norm_encoder;
    double rank, spread, cosine, variance_ratio, target_variance;
    double held_out_ratio;
    bool has_ranks;               // the line compares ranks: what follows is known
    int64_t straggler;            // rank, -1: none is named
    double straggler_slowdown, straggler_limit;
    char straggler_host[64];
} vj_watch_point;

typedef struct vj_warning_event {
    int64_t step;
    vj_warning warning;
    bool begins;                  // false: it ends
    double value, limit;          // in the figure's own unit: a rank, a loss, ...
    char text[320];               // what it means, in one sentence with its figures
} vj_warning_event;

typedef struct vj_held_out_point { int64_t step; double ratio; } vj_held_out_point;
typedef struct vj_warnings vj_warnings;

// `warmup`: optim.warmup, `every`: steps between lines with monitor figures.
vj_status vj_warnings_create(vj_warnings **out, const vj_monitor_config *config, int64_t warmup,
                             int64_t every) VJ_MUST_CHECK;
void vj_warnings_destroy(vj_warnings **w);
// The next line, steps ascending. `events` (VJ_WARNINGS) receives what begins or ends with it, *n their number.
vj_status vj_warnings_add(vj_warnings *w, const vj_watch_point *point, vj_warning_event *events, int *n) VJ_MUST_CHECK;
// All lines of a metrics.jsonl up to `last_step`, in silence; a missing file has none. VJ_ERR_CONFIG: not such a file.
vj_status vj_warnings_replay(vj_warnings *w, const char *path, int64_t last_step) VJ_MUST_CHECK;
// A parsed line as a point.
void vj_watch_point_read(vj_watch_point *out, const vj_json *line);

bool vj_warnings_in_force(const vj_warnings *w, vj_warning which, int64_t *since);   // since: the step it began at
// Was any warning in force right after `step`?
bool vj_warnings_at(const vj_warnings *w, int64_t step);
const vj_held_out_point *vj_warnings_held_out(const vj_warnings *w, int64_t *n);     // all held-out figures
double vj_warnings_rank(const vj_warnings *w, double *highest);                      // the latest; NAN: none

#endif
