// Front ends of what knows about tokens: rotary embedding, attention, patches, row gathers.

#include "runtime/ops/check.h"

static vj_status rope(vj_stream *st, const char *name, vj_op op, const vj_tensor *qkv, const vj_tensor *pos,
                      const vj_tensor *table, const vj_rope_spec *s)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(qkv), M = table ? table->shape[1] : 0;
    EXPECT_2D(name, qkv, t, R, 3 * s->heads * s->head_dim);
    VJ_CHECK(s->axis >= 0 && s->axis % 2 == 0 && 3 * s->axis <= s->head_dim, VJ_ERR_BUG,
             "%s: %lld channels per axis of %lld", name, (long long)s->axis, (long long)s->head_dim);
    if (R == 0 || s->axis == 0) return VJ_OK;
    EXPECT_2D(name, pos, VJ_I32, R, 3);
    EXPECT_1D(name, table, t, 2 * M * (s->axis / 2));
    const vj_args_rope a = { .qkv = qkv->data,
                             .pos = pos->data,
                             .table = table->data,
                             .R = R,
                             .H = s->heads,
                             .D = s->head_dim,
                             .axis = s->axis,
                             .M = M,
                             .layout = s->layout };
    return vj_stream_run(st, op, &a);
}

vj_status vj_rope_forward(vj_stream *st, const vj_tensor *qkv, const vj_tensor *pos, const vj_tensor *table,
                          const vj_rope_spec *spec)
{
    return rope(st, "rope_forward", VJ_OP_rope_forward, qkv, pos, table, spec);
}

vj_status vj_rope_backward(vj_stream *st, const vj_tensor *dqkv, const vj_tensor *pos, const vj_tensor *table,
                           const vj_rope_spec *spec)
{
    return rope(st, "rope_backward", VJ_OP_rope_backward, dqkv, pos, table, spec);
}

vj_status vj_attention_forward(vj_stream *st, const vj_tensor *o, const vj_tensor *lse, const vj_tensor *qkv,
                               const vj_tensor *seg, const vj_attention_spec *s)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(qkv), C = s->heads * s->head_dim;
    EXPECT_2D("attention_forward", qkv, t, R, 3 * C);
    EXPECT_2D("attention_forward", o, t, R, C);
    EXPECT_2D("attention_forward", lse, t, R, s->heads);
    EXPECT_1D("attention_forward", seg, VJ_I32, s->segments + 1);
    VJ_TRY(vj_expect("attention_forward", "from", s->from, VJ_I32, 1, s->segments, 0, true));
    if (R == 0) return VJ_OK;
    const vj_args_attention_forward a = { .o = o->data,
                                          .lse = lse->data,
                                          .qkv = qkv->data,
                                          .seg = seg->data,
                                          .from = vj_data(s->from),
                                          .R = R,
                                          .H = s->heads,
                                          .D = s->head_dim,
                                          .S = s->segments,
                                          .longest = s->longest,
                                          .pairs = s->pairs };
    return vj_stream_run(st, VJ_OP_attention_forward, &a);
}

vj_status vj_attention_backward(vj_stream *st, const vj_tensor *dqkv, const vj_tensor *do_, const vj_tensor *o,
                                const vj_tensor *lse, const vj_tensor *qkv, const vj_tensor *seg,
                                const vj_attention_spec *s)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(qkv), C = s->heads * s->head_dim;
    EXPECT_2D("attention_backward", qkv, t, R, 3 * C);
    EXPECT_2D("attention_backward", dqkv, t, R, 3 * C);
    EXPECT_2D("attention_backward", do_, t, R, C);
    EXPECT_2D("attention_backward", o, t, R, C);
    EXPECT_2D("attention_backward", lse, t, R, s->heads);
    EXPECT_1D("attention_backward", seg, VJ_I32, s->segments + 1);
    VJ_TRY(vj_expect("attention_backward", "from", s->from, VJ_I32, 1, s->segments, 0, true));
    if (R == 0) return VJ_OK;
    const vj_args_attention_backward a = { .dqkv = dqkv->data,
                                           .do_ = do_->data,
                                           .o = o->data,
                                           .lse = lse->data,
                                           .qkv = qkv->data,
                                           .seg = seg->data,
                                           .from = vj_data(s->from),
                                           .R = R,
                                           .H = s->heads,
                                           .D = s->head_dim,
                                           .S = s->segments,
                                           .longest = s->longest,
                                           .pairs = s->pairs };
    return vj_stream_run(st, VJ_OP_attention_backward, &a);
}

