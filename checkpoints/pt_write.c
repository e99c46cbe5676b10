// Writing what torch.load reads: tensors first, each an entry of the archive, the pickle that names them last. No
// dates, no memo, nothing that depends on the machine: the same state gives the same bytes.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/pt.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

enum { ALIGN = 64 };
static const uint64_t wide = 0xffffffff;

typedef struct zip_entry { char name[64]; uint64_t offset, bytes; uint32_t crc; } zip_entry;

struct vj_pt_writer {
    char path[1100], temporary[1140];
    int fd;
    uint64_t at;
    vj_str pickle;
    zip_entry *entries;
    int64_t n, capacity, tensors;
};

// ---- pickle
// -----------------------------------------------------------------------------------------------------------
static void op(vj_pt_writer *w, int byte)
{
    const char c = (char)byte;
    vj_str_add_n(&w->pickle, &c, 1);
}

static void number_le(vj_pt_writer *w, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) op(w, (int)(v >> (8 * i) & 255));
}

static void text(vj_pt_writer *w, const char *s)
{
    op(w, 'X');
    number_le(w, strlen(s), 4);
    vj_str_add(&w->pickle, s);
}

static void name(vj_pt_writer *w, const char *module, const char *function)
{
    vj_str_printf(&w->pickle, "c%s\n%s\n", module, function);
}

void vj_pt_begin_dict(vj_pt_writer *w) { vj_str_add(&w->pickle, "}("); }
void vj_pt_end_dict(vj_pt_writer *w) { op(w, 'u'); }
void vj_pt_begin_list(vj_pt_writer *w) { vj_str_add(&w->pickle, "]("); }
void vj_pt_end_list(vj_pt_writer *w) { op(w, 'e'); }
void vj_pt_key(vj_pt_writer *w, const char *key) { text(w, key); }
void vj_pt_key_int(vj_pt_writer *w, int64_t key) { vj_pt_put_int(w, key); }
void vj_pt_put_bool(vj_pt_writer *w, bool v) { op(w, v ? 0x88 : 0x89); }
void vj_pt_put_none(vj_pt_writer *w) { op(w, 'N'); }

void vj_pt_put_int(vj_pt_writer *w, int64_t v)
{
    if (v >= 0 && v < 256) {
        op(w, 'K');
        number_le(w, (uint64_t)v, 1);
    } else if (v >= INT32_MIN && v <= INT32_MAX) {
        op(w, 'J');
        number_le(w, (uint64_t)v & wide, 4);
    } else {
        op(w, 0x8a);
        op(w, 8);
        number_le(w, (uint64_t)v, 8);
    }
}

void vj_pt_put_float(vj_pt_writer *w, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    op(w, 'G');
    for (int i = 7; i >= 0; i--) op(w, (int)(bits >> (8 * i) & 255));
}

void vj_pt_put_floats(vj_pt_writer *w, const double *v, int n)
{
    op(w, '(');
    for (int i = 0; i < n; i++) vj_pt_put_float(w, v[i]);
    op(w, 't');
}

static void sizes(vj_pt_writer *w, int rank, const int64_t *v)
{
    op(w, '(');
    for (int i = 0; i < rank; i++) vj_pt_put_int(w, v[i]);
    op(w, 't');
}

static void pickle_tensor(vj_pt_writer *w, int rank, const int64_t *shape, int64_t count)
{
    char key[24];
    int64_t stride[VJ_MAX_RANK], step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape[i];
    }
    vj_format(key, sizeof key, "%lld", (long long)w->tensors);
    name(w, "torch._utils", "_rebuild_tensor_v2");
    vj_str_add(&w->pickle, "((");
    text(w, "storage");
    name(w, "torch", "FloatStorage");
    text(w, key);
    text(w, "cpu");
    vj_pt_put_int(w, count);
    vj_str_add(&w->pickle, "tQ");
    vj_pt_put_int(w, 0);
    sizes(w, rank, shape);
    sizes(w, rank, stride);
    vj_pt_put_bool(w, false);
    name(w, "collections", "OrderedDict");
    vj_str_add(&w->pickle, ")RtR");
}

