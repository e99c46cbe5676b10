// Checks of the op front ends: a wrong tensor is named with what was expected.
#ifndef VJ_RUNTIME_OPS_CHECK_H
#define VJ_RUNTIME_OPS_CHECK_H

#include "runtime/tensor/device_impl.h"

// `t` must have this type and shape; rank 1 checks the count only, rank 2 rows and columns (a tensor of higher rank
// counts as (first sizes' product, last size)). NULL passes when `optional`.
vj_status vj_expect(const char *op, const char *what, const vj_tensor *t, vj_dtype dtype, int rank, int64_t n0,
                    int64_t n1, bool optional) VJ_MUST_CHECK;
int64_t vj_last(const vj_tensor *t);      // size of the last axis
int64_t vj_leading(const vj_tensor *t);   // product of the sizes before it
static inline void *vj_data(const vj_tensor *t) { return t ? t->data : NULL; }

#define EXPECT_1D(op, t, dtype, n) VJ_TRY(vj_expect(op, #t, t, dtype, 1, n, 0, false))
#define EXPECT_2D(op, t, dtype, n0, n1) VJ_TRY(vj_expect(op, #t, t, dtype, 2, n0, n1, false))
#define MAYBE_1D(op, t, dtype, n) VJ_TRY(vj_expect(op, #t, t, dtype, 1, n, 0, true))
#define MAYBE_2D(op, t, dtype, n0, n1) VJ_TRY(vj_expect(op, #t, t, dtype, 2, n0, n1, true))

#endif
