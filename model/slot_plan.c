// From a slot of the loader to index tensors: which patches, at which places, in which order. Host work on int32 arrays
// that lie in one staging buffer and go to the device in one copy.

#include <string.h>

#include "model/vjepa_impl.h"

enum { INTS = VJ_ALIGN / 4 };   // every array starts on an aligned address
static int64_t up(int64_t n) { return (n + INTS - 1) / INTS * INTS; }

vj_plan_bound vj_plan_bound_of(const vj_model_config *c, const vj_slot_bound *b)
{
    const int64_t N = (b->F / c->tubelet) * (b->height / c->patch) * (b->width / c->patch);
    vj_plan_bound p = { .all = b->clips * N, .segments = b->clips * b->n_pairs };
    // One more token per clip than there are, so that "context {0}, predict every token" fits where one pair is
    // configured.
    const int64_t most = b->n_pairs * b->clips * (N + 1);
    p.ctx = b->ctx_rows > 0 ? b->ctx_rows : most;
    p.tgt = b->tgt_rows > 0 ? b->tgt_rows : most;
    p.pred = b->rows > 0 ? b->rows : most;
    p.ints = up(p.all * 2) + up(p.all * 3) + up(p.ctx * 2) + up(p.ctx * 3) + 2 * up(p.ctx) + up(p.pred * 3) +
             up(p.pred) + 2 * up(p.tgt) + 4 * up(p.segments + b->clips + 1) + 16 * INTS;
    return p;
}

static vj_sequences largest(int64_t rows, int64_t segments)
{
    vj_sequences s = { .rows = rows, .segments = segments, .longest = rows, .pairs = rows * rows };
    s.seg = vj_tensor_1d(NULL, VJ_I32, segments + 1);
    s.pos = vj_tensor_2d(NULL, VJ_I32, rows, 3);
    return s;
}

void vj_slot_plan_largest(const vj_model_config *c, const vj_slot_bound *b, vj_dtype real, vj_slot_plan *out)
{
    const vj_plan_bound n = vj_plan_bound_of(c, b);
    *out = (vj_slot_plan){ .n_groups = 1, .Rt = n.tgt };
    out->all = largest(n.all, b->clips);
    out->ctx = largest(n.ctx, n.segments);
    out->pred = largest(n.pred, n.segments);
    out->rows_all = vj_tensor_2d(NULL, VJ_I32, n.all, 2);
    out->rows_ctx = vj_tensor_2d(NULL, VJ_I32, n.ctx, 2);
    out->pred.used = n.tgt;
    out->pred.used_rows = vj_tensor_1d(NULL, VJ_I32, n.tgt);
    out->pred.used_from = vj_tensor_1d(NULL, VJ_I32, n.segments);
    out->pred_index = vj_tensor_1d(NULL, VJ_I32, n.pred);
    out->pred_ctx = vj_tensor_1d(NULL, VJ_I32, n.ctx);
    out->tgt_all = vj_tensor_1d(NULL, VJ_I32, n.tgt);
    out->weight = vj_tensor_1d(NULL, real, n.tgt);
    out->groups[0] = (vj_group_rows){ .all = n.all, .ctx = n.ctx, .tgt = n.tgt };
    out->groups[0].clips = vj_tensor_1d(NULL, real, b->clips * 3 * b->F * b->height * b->width);
}

typedef struct builder {
    vj_vjepa *m;
    const vj_slot *slot;
    vj_slot_plan *out;
    int32_t *rows_all, *pos_all, *seg_all, *rows_ctx, *pos_ctx, *seg_ctx, *pos_pred, *seg_pred, *pred_index, *pred_ctx,
        *pred_tgt, *pred_from, *tgt_all;
    double *weight;
    int64_t all, ctx, tgt, pred, segments;
} builder;

typedef struct grid { int64_t gt, gh, gw; } grid;
static grid grid_of(const vj_model_config *c, const vj_clip_group *g)
{
    return (grid){ g->F / c->tubelet, g->height / c->patch, g->width / c->patch };
}

static void place(int32_t *pos, const grid *n, int64_t id)
{
    pos[0] = (int32_t)(id / (n->gh * n->gw));
    pos[1] = (int32_t)(id / n->gw % n->gh);
    pos[2] = (int32_t)(id % n->gw);
}

