// The made-up step: sizes, shapes, and running it.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/bench/bench.h"
#include "runtime/base/clock.h"
#include "runtime/base/rng.h"
#include "runtime/base/str.h"

static int64_t tokens_of(const vj_bench_work *w)
{
    const int64_t side = w->crop / w->model.patch;
    return w->frames / w->model.tubelet * side * side;
}

static vj_status parse_list(const char *name, const char *text, int64_t v[VJ_MAX_MASKS], int *n)
{
    *n = 0;
    for (const char *at = text; *at;) {
        char word[32];
        const size_t length = strcspn(at, ",");
        VJ_CHECK(length > 0 && length < sizeof word && *n < VJ_MAX_MASKS, VJ_ERR_USAGE,
                 "--%s %s: up to %d numbers of tokens with commas are expected, such as 808,280", name, text, VJ_MAX_MASKS);
        memcpy(word, at, length);
        word[length] = '\0';
        VJ_CHECK(vj_parse_i64(word, &v[*n]) && v[*n] >= 1, VJ_ERR_USAGE, "--%s %s: '%s' is no number of tokens", name, text, word);
        (*n)++;
        at += length + (at[length] == ',');
    }
    return VJ_OK;
}

vj_status vj_bench_masks(vj_bench_work *w, const char *ctx, const char *tgt)
{
    const int64_t N = tokens_of(w);
    VJ_CHECK(w->crop % w->model.patch == 0 && w->frames % w->model.tubelet == 0 && N >= 8, VJ_ERR_USAGE,
             "%lld frames x %lld px are no whole number of patches of %lld x %lld px", (long long)w->frames, (long long)w->crop,
             (long long)w->model.tubelet, (long long)w->model.patch);
    VJ_CHECK(!ctx == !tgt, VJ_ERR_USAGE, "--ctx and --tgt belong together");
    if (!ctx) {   // means of the published masks at 16 frames x 256 px (spec/pretrain.md 3.4)
        w->n_pairs = 2;
        const double keep[] = { 0.384, 0.190 };
        for (int i = 0; i < 2; i++) {
            w->K[i] = (int64_t)((double)N * keep[i]);
            w->P[i] = N - w->K[i];
        }
        return VJ_OK;
    }
    int targets = 0;
    VJ_TRY(parse_list("ctx", ctx, w->K, &w->n_pairs));
    VJ_TRY(parse_list("tgt", tgt, w->P, &targets));
    VJ_CHECK(targets == w->n_pairs && targets >= 1, VJ_ERR_USAGE, "--ctx %s and --tgt %s have %d and %d masks", ctx, tgt, w->n_pairs, targets);
    for (int i = 0; i < targets; i++) {
        VJ_CHECK(w->K[i] + w->P[i] <= N, VJ_ERR_USAGE, "mask %d: %lld + %lld tokens, a clip has %lld", i, (long long)w->K[i],
                 (long long)w->P[i], (long long)N);
    }
    return VJ_OK;
}

vj_status vj_bench_model(vj_bench_work *w, const char *preset, int64_t depth, int64_t pred_depth, int recompute)
{
    VJ_CHECK(w->batch >= 1 && w->batch <= 4096 && w->crop >= 1 && w->crop <= 4096 && w->frames >= 1 && w->frames <= 1024 && w->threads <= 1024,
             VJ_ERR_USAGE, "--batch 1 to 4096, --crop 1 to 4096, --frames 1 to 1024 and --threads up to 1024 are possible");
    VJ_CHECK(depth >= 0 && depth <= 1024 && pred_depth >= 0 && pred_depth <= 1024, VJ_ERR_USAGE,
             "--depth and --pred-depth: 1 to 1024 blocks are possible");
    w->model = (vj_model_config){ .patch = 16, .tubelet = 2, .loss_exponent = 1, .depth = depth, .pred_depth = pred_depth, .recompute = recompute };
    vj_format(w->model.preset, sizeof w->model.preset, "%.31s", preset);
    return vj_model_resolve(&w->model);
}

