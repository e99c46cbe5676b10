// The passes of a slot, each one call per layer whatever the number of clips, masks and clip lengths: rows are ragged.

#include <math.h>

#include "model/vjepa_impl.h"
#include "runtime/base/fault.h"
#include "runtime/log/timeline.h"

static const double norm_eps = 1e-6;      // final norms of encoder and predictor
static const double target_eps = 1e-5;    // LN0: the targets' own norm, without affine (spec/pretrain.md 4)

static vj_tensor weight(const vj_store *s, int param) { return vj_store_param(s, VJ_STORE_PARAM, param); }

static vj_tensor matrix(const vj_store *s, int param, int64_t out, int64_t in)
{
    const vj_tensor t = weight(s, param);
    return vj_reshape_2d(&t, out, in);
}

static int64_t brick_of(const vj_vjepa *m) { return 3 * m->config.tubelet * m->config.patch * m->config.patch; }

// bricks (R, 3tpp) of the listed tokens; each group's clips lie apart.
static vj_status gather_bricks(vj_ctx *ctx, const vj_slot_plan *p, const vj_tensor *bricks, const vj_tensor *rows,
                               bool context)
{
    int64_t first = 0;
    for (int g = 0; g < p->n_groups; g++) {
        const int64_t n = context ? p->groups[g].ctx : p->groups[g].all;
        const vj_tensor part = vj_rows(bricks, first, n), of = vj_rows(rows, first, n);
        VJ_RUN(ctx, vj_patch_gather(ctx->st, &part, &p->groups[g].clips, &of, &p->groups[g].patch));
        first += n;
    }
    return VJ_OK;
}

// x (R, C): tokens of the listed patches. Patches are gathered before they are embedded: the rest is never computed.
static vj_status embed(vj_vjepa *m, vj_ctx *ctx, vj_store *store, const vj_slot_plan *p, const vj_tensor *x,
                       const vj_tensor *rows, bool context)
{
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    const vj_tensor w = matrix(store, E_PATCH_W, m->config.width, brick_of(m)), b = weight(store, E_PATCH_B);
    vj_tensor bricks;
    VJ_SCRATCH(ctx, &bricks, x->shape[0], brick_of(m));
    VJ_TRY(vj_unit_gather(store, ctx->st, 0));
    VJ_TRY(gather_bricks(ctx, p, &bricks, rows, context));
    VJ_RUN(ctx, vj_linear_forward(ctx->st, x, &bricks, &w, &b, VJ_EPI_NONE, NULL));
    VJ_TRY(vj_unit_release(store, ctx->st, 0));
    vj_arena_reset(&ctx->scratch, mark);
    return VJ_OK;
}

vj_status vj_embed_all(vj_vjepa *m, vj_ctx *ctx, vj_store *store, const vj_slot_plan *p, const vj_tensor *x)
{
    return embed(m, ctx, store, p, x, &p->rows_all, false);
}

vj_status vj_encoder_final_norm(vj_vjepa *m, vj_ctx *ctx, vj_store *store, const vj_tensor *h, const vj_tensor *x)
{
    const int norm = vj_encoder_norm(m->config.depth), unit = store->layout->n_units - 1;
    const vj_tensor w = weight(store, norm), b = weight(store, norm + 1);
    VJ_TRY(vj_unit_gather(store, ctx->st, unit));
    VJ_RUN(ctx, vj_layernorm_forward(ctx->st, h, NULL, NULL, x, &w, &b, norm_eps));
    return vj_unit_release(store, ctx->st, unit);
}

vj_status vj_target_pass(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, vj_tensor *targets)
{
    const int64_t C = m->config.width;
    const bool training = ctx->training;
    vj_tensor x, h;
    VJ_SAVED(ctx, targets, p->Rt, C);
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    ctx->training = false;                                                            // no gradient, nothing kept
    VJ_SCRATCH(ctx, &x, p->all.rows, C);
    VJ_TRY(vj_embed_all(m, ctx, m->target, p, &x));                                   // x (all tokens, C)
    VJ_TRY(vj_blocks_forward(ctx, &m->target_blocks, &x, &p->all));
    VJ_SCRATCH(ctx, &h, p->all.rows, C);
    VJ_TRY(vj_encoder_final_norm(m, ctx, m->target, &h, &x));
    VJ_RUN(ctx, vj_layernorm_forward(ctx->st, &x, NULL, NULL, &h, NULL, NULL, target_eps));
    VJ_RUN(ctx, vj_rows_gather(ctx->st, targets, &x, NULL, &p->tgt_all));             // (Rt, C)
    ctx->training = training;
    vj_arena_reset(&ctx->scratch, mark);
    return VJ_OK;
}