vj_status vj_patch_gather(vj_stream *st, const vj_tensor *bricks, const vj_tensor *clips, const vj_tensor *rows,
                          const vj_patch_spec *s)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(bricks);
    EXPECT_2D("patch_gather", bricks, t, R, 3 * s->tubelet * s->patch * s->patch);
    EXPECT_1D("patch_gather", clips, t, s->B * 3 * s->F * s->height * s->width);
    EXPECT_2D("patch_gather", rows, VJ_I32, R, 2);
    if (R == 0) return VJ_OK;
    const vj_args_patch_gather a = { .bricks = bricks->data,
                                     .clips = clips->data,
                                     .rows = rows->data,
                                     .R = R,
                                     .B = s->B,
                                     .F = s->F,
                                     .height = s->height,
                                     .width = s->width,
                                     .tubelet = s->tubelet,
                                     .patch = s->patch };
    return vj_stream_run(st, VJ_OP_patch_gather, &a);
}

vj_status vj_rows_gather(vj_stream *st, const vj_tensor *y, const vj_tensor *x, const vj_tensor *table,
                         const vj_tensor *index)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(y), C = vj_last(y);
    EXPECT_2D("rows_gather", y, t, R, C);
    VJ_TRY(vj_expect("rows_gather", "x", x, t, 2, vj_leading(x), C, false));
    VJ_TRY(vj_expect("rows_gather", "table", table, t, 2, table ? vj_leading(table) : 0, C, true));
    EXPECT_1D("rows_gather", index, VJ_I32, R);
    if (R == 0) return VJ_OK;
    const vj_args_rows_gather a = {
        .y = y->data, .x = x->data, .table = vj_data(table), .index = index->data, .R = R, .C = C
    };
    return vj_stream_run(st, VJ_OP_rows_gather, &a);
}

vj_status vj_rows_sum(vj_stream *st, const vj_tensor *sum, const vj_tensor *x, const vj_tensor *index)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t n = vj_count(index), C = vj_last(x);
    VJ_TRY(vj_expect("rows_sum", "x", x, t, 2, vj_leading(x), C, false));
    EXPECT_1D("rows_sum", sum, t, C);
    EXPECT_1D("rows_sum", index, VJ_I32, n);
    if (n == 0) return VJ_OK;
    return vj_stream_run(st, VJ_OP_rows_sum,
                         &(vj_args_rows_sum){ .sum = sum->data, .x = x->data, .index = index->data, .n = n, .C = C });
}

vj_status vj_rows_scatter(vj_stream *st, const vj_tensor *dx, const vj_tensor *dy, const vj_tensor *index)
{
    const vj_dtype t = vj_stream_device(st)->real;
    const int64_t R = vj_leading(dx), C = vj_last(dx), n = vj_count(index);
    EXPECT_2D("rows_scatter", dx, t, R, C);
    EXPECT_2D("rows_scatter", dy, t, n, C);
    EXPECT_1D("rows_scatter", index, VJ_I32, n);
    if (R == 0) return VJ_OK;
    return vj_stream_run(
        st, VJ_OP_rows_scatter,
        &(vj_args_rows_scatter){ .dx = dx->data, .dy = dy->data, .index = index->data, .R = R, .n = n, .C = C });
}
