// Features are spooled beside the output while videos are decoded, since a file's header wants to know all sizes first; what a
// video that breaks in the middle left there is cut off again.

#include "evals/encode.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/video_stream.h"
#include "evals/encode_impl.h"
#include "evals/pca.h"
#include "evals/strip.h"
#include "model/vjepa.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/png.h"
#include "runtime/base/signals.h"
#include "runtime/base/str.h"
#include "runtime/base/thread.h"
#include "runtime/log/log.h"

enum { PNG_CLIPS = 8, PNG_COLUMNS = 8 };

typedef struct shown_clip { float *pixels, *features; } shown_clip;

typedef struct encoder {
    const vj_encode_request *request;
    vj_encode_result *result;
    vj_model_source source;
    vj_device *device;
    vj_vjepa *model;
    vj_stream_config stream;
    vj_features_spool spool;
    float *features;               // (layers, crops * tokens, C) of one clip
    float *packed;                 // in the order of the file
    shown_clip shown[PNG_CLIPS];
    int n_shown;
} encoder;

// ---- the model --------------------------------------------------------------------------------------------------------
static vj_status load(encoder *e)
{
    const vj_layout *l = vj_vjepa_layout(e->model, VJ_TARGET_ENCODER);
    VJ_TRY(vj_weights_fit(e->source.weights, e->request->network, l));
    int64_t largest = 0;
    for (int p = 0; p < l->n_params; p++) largest = l->params[p].count > largest ? l->params[p].count : largest;
    float *values = NULL;
    double *wide = NULL;
    VJ_TRY(vj_host_alloc(&values, (size_t)largest * sizeof *values, "a parameter"));
    vj_status status = vj_host_alloc(&wide, (size_t)largest * sizeof *wide, "a parameter");
    for (int p = 0; p < l->n_params && status == VJ_OK; p++) {
        const int64_t n = l->params[p].count;
        char name[128];
        vj_format(name, sizeof name, "%s.%s", e->request->network, l->params[p].name);
        status = vj_weights_read(e->source.weights, name, VJ_STATE_PARAM, values, n);
        for (int64_t i = 0; i < n && status == VJ_OK; i++) wide[i] = values[i];
        if (status == VJ_OK) status = vj_vjepa_set_param(e->model, VJ_TARGET_ENCODER, VJ_BUF_PARAM, p, wide);
    }
    vj_host_free(values);
    vj_host_free(wide);
    return status;
}

// Ascending blocks without repetition, negative ones from the end.
static vj_status choose_layers(encoder *e)
{
    const vj_encode_request *q = e->request;
    vj_encode_result *r = e->result;
    const int depth = (int)e->source.model.depth;
    r->n_layers = q->n_layers > 0 ? q->n_layers : 1;
    if (q->n_layers == 0) r->layers[0] = depth - 1;
    for (int i = 0; i < q->n_layers; i++) {
        const int layer = q->layers[i] < 0 ? depth + q->layers[i] : q->layers[i];
        VJ_CHECK(layer >= 0 && layer < depth, VJ_ERR_USAGE, "--layers: %d is none of the %d blocks (0 to %d, or -1 for the last)", q->layers[i], depth, depth - 1);
        VJ_CHECK(i == 0 || layer > r->layers[i - 1], VJ_ERR_USAGE, "--layers: blocks must ascend, %d does not", q->layers[i]);
        r->layers[i] = layer;
    }
    return VJ_OK;
}

static vj_status prepare(encoder *e)
{
    const vj_encode_request *q = e->request;
    vj_encode_result *r = e->result;
    VJ_TRY(vj_model_source_open(&e->source, q->checkpoint, q->heads, q->pred_heads, false));
    const vj_model_config *m = &e->source.model;
    r->frames = q->frames > 0 ? q->frames : e->source.frames > 0 ? e->source.frames : 16;
    r->crop = q->crop > 0 ? q->crop : e->source.crop > 0 ? e->source.crop : 256;
    r->fps = q->fps > 0 ? q->fps : e->source.fps > 0 ? e->source.fps : 4;
    r->width = m->width;
    snprintf(r->source, sizeof r->source, "%s", vj_weights_facts_of(e->source.weights)->path);
    snprintf(r->model, sizeof r->model, "%s", m->preset);
    VJ_CHECK(r->frames % m->tubelet == 0, VJ_ERR_USAGE, "--frames %lld is not a multiple of the tubelet, %lld", (long long)r->frames, (long long)m->tubelet);
    VJ_CHECK(r->crop % m->patch == 0, VJ_ERR_USAGE, "--crop %lld is not a multiple of the patch size, %lld", (long long)r->crop, (long long)m->patch);
    r->tokens = r->frames / m->tubelet * (r->crop / m->patch) * (r->crop / m->patch);
    VJ_TRY(choose_layers(e));
    e->stream = (vj_stream_config){ .frames = r->frames, .side = r->crop, .fps = r->fps, .clips = q->clips, .crops = q->crops };
    const vj_slot_bound bound = { .clips = q->crops, .F = r->frames, .height = r->crop, .width = r->crop };
    VJ_TRY(vj_device_open(&e->device, "cpu", q->threads > 0 ? q->threads : vj_cpu_count()));
    VJ_TRY(vj_vjepa_create_encoder(&e->model, m, e->device, &bound));
    VJ_TRY(load(e));
    const size_t floats = (size_t)(q->crops * r->n_layers * r->tokens * r->width);
    VJ_TRY(vj_host_alloc(&e->features, floats * sizeof *e->features, "features"));
    return vj_host_alloc(&e->packed, floats * sizeof *e->packed, "features");
}

