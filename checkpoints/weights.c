// What all formats share: the list of tensors by official name, reading them from pieces, comparing with a model.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/weights_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

enum { TENSORS_MAX = VJ_WEIGHTS_MAX };

vj_status vj_weights_add(vj_weights *w, const char *name, int rank, const int64_t *shape, vj_weight_entry **out)
{
    VJ_CHECK(w->n < TENSORS_MAX, VJ_ERR_CONFIG, "%s: more than %d tensors", w->facts.path, TENSORS_MAX);
    VJ_CHECK(strlen(name) < sizeof w->entries->w.name && rank >= 0 && rank <= VJ_MAX_RANK, VJ_ERR_CONFIG,
             "%s: tensor '%.100s' is none of this model", w->facts.path, name);
    if (w->n == w->capacity) {
        const int64_t n = w->capacity > 0 ? 2 * w->capacity : 512;
        vj_weight_entry *grown = realloc(w->entries, (size_t)n * sizeof *grown);
        VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory to read %s", w->facts.path);
        w->entries = grown;
        w->capacity = n;
    }
    vj_weight_entry *e = &w->entries[w->n++];
    *e = (vj_weight_entry){ .moments = { -1, -1 } };
    vj_format(e->w.name, sizeof e->w.name, "%s", name);
    e->w.rank = rank;
    e->w.count = 1;
    for (int i = 0; i < rank; i++) {
        e->w.shape[i] = shape[i];
        VJ_CHECK(shape[i] >= 0 && !__builtin_mul_overflow(e->w.count, shape[i], &e->w.count) &&
                     e->w.count <= ((int64_t)1 << 40),
                 VJ_ERR_CONFIG, "%s: tensor '%s' has an impossible size", w->facts.path, name);
    }
    if (out) *out = e;
    return VJ_OK;
}

vj_status vj_weights_add_whole(vj_weights *w, const char *name, int rank, const int64_t *shape, int64_t tensor)
{
    vj_weight_entry *e = NULL;
    VJ_TRY(vj_weights_add(w, name, rank, shape, &e));
    e->n_pieces = 1;
    e->pieces[0] = (vj_piece){ tensor, 0, e->w.count };
    return VJ_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const vj_weight_entry *)a)->w.name, ((const vj_weight_entry *)b)->w.name);
}

static vj_weight_entry *find(const vj_weights *w, const char *name)
{
    vj_weight_entry key;
    snprintf(key.w.name, sizeof key.w.name, "%s", name);
    return w->n > 0 ? bsearch(&key, w->entries, (size_t)w->n, sizeof *w->entries, by_name) : NULL;
}

static bool has(const vj_weights *w, const char *network)
{
    const size_t n = strlen(network);
    for (int64_t i = 0; i < w->n; i++) {
        if (strncmp(w->entries[i].w.name, network, n) == 0 && w->entries[i].w.name[n] == '.') return true;
    }
    return false;
}

// A file with one encoder fills both.
static vj_status double_encoder(vj_weights *w)
{
    const bool online = has(w, "encoder"), target = has(w, "target_encoder");
    VJ_CHECK(online || target, VJ_ERR_CONFIG, "%s: holds no encoder of V-JEPA 2", w->facts.path);
    if (online && target) return VJ_OK;
    w->facts.one_encoder = true;
    const char *from = online ? "encoder." : "target_encoder.", *to = online ? "target_encoder." : "encoder.";
    const int64_t n = w->n;
    for (int64_t i = 0; i < n; i++) {
        if (strncmp(w->entries[i].w.name, from, strlen(from)) != 0) continue;
        const vj_weight_entry source = w->entries[i];
        vj_weight_entry *e = NULL;
        char name[160];
        vj_format(name, sizeof name, "%s%s", to, source.w.name + strlen(from));
        VJ_TRY(vj_weights_add(w, name, source.w.rank, source.w.shape, &e));
        e->n_pieces = source.n_pieces;
        memcpy(e->pieces, source.pieces, sizeof e->pieces);
        if (!online) memcpy(e->moments, source.moments, sizeof e->moments);
    }
    return VJ_OK;
}

