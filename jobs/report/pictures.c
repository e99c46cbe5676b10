// Pictures of held-out clips: masks drawn over the frames, and what patch features look like at several checkpoints.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checkpoint.h"
#include "configs/run_config.h"
#include "data/loader.h"
#include "evals/pca.h"
#include "evals/strip.h"
#include "jobs/report/report_impl.h"
#include "model/vjepa.h"
#include "runtime/base/file.h"
#include "runtime/base/png.h"
#include "runtime/base/thread.h"

enum { CLIPS_MAX = 4, COLUMNS = 8, CHECKPOINTS_MAX = 6 };

// A clip of the held-out windows with its masks, copied out of the loader.
typedef struct clip {
    float *pixels;                // (3, F, side, side) normalised
    int32_t *ctx[VJ_MAX_MASKS], *tgt[VJ_MAX_MASKS];
    int64_t K[VJ_MAX_MASKS], P[VJ_MAX_MASKS], F;
    int n_pairs;
    char file[256];
} clip;

typedef struct studio {
    vj_run_config config;         // of the run's last stage
    int64_t side, patch, tubelet;
    clip clips[CLIPS_MAX];
    int n;
    vj_strip strip;               // one row, drawn over and over
} studio;

static void free_studio(studio *s)
{
    for (int i = 0; i < s->n; i++) {
        vj_host_free(s->clips[i].pixels);
        for (int p = 0; p < VJ_MAX_MASKS; p++) {
            vj_host_free(s->clips[i].ctx[p]);
            vj_host_free(s->clips[i].tgt[p]);
        }
    }
    vj_strip_free(&s->strip);
}

static vj_status copy(void *out, const void *from, size_t bytes)
{
    VJ_TRY(vj_host_alloc(out, bytes, "a clip for pictures"));
    memcpy(*(void **)out, from, bytes);
    return VJ_OK;
}

static vj_status take_clip(studio *s, const vj_clip_group *g, int64_t b, const char *file)
{
    clip *c = &s->clips[s->n++];
    const int64_t pixels = 3 * g->F * g->height * g->width;
    c->F = g->F;
    c->n_pairs = g->n_pairs;
    snprintf(c->file, sizeof c->file, "%s", file);
    VJ_TRY(copy(&c->pixels, (const float *)g->clips + b * pixels, (size_t)pixels * sizeof(float)));
    for (int p = 0; p < g->n_pairs; p++) {
        c->K[p] = g->pairs[p].K;
        c->P[p] = g->pairs[p].P;
        VJ_TRY(copy(&c->ctx[p], g->pairs[p].ctx + b * c->K[p], (size_t)c->K[p] * sizeof(int32_t)));
        VJ_TRY(copy(&c->tgt[p], g->pairs[p].tgt + b * c->P[p], (size_t)c->P[p] * sizeof(int32_t)));
    }
    return VJ_OK;
}

// Clips of different files where there are some.
static vj_status take_clips(studio *s, vj_loader *loader, int64_t want)
{
    for (int round = 0; round < 24 && s->n < want; round++) {
        const vj_batch *batch = NULL;
        VJ_TRY(vj_loader_next(loader, &batch));
        int64_t index = 0;
        vj_status status = VJ_OK;
        for (int i = 0; i < batch->n_slots && status == VJ_OK; i++) {
            for (int k = 0; k < batch->slots[i].n_groups && status == VJ_OK; k++) {
                const vj_clip_group *g = &batch->slots[i].groups[k];
                for (int64_t b = 0; b < g->B && status == VJ_OK && s->n < want; b++) {
                    vj_sample_origin origin = { 0 };
                    status = VJ_OK;
                    for (index = 0; index < batch->samples && status == VJ_OK; index++) {
                        status = vj_loader_origin(loader, batch, index, &origin);
                        if (status == VJ_OK && origin.g == g->g[b]) break;
                    }
                    bool seen = status != VJ_OK || origin.image || g->dtype != VJ_F32;
                    for (int n = 0; n < s->n && round < 12; n++) seen = seen || strncmp(s->clips[n].file, origin.file, 255) == 0;
                    if (status == VJ_OK && !seen) status = take_clip(s, g, b, origin.file);
                }
            }
        }
        vj_loader_release(loader, batch);
        VJ_TRY(status);
    }
    return VJ_OK;
}