static vj_clip_group group_of(const vj_bench_work *w)
{
    vj_clip_group g = { .B = w->batch, .F = w->frames, .height = w->crop, .width = w->crop, .dtype = VJ_F32, .n_pairs = w->n_pairs };
    for (int i = 0; i < w->n_pairs; i++) g.pairs[i] = (vj_mask_pair){ .K = w->K[i], .P = w->P[i] };
    return g;
}

double vj_bench_flop(const vj_bench_work *w)
{
    vj_slot slot = { .n_groups = 1 };
    slot.groups[0] = group_of(w);
    return vj_vjepa_slot_flop(&w->model, &slot);
}

// ---- shapes -----------------------------------------------------------------------------------------------------------

static void add_shape(vj_bench_shape *list, int *n, vj_roof_form form, int64_t R, int64_t I, int64_t O, int64_t times)
{
    const double flop = 2.0 * (double)R * (double)I * (double)O * (double)times;
    for (int i = 0; i < *n; i++) {
        const vj_roof_shape *s = &list[i].shape;
        if (s->form == form && s->R == R && s->I == I && s->O == O) {
            list[i].flop += flop;
            return;
        }
    }
    list[(*n)++] = (vj_bench_shape){ .shape = { form, R, I, O }, .flop = flop };
}

static void add_blocks(vj_bench_shape *list, int *n, int64_t R, int64_t C, int64_t hidden, int64_t depth, bool backward)
{
    const int64_t layers[][2] = { { C, 3 * C }, { C, C }, { C, hidden }, { hidden, C } };
    for (int form = VJ_ROOF_FORWARD; form <= (backward ? VJ_ROOF_WEIGHT : VJ_ROOF_FORWARD); form++) {
        for (int i = 0; i < 4; i++) add_shape(list, n, (vj_roof_form)form, R, layers[i][0], layers[i][1], depth);
    }
}

static int by_flop(const void *a, const void *b)
{
    const double x = ((const vj_bench_shape *)a)->flop, y = ((const vj_bench_shape *)b)->flop;
    return (x < y) - (x > y);
}

int vj_bench_shapes(const vj_bench_work *w, vj_bench_shape out[VJ_BENCH_SHAPES])
{
    vj_bench_shape all[64];
    int n = 0;
    int64_t context = 0, predicted = 0;
    for (int i = 0; i < w->n_pairs; i++) {
        context += w->batch * w->K[i];
        predicted += w->batch * (w->K[i] + w->P[i]);
    }
    const vj_model_config *m = &w->model;
    add_blocks(all, &n, w->batch * tokens_of(w), m->width, m->hidden, m->depth, false);
    add_blocks(all, &n, context, m->width, m->hidden, m->depth, true);
    add_blocks(all, &n, predicted, m->pred_width, 4 * m->pred_width, m->pred_depth, true);
    qsort(all, (size_t)n, sizeof *all, by_flop);
    memcpy(out, all, VJ_BENCH_SHAPES * sizeof *out);
    return VJ_BENCH_SHAPES;
}

// ---- the roof ---------------------------------------------------------------------------------------------------------

typedef struct roof_job { const vj_bench_work *work; int rounds; } roof_job;

