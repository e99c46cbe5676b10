#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/safetensors.h"
#include "evals/encode_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/h5.h"
#include "runtime/base/str.h"

enum { BLOCK = 1 << 20 };

vj_status vj_features_spool_open(vj_features_spool *s, const vj_encode_request *request, const vj_encode_result *result)
{
    *s = (vj_features_spool){ .request = request, .result = result, .fd = -1 };
    VJ_CHECK(strlen(request->out) < 1000, VJ_ERR_USAGE, "--out: the path is too long");
    vj_format(s->path, sizeof s->path, "%s.spool-%d", request->out, (int)getpid());
    s->videos = calloc((size_t)request->n_videos + 1, sizeof *s->videos);
    VJ_CHECK(s->videos != NULL, VJ_ERR_NOMEM, "no memory for a list of videos");
    VJ_TRY(vj_io_create(&s->fd, s->path));
    (void)unlink(s->path);   // gone with this process, however it ends
    return VJ_OK;
}

void vj_features_spool_close(vj_features_spool *s)
{
    vj_io_close(&s->fd);
    for (int i = 0; i < s->n; i++) free(s->videos[i].times);
    free(s->videos);
    s->videos = NULL;
    s->n = 0;
}

vj_status vj_features_spool_begin(vj_features_spool *s, const char *video)
{
    s->videos[s->n++] = (vj_spooled){ .path = video, .offset = s->bytes };
    return VJ_OK;
}

vj_status vj_features_spool_add(vj_features_spool *s, const float *values, int64_t n, double start, double end)
{
    vj_spooled *v = &s->videos[s->n - 1];
    if (v->clips == v->capacity) {
        const int64_t capacity = v->capacity > 0 ? 2 * v->capacity : 64;
        double *grown = realloc(v->times, (size_t)(2 * capacity) * sizeof *grown);
        VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory for the times of clips");
        v->times = grown;
        v->capacity = capacity;
    }
    VJ_TRY(vj_io_pwrite(s->fd, values, (size_t)n * sizeof *values, (off_t)s->bytes, s->path));
    s->bytes += n * (int64_t)sizeof *values;
    v->times[2 * v->clips] = start;
    v->times[2 * v->clips + 1] = end;
    v->clips++;
    v->floats += n;
    return VJ_OK;
}

int64_t vj_features_spool_clips(const vj_features_spool *s) { return s->videos[s->n - 1].clips; }

vj_status vj_features_spool_drop(vj_features_spool *s)
{
    vj_spooled *v = &s->videos[--s->n];
    free(v->times);
    s->bytes = v->offset;
    VJ_CHECK(ftruncate(s->fd, (off_t)s->bytes) == 0, VJ_ERR_IO, "%s: cannot be cut: %s", s->path, strerror(errno));
    return VJ_OK;
}

static void layers_text(const vj_features_spool *s, char *out, size_t size)
{
    out[0] = '\0';
    for (int i = 0; i < s->result->n_layers; i++) {
        const size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%d", i ? "," : "", s->result->layers[i]);
    }
}

// ---- safetensors ------------------------------------------------------------------------------------------------------
static vj_status meta_number(vj_st_writer *w, const char *key, double v)
{
    char text[32];
    vj_format(text, sizeof text, "%.17g", v);
    return vj_st_writer_meta(w, key, text);
}

static vj_status describe(const vj_features_spool *s, vj_st_writer *w)
{
    const vj_encode_request *q = s->request;
    const vj_encode_result *r = s->result;
    char layers[512];
    layers_text(s, layers, sizeof layers);
    VJ_TRY(vj_st_writer_meta(w, "checkpoint", r->source));
    VJ_TRY(vj_st_writer_meta(w, "network", q->network));
    VJ_TRY(vj_st_writer_meta(w, "model", r->model));
    VJ_TRY(vj_st_writer_meta(w, "layers", layers));
    VJ_TRY(vj_st_writer_meta(w, "pool", q->pool ? "mean" : "none"));
    VJ_TRY(meta_number(w, "frames", (double)r->frames));
    VJ_TRY(meta_number(w, "fps", r->fps));
    VJ_TRY(meta_number(w, "crop", (double)r->crop));
    return meta_number(w, "crops", q->crops);
}

static vj_status declare(const vj_features_spool *s, vj_st_writer *w)
{
    for (int i = 0; i < s->n; i++) {
        const vj_spooled *v = &s->videos[i];
        char name[160];
        VJ_CHECK(strlen(v->path) < 140, VJ_ERR_USAGE, "%s: the path is too long for the name of a tensor (140 bytes); give it from a nearer folder", v->path);
        const int64_t whole[] = { v->clips, s->request->crops, s->result->n_layers, s->result->tokens, s->result->width };
        const int64_t pooled[] = { v->clips, s->request->crops, s->result->n_layers, s->result->width };
        vj_format(name, sizeof name, "%s/features", v->path);
        VJ_TRY(vj_st_writer_declare(w, name, VJ_F32, s->request->pool ? 4 : 5, s->request->pool ? pooled : whole));
        vj_format(name, sizeof name, "%s/times", v->path);
        VJ_TRY(vj_st_writer_declare(w, name, VJ_F64, 2, (const int64_t[]){ v->clips, 2 }));
    }
    return VJ_OK;
}

