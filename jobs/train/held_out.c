// Held-out figures (see the header for what they mean).
//
// Two passes, both streaming, so memory does not grow with the number of held-out clips:
//   1. targets of training clips, all tokens        -> median per (token, channel)
//   2. held-out clips: predictions and all targets  -> loss, constant, swapped (against an earlier clip of another file)
//
// Easy to get wrong: the constant must be the best one under *today's* target encoder, so its pass is repeated each time;
// and only tokens that are predicted count, at the same positions for all three figures.

#include "jobs/train/held_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/log/log.h"

enum { RECENT = 4 };   // clips of other files kept for the swapped figure

struct vj_held_out {
    const vj_run_config *config;
    vj_loader_stage stage;        // of the held-out windows: batches of one slot
    vj_loader_stage train_stage;  // of the training clips behind the constant
    vj_vjepa *model;
    vj_start_fn start;
    void *start_context;
    int64_t C, N;                 // channels, tokens of the longest clip
    int64_t capacity;             // rows of pred and target
    double *pred, *target;        // (capacity, C)
    float *values;                // (N*C, constant): training targets, per position and channel
    float *median;                // (N, C)
    int64_t n_constant;
    struct { double *target; int64_t N; char file[256]; } recent[RECENT];
    int n_recent;
    int32_t *all_ids, *zero_ids;  // (clips, N) = 0..N-1 each; (clips, 1) = 0
};

// ---- one slot turned into "predict every token", to read all targets --------------------------------------------------

// The same clips with one pair: context {0}, targets all N tokens.
static vj_slot every_token(const vj_held_out *h, const vj_slot *slot, int group)
{
    vj_slot out = { .index = 0, .n_groups = 1 };
    out.groups[0] = slot->groups[group];
    const vj_clip_group *g = &slot->groups[group];
    const int64_t N = (g->F / h->config->model.tubelet) * (g->height / h->config->model.patch) * (g->width / h->config->model.patch);
    out.groups[0].n_pairs = 1;
    out.groups[0].pairs[0] = (vj_mask_pair){ .K = 1, .P = N, .ctx = h->zero_ids, .tgt = h->all_ids };
    return out;
}

static void fill_ids(vj_held_out *h, int64_t B, int64_t N)
{
    for (int64_t b = 0; b < B; b++) {
        for (int64_t n = 0; n < N; n++) h->all_ids[b * N + n] = (int32_t)n;
    }
}

// targets (B, N, C) of one group into h->target.
static vj_status all_targets(vj_held_out *h, const vj_slot *slot, int group, int64_t *N)
{
    const vj_clip_group *g = &slot->groups[group];
    *N = (g->F / h->config->model.tubelet) * (g->height / h->config->model.patch) * (g->width / h->config->model.patch);
    fill_ids(h, g->B, *N);
    const vj_slot whole = every_token(h, slot, group);
    int64_t rows = 0;
    VJ_TRY(vj_vjepa_room(h->model, &whole, 1, NULL));
    VJ_TRY(vj_vjepa_predict(h->model, &whole, NULL, h->target, h->capacity, &rows));
    VJ_ASSERT(rows == g->B * *N);
    return VJ_OK;
}

static vj_status origin_of(const vj_loader *loader, const vj_batch *batch, uint64_t g, vj_sample_origin *out)
{
    for (int64_t i = 0; i < batch->samples; i++) {
        VJ_TRY(vj_loader_origin(loader, batch, i, out));
        if (out->g == g) return VJ_OK;
    }
    VJ_FAIL(VJ_ERR_BUG, "sample %llu is not in its batch", (unsigned long long)g);
}

// ---- pass 1: the best constant -------------------------------------------------------------------------------------------

// k-th smallest of v[0..n), v is reordered (Hoare's selection).
static float select_kth(float *v, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        const float pivot = v[(low + high) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i <= j) {
                const float swap = v[i];
                v[i++] = v[j];
                v[j--] = swap;
            }
        }
        if (k <= j) high = j;
        else if (k >= i) low = i;
        else break;
    }
    return v[k];
}

