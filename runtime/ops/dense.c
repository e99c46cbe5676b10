// Front ends of linear layers, layer norm and GELU: check once, queue; no arithmetic here.

#include "runtime/ops/check.h"

vj_status vj_linear_forward(vj_stream *st, const vj_tensor *y, const vj_tensor *x, const vj_tensor *w,
                            const vj_tensor *bias, vj_epilogue epilogue, const vj_tensor *aux)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(x), I = vj_last(x), O = w->shape[0];
    EXPECT_2D("linear_forward", x, t, R, I);
    VJ_TRY(vj_expect("linear_forward", "w", w, t, 1, O * I, 0, false));
    EXPECT_2D("linear_forward", y, t, R, O);
    MAYBE_1D("linear_forward", bias, t, O);
    VJ_TRY(vj_expect("linear_forward", "aux", aux, t, 2, R, O, epilogue != VJ_EPI_ADD));
    if (R == 0 || O == 0) return VJ_OK;
    const vj_args_linear_forward a = { .y = y->data,
                                       .aux = vj_data(aux),
                                       .x = x->data,
                                       .w = w->data,
                                       .bias = vj_data(bias),
                                       .R = R,
                                       .O = O,
                                       .I = I,
                                       .epilogue = epilogue };
    return vj_stream_run(st, VJ_OP_linear_forward, &a);
}

vj_status vj_linear_backward_input(vj_stream *st, const vj_tensor *dx, const vj_tensor *dy, const vj_tensor *w,
                                   const vj_tensor *gelu_pre)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(dy), O = vj_last(dy), I = vj_last(dx);
    EXPECT_2D("linear_backward_input", dy, t, R, O);
    VJ_TRY(vj_expect("linear_backward_input", "w", w, t, 1, O * I, 0, false));
    EXPECT_2D("linear_backward_input", dx, t, R, I);
    MAYBE_2D("linear_backward_input", gelu_pre, t, R, I);
    if (R == 0 || I == 0) return VJ_OK;
    const vj_args_linear_backward_input a = {
        .dx = dx->data, .dy = dy->data, .w = w->data, .gelu_pre = vj_data(gelu_pre), .R = R, .O = O, .I = I
    };
    return vj_stream_run(st, VJ_OP_linear_backward_input, &a);
}

vj_status vj_linear_backward_weight(vj_stream *st, const vj_tensor *dw, const vj_tensor *dbias, const vj_tensor *dy,
                                    const vj_tensor *x)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(dy), O = vj_last(dy), I = vj_last(x);
    EXPECT_2D("linear_backward_weight", dy, t, R, O);
    EXPECT_2D("linear_backward_weight", x, t, R, I);
    VJ_TRY(vj_expect("linear_backward_weight", "dw", dw, t, 1, O * I, 0, false));
    MAYBE_1D("linear_backward_weight", dbias, t, O);
    if (R == 0 || O == 0) return VJ_OK;
    const vj_args_linear_backward_weight a = {
        .dw = dw->data, .dbias = vj_data(dbias), .dy = dy->data, .x = x->data, .R = R, .O = O, .I = I
    };
    return vj_stream_run(st, VJ_OP_linear_backward_weight, &a);
}

vj_status vj_layernorm_forward(vj_stream *st, const vj_tensor *y, const vj_tensor *mean, const vj_tensor *rstd,
                               const vj_tensor *x, const vj_tensor *gamma, const vj_tensor *beta, double eps)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(x), C = vj_last(x);
    EXPECT_2D("layernorm_forward", x, t, R, C);
    EXPECT_2D("layernorm_forward", y, t, R, C);
    MAYBE_1D("layernorm_forward", mean, t, R);
    MAYBE_1D("layernorm_forward", rstd, t, R);
    MAYBE_1D("layernorm_forward", gamma, t, C);
    MAYBE_1D("layernorm_forward", beta, t, C);
    VJ_CHECK((mean == NULL) == (rstd == NULL) && (gamma == NULL) == (beta == NULL), VJ_ERR_BUG,
             "layernorm_forward: half of a pair is missing");
    if (R == 0 || C == 0) return VJ_OK;
    const vj_args_layernorm_forward a = { .y = y->data, .mean = vj_data(mean), .rstd = vj_data(rstd), .x = x->data,
                                          .gamma = vj_data(gamma), .beta = vj_data(beta), .R = R, .C = C, .eps = eps };
    return vj_stream_run(st, VJ_OP_layernorm_forward, &a);
}

vj_status vj_layernorm_backward(vj_stream *st, const vj_tensor *dx, const vj_tensor *dgamma, const vj_tensor *dbeta,
                                const vj_tensor *dy, const vj_tensor *x, const vj_tensor *gamma, const vj_tensor *mean,
                                const vj_tensor *rstd, const vj_tensor *residual)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(x), C = vj_last(x);
    EXPECT_2D("layernorm_backward", x, t, R, C);
    EXPECT_2D("layernorm_backward", dx, t, R, C);
    EXPECT_2D("layernorm_backward", dy, t, R, C);
    EXPECT_1D("layernorm_backward", dgamma, t, C);
    EXPECT_1D("layernorm_backward", dbeta, t, C);
    EXPECT_1D("layernorm_backward", gamma, t, C);
    EXPECT_1D("layernorm_backward", mean, t, R);
    EXPECT_1D("layernorm_backward", rstd, t, R);
    MAYBE_2D("layernorm_backward", residual, t, R, C);
    if (R == 0 || C == 0) return VJ_OK;
    const vj_args_layernorm_backward a = { .dx = dx->data,
                                           .dgamma = dgamma->data,
                                           .dbeta = dbeta->data,
                                           .dy = dy->data,
                                           .x = x->data,
                                           .gamma = gamma->data,
                                           .mean = mean->data,
                                           .rstd = rstd->data,
                                           .residual = vj_data(residual),
                                           .R = R,
                                           .C = C };
    return vj_stream_run(st, VJ_OP_layernorm_backward, &a);
}

vj_status vj_gelu_forward(vj_stream *st, const vj_tensor *y, const vj_tensor *x)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t n = vj_count(x);
    EXPECT_1D("gelu_forward", x, t, n);
    EXPECT_1D("gelu_forward", y, t, n);
    if (n == 0) return VJ_OK;
    return vj_stream_run(st, VJ_OP_gelu_forward, &(vj_args_gelu_forward){ .y = y->data, .x = x->data, .n = n });
}

vj_status vj_gelu_backward(vj_stream *st, const vj_tensor *dx, const vj_tensor *dy, const vj_tensor *x)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t n = vj_count(x);
    EXPECT_1D("gelu_backward", x, t, n);
    EXPECT_1D("gelu_backward", dy, t, n);
    EXPECT_1D("gelu_backward", dx, t, n);
    if (n == 0) return VJ_OK;
    return vj_stream_run(st, VJ_OP_gelu_backward,
                         &(vj_args_gelu_backward){ .dx = dx->data, .dy = dy->data, .x = x->data, .n = n });
}
