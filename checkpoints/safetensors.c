// safetensors: 8 bytes of header length (little-endian), a JSON header {name: {dtype, shape, data_offsets}}, raw data.
// Nothing in the header is believed before it is checked: lengths, shapes, offsets inside the file, overlaps.

#include "checkpoints/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/base/json.h"

enum { HEADER_MAX = 100 << 20, TENSORS_MAX = 1 << 20 };

static const struct { const char *name; vj_dtype type; } types[] = {
    { "F32", VJ_F32 }, { "F64", VJ_F64 }, { "BF16", VJ_BF16 }, { "F16", VJ_F16 },
    { "I32", VJ_I32 }, { "I64", VJ_I64 }, { "U8", VJ_U8 },
};
enum { TYPES = sizeof types / sizeof types[0] };

struct vj_safetensors {
    char path[1100];
    const unsigned char *map;
    size_t bytes;
    vj_json_doc *header;
    vj_st_entry *entries;
    int64_t count;
};

static vj_status read_shape(const vj_safetensors *f, const char *name, const vj_json *shape, vj_st_entry *e,
                            uint64_t *elements)
{
    VJ_CHECK(vj_json_is_array(shape) && vj_json_count(shape) <= VJ_MAX_RANK, VJ_ERR_CONFIG,
             "%s: tensor '%.80s': no shape of at most %d sizes", f->path, name, VJ_MAX_RANK);
    e->rank = (int)vj_json_count(shape);
    *elements = 1;
    for (int i = 0; i < VJ_MAX_RANK; i++) e->shape[i] = 1;
    for (int i = 0; i < e->rank; i++) {
        VJ_CHECK(vj_json_as_i64(vj_json_at(shape, i), &e->shape[i]) && e->shape[i] >= 0, VJ_ERR_CONFIG,
                 "%s: tensor '%.80s': a size is no count", f->path, name);
        VJ_CHECK(!__builtin_mul_overflow(*elements, (uint64_t)e->shape[i], elements), VJ_ERR_CONFIG,
                 "%s: tensor '%.80s': sizes overflow", f->path, name);
    }
    return VJ_OK;
}

static vj_status read_entry(vj_safetensors *f, const char *name, const vj_json *v, size_t data_at, vj_st_entry *e)
{
    const char *dtype = NULL;
    VJ_CHECK(vj_json_is_object(v), VJ_ERR_CONFIG, "%s: tensor '%.80s' is not described by an object", f->path, name);
    VJ_TRY_CTX(vj_json_text(v, "dtype", &dtype), "reading tensor '%.80s' of %s", name, f->path);
    int t = 0;
    while (t < TYPES && strcmp(types[t].name, dtype) != 0) t++;
    VJ_CHECK(t < TYPES, VJ_ERR_CONFIG,
             "%s: tensor '%.80s' has type %.20s; F32, F64, BF16, F16, I32, I64 and U8 can be read", f->path, name,
             dtype);
    e->name = name;
    e->dtype = types[t].type;
    uint64_t elements = 0, bytes = 0;
    VJ_TRY(read_shape(f, name, vj_json_get(v, "shape"), e, &elements));
    const vj_json *offsets = vj_json_get(v, "data_offsets");
    int64_t begin = 0, end = 0;
    VJ_CHECK(vj_json_count(offsets) == 2 && vj_json_as_i64(vj_json_at(offsets, 0), &begin) &&
                 vj_json_as_i64(vj_json_at(offsets, 1), &end) && begin >= 0 && end >= begin &&
                 (uint64_t)end <= f->bytes - data_at,
             VJ_ERR_CONFIG, "%s: tensor '%.80s': its data_offsets do not lie in the file (%zu bytes of data)", f->path,
             name, f->bytes - data_at);
    VJ_CHECK(!__builtin_mul_overflow(elements, (uint64_t)vj_dtype_size(e->dtype), &bytes) &&
                 bytes == (uint64_t)(end - begin),
             VJ_ERR_CONFIG, "%s: tensor '%.80s': %lld bytes of data do not fit its shape and type", f->path, name,
             (long long)(end - begin));
    e->data = f->map + data_at + begin;
    e->bytes = (size_t)bytes;
    return VJ_OK;
}

