#include "model/init.h"

#include <string.h>

#include "runtime/base/rng.h"
#include "runtime/base/thread.h"

enum {
    PREDICTOR_STREAMS = 1024,   // encoder parameters use the streams below
    PIECE = 1 << 14             // elements of a task; what has no more is not worth a thread
};

typedef struct init_job {
    const vj_param *param;
    uint64_t seed;
    uint32_t tag;
    vj_dtype real;
    double *out;
} init_job;

static void init_piece(void *context, int64_t task, int worker)
{
    (void)worker;
    const init_job *job = context;
    const vj_param *p = job->param;
    const int64_t end = (task + 1) * PIECE < p->count ? (task + 1) * PIECE : p->count;
    for (int64_t i = task * PIECE; i < end; i++) {
        double v = p->init == VJ_INIT_ONE ? 1 : 0;
        if (p->init == VJ_INIT_NORMAL) {
            // Inverse CDF of a uniform strictly inside (0, 1); the cut at +-2 is a hundred sigma away.
            v = p->init_std * vj_normal_inverse(vj_rng_uniform(job->seed, (uint64_t)i, job->tag, 0, 0) + 0x1p-54);
            v = v < -2 ? -2 : v > 2 ? 2 : v;
            v /= p->init_divisor;
        }
        job->out[i] = job->real == VJ_F32 ? (double)(float)v : v;
    }
}

vj_status vj_init_param(const vj_layout *layout, int param, uint64_t seed, vj_dtype real, int threads, double *out)
{
    const vj_param *p = &layout->params[param];
    const uint32_t network = strcmp(layout->network, "predictor") == 0 ? PREDICTOR_STREAMS : 0;
    init_job job = { .param = p, .seed = seed, .tag = VJ_TAG_INIT + (uint32_t)param + network, .real = real, .out = out };
    const int64_t tasks = (p->count + PIECE - 1) / PIECE;
    vj_pool *pool = NULL;
    VJ_TRY(vj_pool_create(&pool, tasks < threads ? (int)tasks : threads, NULL));
    vj_pool_run(pool, tasks, init_piece, &job);
    vj_pool_destroy(&pool);
    return VJ_OK;
}
