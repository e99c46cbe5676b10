// data/shard_write.c
//
// Order: datasets are laid out, the payload is copied to its place and digested, attributes say what it is, vj.clean
// comes last, everything is synced, the shard is opened again the way a reader does, and only then gets its name.

#include "data/shard_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/shard_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

typedef struct shard_writer {
    vj_h5 *h5;
    const vj_pack_row *rows;
    int64_t n, blob_bytes, blob_offset;
    vj_shard_row *index;
    unsigned char blob_digest[32], index_digest[32];
} shard_writer;

static int64_t align_up(int64_t n) { return (n + VJ_SHARD_ALIGN - 1) / VJ_SHARD_ALIGN * VJ_SHARD_ALIGN; }

// Places every row in the blob and numbers the files.
static vj_status plan_rows(shard_writer *w)
{
    w->index = calloc((size_t)w->n, sizeof *w->index);
    VJ_CHECK(w->index != NULL, VJ_ERR_NOMEM, "no memory for an index of %lld rows", (long long)w->n);
    int64_t end = 0;
    uint32_t file = 0;
    for (int64_t i = 0; i < w->n; i++) {
        const vj_pack_row *r = &w->rows[i];
        const vj_sample_info *s = &r->info;
        if (i > 0 && strcmp(r->file, w->rows[i - 1].file) != 0) file++;
        w->index[i] = (vj_shard_row){
            .offset = (uint64_t)end, .nbytes = (uint64_t)s->bytes, .key = s->key, .t0_us = s->t0_us, .t1_us = s->t1_us,
            .crc32c = r->crc32c, .src_id = file, .n_frames = (uint32_t)s->n_frames, .fps_num = (uint32_t)s->fps_num,
            .fps_den = (uint32_t)s->fps_den, .flags = s->flags, .label = s->label, .width = (uint16_t)s->width,
            .height = (uint16_t)s->height, .sar_num = r->sar_num, .sar_den = r->sar_den, .media = (uint8_t)s->media,
            .orientation = (uint8_t)s->orientation,
        };
        end = align_up(end + s->bytes);
    }
    w->blob_bytes = end;
    return vj_shard_index_digest(w->index, w->n, w->index_digest);
}

static vj_status write_columns(shard_writer *w)
{
    char path[64];
    void *packed = malloc((size_t)w->n * 8);
    VJ_CHECK(packed != NULL, VJ_ERR_NOMEM, "no memory for an index of %lld rows", (long long)w->n);
    vj_status status = VJ_OK;
    for (const vj_shard_column *c = vj_shard_columns; status == VJ_OK && c->name != NULL; c++) {
        vj_format(path, sizeof path, "/idx/%s", c->name);
        vj_shard_column_pack(c, w->index, w->n, packed);
        status = vj_h5_dataset(w->h5, path, c->type, 1, &w->n, NULL);
        if (status == VJ_OK) status = vj_h5_write(w->h5, path, packed);
    }
    free(packed);
    return status;
}

static vj_status write_files(shard_writer *w, bool linked)
{
    vj_status status = VJ_OK;
    vj_str text = { 0 };
    uint64_t *offset = calloc((size_t)w->n + 1, sizeof *offset);
    int64_t *was = calloc(2 * (size_t)w->n, sizeof *was), files = 0;   // sizes, then times
    if (offset == NULL || was == NULL) {
        status = vj_fail(VJ_ERR_NOMEM, "no memory for the names of files");
        goto done;
    }
    for (int64_t i = 0; i < w->n; i++) {
        if (i > 0 && w->index[i].src_id == w->index[i - 1].src_id) continue;
        offset[files] = text.length;
        was[files] = w->rows[i].file_bytes;
        was[w->n + files] = w->rows[i].file_mtime_ns;
        files++;
        vj_str_add(&text, w->rows[i].file);
    }
    offset[files] = text.length;
    const int64_t entries = files + 1, bytes = (int64_t)text.length;
    VJ_TRY_GOTO(vj_h5_dataset(w->h5, "/meta/file_offset", VJ_H5_U64, 1, &entries, NULL), done);
    VJ_TRY_GOTO(vj_h5_write(w->h5, "/meta/file_offset", offset), done);
    VJ_TRY_GOTO(vj_h5_dataset(w->h5, "/meta/file_text", VJ_H5_U8, 1, &bytes, NULL), done);
    VJ_TRY_GOTO(vj_h5_write(w->h5, "/meta/file_text", text.data), done);
    if (!linked) goto done;
    VJ_TRY_GOTO(vj_h5_dataset(w->h5, "/meta/link_bytes", VJ_H5_I64, 1, &files, NULL), done);
    VJ_TRY_GOTO(vj_h5_write(w->h5, "/meta/link_bytes", was), done);
    VJ_TRY_GOTO(vj_h5_dataset(w->h5, "/meta/link_mtime_ns", VJ_H5_I64, 1, &files, NULL), done);
    VJ_TRY_GOTO(vj_h5_write(w->h5, "/meta/link_mtime_ns", was + w->n), done);
done:
    free(was);
    free(offset);
    vj_str_free(&text);
    return status;
}

