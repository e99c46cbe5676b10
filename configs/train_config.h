// Configuration of training: keys train.*, optim.*, checkpoint.*, log.*, held_out.*, parallel.*, and seed, threads, device.
#ifndef VJ_CONFIGS_TRAIN_CONFIG_H
#define VJ_CONFIGS_TRAIN_CONFIG_H

#include "runtime/config/config.h"

typedef enum vj_schedule_kind { VJ_SCHEDULE_WARMUP_COSINE, VJ_SCHEDULE_LINEAR_DECAY } vj_schedule_kind;
typedef enum vj_nonfinite { VJ_NONFINITE_ABORT, VJ_NONFINITE_SKIP, VJ_NONFINITE_ROLLBACK } vj_nonfinite;

typedef struct vj_train_config {
    int64_t seed;                       // seed
    int64_t threads;                    // threads: auto = -1
    char device[16];                    // device: cpu | ref | far
    int64_t batch, steps;               // train.batch, train.steps
    char trace[48];                     // train.trace: FROM:TO, "" for none
    int nonfinite;                      // train.nonfinite: abort | skip | rollback
    int64_t rollback_steps;             // train.rollback_steps: batches that a rollback leaves out
    int64_t rollback_max;               // train.rollback_max: rollbacks to one checkpoint
    int schedule;                       // optim.schedule: warmup_cosine | linear_decay
    int64_t warmup;                     // optim.warmup: steps
    double schedule_scale;              // optim.schedule_scale: length of the schedule / train.steps ("ipe_scale")
    double start_lr, lr, final_lr;      // optim.start_lr, optim.lr, optim.final_lr
    double weight_decay, final_weight_decay;
    double beta1, beta2, eps;
    double ema_start, ema_end;          // optim.ema_start, optim.ema_end
    double clip_norm;                   // optim.clip_norm: 0 none
    bool in_backward;                   // optim.in_backward
    int64_t checkpoint_every;           // checkpoint.every: steps
    bool checkpoint_async;              // checkpoint.async: saves go on beside the steps, from a copy
    int64_t checkpoint_keep;            // checkpoint.keep: newest n
    int64_t checkpoint_keep_every;      // checkpoint.keep_every: multiples kept for ever, 0 none
    int64_t log_every;                  // log.every: steps between metrics lines
    bool log_tensorboard, log_csv;      // log.tensorboard, log.csv
    int64_t log_epoch;                  // log.epoch: steps that log_r0.csv calls an epoch
    char log_prometheus[VJ_TEXT_MAX];   // log.prometheus: file, relative to the run; "": none
    int64_t held_out_every;             // held_out.every: steps between held-out figures, 0: never
    int64_t held_out_samples;           // held_out.samples: at least this many when there are held-out windows
    int64_t held_out_constant;          // held_out.constant: training samples behind the best constant (>= 256)
    bool threads_auto;                  // threads was left open
    int parallel_mode;                  // parallel.mode: ddp | zero2 | fsdp | hsdp (one rank: all the same)
    int64_t parallel_ranks;             // parallel.ranks: 0 as many as are started
    bool parallel_shared_memory;        // parallel.shared_memory
    int64_t parallel_tp;                // parallel.tp: 1
    int64_t parallel_shard;             // parallel.shard: hsdp, ranks that hold the weights once
    int64_t parallel_prefetch;          // parallel.prefetch: units gathered ahead, 0 to 3
    char parallel_reshard[VJ_TEXT_MAX]; // parallel.reshard_after_forward: always | never | auto | k
    int64_t timeout_start, timeout_step, timeout_save;   // parallel.timeout_*: seconds without progress, 0: any time
    char init_from[VJ_TEXT_MAX];        // init.from: weights of step 0, "" for fresh ones
} vj_train_config;

// "FROM:TO" (1 <= FROM <= TO) as numbers; "": *from and *to are 0. False: neither.
bool vj_trace_range(const char *text, int64_t *from, int64_t *to);

extern const vj_field vj_train_fields[];

// parallel.reshard_after_forward as a number: 0 always, 1 never, k >= 2 a k-th part is kept, -1 auto, -2 none of these.
int vj_train_keep(const vj_train_config *c);

#endif