// Mask tokens side by side (M, q): in the unit each starts on its own boundary.
static vj_status token_table(vj_vjepa *m, vj_ctx *ctx, vj_tensor *table)
{
    const int64_t q = m->config.pred_width;
    VJ_SCRATCH(ctx, table, m->mask_tokens, q);
    for (int64_t i = 0; i < m->mask_tokens; i++) {
        const vj_tensor row = vj_rows(table, i, 1), token = weight(m->predictor, R_TOKENS + (int)i);
        VJ_RUN(ctx, vj_copy(ctx->st, row.data, token.data, vj_tensor_bytes(&row)));
    }
    return VJ_OK;
}

static vj_status encoder_forward(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, vj_student_saved *s)
{
    const int64_t C = m->config.width, R = p->ctx.rows;
    const int norm = vj_encoder_norm(m->config.depth), norm_unit = m->encoder_layout->n_units - 1;
    VJ_SAVED(ctx, &s->x_last, R, C);
    VJ_TRY(embed(m, ctx, m->encoder, p, &s->x_last, &p->rows_ctx, true));
    VJ_TRY(vj_blocks_forward(ctx, &m->encoder_blocks, &s->x_last, &p->ctx));
    VJ_SAVED(ctx, &s->z, R, C);
    VJ_TRY(vj_tensor_alloc_1d(&ctx->saved, &s->mean, ctx->real, R));
    VJ_TRY(vj_tensor_alloc_1d(&ctx->saved, &s->rstd, ctx->real, R));
    const vj_tensor w = weight(m->encoder, norm), b = weight(m->encoder, norm + 1);
    VJ_TRY(vj_unit_gather(m->encoder, ctx->st, norm_unit));
    VJ_RUN(ctx, vj_layernorm_forward(ctx->st, &s->z, &s->mean, &s->rstd, &s->x_last, &w, &b, norm_eps));
    return vj_unit_release(m->encoder, ctx->st, norm_unit);
}

vj_status vj_student_forward(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, vj_student_saved *s)
{
    const int64_t C = m->config.width, q = m->config.pred_width;
    vj_store *store = m->predictor;
    vj_span_begin("context forward", -1);
    VJ_TRY(encoder_forward(m, ctx, p, s));                                            // z (Rc, C)
    vj_span_end("context forward");
    vj_span_begin("predictor forward", -1);

    vj_tensor x, e, table;
    const vj_tensor embed_w = matrix(store, R_EMBED_W, q, C), embed_b = weight(store, R_EMBED_B);
    const vj_tensor proj_w = matrix(store, m->places.proj_w, C, q), proj_b = weight(store, m->places.proj_b);
    const vj_tensor norm_w = weight(store, m->places.norm_w), norm_b = weight(store, m->places.norm_b);
    VJ_SAVED(ctx, &x, p->pred.rows, q);
    VJ_TRY(vj_unit_gather(store, ctx->st, 0));
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    VJ_SCRATCH(ctx, &e, p->ctx.rows, q);
    VJ_TRY(token_table(m, ctx, &table));
    VJ_RUN(ctx, vj_linear_forward(ctx->st, &e, &s->z, &embed_w, &embed_b, VJ_EPI_NONE, NULL));
    VJ_RUN(ctx, vj_rows_gather(ctx->st, &x, &e, &table, &p->pred_index));   // context rows and mask tokens (Rp, q)
    vj_arena_reset(&ctx->scratch, mark);
    VJ_TRY(vj_blocks_forward(ctx, &m->predictor_blocks, &x, &p->pred));

    s->tail = x;   // target rows: the others stop in the last block
    VJ_SAVED(ctx, &s->tail_norm, p->Rt, q);
    VJ_TRY(vj_tensor_alloc_1d(&ctx->saved, &s->tail_mean, ctx->real, p->Rt));
    VJ_TRY(vj_tensor_alloc_1d(&ctx->saved, &s->tail_rstd, ctx->real, p->Rt));
    VJ_SAVED(ctx, &s->pred, p->Rt, C);
    VJ_RUN(ctx, vj_layernorm_forward(ctx->st, &s->tail_norm, &s->tail_mean, &s->tail_rstd, &s->tail, &norm_w, &norm_b,
                                     norm_eps));
    VJ_RUN(ctx, vj_linear_forward(ctx->st, &s->pred, &s->tail_norm, &proj_w, &proj_b, VJ_EPI_NONE, NULL));   // (Rt, C)
    VJ_TRY(vj_unit_release(store, ctx->st, 0));
    vj_span_end("predictor forward");
    return VJ_OK;
}

