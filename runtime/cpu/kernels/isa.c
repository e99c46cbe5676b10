// What this instruction set offers.

#include "runtime/cpu/kernels/isa.h"

#define VJ_TEXT2(x) #x
#define VJ_TEXT(x) VJ_TEXT2(x)

// Twelve chains hide the latency of two units that each take four to six cycles.
static float VJ_NAME(fma_rounds)(int64_t rounds)
{
    const vf x = splat(0.999f), y = splat(0.001f);
    vf a = y, b = y * 2.0f, c = y * 3.0f, d = y * 4.0f, e = y * 5.0f, f = y * 6.0f, g = y * 7.0f, h = y * 8.0f, i = y * 9.0f,
       j = y * 10.0f, k = y * 11.0f, l = y * 12.0f;
    for (int64_t r = 0; r < rounds; r++) {
        a = a * x + y, b = b * x + y, c = c * x + y, d = d * x + y, e = e * x + y, f = f * x + y;
        g = g * x + y, h = h * x + y, i = i * x + y, j = j * x + y, k = k * x + y, l = l * x + y;
    }
    return lanes_sum(a + b + c + d + e + f + g + h + i + j + k + l);
}

const cpu_isa VJ_NAME(cpu_isa) = {
    .name = VJ_TEXT(VJ_ISA),
    .panel_width = VJ_NAME(panel_width),
    .panel_floats = VJ_NAME(panel_floats),
    .pack_panels = VJ_NAME(pack_panels),
    .product_tile = VJ_NAME(product_tile),
    .finish_tile = VJ_NAME(finish_tile),
    .fma_rounds = VJ_NAME(fma_rounds),
    .fma_flop = 2 * 12 * VJ_VECTOR,
    .run =
        {
#define X(op) [VJ_OP_##op] = VJ_NAME(op),
            VJ_ISA_KERNELS(X)
#undef X
        },
};
