// What both directions of attention share: how rows of a head are laid out for register tiles, and the tiles themselves.
// Scores are kept transposed, queries along the lanes: maxima, sums and factors of queries are then vectors, and nothing
// is ever added up across lanes.
#ifndef VJ_RUNTIME_CPU_KERNELS_ATTENTION_H
#define VJ_RUNTIME_CPU_KERNELS_ATTENTION_H

#include "runtime/cpu/kernels/product.h"

enum { KEYS = 96 };   // keys of a block of scores: a multiple of SIX

static inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// out (n rows of Dw floats, columns from D on are 0) = in (n rows of stride `stride`), times `scale`. `ahead` rows further
// on lies what is read next time: it is fetched into the second cache.
static inline void copy_rows_of(float *out, const float *in, int64_t stride, int64_t n, int64_t D, int64_t Dw, float scale, int64_t ahead)
{
    for (int64_t i = 0; i < n; i++, in += stride, out += Dw) {
        int64_t d = 0;
        for (; d + W <= D; d += W) {
            if (d % 16 == 0) __builtin_prefetch(in + ahead * stride + d, 0, 2);
            store(out + d, load(in + d) * scale);
        }
        for (; d < D; d++) out[d] = in[d] * scale;
        for (; d < Dw; d++) out[d] = 0;
    }
}

// A panel at the end of a sequence has fewer lanes in use: `call` with the vectors that hold them, as a constant.
#if VJ_BROAD > 2
#define VJ_BY_VECTORS(lanes, call)                                                                                     \
    ((lanes) > 3 * W ? (call(4)) : (lanes) > 2 * W ? (call(3)) : (lanes) > W ? (call(2)) : (call(1)))
#else
#define VJ_BY_VECTORS(lanes, call) ((lanes) > W ? (call(2)) : (call(1)))
#endif

// Rows A[i..i + 5] of a matrix with `row` floats from row to row; those that do not exist are row i once more.
static inline void rows_from(const float *a[SIX], const float *A, int64_t row, int64_t there)
{
    for (int64_t r = 0; r < SIX; r++) a[r] = A + (r < there ? r : 0) * row;
}

// C (rows, PANEL) = C * factor + tile, of which `rows` exist.
VJ_INLINE void put_scaled(float *C, vf c[SIX][BROAD], int rows, int vectors, const vf factor[BROAD])
{
#pragma GCC unroll 6
    for (int r = 0; r < SIX; r++) {
        if (r >= rows) break;
#pragma GCC unroll 4
        for (int j = 0; j < BROAD; j++)
            if (j < vectors) store(C + r * PANEL + j * W, load(C + r * PANEL + j * W) * factor[j] + c[r][j]);
    }
}

// C (D, PANEL) = C * factor + A' B with A (K, D; row stride D) and B (K, PANEL), in the first `vectors` vectors of a panel. D
// is cut into sixes and fives where that leaves nothing over.
VJ_INLINE void add_columns(float *C, const float *A, int64_t D, const float *B, int64_t K, int vectors, const vf factor[BROAD])
{
    const int64_t fives = (SIX - D % SIX) % SIX, sixes = 5 * fives <= D ? (D - 5 * fives) / SIX : D / SIX;
    int64_t d = 0;
    for (int64_t i = 0; i < sixes; i++, d += SIX) {
        const float *const a[SIX] = { A + d, A + d + 1, A + d + 2, A + d + 3, A + d + 4, A + d + 5 };
        vf c[SIX][BROAD];
        tile_clear(c);
        tile_sums(c, SIX, vectors, a, D, B, PANEL, K, NULL);
        put_scaled(C + d * PANEL, c, SIX, vectors, factor);
    }
    for (; d + 5 <= D; d += 5) {
        const float *const a[SIX] = { A + d, A + d + 1, A + d + 2, A + d + 3, A + d + 4, A + d + 4 };
        vf c[SIX][BROAD];
        tile_clear(c);
        tile_sums(c, 5, vectors, a, D, B, PANEL, K, NULL);
        put_scaled(C + d * PANEL, c, 5, vectors, factor);
    }
    for (; d < D; d++) {   // small heads only
        const float *const a[SIX] = { A + d, A + d, A + d, A + d, A + d, A + d };
        vf c[SIX][BROAD];
        tile_clear(c);
        tile_sums(c, 1, vectors, a, D, B, PANEL, K, NULL);
        put_scaled(C + d * PANEL, c, 1, vectors, factor);
    }
}

// out (n rows of stride `stride`, D) = or += in (D, PANEL) transposed, each lane times its factor.
static inline void put_transposed(float *out, int64_t stride, const float *in, int64_t n, int64_t D, const vf factor[BROAD], bool add)
{
    for (int64_t q = 0; q < n; q += W) {
        const int64_t here = least(n - q, W);
        const vf f = factor[q / W];
        for (int64_t d = 0; d < D; d += W) {
            const int64_t wide = least(D - d, W);
            vf r[W];
            for (int64_t i = 0; i < W; i++) r[i] = i < wide ? load(in + (d + i) * PANEL + q) * f : (vf){ 0 };
            transpose_square(r);
            for (int64_t i = 0; i < here; i++) {
                float *o = out + (q + i) * stride + d;
                if (wide == W) store(o, add ? load(o) + r[i] : r[i]);
                else store_part(o, add ? load_part(o, wide) + r[i] : r[i], wide);
            }
        }
    }
}

#endif