// Gradients of the mask tokens: the rows of each group's targets, summed.
static vj_status token_gradients(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, const vj_tensor *g)
{
    int64_t first = 0;
    for (int i = 0; i < p->n_groups; i++) {
        const vj_tensor rows = vj_rows(&p->pred.used_rows, first, p->groups[i].tgt),
                        d = vj_store_grad(m->predictor, R_TOKENS + p->groups[i].token);
        VJ_RUN(ctx, vj_rows_sum(ctx->st, &d, g, &rows));
        first += p->groups[i].tgt;
    }
    return VJ_OK;
}

// From dpred to the gradient of z (Rc, C), in `dz`.
static vj_status predictor_backward(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, const vj_student_saved *s,
                                    const vj_tensor *dpred, const vj_tensor *dz)
{
    const int64_t C = m->config.width, q = m->config.pred_width;
    vj_store *store = m->predictor;
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    const vj_tensor embed_w = matrix(store, R_EMBED_W, q, C), proj_w = matrix(store, m->places.proj_w, C, q),
                    norm_w = weight(store, m->places.norm_w);
    const vj_tensor d_embed_w = vj_store_grad(store, R_EMBED_W), d_embed_b = vj_store_grad(store, R_EMBED_B);
    const vj_tensor d_proj_w = vj_store_grad(store, m->places.proj_w),
                    d_proj_b = vj_store_grad(store, m->places.proj_b);
    const vj_tensor d_norm_w = vj_store_grad(store, m->places.norm_w),
                    d_norm_b = vj_store_grad(store, m->places.norm_b);
    vj_tensor g, de;
    VJ_SCRATCH(ctx, &g, p->pred.rows, q);
    VJ_TRY(vj_unit_gather(store, ctx->st, 0));
    VJ_TRY(vj_unit_gradient(store, ctx->st, 0));
    VJ_RUN(ctx, vj_linear_backward_weight(ctx->st, &d_proj_w, &d_proj_b, dpred, &s->tail_norm));
    const vj_mark inner = vj_arena_mark(&ctx->scratch);
    vj_tensor dn;
    VJ_SCRATCH(ctx, &dn, p->Rt, q);
    const vj_tensor dt = vj_rows(&g, 0, p->Rt);
    VJ_RUN(ctx, vj_linear_backward_input(ctx->st, &dn, dpred, &proj_w, NULL));                               // (Rt, q)
    VJ_RUN(ctx, vj_layernorm_backward(ctx->st, &dt, &d_norm_w, &d_norm_b, &dn, &s->tail, &norm_w, &s->tail_mean,
                                      &s->tail_rstd, NULL));
    vj_arena_reset(&ctx->scratch, inner);
    VJ_TRY(vj_blocks_backward(ctx, &m->predictor_blocks, &g, &p->pred));
    VJ_TRY(token_gradients(m, ctx, p, &g));
    VJ_SCRATCH(ctx, &de, p->ctx.rows, q);
    VJ_RUN(ctx, vj_rows_gather(ctx->st, &de, &g, NULL, &p->pred_ctx));                                       // (Rc, q)
    VJ_RUN(ctx, vj_linear_backward_weight(ctx->st, &d_embed_w, &d_embed_b, &de, &s->z));
    VJ_RUN(ctx, vj_linear_backward_input(ctx->st, dz, &de, &embed_w, NULL));                                 // (Rc, C)
    vj_arena_reset(&ctx->scratch, mark);
    return vj_unit_reduce(store, ctx->st, 0);
}