// ---- one clip ---------------------------------------------------------------------------------------------------------
// (layers, crops, tokens, C) -> (crops, layers, tokens, C), or the mean over tokens.
static int64_t pack(encoder *e)
{
    const vj_encode_result *r = e->result;
    const int crops = e->request->crops;
    const int64_t N = r->tokens, C = r->width;
    float *out = e->packed;
    for (int v = 0; v < crops; v++) {
        for (int l = 0; l < r->n_layers; l++) {
            const float *from = e->features + ((int64_t)l * crops + v) * N * C;
            if (!e->request->pool) {
                memcpy(out, from, (size_t)(N * C) * sizeof *out);
                out += N * C;
                continue;
            }
            for (int64_t c = 0; c < C; c++) {
                double sum = 0;
                for (int64_t i = 0; i < N; i++) sum += from[i * C + c];
                *out++ = (float)(sum / (double)N);
            }
        }
    }
    return out - e->packed;
}

static vj_status remember(encoder *e, const vj_stream_clip *clip)
{
    const vj_encode_result *r = e->result;
    shown_clip *s = &e->shown[e->n_shown];
    const size_t pixels = (size_t)(3 * r->frames * r->crop * r->crop) * sizeof(float), features = (size_t)(r->tokens * r->width) * sizeof(float);
    VJ_TRY(vj_host_alloc(&s->pixels, pixels, "a clip for the picture"));
    VJ_TRY(vj_host_alloc(&s->features, features, "features for the picture"));
    memcpy(s->pixels, clip->pixels, pixels);   // the first crop, the last layer
    memcpy(s->features, e->features + (int64_t)(r->n_layers - 1) * e->request->crops * r->tokens * r->width, features);
    e->n_shown++;
    return VJ_OK;
}

static vj_status encode_clip(void *context, const vj_stream_clip *clip)
{
    encoder *e = context;
    const vj_encode_result *r = e->result;
    VJ_CHECK(!vj_stop_requested(), VJ_ERR_STOPPED, "stopped on %s; nothing was written", vj_stop_reason());
    const int64_t capacity = e->request->crops * r->tokens;
    int64_t rows = 0;
    vj_slot slot = { .n_groups = 1 };
    slot.groups[0] = (vj_clip_group){ .B = e->request->crops, .F = r->frames, .height = r->crop, .width = r->crop, .clips = clip->pixels, .dtype = VJ_F32 };
    VJ_TRY(vj_vjepa_features(e->model, VJ_TARGET_ENCODER, &slot, r->layers, r->n_layers, e->features, capacity, &rows));
    if (e->request->png && clip->index == clip->count / 2 && e->n_shown < PNG_CLIPS) VJ_TRY(remember(e, clip));
    return vj_features_spool_add(&e->spool, e->packed, pack(e), clip->start, clip->end);
}

static vj_status encode_video(encoder *e, int i)
{
    vj_encode_video *v = &e->result->videos[i];
    const double began = vj_now();
    const int shown = e->n_shown;
    v->path = e->request->videos[i];
    VJ_TRY(vj_features_spool_begin(&e->spool, v->path));
    const vj_status status = vj_video_stream(v->path, &e->stream, encode_clip, e, NULL);
    v->seconds = vj_now() - began;
    if (status == VJ_OK) {
        v->ok = true;
        v->clips = vj_features_spool_clips(&e->spool);
        return VJ_OK;
    }
    if (status != VJ_ERR_DATA && status != VJ_ERR_IO) return status;
    snprintf(v->problem, sizeof v->problem, "%s", vj_error_text());
    vj_error_clear();
    vj_log(VJ_WARN, "encode", "%s is left out: %s", v->path, v->problem);
    for (int k = shown; k < e->n_shown; k++) {
        vj_host_free(e->shown[k].pixels);
        vj_host_free(e->shown[k].features);
        e->shown[k] = (shown_clip){ 0 };
    }
    e->n_shown = shown;
    e->result->failed++;
    return vj_features_spool_drop(&e->spool);
}