static vj_status open_studio(studio *s, const vj_report_run *run, int64_t want)
{
    char path[640];
    vj_config *origins = NULL;
    vj_run_config whole;
    vj_path_join(path, sizeof path, run->path, "config.yaml");
    VJ_TRY(vj_run_config_load(&whole, &origins, path, NULL, 0));
    vj_config_destroy(&origins);
    s->config = vj_stage_config(&whole, vj_stage_count(&whole) - 1);
    const vj_run_config *c = &s->config;
    s->side = c->data.crop;
    s->patch = c->model.patch;
    s->tubelet = c->model.tubelet;
    const vj_loader_stage stage = { .seed = (uint64_t)c->train.seed, .batch = c->mask.group, .slot = c->mask.group, .crop = s->side, .tubelet = s->tubelet,
                                    .patch = s->patch, .fpc = c->data.fpc, .fps = c->data.fps, .world = 1, .threads = 1, .held_out = true };
    vj_data_summary data;
    VJ_TRY(vj_data_summary_read(c->data.dir, &data));
    VJ_CHECK(data.held_out > 0, VJ_ERR_CONFIG, "%s has no held-out windows", c->data.dir);
    vj_loader *loader = NULL;
    VJ_TRY(vj_loader_open(&loader, &c->data, &c->mask, &stage, NULL, NULL));
    const vj_status status = take_clips(s, loader, want);
    vj_loader_close(&loader);
    VJ_TRY(status);
    VJ_CHECK(s->n > 0, VJ_ERR_DATA, "no held-out clip could be read");
    const int64_t tubelets = s->clips[0].F / s->tubelet;
    return vj_strip_create(&s->strip, s->side, tubelets < COLUMNS ? tubelets : COLUMNS, 1);
}

// The tubelet that column `k` shows.
static int64_t tubelet_of(const studio *s, const clip *c, int64_t k)
{
    const int64_t n = c->F / s->tubelet;
    return s->strip.columns > 1 ? k * (n - 1) / (s->strip.columns - 1) : 0;
}

static void draw_frame(studio *s, const clip *c, int64_t column)
{
    vj_strip_frame(&s->strip, 0, column, c->pixels, c->F, tubelet_of(s, c, column) * s->tubelet, s->side);
}

// kind (tokens): 0 neither (grey), 1 context (clear), 2 target (blue).
static void shade(studio *s, const clip *c, int64_t column, const unsigned char *kind, unsigned char *tint)
{
    static const unsigned char of_kind[3][4] = { { 128, 128, 128, 153 }, { 0, 0, 0, 0 }, { 20, 60, 140, 199 } };
    const int64_t grid = s->side / s->patch, first = tubelet_of(s, c, column) * grid * grid;
    for (int64_t i = 0; i < grid * grid; i++) memcpy(tint + 4 * i, of_kind[kind[first + i]], 4);
    vj_strip_tint(&s->strip, 0, column, tint, grid);
}

static vj_status put_picture(vj_str *out, const studio *s, const char *caption, bool pixelated)
{
    vj_str png = { 0 };
    vj_status status = vj_png_encode(s->strip.rgb, s->strip.width, s->strip.height, &png);
    if (status == VJ_OK) {
        vj_str_add(out, "<p class=\"soft\">");
        vj_html_text(out, caption);
        vj_str_printf(out, "</p><img%s width=\"%lld\" height=\"%lld\" alt=\"", pixelated ? " class=\"px\"" : "", (long long)s->strip.width, (long long)s->strip.height);
        vj_html_text(out, caption);
        vj_str_add(out, "\" src=\"data:image/png;base64,");
        vj_base64(out, png.data, png.length);
        vj_str_add(out, "\">\n");
    }
    vj_str_free(&png);
    return status;
}

static vj_status put_masks(vj_str *out, studio *s, const clip *c)
{
    const int64_t grid = s->side / s->patch, N = c->F / s->tubelet * grid * grid;
    for (int p = 0; p < c->n_pairs; p++) {
        unsigned char *kind = NULL;   // of every token, and behind it the tints of one tubelet
        char caption[200];
        VJ_TRY(vj_host_alloc(&kind, (size_t)(N + 4 * grid * grid), "a mask"));
        for (int64_t i = 0; i < c->K[p]; i++) kind[c->ctx[p][i]] = 1;
        for (int64_t i = 0; i < c->P[p]; i++) kind[c->tgt[p][i]] = 2;
        vj_strip_clear(&s->strip);
        for (int64_t k = 0; k < s->strip.columns; k++) {
            draw_frame(s, c, k);
            shade(s, c, k, kind, kind + N);
        }
        vj_host_free(kind);
        vj_format(caption, sizeof caption, "mask %d: %lld context tokens (clear), %lld to predict (blue), %lld of neither (grey)", p + 1, (long long)c->K[p],
                  (long long)c->P[p], (long long)(N - c->K[p] - c->P[p]));
        VJ_TRY(put_picture(out, s, caption, false));
    }
    return VJ_OK;
}

