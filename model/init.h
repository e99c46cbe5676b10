// Official initialisation (spec/pretrain.md 1.8) from counter-based streams: the value of an element depends on the
// seed, the parameter and the element, not on the order of anything.
#ifndef VJ_MODEL_INIT_H
#define VJ_MODEL_INIT_H

#include "parallel/layout.h"

// The initial values (count) of one parameter, rounded to `real`: exactly what vj_vjepa_init stores. The target encoder
// starts as the encoder, so its layout gives the encoder's values.
void vj_init_param(const vj_layout *layout, int param, uint64_t seed, vj_dtype real, double *out);

#endif
