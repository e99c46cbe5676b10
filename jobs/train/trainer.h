// The training program: pretraining and cooldown are the same loop with another beginning (README: the life of a run).
//
//   configuration -> run directory -> device, model, loader -> state (new | own checkpoint | parent's) -> steps
//
// Every step is: batch, forward and backward per slot, finite check, AdamW, EMA; then, at step boundaries only: metrics,
// held-out figures, checkpoint, stop request.
#ifndef VJ_JOBS_TRAIN_TRAINER_H
#define VJ_JOBS_TRAIN_TRAINER_H

#include "runtime/base/status.h"

typedef struct vj_train_request {
    const char *phase;          // "pretrain" | "cooldown"
    const char *config;         // path or built-in name
    const char *run;            // run directory
    const char *from;           // cooldown: reference of the parent checkpoint; else NULL
    bool fresh;
    int64_t stop_at;            // --steps: until step N of this run, then a checkpoint; -1: train.steps
    const char *const *overrides;
    int n_overrides;
} vj_train_request;

// VJ_OK: done, or `stop_at` reached. VJ_ERR_STOPPED: stopped on request, a checkpoint is there (exit 75).
// VJ_ERR_NONFINITE: RUN/nonfinite-step-N.json says which samples (exit 87).
vj_status vj_train(const vj_train_request *request) VJ_MUST_CHECK;

#endif