// ---- zip
// --------------------------------------------------------------------------------------------------------------
static void le(unsigned char *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(v >> (8 * i));
}

// Data begins on a multiple of 64 bytes; the gap is an extra field, as torch.save does.
static vj_status add_entry(vj_pt_writer *w, const char *entry, const void *data, uint64_t bytes)
{
    if (w->n == w->capacity) {
        const int64_t n = w->capacity > 0 ? 2 * w->capacity : 256;
        zip_entry *grown = realloc(w->entries, (size_t)n * sizeof *grown);
        VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory to write %s", w->path);
        w->entries = grown;
        w->capacity = n;
    }
    zip_entry *e = &w->entries[w->n++];
    *e = (zip_entry){ .offset = w->at, .bytes = bytes };
    vj_format(e->name, sizeof e->name, "archive/%s", entry);
    for (uint64_t at = 0; at < bytes; at += 1 << 30) {
        const uint64_t n = bytes - at < 1 << 30 ? bytes - at : 1 << 30;
        e->crc = vj_crc32(e->crc, (const char *)data + at, (size_t)n);
    }
    unsigned char head[256] = { 0 };
    const size_t length = strlen(e->name), wide_field = bytes >= wide ? 20 : 0;
    size_t padding = (size_t)(ALIGN - (w->at + 30 + length + wide_field + 4) % ALIGN) % ALIGN;
    le(head, 0x04034b50, 4);
    le(head + 4, wide_field ? 45 : 0, 2);
    le(head + 12, 33, 2);   // 1 January 1980
    le(head + 14, e->crc, 4);
    le(head + 18, wide_field ? wide : bytes, 4);
    le(head + 22, wide_field ? wide : bytes, 4);
    le(head + 26, length, 2);
    le(head + 28, wide_field + 4 + padding, 2);
    memcpy(head + 30, e->name, length);
    size_t used = 30 + length;
    if (wide_field) {
        le(head + used, 1, 2);
        le(head + used + 2, 16, 2);
        le(head + used + 4, bytes, 8);
        le(head + used + 12, bytes, 8);
        used += 20;
    }
    memcpy(head + used, "FB", 2);
    le(head + used + 2, padding, 2);
    used += 4 + padding;
    VJ_TRY(vj_io_pwrite(w->fd, head, used, (off_t)w->at, w->temporary));
    w->at += used;
    if (bytes > 0) VJ_TRY(vj_io_pwrite(w->fd, data, (size_t)bytes, (off_t)w->at, w->temporary));
    w->at += bytes;
    return VJ_OK;
}

