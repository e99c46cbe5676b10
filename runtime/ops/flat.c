// Front ends of the loss and of what works on flat spans: optimiser, target encoder, tree sums.

#include "runtime/ops/check.h"

vj_status vj_loss(vj_stream *st, const vj_tensor *loss, const vj_tensor *dpred, const vj_tensor *row_loss,
                  const vj_tensor *pred, const vj_tensor *target, const vj_tensor *weight, int exponent)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(pred), C = vj_last(pred);
    EXPECT_1D("loss", loss, VJ_F64, 1);
    EXPECT_2D("loss", pred, t, R, C);
    EXPECT_2D("loss", target, t, R, C);
    EXPECT_2D("loss", dpred, t, R, C);
    EXPECT_1D("loss", weight, t, R);
    MAYBE_1D("loss", row_loss, t, R);
    VJ_CHECK(exponent == 1 || exponent == 2, VJ_ERR_BUG, "loss: exponent %d", exponent);
    if (R == 0) return vj_zero(st, loss->data, sizeof(double));
    const vj_args_loss a = { .loss = loss->data,
                             .dpred = dpred->data,
                             .row_loss = vj_data(row_loss),
                             .pred = pred->data,
                             .target = target->data,
                             .weight = weight->data,
                             .R = R,
                             .C = C,
                             .exponent = exponent };
    return vj_stream_run(st, VJ_OP_loss, &a);
}

vj_status vj_add_inplace(vj_stream *st, const vj_tensor *y, const vj_tensor *x)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t n = vj_count(y);
    EXPECT_1D("add_inplace", y, t, n);
    EXPECT_1D("add_inplace", x, t, n);
    if (n == 0) return VJ_OK;
    return vj_stream_run(st, VJ_OP_add_inplace, &(vj_args_add_inplace){ .y = y->data, .x = x->data, .n = n });
}

vj_status vj_adamw(vj_stream *st, const vj_tensor *p, const vj_tensor *m, const vj_tensor *v, const vj_tensor *g,
                   const vj_adamw_spec *spec)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t n = vj_count(p);
    EXPECT_1D("adamw", p, t, n);
    EXPECT_1D("adamw", m, t, n);
    EXPECT_1D("adamw", v, t, n);
    EXPECT_1D("adamw", g, t, n);
    VJ_CHECK(spec->step >= 1, VJ_ERR_BUG, "adamw: step %lld", (long long)spec->step);
    if (n == 0) return VJ_OK;
    return vj_stream_run(
        st, VJ_OP_adamw,
        &(vj_args_adamw){ .p = p->data, .m = m->data, .v = v->data, .g = g->data, .n = n, .spec = *spec });
}

vj_status vj_ema(vj_stream *st, const vj_tensor *target, const vj_tensor *online, double momentum)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t n = vj_count(target);
    EXPECT_1D("ema", target, t, n);
    EXPECT_1D("ema", online, t, n);
    if (n == 0) return VJ_OK;
    return vj_stream_run(
        st, VJ_OP_ema, &(vj_args_ema){ .target = target->data, .online = online->data, .n = n, .momentum = momentum });
}

vj_status vj_square_sums(vj_stream *st, const vj_tensor *out, const vj_tensor *x, int64_t chunk)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t n = vj_count(x);
    VJ_CHECK(chunk >= 1 && n % chunk == 0, VJ_ERR_BUG, "square_sums: %lld elements in chunks of %lld", (long long)n,
             (long long)chunk);
    EXPECT_1D("square_sums", x, t, n);
    EXPECT_1D("square_sums", out, VJ_F64, n / chunk);
    if (n == 0) return VJ_OK;
    return vj_stream_run(st, VJ_OP_square_sums,
                         &(vj_args_square_sums){ .out = out->data, .x = x->data, .n = n, .chunk = chunk });
}