// Copies one sample to its place; `buffer` has `size` bytes.
static vj_status copy_row(const shard_writer *w, int64_t i, int fd, const char *path, vj_sha256 *h, unsigned char *buffer, size_t size)
{
    const vj_pack_row *r = &w->rows[i];
    int64_t done = 0;
    uint32_t crc = 0;
    while (done < r->info.bytes) {
        size_t n = (size_t)(r->info.bytes - done);
        if (n > size) n = size;
        VJ_TRY(vj_io_pread(r->spool_fd, buffer, n, (off_t)(r->spool_offset + done), "spool"));
        VJ_TRY(vj_io_pwrite(fd, buffer, n, (off_t)(w->blob_offset + (int64_t)w->index[i].offset + done), path));
        vj_sha256_add(h, buffer, n);
        crc = vj_crc32c(crc, buffer, n);
        done += (int64_t)n;
    }
    VJ_CHECK(crc == r->crc32c, VJ_ERR_IO, "%s: a sample changed between the spool and the shard (checksum %08x, expected %08x)", path,
             crc, r->crc32c);
    const int64_t pad = align_up(r->info.bytes) - r->info.bytes;
    if (pad > 0) {
        memset(buffer, 0, (size_t)pad);
        VJ_TRY(vj_io_pwrite(fd, buffer, (size_t)pad, (off_t)(w->blob_offset + (int64_t)w->index[i].offset + done), path));
        vj_sha256_add(h, buffer, (size_t)pad);
    }
    return VJ_OK;
}

static vj_status copy_payload(shard_writer *w, int fd, const char *path)
{
    enum { CHUNK = 1 << 18 };
    unsigned char *buffer = malloc(CHUNK);
    VJ_CHECK(buffer != NULL, VJ_ERR_NOMEM, "no memory for copying samples");
    vj_sha256 h;
    vj_sha256_start(&h);
    vj_status status = VJ_OK;
    for (int64_t i = 0; status == VJ_OK && i < w->n; i++) status = copy_row(w, i, fd, path, &h, buffer, CHUNK);
    vj_sha256_end(&h, w->blob_digest);
    free(buffer);
    return status;
}

static vj_status write_attributes(shard_writer *w, const char *source, vj_source_kind kind, bool held_out, const char *link_root)
{
    // The identity follows from the content, so that packing the same files again gives the same shards.
    unsigned char both[64], id[32];
    memcpy(both, w->blob_digest, 32);
    memcpy(both + 32, w->index_digest, 32);
    vj_sha256 h;
    vj_sha256_start(&h);
    vj_sha256_add(&h, both, sizeof both);
    vj_sha256_end(&h, id);
    VJ_TRY(vj_h5_put_text(w->h5, "/", "vj.format", "vjshard"));
    VJ_TRY(vj_h5_put_i64(w->h5, "/", "vj.version", link_root != NULL ? VJ_SHARD_VERSION_LINKED : VJ_SHARD_VERSION));
    if (link_root != NULL) VJ_TRY(vj_h5_put_text(w->h5, "/", "vj.link_root", link_root));
    VJ_TRY(vj_h5_put_text(w->h5, "/", "vj.kind", vj_source_kind_name(kind)));
    VJ_TRY(vj_h5_put_i64(w->h5, "/", "vj.held_out", held_out ? 1 : 0));
    VJ_TRY(vj_h5_put_bytes(w->h5, "/", "vj.shard_uuid", id, 16));
    VJ_TRY(vj_h5_put_text(w->h5, "/", "vj.source", source));
    VJ_TRY(vj_h5_put_i64(w->h5, "/", "vj.n", w->n));
    VJ_TRY(vj_h5_put_i64(w->h5, "/", "vj.blob_bytes", w->blob_bytes));
    VJ_TRY(vj_h5_put_i64(w->h5, "/", "vj.blob_align", VJ_SHARD_ALIGN));
    VJ_TRY(vj_h5_put_bytes(w->h5, "/", "vj.blob_digest", w->blob_digest, 32));
    VJ_TRY(vj_h5_put_bytes(w->h5, "/", "vj.index_digest", w->index_digest, 32));
    VJ_TRY(vj_h5_put_text(w->h5, "/", "vj.tool", "vjepa data pack"));
    return vj_h5_put_i64(w->h5, "/", "vj.clean", 1);
}

