// data/verify.c

#include "data/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/link.h"
#include "data/shard_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/thread.h"

typedef struct check {
    const vj_shard_entry *entry;
    const char *source;
    vj_status status;
    char text[400];
} check;

typedef struct verify_state {
    const char *dir;
    check *checks;
} verify_state;

// Runs through the blob once: digest of everything, checksums of the rows (which lie in order, sharing whole or nothing).
static vj_status check_blob(const vj_shard_index *x, const vj_shard_entry *entry, int fd, const char *path)
{
    enum { CHUNK = 1 << 18 };
    unsigned char *buffer = malloc(CHUNK), digest[32];
    VJ_CHECK(buffer != NULL, VJ_ERR_NOMEM, "no memory for checking");
    vj_status status = VJ_OK;
    vj_sha256 h;
    vj_sha256_start(&h);
    int64_t at = 0, row = 0;
    uint32_t crc = 0;
    while (status == VJ_OK && at < x->blob_bytes) {
        while (row < x->n && (int64_t)(x->rows[row].offset + x->rows[row].nbytes) <= at) row++;
        const vj_shard_row *r = row < x->n ? &x->rows[row] : NULL;
        const bool inside = r != NULL && (int64_t)r->offset <= at;
        const int64_t end = r == NULL ? x->blob_bytes : inside ? (int64_t)(r->offset + r->nbytes) : (int64_t)r->offset;
        const int64_t n = end - at < CHUNK ? end - at : CHUNK;
        status = vj_io_pread(fd, buffer, (size_t)n, (off_t)(x->blob_offset + at), path);
        if (status != VJ_OK) break;
        vj_sha256_add(&h, buffer, (size_t)n);
        if (inside) {
            crc = vj_crc32c(at == (int64_t)r->offset ? 0 : crc, buffer, (size_t)n);
            if (at + n == end && crc != r->crc32c) {
                status = vj_fail(VJ_ERR_DATA, "row %lld: checksum %08x, expected %08x: its bytes are damaged", (long long)row, crc, r->crc32c);
            }
        }
        at += n;
    }
    free(buffer);
    VJ_TRY(status);
    vj_sha256_end(&h, digest);
    VJ_CHECK(memcmp(digest, entry->blob_digest, 32) == 0, VJ_ERR_DATA, "the bytes between the samples are damaged");
    return VJ_OK;
}

// Linked samples, put together from their files: all are tried, the first that fails is named.
static vj_status check_links(const vj_shard_index *x, int fd, const char *path)
{
    vj_status status = VJ_OK, first = VJ_OK;
    vj_bytes record = { 0 }, sample = { 0 };
    char *reason = NULL, place[8192];
    int64_t bad = 0, bad_row = 0;
    for (int64_t i = 0; status == VJ_OK && i < x->n; i++) {
        const vj_shard_row *r = &x->rows[i];
        vj_link_file file;
        vj_shard_index_link(x, i, place, sizeof place, &file);
        status = vj_bytes_set(&record, (size_t)r->nbytes);
        const off_t at = (off_t)(x->blob_offset + (int64_t)r->offset);
        if (status == VJ_OK) status = vj_io_pread(fd, record.data, (size_t)r->nbytes, at, path);
        if (status != VJ_OK) break;
        const vj_status linked = vj_link_read(&sample, record.data, record.bytes, &file);
        if (linked == VJ_OK) continue;
        if (bad++ == 0 || (linked == VJ_ERR_IO && first != VJ_ERR_IO)) {   // what may pass is said rather than what will not
            free(reason);
            reason = vj_strdup(vj_error_text());
            first = linked;
            bad_row = i;
        }
    }
    vj_bytes_free(&record);
    vj_bytes_free(&sample);
    if (status == VJ_OK && bad > 0)
        status = vj_fail(first, "%lld of %lld linked samples cannot be had, row %lld: %s", (long long)bad, (long long)x->n,
                         (long long)bad_row, reason);
    free(reason);
    return status;
}