// ---- the picture ------------------------------------------------------------------------------------------------------
static vj_status draw_all(encoder *e, vj_strip *strip, const vj_pca *pca, unsigned char *colours)
{
    const vj_encode_result *r = e->result;
    const int64_t grid = r->crop / e->source.model.patch, n = r->frames / e->source.model.tubelet;
    for (int i = 0; i < e->n_shown; i++) {
        VJ_TRY(vj_pca_rgb(pca, e->shown[i].features, r->tokens, colours));
        for (int64_t k = 0; k < strip->columns; k++) {
            const int64_t t = strip->columns > 1 ? k * (n - 1) / (strip->columns - 1) : 0;
            vj_strip_frame(strip, 2 * i, k, e->shown[i].pixels, r->frames, t * e->source.model.tubelet, r->crop);
            vj_strip_tokens(strip, 2 * i + 1, k, colours + 3 * t * grid * grid, grid);
        }
    }
    return vj_png_write(e->request->png, strip->rgb, strip->width, strip->height);
}

static vj_status draw(encoder *e)
{
    const vj_encode_result *r = e->result;
    const int64_t n = r->frames / e->source.model.tubelet, floats = r->tokens * r->width;
    vj_strip strip = { 0 };
    vj_pca pca = { 0 };
    float *all = NULL;
    unsigned char *colours = NULL;
    vj_status status = vj_host_alloc(&all, (size_t)(e->n_shown * floats) * sizeof *all, "features for the picture");
    for (int i = 0; i < e->n_shown && status == VJ_OK; i++) memcpy(all + i * floats, e->shown[i].features, (size_t)floats * sizeof *all);
    if (status == VJ_OK) status = vj_host_alloc(&colours, (size_t)(3 * r->tokens), "colours");
    if (status == VJ_OK) status = vj_pca_fit(&pca, all, e->n_shown * r->tokens, r->width, 3);
    if (status == VJ_OK) status = vj_strip_create(&strip, r->crop, n < PNG_COLUMNS ? n : PNG_COLUMNS, 2 * e->n_shown);
    if (status == VJ_OK) status = draw_all(e, &strip, &pca, colours);
    vj_strip_free(&strip);
    vj_pca_free(&pca);
    vj_host_free(all);
    vj_host_free(colours);
    return status;
}

// ---- all --------------------------------------------------------------------------------------------------------------
static vj_status run(encoder *e)
{
    VJ_TRY(prepare(e));
    VJ_TRY(vj_features_spool_open(&e->spool, e->request, e->result));
    for (int i = 0; i < e->request->n_videos; i++) VJ_TRY(encode_video(e, i));
    VJ_CHECK(e->result->failed < e->request->n_videos, VJ_ERR_DATA, "none of the %d videos could be decoded (%s: %s)", e->request->n_videos, e->request->videos[0],
             e->result->videos[0].problem);
    VJ_TRY(vj_features_spool_write(&e->spool));
    if (e->request->png && e->n_shown > 0) VJ_TRY_CTX(draw(e), "drawing %s", e->request->png);
    VJ_CHECK(e->result->failed == 0, VJ_ERR_MISMATCH, "%lld of %d videos could not be decoded and are not in %s", (long long)e->result->failed,
             e->request->n_videos, e->request->out);
    return VJ_OK;
}

vj_status vj_encode(const vj_encode_request *q, vj_encode_result *result)
{
    encoder e = { .request = q, .result = result, .spool = { .fd = -1 } };
    *result = (vj_encode_result){ 0 };
    VJ_CHECK(q->crops == 1 || q->crops == 3, VJ_ERR_USAGE, "--crops %d: 1 or 3 are possible", q->crops);
    VJ_CHECK(vj_str_ends(q->out, ".safetensors") || vj_str_ends(q->out, ".h5"), VJ_ERR_USAGE, "--out %s: a name ending in .safetensors or .h5 was expected", q->out);
    for (int i = 0; i < q->n_videos; i++) {
        for (int k = 0; k < i; k++) VJ_CHECK(strcmp(q->videos[i], q->videos[k]) != 0, VJ_ERR_USAGE, "%s is named twice", q->videos[i]);
    }
    result->videos = calloc((size_t)q->n_videos + 1, sizeof *result->videos);
    VJ_CHECK(result->videos != NULL, VJ_ERR_NOMEM, "no memory for a list of videos");
    const vj_status status = run(&e);
    vj_features_spool_close(&e.spool);
    for (int i = 0; i < e.n_shown; i++) {
        vj_host_free(e.shown[i].pixels);
        vj_host_free(e.shown[i].features);
    }
    vj_host_free(e.features);
    vj_host_free(e.packed);
    vj_vjepa_destroy(&e.model);
    vj_device_close(&e.device);
    vj_model_source_close(&e.source);
    return status;
}