static vj_status write_directory(vj_pt_writer *w)
{
    const uint64_t begin = w->at;
    for (int64_t i = 0; i < w->n; i++) {
        const zip_entry *e = &w->entries[i];
        unsigned char r[192] = { 0 };
        const size_t length = strlen(e->name);
        const bool big = e->bytes >= wide, far = e->offset >= wide;
        const size_t fields = (big ? 16 : 0) + (far ? 8 : 0), extra = fields ? fields + 4 : 0;
        le(r, 0x02014b50, 4);
        le(r + 4, extra ? 45 : 0, 2);
        le(r + 6, extra ? 45 : 0, 2);
        le(r + 14, 33, 2);
        le(r + 16, e->crc, 4);
        le(r + 20, big ? wide : e->bytes, 4);
        le(r + 24, big ? wide : e->bytes, 4);
        le(r + 28, length, 2);
        le(r + 30, extra, 2);
        le(r + 42, far ? wide : e->offset, 4);
        memcpy(r + 46, e->name, length);
        size_t used = 46 + length;
        if (extra) {
            le(r + used, 1, 2);
            le(r + used + 2, fields, 2);
            used += 4;
            if (big) {
                le(r + used, e->bytes, 8);
                le(r + used + 8, e->bytes, 8);
                used += 16;
            }
            if (far) le(r + used, e->offset, 8), used += 8;
        }
        VJ_TRY(vj_io_pwrite(w->fd, r, used, (off_t)w->at, w->temporary));
        w->at += used;
    }
    const uint64_t end = w->at, bytes = end - begin;
    const bool big = begin >= wide || w->n >= 0xffff;
    unsigned char r[98] = { 0 };
    size_t used = 0;
    if (big) {
        le(r, 0x06064b50, 4);
        le(r + 4, 44, 8);
        le(r + 12, 45, 2);
        le(r + 14, 45, 2);
        le(r + 24, (uint64_t)w->n, 8);
        le(r + 32, (uint64_t)w->n, 8);
        le(r + 40, bytes, 8);
        le(r + 48, begin, 8);
        le(r + 56, 0x07064b50, 4);
        le(r + 64, end, 8);
        le(r + 72, 1, 4);
        used = 76;
    }
    le(r + used, 0x06054b50, 4);
    le(r + used + 8, big ? 0xffff : (uint64_t)w->n, 2);
    le(r + used + 10, big ? 0xffff : (uint64_t)w->n, 2);
    le(r + used + 12, bytes, 4);
    le(r + used + 16, big ? wide : begin, 4);
    return vj_io_pwrite(w->fd, r, used + 22, (off_t)end, w->temporary);
}

// ---- life
// -------------------------------------------------------------------------------------------------------------
vj_status vj_pt_writer_create(vj_pt_writer **out, const char *path)
{
    *out = NULL;
    vj_pt_writer *w = calloc(1, sizeof *w);
    VJ_CHECK(w != NULL, VJ_ERR_NOMEM, "no memory to write %s", path);
    w->fd = -1;
    snprintf(w->path, sizeof w->path, "%s", path);
    snprintf(w->temporary, sizeof w->temporary, "%s.tmp-%d", w->path, (int)getpid());
    unlink(w->temporary);
    vj_status status = vj_io_create(&w->fd, w->temporary);
    if (status == VJ_OK) vj_str_add_n(&w->pickle, "\x80\x02", 2);
    if (status != VJ_OK) vj_pt_writer_abandon(&w);
    *out = w;
    return status;
}

vj_status vj_pt_put_tensor(vj_pt_writer *w, int rank, const int64_t *shape, const float *data)
{
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= shape[i];
    char entry[40];
    vj_format(entry, sizeof entry, "data/%lld", (long long)w->tensors);
    VJ_TRY(add_entry(w, entry, data, (uint64_t)count * sizeof *data));
    pickle_tensor(w, rank, shape, count);
    w->tensors++;
    return VJ_OK;
}

vj_status vj_pt_writer_finish(vj_pt_writer **writer)
{
    vj_pt_writer *w = *writer;
    op(w, '.');
    vj_status status = add_entry(w, "data.pkl", w->pickle.data, w->pickle.length);
    if (status == VJ_OK) status = add_entry(w, "byteorder", "little", 6);
    if (status == VJ_OK) status = add_entry(w, "version", "3\n", 2);
    if (status == VJ_OK) status = write_directory(w);
    if (status == VJ_OK) status = vj_io_fsync(w->fd, w->temporary);
    vj_io_close(&w->fd);
    if (status == VJ_OK) status = vj_io_rename(w->temporary, w->path);
    vj_pt_writer_abandon(writer);
    return status;
}

void vj_pt_writer_abandon(vj_pt_writer **writer)
{
    vj_pt_writer *w = *writer;
    if (!w) return;
    vj_io_close(&w->fd);
    unlink(w->temporary);
    vj_str_free(&w->pickle);
    free(w->entries);
    free(w);
    *writer = NULL;
}