static vj_status measure_roof(const void *context, void *result)
{
    const roof_job *job = context;
    vj_bench_roof *out = result;
    vj_bench_shape shapes[VJ_BENCH_SHAPES];
    vj_device *d = NULL;
    const int n = vj_bench_shapes(job->work, shapes);
    VJ_TRY(vj_device_open(&d, "cpu", (int)job->work->threads));
    *out = (vj_bench_roof){ 0 };
    VJ_TRY(vj_roof_memory(d, &out->memory));
    double fma[64], rates[VJ_BENCH_SHAPES][VJ_ROOF_PRODUCTS][64];
    for (int r = 0; r < job->rounds; r++) {   // everything in turns: a slow minute is slow for all
        VJ_TRY(vj_roof_fma(d, 0.1, &fma[r]));
        for (int s = 0; s < n; s++) {
            for (int p = 0; p < VJ_ROOF_PRODUCTS; p++) VJ_TRY(vj_roof_gemm(d, (vj_roof_product)p, &shapes[s].shape, &rates[s][p][r]));
        }
    }
    vj_device_close(&d);
    out->fma = vj_bench_median(fma, job->rounds);
    double flop = 0, seconds = 0;
    for (int s = 0; s < n; s++) {
        double best = 0;
        for (int p = 0; p < VJ_ROOF_PRODUCTS; p++) {
            out->rate[s][p] = vj_bench_median(rates[s][p], job->rounds);
            best = out->rate[s][p] > best ? out->rate[s][p] : best;
        }
        flop += shapes[s].flop;
        seconds += shapes[s].flop / best;
    }
    out->total = flop / seconds;
    return VJ_OK;
}

vj_status vj_bench_roof_measure(const vj_bench_work *w, int rounds, vj_bench_roof *out)
{
    const roof_job job = { w, rounds < 1 ? 1 : rounds > 64 ? 64 : rounds };
    return vj_bench_apart(measure_roof, &job, out, sizeof *out);
}

// ---- steps ------------------------------------------------------------------------------------------------------------

// ids (n of them, ascending) for one clip out of N: a random subset behind a shuffle keyed by (pair, clip).
static void choose_ids(int32_t *ctx, int64_t K, int32_t *tgt, int64_t P, int64_t N, uint64_t id, int32_t *shuffled, char *what)
{
    for (int64_t i = 0; i < N; i++) shuffled[i] = (int32_t)i;
    for (int64_t i = 0; i < K + P; i++) {
        const int64_t j = i + (int64_t)vj_rng_below(1, id, 0, 0, (uint32_t)i, (uint64_t)(N - i));
        const int32_t swap = shuffled[i];
        shuffled[i] = shuffled[j];
        shuffled[j] = swap;
    }
    for (int64_t i = 0; i < N; i++) what[i] = 0;
    for (int64_t i = 0; i < K + P; i++) what[shuffled[i]] = i < K ? 1 : 2;
    for (int64_t i = 0; i < N; i++) {
        if (what[i] == 1) *ctx++ = (int32_t)i;
        if (what[i] == 2) *tgt++ = (int32_t)i;
    }
}

vj_status vj_bench_slot(const vj_bench_work *w, vj_slot *slot)
{
    const int64_t N = tokens_of(w), pixels = w->batch * 3 * w->frames * w->crop * w->crop;
    *slot = (vj_slot){ .n_groups = 1 };
    slot->groups[0] = group_of(w);
    float *clips;
    int32_t *shuffled;
    char *what;
    VJ_TRY(vj_host_alloc(&clips, (size_t)pixels * sizeof *clips, "clips of noise"));
    VJ_TRY(vj_host_alloc(&shuffled, (size_t)N * sizeof *shuffled, "token ids"));
    VJ_TRY(vj_host_alloc(&what, (size_t)N, "token ids"));
    uint32_t x = 1;
    for (int64_t i = 0; i < pixels; i++) {
        x = x * 1664525 + 1013904223;
        clips[i] = (float)(x >> 8) * 0x1p-23f - 1;
    }
    slot->groups[0].clips = clips;
    for (int p = 0; p < w->n_pairs; p++) {
        int32_t *ctx, *tgt;
        VJ_TRY(vj_host_alloc(&ctx, (size_t)(w->batch * w->K[p]) * sizeof *ctx, "token ids"));
        VJ_TRY(vj_host_alloc(&tgt, (size_t)(w->batch * w->P[p]) * sizeof *tgt, "token ids"));
        for (int64_t b = 0; b < w->batch; b++) {
            choose_ids(ctx + b * w->K[p], w->K[p], tgt + b * w->P[p], w->P[p], N, (uint64_t)(p * w->batch + b), shuffled, what);
        }
        slot->groups[0].pairs[p].ctx = ctx;
        slot->groups[0].pairs[p].tgt = tgt;
    }
    vj_host_free(shuffled);
    vj_host_free(what);
    return VJ_OK;
}