vj_status vj_student_backward(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, const vj_student_saved *s,
                              const vj_tensor *dpred)
{
    const int64_t C = m->config.width;
    const int norm = vj_encoder_norm(m->config.depth), norm_unit = m->encoder_layout->n_units - 1;
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    vj_tensor dz, g, bricks;
    VJ_SCRATCH(ctx, &dz, p->ctx.rows, C);
    VJ_SCRATCH(ctx, &g, p->ctx.rows, C);
    vj_span_begin("predictor backward", -1);
    VJ_TRY(predictor_backward(m, ctx, p, s, dpred, &dz));
    vj_span_end("predictor backward");
    vj_span_begin("context backward", -1);
    const vj_tensor w = weight(m->encoder, norm), d_w = vj_store_grad(m->encoder, norm),
                    d_b = vj_store_grad(m->encoder, norm + 1);
    VJ_TRY(vj_unit_gather(m->encoder, ctx->st, norm_unit));
    VJ_TRY(vj_unit_gradient(m->encoder, ctx->st, norm_unit));
    VJ_RUN(ctx, vj_layernorm_backward(ctx->st, &g, &d_w, &d_b, &dz, &s->x_last, &w, &s->mean, &s->rstd, NULL));
    VJ_TRY(vj_unit_reduce(m->encoder, ctx->st, norm_unit));
    VJ_TRY(vj_blocks_backward(ctx, &m->encoder_blocks, &g, &p->ctx));

    const vj_tensor dp_w = vj_store_grad(m->encoder, E_PATCH_W), dp_b = vj_store_grad(m->encoder, E_PATCH_B);
    VJ_SCRATCH(ctx, &bricks, p->ctx.rows, brick_of(m));   // gathered again: cheaper than kept
    VJ_TRY(gather_bricks(ctx, p, &bricks, &p->rows_ctx, true));
    VJ_TRY(vj_unit_gradient(m->encoder, ctx->st, 0));
    VJ_RUN(ctx, vj_linear_backward_weight(ctx->st, &dp_w, &dp_b, &g, &bricks));
    VJ_TRY(vj_unit_reduce(m->encoder, ctx->st, 0));
    vj_span_end("context backward");
    vj_arena_reset(&ctx->scratch, mark);
    return VJ_OK;
}

// For tests: a slot's loss or its gradient becomes what no finite step has.
static vj_status poison(const vj_ctx *ctx, const vj_tensor *loss, const vj_tensor *dpred)
{
    const double infinite = INFINITY, nan = NAN;
    const vj_tensor first = vj_tensor_1d(dpred->data, dpred->dtype, 1);
    if (vj_fault_point("slot.loss", NULL)) VJ_TRY(vj_upload(ctx->st, loss, &infinite, VJ_F64));
    return vj_fault_point("slot.gradient", NULL) ? vj_upload(ctx->st, &first, &nan, VJ_F64) : VJ_OK;
}

vj_status vj_slot_pass(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, const vj_tensor *loss)
{
    const vj_mark saved = vj_arena_mark(&ctx->saved), scratch = vj_arena_mark(&ctx->scratch);
    vj_tensor targets, dpred;
    vj_student_saved s;
    vj_span_begin("target forward", -1);
    VJ_TRY(vj_target_pass(m, ctx, p, &targets));
    vj_span_end("target forward");
    VJ_TRY(vj_student_forward(m, ctx, p, &s));
    vj_span_begin("loss", -1);
    VJ_SCRATCH(ctx, &dpred, p->Rt, m->config.width);
    VJ_RUN(ctx, vj_loss(ctx->st, loss, &dpred, NULL, &s.pred, &targets, &p->weight, (int)m->config.loss_exponent));
    vj_span_end("loss");
    if (ctx->training && !ctx->measuring) VJ_TRY(poison(ctx, loss, &dpred));
    if (ctx->training) VJ_TRY(vj_student_backward(m, ctx, p, &s, &dpred));
    vj_arena_reset(&ctx->saved, saved);
    vj_arena_reset(&ctx->scratch, scratch);
    return VJ_OK;
}