// Sizes first: every id must be a token, every sum within the bound that sized the buffers.
static vj_status check(const vj_vjepa *m, const vj_slot *slot, builder *b)
{
    VJ_CHECK(slot->n_groups >= 1 && slot->n_groups <= VJ_MAX_GROUPS, VJ_ERR_BUG, "a slot with %d groups",
             slot->n_groups);
    int64_t clips = 0, values = 0;
    for (int i = 0; i < slot->n_groups; i++) {
        const vj_clip_group *g = &slot->groups[i];
        const grid n = grid_of(&m->config, g);
        const int64_t N = n.gt * n.gh * n.gw;
        VJ_CHECK(g->B >= 1 && N >= 1 && g->n_pairs >= 0 && g->n_pairs <= VJ_MAX_MASKS, VJ_ERR_BUG,
                 "a group of %lld clips, %lld tokens, %d masks", (long long)g->B, (long long)N, g->n_pairs);
        b->all += g->B * N;
        clips += g->B;
        values += g->B * 3 * g->F * g->height * g->width;
        for (int k = 0; k < g->n_pairs; k++) {
            const vj_mask_pair *p = &g->pairs[k];
            VJ_CHECK(p->K >= 1 && p->P >= 1, VJ_ERR_BUG, "a mask with %lld context and %lld target tokens",
                     (long long)p->K, (long long)p->P);
            for (int64_t j = 0; j < g->B * p->K; j++)
                VJ_CHECK(p->ctx[j] >= 0 && p->ctx[j] < N, VJ_ERR_DATA, "context token %d of %lld", p->ctx[j],
                         (long long)N);
            for (int64_t j = 0; j < g->B * p->P; j++)
                VJ_CHECK(p->tgt[j] >= 0 && p->tgt[j] < N, VJ_ERR_DATA, "target token %d of %lld", p->tgt[j],
                         (long long)N);
            b->ctx += g->B * p->K;
            b->tgt += g->B * p->P;
            b->segments += g->B;
        }
    }
    b->pred = b->ctx + b->tgt;
    const vj_plan_bound limit = vj_plan_bound_of(&m->config, &m->bound);
    VJ_CHECK(b->all <= limit.all && b->ctx <= limit.ctx && b->tgt <= limit.tgt && b->pred <= limit.pred, VJ_ERR_BUG,
             "a slot of %lld tokens, %lld context, %lld target rows is larger than the bound (%lld, %lld, %lld)",
             (long long)b->all, (long long)b->ctx, (long long)b->tgt, (long long)limit.all, (long long)limit.ctx,
             (long long)limit.tgt);
    VJ_CHECK(values <= m->bound.clips * 3 * m->bound.F * m->bound.height * m->bound.width, VJ_ERR_BUG,
             "a slot's clips are larger than the bound");
    (void)clips;
    return VJ_OK;
}

static int32_t *take(vj_vjepa *m, int64_t n)
{
    int32_t *p = m->staging + m->staging_used;
    m->staging_used += up(n);
    VJ_ASSERT(m->staging_used <= m->staging_capacity);
    return p;
}

// Context rows and target rows of one (group, pair, clip), everywhere they are named.
static void fill_clip(builder *b, const vj_clip_group *g, const vj_mask_pair *p, const grid *n, int64_t clip,
                      int64_t first_all, int token, double weight, int64_t *ctx, int64_t *tgt, int64_t *pred)
{
    const int64_t N = n->gt * n->gh * n->gw;
    for (int64_t k = 0; k < p->K; k++, ++*ctx, ++*pred) {
        const int32_t id = p->ctx[clip * p->K + k];
        b->rows_ctx[2 * *ctx] = (int32_t)clip;
        b->rows_ctx[2 * *ctx + 1] = id;
        place(b->pos_ctx + 3 * *ctx, n, id);
        place(b->pos_pred + 3 * *pred, n, id);
        b->pred_index[*pred] = (int32_t)*ctx;
        b->pred_ctx[*ctx] = (int32_t)*pred;
    }
    for (int64_t k = 0; k < p->P; k++, ++*tgt, ++*pred) {
        const int32_t id = p->tgt[clip * p->P + k];
        place(b->pos_pred + 3 * *pred, n, id);
        b->pred_index[*pred] = -1 - token;
        b->pred_tgt[*tgt] = (int32_t)*pred;
        b->tgt_all[*tgt] = (int32_t)(first_all + clip * N + id);
        b->weight[*tgt] = weight;
    }
    (void)g;
}

