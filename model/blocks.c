// Forward and backward of a stack of blocks. Read block_forward downwards, then block_backward upwards: each line of
// one has its mirror in the other.
//
// Easy to get wrong: the residual stream's gradient g is updated in place twice per block, by the backward of each norm
// (dx = g + ...), so a block's backward needs no buffer of its own for it.

#include "model/blocks.h"

#include <math.h>

#include "runtime/log/timeline.h"

static const double eps = 1e-6;   // of every layer norm in encoder and predictor

vj_status vj_blocks_create(vj_blocks *b, vj_store *store, int first, int64_t depth, int64_t C, int64_t heads,
                           int64_t hidden, int rope_layout, int recompute)
{
    const int64_t D = C / heads;
    *b = (vj_blocks){
        .store = store,
        .first = first,
        .depth = depth,
        .C = C,
        .heads = heads,
        .hidden = hidden,
        .rope = { .heads = heads, .head_dim = D, .axis = D / 3 / 2 * 2, .layout = (vj_rope_layout)rope_layout },
        .recompute = recompute
    };
    return vj_host_alloc(&b->saved, (size_t)depth * sizeof *b->saved, "block records");
}

void vj_blocks_destroy(vj_blocks *b)
{
    vj_host_free(b->saved);
    b->saved = NULL;
}

size_t vj_rope_table_bytes(const vj_blocks *b, int64_t positions, vj_dtype real)
{
    const size_t bytes = (size_t)(2 * positions * (b->rope.axis / 2)) * vj_dtype_size(real);
    return (bytes + VJ_ALIGN - 1) / VJ_ALIGN * VJ_ALIGN + VJ_ALIGN;
}

vj_status vj_rope_table_fill(vj_blocks *b, void *address, int64_t positions, vj_stream *st)
{
    const int64_t half = b->rope.axis / 2;
    b->table = vj_tensor_of(address, vj_device_real(vj_stream_device(st)), 3, (const int64_t[]){ 2, positions, half });
    if (half == 0) return VJ_OK;
    double *host = NULL;
    VJ_TRY(vj_host_alloc(&host, (size_t)(2 * positions * half) * sizeof *host, "a rotary table"));
    for (int64_t p = 0; p < positions; p++) {
        for (int64_t j = 0; j < half; j++) {
            const double angle = (double)p * pow(10000, -(double)j / (double)half);
            host[p * half + j] = cos(angle);
            host[(positions + p) * half + j] = sin(angle);
        }
    }
    vj_status status = vj_upload(st, &b->table, host, VJ_F64);
    vj_host_free(host);
    return status;
}

static vj_tensor weight(const vj_blocks *b, int64_t block, int place)
{
    return vj_store_param(b->store, VJ_STORE_PARAM, b->first + (int)block * P_PER_BLOCK + place);
}

static vj_tensor matrix(const vj_blocks *b, int64_t block, int place, int64_t out, int64_t in)
{
    const vj_tensor t = weight(b, block, place);
    return vj_reshape_2d(&t, out, in);
}

static vj_tensor gradient(const vj_blocks *b, int64_t block, int place)
{
    return vj_store_grad(b->store, b->first + (int)block * P_PER_BLOCK + place);
}

static int unit_of(const vj_blocks *b, int64_t block)
{
    return b->store->layout->params[b->first + (int)block * P_PER_BLOCK].unit;
}

// Units may hold several blocks: gather at the first that is met, release or reduce after the last.
static bool unit_begins(const vj_blocks *b, int64_t block, int64_t before)
{
    return before < 0 || before >= b->depth || unit_of(b, block) != unit_of(b, before);
}

static bool only_some(const vj_blocks *b, int64_t block, const vj_sequences *s) { return block == b->depth - 1 && s->used > 0; }

