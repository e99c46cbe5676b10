// The register tile: six rows of A times a panel of two vectors of B; used by linear layers and by attention. Twelve
// sums are enough to hide the latency of two FMA units, and each step loads eight values for twelve FMAs.
#ifndef VJ_RUNTIME_CPU_KERNELS_PRODUCT_H
#define VJ_RUNTIME_CPU_KERNELS_PRODUCT_H

#include "runtime/cpu/kernels/vec.h"

enum { PANEL = 2 * VJ_VECTOR, SIX = 6 };

// Linear layers use a wider tile where there are registers for it: on AVX-512 24 sums, so that ten loads feed 24 FMAs.
#if VJ_VECTOR == 16
#define VJ_BROAD 4
#else
#define VJ_BROAD 2
#endif
enum { BROAD = VJ_BROAD, BROAD_PANEL = BROAD * VJ_VECTOR };

// One step of k.
#define VJ_BROAD_STEP(k)                                                                                               \
    {                                                                                                                  \
        const float x[SIX] = { a0[(k) * a_k], a1[(k) * a_k], a2[(k) * a_k],                                            \
                               a3[(k) * a_k], a4[(k) * a_k], a5[(k) * a_k] };                                          \
        vf b[BROAD];                                                                                                   \
        _Pragma("GCC unroll 4") for (int j = 0; j < BROAD; j++) b[j] = load(B + j * W);                                \
        _Pragma("GCC unroll 6") for (int i = 0; i < SIX; i++)                                                          \
        {                                                                                                              \
            _Pragma("GCC unroll 4") for (int j = 0; j < BROAD; j++) s[i][j] += x[i] * b[j];                            \
        }                                                                                                              \
        B += BROAD_PANEL;                                                                                              \
    }

// c[i][0..BROAD - 1] = row i of A (K) times a packed panel of B (K, BROAD_PANEL); rows of A start at a[0..5], a_k apart from
// k to k + 1. Every eighth step fetches a line from `next` on into the second cache: the panel to come lies in the third,
// which is slow.
static inline __attribute__((always_inline)) void six_broad(vf c[SIX][BROAD], const float *const a[SIX], int64_t a_k,
                                                            const float *B, int64_t K, const float *next)
{
    const float *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3], *a4 = a[4], *a5 = a[5];
    vf s[SIX][BROAD];
#pragma GCC unroll 6
    for (int i = 0; i < SIX; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < BROAD; j++) s[i][j] = (vf){ 0 };
    }
    int64_t k = 0;
    for (; k + 8 <= K; k += 8, next += 16) {
        __builtin_prefetch(next, 0, 2);
#pragma GCC unroll 2
        for (int64_t e = k; e < k + 8; e++) VJ_BROAD_STEP(e)
    }
    for (; k < K; k++) VJ_BROAD_STEP(k)
#pragma GCC unroll 6
    for (int i = 0; i < SIX; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < BROAD; j++) c[i][j] = s[i][j];
    }
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