static vj_status open_any(vj_weights *w, const char *ref, bool strict)
{
    char config[1100];
    vj_path_join(config, sizeof config, ref, "config.json");
    if (vj_path_is_dir(ref) && vj_path_exists(config)) return vj_weights_open_folder(w, ref, strict);
    if (!vj_path_exists(ref) || vj_path_is_dir(ref)) return vj_weights_open_checkpoint(w, ref);
    if (vj_str_ends(ref, ".safetensors")) return vj_weights_open_safetensors(w, ref, strict);
    static const char *const torch[] = { ".pt", ".pth", ".tar", ".bin", ".ckpt" };
    for (int i = 0; i < 5; i++) {
        if (vj_str_ends(ref, torch[i])) return vj_weights_open_pt(w, ref, strict);
    }
    VJ_FAIL(VJ_ERR_CONFIG,
            "%s: its name says no format; a run, a checkpoint directory, a folder of Hugging Face, or a file ending in "
            ".safetensors, .pt, .pth or .tar was expected",
            ref);
}

vj_status vj_weights_open(vj_weights **out, const char *ref, bool strict)
{
    *out = NULL;
    VJ_CHECK(strlen(ref) < 500, VJ_ERR_USAGE, "a reference of %zu bytes is too long", strlen(ref));
    vj_weights *w = calloc(1, sizeof *w);
    VJ_CHECK(w != NULL, VJ_ERR_NOMEM, "no memory to read %s", ref);
    vj_format(w->facts.path, sizeof w->facts.path, "%s", ref);
    vj_status status = open_any(w, ref, strict);
    if (status == VJ_OK) status = double_encoder(w);
    if (status == VJ_OK) {
        qsort(w->entries, (size_t)w->n, sizeof *w->entries, by_name);
        for (int64_t i = 1; i < w->n && status == VJ_OK; i++) {
            if (by_name(&w->entries[i - 1], &w->entries[i]) == 0) {
                status = vj_fail(VJ_ERR_CONFIG, "%s: tensor %s is there twice", w->facts.path, w->entries[i].w.name);
            }
        }
    }
    if (status != VJ_OK) vj_weights_close(&w);
    *out = w;
    return status;
}

void vj_weights_close(vj_weights **weights)
{
    vj_weights *w = *weights;
    if (!w) return;
    if (w->close) w->close(w);
    free(w->entries);
    free(w);
    *weights = NULL;
}

const vj_weights_facts *vj_weights_facts_of(const vj_weights *w) { return &w->facts; }
int64_t vj_weights_count(const vj_weights *w) { return w->n; }
const vj_weight *vj_weights_at(const vj_weights *w, int64_t index)
{
    return index >= 0 && index < w->n ? &w->entries[index].w : NULL;
}

const vj_weight *vj_weights_find(const vj_weights *w, const char *name)
{
    const vj_weight_entry *e = find(w, name);
    return e ? &e->w : NULL;
}

int64_t vj_weights_mask_tokens(const vj_weights *w)
{
    int64_t n = 0;
    for (char name[64];; n++) {
        vj_format(name, sizeof name, "predictor.mask_tokens.%lld", (long long)n);
        if (!find(w, name)) return n;
    }
}

vj_status vj_weights_read(vj_weights *w, const char *name, vj_state_kind kind, float *out, int64_t count)
{
    const vj_weight_entry *e = find(w, name);
    VJ_CHECK(e != NULL, VJ_ERR_CONFIG, "%s: holds no tensor %s", w->facts.path, name);
    VJ_CHECK(e->w.count == count, VJ_ERR_BUG, "%s has %lld elements, %lld were asked for", name, (long long)e->w.count,
             (long long)count);
    VJ_CHECK(kind == VJ_STATE_PARAM || w->facts.moments, VJ_ERR_BUG, "%s: has no moments", w->facts.path);
    if (w->read_own) return w->read_own(w, name, kind, out, count);
    if (kind != VJ_STATE_PARAM) {
        const int64_t tensor = e->moments[kind == VJ_STATE_EXP_AVG ? 0 : 1];
        if (tensor >= 0) return w->read(w, tensor, 0, count, out);
        memset(out, 0, (size_t)count * sizeof *out);
        return VJ_OK;
    }
    for (int i = 0; i < e->n_pieces; i++) {
        VJ_TRY(w->read(w, e->pieces[i].tensor, e->pieces[i].first, e->pieces[i].count, out));
        out += e->pieces[i].count;
    }
    return VJ_OK;
}