static vj_status collect_constant(vj_held_out *h, vj_loader *loader, const vj_batch *batch, int64_t *taken)
{
    const int64_t want = h->config->train.held_out_constant;
    for (int s = 0; s < batch->n_slots; s++) {
        const vj_slot *slot = &batch->slots[s];
        for (int gi = 0; gi < slot->n_groups; gi++) {
            const vj_clip_group *g = &slot->groups[gi];
            int64_t N = 0;
            VJ_TRY(all_targets(h, slot, gi, &N));
            if (N != h->N) continue;
            for (int64_t b = 0; b < g->B && *taken < want; b++) {
                vj_sample_origin origin;
                VJ_TRY(origin_of(loader, batch, g->g[b], &origin));
                if (origin.image) continue;
                const double *t = h->target + b * N * h->C;
                for (int64_t i = 0; i < N * h->C; i++) h->values[i * want + *taken] = (float)t[i];
                *taken += 1;
            }
        }
    }
    return VJ_OK;
}

static vj_status best_constant(vj_held_out *h)
{
    const int64_t want = h->config->train.held_out_constant;
    vj_loader *loader = NULL;
    VJ_TRY(vj_loader_open(&loader, &h->config->data, &h->config->mask, &h->train_stage, NULL, NULL));
    vj_status status = VJ_OK;
    int64_t taken = 0;
    // Image sources are skipped, so more samples than `want` may pass by; 64 times as many means there is no video at all.
    for (int64_t seen = 0; taken < want && seen < 64 * want && status == VJ_OK; seen += h->train_stage.batch) {
        const vj_batch *batch = NULL;
        status = vj_loader_next(loader, &batch);
        if (status != VJ_OK) break;
        status = collect_constant(h, loader, batch, &taken);
        vj_loader_release(loader, batch);
    }
    vj_loader_close(&loader);
    VJ_TRY(status);
    h->n_constant = taken;
    for (int64_t i = 0; i < h->N * h->C && taken > 0; i++) h->median[i] = select_kth(h->values + i * want, taken, taken / 2);
    return VJ_OK;
}

// ---- pass 2: predictions -------------------------------------------------------------------------------------------------

typedef struct sums {
    double loss, constant, swapped;
    int64_t samples, swapped_samples;
} sums;

static double mean_abs(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs(a[i] - b[i]);
    return sum / (double)n;
}

static double mean_abs_f32(const float *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs((double)a[i] - b[i]);
    return sum / (double)n;
}

// The most recent clip of another file with as many tokens, or NULL.
static const double *other_file(const vj_held_out *h, const char *file, int64_t N)
{
    for (int k = h->n_recent - 1; k >= 0; k--) {
        if (h->recent[k].N == N && strcmp(h->recent[k].file, file) != 0) return h->recent[k].target;
    }
    return NULL;
}

// One entry per file, the latest clip of each, oldest first out.
static void remember(vj_held_out *h, const char *file, const double *target, int64_t N)
{
    int at = -1;
    for (int k = 0; k < h->n_recent; k++) {
        if (strncmp(h->recent[k].file, file, sizeof h->recent[k].file - 1) == 0) at = k;
    }
    if (at < 0) at = h->n_recent < RECENT ? h->n_recent++ : 0;
    double *buffer = h->recent[at].target;
    for (int k = at; k + 1 < h->n_recent; k++) h->recent[k] = h->recent[k + 1];
    at = h->n_recent - 1;
    h->recent[at].target = buffer;
    h->recent[at].N = N;
    snprintf(h->recent[at].file, sizeof h->recent[at].file, "%s", file);
    memcpy(buffer, target, (size_t)(N * h->C) * sizeof *buffer);
}

// One clip of a group: its pairs' rows start at `row` (pair-major: pair, clip, token).
static void add_clip(vj_held_out *h, const vj_clip_group *g, int64_t first_row, int64_t b, const char *file,
                     const double *target, sums *s)
{
    const int64_t C = h->C, N = h->N;
    const double *other = other_file(h, file, N);
    double loss = 0, constant = 0, swapped = 0;
    int64_t row = first_row;
    for (int p = 0; p < g->n_pairs; p++) {
        const vj_mask_pair *m = &g->pairs[p];
        double l = 0, c = 0, w = 0;
        for (int64_t k = 0; k < m->P; k++) {
            const int64_t id = m->tgt[b * m->P + k];
            const double *pred = h->pred + (row + b * m->P + k) * C;
            l += mean_abs(pred, target + id * C, C);
            c += mean_abs_f32(h->median + id * C, target + id * C, C);
            if (other) w += mean_abs(pred, other + id * C, C);
        }
        loss += l / (double)m->P;
        constant += c / (double)m->P;
        swapped += w / (double)m->P;
        row += g->B * m->P;
    }
    s->loss += loss / g->n_pairs;
    s->constant += constant / g->n_pairs;
    s->samples++;
    if (other) {
        s->swapped += swapped / g->n_pairs;
        s->swapped_samples++;
    }
}

