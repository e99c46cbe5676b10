// safetensors files: alone, or as a folder of Hugging Face with config.json and perhaps several files behind an index.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/names.h"
#include "checkpoints/safetensors.h"
#include "checkpoints/weights_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"
#include "runtime/log/log.h"

enum { FILES_MAX = 256 };

typedef struct set {
    vj_safetensors *files[FILES_MAX];
    char names[FILES_MAX][128];
    int n;
    const vj_st_entry **tensors;   // of all files
    int *file_of;
    int64_t count;
} set;

static vj_status read_tensor(vj_weights *w, int64_t tensor, int64_t first, int64_t count, float *out)
{
    const set *s = w->file;
    const vj_st_entry *e = s->tensors[tensor];
    const size_t size = vj_dtype_size(e->dtype);
    const vj_status status = vj_convert(out, VJ_F32, (const char *)e->data + (size_t)first * size, e->dtype, count);
    vj_safetensors_forget(s->files[s->file_of[tensor]], e);
    return status;
}

static void close_set(vj_weights *w)
{
    set *s = w->file;
    if (!s) return;
    for (int i = 0; i < s->n; i++) vj_safetensors_close(&s->files[i]);
    free(s->tensors);
    free(s->file_of);
    free(s);
}

static vj_status open_set(vj_weights *w, set **out)
{
    *out = calloc(1, sizeof **out);
    VJ_CHECK(*out != NULL, VJ_ERR_NOMEM, "no memory to read %s", w->facts.path);
    w->file = *out;
    w->read = read_tensor;
    w->close = close_set;
    return VJ_OK;
}

static vj_status add_file(vj_weights *w, set *s, const char *path, const char *name)
{
    VJ_CHECK(s->n < FILES_MAX, VJ_ERR_CONFIG, "%s: more than %d files", w->facts.path, FILES_MAX);
    vj_safetensors *f = NULL;
    VJ_TRY(vj_safetensors_open(&f, path));
    snprintf(s->names[s->n], sizeof s->names[0], "%s", name);
    s->files[s->n++] = f;
    const int64_t n = vj_safetensors_count(f);
    VJ_CHECK(s->count + n <= VJ_WEIGHTS_MAX, VJ_ERR_CONFIG, "%s: more than %d tensors", w->facts.path, VJ_WEIGHTS_MAX);
    const vj_st_entry **tensors = realloc(s->tensors, (size_t)(s->count + n + 1) * sizeof *tensors);
    if (tensors) s->tensors = tensors;
    int *file_of = realloc(s->file_of, (size_t)(s->count + n + 1) * sizeof *file_of);
    if (file_of) s->file_of = file_of;
    VJ_CHECK(tensors && file_of, VJ_ERR_NOMEM, "no memory to read %s", path);
    for (int64_t i = 0; i < n; i++) {
        s->tensors[s->count] = vj_safetensors_at(f, i);
        s->file_of[s->count++] = s->n - 1;
    }
    return VJ_OK;
}

// ---- from HF's names to the official ones
// -----------------------------------------------------------------------------
static vj_weight_entry *find_entry(const vj_weights *w, const char *name)
{
    for (int64_t i = w->n - 1; i >= 0; i--) {
        if (strcmp(w->entries[i].w.name, name) == 0) return &w->entries[i];
    }
    return NULL;
}

static vj_status add_third(vj_weights *w, const char *name, const vj_st_entry *e, int third, int64_t tensor)
{
    VJ_CHECK(e->rank >= 1 && e->rank <= 2 && e->shape[0] <= ((int64_t)1 << 30), VJ_ERR_CONFIG,
             "%s: tensor '%s' is no matrix or vector", w->facts.path, e->name);
    vj_weight_entry *into = find_entry(w, name);
    if (!into) {
        const int64_t shape[2] = { 3 * e->shape[0], e->rank == 2 ? e->shape[1] : 1 };
        VJ_TRY(vj_weights_add(w, name, e->rank, shape, &into));
    }
    const int64_t count = e->rank == 2 ? e->shape[0] * e->shape[1] : e->shape[0];
    VJ_CHECK(into->w.rank == e->rank && 3 * count == into->w.count && into->w.shape[0] == 3 * e->shape[0],
             VJ_ERR_CONFIG, "%s: query, key and value of %s have different sizes", w->facts.path, name);
    VJ_CHECK(into->pieces[third].count == 0, VJ_ERR_CONFIG, "%s: tensor '%s' is there twice", w->facts.path, e->name);
    into->pieces[third] = (vj_piece){ tensor, 0, count };
    into->n_pieces++;
    return VJ_OK;
}

