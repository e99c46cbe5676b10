#include "model/init.h"

#include <string.h>

#include "runtime/base/rng.h"

enum { PREDICTOR_STREAMS = 1024 };   // encoder parameters use the streams below

void vj_init_param(const vj_layout *layout, int param, uint64_t seed, vj_dtype real, double *out)
{
    const vj_param *p = &layout->params[param];
    const uint32_t tag =
        VJ_TAG_INIT + (uint32_t)param + (strcmp(layout->network, "predictor") == 0 ? PREDICTOR_STREAMS : 0);
    for (int64_t i = 0; i < p->count; i++) {
        double v = p->init == VJ_INIT_ONE ? 1 : 0;
        if (p->init == VJ_INIT_NORMAL) {
            // Inverse CDF of a uniform strictly inside (0, 1); the cut at +-2 is a hundred sigma away.
            v = p->init_std * vj_normal_inverse(vj_rng_uniform(seed, (uint64_t)i, tag, 0, 0) + 0x1p-54);
            v = v < -2 ? -2 : v > 2 ? 2 : v;
            v /= p->init_divisor;
        }
        out[i] = real == VJ_F32 ? (double)(float)v : v;
    }
}