static vj_status record(vj_ctx *ctx, vj_arena *arena, const vj_blocks *b, int64_t i, vj_block_saved *s, const vj_sequences *of)
{
    const vj_dtype t = ctx->real;
    const int64_t R = of->rows, U = only_some(b, i, of) ? of->used : R;
    VJ_TRY(vj_tensor_alloc_1d(arena, &s->mean1, t, R));
    VJ_TRY(vj_tensor_alloc_1d(arena, &s->rstd1, t, R));
    VJ_TRY(vj_tensor_alloc_2d(arena, &s->qkv, t, R, 3 * b->C));
    VJ_TRY(vj_tensor_alloc_2d(arena, &s->o, t, R, b->C));
    VJ_TRY(vj_tensor_alloc_2d(arena, &s->lse, t, R, b->heads));
    VJ_TRY(vj_tensor_alloc_2d(arena, &s->x1, t, U, b->C));
    VJ_TRY(vj_tensor_alloc_1d(arena, &s->mean2, t, U));
    VJ_TRY(vj_tensor_alloc_1d(arena, &s->rstd2, t, U));
    return vj_tensor_alloc_2d(arena, &s->pre, t, U, b->hidden);
}

static vj_attention_spec attention_of(const vj_blocks *b, const vj_sequences *s, bool some)
{
    return (vj_attention_spec){ .heads = b->heads,
                                .head_dim = b->rope.head_dim,
                                .segments = s->segments,
                                .longest = s->longest,
                                .pairs = some ? s->used_pairs : s->pairs,
                                .from = some ? &s->used_from : NULL };
}

// The used rows of x (R, C), in scratch; or x itself where every row is.
static vj_status take_used(vj_ctx *ctx, const vj_sequences *s, bool some, vj_tensor *out, const vj_tensor *x)
{
    *out = *x;
    if (!some) return VJ_OK;
    VJ_SCRATCH(ctx, out, s->used, x->shape[1]);
    VJ_RUN(ctx, vj_rows_gather(ctx->st, out, x, NULL, &s->used_rows));
    return VJ_OK;
}

// The other way: x (U, C) among zeros, in scratch. Gradients of weights are summed over all rows, so that what is left out
// does not change where the sum is cut, and with it the bits.
static vj_status among_all(vj_ctx *ctx, const vj_sequences *s, bool some, vj_tensor *out, const vj_tensor *x)
{
    *out = *x;
    if (!some) return VJ_OK;
    VJ_SCRATCH(ctx, out, s->rows, x->shape[1]);
    VJ_RUN(ctx, vj_rows_scatter(ctx->st, out, x, &s->used_rows));
    return VJ_OK;
}

// y may be x's memory, then x1 must be too (no record is kept). `y` NULL: stop after the record (recomputation). `some`: only
// the used rows come out.
static vj_status block_forward(vj_ctx *ctx, const vj_blocks *b, int64_t i, vj_block_saved *v, const vj_tensor *y,
                               const vj_sequences *s, bool some)
{
    const int64_t R = s->rows, U = some ? s->used : R, C = b->C;
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    const vj_attention_spec attention = attention_of(b, s, some);
    vj_tensor h, act, o, x;
    VJ_SCRATCH(ctx, &h, R, C);
    const vj_tensor w1 = weight(b, i, P_NORM1_W), b1 = weight(b, i, P_NORM1_B), w2 = weight(b, i, P_NORM2_W),
                    b2 = weight(b, i, P_NORM2_B);
    const vj_tensor qkv_w = matrix(b, i, P_QKV_W, 3 * C, C), qkv_b = weight(b, i, P_QKV_B);
    const vj_tensor proj_w = matrix(b, i, P_PROJ_W, C, C), proj_b = weight(b, i, P_PROJ_B);
    const vj_tensor fc1_w = matrix(b, i, P_FC1_W, b->hidden, C), fc1_b = weight(b, i, P_FC1_B);
    const vj_tensor fc2_w = matrix(b, i, P_FC2_W, C, b->hidden), fc2_b = weight(b, i, P_FC2_B);

    VJ_RUN(ctx, vj_layernorm_forward(ctx->st, &h, &v->mean1, &v->rstd1, &v->x, &w1, &b1, eps));   // h   (R, C)
    VJ_RUN(ctx, vj_linear_forward(ctx->st, &v->qkv, &h, &qkv_w, &qkv_b, VJ_EPI_NONE, NULL));      // qkv (R, 3C)
    VJ_RUN(ctx, vj_rope_forward(ctx->st, &v->qkv, &s->pos, &b->table, &b->rope));
    VJ_RUN(ctx, vj_attention_forward(ctx->st, &v->o, &v->lse, &v->qkv, &s->seg, &attention));      // o   (R, C)
    VJ_TRY(take_used(ctx, s, some, &o, &v->o));
    VJ_TRY(take_used(ctx, s, some, &x, &v->x));
    h = vj_rows(&h, 0, U);
    VJ_RUN(ctx, vj_linear_forward(ctx->st, &v->x1, &o, &proj_w, &proj_b, VJ_EPI_ADD, &x));         // x1 = x + o w' + b (U, C)
    VJ_RUN(ctx, vj_layernorm_forward(ctx->st, &h, &v->mean2, &v->rstd2, &v->x1, &w2, &b2, eps));   // h   (U, C)
    VJ_SCRATCH(ctx, &act, U, b->hidden);
    VJ_RUN(ctx, vj_linear_forward(ctx->st, &act, &h, &fc1_w, &fc1_b, VJ_EPI_GELU,
                                  v->pre.data || ctx->measuring ? &v->pre : NULL));
    if (y)
        VJ_RUN(ctx, vj_linear_forward(ctx->st, y, &act, &fc2_w, &fc2_b, VJ_EPI_ADD, &v->x1));   // y = x1 + act w' + b
    vj_arena_reset(&ctx->scratch, mark);
    return VJ_OK;
}

