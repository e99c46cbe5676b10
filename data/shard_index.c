// data/shard_index.c
//
// The index of one shard: columns of numbers under /idx and the names of the original files under /meta. Everything a
// row claims is checked when it is loaded, so that no later code can be led out of the blob.

#include "data/shard_impl.h"

#include <stdlib.h>
#include <string.h>

#include "data/link.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

enum { LINK_ROOT_MAX = 4096 };

#define AT(member) offsetof(vj_shard_row, member)

const vj_shard_column vj_shard_columns[] = {
    { "crc32c", VJ_H5_U32, AT(crc32c) },
    { "flags", VJ_H5_U32, AT(flags) },
    { "fps_den", VJ_H5_U32, AT(fps_den) },
    { "fps_num", VJ_H5_U32, AT(fps_num) },
    { "height", VJ_H5_U16, AT(height) },
    { "key", VJ_H5_U64, AT(key) },
    { "label", VJ_H5_I32, AT(label) },
    { "media", VJ_H5_U8, AT(media) },
    { "n_frames", VJ_H5_U32, AT(n_frames) },
    { "nbytes", VJ_H5_U64, AT(nbytes) },
    { "offset", VJ_H5_U64, AT(offset) },
    { "orientation", VJ_H5_U8, AT(orientation) },
    { "sar_den", VJ_H5_U16, AT(sar_den) },
    { "sar_num", VJ_H5_U16, AT(sar_num) },
    { "src_id", VJ_H5_U32, AT(src_id) },
    { "t0_us", VJ_H5_I64, AT(t0_us) },
    { "t1_us", VJ_H5_I64, AT(t1_us) },
    { "width", VJ_H5_U16, AT(width) },
    { NULL, VJ_H5_U8, 0 },
};

void vj_shard_column_pack(const vj_shard_column *c, const vj_shard_row *rows, int64_t n, void *packed)
{
    const size_t size = vj_h5_type_size(c->type);
    for (int64_t i = 0; i < n; i++) memcpy((char *)packed + (size_t)i * size, (const char *)&rows[i] + c->at, size);
}

void vj_shard_column_unpack(const vj_shard_column *c, vj_shard_row *rows, int64_t n, const void *packed)
{
    const size_t size = vj_h5_type_size(c->type);
    for (int64_t i = 0; i < n; i++) memcpy((char *)&rows[i] + c->at, (const char *)packed + (size_t)i * size, size);
}

vj_status vj_shard_index_digest(const vj_shard_row *rows, int64_t n, unsigned char out[32])
{
    void *packed = malloc((size_t)n * 8);
    VJ_CHECK(packed != NULL, VJ_ERR_NOMEM, "no memory for an index of %lld rows", (long long)n);
    vj_sha256 h;
    vj_sha256_start(&h);
    for (const vj_shard_column *c = vj_shard_columns; c->name != NULL; c++) {
        vj_shard_column_pack(c, rows, n, packed);
        vj_sha256_add(&h, packed, (size_t)n * vj_h5_type_size(c->type));
    }
    vj_sha256_end(&h, out);
    free(packed);
    return VJ_OK;
}

vj_status vj_shard_index_check(const vj_shard_index *x)
{
    for (int64_t i = 0; i <= x->n_files; i++) {
        const bool ordered = i == 0 ? x->text_offset[0] == 0 : x->text_offset[i] > x->text_offset[i - 1];
        VJ_CHECK(ordered && x->text_offset[i] <= (uint64_t)x->text_bytes, VJ_ERR_DATA, "name %lld of a file lies outside the table", (long long)i);
    }
    uint64_t end = 0, last_offset = 0, last_bytes = 0;
    for (int64_t i = 0; i < x->n; i++) {
        const vj_shard_row *r = &x->rows[i];
        VJ_CHECK(r->nbytes > 0, VJ_ERR_DATA, "row %lld has no bytes", (long long)i);
        VJ_CHECK(r->nbytes <= (uint64_t)x->blob_bytes && r->offset <= (uint64_t)x->blob_bytes - r->nbytes, VJ_ERR_DATA,
                 "row %lld lies at %llu + %llu, the blob has %lld bytes", (long long)i, (unsigned long long)r->offset,
                 (unsigned long long)r->nbytes, (long long)x->blob_bytes);
        // Rows may share all their bytes with the one before, never a part of them.
        const bool shared = i > 0 && r->offset == last_offset && r->nbytes == last_bytes;
        VJ_CHECK(shared || r->offset >= end, VJ_ERR_DATA, "row %lld overlaps the one before", (long long)i);
        VJ_CHECK(r->src_id < (uint64_t)x->n_files, VJ_ERR_DATA, "row %lld comes from file %u of %lld", (long long)i, r->src_id,
                 (long long)x->n_files);
        VJ_CHECK(r->n_frames >= 1 && r->width >= 1 && r->height >= 1 && r->fps_den >= 1 && r->orientation >= 1 &&
                     r->orientation <= 8 && r->media >= VJ_MEDIA_CLIP && r->media <= VJ_MEDIA_OTHER_IMAGE && r->t1_us >= r->t0_us,
                 VJ_ERR_DATA, "row %lld holds impossible values", (long long)i);
        last_offset = r->offset;
        last_bytes = r->nbytes;
        end = r->offset + r->nbytes;
    }
    return VJ_OK;
}

