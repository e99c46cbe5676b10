// Views: arithmetic only.

#include "runtime/tensor/tensor.h"

#include <stdio.h>

int64_t vj_count(const vj_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

size_t vj_tensor_bytes(const vj_tensor *t) { return (size_t)vj_count(t) * vj_dtype_size(t->dtype); }

vj_tensor vj_tensor_of(void *data, vj_dtype dtype, int rank, const int64_t *shape)
{
    VJ_ASSERT(rank >= 1 && rank <= VJ_MAX_RANK);
    vj_tensor t = { .data = data, .dtype = dtype, .rank = rank, .shape = { 1, 1, 1, 1, 1 } };
    for (int i = 0; i < rank; i++) {
        VJ_ASSERT(shape[i] >= 0);
        t.shape[i] = shape[i];
    }
    return t;
}

vj_tensor vj_tensor_1d(void *data, vj_dtype dtype, int64_t n0)
{
    return vj_tensor_of(data, dtype, 1, (const int64_t[]){ n0 });
}

vj_tensor vj_tensor_2d(void *data, vj_dtype dtype, int64_t n0, int64_t n1)
{
    return vj_tensor_of(data, dtype, 2, (const int64_t[]){ n0, n1 });
}

vj_tensor vj_reshape_2d(const vj_tensor *t, int64_t n0, int64_t n1)
{
    VJ_ASSERT(n0 * n1 == vj_count(t));
    return vj_tensor_2d(t->data, t->dtype, n0, n1);
}

vj_tensor vj_rows(const vj_tensor *t, int64_t first, int64_t n)
{
    VJ_ASSERT(first >= 0 && n >= 0 && first + n <= t->shape[0]);
    int64_t row = 1;
    for (int i = 1; i < t->rank; i++) row *= t->shape[i];
    vj_tensor out = *t;
    out.data = (void *)((uintptr_t)t->data + (size_t)(first * row) * vj_dtype_size(t->dtype));
    out.shape[0] = n;
    return out;
}

vj_status vj_tensor_alloc(vj_arena *a, vj_tensor *out, vj_dtype dtype, int rank, const int64_t *shape)
{
    *out = vj_tensor_of(NULL, dtype, rank, shape);
    return vj_arena_alloc(a, &out->data, vj_tensor_bytes(out));
}

vj_status vj_tensor_alloc_2d(vj_arena *a, vj_tensor *out, vj_dtype dtype, int64_t n0, int64_t n1)
{
    return vj_tensor_alloc(a, out, dtype, 2, (const int64_t[]){ n0, n1 });
}

vj_status vj_tensor_alloc_1d(vj_arena *a, vj_tensor *out, vj_dtype dtype, int64_t n0)
{
    return vj_tensor_alloc(a, out, dtype, 1, &n0);
}

bool vj_same_shape(const vj_tensor *a, const vj_tensor *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->shape[i] != b->shape[i]) return false;
    }
    return true;
}

void vj_shape_text(char out[96], const vj_tensor *t)
{
    int n = snprintf(out, 96, "%s (", vj_dtype_name(t->dtype));
    for (int i = 0; i < t->rank && n < 90; i++)
        n += snprintf(out + n, (size_t)(96 - n), i ? ", %lld" : "%lld", (long long)t->shape[i]);
    if (n < 95) snprintf(out + n, (size_t)(96 - n), ")");
}