// ---- features ---------------------------------------------------------------------------------------------------------
typedef struct look { int64_t step; float *features[CLIPS_MAX]; } look;   // (N, C) each

static vj_status load_encoder(vj_vjepa *m, const vj_checkpoint *c)
{
    const vj_layout *l = vj_vjepa_layout(m, VJ_TARGET_ENCODER);
    int64_t largest = 0;
    for (int p = 0; p < l->n_params; p++) largest = l->params[p].count > largest ? l->params[p].count : largest;
    float *values = NULL;
    double *wide = NULL;
    VJ_TRY(vj_host_alloc(&values, (size_t)largest * sizeof *values, "a parameter"));
    vj_status status = vj_host_alloc(&wide, (size_t)largest * sizeof *wide, "a parameter");
    for (int p = 0; p < l->n_params && status == VJ_OK; p++) {
        char name[128];
        vj_format(name, sizeof name, "target_encoder.%s", l->params[p].name);
        status = vj_checkpoint_read_param(c, name, VJ_STATE_PARAM, values, l->params[p].count);
        for (int64_t i = 0; i < l->params[p].count && status == VJ_OK; i++) wide[i] = values[i];
        if (status == VJ_OK) status = vj_vjepa_set_param(m, VJ_TARGET_ENCODER, VJ_BUF_PARAM, p, wide);
    }
    vj_host_free(values);
    vj_host_free(wide);
    return status;
}

static vj_status look_at(const studio *s, vj_vjepa *m, const char *path, look *out)
{
    vj_checkpoint *c = NULL;
    const int64_t grid = s->side / s->patch, C = vj_model_width(m);
    const int last = (int)s->config.model.depth - 1;
    VJ_TRY(vj_checkpoint_open(&c, path, false));
    vj_status status = load_encoder(m, c);
    vj_checkpoint_destroy(&c);
    for (int i = 0; i < s->n && status == VJ_OK; i++) {
        const clip *k = &s->clips[i];
        const int64_t N = k->F / s->tubelet * grid * grid;
        int64_t rows;
        vj_slot slot = { .n_groups = 1 };
        slot.groups[0] = (vj_clip_group){ .B = 1, .F = k->F, .height = s->side, .width = s->side, .clips = k->pixels, .dtype = VJ_F32 };
        status = vj_host_alloc(&out->features[i], (size_t)(N * C) * sizeof(float), "features");
        if (status == VJ_OK) status = vj_vjepa_features(m, VJ_TARGET_ENCODER, &slot, &last, 1, out->features[i], N, &rows);
    }
    return status;
}

static vj_status put_features(vj_str *out, studio *s, const look *l, const vj_pca *pca, int i)
{
    const clip *c = &s->clips[i];
    const int64_t grid = s->side / s->patch, N = c->F / s->tubelet * grid * grid;
    unsigned char *rgb = NULL;
    char caption[64];
    VJ_TRY(vj_host_alloc(&rgb, (size_t)(3 * N), "colours"));
    vj_status status = vj_pca_rgb(pca, l->features[i], N, rgb);
    vj_strip_clear(&s->strip);
    for (int64_t k = 0; k < s->strip.columns && status == VJ_OK; k++) {
        vj_strip_tokens(&s->strip, 0, k, rgb + 3 * tubelet_of(s, c, k) * grid * grid, grid);
    }
    vj_host_free(rgb);
    VJ_TRY(status);
    vj_format(caption, sizeof caption, "features at step %lld", (long long)l->step);
    return put_picture(out, s, caption, true);
}

static vj_status fit_last(const studio *s, const look *l, int64_t C, vj_pca *pca)
{
    const int64_t grid = s->side / s->patch;
    int64_t rows = 0, at = 0;
    float *all = NULL;
    for (int i = 0; i < s->n; i++) rows += s->clips[i].F / s->tubelet * grid * grid;
    VJ_TRY(vj_host_alloc(&all, (size_t)(rows * C) * sizeof *all, "features"));
    for (int i = 0; i < s->n; i++) {
        const int64_t n = s->clips[i].F / s->tubelet * grid * grid;
        memcpy(all + at * C, l->features[i], (size_t)(n * C) * sizeof *all);
        at += n;
    }
    const vj_status status = vj_pca_fit(pca, all, rows, C, 3);
    vj_host_free(all);
    return status;
}

