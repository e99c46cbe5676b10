// Official initialisation (spec/pretrain.md 1.8) from counter-based streams: the value of an element depends on the
// seed, the parameter and the element, not on the order of anything.
#ifndef VJ_MODEL_INIT_H
#define VJ_MODEL_INIT_H

#include "parallel/layout.h"

// The initial values (count) of one parameter, rounded to `real`: exactly what vj_vjepa_init stores. The target encoder
// starts as the encoder, so its layout gives the encoder's values. `threads` >= 1 changes how long it takes (a draw is some 70 ns),
// not one bit. Fails only where threads cannot be had.
vj_status vj_init_param(const vj_layout *layout, int param, uint64_t seed, vj_dtype real, int threads, double *out) VJ_MUST_CHECK;

#endif
