// The attention of one block of each network, alone, in turns with the roof.

#include <stdio.h>

#include "jobs/bench/bench.h"
#include "runtime/base/clock.h"
#include "runtime/ops/ops.h"

typedef struct job { const vj_bench_work *work; int rounds; } job;

// Sequences of one network: `n` lengths, each `times` times.
typedef struct sequences { const char *of; int64_t length[VJ_MAX_MASKS], times, heads, width; int n; bool backward; } sequences;

typedef struct buffers { vj_tensor qkv, o, lse, g, dqkv, seg; vj_attention_spec spec; void *memory; } buffers;

static vj_status fill(vj_stream *st, const vj_tensor *t)
{
    float *noise = NULL;
    const int64_t n = vj_count(t);
    VJ_TRY(vj_host_alloc(&noise, (size_t)n * sizeof *noise, "noise"));
    uint32_t x = 1;
    for (int64_t i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (float)(x >> 8) * 0x1p-23f - 1;
    }
    const vj_status status = vj_upload(st, t, noise, VJ_F32);
    vj_host_free(noise);
    return status;
}

static vj_status make(buffers *b, vj_device *d, vj_stream *st, const sequences *s)
{
    int32_t seg[VJ_MAX_MASKS * 4096 + 1] = { 0 };
    *b = (buffers){ .spec = { .heads = s->heads, .head_dim = s->width / s->heads } };
    for (int i = 0; i < s->n; i++) {
        for (int64_t k = 0; k < s->times; k++) {
            seg[b->spec.segments + 1] = seg[b->spec.segments] + (int32_t)s->length[i];
            b->spec.segments++;
            b->spec.pairs += s->length[i] * s->length[i];
            b->spec.longest = s->length[i] > b->spec.longest ? s->length[i] : b->spec.longest;
        }
    }
    const int64_t R = seg[b->spec.segments], C = s->width;
    const size_t bytes = (size_t)(R * (8 * C + s->heads) + b->spec.segments + 1) * 4 + 8 * VJ_ALIGN;
    VJ_TRY(vj_device_alloc(d, &b->memory, bytes, "the rows of an attention"));
    vj_arena arena = vj_arena_over("attention", b->memory, bytes);
    VJ_TRY(vj_tensor_alloc_2d(&arena, &b->qkv, VJ_F32, R, 3 * C));
    VJ_TRY(vj_tensor_alloc_2d(&arena, &b->dqkv, VJ_F32, R, 3 * C));
    VJ_TRY(vj_tensor_alloc_2d(&arena, &b->o, VJ_F32, R, C));
    VJ_TRY(vj_tensor_alloc_2d(&arena, &b->g, VJ_F32, R, C));
    VJ_TRY(vj_tensor_alloc_2d(&arena, &b->lse, VJ_F32, R, s->heads));
    VJ_TRY(vj_tensor_alloc_1d(&arena, &b->seg, VJ_I32, b->spec.segments + 1));
    VJ_TRY(vj_upload(st, &b->seg, seg, VJ_I32));
    VJ_TRY(fill(st, &b->qkv));
    return fill(st, &b->g);
}

static vj_status timed(vj_stream *st, const buffers *b, bool backward, double *seconds)
{
    VJ_TRY(vj_stream_sync(st));
    const double began = vj_now();
    if (backward) VJ_TRY(vj_attention_backward(st, &b->dqkv, &b->g, &b->o, &b->lse, &b->qkv, &b->seg, &b->spec));
    else VJ_TRY(vj_attention_forward(st, &b->o, &b->lse, &b->qkv, &b->seg, &b->spec));
    VJ_TRY(vj_stream_sync(st));
    *seconds = vj_now() - began;
    return VJ_OK;
}

static vj_status measure_row(vj_device *d, const sequences *s, int rounds, vj_bench_attention_row *out)
{
    buffers b;
    vj_stream *st = NULL;
    VJ_TRY(vj_stream_create(d, &st));
    VJ_TRY(make(&b, d, st, s));
    double forward[64], backward[64], ignored;
    VJ_TRY(timed(st, &b, false, &ignored));   // pages, code
    if (s->backward) VJ_TRY(timed(st, &b, true, &ignored));
    for (int r = 0; r < rounds; r++) {
        VJ_TRY(timed(st, &b, false, &forward[r]));
        if (s->backward) VJ_TRY(timed(st, &b, true, &backward[r]));
    }
    const double flop = 4.0 * (double)b.spec.pairs * (double)s->width, f = vj_bench_median(forward, rounds),
                 back = s->backward ? vj_bench_median(backward, rounds) : 0;
    snprintf(out->of, sizeof out->of, "%s", s->of);
    out->segments = b.spec.segments;
    out->rows = b.qkv.shape[0];
    out->heads = s->heads;
    out->head_dim = b.spec.head_dim;
    out->forward = flop / f;
    out->backward = s->backward ? 2 * flop / back : 0;
    out->share = (s->backward ? 3 : 1) * flop / (f + back);   // of the roof once that is known
    vj_device_free(d, b.memory);
    vj_stream_destroy(&st);
    return VJ_OK;
}

static vj_status measure(const void *context, void *result)
{
    const job *j = context;
    const vj_bench_work *w = j->work;
    const vj_model_config *m = &w->model;
    vj_bench_attention *out = result;
    const int64_t side = w->crop / m->patch;
    sequences s[3] = {
        { .of = "target encoder", .n = 1, .length = { w->frames / m->tubelet * side * side }, .heads = m->heads, .width = m->width },
        { .of = "encoder", .n = w->n_pairs, .heads = m->heads, .width = m->width, .backward = true },
        { .of = "predictor", .n = w->n_pairs, .heads = m->pred_heads, .width = m->pred_width, .backward = true },
    };
    vj_device *d = NULL;
    VJ_TRY(vj_device_open(&d, "cpu", (int)w->threads));
    for (int i = 0; i < 3; i++) {
        s[i].times = w->batch;
        for (int p = 0; p < w->n_pairs && i > 0; p++) s[i].length[p] = i == 1 ? w->K[p] : w->K[p] + w->P[p];
        VJ_TRY(measure_row(d, &s[i], j->rounds, &out->row[i]));
    }
    vj_device_close(&d);
    return VJ_OK;
}

vj_status vj_bench_attention_measure(const vj_bench_work *work, int rounds, vj_bench_attention *out)
{
    const job j = { work, rounds < 1 ? 1 : rounds > 64 ? 64 : rounds };
    vj_bench_roof before, after;
    *out = (vj_bench_attention){ 0 };
    VJ_TRY(vj_bench_roof_measure(work, (j.rounds + 1) / 2, &before));
    VJ_TRY(vj_bench_apart(measure, &j, out, sizeof *out));
    VJ_TRY(vj_bench_roof_measure(work, (j.rounds + 1) / 2, &after));
    out->n = 3;
    out->fma = 0.5 * (before.fma + after.fma);
    out->roof = 0.5 * (before.total + after.total);
    for (int i = 0; i < 3; i++) out->row[i].share /= out->roof;
    return VJ_OK;
}
