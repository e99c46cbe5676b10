// Schedules as pure functions of the step (spec/pretrain.md 5, 6.3). Learning rate and weight decay count from 1 (the
// first optimiser step uses s = 1), the target encoder's momentum from 0.
#ifndef VJ_MODEL_SCHEDULES_H
#define VJ_MODEL_SCHEDULES_H

#include <stdint.h>

// Linear from `start` to `ref` over `warmup` steps, then half a cosine to `final` over the rest of `total`; never below
// final. With final = ref: warm-up, then constant.
double vj_warmup_cosine(int64_t s, int64_t warmup, int64_t total, double start, double ref, double final);
// Cooldown: straight from `ref` at 0 to `final` at `total`; no clamp, no warm-up.
double vj_linear_decay(int64_t s, int64_t total, double ref, double final);
// Half a cosine from `ref` to `final`, clamped so that it does not pass final.
double vj_cosine_wd(int64_t s, int64_t total, double ref, double final);
// Straight from `start` at 0 to `end` at `total`.
double vj_linear_ema(int64_t s, int64_t total, double start, double end);

#endif
