// The register tile: six rows (or five) of A times up to BROAD vectors of B, used by linear layers and by attention. On
// AVX-512 that is 24 sums, so that ten loads feed 24 FMAs; elsewhere twelve, enough to hide the latency of two FMA units.
#ifndef VJ_RUNTIME_CPU_KERNELS_PRODUCT_H
#define VJ_RUNTIME_CPU_KERNELS_PRODUCT_H

#include "runtime/cpu/kernels/vec.h"

#if VJ_VECTOR == 16
#define VJ_BROAD 4
#else
#define VJ_BROAD 2
#endif
enum { SIX = 6, BROAD = VJ_BROAD, PANEL = BROAD * VJ_VECTOR };
#define VJ_INLINE static inline __attribute__((always_inline))

VJ_INLINE void tile_clear(vf s[SIX][BROAD])
{
#pragma GCC unroll 6
    for (int i = 0; i < SIX; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < BROAD; j++) s[i][j] = (vf){ 0 };
    }
}

// s[i][j] += row i of A (K) times vector j of B (K; b_k floats from step to step), i < rows, j < vectors: both constants
// where this is inlined. Rows of A start at a[0..5], a_k apart from k to k + 1. `next`, unless NULL: every eighth step
// fetches a line from there on into the second cache, since what is to come lies in the third, which is slow.
VJ_INLINE void tile_sums(vf s[SIX][BROAD], int rows, int vectors, const float *const a[SIX], int64_t a_k, const float *B,
                         int64_t b_k, int64_t K, const float *next)
{
    const float *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3], *a4 = a[4], *a5 = a[5];
#define VJ_STEP(k)                                                                                                     \
    {                                                                                                                  \
        const float x[SIX] = { a0[(k) * a_k], a1[(k) * a_k], a2[(k) * a_k],                                            \
                               a3[(k) * a_k], a4[(k) * a_k], a5[(k) * a_k] };                                          \
        vf b[BROAD];                                                                                                   \
        _Pragma("GCC unroll 4") for (int j = 0; j < BROAD; j++) if (j < vectors) b[j] = load(B + j * W);               \
        _Pragma("GCC unroll 6") for (int i = 0; i < SIX; i++)                                                          \
        {                                                                                                              \
            _Pragma("GCC unroll 4") for (int j = 0; j < BROAD; j++) if (i < rows && j < vectors) s[i][j] += x[i] * b[j]; \
        }                                                                                                              \
        B += b_k;                                                                                                      \
    }
    int64_t k = 0;
    for (; next && k + 8 <= K; k += 8, next += 16) {
        __builtin_prefetch(next, 0, 2);
#pragma GCC unroll 2
        for (int64_t e = k; e < k + 8; e++) VJ_STEP(e)
    }
#pragma GCC unroll 2
    for (; k < K; k++) VJ_STEP(k)
#undef VJ_STEP
}

// Lane l of row i and lane i of row l change places, by halves: blocks of h lanes are exchanged between rows i and i + h.
#define VJ_LOW(l, h) ((l) & (h) ? W + (l) - (h) : (l))
#define VJ_HIGH(l, h) ((l) & (h) ? W + (l) : (l) + (h))
#define VJ_FOUR(f, l, h) f(l, h), f(l + 1, h), f(l + 2, h), f(l + 3, h)
#if VJ_VECTOR == 16
#define VJ_LANES(f, h) VJ_FOUR(f, 0, h), VJ_FOUR(f, 4, h), VJ_FOUR(f, 8, h), VJ_FOUR(f, 12, h)
#elif VJ_VECTOR == 8
#define VJ_LANES(f, h) VJ_FOUR(f, 0, h), VJ_FOUR(f, 4, h)
#else
#define VJ_LANES(f, h) VJ_FOUR(f, 0, h)
#endif
#define VJ_EXCHANGE_BLOCKS(r, h)                                                                                       \
    _Pragma("GCC unroll 16") for (int i = 0; i < W; i++)                                                               \
    {                                                                                                                  \
        if (i & (h)) continue;                                                                                         \
        const vf a = r[i], b = r[i + (h)];                                                                             \
        r[i] = __builtin_shuffle(a, b, (vi){ VJ_LANES(VJ_LOW, h) });                                                   \
        r[i + (h)] = __builtin_shuffle(a, b, (vi){ VJ_LANES(VJ_HIGH, h) });                                            \
    }
static inline __attribute__((always_inline)) void transpose_square(vf r[W])
{
#if VJ_VECTOR >= 16
    VJ_EXCHANGE_BLOCKS(r, 8)
#endif
#if VJ_VECTOR >= 8
    VJ_EXCHANGE_BLOCKS(r, 4)
#endif
    VJ_EXCHANGE_BLOCKS(r, 2)
    VJ_EXCHANGE_BLOCKS(r, 1)
}

// One panel: out (K, width) = the transpose of `columns` rows of `in`, K long and `apart` floats apart, times `scale`; the
// panel's other columns become 0. width: whole vectors.
static inline void pack_transposed_panel(float *out, int64_t width, const float *in, int64_t apart, int64_t K, int64_t columns,
                                         float scale)
{
    for (int64_t j = 0; j < width; j += W) {
        const int64_t here = columns - j < 0 ? 0 : columns - j < W ? columns - j : W;
        const float *row[W];
        for (int64_t i = 0; i < W; i++) row[i] = in + (j + (i < here ? i : 0)) * apart;
        if (here <= 0) {
            for (int64_t k = 0; k < K; k++) store(out + k * width + j, (vf){ 0 });
            continue;
        }
        int64_t k = 0;
        for (; k + W <= K; k += W) {
            vf r[W];
#pragma GCC unroll 16
            for (int i = 0; i < W; i++) {
                r[i] = load(row[i] + k) * scale;
                if ((k & 15) == 0) __builtin_prefetch(row[i] + k + 64);
            }
            if (here < W) {
                for (int64_t i = here; i < W; i++) r[i] = (vf){ 0 };
            }
            transpose_square(r);
#pragma GCC unroll 16
            for (int i = 0; i < W; i++) store(out + (k + i) * width + j, r[i]);
        }
        for (; k < K; k++) {
            for (int64_t i = 0; i < W; i++) out[k * width + j + i] = i < here ? row[i][k] * scale : 0;
        }
    }
}

#endif
