// What this instruction set offers.

#include "runtime/cpu/kernels/isa.h"

#define VJ_TEXT2(x) #x
#define VJ_TEXT(x) VJ_TEXT2(x)

const cpu_isa VJ_NAME(cpu_isa) = {
    .name = VJ_TEXT(VJ_ISA),
    .product_tile = VJ_NAME(product_tile),
    .finish_tile = VJ_NAME(finish_tile),
    .column_sums = VJ_NAME(column_sums),
    .run = {
#define X(op) [VJ_OP_##op] = VJ_NAME(op),
        VJ_ISA_KERNELS(X)
#undef X
    },
};
