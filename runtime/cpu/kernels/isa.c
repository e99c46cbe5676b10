// What this instruction set offers.

#include "runtime/cpu/kernels/isa.h"

#define VJ_TEXT2(x) #x
#define VJ_TEXT(x) VJ_TEXT2(x)

const cpu_isa VJ_NAME(cpu_isa) = {
    .name = VJ_TEXT(VJ_ISA),
    // On AVX2 our kernel is at least as fast as oneDNN's on tiles (README); on AVX-512 it has not been measured against
    // it.
    .library_floor = VJ_VECTOR == 16 ? (int64_t)1 << 27 : INT64_MAX,
    .product_tile = VJ_NAME(product_tile),
    .finish_tile = VJ_NAME(finish_tile),
    .column_sums = VJ_NAME(column_sums),
    .run =
        {
#define X(op) [VJ_OP_##op] = VJ_NAME(op),
            VJ_ISA_KERNELS(X)
#undef X
        },
};
