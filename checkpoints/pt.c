// From a zip archive and a pickle to a list of tensors by path.

#include "checkpoints/pt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/pt_pickle.h"
#include "checkpoints/pt_zip.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

enum { PICKLE_MAX = 64 << 20, TENSORS_MAX = 1 << 16, DEPTH_MAX = 16, VISITS_MAX = 1 << 22, BLOCK = 1 << 20 };

typedef struct entry {
    vj_pt_tensor tensor;
    const vj_pk_tensor *of;
    const vj_zip_entry *data;
    bool dense;                // elements one behind the other
} entry;

struct vj_pt {
    vj_zip zip;
    char *pickle_bytes;
    vj_pk *pickle;
    entry *entries;
    int64_t n, capacity, visits;
    bool *checked;             // by place in zip.entries
};

// A legacy file begins with a pickle, not with "PK".
static vj_status explain(const char *path, vj_status status)
{
    int fd = -1;
    unsigned char head[2] = { 0 };
    char text[1024];
    snprintf(text, sizeof text, "%s", vj_error_text());
    if (vj_io_open_read(&fd, path) == VJ_OK && vj_io_pread(fd, head, 2, 0, path) == VJ_OK && head[0] == 0x80) {
        vj_io_close(&fd);
        VJ_FAIL(VJ_ERR_CONFIG, "%s: is a file of the format before PyTorch 1.6; load it there and torch.save it again",
                path);
    }
    vj_io_close(&fd);
    return vj_fail_text(status, text);
}

// ---- storages
// ---------------------------------------------------------------------------------------------------------
static vj_status storage_of(vj_pt *f, const vj_pk_value *s, const char *path, const vj_zip_entry **out)
{
    char name[80];
    VJ_CHECK(s->storage.key_length < 64, VJ_ERR_CONFIG, "%s: tensor '%s' has a storage with a name of %zu bytes",
             f->zip.path, path, s->storage.key_length);
    vj_format(name, sizeof name, "data/%.*s", (int)s->storage.key_length, s->storage.key);
    *out = vj_zip_find(&f->zip, name);
    VJ_CHECK(*out != NULL, VJ_ERR_CONFIG, "%s: the bytes of tensor '%s' (%s) are missing", f->zip.path, path, name);
    int64_t need = 0;
    VJ_CHECK(!__builtin_mul_overflow(s->storage.count, (int64_t)vj_dtype_size(s->storage.dtype), &need) &&
                 need <= (*out)->bytes,
             VJ_ERR_CONFIG, "%s: tensor '%s': its storage has %lld bytes, %lld elements need more", f->zip.path, path,
             (long long)(*out)->bytes, (long long)s->storage.count);
    return VJ_OK;
}

static vj_status add_tensor(vj_pt *f, const vj_pk_tensor *t, const char *path)
{
    VJ_CHECK(f->n < TENSORS_MAX, VJ_ERR_CONFIG, "%s: more than %d tensors", f->zip.path, TENSORS_MAX);
    if (f->n == f->capacity) {
        const int64_t n = f->capacity > 0 ? 2 * f->capacity : 256;
        entry *grown = realloc(f->entries, (size_t)n * sizeof *grown);
        VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory to read %s", f->zip.path);
        f->entries = grown;
        f->capacity = n;
    }
    entry *e = &f->entries[f->n];
    *e = (entry){ .of = t, .dense = true };
    snprintf(e->tensor.path, sizeof e->tensor.path, "%s", path);
    e->tensor.dtype = t->storage->storage.dtype;
    e->tensor.rank = t->rank;
    e->tensor.count = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        e->tensor.shape[i] = t->shape[i];
        if (t->shape[i] > 1 && t->stride[i] != e->tensor.count) e->dense = false;
        VJ_CHECK(!__builtin_mul_overflow(e->tensor.count, t->shape[i], &e->tensor.count) &&
                     e->tensor.count <= ((int64_t)1 << 40),
                 VJ_ERR_CONFIG, "%s: tensor '%s' has too many elements", f->zip.path, path);
    }
    // Strides of 0 would make a small file a huge tensor.
    VJ_CHECK(e->tensor.count <= t->storage->storage.count, VJ_ERR_CONFIG,
             "%s: tensor '%s' repeats elements (%lld of them in a storage of %lld); save a contiguous copy", f->zip.path,
             path, (long long)e->tensor.count, (long long)t->storage->storage.count);
    VJ_TRY(storage_of(f, t->storage, path, &e->data));
    f->n++;
    return VJ_OK;
}

// ---- the tree
// ---------------------------------------------------------------------------------------------------------
static vj_status walk(vj_pt *f, const vj_pk_value *v, char *path, size_t length, int depth);