static void shape_text(char out[96], int rank, const int64_t *shape)
{
    int n = snprintf(out, 96, "[");
    for (int i = 0; i < rank && n < 90; i++)
        n += snprintf(out + n, (size_t)(96 - n), i ? ",%lld" : "%lld", (long long)shape[i]);
    if (n < 95) snprintf(out + n, (size_t)(96 - n), "]");
}

vj_status vj_weights_fit(const vj_weights *w, const char *network, const vj_layout *layout)
{
    const int64_t tokens = vj_weights_mask_tokens(w);
    for (int p = 0; p < layout->n_params; p++) {
        const vj_param *q = &layout->params[p];
        char name[160], there[96], expected[96];
        vj_format(name, sizeof name, "%s.%s", network, q->name);
        const vj_weight_entry *e = find(w, name);
        shape_text(expected, q->rank, q->shape);
        VJ_CHECK(e != NULL, VJ_ERR_CONFIG, "%s: tensor %s %s is missing (the file has %lld tensors, %lld mask tokens)",
                 w->facts.path, name, expected, (long long)w->n, (long long)tokens);
        shape_text(there, e->w.rank, e->w.shape);
        VJ_CHECK(strcmp(there, expected) == 0, VJ_ERR_CONFIG, "%s: tensor %s is %s, this model's is %s", w->facts.path,
                 name, there, expected);
    }
    return VJ_OK;
}

vj_status vj_weights_digest(vj_weights *w, char hex[65])
{
    vj_sha256 h;
    unsigned char digest[32];
    int64_t largest = 0;
    for (int64_t i = 0; i < w->n; i++) largest = w->entries[i].w.count > largest ? w->entries[i].w.count : largest;
    float *values = malloc((size_t)largest * sizeof *values + 1);
    VJ_CHECK(values != NULL, VJ_ERR_NOMEM, "no memory to read %s", w->facts.path);
    vj_sha256_start(&h);
    vj_status status = VJ_OK;
    for (int64_t i = 0; i < w->n && status == VJ_OK; i++) {
        char shape[96];
        const vj_weight *x = &w->entries[i].w;
        shape_text(shape, x->rank, x->shape);
        status = vj_weights_read(w, x->name, VJ_STATE_PARAM, values, x->count);
        vj_sha256_add(&h, x->name, strlen(x->name) + 1);
        vj_sha256_add(&h, shape, strlen(shape) + 1);
        vj_sha256_add(&h, values, (size_t)x->count * sizeof *values);
    }
    free(values);
    vj_sha256_end(&h, digest);
    vj_hex(hex, digest, 32);
    return status;
}

// ---- our own checkpoints
// ----------------------------------------------------------------------------------------------
static vj_status read_checkpoint(vj_weights *w, const char *name, vj_state_kind kind, float *out, int64_t count)
{
    return vj_checkpoint_read_param(w->file, name, kind, out, count);
}

static void close_checkpoint(vj_weights *w)
{
    vj_checkpoint *c = w->file;
    vj_checkpoint_destroy(&c);
}

vj_status vj_weights_open_checkpoint(vj_weights *w, const char *ref)
{
    static const char *const networks[] = { "encoder", "predictor", "target_encoder" };
    vj_checkpoint *c = NULL;
    VJ_TRY(vj_checkpoint_open(&c, ref, false));
    w->file = c;
    w->read_own = read_checkpoint;
    w->close = close_checkpoint;
    const vj_run_state *s = vj_checkpoint_state(c);
    vj_format(w->facts.format, sizeof w->facts.format, "checkpoint");
    snprintf(w->facts.path, sizeof w->facts.path, "%s", vj_checkpoint_path(c));
    w->facts.step = s->step;
    w->facts.adam_step = s->adam_step;
    w->facts.moments = true;
    for (int n = 0; n < 2; n++) {
        for (int kind = VJ_STATE_EXP_AVG; kind <= VJ_STATE_EXP_AVG_SQ; kind++) {
            w->facts.moments = w->facts.moments && vj_checkpoint_has(c, networks[n], (vj_state_kind)kind);
        }
    }
    for (int n = 0; n < 3; n++) {
        const vj_layout *l = vj_checkpoint_layout(c, networks[n]);
        for (int p = 0; p < l->n_params; p++) {
            char name[160];
            vj_format(name, sizeof name, "%s.%s", networks[n], l->params[p].name);
            VJ_TRY(vj_weights_add(w, name, l->params[p].rank, l->params[p].shape, NULL));
        }
    }
    return VJ_OK;
}