static vj_status load_columns(vj_shard_index *x, vj_h5 *f)
{
    char path[64];
    void *packed = malloc((size_t)x->n * 8);
    VJ_CHECK(packed != NULL, VJ_ERR_NOMEM, "no memory for an index of %lld rows", (long long)x->n);
    vj_status status = VJ_OK;
    for (const vj_shard_column *c = vj_shard_columns; status == VJ_OK && c->name != NULL; c++) {
        vj_format(path, sizeof path, "/idx/%s", c->name);
        status = vj_h5_read(f, path, c->type, x->n, packed);
        if (status == VJ_OK) vj_shard_column_unpack(c, x->rows, x->n, packed);
    }
    free(packed);
    return status;
}

static vj_status load_files(vj_shard_index *x, vj_h5 *f)
{
    int64_t dims[2];
    VJ_TRY(vj_h5_info(f, "/meta/file_offset", NULL, NULL, dims, NULL));
    VJ_CHECK(dims[0] >= 2 && dims[0] <= x->n + 1 && dims[1] == 1, VJ_ERR_DATA, "%lld names of files for %lld rows",
             (long long)dims[0] - 1, (long long)x->n);
    x->n_files = dims[0] - 1;
    x->text_offset = calloc((size_t)dims[0], sizeof *x->text_offset);
    VJ_CHECK(x->text_offset != NULL, VJ_ERR_NOMEM, "no memory for %lld names", (long long)x->n_files);
    VJ_TRY(vj_h5_read(f, "/meta/file_offset", VJ_H5_U64, dims[0], x->text_offset));
    VJ_TRY(vj_h5_info(f, "/meta/file_text", NULL, NULL, dims, NULL));
    VJ_CHECK(dims[0] >= 1 && dims[0] <= (1 << 28) && dims[1] == 1, VJ_ERR_DATA, "the names take %lld bytes", (long long)dims[0]);
    x->text = calloc((size_t)dims[0] + 1, 1);
    VJ_CHECK(x->text != NULL, VJ_ERR_NOMEM, "no memory for the names of files");
    VJ_TRY(vj_h5_read(f, "/meta/file_text", VJ_H5_U8, dims[0], x->text));
    x->text_bytes = dims[0];
    return VJ_OK;
}

static vj_status load_links(vj_shard_index *x, vj_h5 *f)
{
    x->link_root = calloc(1, LINK_ROOT_MAX);
    x->link_bytes = calloc((size_t)x->n_files, sizeof *x->link_bytes);
    x->link_mtime_ns = calloc((size_t)x->n_files, sizeof *x->link_mtime_ns);
    VJ_CHECK(x->link_root != NULL && x->link_bytes != NULL && x->link_mtime_ns != NULL, VJ_ERR_NOMEM, "no memory for %lld links",
             (long long)x->n_files);
    VJ_TRY(vj_h5_get_text(f, "/", "vj.link_root", x->link_root, LINK_ROOT_MAX));
    VJ_CHECK(x->link_root[0] == '/', VJ_ERR_DATA, "the folder of its linked files is '%.100s', an absolute path is expected", x->link_root);
    VJ_TRY(vj_h5_read(f, "/meta/link_bytes", VJ_H5_I64, x->n_files, x->link_bytes));
    return vj_h5_read(f, "/meta/link_mtime_ns", VJ_H5_I64, x->n_files, x->link_mtime_ns);
}

