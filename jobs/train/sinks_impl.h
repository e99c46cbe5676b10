// What the sinks share.
#ifndef VJ_JOBS_TRAIN_SINKS_IMPL_H
#define VJ_JOBS_TRAIN_SINKS_IMPL_H

#include "jobs/train/sinks.h"
#include "runtime/base/str.h"

// One number of a line: members of objects are joined by '/', items of arrays have an index.
typedef struct vj_record_value {
    char name[96];       // "loss", "held_out/ratio", "grad_norm_units/encoder"
    int64_t index;       // in an array; -1: none
    char text[64];       // of an array of texts ("warnings"): the text, value being 1; else ""
    double value;        // truth is 1 and 0; null is NAN
} vj_record_value;

typedef struct vj_record {
    int64_t step;
    double wall;         // seconds since 1970
    int n, capacity;
    vj_record_value *v;  // in the order of the line, without "step"
} vj_record;

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

// The number in the record, or NAN.
double vj_record_get(const vj_record *record, const char *name);

#endif
