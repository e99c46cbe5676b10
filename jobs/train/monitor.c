// Monitors (see the header for what the figures mean).
//
// Easy to get wrong: the loader's batches are gone once released, so slots are copied whole, clips and masks; and rows
// come in two orders: features by group, clip, token, predictions by group, pair, clip, position.

#include "jobs/train/monitor.h"

#include <math.h>
#include <string.h>

#include "jobs/train/feature_stats.h"
#include "runtime/base/clock.h"
#include "runtime/log/log.h"

typedef struct kept_slot {
    vj_slot slot;
    void *memory[VJ_MAX_GROUPS];   // of each group: clips, then its masks
} kept_slot;

struct vj_monitor {
    vj_run_config config;
    vj_vjepa *model;
    int64_t C;
    kept_slot *slots;
    int64_t n_slots, capacity_slots;
    int64_t clips, most_clips;
    bool held_out;
    int64_t rows, pred_rows;       // of the largest slot
    float *features;               // (rows, C)
    double *pred;                  // (pred_rows, C)
    double *target;                // (C): one row
    double *pooled;                // (most_clips, C)
    uint64_t *keys;                // (most_clips): windows
    vj_row_variance pred_variance, target_variance;
};

static int64_t tokens_of(const vj_monitor *m, const vj_clip_group *g)
{
    const vj_model_config *c = &m->config.model;
    return g->F / c->tubelet * (g->height / c->patch) * (g->width / c->patch);
}

// ---- keeping clips ---------------------------------------------------------------------------------------------------
static vj_status keep_group(kept_slot *kept, int at, const vj_clip_group *g)
{
    const size_t clips = (size_t)(g->B * 3 * g->F * g->height * g->width) * vj_dtype_size(g->dtype);
    size_t bytes = clips;
    for (int p = 0; p < g->n_pairs; p++) bytes += (size_t)(g->B * (g->pairs[p].K + g->pairs[p].P)) * sizeof(int32_t);
    unsigned char *memory = NULL;
    VJ_TRY(vj_host_alloc(&memory, bytes, "clips of the monitors"));
    kept->memory[at] = memory;
    vj_clip_group *own = &kept->slot.groups[at];
    *own = *g;
    own->g = NULL;
    memcpy(memory, g->clips, clips);
    own->clips = memory;
    int32_t *ids = (int32_t *)(memory + clips);   // clips are whole floats
    for (int p = 0; p < g->n_pairs; p++) {
        const vj_mask_pair *pair = &g->pairs[p];
        memcpy(ids, pair->ctx, (size_t)(g->B * pair->K) * sizeof *ids);
        own->pairs[p].ctx = ids;
        ids += g->B * pair->K;
        memcpy(ids, pair->tgt, (size_t)(g->B * pair->P) * sizeof *ids);
        own->pairs[p].tgt = ids;
        ids += g->B * pair->P;
    }
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

// The whole slot, when all its samples are video and it still fits.
static vj_status keep_slot(vj_monitor *m, const vj_loader *loader, const vj_batch *batch, const vj_slot *slot)
{
    int64_t n = 0, rows = 0, pred_rows = 0;
    for (int i = 0; i < slot->n_groups; i++) {
        const vj_clip_group *g = &slot->groups[i];
        rows += g->B * tokens_of(m, g);
        for (int p = 0; p < g->n_pairs; p++) pred_rows += g->B * g->pairs[p].P;
        for (int64_t b = 0; b < g->B; b++) {
            vj_sample_origin origin;
            VJ_TRY(origin_of(loader, batch, g->g[b], &origin));
            if (origin.image || m->clips + n >= m->most_clips) return VJ_OK;
            m->keys[m->clips + n++] = origin.key;
        }
    }
    kept_slot *kept = &m->slots[m->n_slots++];
    kept->slot = (vj_slot){ .index = 0, .n_groups = slot->n_groups };
    for (int i = 0; i < slot->n_groups; i++) VJ_TRY(keep_group(kept, i, &slot->groups[i]));
    m->clips += n;
    m->rows = rows > m->rows ? rows : m->rows;
    m->pred_rows = pred_rows > m->pred_rows ? pred_rows : m->pred_rows;
    return VJ_OK;
}

static vj_status keep_clips(vj_monitor *m, const vj_loader_stage *train)
{
    vj_loader_stage stage = *train;
    stage.batch = stage.slot;
    stage.rank = 0;
    stage.world = 1;
    stage.held_out = m->held_out;
    vj_loader *loader = NULL;
    VJ_TRY(vj_loader_open(&loader, &m->config.data, &m->config.mask, &stage, NULL, NULL));
    vj_status status = VJ_OK;
    // Slots with images are passed over; 64 times as many as wanted without enough clips means there is hardly a video.
    for (int64_t seen = 0; m->clips + stage.slot <= m->most_clips && seen < 64 * m->most_clips && status == VJ_OK;
         seen += stage.slot) {
        const vj_batch *batch = NULL;
        status = vj_loader_next(loader, &batch);
        if (status != VJ_OK) break;
        for (int i = 0; i < batch->n_slots && status == VJ_OK; i++) {
            status = keep_slot(m, loader, batch, &batch->slots[i]);
        }
        vj_loader_release(loader, batch);
    }
    vj_loader_close(&loader);
    return status;
}

// ---- figures ---------------------------------------------------------------------------------------------------------
// What the model predicts: the feature normalised over its channels (spec/pretrain.md 4).
static void normalise(double *out, const float *x, int64_t C)
{
    double mean = 0, square = 0;
    for (int64_t c = 0; c < C; c++) mean += (double)x[c] / (double)C;
    for (int64_t c = 0; c < C; c++) square += ((double)x[c] - mean) * ((double)x[c] - mean);
    const double scale = 1 / sqrt(square / (double)C + 1e-5);
    for (int64_t c = 0; c < C; c++) out[c] = ((double)x[c] - mean) * scale;
}

static void pool(double *out, const float *x, int64_t N, int64_t C)
{
    memset(out, 0, (size_t)C * sizeof *out);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t c = 0; c < C; c++) out[c] += (double)x[n * C + c];
    }
    for (int64_t c = 0; c < C; c++) out[c] /= (double)N;
}

