#include "jobs/train/schedule.h"

#include "model/schedules.h"

// Schedules may be made longer than the run (the published code's ipe_scale 1.25): then it ends before they do.
static int64_t total(const vj_train_config *c) { return (int64_t)(c->schedule_scale * (double)c->steps); }

double vj_schedule_lr(const vj_train_config *c, int64_t s)
{
    if (c->schedule == VJ_SCHEDULE_LINEAR_DECAY) return vj_linear_decay(s, total(c), c->lr, c->final_lr);
    return vj_warmup_cosine(s, c->warmup, total(c), c->start_lr, c->lr, c->final_lr);
}

double vj_schedule_weight_decay(const vj_train_config *c, int64_t s) { return vj_cosine_wd(s, total(c), c->weight_decay, c->final_weight_decay); }
double vj_schedule_momentum(const vj_train_config *c, int64_t s) { return vj_linear_ema(s, total(c), c->ema_start, c->ema_end); }

const char *vj_schedule_phase_name(const vj_train_config *c, int64_t step)
{
    if (c->schedule == VJ_SCHEDULE_LINEAR_DECAY) return "decay";
    if (step < c->warmup) return "warmup";
    return c->final_lr == c->lr ? "constant" : "decay";
}