static void note_segment(vj_sequences *s, int32_t *seg, int64_t *at, int64_t end)
{
    const int64_t length = end - seg[*at];
    seg[++*at] = (int32_t)end;
    if (length > s->longest) s->longest = length;
    s->pairs += length * length;
}

static void fill(builder *b)
{
    vj_vjepa *m = b->m;
    vj_slot_plan *out = b->out;
    int n_pairs = 0;
    for (int i = 0; i < b->slot->n_groups; i++) n_pairs += b->slot->groups[i].n_pairs;
    int64_t all = 0, ctx = 0, tgt = 0, pred = 0, seg_all = 0, seg_ctx = 0, seg_pred = 0;
    b->seg_all[0] = b->seg_ctx[0] = b->seg_pred[0] = 0;
    for (int i = 0; i < b->slot->n_groups; i++) {
        const vj_clip_group *g = &b->slot->groups[i];
        const grid n = grid_of(&m->config, g);
        const int64_t N = n.gt * n.gh * n.gw, first_all = all, first_ctx = ctx, first_tgt = tgt;
        const int token = (int)(g->fpc_index % m->mask_tokens);
        m->token_used[token] = true;
        for (int64_t c = 0; c < g->B; c++) {
            for (int64_t id = 0; id < N; id++, all++) {
                b->rows_all[2 * all] = (int32_t)c;
                b->rows_all[2 * all + 1] = (int32_t)id;
                place(b->pos_all + 3 * all, &n, id);
            }
            note_segment(&out->all, b->seg_all, &seg_all, all);
        }
        for (int k = 0; k < g->n_pairs; k++) {
            const vj_mask_pair *p = &g->pairs[k];
            // The mean over clips, tokens and channels of each pair, then the mean over pairs (spec/pretrain.md 4).
            const double weight = 1.0 / ((double)n_pairs * (double)g->B * (double)p->P * (double)m->config.width);
            for (int64_t c = 0; c < g->B; c++) {
                b->pred_from[seg_pred] = (int32_t)p->K;
                out->pred.used_pairs += p->P * (p->K + p->P);
                fill_clip(b, g, p, &n, c, first_all, token, weight, &ctx, &tgt, &pred);
                note_segment(&out->ctx, b->seg_ctx, &seg_ctx, ctx);
                note_segment(&out->pred, b->seg_pred, &seg_pred, pred);
            }
        }
        out->groups[i].patch = (vj_patch_spec){ .B = g->B, .F = g->F, .height = g->height, .width = g->width,
                                                .tubelet = m->config.tubelet, .patch = m->config.patch };
        out->groups[i].all = all - first_all;
        out->groups[i].ctx = ctx - first_ctx;
        out->groups[i].tgt = tgt - first_tgt;
        out->groups[i].token = token;
    }
    out->all.rows = all;
    out->ctx.rows = ctx;
    out->pred.rows = pred;
    out->all.segments = seg_all;
    out->ctx.segments = out->pred.segments = seg_ctx;
    out->Rt = out->pred.used = tgt;
}

// The clips, converted to the device's type on the host when they have another one.
static vj_status upload_clips(vj_vjepa *m, const vj_slot *slot, vj_slot_plan *out)
{
    const size_t size = vj_dtype_size(m->real);
    size_t staged = 0;
    for (int i = 0; i < slot->n_groups; i++) {
        const vj_clip_group *g = &slot->groups[i];
        const int64_t n = g->B * 3 * g->F * g->height * g->width;
        VJ_TRY(vj_tensor_alloc_1d(&m->input, &out->groups[i].clips, m->real, n));
        const void *from = g->clips;
        if (g->dtype != m->real) {
            if (!m->clip_staging) {
                m->clip_staging_bytes =
                    (size_t)(m->bound.clips * 3 * m->bound.F * m->bound.height * m->bound.width) * size;
                VJ_TRY(vj_host_alloc(&m->clip_staging, m->clip_staging_bytes, "clips in the device's type"));
            }
            char *to = (char *)m->clip_staging + staged;
            VJ_ASSERT(staged + (size_t)n * size <= m->clip_staging_bytes);
            VJ_TRY(vj_convert(to, m->real, g->clips, g->dtype, n));
            staged += (size_t)n * size;
            from = to;
        }
        VJ_TRY(vj_copy_to_device(m->ctx.st, out->groups[i].clips.data, from, (size_t)n * size));
    }
    return VJ_OK;
}