static vj_status walk_child(vj_pt *f, const vj_pk_value *v, char *path, size_t length, const char *key,
                            size_t key_length, int depth)
{
    const size_t slash = length > 0 ? 1 : 0;
    VJ_CHECK(length + slash + key_length < sizeof((vj_pt_tensor *)0)->path, VJ_ERR_CONFIG,
             "%s: a name below '%.60s' is too long", f->zip.path, path);
    for (size_t i = 0; i < key_length; i++) {
        VJ_CHECK(key[i] > ' ' && key[i] < 127 && key[i] != '/', VJ_ERR_CONFIG,
                 "%s: a name below '%.60s' has characters that names of tensors do not have", f->zip.path, path);
    }
    if (slash) path[length] = '/';
    memcpy(path + length + slash, key, key_length);
    path[length + slash + key_length] = '\0';
    const vj_status status = walk(f, v, path, length + slash + key_length, depth + 1);
    path[length] = '\0';
    return status;
}

static bool holds_more(const vj_pk_value *v)
{
    return v->kind == VJ_PK_TENSOR || v->kind == VJ_PK_DICT || v->kind == VJ_PK_LIST || v->kind == VJ_PK_TUPLE;
}

static vj_status walk(vj_pt *f, const vj_pk_value *v, char *path, size_t length, int depth)
{
    VJ_CHECK(depth < DEPTH_MAX, VJ_ERR_CONFIG, "%s: '%.60s' is nested more than %d deep", f->zip.path, path, DEPTH_MAX);
    // A few lists that name each other many times are a tree of any size.
    VJ_CHECK(++f->visits <= VISITS_MAX, VJ_ERR_CONFIG, "%s: more than %d values in its dictionaries and lists",
             f->zip.path, VISITS_MAX);
    if (v->kind == VJ_PK_TENSOR) return add_tensor(f, &v->tensor, path);
    for (int64_t i = 0; v->kind == VJ_PK_DICT && i + 1 < v->items.n; i += 2) {
        const vj_pk_value *k = v->items.v[i], *child = v->items.v[i + 1];
        char number[24];
        f->visits++;
        if (!holds_more(child)) continue;
        if (k->kind == VJ_PK_INT) {
            vj_format(number, sizeof number, "%lld", (long long)k->i);
            VJ_TRY(walk_child(f, child, path, length, number, strlen(number), depth));
        } else if (k->kind == VJ_PK_TEXT) {
            VJ_TRY(walk_child(f, child, path, length, k->text.data, k->text.length, depth));
        }
    }
    for (int64_t i = 0; (v->kind == VJ_PK_LIST || v->kind == VJ_PK_TUPLE) && i < v->items.n; i++) {
        char number[24];
        f->visits++;
        if (!holds_more(v->items.v[i])) continue;
        vj_format(number, sizeof number, "%lld", (long long)i);
        VJ_TRY(walk_child(f, v->items.v[i], path, length, number, strlen(number), depth));
    }
    return VJ_OK;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->tensor.path, ((const entry *)b)->tensor.path);
}

static vj_status read_pickle(vj_pt *f)
{
    const vj_zip_entry *e = vj_zip_find(&f->zip, "data.pkl"), *order = vj_zip_find(&f->zip, "byteorder");
    VJ_CHECK(e != NULL, VJ_ERR_CONFIG, "%s: is a zip archive without data.pkl, so not one of torch.save", f->zip.path);
    VJ_CHECK(e->bytes > 0 && e->bytes <= PICKLE_MAX, VJ_ERR_CONFIG, "%s: its data.pkl has %lld bytes", f->zip.path,
             (long long)e->bytes);
    char text[8] = "little";
    if (order) {
        VJ_CHECK(order->bytes < (int64_t)sizeof text, VJ_ERR_CONFIG, "%s: its byte order is unknown", f->zip.path);
        memset(text, 0, sizeof text);
        VJ_TRY(vj_io_pread(f->zip.fd, text, (size_t)order->bytes, (off_t)order->offset, f->zip.path));
    }
    VJ_CHECK(strcmp(text, "little") == 0, VJ_ERR_CONFIG,
             "%s: its numbers are %s-endian; save it on a little-endian machine", f->zip.path, text);
    VJ_TRY(vj_zip_check(&f->zip, e));
    f->pickle_bytes = malloc((size_t)e->bytes);
    f->checked = calloc((size_t)f->zip.n, sizeof *f->checked);
    VJ_CHECK(f->pickle_bytes && f->checked, VJ_ERR_NOMEM, "no memory to read %s", f->zip.path);
    VJ_TRY(vj_io_pread(f->zip.fd, f->pickle_bytes, (size_t)e->bytes, (off_t)e->offset, f->zip.path));
    VJ_TRY(vj_pk_parse(&f->pickle, (const unsigned char *)f->pickle_bytes, (size_t)e->bytes, f->zip.path));
    char path[sizeof ((vj_pt_tensor *)0)->path + 1] = "";
    VJ_TRY(walk(f, vj_pk_root(f->pickle), path, 0, 0));
    if (f->n > 0) qsort(f->entries, (size_t)f->n, sizeof *f->entries, by_path);
    for (int64_t i = 1; i < f->n; i++) {
        VJ_CHECK(strcmp(f->entries[i].tensor.path, f->entries[i - 1].tensor.path) != 0, VJ_ERR_CONFIG,
                 "%s: tensor '%s' is there twice", f->zip.path, f->entries[i].tensor.path);
    }
    return VJ_OK;
}