// Predictions cost as much as features and vary less from clip to clip: a quarter of the slots shows them.
static vj_status look_at(vj_monitor *m, const vj_slot *slot, bool predict, int64_t *clip)
{
    const int last = (int)m->config.model.depth - 1;
    const int64_t C = m->C;
    int64_t rows = 0, pred_rows = 0;
    VJ_TRY(vj_vjepa_features(m->model, VJ_TARGET_ENCODER, slot, &last, 1, m->features, m->rows, &rows));
    if (predict) VJ_TRY(vj_vjepa_room(m->model, slot, 1, NULL));
    if (predict) VJ_TRY(vj_vjepa_predict(m->model, slot, m->pred, NULL, m->pred_rows, &pred_rows));
    const float *features = m->features;
    for (int i = 0; i < slot->n_groups; i++) {
        const vj_clip_group *g = &slot->groups[i];
        const int64_t N = tokens_of(m, g);
        for (int64_t b = 0; b < g->B; b++) pool(m->pooled + (*clip)++ * C, features + b * N * C, N, C);
        for (int p = 0; p < g->n_pairs && predict; p++) {
            const vj_mask_pair *pair = &g->pairs[p];
            for (int64_t k = 0; k < g->B * pair->P; k++) {
                normalise(m->target, features + (k / pair->P * N + pair->tgt[k]) * C, C);
                vj_row_variance_add(&m->target_variance, m->target);
            }
        }
        features += g->B * N * C;
    }
    for (int64_t r = 0; r < pred_rows; r++) vj_row_variance_add(&m->pred_variance, m->pred + r * C);
    return VJ_OK;
}

vj_status vj_monitor_run(vj_monitor *m, vj_monitor_figures *out)
{
    const double started = vj_now();
    int64_t clip = 0;
    vj_row_variance_clear(&m->pred_variance);
    vj_row_variance_clear(&m->target_variance);
    for (int64_t s = 0; s < m->n_slots; s++) VJ_TRY(look_at(m, &m->slots[s].slot, s % 4 == 0, &clip));
    VJ_ASSERT(clip == m->clips);
    *out = (vj_monitor_figures){ .clips = m->clips, .held_out = m->held_out };
    out->spread = vj_feature_spread(m->pooled, m->clips, m->C);
    out->cosine = vj_feature_cosine(m->pooled, m->clips, m->C, m->keys);
    VJ_TRY(vj_feature_rank(m->pooled, m->clips, m->C, &out->rank));
    out->target_variance = vj_row_variance_mean(&m->target_variance);
    out->variance_ratio = vj_row_variance_mean(&m->pred_variance) / out->target_variance;
    out->seconds = vj_now() - started;
    return VJ_OK;
}

