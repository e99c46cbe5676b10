// What the configuration says about step s, as numbers: the keys of optim.* applied to the pure functions of
// model/schedules.h. Steps of learning rate and weight decay count from 1, those of the target's momentum from 0.
#ifndef VJ_JOBS_TRAIN_SCHEDULE_H
#define VJ_JOBS_TRAIN_SCHEDULE_H

#include "configs/train_config.h"

double vj_schedule_lr(const vj_train_config *c, int64_t s);
double vj_schedule_weight_decay(const vj_train_config *c, int64_t s);
double vj_schedule_momentum(const vj_train_config *c, int64_t s);
// "warmup", "constant" or "decay" after `step` steps: a cooldown starts from a checkpoint of the first two.
const char *vj_schedule_phase_name(const vj_train_config *c, int64_t step);

#endif