static vj_status add_slot(vj_held_out *h, const vj_loader *loader, const vj_batch *batch, const vj_slot *slot, sums *s)
{
    int64_t rows = 0, row = 0;
    VJ_TRY(vj_vjepa_room(h->model, slot, 1, NULL));
    VJ_TRY(vj_vjepa_predict(h->model, slot, h->pred, NULL, h->capacity, &rows));
    for (int gi = 0; gi < slot->n_groups; gi++) {
        const vj_clip_group *g = &slot->groups[gi];
        int64_t N = 0, group_rows = 0;
        for (int p = 0; p < g->n_pairs; p++) group_rows += g->B * g->pairs[p].P;
        VJ_TRY(all_targets(h, slot, gi, &N));
        for (int64_t b = 0; b < g->B && N == h->N; b++) {
            vj_sample_origin origin;
            VJ_TRY(origin_of(loader, batch, g->g[b], &origin));
            if (origin.image) continue;
            const double *target = h->target + b * N * h->C;
            add_clip(h, g, row, b, origin.file, target, s);
            remember(h, origin.file, target, N);
        }
        row += group_rows;
    }
    return VJ_OK;
}

// ||target - start|| / ||start|| over all parameters.
static vj_status moved_from_start(vj_held_out *h, double *out)
{
    const vj_layout *layout = vj_vjepa_layout(h->model, VJ_TARGET_ENCODER);
    *out = NAN;
    int64_t largest = 0;
    for (int p = 0; p < layout->n_params; p++) largest = layout->params[p].count > largest ? layout->params[p].count : largest;
    double *now = NULL, *then = NULL;
    VJ_TRY(vj_host_alloc(&now, (size_t)largest * sizeof *now, "a parameter"));
    vj_status status = vj_host_alloc(&then, (size_t)largest * sizeof *then, "a parameter");
    double difference = 0, norm = 0;
    bool known = h->start != NULL;
    for (int p = 0; p < layout->n_params && status == VJ_OK && known; p++) {
        known = h->start(h->start_context, p, then);
        if (!known) break;
        status = vj_vjepa_get_param(h->model, VJ_TARGET_ENCODER, VJ_BUF_PARAM, p, now);
        for (int64_t i = 0; i < layout->params[p].count; i++) {
            difference += (now[i] - then[i]) * (now[i] - then[i]);
            norm += then[i] * then[i];
        }
    }
    if (known && norm > 0) *out = sqrt(difference / norm);
    vj_host_free(now);
    vj_host_free(then);
    return status;
}

// Buffers live only while figures are made: at ViT-L's size they are gigabytes.
static vj_status allocate(vj_held_out *h)
{
    const int64_t want = h->config->train.held_out_constant;
    const size_t values = (size_t)(h->N * h->C * want) * sizeof *h->values;
    VJ_TRY(vj_host_alloc(&h->pred, (size_t)(h->capacity * h->C) * sizeof *h->pred, "held-out predictions"));
    VJ_TRY(vj_host_alloc(&h->target, (size_t)(h->capacity * h->C) * sizeof *h->target, "held-out targets"));
    VJ_TRY(vj_host_alloc(&h->values, values, "training targets behind the best constant"));
    VJ_TRY(vj_host_alloc(&h->median, (size_t)(h->N * h->C) * sizeof *h->median, "the best constant"));
    VJ_TRY(vj_host_alloc(&h->all_ids, (size_t)(h->stage.slot * h->N) * sizeof *h->all_ids, "token ids"));
    VJ_TRY(vj_host_alloc(&h->zero_ids, (size_t)h->stage.slot * sizeof *h->zero_ids, "token ids"));
    for (int k = 0; k < RECENT; k++) {
        VJ_TRY(vj_host_alloc(&h->recent[k].target, (size_t)(h->N * h->C) * sizeof(double), "held-out targets"));
    }
    return VJ_OK;
}