vj_status vj_pt_open(vj_pt **out, const char *path)
{
    *out = NULL;
    vj_pt *f = calloc(1, sizeof *f);
    VJ_CHECK(f != NULL, VJ_ERR_NOMEM, "no memory to read %s", path);
    vj_status status = vj_zip_open(&f->zip, path);
    if (status == VJ_ERR_CONFIG) status = explain(path, status);
    if (status == VJ_OK) status = read_pickle(f);
    if (status != VJ_OK) vj_pt_close(&f);
    *out = f;
    return status;
}

void vj_pt_close(vj_pt **file)
{
    vj_pt *f = *file;
    if (!f) return;
    vj_pk_destroy(&f->pickle);
    free(f->pickle_bytes);
    free(f->entries);
    free(f->checked);
    vj_zip_close(&f->zip);
    free(f);
    *file = NULL;
}

int64_t vj_pt_count(const vj_pt *f) { return f->n; }
const vj_pt_tensor *vj_pt_at(const vj_pt *f, int64_t index)
{
    return index >= 0 && index < f->n ? &f->entries[index].tensor : NULL;
}

int64_t vj_pt_find(const vj_pt *f, const char *path)
{
    entry key;
    snprintf(key.tensor.path, sizeof key.tensor.path, "%s", path);
    const entry *e = f->n > 0 ? bsearch(&key, f->entries, (size_t)f->n, sizeof *f->entries, by_path) : NULL;
    return e ? e - f->entries : -1;
}

vj_status vj_pt_read(vj_pt *f, int64_t index, int64_t first, int64_t count, float *out)
{
    const entry *e = &f->entries[index];
    const size_t size = vj_dtype_size(e->tensor.dtype);
    VJ_CHECK(first >= 0 && count >= 0 && first + count <= e->tensor.count, VJ_ERR_BUG,
             "%s: elements beyond the end were asked for", e->tensor.path);
    VJ_CHECK(e->of->storage->storage.floats, VJ_ERR_CONFIG, "%s: tensor '%s' has type %s; a floating type was expected",
             f->zip.path, e->tensor.path, vj_dtype_name(e->tensor.dtype));
    VJ_CHECK(e->dense, VJ_ERR_CONFIG, "%s: tensor '%s' is a view with other strides; save a contiguous copy",
             f->zip.path, e->tensor.path);
    bool *checked = &f->checked[e->data - f->zip.entries];
    if (!*checked) VJ_TRY(vj_zip_check(&f->zip, e->data));
    *checked = true;
    void *block = malloc(BLOCK);
    VJ_CHECK(block != NULL, VJ_ERR_NOMEM, "no memory to read %s", f->zip.path);
    vj_status status = VJ_OK;
    const int64_t per_block = (int64_t)(BLOCK / size);
    for (int64_t at = 0; at < count && status == VJ_OK; at += per_block) {
        const int64_t n = count - at < per_block ? count - at : per_block;
        const int64_t element = e->of->offset + first + at;
        status = vj_io_pread(f->zip.fd, block, (size_t)n * size, (off_t)(e->data->offset + element * (int64_t)size),
                             f->zip.path);
        if (status == VJ_OK) status = vj_convert(out + at, VJ_F32, block, e->tensor.dtype, n);
    }
    free(block);
    return status;
}

bool vj_pt_number(const vj_pt *f, const char *path, double *out)
{
    const vj_pk_value *v = vj_pk_root(f->pickle);
    char word[128];
    while (v && *path) {
        const size_t n = strcspn(path, "/");
        if (n >= sizeof word) return false;
        vj_format(word, sizeof word, "%.*s", (int)n, path);
        int64_t i;
        if (v->kind == VJ_PK_LIST && vj_parse_i64(word, &i)) v = i >= 0 && i < v->items.n ? v->items.v[i] : NULL;
        else v = vj_pk_get(v, word);
        path += n + (path[n] == '/');
    }
    return vj_pk_number(v, out);
}