// Nothing is kept: records live in scratch, the residual stream is updated where it is.
vj_status vj_blocks_run(vj_ctx *ctx, vj_blocks *b, vj_tensor *x, const vj_sequences *s, int64_t first, int64_t end)
{
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    vj_block_saved v = { 0 };
    VJ_TRY(vj_tensor_alloc_1d(&ctx->scratch, &v.mean1, ctx->real, s->rows));
    VJ_TRY(vj_tensor_alloc_1d(&ctx->scratch, &v.rstd1, ctx->real, s->rows));
    VJ_SCRATCH(ctx, &v.qkv, s->rows, 3 * b->C);
    VJ_SCRATCH(ctx, &v.o, s->rows, b->C);
    VJ_SCRATCH(ctx, &v.lse, s->rows, b->heads);
    v.mean2 = v.mean1;
    v.rstd2 = v.rstd1;
    v.x = v.x1 = *x;
    for (int64_t i = first; i < end; i++) {
        vj_span_begin("block", i);
        if (i == first || unit_begins(b, i, i - 1)) VJ_TRY(vj_unit_gather(b->store, ctx->st, unit_of(b, i)));
        VJ_TRY(block_forward(ctx, b, i, &v, x, s, false));
        if (i + 1 == end || unit_begins(b, i, i + 1)) VJ_TRY(vj_unit_release(b->store, ctx->st, unit_of(b, i)));
        vj_span_end("block");
    }
    vj_arena_reset(&ctx->scratch, mark);
    return VJ_OK;
}

vj_status vj_blocks_forward(vj_ctx *ctx, vj_blocks *b, vj_tensor *x, const vj_sequences *s)
{
    if (!ctx->training) {   // every row through every block: the used ones come out with the same bits
        VJ_TRY(vj_blocks_run(ctx, b, x, s, 0, b->depth));
        if (s->used == 0) return VJ_OK;
        vj_tensor y;
        VJ_SAVED(ctx, &y, s->used, b->C);
        VJ_RUN(ctx, vj_rows_gather(ctx->st, &y, x, NULL, &s->used_rows));
        *x = y;
        return VJ_OK;
    }
    for (int64_t i = 0; i < b->depth; i++) {
        vj_block_saved *v = &b->saved[i];
        const bool some = only_some(b, i, s);
        vj_tensor y;
        v->x = *x;
        VJ_SAVED(ctx, &y, some ? s->used : s->rows, b->C);   // the next block's input outlives this block's scratch
        const vj_mark mark = vj_arena_mark(&ctx->scratch);
        VJ_TRY(record(ctx, b->recompute == 1 ? &ctx->scratch : &ctx->saved, b, i, v, s));
        vj_span_begin("block", i);
        if (unit_begins(b, i, i - 1)) VJ_TRY(vj_unit_gather(b->store, ctx->st, unit_of(b, i)));
        VJ_TRY(block_forward(ctx, b, i, v, &y, s, some));
        if (unit_begins(b, i, i + 1)) VJ_TRY(vj_unit_release(b->store, ctx->st, unit_of(b, i)));
        vj_span_end("block");
        vj_arena_reset(&ctx->scratch, mark);
        *x = y;
    }
    return VJ_OK;
}