// ---- life ------------------------------------------------------------------------------------------------------------
static vj_status allocate(vj_monitor *m)
{
    const size_t C = (size_t)m->C;
    VJ_TRY(vj_host_alloc(&m->features, (size_t)m->rows * C * sizeof *m->features, "features of the monitors"));
    VJ_TRY(vj_host_alloc(&m->pred, (size_t)m->pred_rows * C * sizeof *m->pred, "predictions of the monitors"));
    VJ_TRY(vj_host_alloc(&m->target, C * sizeof *m->target, "a target of the monitors"));
    VJ_TRY(vj_host_alloc(&m->pooled, (size_t)m->clips * C * sizeof *m->pooled, "pooled features"));
    VJ_TRY(vj_row_variance_create(&m->pred_variance, m->C));
    return vj_row_variance_create(&m->target_variance, m->C);
}

vj_status vj_monitor_create(vj_monitor **out, const vj_run_config *config, const vj_loader_stage *stage, vj_vjepa *model)
{
    *out = NULL;
    if (config->monitor.every == 0) return VJ_OK;
    vj_data_summary data;
    VJ_TRY(vj_data_summary_read(config->data.dir, &data));
    vj_monitor *m = NULL;
    VJ_TRY(vj_host_alloc(&m, sizeof *m, "monitors"));
    *m = (vj_monitor){ .config = *config, .model = model, .C = vj_model_width(model), .held_out = data.held_out > 0 };
    // A slot is looked at whole, so at least two clips mean at least one slot.
    m->most_clips = config->monitor.clips > stage->slot ? config->monitor.clips : stage->slot;
    m->capacity_slots = m->most_clips / stage->slot;
    vj_status status = vj_host_alloc(&m->slots, (size_t)m->capacity_slots * sizeof *m->slots, "slots of the monitors");
    if (status == VJ_OK) status = vj_host_alloc(&m->keys, (size_t)m->most_clips * sizeof *m->keys, "windows of the monitors");
    if (status == VJ_OK) status = keep_clips(m, stage);
    if (status != VJ_OK) vj_context("reading the clips that monitors look at");
    if (status == VJ_OK && m->clips > 0) status = allocate(m);
    if (status == VJ_OK && m->clips == 0) {
        vj_log(VJ_INFO, "monitor", "%s: no video for monitors to look at: their figures are left out", config->data.dir);
    } else if (status == VJ_OK && !m->held_out) {
        vj_log(VJ_INFO, "monitor", "%s has no held-out windows: monitors look at training clips", config->data.dir);
    }
    if (status != VJ_OK || m->clips == 0) vj_monitor_destroy(&m);
    *out = m;
    return status;
}

void vj_monitor_destroy(vj_monitor **pointer)
{
    vj_monitor *m = *pointer;
    if (!m) return;
    for (int64_t s = 0; s < m->n_slots; s++) {
        for (int i = 0; i < VJ_MAX_GROUPS; i++) vj_host_free(m->slots[s].memory[i]);
    }
    vj_row_variance_free(&m->pred_variance);
    vj_row_variance_free(&m->target_variance);
    vj_host_free(m->pooled);
    vj_host_free(m->target);
    vj_host_free(m->pred);
    vj_host_free(m->features);
    vj_host_free(m->keys);
    vj_host_free(m->slots);
    vj_host_free(m);
    *pointer = NULL;
}

int64_t vj_monitor_bytes(const vj_run_config *c)
{
    if (c->monitor.every == 0) return 0;
    int64_t frames = 0;
    for (int64_t i = 0; i < c->data.fpc.n; i++) frames = c->data.fpc.v[i] > frames ? c->data.fpc.v[i] : frames;
    const int64_t side = c->data.crop / c->model.patch, N = frames / c->model.tubelet * side * side;
    const int64_t clips = c->monitor.clips > c->mask.group ? c->monitor.clips : c->mask.group;
    const int64_t pixels = 3 * frames * c->data.crop * c->data.crop, C = c->model.width;
    return clips * (pixels * 4 + c->mask.n * N * 4 + C * 8) + c->mask.group * N * C * (4 + 8 * c->mask.n);
}
