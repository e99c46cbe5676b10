#include "runtime/ops/check.h"

int64_t vj_last(const vj_tensor *t) { return t->shape[t->rank - 1]; }

int64_t vj_leading(const vj_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < t->rank; i++) n *= t->shape[i];
    return n;
}

vj_status vj_expect(const char *op, const char *what, const vj_tensor *t, vj_dtype dtype, int rank, int64_t n0,
                    int64_t n1, bool optional)
{
    if (!t && optional) return VJ_OK;
    VJ_CHECK(t != NULL, VJ_ERR_BUG, "%s: %s is missing", op, what);
    const bool shape = rank == 1 ? vj_count(t) == n0 : vj_leading(t) == n0 && vj_last(t) == n1;
    if (t->dtype == dtype && shape && (t->data || vj_count(t) == 0)) return VJ_OK;
    char is[96];
    vj_shape_text(is, t);
    if (rank == 1)
        VJ_FAIL(VJ_ERR_BUG, "%s: %s is %s%s, expected %s (%lld)", op, what, is, t->data ? "" : " without memory",
                vj_dtype_name(dtype), (long long)n0);
    VJ_FAIL(VJ_ERR_BUG, "%s: %s is %s%s, expected %s (%lld, %lld)", op, what, is, t->data ? "" : " without memory",
            vj_dtype_name(dtype), (long long)n0, (long long)n1);
}