static vj_status check_attributes(vj_shard_index *x, vj_h5 *f, const vj_shard_entry *entry, const char *source, bool *linked)
{
    char text[128];
    int64_t number;
    VJ_TRY(vj_h5_get_text(f, "/", "vj.format", text, sizeof text));
    VJ_CHECK(strcmp(text, "vjshard") == 0, VJ_ERR_DATA, "format '%s', expected 'vjshard'", text);
    VJ_TRY(vj_h5_get_i64(f, "/", "vj.version", &number));
    VJ_CHECK(number == VJ_SHARD_VERSION || number == VJ_SHARD_VERSION_LINKED, VJ_ERR_DATA,
             "version %lld; this program reads versions %d and %d", (long long)number, VJ_SHARD_VERSION, VJ_SHARD_VERSION_LINKED);
    *linked = number == VJ_SHARD_VERSION_LINKED;
    VJ_TRY(vj_h5_get_i64(f, "/", "vj.clean", &number));
    VJ_CHECK(number == 1, VJ_ERR_DATA, "its writing was not finished");
    VJ_TRY(vj_h5_get_text(f, "/", "vj.source", text, sizeof text));
    VJ_CHECK(strcmp(text, source) == 0, VJ_ERR_DATA, "it belongs to source '%s', the catalogue says '%s'", text, source);
    VJ_TRY(vj_h5_get_i64(f, "/", "vj.n", &x->n));
    VJ_CHECK(x->n == entry->n && x->n >= 1, VJ_ERR_DATA, "%lld rows, the catalogue says %lld", (long long)x->n, (long long)entry->n);
    return VJ_OK;
}

vj_status vj_shard_index_load(vj_shard_index *out, const char *path, const vj_shard_entry *entry, const char *source)
{
    vj_status status = VJ_OK;
    vj_h5 *f = NULL;
    vj_shard_index x = { 0 };
    vj_h5_type type;
    int64_t dims[2];
    bool linked = false;
    const vj_h5_range payload = { entry->blob_offset, entry->blob_bytes };
    vj_h5_guard guard = { .payload = &payload, .n = 1 };
    memcpy(guard.digest, entry->metadata_digest, sizeof guard.digest);

    VJ_TRY_GOTO(vj_h5_open(&f, path, &guard), fail);
    VJ_TRY_GOTO(check_attributes(&x, f, entry, source, &linked), fail);
    VJ_TRY_GOTO(vj_h5_info(f, "/blob", &type, NULL, dims, &x.blob_offset), fail);
    x.blob_bytes = dims[0];
    if (type != VJ_H5_U8 || x.blob_offset != entry->blob_offset || x.blob_bytes != entry->blob_bytes) {
        status = vj_fail(VJ_ERR_DATA, "its blob lies at %lld + %lld, the catalogue says %lld + %lld", (long long)x.blob_offset,
                         (long long)x.blob_bytes, (long long)entry->blob_offset, (long long)entry->blob_bytes);
        goto fail;
    }
    x.rows = calloc((size_t)x.n, sizeof *x.rows);
    if (x.rows == NULL) {
        status = vj_fail(VJ_ERR_NOMEM, "no memory for an index of %lld rows", (long long)x.n);
        goto fail;
    }
    VJ_TRY_GOTO(load_files(&x, f), fail);
    if (linked) VJ_TRY_GOTO(load_links(&x, f), fail);
    VJ_TRY_GOTO(load_columns(&x, f), fail);
    VJ_TRY_GOTO(vj_shard_index_check(&x), fail);
    vj_h5_abandon(&f);   // reading: nothing can be lost
    *out = x;
    return VJ_OK;
fail:
    vj_context("opening shard %s", path);
    vj_h5_abandon(&f);
    vj_shard_index_free(&x);
    return status;
}

void vj_shard_index_file(const vj_shard_index *index, int64_t row, char *out, size_t size)
{
    const uint64_t *at = index->text_offset + index->rows[row].src_id;
    size_t n = (size_t)(at[1] - at[0]);
    if (n > size - 1) n = size - 1;
    memcpy(out, index->text + at[0], n);
    out[n] = '\0';
}

void vj_shard_index_link(const vj_shard_index *index, int64_t row, char *path, size_t size, vj_link_file *out)
{
    char name[2048];
    vj_shard_index_file(index, row, name, sizeof name);
    if (name[0] == '/') vj_format(path, size, "%s", name);   // a list may name files anywhere
    else vj_path_join(path, size, index->link_root, name);
    const uint32_t file = index->rows[row].src_id;
    *out = (vj_link_file){ .path = path, .root = index->link_root, .bytes = index->link_bytes[file], .mtime_ns = index->link_mtime_ns[file] };
}

void vj_shard_index_free(vj_shard_index *index)
{
    free(index->rows);
    free(index->text_offset);
    free(index->text);
    free(index->link_root);
    free(index->link_bytes);
    free(index->link_mtime_ns);
    *index = (vj_shard_index){ 0 };
}