// The tensor of an array of the staging buffer, at the same place in the device's copy of it.
static vj_tensor on_device(const vj_vjepa *m, void *base, const int32_t *array, int64_t n0, int64_t n1)
{
    void *address = (void *)((uintptr_t)base + (size_t)(array - m->staging) * 4);
    return n1 ? vj_tensor_2d(address, VJ_I32, n0, n1) : vj_tensor_1d(address, VJ_I32, n0);
}

vj_status vj_slot_plan_make(vj_vjepa *m, const vj_slot *slot, vj_slot_plan *out)
{
    *out = (vj_slot_plan){ .n_groups = slot->n_groups };
    builder b = { .m = m, .slot = slot, .out = out };
    VJ_TRY(check(m, slot, &b));
    VJ_TRY(vj_event_sync(m->uploaded));   // the previous slot's copies have read the staging buffers
    m->staging_used = 0;
    vj_arena_reset(&m->input, 0);
    int64_t clips = 0;
    for (int i = 0; i < slot->n_groups; i++) clips += slot->groups[i].B;
    b.rows_all = take(m, 2 * b.all);
    b.pos_all = take(m, 3 * b.all);
    b.seg_all = take(m, clips + 1);
    b.rows_ctx = take(m, 2 * b.ctx);
    b.pos_ctx = take(m, 3 * b.ctx);
    b.seg_ctx = take(m, b.segments + 1);
    b.pos_pred = take(m, 3 * b.pred);
    b.seg_pred = take(m, b.segments + 1);
    b.pred_index = take(m, b.pred);
    b.pred_ctx = take(m, b.ctx);
    b.pred_tgt = take(m, b.tgt);
    b.pred_from = take(m, b.segments + 1);
    b.tgt_all = take(m, b.tgt);
    b.weight = m->weight_staging;
    fill(&b);

    void *base = NULL;
    VJ_TRY(vj_arena_alloc(&m->input, &base, (size_t)m->staging_used * 4));
    VJ_TRY(vj_copy_to_device(m->ctx.st, base, m->staging, (size_t)m->staging_used * 4));
    out->rows_all = on_device(m, base, b.rows_all, b.all, 2);
    out->all.pos = on_device(m, base, b.pos_all, b.all, 3);
    out->all.seg = on_device(m, base, b.seg_all, clips + 1, 0);
    out->rows_ctx = on_device(m, base, b.rows_ctx, b.ctx, 2);
    out->ctx.pos = on_device(m, base, b.pos_ctx, b.ctx, 3);
    out->ctx.seg = on_device(m, base, b.seg_ctx, b.segments + 1, 0);
    out->pred.pos = on_device(m, base, b.pos_pred, b.pred, 3);
    out->pred.seg = on_device(m, base, b.seg_pred, b.segments + 1, 0);
    out->pred_index = on_device(m, base, b.pred_index, b.pred, 0);
    out->pred_ctx = on_device(m, base, b.pred_ctx, b.ctx, 0);
    out->pred.used_rows = on_device(m, base, b.pred_tgt, b.tgt, 0);
    out->pred.used_from = on_device(m, base, b.pred_from, b.segments, 0);
    out->tgt_all = on_device(m, base, b.tgt_all, b.tgt, 0);

    VJ_TRY(vj_tensor_alloc_1d(&m->input, &out->weight, m->real, b.tgt));
    if (m->real == VJ_F32) {   // in place: each float lies before the double it is made from
        float *f = (float *)m->weight_staging;
        for (int64_t i = 0; i < b.tgt; i++) {
            double v;
            memcpy(&v, b.weight + i, sizeof v);
            const float narrow = (float)v;
            memcpy(f + i, &narrow, sizeof narrow);
        }
    }
    VJ_TRY(vj_copy_to_device(m->ctx.st, out->weight.data, m->weight_staging, vj_tensor_bytes(&out->weight)));
    VJ_TRY(upload_clips(m, slot, out));
    return vj_event_record(m->uploaded, m->ctx.st);
}