static vj_status check_shard(const char *dir, const vj_shard_entry *entry, const char *source)
{
    char path[4096];
    struct stat st;
    vj_status status = VJ_OK;
    vj_shard_index x = { 0 };
    unsigned char digest[32];
    int fd = -1;
    vj_path_join(path, sizeof path, dir, entry->path);
    VJ_CHECK(stat(path, &st) == 0, VJ_ERR_IO, "it cannot be opened: %s", strerror(errno));
    VJ_CHECK(S_ISREG(st.st_mode) && (int64_t)st.st_size == entry->file_bytes, VJ_ERR_DATA, "it has %lld bytes, expected %lld: truncated or replaced",
             (long long)st.st_size, (long long)entry->file_bytes);
    VJ_TRY_GOTO(vj_shard_index_load(&x, path, entry, source), done);
    VJ_TRY_GOTO(vj_shard_index_digest(x.rows, x.n, digest), done);
    if (memcmp(digest, entry->index_digest, 32) != 0) {
        status = vj_fail(VJ_ERR_DATA, "the digest of its index is not the catalogue's");
        goto done;
    }
    VJ_TRY_GOTO(vj_io_open_read(&fd, path), done);
    status = check_blob(&x, entry, fd, path);
    if (status == VJ_OK && x.link_root != NULL) status = check_links(&x, fd, path);
done:
    vj_io_close(&fd);
    vj_shard_index_free(&x);
    return status;
}

static void check_task(void *context, int64_t task, int worker)
{
    verify_state *v = context;
    check *c = &v->checks[task];
    (void)worker;
    c->status = check_shard(v->dir, c->entry, c->source);
    if (c->status == VJ_OK) return;
    const char *text = vj_error_text();
    vj_format(c->text, sizeof c->text, "%.*s", (int)strcspn(text, "\n") < 380 ? (int)strcspn(text, "\n") : 380, text);
}

static vj_status verify_catalog(const vj_catalog *catalog, const char *dir, int threads, vj_verify_report *report, vj_str *lines)
{
    int64_t n = 0, at = 0;
    for (int i = 0; i < catalog->n_sources; i++) n += catalog->sources[i].train.n + catalog->sources[i].held_out.n;
    verify_state v = { .dir = dir, .checks = calloc((size_t)n + 1, sizeof *v.checks) };
    VJ_CHECK(v.checks != NULL, VJ_ERR_NOMEM, "no memory for checking %lld shards", (long long)n);
    for (int i = 0; i < catalog->n_sources; i++) {
        const vj_source *s = &catalog->sources[i];
        for (int k = 0; k < s->train.n; k++) v.checks[at++] = (check){ .entry = &s->train.v[k], .source = s->name };
        for (int k = 0; k < s->held_out.n; k++) v.checks[at++] = (check){ .entry = &s->held_out.v[k], .source = s->name };
    }
    vj_pool *pool;
    vj_status status = vj_pool_create(&pool, threads, NULL);
    if (status == VJ_OK) {
        vj_pool_run(pool, n, check_task, &v);
        vj_pool_destroy(&pool);
    }
    report->shards = n;
    for (int64_t i = 0; status == VJ_OK && i < n; i++) {
        const check *c = &v.checks[i];
        report->rows += c->entry->n;
        report->bytes += c->entry->file_bytes;
        if (c->status == VJ_OK) continue;
        if (c->status == VJ_ERR_DATA) report->damaged++;
        else report->unreadable++;
        vj_str_printf(lines, "%s: %s\n", c->entry->path, c->text);
    }
    free(v.checks);
    VJ_TRY(status);
    VJ_CHECK(report->unreadable == 0, VJ_ERR_IO, "%s: %lld of %lld shards cannot be read, %lld are damaged", dir, (long long)report->unreadable,
             (long long)n, (long long)report->damaged);
    VJ_CHECK(report->damaged == 0, VJ_ERR_MISMATCH, "%s: %lld of %lld shards are damaged", dir, (long long)report->damaged, (long long)n);
    return VJ_OK;
}

vj_status vj_verify(const char *dir, int threads, vj_verify_report *report, vj_str *lines)
{
    vj_catalog *catalog = NULL;
    *report = (vj_verify_report){ 0 };
    const vj_status read = vj_catalog_read(&catalog, dir);
    if (read == VJ_ERR_DATA) {   // a damaged catalogue is a failed verification
        char *text = vj_strdup(vj_error_text());
        const vj_status status = vj_fail_text(VJ_ERR_MISMATCH, text);
        free(text);
        return status;
    }
    VJ_TRY(read);
    const vj_status status = verify_catalog(catalog, dir, threads, report, lines);
    vj_catalog_destroy(&catalog);
    return status;
}