static vj_status write_safetensors(const vj_features_spool *s, vj_st_writer *w, float *block)
{
    VJ_TRY(describe(s, w));
    VJ_TRY(declare(s, w));
    for (int i = 0; i < s->n; i++) {
        const vj_spooled *v = &s->videos[i];
        const int64_t bytes = v->floats * (int64_t)sizeof(float);
        for (int64_t at = 0; at < bytes; at += BLOCK) {
            const size_t n = (size_t)(bytes - at < BLOCK ? bytes - at : BLOCK);
            VJ_TRY(vj_io_pread(s->fd, block, n, (off_t)(v->offset + at), s->path));
            VJ_TRY(vj_st_writer_part(w, block, n));
        }
        VJ_TRY(vj_st_writer_data(w, v->times, (size_t)(2 * v->clips) * sizeof *v->times));
    }
    return VJ_OK;
}

// ---- HDF5 -------------------------------------------------------------------------------------------------------------
static vj_status put_attributes(const vj_features_spool *s, vj_h5 *f)
{
    char text[512];
    layers_text(s, text, sizeof text);
    VJ_TRY(vj_h5_put_text(f, "/", "layers", text));
    VJ_TRY(vj_h5_put_text(f, "/", "checkpoint", s->result->source));
    VJ_TRY(vj_h5_put_text(f, "/", "network", s->request->network));
    VJ_TRY(vj_h5_put_text(f, "/", "model", s->result->model));
    VJ_TRY(vj_h5_put_text(f, "/", "pool", s->request->pool ? "mean" : "none"));
    vj_format(text, sizeof text, "%.17g", s->result->fps);
    VJ_TRY(vj_h5_put_text(f, "/", "fps", text));
    VJ_TRY(vj_h5_put_i64(f, "/", "frames", s->result->frames));
    return vj_h5_put_i64(f, "/", "crop", s->result->crop);
}

static vj_status make_datasets(const vj_features_spool *s, vj_h5 *f, int64_t *offsets)
{
    VJ_TRY(put_attributes(s, f));
    VJ_TRY(vj_h5_group(f, "/videos"));
    for (int i = 0; i < s->n; i++) {
        const vj_spooled *v = &s->videos[i];
        const int64_t tokens = s->request->pool ? 1 : s->result->tokens;
        char group[64], name[96];
        vj_format(group, sizeof group, "/videos/%05d", i);
        VJ_TRY(vj_h5_group(f, group));
        VJ_TRY(vj_h5_put_text(f, group, "path", v->path));
        VJ_TRY(vj_h5_put_i64(f, group, "clips", v->clips));
        VJ_TRY(vj_h5_put_i64(f, group, "crops", s->request->crops));
        VJ_TRY(vj_h5_put_i64(f, group, "layers", s->result->n_layers));
        VJ_TRY(vj_h5_put_i64(f, group, "tokens", tokens));
        VJ_TRY(vj_h5_put_i64(f, group, "width", s->result->width));
        vj_format(name, sizeof name, "%s/features", group);
        VJ_TRY(vj_h5_dataset(f, name, VJ_H5_F32, 2, (const int64_t[]){ v->floats / s->result->width, s->result->width }, &offsets[i]));
        vj_format(name, sizeof name, "%s/times", group);
        VJ_TRY(vj_h5_dataset(f, name, VJ_H5_F64, 2, (const int64_t[]){ v->clips, 2 }, NULL));
        VJ_TRY(vj_h5_write(f, name, v->times));
    }
    return VJ_OK;
}

static vj_status fill_h5(const vj_features_spool *s, const char *path, const int64_t *offsets, float *block)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    VJ_CHECK(fd >= 0, VJ_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    vj_status status = VJ_OK;
    for (int i = 0; i < s->n && status == VJ_OK; i++) {
        const int64_t bytes = s->videos[i].floats * (int64_t)sizeof(float);
        for (int64_t at = 0; at < bytes && status == VJ_OK; at += BLOCK) {
            const size_t n = (size_t)(bytes - at < BLOCK ? bytes - at : BLOCK);
            status = vj_io_pread(s->fd, block, n, (off_t)(s->videos[i].offset + at), s->path);
            if (status == VJ_OK) status = vj_io_pwrite(fd, block, n, (off_t)(offsets[i] + at), path);
        }
    }
    if (status == VJ_OK) status = vj_io_fsync(fd, path);
    close(fd);
    return status;
}

static vj_status write_h5(const vj_features_spool *s, float *block)
{
    char temporary[1100];
    vj_h5 *f = NULL;
    int64_t *offsets = calloc((size_t)s->n + 1, sizeof *offsets);
    VJ_CHECK(offsets != NULL, VJ_ERR_NOMEM, "no memory for a list of videos");
    vj_format(temporary, sizeof temporary, "%s.tmp-%d", s->request->out, (int)getpid());
    (void)unlink(temporary);
    vj_status status = vj_h5_create(&f, temporary);
    if (status == VJ_OK) status = make_datasets(s, f, offsets);
    if (status == VJ_OK) status = vj_h5_close(&f);
    vj_h5_abandon(&f);
    if (status == VJ_OK) status = fill_h5(s, temporary, offsets, block);
    if (status == VJ_OK) status = vj_io_rename(temporary, s->request->out);
    (void)unlink(temporary);
    free(offsets);
    return status;
}

vj_status vj_features_spool_write(vj_features_spool *s)
{
    float *block = malloc(BLOCK);
    VJ_CHECK(block != NULL, VJ_ERR_NOMEM, "no memory to write %s", s->request->out);
    vj_status status;
    if (vj_str_ends(s->request->out, ".h5")) {
        status = write_h5(s, block);
    } else {
        vj_st_writer *w = NULL;
        status = vj_st_writer_create(&w, s->request->out);
        if (status == VJ_OK) status = write_safetensors(s, w, block);
        if (status == VJ_OK) status = vj_st_writer_finish(&w);
        vj_st_writer_abandon(&w);
    }
    free(block);
    return status;
}
