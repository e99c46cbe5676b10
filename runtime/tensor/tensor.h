// A tensor is a view: an address, a type and a shape, row-major and contiguous. It owns nothing. Memory comes from
// arenas over device buffers, or belongs to a unit's flat buffer. The address is a device address: host code must not
// dereference it (on the device `far` doing so is a fault); only ops and copies touch what lies there.
#ifndef VJ_RUNTIME_TENSOR_TENSOR_H
#define VJ_RUNTIME_TENSOR_TENSOR_H

#include "runtime/base/arena.h"
#include "runtime/tensor/dtype.h"

enum { VJ_MAX_RANK = 5 };

typedef struct vj_tensor {
    void *data;
    vj_dtype dtype;
    int rank;
    int64_t shape[VJ_MAX_RANK];   // unused sizes are 1
} vj_tensor;

int64_t vj_count(const vj_tensor *t);                 // elements; 0 when any size is 0
size_t vj_tensor_bytes(const vj_tensor *t);
vj_tensor vj_tensor_of(void *data, vj_dtype dtype, int rank, const int64_t *shape);
vj_tensor vj_tensor_1d(void *data, vj_dtype dtype, int64_t n0);
vj_tensor vj_tensor_2d(void *data, vj_dtype dtype, int64_t n0, int64_t n1);
// The same elements under another shape of equal count (else a bug).
vj_tensor vj_reshape_2d(const vj_tensor *t, int64_t n0, int64_t n1);
// Rows [first, first + n) along the first axis.
vj_tensor vj_rows(const vj_tensor *t, int64_t first, int64_t n);
vj_status vj_tensor_alloc(vj_arena *a, vj_tensor *out, vj_dtype dtype, int rank, const int64_t *shape) VJ_MUST_CHECK;
vj_status vj_tensor_alloc_2d(vj_arena *a, vj_tensor *out, vj_dtype dtype, int64_t n0, int64_t n1) VJ_MUST_CHECK;
vj_status vj_tensor_alloc_1d(vj_arena *a, vj_tensor *out, vj_dtype dtype, int64_t n0) VJ_MUST_CHECK;
bool vj_same_shape(const vj_tensor *a, const vj_tensor *b);
void vj_shape_text(char out[96], const vj_tensor *t);   // "float32 (8, 256, 1024)"

#endif