static vj_status add_tokens(vj_weights *w, const vj_st_entry *e, int64_t tensor)
{
    VJ_CHECK(e->rank == 4 && e->shape[1] == 1 && e->shape[2] == 1 && e->shape[0] >= 1 && e->shape[0] <= 64,
             VJ_ERR_CONFIG, "%s: tensor '%s' is no stack of mask tokens (n, 1, 1, width), n up to 64", w->facts.path,
             e->name);
    for (int64_t i = 0; i < e->shape[0]; i++) {
        char name[64];
        vj_weight_entry *token = NULL;
        vj_format(name, sizeof name, "predictor.mask_tokens.%lld", (long long)i);
        VJ_TRY(vj_weights_add(w, name, 3, (const int64_t[]){ 1, 1, e->shape[3] }, &token));
        token->n_pieces = 1;
        token->pieces[0] = (vj_piece){ tensor, i * e->shape[3], e->shape[3] };
    }
    return VJ_OK;
}

static bool is_official(const char *name)
{
    return vj_str_starts(name, "encoder.") || vj_str_starts(name, "predictor.") ||
           vj_str_starts(name, "target_encoder.");
}

static bool passed_over(const char *name)
{
    return vj_str_ends(name, "pos_embed") || vj_str_starts(name, "pooler.") || vj_str_starts(name, "classifier.");
}

static vj_status map_tensor(vj_weights *w, const set *s, int64_t tensor, bool strict)
{
    const vj_st_entry *e = s->tensors[tensor];
    char official[160];
    vj_hf_part part;
    if (passed_over(e->name)) {
        vj_log(VJ_INFO, "weights", "%s: tensor '%.80s' is passed over", w->facts.path, e->name);
        return VJ_OK;
    }
    if (vj_hf_to_official(e->name, official, &part)) {
        VJ_CHECK(vj_dtype_is_float(e->dtype), VJ_ERR_CONFIG,
                 "%s: tensor '%s' has type %s; a floating type was expected", w->facts.path, e->name,
                 vj_dtype_name(e->dtype));
        if (part == VJ_HF_TOKENS) return add_tokens(w, e, tensor);
        if (part != VJ_HF_WHOLE) return add_third(w, official, e, part - VJ_HF_QUERY, tensor);
        return vj_weights_add_whole(w, official, e->rank, e->shape, tensor);
    }
    if (is_official(e->name) && vj_dtype_is_float(e->dtype))
        return vj_weights_add_whole(w, e->name, e->rank, e->shape, tensor);
    VJ_CHECK(!strict, VJ_ERR_CONFIG, "%s: tensor '%.120s' is none of V-JEPA 2's", w->facts.path, e->name);
    return VJ_OK;
}

static vj_status map_all(vj_weights *w, const set *s, bool strict)
{
    for (int64_t i = 0; i < s->count; i++) VJ_TRY(map_tensor(w, s, i, strict));
    for (int64_t i = 0; i < w->n; i++) {
        const vj_weight_entry *e = &w->entries[i];
        int64_t there = 0;
        for (int k = 0; k < 3; k++) there += e->pieces[k].count;
        VJ_CHECK(e->n_pieces <= 3 && there == e->w.count, VJ_ERR_CONFIG,
                 "%s: of query, key and value for %s only %d are there", w->facts.path, e->w.name, e->n_pieces);
    }
    return VJ_OK;
}

static void read_number(const char *text, int64_t *out)
{
    int64_t v;
    if (text && vj_parse_i64(text, &v) && v > 0) *out = v;
}

vj_status vj_weights_open_safetensors(vj_weights *w, const char *file, bool strict)
{
    set *s = NULL;
    VJ_TRY(open_set(w, &s));
    vj_format(w->facts.format, sizeof w->facts.format, "safetensors");
    VJ_TRY(add_file(w, s, file, vj_path_base(file)));
    read_number(vj_safetensors_meta(s->files[0], "heads"), &w->facts.heads);
    read_number(vj_safetensors_meta(s->files[0], "pred_heads"), &w->facts.pred_heads);
    return map_all(w, s, strict);
}

