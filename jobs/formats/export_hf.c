// Hugging Face's folder of VJEPA2Model (spec/pretrain.md 9.2).

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/names.h"
#include "checkpoints/safetensors.h"
#include "jobs/formats/formats.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

static const int64_t file_bytes = INT64_C(5000000000);

// One tensor of the export: elements [first, first + count) of an official one.
typedef struct out_tensor {
    char name[160], official[120];
    int rank, file;
    int64_t shape[VJ_MAX_RANK], first, count;
} out_tensor;

typedef struct exporter {
    vj_model_source *source;
    const vj_export_options *options;
    char dir[700];                 // temporary
    out_tensor *list;
    int64_t n, capacity;
    int files;
    float *values;                 // one official tensor
    char held[160];                // which one it is
} exporter;

// HF computes int(width * ratio): the double that gives the right whole number.
static double ratio_of(int64_t hidden, int64_t width)
{
    double ratio = (double)hidden / (double)width;
    while ((int64_t)((double)width * ratio) < hidden) ratio = nextafter(ratio, INFINITY);
    return ratio;
}

static vj_status write_config(const exporter *x)
{
    const vj_model_config *m = &x->source->model;
    char path[760];
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_begin_array(&w, "architectures");
    vj_json_put_text(&w, NULL, "VJEPA2Model");
    vj_json_end_array(&w);
    vj_json_put_text(&w, "model_type", "vjepa2");
    const struct {
        const char *key;
        int64_t v;
    } numbers[] = {
        { "patch_size", m->patch },
        { "tubelet_size", m->tubelet },
        { "crop_size", x->source->crop > 0 ? x->source->crop : 256 },
        { "frames_per_clip", x->source->frames > 0 ? x->source->frames : 64 },
        { "in_chans", 3 },
        { "hidden_size", m->width },
        { "num_attention_heads", m->heads },
        { "num_hidden_layers", m->depth },
        { "pred_hidden_size", m->pred_width },
        { "pred_num_attention_heads", m->pred_heads },
        { "pred_num_hidden_layers", m->pred_depth },
        { "pred_num_mask_tokens", x->source->mask_tokens },
        { "num_pooler_layers", 3 },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) vj_json_put_i64(&w, numbers[i].key, numbers[i].v);
    vj_json_put_f64(&w, "mlp_ratio", ratio_of(m->hidden, m->width));
    vj_json_put_f64(&w, "pred_mlp_ratio", 4.0);
    vj_json_put_f64(&w, "layer_norm_eps", 1e-6);
    vj_json_put_f64(&w, "initializer_range", 0.02);
    vj_json_put_f64(&w, "drop_path_rate", 0.0);
    vj_json_put_f64(&w, "attention_dropout", 0.0);
    vj_json_put_f64(&w, "attention_probs_dropout_prob", 0.0);
    vj_json_put_bool(&w, "qkv_bias", true);
    vj_json_put_bool(&w, "pred_zero_init_mask_tokens", true);
    vj_json_put_text(&w, "hidden_act", "gelu");
    vj_json_put_text(&w, "torch_dtype", "float32");
    vj_json_end_object(&w);
    vj_str_add(&w.out, "\n");
    vj_path_join(path, sizeof path, x->dir, "config.json");
    const vj_status status = vj_file_write_atomic(path, vj_str_text(&w.out), w.out.length);
    vj_json_writer_free(&w);
    return status;
}

// ---- what is written
// --------------------------------------------------------------------------------------------------
static vj_status add(exporter *x, const char *name, const vj_weight *from, int rank, const int64_t *shape,
                     int64_t first, int64_t count)
{
    if (x->n == x->capacity) {
        const int64_t n = x->capacity > 0 ? 2 * x->capacity : 1024;
        out_tensor *grown = realloc(x->list, (size_t)n * sizeof *grown);
        VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory for a list of tensors");
        x->list = grown;
        x->capacity = n;
    }
    out_tensor *t = &x->list[x->n++];
    *t = (out_tensor){ .rank = rank, .first = first, .count = count };
    vj_format(t->name, sizeof t->name, "%s", name);
    vj_format(t->official, sizeof t->official, "%s", from->name);
    memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
    return VJ_OK;
}

static bool is_token(const char *name) { return strncmp(name, "predictor.mask_tokens.", 22) == 0; }

