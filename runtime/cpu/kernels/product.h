// The register tile: six rows of A times a panel of two vectors of B. Used by small linear layers and by attention.
#ifndef VJ_RUNTIME_CPU_KERNELS_PRODUCT_H
#define VJ_RUNTIME_CPU_KERNELS_PRODUCT_H

#include "runtime/cpu/kernels/vec.h"

enum { PANEL = 2 * VJ_VECTOR };

// panel (K, PANEL) from B (K, width) with free strides; columns beyond width are 0.
static inline void pack_panel(float *panel, const float *B, int64_t K, int64_t b_k, int64_t b_col, int64_t width)
{
    if (width == PANEL && b_col == 1) {
        for (int64_t k = 0; k < K; k++, panel += PANEL, B += b_k) {
            store(panel, load(B));
            store(panel + W, load(B + W));
        }
        return;
    }
    for (int64_t j = 0; j < PANEL; j++) {
        if (j < width) {
            for (int64_t k = 0; k < K; k++) panel[k * PANEL + j] = B[k * b_k + j * b_col];
        } else {
            for (int64_t k = 0; k < K; k++) panel[k * PANEL + j] = 0;
        }
    }
}

// C (rows <= 6, width <= PANEL) = [C +] A (rows, K) B (K, PANEL); b_k is B's row stride.
static inline __attribute__((always_inline)) void micro_kernel(float *C, int64_t ldc, const float *A, int64_t a_row, int64_t a_k,
                                                               const float *B, int64_t b_k, int64_t K, int64_t rows, int64_t width,
                                                               bool accumulate)
{
    const float *a0 = A, *a1 = A + (rows > 1 ? a_row : 0), *a2 = A + (rows > 2 ? 2 * a_row : 0), *a3 = A + (rows > 3 ? 3 * a_row : 0),
                *a4 = A + (rows > 4 ? 4 * a_row : 0), *a5 = A + (rows > 5 ? 5 * a_row : 0);
    vf c00 = { 0 }, c01 = { 0 }, c10 = { 0 }, c11 = { 0 }, c20 = { 0 }, c21 = { 0 }, c30 = { 0 }, c31 = { 0 }, c40 = { 0 }, c41 = { 0 },
       c50 = { 0 }, c51 = { 0 };
    for (int64_t k = 0; k < K; k++) {
        const vf b0 = load(B), b1 = load(B + W);
        const float x0 = a0[k * a_k], x1 = a1[k * a_k], x2 = a2[k * a_k], x3 = a3[k * a_k], x4 = a4[k * a_k], x5 = a5[k * a_k];
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
    const vf c[6][2] = { { c00, c01 }, { c10, c11 }, { c20, c21 }, { c30, c31 }, { c40, c41 }, { c50, c51 } };
    for (int64_t i = 0; i < rows; i++, C += ldc) {
        if (width == PANEL) {
            store(C, accumulate ? load(C) + c[i][0] : c[i][0]);
            store(C + W, accumulate ? load(C + W) + c[i][1] : c[i][1]);
        } else {
            float line[PANEL];
            store(line, c[i][0]);
            store(line + W, c[i][1]);
            for (int64_t j = 0; j < width; j++) C[j] = accumulate ? C[j] + line[j] : line[j];
        }
    }
}

#endif
