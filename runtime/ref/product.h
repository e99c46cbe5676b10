// The one product behind linear layers and attention in float64. Each element is summed over k from first to last, so
// its bits depend on nothing but its own inputs.
#ifndef VJ_RUNTIME_REF_PRODUCT_H
#define VJ_RUNTIME_REF_PRODUCT_H

#include "runtime/ops/ops_impl.h"

// Element (i, j) lies at p[i * down + j * across].
typedef struct ref_matrix {
    const double *p;
    int64_t down, across;
} ref_matrix;

static inline ref_matrix ref_plain(const double *p, int64_t row) { return (ref_matrix){ p, row, 1 }; }
static inline ref_matrix ref_transposed(const double *p, int64_t row) { return (ref_matrix){ p, 1, row }; }

// C (M, N) = [C +] A (M, K) B (K, N); C's rows lie c_row apart.
typedef struct ref_product {
    double *C;
    int64_t c_row;
    ref_matrix A, B;
    int64_t M, N, K;
    bool accumulate;
} ref_product;

// Sizes of a tile, the depth that is packed at a time, doubles of scratch: tile and packs stay in the second-level cache.
enum { REF_ROWS = 128, REF_COLUMNS = 128, REF_DEPTH = 128 };
enum { REF_SCRATCH = REF_ROWS * REF_COLUMNS + (REF_ROWS + REF_COLUMNS) * REF_DEPTH };

// The tile whose first element is (m0, n0), both multiples of the tile's size.
void ref_product_tile(const ref_product *p, int64_t m0, int64_t n0, double *scratch);
// All tiles, on this thread.
void ref_product_run(const ref_product *p, double *scratch);

#endif