// `w` of the exported networks, in the official order of names.
static vj_status add_weight(exporter *x, const vj_weight *w)
{
    static const vj_hf_part parts[] = { VJ_HF_WHOLE, VJ_HF_QUERY, VJ_HF_KEY, VJ_HF_VALUE };
    char name[160], official[160];
    const char *dot = strchr(w->name, '.');
    const bool encoder = strncmp(w->name, "predictor.", 10) != 0;
    vj_format(official, sizeof official, "%s%s", encoder ? "encoder" : "predictor", dot);   // HF has one encoder
    if (vj_hf_from_official(official, VJ_HF_WHOLE, name)) return add(x, name, w, w->rank, w->shape, 0, w->count);
    bool found = false;
    for (int third = 0; third < 3; third++) {
        if (!vj_hf_from_official(official, parts[third + 1], name)) continue;
        const int64_t shape[2] = { w->shape[0] / 3, w->rank == 2 ? w->shape[1] : 1 };
        found = true;
        VJ_TRY(add(x, name, w, w->rank, shape, third * (w->count / 3), w->count / 3));
    }
    VJ_CHECK(found, VJ_ERR_CONFIG, "tensor %s has no name in Hugging Face's format", w->name);
    return VJ_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const out_tensor *)a)->name, ((const out_tensor *)b)->name);
}

static vj_status make_list(exporter *x)
{
    const size_t n = strlen(x->options->network);
    for (int64_t i = 0; i < vj_weights_count(x->source->weights); i++) {
        const vj_weight *w = vj_weights_at(x->source->weights, i);
        const bool encoder = strncmp(w->name, x->options->network, n) == 0 && w->name[n] == '.';
        if ((encoder || strncmp(w->name, "predictor.", 10) == 0) && !is_token(w->name)) VJ_TRY(add_weight(x, w));
    }
    // The stack of mask tokens, put together from one tensor each.
    const int64_t q = x->source->model.pred_width, tokens = x->source->mask_tokens;
    const vj_weight stack = { .name = "predictor.mask_tokens", .count = tokens * q };
    char name[160];
    (void)vj_hf_from_official("predictor.mask_tokens", VJ_HF_TOKENS, name);
    VJ_TRY(add(x, name, &stack, 4, (const int64_t[]){ tokens, 1, 1, q }, 0, tokens * q));
    qsort(x->list, (size_t)x->n, sizeof *x->list, by_name);
    int64_t bytes = 0;
    const int64_t most = x->options->file_bytes > 0 ? x->options->file_bytes : file_bytes;
    for (int64_t i = 0; i < x->n; i++) {
        const int64_t more = x->list[i].count * 4;
        if (bytes > 0 && bytes + more > most) {
            x->files++;
            bytes = 0;
        }
        x->list[i].file = x->files;
        bytes += more;
    }
    x->files++;
    return VJ_OK;
}

static vj_status fill_tokens(exporter *x)
{
    const int64_t q = x->source->model.pred_width, n = x->source->mask_tokens;
    for (int64_t i = 0; i < n; i++) {
        int64_t from = i;
        if (x->options->swap_mask_token && i < 2) from = 1 - i;
        char name[64];
        vj_format(name, sizeof name, "predictor.mask_tokens.%lld", (long long)from);
        VJ_TRY(vj_weights_read(x->source->weights, name, VJ_STATE_PARAM, x->values + i * q, q));
    }
    return VJ_OK;
}

static vj_status values_of(exporter *x, const out_tensor *t, const float **out)
{
    if (strcmp(t->official, x->held) != 0) {
        if (strcmp(t->official, "predictor.mask_tokens") == 0) VJ_TRY(fill_tokens(x));
        else
            VJ_TRY(vj_weights_read(x->source->weights, t->official, VJ_STATE_PARAM, x->values,
                                   vj_weights_find(x->source->weights, t->official)->count));
        vj_format(x->held, sizeof x->held, "%s", t->official);
    }
    *out = x->values + t->first;
    return VJ_OK;
}

static void file_name(char out[64], const exporter *x, int file)
{
    if (x->files == 1) vj_format(out, 64, "model.safetensors");
    else vj_format(out, 64, "model-%05d-of-%05d.safetensors", file + 1, x->files);
}

