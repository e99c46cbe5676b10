// The contract between the op front ends (runtime/ops/*.c) and the kernels (runtime/ref, runtime/cpu, later cuda).
// Private to runtime/. A front end checks shapes, fills an argument struct and queues it; a kernel trusts it.
//
// Every argument struct begins with its pointers; the table below says how many, so that a device with its own address
// space (`far`, CUDA graphs later) can copy and translate arguments without knowing the op.
#ifndef VJ_RUNTIME_OPS_OPS_IMPL_H
#define VJ_RUNTIME_OPS_OPS_IMPL_H

#include "runtime/base/thread.h"
#include "runtime/ops/ops.h"

typedef struct vj_args_linear_forward {
    void *y, *aux;
    const void *x, *w, *bias;
    int64_t R, O, I;
    int epilogue;
} vj_args_linear_forward;
typedef struct vj_args_linear_backward_input {
    void *dx;
    const void *dy, *w, *gelu_pre;
    int64_t R, O, I;
} vj_args_linear_backward_input;
typedef struct vj_args_linear_backward_weight {
    void *dw, *dbias;
    const void *dy, *x;
    int64_t R, O, I;
} vj_args_linear_backward_weight;
typedef struct vj_args_layernorm_forward {
    void *y, *mean, *rstd;
    const void *x, *gamma, *beta;
    int64_t R, C;
    double eps;
} vj_args_layernorm_forward;
typedef struct vj_args_layernorm_backward {
    void *dx, *dgamma, *dbeta;
    const void *dy, *x, *gamma, *mean, *rstd, *residual;
    int64_t R, C;
} vj_args_layernorm_backward;
typedef struct vj_args_gelu_forward { void *y; const void *x; int64_t n; } vj_args_gelu_forward;
typedef struct vj_args_gelu_backward { void *dx; const void *dy, *x; int64_t n; } vj_args_gelu_backward;
typedef struct vj_args_rope {   // forward and backward
    void *qkv;
    const int32_t *pos;
    const void *table;
    int64_t R, H, D, axis, M;
    int layout;
} vj_args_rope;
typedef struct vj_args_attention_forward {
    void *o, *lse;
    const void *qkv;
    const int32_t *seg, *from;
    int64_t R, H, D, S, longest, pairs;
} vj_args_attention_forward;
typedef struct vj_args_attention_backward {
    void *dqkv;
    const void *do_, *o, *lse, *qkv;
    const int32_t *seg, *from;
    int64_t R, H, D, S, longest, pairs;
} vj_args_attention_backward;
typedef struct vj_args_patch_gather {
    void *bricks;
    const void *clips;
    const int32_t *rows;
    int64_t R, B, F, height, width, tubelet, patch;
} vj_args_patch_gather;
typedef struct vj_args_rows_gather {
    void *y;
    const void *x, *table;
    const int32_t *index;
    int64_t R, C;
} vj_args_rows_gather;
typedef struct vj_args_rows_sum { void *sum; const void *x; const int32_t *index; int64_t n, C; } vj_args_rows_sum;
typedef struct vj_args_rows_scatter {
    void *dx;
    const void *dy;
    const int32_t *index;
    int64_t R, n, C;
} vj_args_rows_scatter;
typedef struct vj_args_loss {
    double *loss;
    void *dpred, *row_loss;
    const void *pred, *target, *weight;
    int64_t R, C;
    int exponent;
} vj_args_loss;
typedef struct vj_args_add_inplace { void *y; const void *x; int64_t n; } vj_args_add_inplace;
typedef struct vj_args_adamw { void *p, *m, *v; const void *g; int64_t n; vj_adamw_spec spec; } vj_args_adamw;
typedef struct vj_args_ema { void *target; const void *online; int64_t n; double momentum; } vj_args_ema;
typedef struct vj_args_square_sums { double *out; const void *x; int64_t n, chunk; } vj_args_square_sums;

// X(op, argument struct, number of leading pointers)
#define VJ_OP_LIST(X)                                                                                                  \
    X(linear_forward, vj_args_linear_forward, 5)                                                                       \
    X(linear_backward_input, vj_args_linear_backward_input, 4)                                                         \
    X(linear_backward_weight, vj_args_linear_backward_weight, 4)                                                       \
    X(layernorm_forward, vj_args_layernorm_forward, 6)                                                                 \
    X(layernorm_backward, vj_args_layernorm_backward, 9)                                                               \
    X(gelu_forward, vj_args_gelu_forward, 2)                                                                           \
    X(gelu_backward, vj_args_gelu_backward, 3)                                                                         \
    X(rope_forward, vj_args_rope, 3)                                                                                   \
    X(rope_backward, vj_args_rope, 3)                                                                                  \
    X(attention_forward, vj_args_attention_forward, 5)                                                                 \
    X(attention_backward, vj_args_attention_backward, 7)                                                               \
    X(patch_gather, vj_args_patch_gather, 3)                                                                           \
    X(rows_gather, vj_args_rows_gather, 4)                                                                             \
    X(rows_sum, vj_args_rows_sum, 3)                                                                                   \
    X(rows_scatter, vj_args_rows_scatter, 3)                                                                           \
    X(loss, vj_args_loss, 6)                                                                                           \
    X(add_inplace, vj_args_add_inplace, 2)                                                                             \
    X(adamw, vj_args_adamw, 4)                                                                                         \
    X(ema, vj_args_ema, 2)                                                                                             \
    X(square_sums, vj_args_square_sums, 2)

typedef enum vj_op {
#define X(op, type, pointers) VJ_OP_##op,
    VJ_OP_LIST(X)
#undef X
    VJ_OP_COUNT
} vj_op;

// What a kernel may use besides its arguments: the pool, `scratch_bytes` of private memory per worker, and `shared_bytes` for
// all workers of an op together.
typedef struct vj_exec {
    vj_pool *pool;
    char **scratch;           // scratch[worker], each of scratch_bytes, 64-byte aligned
    size_t scratch_bytes;
    char *shared;
    size_t shared_bytes;
} vj_exec;

typedef void (*vj_kernel)(const vj_exec *exec, const void *args);
typedef struct vj_kernel_table {
    vj_kernel run[VJ_OP_COUNT];
} vj_kernel_table;

// Each kernel set fills its table: ref all slots; cpu the portable ones first, then what CPUID (and VJ_CPU) allow.
void vj_ref_kernels(vj_kernel_table *table);
const char *vj_cpu_kernels(vj_kernel_table *table);   // the ISA chosen; NULL: VJ_CPU is wrong, message made

// Queues an op with its arguments (copied) on a stream: the only way a front end reaches a kernel.
vj_status vj_stream_run(vj_stream *st, vj_op op, const void *args) VJ_MUST_CHECK;
const char *vj_op_name(vj_op op);
size_t vj_op_args_size(vj_op op);
int vj_op_pointers(vj_op op);
double vj_op_flop(vj_op op, const void *args);        // multiply-add = 2; 0 for memory-bound ops

#endif
