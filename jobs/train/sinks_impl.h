// What the sinks share.
#ifndef VJ_JOBS_TRAIN_SINKS_IMPL_H
#define VJ_JOBS_TRAIN_SINKS_IMPL_H

#include "jobs/train/record.h"
#include "jobs/train/sinks.h"
#include "runtime/base/str.h"

typedef struct vj_step_times { int64_t step; double loss, step_seconds, compute_seconds, wait_seconds; } vj_step_times;

typedef struct vj_sink_place {
    char run_path[512], run_name[256], phase[16];
    char prometheus[900];
    int64_t last_step, epoch;
    bool resumed;
} vj_sink_place;

// A kind of sink. Every function but `open` may be NULL; `state` is the sink's own.
typedef struct vj_sink_kind {
    const char *name;
    bool (*wanted)(const vj_train_config *config);
    vj_status (*prepare)(const vj_sink_place *place);            // wanted or not: cuts what an earlier start left behind
    vj_status (*open)(void **state, const vj_sink_place *place);
    vj_status (*step)(void *state, const vj_step_times *times);
    vj_status (*record)(void *state, const vj_record *record);
    void (*close)(void *state);
} vj_sink_kind;

extern const vj_sink_kind vj_sink_tensorboard, vj_sink_csv, vj_sink_prometheus;

#endif