// g (U, C)
static vj_status mlp_backward(vj_ctx *ctx, const vj_blocks *b, int64_t i, const vj_block_saved *v, const vj_tensor *g,
                              const vj_sequences *s, bool some)
{
    const int64_t C = b->C, U = some ? s->used : s->rows;
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    vj_tensor act, dpre, h, dh, dy, x;
    VJ_SCRATCH(ctx, &dpre, U, b->hidden);
    VJ_SCRATCH(ctx, &h, U, C);
    VJ_SCRATCH(ctx, &dh, U, C);
    const vj_mark inner = vj_arena_mark(&ctx->scratch);
    VJ_SCRATCH(ctx, &act, U, b->hidden);
    const vj_tensor fc2_w = matrix(b, i, P_FC2_W, C, b->hidden), fc1_w = matrix(b, i, P_FC1_W, b->hidden, C);
    const vj_tensor w2 = weight(b, i, P_NORM2_W), b2 = weight(b, i, P_NORM2_B);
    const vj_tensor d_fc2_w = gradient(b, i, P_FC2_W), d_fc2_b = gradient(b, i, P_FC2_B),
                    d_fc1_w = gradient(b, i, P_FC1_W), d_fc1_b = gradient(b, i, P_FC1_B);
    const vj_tensor d_w2 = gradient(b, i, P_NORM2_W), d_b2 = gradient(b, i, P_NORM2_B);

    VJ_RUN(ctx, vj_gelu_forward(ctx->st, &act, &v->pre));
    VJ_TRY(among_all(ctx, s, some, &dy, g));
    VJ_TRY(among_all(ctx, s, some, &x, &act));
    VJ_RUN(ctx, vj_linear_backward_weight(ctx->st, &d_fc2_w, &d_fc2_b, &dy, &x));
    vj_arena_reset(&ctx->scratch, inner);
    VJ_RUN(ctx, vj_linear_backward_input(ctx->st, &dpre, g, &fc2_w, &v->pre));   // dpre (U, hidden)
    VJ_RUN(ctx, vj_layernorm_forward(ctx->st, &h, NULL, NULL, &v->x1, &w2, &b2, eps));
    VJ_TRY(among_all(ctx, s, some, &dy, &dpre));
    VJ_TRY(among_all(ctx, s, some, &x, &h));
    VJ_RUN(ctx, vj_linear_backward_weight(ctx->st, &d_fc1_w, &d_fc1_b, &dy, &x));
    VJ_RUN(ctx, vj_linear_backward_input(ctx->st, &dh, &dpre, &fc1_w, NULL));   // dh (U, C)
    VJ_RUN(ctx, vj_layernorm_backward(ctx->st, g, &d_w2, &d_b2, &dh, &v->x1, &w2, &v->mean2, &v->rstd2,
                                      g));   // g += through LN2
    vj_arena_reset(&ctx->scratch, mark);
    return VJ_OK;
}