static int by_place(const void *a, const void *b)
{
    const vj_st_entry *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static vj_status check_overlaps(const vj_safetensors *f)
{
    if (f->count == 0) return VJ_OK;
    vj_st_entry *sorted = malloc((size_t)f->count * sizeof *sorted);
    VJ_CHECK(sorted != NULL, VJ_ERR_NOMEM, "no memory to read %s", f->path);
    memcpy(sorted, f->entries, (size_t)f->count * sizeof *sorted);
    qsort(sorted, (size_t)f->count, sizeof *sorted, by_place);
    vj_status status = VJ_OK;
    for (int64_t i = 1; i < f->count && status == VJ_OK; i++) {
        if ((const char *)sorted[i - 1].data + sorted[i - 1].bytes > (const char *)sorted[i].data) {
            status = vj_fail(VJ_ERR_CONFIG, "%s: tensors '%.60s' and '%.60s' overlap", f->path, sorted[i - 1].name,
                             sorted[i].name);
        }
    }
    free(sorted);
    return status;
}

static vj_status read_header(vj_safetensors *f)
{
    VJ_CHECK(f->bytes >= 8, VJ_ERR_CONFIG, "%s: %zu bytes, too short for a safetensors file", f->path, f->bytes);
    uint64_t length = 0;
    for (int i = 0; i < 8; i++) length |= (uint64_t)f->map[i] << (8 * i);
    VJ_CHECK(length <= HEADER_MAX && length <= f->bytes - 8, VJ_ERR_CONFIG,
             "%s: a header of %llu bytes does not fit the file (%zu bytes)", f->path, (unsigned long long)length,
             f->bytes);
    VJ_TRY(vj_json_parse(&f->header, (const char *)f->map + 8, (size_t)length, f->path));
    const vj_json *root = vj_json_root(f->header);
    VJ_CHECK(vj_json_is_object(root) && vj_json_count(root) <= TENSORS_MAX, VJ_ERR_CONFIG,
             "%s: the header is no object of tensors", f->path);
    f->entries = calloc((size_t)vj_json_count(root) + 1, sizeof *f->entries);
    VJ_CHECK(f->entries != NULL, VJ_ERR_NOMEM, "no memory to read %s", f->path);
    const int64_t members = vj_json_count(root);
    for (int64_t i = 0; i < members; i++) {
        const char *name = NULL;
        const vj_json *v = vj_json_member(root, i, &name);
        if (strcmp(name, "__metadata__") == 0) continue;
        VJ_TRY(read_entry(f, name, v, 8 + (size_t)length, &f->entries[f->count]));
        f->count++;
    }
    return check_overlaps(f);
}

vj_status vj_safetensors_open(vj_safetensors **out, const char *path)
{
    *out = NULL;
    vj_safetensors *f = calloc(1, sizeof *f);
    VJ_CHECK(f != NULL, VJ_ERR_NOMEM, "no memory to read %s", path);
    snprintf(f->path, sizeof f->path, "%s", path);
    const void *map = NULL;
    vj_status status = vj_file_map(path, &map, &f->bytes);
    f->map = map;
    if (status == VJ_OK) status = read_header(f);
    if (status != VJ_OK) vj_safetensors_close(&f);
    *out = f;
    return status;
}

void vj_safetensors_close(vj_safetensors **f)
{
    if (!*f) return;
    vj_json_destroy(&(*f)->header);
    vj_file_unmap((*f)->map, (*f)->bytes);
    free((*f)->entries);
    free(*f);
    *f = NULL;
}

int64_t vj_safetensors_count(const vj_safetensors *f) { return f->count; }
const vj_st_entry *vj_safetensors_at(const vj_safetensors *f, int64_t index)
{
    return index >= 0 && index < f->count ? &f->entries[index] : NULL;
}

const vj_st_entry *vj_safetensors_find(const vj_safetensors *f, const char *name)
{
    for (int64_t i = 0; i < f->count; i++) {
        if (strcmp(f->entries[i].name, name) == 0) return &f->entries[i];
    }
    return NULL;
}

const char *vj_safetensors_meta(const vj_safetensors *f, const char *key)
{
    return vj_json_as_text(vj_json_get(vj_json_get(vj_json_root(f->header), "__metadata__"), key));
}

void vj_safetensors_forget(const vj_safetensors *f, const vj_st_entry *e)
{
    (void)f;
    const uintptr_t page = 4096, first = ((uintptr_t)e->data + page - 1) / page * page,
                    end = ((uintptr_t)e->data + e->bytes) / page * page;
    if (end > first) (void)madvise((void *)first, end - first, MADV_DONTNEED);   // of a read-only map of a file
}

vj_status vj_safetensors_copy(const vj_safetensors *f, const char *name, void *out, vj_dtype out_type, int64_t count)
{
    const vj_st_entry *e = vj_safetensors_find(f, name);
    VJ_CHECK(e != NULL, VJ_ERR_CONFIG, "%s: holds no tensor '%s'", f->path, name);
    const int64_t have = (int64_t)(e->bytes / vj_dtype_size(e->dtype));
    VJ_CHECK(have == count, VJ_ERR_CONFIG, "%s: '%s' has %lld elements, %lld were expected", f->path, name,
             (long long)have, (long long)count);
    return vj_convert(out, out_type, e->data, e->dtype, count);
}

// ---- writing -----------------------------------------------------------------------------------------------------
typedef struct declared {
    char name[160];
    vj_dtype dtype;
    int rank;
    int64_t shape[VJ_MAX_RANK];
    uint64_t bytes;
} declared;

struct vj_st_writer {
    char path[1100], temporary[1140];
    int fd;
    vj_json_writer meta;
    bool has_meta;
    declared *list;
    int64_t n, capacity, next;
    uint64_t done;            // bytes of tensor `next` that are there
    off_t at;
};

vj_status vj_st_writer_create(vj_st_writer **out, const char *path)
{
    *out = NULL;
    vj_st_writer *w = calloc(1, sizeof *w);
    VJ_CHECK(w != NULL, VJ_ERR_NOMEM, "no memory to write %s", path);
    w->fd = -1;
    snprintf(w->path, sizeof w->path, "%s", path);
    snprintf(w->temporary, sizeof w->temporary, "%s.tmp-%d", w->path, (int)getpid());
    vj_json_begin_object(&w->meta, NULL);
    *out = w;
    return VJ_OK;
}

vj_status vj_st_writer_meta(vj_st_writer *w, const char *key, const char *value)
{
    vj_json_put_text(&w->meta, key, value);
    w->has_meta = true;
    return VJ_OK;
}

vj_status vj_st_writer_declare(vj_st_writer *w, const char *name, vj_dtype dtype, int rank, const int64_t *shape)
{
    VJ_ASSERT(w->fd < 0 && rank >= 0 && rank <= VJ_MAX_RANK && strlen(name) < sizeof w->list->name);
    if (w->n == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 64;
        declared *grown = realloc(w->list, (size_t)w->capacity * sizeof *grown);
        VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory to write %s", w->path);
        w->list = grown;
    }
    declared *d = &w->list[w->n++];
    *d = (declared){ .dtype = dtype, .rank = rank, .bytes = vj_dtype_size(dtype) };
    snprintf(d->name, sizeof d->name, "%s", name);
    for (int i = 0; i < rank; i++) {
        d->shape[i] = shape[i];
        d->bytes *= (uint64_t)shape[i];
    }
    return VJ_OK;
}

static vj_status write_header(vj_st_writer *w)
{
    vj_json_writer h = { 0 };
    vj_json_begin_object(&h, NULL);
    vj_json_end_object(&w->meta);
    if (w->has_meta) vj_str_printf(&h.out, "\"__metadata__\":%s", vj_str_text(&w->meta.out));
    h.first[h.depth] = !w->has_meta;
    uint64_t at = 0;
    for (int64_t i = 0; i < w->n; i++) {
        const declared *d = &w->list[i];
        vj_json_begin_object(&h, d->name);
        for (int t = 0; t < TYPES; t++) {
            if (types[t].type == d->dtype) vj_json_put_text(&h, "dtype", types[t].name);
        }
        vj_json_begin_array(&h, "shape");
        for (int k = 0; k < d->rank; k++) vj_json_put_i64(&h, NULL, d->shape[k]);
        vj_json_end_array(&h);
        vj_json_begin_array(&h, "data_offsets");
        vj_json_put_i64(&h, NULL, (int64_t)at);
        vj_json_put_i64(&h, NULL, (int64_t)(at + d->bytes));
        vj_json_end_array(&h);
        vj_json_end_object(&h);
        at += d->bytes;
    }
    vj_json_end_object(&h);
    while (h.out.length % 8 != 0) vj_str_add(&h.out, " ");
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)h.out.length >> (8 * i));
    unlink(w->temporary);
    vj_status status = vj_io_create(&w->fd, w->temporary);
    if (status == VJ_OK) status = vj_io_pwrite(w->fd, length, 8, 0, w->temporary);
    if (status == VJ_OK) status = vj_io_pwrite(w->fd, h.out.data, h.out.length, 8, w->temporary);
    w->at = (off_t)(8 + h.out.length);
    vj_json_writer_free(&h);
    return status;
}