// ---- a folder
// ---------------------------------------------------------------------------------------------------------
static vj_status read_config(vj_weights *w, const char *dir)
{
    char path[1100];
    vj_json_doc *doc = NULL;
    vj_path_join(path, sizeof path, dir, "config.json");
    VJ_TRY(vj_json_read(&doc, path));
    const vj_json *root = vj_json_root(doc);
    const char *type = vj_json_as_text(vj_json_get(root, "model_type"));
    vj_status status = VJ_OK;
    if (!type || strcmp(type, "vjepa2") != 0) {
        status = vj_fail(VJ_ERR_CONFIG, "%s: model_type is %s%.40s%s; vjepa2 was expected", path, type ? "'" : "",
                         type ? type : "missing", type ? "'" : "");
    }
    const struct { const char *key; int64_t *to; } keys[] = {
        { "num_attention_heads", &w->facts.heads }, { "pred_num_attention_heads", &w->facts.pred_heads },
        { "crop_size", &w->facts.crop }, { "frames_per_clip", &w->facts.frames },
    };
    for (int i = 0; i < 4 && status == VJ_OK; i++) {
        int64_t v = 0;
        if (vj_json_get(root, keys[i].key) &&
            (!vj_json_as_i64(vj_json_get(root, keys[i].key), &v) || v < 1 || v > 1 << 16)) {
            status = vj_fail(VJ_ERR_CONFIG, "%s: %s is no number of 1 to 65536", path, keys[i].key);
        }
        if (v > 0) *keys[i].to = v;
    }
    vj_json_destroy(&doc);
    return status;
}

static bool plain_name(const char *name)
{
    return *name && strlen(name) < 120 && !strchr(name, '/') && strcmp(name, "..") != 0 &&
           vj_str_ends(name, ".safetensors");
}

static vj_status add_index(vj_weights *w, set *s, const char *dir, const vj_json *map, const char *path)
{
    VJ_CHECK(vj_json_is_object(map) && vj_json_count(map) <= VJ_WEIGHTS_MAX, VJ_ERR_CONFIG,
             "%s: has no weight_map of at most %d tensors", path, VJ_WEIGHTS_MAX);
    for (int64_t i = 0; i < vj_json_count(map); i++) {
        const char *tensor, *file = vj_json_as_text(vj_json_member(map, i, &tensor));
        VJ_CHECK(file && plain_name(file), VJ_ERR_CONFIG,
                 "%s: tensor '%.80s' is in no .safetensors file of this folder", path, tensor);
        int k = 0;
        while (k < s->n && strcmp(s->names[k], file) != 0) k++;
        if (k < s->n) continue;
        char full[1300];
        vj_path_join(full, sizeof full, dir, file);
        VJ_CHECK(vj_path_exists(full), VJ_ERR_CONFIG, "%s: is missing (%s names it)", full, path);
        VJ_TRY(add_file(w, s, full, file));
    }
    for (int64_t i = 0; i < vj_json_count(map); i++) {
        const char *tensor;
        (void)vj_json_member(map, i, &tensor);
        bool found = false;
        for (int k = 0; k < s->n && !found; k++) found = vj_safetensors_find(s->files[k], tensor) != NULL;
        VJ_CHECK(found, VJ_ERR_CONFIG, "%s: tensor '%.80s' is in none of the folder's files", path, tensor);
    }
    return VJ_OK;
}

vj_status vj_weights_open_folder(vj_weights *w, const char *dir, bool strict)
{
    char path[1100];
    set *s = NULL;
    VJ_TRY(open_set(w, &s));
    vj_format(w->facts.format, sizeof w->facts.format, "hf");
    VJ_TRY(read_config(w, dir));
    vj_path_join(path, sizeof path, dir, "model.safetensors.index.json");
    if (vj_path_exists(path)) {
        vj_json_doc *doc = NULL;
        VJ_TRY(vj_json_read(&doc, path));
        const vj_status status = add_index(w, s, dir, vj_json_get(vj_json_root(doc), "weight_map"), path);
        vj_json_destroy(&doc);
        VJ_TRY(status);
    } else {
        vj_path_join(path, sizeof path, dir, "model.safetensors");
        VJ_CHECK(vj_path_exists(path), VJ_ERR_CONFIG,
                 "%s: holds neither model.safetensors nor model.safetensors.index.json", dir);
        VJ_TRY(add_file(w, s, path, "model.safetensors"));
    }
    return map_all(w, s, strict);
}