// out (K, PANEL) = the transpose of `in` (PANEL rows of row stride `stride`, K columns); rows from `width` on count as
// 0.
static inline void transpose_panel(float *out, const float *in, int64_t stride, int64_t K, int64_t width)
{
    typedef float v4 __attribute__((vector_size(16)));
    typedef float v4u __attribute__((vector_size(16), aligned(4)));
    typedef int32_t i4 __attribute__((vector_size(16)));
    int64_t j = 0;
    for (; j + 4 <= width; j += 4) {
        const float *r0 = in + j * stride, *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
        float *o = out + j;
        int64_t k = 0;
        for (; k + 4 <= K; k += 4, o += 4 * PANEL) {   // 4 x 4 blocks
            if (k % 16 == 0 && j + 8 <= width) {       // the next four rows
                __builtin_prefetch(r0 + 4 * stride + k);
                __builtin_prefetch(r1 + 4 * stride + k);
                __builtin_prefetch(r2 + 4 * stride + k);
                __builtin_prefetch(r3 + 4 * stride + k);
            }
            const v4 a = *(const v4u *)(r0 + k), b = *(const v4u *)(r1 + k), c = *(const v4u *)(r2 + k),
                     d = *(const v4u *)(r3 + k);
            const v4 ab = __builtin_shuffle(a, b, (i4){ 0, 4, 1, 5 }), cd = __builtin_shuffle(c, d, (i4){ 0, 4, 1, 5 });
            const v4 AB = __builtin_shuffle(a, b, (i4){ 2, 6, 3, 7 }), CD = __builtin_shuffle(c, d, (i4){ 2, 6, 3, 7 });
            *(v4u *)o = __builtin_shuffle(ab, cd, (i4){ 0, 1, 4, 5 });
            *(v4u *)(o + PANEL) = __builtin_shuffle(ab, cd, (i4){ 2, 3, 6, 7 });
            *(v4u *)(o + 2 * PANEL) = __builtin_shuffle(AB, CD, (i4){ 0, 1, 4, 5 });
            *(v4u *)(o + 3 * PANEL) = __builtin_shuffle(AB, CD, (i4){ 2, 3, 6, 7 });
        }
        for (; k < K; k++, o += PANEL) {
            o[0] = r0[k];
            o[1] = r1[k];
            o[2] = r2[k];
            o[3] = r3[k];
        }
    }
    for (; j < PANEL; j++) {
        for (int64_t k = 0; k < K; k++) out[k * PANEL + j] = j < width ? in[j * stride + k] : 0;
    }
}

// c[i][0..1] = row i of A (K) times B (K, PANEL; row stride b_k): rows of A start at a[0..5], a_k apart from k to k
// + 1.
static inline __attribute__((always_inline)) void six_rows(vf c[SIX][2], const float *const a[SIX], int64_t a_k,
                                                           const float *B, int64_t b_k, int64_t K)
{
    const float *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3], *a4 = a[4], *a5 = a[5];
    vf c00 = { 0 }, c01 = { 0 }, c10 = { 0 }, c11 = { 0 }, c20 = { 0 }, c21 = { 0 }, c30 = { 0 }, c31 = { 0 },
       c40 = { 0 }, c41 = { 0 }, c50 = { 0 }, c51 = { 0 };
    for (int64_t k = 0; k < K; k++) {
        const vf b0 = load(B), b1 = load(B + W);
        const float x0 = a0[k * a_k], x1 = a1[k * a_k], x2 = a2[k * a_k], x3 = a3[k * a_k], x4 = a4[k * a_k],
                    x5 = a5[k * a_k];
        c00 += x0 * b0;
        c01 += x0 * b1;
        c10 += x1 * b0;
        c11 += x1 * b1;
        c20 += x2 * b0;
        c21 += x2 * b1;
        c30 += x3 * b0;
        c31 += x3 * b1;
        c40 += x4 * b0;
        c41 += x4 * b1;
        c50 += x5 * b0;
        c51 += x5 * b1;
        B += b_k;
    }
    c[0][0] = c00, c[0][1] = c01, c[1][0] = c10, c[1][1] = c11, c[2][0] = c20, c[2][1] = c21;
    c[3][0] = c30, c[3][1] = c31, c[4][0] = c40, c[4][1] = c41, c[5][0] = c50, c[5][1] = c51;
}

// C (6, PANEL; row stride ldc) = [C +] A (6, K; strides a_row, a_k) B (K, PANEL).
static inline __attribute__((always_inline)) void six_by_panel(float *C, int64_t ldc, const float *A, int64_t a_row,
                                                               int64_t a_k, const float *B, int64_t b_k, int64_t K,
                                                               bool accumulate)
{
    const float *const a[SIX] = { A, A + a_row, A + 2 * a_row, A + 3 * a_row, A + 4 * a_row, A + 5 * a_row };
    vf c[SIX][2];
    six_rows(c, a, a_k, B, b_k, K);
    for (int64_t i = 0; i < SIX; i++, C += ldc) {
        store(C, accumulate ? load(C) + c[i][0] : c[i][0]);
        store(C + W, accumulate ? load(C + W) + c[i][1] : c[i][1]);
    }
}

#endif