vj_status vj_st_writer_data(vj_st_writer *w, const void *data, size_t bytes)
{
    if (w->fd < 0) VJ_TRY(write_header(w));
    VJ_CHECK(w->next < w->n && w->done == 0 && w->list[w->next].bytes == bytes, VJ_ERR_BUG,
             "%s: %zu bytes are not what was declared next", w->path, bytes);
    return vj_st_writer_part(w, data, bytes);
}

vj_status vj_st_writer_part(vj_st_writer *w, const void *data, size_t bytes)
{
    if (w->fd < 0) VJ_TRY(write_header(w));
    VJ_CHECK(w->next < w->n && bytes <= w->list[w->next].bytes - w->done, VJ_ERR_BUG,
             "%s: %zu bytes are more than was declared next", w->path, bytes);
    VJ_TRY(vj_io_pwrite(w->fd, data, bytes, w->at, w->temporary));
    w->at += (off_t)bytes;
    w->done += bytes;
    if (w->done < w->list[w->next].bytes) return VJ_OK;
    w->done = 0;
    w->next++;
    return VJ_OK;
}

vj_status vj_st_writer_finish(vj_st_writer **writer)
{
    vj_st_writer *w = *writer;
    vj_status status = w->fd < 0 ? write_header(w) : VJ_OK;
    if (status == VJ_OK && w->next != w->n) {
        status = vj_fail(VJ_ERR_BUG, "%s: %lld declared tensors have no data", w->path, (long long)(w->n - w->next));
    }
    if (status == VJ_OK) status = vj_io_fsync(w->fd, w->temporary);
    vj_io_close(&w->fd);
    if (status == VJ_OK) status = vj_io_rename(w->temporary, w->path);
    vj_st_writer_abandon(writer);
    return status;
}

void vj_st_writer_abandon(vj_st_writer **writer)
{
    vj_st_writer *w = *writer;
    if (!w) return;
    vj_io_close(&w->fd);
    unlink(w->temporary);
    vj_json_writer_free(&w->meta);
    free(w->list);
    free(w);
    *writer = NULL;
}