// g_used (U, C) in, g (R, C) out, the same memory.
static vj_status attention_backward(vj_ctx *ctx, const vj_blocks *b, int64_t i, const vj_block_saved *v,
                                    const vj_tensor *g_used, const vj_tensor *g, const vj_sequences *s, bool some)
{
    const int64_t R = s->rows, C = b->C;
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    const vj_attention_spec attention = attention_of(b, s, some);
    vj_tensor d_o, dqkv, h, g_all, do_all;
    VJ_SCRATCH(ctx, &d_o, R, C);
    VJ_SCRATCH(ctx, &dqkv, R, 3 * C);
    VJ_SCRATCH(ctx, &h, R, C);
    const vj_tensor proj_w = matrix(b, i, P_PROJ_W, C, C), qkv_w = matrix(b, i, P_QKV_W, 3 * C, C);
    const vj_tensor w1 = weight(b, i, P_NORM1_W), b1 = weight(b, i, P_NORM1_B);
    const vj_tensor d_proj_w = gradient(b, i, P_PROJ_W), d_proj_b = gradient(b, i, P_PROJ_B),
                    d_qkv_w = gradient(b, i, P_QKV_W), d_qkv_b = gradient(b, i, P_QKV_B);
    const vj_tensor d_w1 = gradient(b, i, P_NORM1_W), d_b1 = gradient(b, i, P_NORM1_B);

    VJ_TRY(among_all(ctx, s, some, &g_all, g_used));
    VJ_RUN(ctx, vj_linear_backward_weight(ctx->st, &d_proj_w, &d_proj_b, &g_all, &v->o));
    const vj_mark inner = vj_arena_mark(&ctx->scratch);
    const vj_tensor do_used = some ? vj_rows(&d_o, 0, s->used) : d_o;
    VJ_RUN(ctx, vj_linear_backward_input(ctx->st, &do_used, g_used, &proj_w, NULL));   // do (U, C)
    VJ_TRY(among_all(ctx, s, some, &do_all, &do_used));
    VJ_RUN(ctx, vj_attention_backward(ctx->st, &dqkv, &do_all, &v->o, &v->lse, &v->qkv, &s->seg, &attention));   // dqkv (R, 3C)
    vj_arena_reset(&ctx->scratch, inner);
    VJ_RUN(ctx, vj_rope_backward(ctx->st, &dqkv, &s->pos, &b->table, &b->rope));
    VJ_RUN(ctx, vj_layernorm_forward(ctx->st, &h, NULL, NULL, &v->x, &w1, &b1, eps));
    VJ_RUN(ctx, vj_linear_backward_weight(ctx->st, &d_qkv_w, &d_qkv_b, &dqkv, &h));
    VJ_RUN(ctx, vj_linear_backward_input(ctx->st, &d_o, &dqkv, &qkv_w, NULL));   // gradient of LN1's output
    VJ_RUN(ctx, vj_layernorm_backward(ctx->st, g, &d_w1, &d_b1, &d_o, &v->x, &w1, &v->mean1, &v->rstd1,
                                      &g_all));   // g += through LN1
    vj_arena_reset(&ctx->scratch, mark);
    return VJ_OK;
}

vj_status vj_blocks_backward(vj_ctx *ctx, vj_blocks *b, const vj_tensor *g, const vj_sequences *s)
{
    for (int64_t i = b->depth - 1; i >= 0; i--) {
        vj_block_saved *v = &b->saved[i];
        const vj_mark mark = vj_arena_mark(&ctx->scratch);
        const bool some = only_some(b, i, s);
        const vj_tensor g_used = some ? vj_rows(g, 0, s->used) : *g;
        vj_span_begin("block", i);
        if (unit_begins(b, i, i + 1)) {
            VJ_TRY(vj_unit_gather(b->store, ctx->st, unit_of(b, i)));
            VJ_TRY(vj_unit_gradient(b->store, ctx->st, unit_of(b, i)));
        }
        if (b->recompute == 1) {
            VJ_TRY(record(ctx, &ctx->scratch, b, i, v, s));
            VJ_TRY(block_forward(ctx, b, i, v, NULL, s, some));
        }
        VJ_TRY(mlp_backward(ctx, b, i, v, &g_used, s, some));
        VJ_TRY(attention_backward(ctx, b, i, v, &g_used, g, s, some));
        if (unit_begins(b, i, i - 1)) VJ_TRY(vj_unit_reduce(b->store, ctx->st, unit_of(b, i)));
        vj_span_end("block");
        vj_arena_reset(&ctx->scratch, mark);
    }
    return VJ_OK;
}
