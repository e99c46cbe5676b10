// Names, sizes and costs of ops: everything that a device may want to know without knowing the op.

#include "runtime/ops/ops_impl.h"

static const struct { const char *name; size_t size; int pointers; } ops[VJ_OP_COUNT] = {
#define X(op, type, pointers) { #op, sizeof(type), pointers },
    VJ_OP_LIST(X)
#undef X
};

const char *vj_op_name(vj_op op) { return ops[op].name; }
size_t vj_op_args_size(vj_op op) { return ops[op].size; }
int vj_op_pointers(vj_op op) { return ops[op].pointers; }

double vj_op_flop(vj_op op, const void *args)
{
    switch (op) {
    case VJ_OP_linear_forward: {
        const vj_args_linear_forward *a = args;
        return 2.0 * (double)a->R * (double)a->O * (double)a->I;
    }
    case VJ_OP_linear_backward_input: {
        const vj_args_linear_backward_input *a = args;
        return 2.0 * (double)a->R * (double)a->O * (double)a->I;
    }
    case VJ_OP_linear_backward_weight: {
        const vj_args_linear_backward_weight *a = args;
        return 2.0 * (double)a->R * (double)a->O * (double)a->I;
    }
    // Two products of (rows x rows x D) a head forward; backward counts twice that, what it recomputes earns nothing.
    case VJ_OP_attention_forward: {
        const vj_args_attention_forward *a = args;
        return 4.0 * (double)a->pairs * (double)(a->H * a->D);
    }
    case VJ_OP_attention_backward: {
        const vj_args_attention_backward *a = args;
        return 8.0 * (double)a->pairs * (double)(a->H * a->D);
    }
    default: return 0;
    }
}