static vj_status describe(vj_shard_entry *out, const shard_writer *w, const char *path, const char *name)
{
    struct stat st;
    VJ_CHECK(stat(path, &st) == 0, VJ_ERR_IO, "cannot stat %s: %s", path, strerror(errno));
    *out = (vj_shard_entry){ .path = vj_strdup(name), .n = w->n, .file_bytes = (int64_t)st.st_size, .blob_offset = w->blob_offset,
                             .blob_bytes = w->blob_bytes };
    memcpy(out->blob_digest, w->blob_digest, 32);
    memcpy(out->index_digest, w->index_digest, 32);
    const vj_h5_range payload = { w->blob_offset, w->blob_bytes };
    return vj_h5_metadata_digest(path, &payload, 1, out->metadata_digest);
}

vj_status vj_shard_write(vj_shard_entry *out, const char *dir, const char *name, const char *source, vj_source_kind kind,
                         bool held_out, const char *link_root, const vj_pack_row *rows, int64_t n)
{
    vj_status status = VJ_OK;
    shard_writer w = { .rows = rows, .n = n };
    vj_shard_index check = { 0 };
    char path[4096], temporary[4096];
    int fd = -1;

    VJ_ASSERT(n >= 1 && n <= VJ_SHARD_MAX_ROWS);
    *out = (vj_shard_entry){ 0 };
    vj_path_join(path, sizeof path, dir, name);
    vj_format(temporary, sizeof temporary, "%.4000s.tmp", path);
    VJ_TRY_GOTO(plan_rows(&w), fail);
    VJ_TRY_GOTO(vj_h5_create(&w.h5, temporary), fail);
    VJ_TRY_GOTO(vj_h5_group(w.h5, "/idx"), fail);
    VJ_TRY_GOTO(vj_h5_group(w.h5, "/meta"), fail);
    VJ_TRY_GOTO(write_columns(&w), fail);
    VJ_TRY_GOTO(write_files(&w, link_root != NULL), fail);
    VJ_TRY_GOTO(vj_h5_dataset(w.h5, "/blob", VJ_H5_U8, 1, &w.blob_bytes, &w.blob_offset), fail);
    VJ_ASSERT(w.blob_offset > 0);
    fd = open(temporary, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        status = vj_fail(VJ_ERR_IO, "cannot write %s: %s", temporary, strerror(errno));
        goto fail;
    }
    VJ_TRY_GOTO(copy_payload(&w, fd, temporary), fail);
    VJ_TRY_GOTO(write_attributes(&w, source, kind, held_out, link_root), fail);
    VJ_TRY_GOTO(vj_h5_close(&w.h5), fail);
    VJ_TRY_GOTO(vj_io_fsync(fd, temporary), fail);
    VJ_TRY_GOTO(describe(out, &w, temporary, name), fail);
    VJ_TRY_GOTO(vj_shard_index_load(&check, temporary, out, source), fail);
    VJ_TRY_GOTO(vj_io_rename(temporary, path), fail);
    goto done;
fail:
    vj_context("writing shard %s", path);
    vj_h5_abandon(&w.h5);
    unlink(temporary);
    free(out->path);
    *out = (vj_shard_entry){ 0 };
done:
    vj_shard_index_free(&check);
    vj_io_close(&fd);
    free(w.index);
    return status;
}