vj_slot_bound vj_bench_bound(const vj_bench_work *w)
{
    vj_slot_bound bound = { .clips = w->batch, .F = w->frames, .height = w->crop, .width = w->crop, .n_pairs = w->n_pairs, .slots = 1, .in_backward = w->in_backward };
    for (int p = 0; p < w->n_pairs; p++) {
        bound.ctx_rows += w->batch * w->K[p];
        bound.tgt_rows += w->batch * w->P[p];
    }
    bound.rows = bound.ctx_rows + bound.tgt_rows;
    return bound;
}

vj_status vj_bench_step(vj_vjepa *m, const vj_slot *slot, int64_t mine, int64_t slots, int64_t step, bool in_backward, vj_step_result *out,
                        double *seconds)
{
    const vj_step_options o = { .lr = 1e-4, .weight_decay = 0.04, .momentum = 0.99925, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .adam_step = step };
    const double began = vj_now();
    VJ_TRY(in_backward ? vj_vjepa_step_begin_in_backward(m, &o) : vj_vjepa_step_begin(m, slots));
    for (int64_t i = 0; i < mine; i++) VJ_TRY(vj_vjepa_slot(m, slot));
    VJ_TRY(vj_vjepa_update(m, &o, out));
    *seconds = vj_now() - began;
    return VJ_OK;
}

typedef struct steps_job { const vj_bench_work *work; int steps; } steps_job;

static void copy_ops(const vj_device *d, vj_bench_steps *out)
{
    vj_op_stat stats[VJ_BENCH_OPS];
    out->n_ops = vj_device_stats(d, stats, VJ_BENCH_OPS);
    for (int i = 0; i < out->n_ops; i++) {
        snprintf(out->ops[i].name, sizeof out->ops[i].name, "%s", stats[i].name);
        out->ops[i].calls = stats[i].calls;
        out->ops[i].seconds = stats[i].seconds;
        out->ops[i].flop = stats[i].flop;
    }
}

// The process ends behind this: memory is not given back.
static vj_status run_steps(const void *context, void *result)
{
    const steps_job *job = context;
    const vj_bench_work *w = job->work;
    vj_bench_steps *out = result;
    *out = (vj_bench_steps){ 0 };
    vj_device *d = NULL;
    vj_vjepa *m = NULL;
    vj_slot slot;
    const vj_slot_bound bound = vj_bench_bound(w);
    VJ_TRY(vj_device_open(&d, "cpu", (int)w->threads));
    VJ_TRY(vj_vjepa_create(&m, &w->model, 2, d, &bound, true));
    VJ_TRY(vj_vjepa_init(m, 1));
    VJ_TRY(vj_bench_slot(w, &slot));
    for (int s = 0; s <= job->steps; s++) {
        vj_step_result r;
        double seconds;
        if (s == 1) vj_device_stats_enable(d, true);
        VJ_TRY(vj_bench_step(m, &slot, 1, 1, s + 1, w->in_backward, &r, &seconds));
        if (s > 0) out->seconds[out->n++] = seconds;
        out->loss = r.loss;
    }
    copy_ops(d, out);
    out->peak_rss = vj_peak_rss_bytes();
    return VJ_OK;
}

vj_status vj_bench_steps_run(const vj_bench_work *w, int steps, vj_bench_steps *out)
{
    VJ_CHECK(steps >= 1 && steps <= VJ_BENCH_STEPS, VJ_ERR_USAGE, "--steps %d: 1 to %d are possible", steps, VJ_BENCH_STEPS);
    const steps_job job = { w, steps };
    return vj_bench_apart(run_steps, &job, out, sizeof *out);
}