static void release(vj_held_out *h)
{
    for (int k = 0; k < RECENT; k++) {
        vj_host_free(h->recent[k].target);
        h->recent[k].target = NULL;
    }
    void **buffers[] = { (void **)&h->zero_ids, (void **)&h->all_ids, (void **)&h->median, (void **)&h->values, (void **)&h->target, (void **)&h->pred };
    for (int i = 0; i < 6; i++) {
        vj_host_free(*buffers[i]);
        *buffers[i] = NULL;
    }
}

static vj_status make_figures(vj_held_out *h, vj_held_out_figures *out)
{
    const double started = vj_now();
    *out = (vj_held_out_figures){ .swapped = NAN, .moved = NAN };
    VJ_TRY_CTX(best_constant(h), "collecting training targets for the best constant");
    VJ_CHECK(h->n_constant > 0, VJ_ERR_DATA, "no training video could be read for the held-out figures");
    h->n_recent = 0;
    vj_loader *loader = NULL;
    VJ_TRY(vj_loader_open(&loader, &h->config->data, &h->config->mask, &h->stage, NULL, NULL));
    vj_status status = VJ_OK;
    sums s = { 0 };
    for (int64_t seen = 0; seen < h->config->train.held_out_samples && status == VJ_OK; seen += h->stage.batch) {
        const vj_batch *batch = NULL;
        status = vj_loader_next(loader, &batch);
        if (status != VJ_OK) break;
        for (int i = 0; i < batch->n_slots && status == VJ_OK; i++) status = add_slot(h, loader, batch, &batch->slots[i], &s);
        vj_loader_release(loader, batch);
    }
    vj_loader_close(&loader);
    if (status != VJ_OK) vj_context("computing held-out figures");
    VJ_TRY(status);
    VJ_CHECK(s.samples > 0, VJ_ERR_DATA, "no held-out sample could be read");
    out->samples = s.samples;
    out->swapped_samples = s.swapped_samples;
    out->constant_samples = h->n_constant;
    out->loss = s.loss / (double)s.samples;
    out->constant = s.constant / (double)s.samples;
    if (s.swapped_samples > 0) out->swapped = s.swapped / (double)s.swapped_samples;
    VJ_TRY(moved_from_start(h, &out->moved));
    out->seconds = vj_now() - started;
    return VJ_OK;
}

vj_status vj_held_out_run(vj_held_out *h, vj_held_out_figures *out)
{
    vj_status status = allocate(h);
    if (status == VJ_OK) status = make_figures(h, out);
    release(h);
    return status;
}

// ---- life ------------------------------------------------------------------------------------------------------------------

vj_status vj_held_out_create(vj_held_out **out, const vj_run_config *config, const vj_loader_stage *stage, vj_vjepa *model,
                             vj_start_fn start, void *start_context)
{
    *out = NULL;
    if (config->train.held_out_every == 0) return VJ_OK;
    vj_data_summary data;
    VJ_TRY(vj_data_summary_read(config->data.dir, &data));
    if (data.held_out == 0) {
        vj_log(VJ_INFO, "train", "%s has no held-out windows (data pack --hold-out): held-out figures are left out", config->data.dir);
        return VJ_OK;
    }
    vj_held_out *h = NULL;
    VJ_TRY(vj_host_alloc(&h, sizeof *h, "held-out figures"));
    h->config = config;
    h->model = model;
    h->start = start;
    h->start_context = start_context;
    h->C = vj_model_width(model);
    int64_t longest = 0;
    for (int64_t i = 0; i < stage->fpc.n; i++) longest = stage->fpc.v[i] > longest ? stage->fpc.v[i] : longest;
    const int64_t side = stage->crop / stage->patch;
    h->N = longest / stage->tubelet * side * side;
    h->capacity = config->mask.n * stage->slot * h->N;
    h->train_stage = *stage;
    h->train_stage.batch = stage->slot;
    h->train_stage.rank = 0;
    h->train_stage.world = 1;
    h->stage = h->train_stage;
    h->stage.held_out = true;
    *out = h;
    return VJ_OK;
}

void vj_held_out_destroy(vj_held_out **pointer)
{
    vj_held_out *h = *pointer;
    if (!h) return;
    vj_host_free(h);
    *pointer = NULL;
}