static vj_status write_file(exporter *x, int file)
{
    char name[64], path[800];
    vj_st_writer *w = NULL;
    file_name(name, x, file);
    vj_path_join(path, sizeof path, x->dir, name);
    VJ_TRY(vj_st_writer_create(&w, path));
    vj_status status = vj_st_writer_meta(w, "format", "pt");
    for (int64_t i = 0; i < x->n && status == VJ_OK; i++) {
        const out_tensor *t = &x->list[i];
        if (t->file == file) status = vj_st_writer_declare(w, t->name, VJ_F32, t->rank, t->shape);
    }
    for (int64_t i = 0; i < x->n && status == VJ_OK; i++) {
        const float *values = NULL;
        if (x->list[i].file != file) continue;
        status = values_of(x, &x->list[i], &values);
        if (status == VJ_OK) status = vj_st_writer_data(w, values, (size_t)x->list[i].count * sizeof *values);
    }
    if (status == VJ_OK) status = vj_st_writer_finish(&w);
    vj_st_writer_abandon(&w);
    return status;
}

static vj_status write_index(const exporter *x)
{
    char path[800], name[64];
    int64_t bytes = 0;
    vj_json_writer w = { .pretty = true };
    for (int64_t i = 0; i < x->n; i++) bytes += x->list[i].count * 4;
    vj_json_begin_object(&w, NULL);
    vj_json_begin_object(&w, "metadata");
    vj_json_put_i64(&w, "total_size", bytes);
    vj_json_end_object(&w);
    vj_json_begin_object(&w, "weight_map");
    for (int64_t i = 0; i < x->n; i++) {
        file_name(name, x, x->list[i].file);
        vj_json_put_text(&w, x->list[i].name, name);
    }
    vj_json_end_object(&w);
    vj_json_end_object(&w);
    vj_str_add(&w.out, "\n");
    vj_path_join(path, sizeof path, x->dir, "model.safetensors.index.json");
    const vj_status status = vj_file_write_atomic(path, vj_str_text(&w.out), w.out.length);
    vj_json_writer_free(&w);
    return status;
}

static vj_status write_all(exporter *x)
{
    int64_t largest = x->source->mask_tokens * x->source->model.pred_width;
    for (int64_t i = 0; i < vj_weights_count(x->source->weights); i++) {
        const int64_t n = vj_weights_at(x->source->weights, i)->count;
        largest = n > largest ? n : largest;
    }
    VJ_TRY(make_list(x));
    VJ_TRY(vj_host_alloc(&x->values, (size_t)largest * sizeof *x->values, "a tensor"));
    VJ_TRY(vj_dir_create(x->dir));
    VJ_TRY(write_config(x));
    for (int f = 0; f < x->files; f++) VJ_TRY(write_file(x, f));
    return x->files > 1 ? write_index(x) : VJ_OK;
}

vj_status vj_export_hf(vj_model_source *source, const char *dir, const vj_export_options *options)
{
    exporter x = { .source = source, .options = options };
    VJ_CHECK(strlen(dir) < 600, VJ_ERR_USAGE, "--out: the path is too long");
    VJ_CHECK(!vj_path_exists(dir), VJ_ERR_USAGE, "%s: exists already; name a new folder", dir);
    VJ_CHECK(source->model.rope_layout == VJ_ROPE_TILED, VJ_ERR_CONFIG,
             "model.rope_layout: interleaved cannot be said in Hugging Face's format of V-JEPA 2; its model would "
             "compute other features");
    VJ_CHECK(source->mask_tokens > 0, VJ_ERR_CONFIG, "%s: has no predictor, which this format wants",
             vj_weights_facts_of(source->weights)->path);
    VJ_CHECK(!options->swap_mask_token || source->mask_tokens >= 2, VJ_ERR_CONFIG,
             "--swap-mask-token: there is only one mask token");
    vj_format(x.dir, sizeof x.dir, "%s.tmp-%d", dir, (int)getpid());
    VJ_TRY(vj_dir_remove(x.dir));
    vj_status status = write_all(&x);
    if (status == VJ_OK) status = vj_io_fsync_dir(x.dir);
    if (status == VJ_OK) status = vj_io_rename(x.dir, dir);
    vj_host_free(x.values);
    free(x.list);
    if (status == VJ_OK) return VJ_OK;
    char text[2048];
    snprintf(text, sizeof text, "%s", vj_error_text());
    if (vj_dir_remove(x.dir) != VJ_OK) vj_error_clear();
    return vj_fail_text(status, text);
}
