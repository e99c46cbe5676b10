// Reading zip archives without trust: from the end backwards to the central directory, from there to each entry's own
// header, and every offset is checked before it is followed.

#include "checkpoints/pt_zip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

enum { END = 22, END64 = 56, LOCATOR = 20, CENTRAL = 46, LOCAL = 30, COMMENT_MAX = 65535, ENTRIES_MAX = 1 << 20,
       DIRECTORY_MAX = 1 << 28, BLOCK = 4 << 20 };
static const uint32_t all_ones = 0xffffffff;

static uint32_t le16(const unsigned char *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t le32(const unsigned char *p) { return le16(p) | le16(p + 2) << 16; }
static uint64_t le64(const unsigned char *p) { return le32(p) | (uint64_t)le32(p + 4) << 32; }

static VJ_PRINTF(2, 3) vj_status broken(const vj_zip *z, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return vj_fail(VJ_ERR_CONFIG, "%s: the zip archive is damaged: %s", z->path, text);
}

static bool inside(const vj_zip *z, uint64_t offset, uint64_t bytes)
{
    return offset <= (uint64_t)z->bytes && bytes <= (uint64_t)z->bytes - offset;
}

typedef struct directory { uint64_t offset, bytes, entries; } directory;

// The end record, or its zip64 form when a field of it is all ones.
static vj_status find_directory(const vj_zip *z, directory *d)
{
    const int64_t most = END + COMMENT_MAX + LOCATOR, tail = z->bytes < most ? z->bytes : most;
    unsigned char *buffer = malloc((size_t)tail);
    VJ_CHECK(buffer != NULL, VJ_ERR_NOMEM, "no memory to read %s", z->path);
    vj_status status = vj_io_pread(z->fd, buffer, (size_t)tail, (off_t)(z->bytes - tail), z->path);
    int64_t at = tail - END;
    while (status == VJ_OK && at >= 0 &&
           !(le32(buffer + at) == 0x06054b50 && le16(buffer + at + 20) == (uint64_t)(tail - at - END)))
        at--;
    if (status == VJ_OK && at < 0)
        status = vj_fail(VJ_ERR_CONFIG, "%s: is no zip archive that ends well (truncated?)", z->path);
    if (status != VJ_OK) {
        free(buffer);
        return status;
    }
    const unsigned char *e = buffer + at;
    *d = (directory){ .offset = le32(e + 16), .bytes = le32(e + 12), .entries = le16(e + 10) };
    const bool disks = le16(e + 4) != 0 || le16(e + 6) != 0;
    uint64_t end64 = 0;
    const bool has64 = at >= LOCATOR && le32(e - LOCATOR) == 0x07064b50;
    if (has64) end64 = le64(e - LOCATOR + 8);
    const bool needs64 = d->offset == all_ones || d->bytes == all_ones || d->entries == 0xffff;
    free(buffer);
    VJ_CHECK(!disks || needs64, VJ_ERR_CONFIG, "%s: the zip archive is split over disks", z->path);
    if (!needs64) return VJ_OK;
    unsigned char r[END64];
    VJ_CHECK(has64 && inside(z, end64, END64), VJ_ERR_CONFIG,
             "%s: the zip archive is damaged: its zip64 end is not where it should be", z->path);
    VJ_TRY(vj_io_pread(z->fd, r, sizeof r, (off_t)end64, z->path));
    VJ_CHECK(le32(r) == 0x06064b50, VJ_ERR_CONFIG, "%s: the zip archive is damaged: no zip64 end at %llu", z->path,
             (unsigned long long)end64);
    *d = (directory){ .offset = le64(r + 48), .bytes = le64(r + 40), .entries = le64(r + 32) };
    return VJ_OK;
}

// Sizes and offset that do not fit 32 bits stand in the extra field 1, in this order, only those that are all ones.
static bool wide_fields(const unsigned char *extra, size_t bytes, uint64_t *size, uint64_t *packed, uint64_t *offset)
{
    uint64_t *fields[3] = {*size == all_ones ? size : NULL, *packed == all_ones ? packed : NULL,
                           *offset == all_ones ? offset : NULL};
    if (!fields[0] && !fields[1] && !fields[2]) return true;
    while (bytes >= 4) {
        const size_t length = le16(extra + 2);
        if (length > bytes - 4) return false;
        if (le16(extra) == 1) {
            size_t at = 4;
            for (int i = 0; i < 3; i++) {
                if (!fields[i]) continue;
                if (at + 8 > 4 + length) return false;
                *fields[i] = le64(extra + at);
                at += 8;
            }
            return true;
        }
        extra += 4 + length;
        bytes -= 4 + length;
    }
    return false;
}

// One record of the central directory at `p`; *used its bytes.
static vj_status read_record(vj_zip *z, const unsigned char *p, size_t left, size_t *used)
{
    if (left < CENTRAL || le32(p) != 0x02014b50)
        return broken(z, "record %lld of its directory is none", (long long)z->n);
    const size_t name = le16(p + 28), extra = le16(p + 30), comment = le16(p + 32);
    *used = CENTRAL + name + extra + comment;
    if (*used > left) return broken(z, "record %lld of its directory is cut off", (long long)z->n);
    vj_zip_entry *e = &z->entries[z->n];
    e->name = malloc(name + 1);
    VJ_CHECK(e->name != NULL, VJ_ERR_NOMEM, "no memory to read %s", z->path);
    memcpy(e->name, p + CENTRAL, name);
    e->name[name] = '\0';
    z->n++;
    if (strlen(e->name) != name) return broken(z, "the name of entry %lld holds a zero byte", (long long)z->n - 1);
    VJ_CHECK((le16(p + 8) & 1) == 0, VJ_ERR_CONFIG, "%s: entry '%.80s' is encrypted", z->path, e->name);
    VJ_CHECK(le16(p + 10) == 0, VJ_ERR_CONFIG,
             "%s: entry '%.80s' is compressed (method %u); torch.save stores entries as they are", z->path, e->name,
             (unsigned)le16(p + 10));
    uint64_t packed = le32(p + 20), size = le32(p + 24), offset = le32(p + 42);
    if (!wide_fields(p + CENTRAL + name, extra, &size, &packed, &offset))
        return broken(z, "entry '%.80s' lacks its 64-bit sizes", e->name);
    if (size != packed)
        return broken(z, "entry '%.80s' has two sizes, %llu and %llu", e->name, (unsigned long long)size,
                      (unsigned long long)packed);
    if (!inside(z, offset, LOCAL)) return broken(z, "entry '%.80s' begins behind the end of the file", e->name);
    unsigned char local[LOCAL];
    VJ_TRY(vj_io_pread(z->fd, local, sizeof local, (off_t)offset, z->path));
    if (le32(local) != 0x04034b50) return broken(z, "entry '%.80s' has no header of its own", e->name);
    const uint64_t data = offset + LOCAL + le16(local + 26) + le16(local + 28);
    if (!inside(z, data, size)) {
        return broken(z, "entry '%.80s' has %llu bytes from %llu, the file has %lld", e->name, (unsigned long long)size,
                      (unsigned long long)data, (long long)z->bytes);
    }
    e->begin = (int64_t)offset;
    e->offset = (int64_t)data;
    e->bytes = (int64_t)size;
    e->crc = le32(p + 16);
    return VJ_OK;
}

static int by_offset(const void *a, const void *b)
{
    const vj_zip_entry *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static const char *inner(const vj_zip_entry *e)
{
    const char *slash = strchr(e->name, '/');
    return slash ? slash + 1 : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(inner(*(const vj_zip_entry *const *)a), inner(*(const vj_zip_entry *const *)b));
}

static vj_status index_names(vj_zip *z)
{
    z->names = malloc((size_t)(z->n + 1) * sizeof *z->names);
    VJ_CHECK(z->names != NULL, VJ_ERR_NOMEM, "no memory to read %s", z->path);
    for (int64_t i = 0; i < z->n; i++) {
        if (inner(&z->entries[i])) z->names[z->n_names++] = &z->entries[i];
    }
    qsort(z->names, (size_t)z->n_names, sizeof *z->names, by_name);
    for (int64_t i = 1; i < z->n_names; i++) {
        if (by_name(&z->names[i - 1], &z->names[i]) == 0)
            return broken(z, "entry '%.80s' is there twice", z->names[i]->name);
    }
    return VJ_OK;
}

static vj_status read_directory(vj_zip *z)
{
    directory d = { 0 };
    VJ_TRY(find_directory(z, &d));
    if (!inside(z, d.offset, d.bytes) || d.bytes > DIRECTORY_MAX || d.entries > ENTRIES_MAX ||
        d.entries * CENTRAL > d.bytes) {
        return broken(z, "a directory of %llu entries in %llu bytes at %llu cannot be", (unsigned long long)d.entries,
               (unsigned long long)d.bytes, (unsigned long long)d.offset);
    }
    unsigned char *buffer = malloc((size_t)d.bytes + 1);
    z->entries = calloc((size_t)d.entries + 1, sizeof *z->entries);
    vj_status status = buffer && z->entries ? VJ_OK : vj_fail(VJ_ERR_NOMEM, "no memory to read %s", z->path);
    if (status == VJ_OK) status = vj_io_pread(z->fd, buffer, (size_t)d.bytes, (off_t)d.offset, z->path);
    size_t at = 0, used = 0;
    for (uint64_t i = 0; i < d.entries && status == VJ_OK; i++, at += used)
        status = read_record(z, buffer + at, (size_t)d.bytes - at, &used);
    free(buffer);
    VJ_TRY(status);
    qsort(z->entries, (size_t)z->n, sizeof *z->entries, by_offset);
    for (int64_t i = 1; i < z->n; i++) {
        const vj_zip_entry *a = &z->entries[i - 1], *b = &z->entries[i];
        if (a->offset + a->bytes > b->begin) return broken(z, "entries '%.60s' and '%.60s' overlap", a->name, b->name);
    }
    const vj_zip_entry *last = z->n > 0 ? &z->entries[z->n - 1] : NULL;
    if (last && (uint64_t)(last->offset + last->bytes) > d.offset)
        return broken(z, "entry '%.60s' and the directory overlap", last->name);
    return index_names(z);
}

vj_status vj_zip_open(vj_zip *z, const char *path)
{
    *z = (vj_zip){ .fd = -1 };
    snprintf(z->path, sizeof z->path, "%s", path);
    VJ_TRY(vj_io_open_read(&z->fd, path));
    struct stat st;
    vj_status status = VJ_OK;
    if (fstat(z->fd, &st) != 0 || !S_ISREG(st.st_mode)) status = vj_fail(VJ_ERR_CONFIG, "%s: is no regular file", path);
    else z->bytes = (int64_t)st.st_size;
    if (status == VJ_OK && z->bytes < END)
        status = vj_fail(VJ_ERR_CONFIG, "%s: %lld bytes are too few for a zip archive", path, (long long)z->bytes);
    if (status == VJ_OK) status = read_directory(z);
    if (status != VJ_OK) vj_zip_close(z);
    return status;
}

void vj_zip_close(vj_zip *z)
{
    vj_io_close(&z->fd);
    for (int64_t i = 0; i < z->n; i++) free(z->entries[i].name);
    free(z->entries);
    free(z->names);
    z->entries = NULL;
    z->names = NULL;
    z->n = z->n_names = 0;
}

const vj_zip_entry *vj_zip_find(const vj_zip *z, const char *name)
{
    int64_t low = 0, high = z->n_names;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(inner(z->names[middle]), name);
        if (order == 0) return z->names[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

vj_status vj_zip_check(const vj_zip *z, const vj_zip_entry *e)
{
    unsigned char *block = malloc(BLOCK);
    VJ_CHECK(block != NULL, VJ_ERR_NOMEM, "no memory to read %s", z->path);
    uint32_t crc = 0;
    vj_status status = VJ_OK;
    for (int64_t at = 0; at < e->bytes && status == VJ_OK; at += BLOCK) {
        const size_t n = (size_t)(e->bytes - at < BLOCK ? e->bytes - at : BLOCK);
        status = vj_io_pread(z->fd, block, n, (off_t)(e->offset + at), z->path);
        if (status == VJ_OK) crc = vj_crc32(crc, block, n);
    }
    free(block);
    VJ_TRY(status);
    if (crc != e->crc) return broken(z, "the bytes of entry '%.80s' do not fit their checksum", e->name);
    return VJ_OK;
}