static vj_status look_at_all(studio *s, const char *run, int64_t want, int threads, look *looks, int *n, vj_pca *pca)
{
    vj_checkpoint_info *list = NULL;
    int64_t count = 0, good = 0;
    VJ_TRY(vj_checkpoint_list(run, &list, &count));
    for (int64_t i = 0; i < count; i++) {
        if (list[i].valid) list[good++] = list[i];
    }
    vj_status status = VJ_OK;
    vj_device *device = NULL;
    vj_vjepa *m = NULL;
    int64_t frames = 0;
    for (int i = 0; i < s->n; i++) frames = s->clips[i].F > frames ? s->clips[i].F : frames;
    const vj_slot_bound bound = { .clips = 1, .F = frames, .height = s->side, .width = s->side };
    if (good == 0) status = vj_fail(VJ_ERR_CONFIG, "%s has no checkpoint that can be read", run);
    if (status == VJ_OK) status = vj_device_open(&device, "cpu", threads);
    if (status == VJ_OK) status = vj_vjepa_create_encoder(&m, &s->config.model, device, &bound);
    if (want > good) want = good;
    for (int64_t k = 0; k < want && status == VJ_OK; k++) {
        const int64_t at = want > 1 ? k * (good - 1) / (want - 1) : good - 1;
        looks[*n].step = list[at].step;
        status = look_at(s, m, list[at].path, &looks[(*n)++]);
    }
    if (status == VJ_OK) status = fit_last(s, &looks[*n - 1], vj_model_width(m), pca);
    vj_vjepa_destroy(&m);
    vj_device_close(&device);
    free(list);
    return status;
}

// What cannot be had is named in the page instead.
static void leave_out(vj_report_run *run, const char *what)
{
    char first[300];   // of a long message its first line
    snprintf(first, sizeof first, "%.299s", vj_error_text());
    first[strcspn(first, "\n")] = '\0';
    vj_str_printf(&run->missing, "%s: %s.\n", what, first);
    vj_error_clear();
}

vj_status vj_report_pictures(vj_str *out, vj_report_run *run, const vj_report_request *request)
{
    studio s = { 0 };
    look looks[CHECKPOINTS_MAX] = { 0 };
    vj_pca pca = { 0 };
    int n = 0;
    const int64_t clips = request->clips < CLIPS_MAX ? request->clips : CLIPS_MAX;
    const int64_t want = request->checkpoints < CHECKPOINTS_MAX ? request->checkpoints : CHECKPOINTS_MAX;
    vj_status status = open_studio(&s, run, clips);
    if (status != VJ_OK) {
        leave_out(run, "There are no pictures");
        free_studio(&s);
        return VJ_OK;
    }
    if (want > 0 && look_at_all(&s, run->path, want, request->threads > 0 ? request->threads : vj_cpu_count(), looks, &n, &pca) != VJ_OK) {
        leave_out(run, "There are no pictures of features");
        n = 0;
    }
    vj_str_add(out, "<h2>Held-out video: ");
    vj_html_text(out, run->label);
    vj_str_add(out, "</h2><p class=\"soft\">One frame of each tubelet. Masks are what training asks for: the model sees the clear patches and predicts the features of "
                    "the blue ones.");
    if (n > 0) {
        vj_str_printf(out, " Features: the first three principal components of the last checkpoint's patch features (%.0f %% of their variance) as red, green and "
                           "blue, the same directions at every checkpoint. Patches that look alike to the model have like colours.",
                      100 * (pca.share[0] + pca.share[1] + pca.share[2]));
    }
    vj_str_add(out, "</p>\n<div class=\"grid\">\n");
    for (int i = 0; i < s.n && status == VJ_OK; i++) {
        vj_str_add(out, "<div><h3>");
        vj_html_text(out, s.clips[i].file);
        vj_str_add(out, "</h3>");
        vj_strip_clear(&s.strip);
        for (int64_t k = 0; k < s.strip.columns; k++) draw_frame(&s, &s.clips[i], k);
        status = put_picture(out, &s, "as the model sees it (crop, perhaps mirrored)", false);
        if (status == VJ_OK) status = put_masks(out, &s, &s.clips[i]);
        for (int k = 0; k < n && status == VJ_OK; k++) status = put_features(out, &s, &looks[k], &pca, i);
        vj_str_add(out, "</div>\n");
    }
    vj_str_add(out, "</div>\n");
    for (int k = 0; k < CHECKPOINTS_MAX; k++) {
        for (int i = 0; i < CLIPS_MAX; i++) vj_host_free(looks[k].features[i]);
    }
    vj_pca_free(&pca);
    free_studio(&s);
    return status;
}
