// The one product behind linear layers and attention in float64:
//
//     C (M, N) = [C +] A (M, K) B (K, N)      A and B with free strides, C with rows c_row apart
//
// Each element is summed over k from first to last, so its bits depend on nothing but its own inputs.
#ifndef VJ_RUNTIME_REF_PRODUCT_H
#define VJ_RUNTIME_REF_PRODUCT_H

#include "runtime/ops/ops_impl.h"

typedef struct ref_product {
    double *C;
    const double *A, *B;
    int64_t M, N, K;
    int64_t c_row, a_row, a_k, b_k, b_col;
    bool accumulate;
} ref_product;

enum {
    REF_ROWS = 128, REF_COLUMNS = 128,   // of a tile
    REF_DEPTH = 128,                     // of what is packed at a time: tile and both packs stay in the second-level cache
    REF_SCRATCH = REF_ROWS * REF_COLUMNS + (REF_ROWS + REF_COLUMNS) * REF_DEPTH   // doubles
};

// The tile whose first element is (m0, n0), both multiples of the tile's size.
void ref_product_tile(const ref_product *p, int64_t m0, int64_t n0, double *scratch);
// All tiles, on this thread.
void ref_product_run(const ref_product *p, double *scratch);

#endif
