// Sums over ranks in the order of the tree over slots (contracts 1): neighbours first, a missing leaf is skipped. With ranks
// r owning slots r, r + G, ... and G a power of two, the sum over ranks of one round is a subtree of the step's.
#ifndef VJ_PARALLEL_TREE_H
#define VJ_PARALLEL_TREE_H

#include "runtime/tensor/tensor.h"

// out[i] = tree sum of leaf[0][i], ..., leaf[n - 1][i] for i in [0, count); n >= 1, VJ_F32 or VJ_F64, host memory. `out` may be
// one of the leaves.
void vj_tree_sum(void *out, const void *const *leaf, int n, vj_dtype type, int64_t count);

#endif
