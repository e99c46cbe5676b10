// The kernels of one instruction set, declared under its names.
#ifndef VJ_RUNTIME_CPU_KERNELS_ISA_H
#define VJ_RUNTIME_CPU_KERNELS_ISA_H

#include "runtime/cpu/kernels/vec.h"

#define VJ_ISA_KERNELS(X)                                                                                              \
    X(layernorm_forward)                                                                                               \
    X(layernorm_backward)                                                                                              \
    X(gelu_forward) X(gelu_backward) X(rope_forward) X(rope_backward) X(attention_forward) X(attention_backward)       \
        X(rows_sum) X(loss) X(add_inplace) X(adamw) X(ema) X(square_sums)
#define X(op) void VJ_NAME(op)(const vj_exec *exec, const void *args);
VJ_ISA_KERNELS(X)
#undef X
int64_t VJ_NAME(panel_width)(int64_t N);
int64_t VJ_NAME(panel_floats)(int64_t K, int64_t width);
void VJ_NAME(pack_panels)(const cpu_product *p, float *panels, int64_t k0, int64_t K, int64_t n0, int64_t n);
void VJ_NAME(product_tile)(const cpu_product *p, int64_t m0, int64_t m, int64_t n0, int64_t n, const float *panels,
                           float *scratch);
void VJ_NAME(finish_tile)(const cpu_product *p, int64_t m0, int64_t m, int64_t n0, int64_t n);

#endif
