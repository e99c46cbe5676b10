// data/link.c

#include "data/link.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/base/hash.h"

enum { HEADER = 24, EXTENT = 12, SLACK = 64, GAP = 1 << 16, SPAN = 8 << 20 };

// ---- writing -------------------------------------------------------------------------------------------------------

vj_status vj_link_add(vj_link_extents *x, int64_t offset, int64_t bytes)
{
    vj_link_extent *last = x->n > 0 ? &x->v[x->n - 1] : NULL;
    if (last != NULL && last->offset + last->bytes == offset && last->bytes + bytes <= VJ_LINK_MAX_SAMPLE) {
        last->bytes += (uint32_t)bytes;
        return VJ_OK;
    }
    if (x->n == x->capacity) {
        const int64_t capacity = x->capacity == 0 ? 256 : 2 * x->capacity;
        vj_link_extent *v = realloc(x->v, (size_t)capacity * sizeof *v);
        VJ_CHECK(v != NULL, VJ_ERR_NOMEM, "no memory for a list of extents");
        x->v = v;
        x->capacity = capacity;
    }
    x->v[x->n++] = (vj_link_extent){ offset, (uint32_t)bytes };
    return VJ_OK;
}

int64_t vj_link_find(int fd, int64_t near, const void *data, size_t bytes)
{
    if (near < 0 || bytes == 0 || bytes > VJ_LINK_MAX_SAMPLE) return -1;
    unsigned char *window = malloc(bytes + SLACK);
    size_t n = 0;
    while (window != NULL && n < bytes + SLACK) {
        const ssize_t got = pread(fd, window + n, bytes + SLACK - n, (off_t)near + (off_t)n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
    }
    int64_t found = -1;
    for (size_t at = 0; found < 0 && at < SLACK && at + bytes <= n; at++) {
        if (memcmp(window + at, data, bytes) == 0) found = near + (int64_t)at;
    }
    free(window);
    return found;
}

vj_status vj_link_write(vj_bytes *out, const void *sample, size_t bytes, size_t head, const vj_link_extents *x)
{
    const uint32_t crc = vj_crc32c(0, sample, bytes), small[2] = { (uint32_t)head, (uint32_t)x->n };
    const int64_t total = (int64_t)bytes;
    VJ_ASSERT(head <= bytes && bytes <= VJ_LINK_MAX_SAMPLE);
    out->bytes = 0;
    VJ_TRY(vj_bytes_add(out, "VJL1", 4));
    VJ_TRY(vj_bytes_add(out, &crc, 4));
    VJ_TRY(vj_bytes_add(out, &total, 8));
    VJ_TRY(vj_bytes_add(out, small, 8));
    for (int64_t i = 0; i < x->n; i++) {
        VJ_TRY(vj_bytes_add(out, &x->v[i].offset, 8));
        VJ_TRY(vj_bytes_add(out, &x->v[i].bytes, 4));
    }
    return vj_bytes_add(out, sample, head);
}

// ---- reading -------------------------------------------------------------------------------------------------------

typedef struct record {
    const unsigned char *extents, *head;
    int64_t bytes, head_bytes, n;
    uint32_t crc;
} record;

static vj_link_extent extent_of(const record *r, int64_t i)
{
    return (vj_link_extent){ vj_bytes_get64(r->extents + i * EXTENT), vj_bytes_get32(r->extents + i * EXTENT + 8) };
}

static vj_status parse(record *r, const void *data, size_t bytes, int64_t file_bytes)
{
    const unsigned char *p = data;
    VJ_CHECK(bytes >= HEADER && memcmp(p, "VJL1", 4) == 0, VJ_ERR_DATA, "these bytes are no linked sample");
    *r = (record){ .crc = vj_bytes_get32(p + 4), .bytes = vj_bytes_get64(p + 8), .head_bytes = vj_bytes_get32(p + 16), .n = vj_bytes_get32(p + 20),
                   .extents = p + HEADER };
    VJ_CHECK(HEADER + r->head_bytes + EXTENT * r->n == (int64_t)bytes, VJ_ERR_DATA, "a linked sample's parts do not add up to its %zu bytes",
             bytes);
    r->head = r->extents + EXTENT * r->n;
    int64_t total = r->head_bytes;
    for (int64_t i = 0; i < r->n; i++) {
        const vj_link_extent e = extent_of(r, i);
        VJ_CHECK(e.offset >= 0 && e.bytes <= file_bytes && e.offset <= file_bytes - e.bytes, VJ_ERR_DATA,
                 "a linked sample asks for bytes %lld + %u of a file of %lld", (long long)e.offset, e.bytes, (long long)file_bytes);
        total += e.bytes;
    }
    VJ_CHECK(total == r->bytes && total >= 1 && total <= VJ_LINK_MAX_SAMPLE, VJ_ERR_DATA,
             "a linked sample claims %lld bytes, its parts have %lld", (long long)r->bytes, (long long)total);
    return VJ_OK;
}

// A folder without anything in it is a mount point without its file system, most likely.
static bool root_is_there(const char *root)
{
    DIR *dir = opendir(root);
    struct dirent *entry;
    bool any = false;
    if (dir == NULL) return false;
    while (!any && (entry = readdir(dir)) != NULL) any = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return any;
}

static vj_status open_file(int *fd, const vj_link_file *file)
{
    struct stat st;
    *fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        const int error = errno;
        const bool gone = error == ENOENT || error == ENOTDIR || error == ELOOP || error == EACCES || error == EPERM ||
                          error == ENAMETOOLONG;
        VJ_CHECK(!gone || root_is_there(file->root), VJ_ERR_IO,
                 "the folder of the original files is not there, empty, or may not be read: %s", file->root);
        VJ_FAIL(gone ? VJ_ERR_DATA : VJ_ERR_IO, "the original file cannot be opened (%s): %s", strerror(error), file->path);
    }
    const bool known = fstat(*fd, &st) == 0;
    const int error = errno;
    vj_status status = VJ_OK;
    if (!known) status = vj_fail(VJ_ERR_IO, "the original file cannot be looked at (%s): %s", strerror(error), file->path);
    else if (!S_ISREG(st.st_mode)) status = vj_fail(VJ_ERR_DATA, "the original is no file any more: %s", file->path);
    else if ((int64_t)st.st_size != file->bytes)
        status = vj_fail(VJ_ERR_DATA, "the original file changed: it has %lld bytes, it had %lld when it was linked: %s",
                         (long long)st.st_size, (long long)file->bytes, file->path);
    else if ((int64_t)st.st_mtim.tv_sec != file->mtime_ns / 1000000000)   // file systems round what is below a second
        status = vj_fail(VJ_ERR_DATA, "the original file changed: it was written to after it was linked: %s", file->path);
    if (status != VJ_OK) vj_io_close(fd);
    return status;
}

// Extents that lie close together (sound in between) are read at one go.
static vj_status read_extents(const record *r, int fd, const char *path, unsigned char *out)
{
    unsigned char *span = NULL;
    vj_status status = VJ_OK;
    for (int64_t i = 0; status == VJ_OK && i < r->n;) {
        const vj_link_extent first = extent_of(r, i);
        int64_t end = first.offset + first.bytes, last = i + 1;
        for (; last < r->n; last++) {
            const vj_link_extent e = extent_of(r, last);
            if (e.offset < end || e.offset - end > GAP || e.offset + e.bytes - first.offset > SPAN) break;
            end = e.offset + e.bytes;
        }
        if (last == i + 1) {
            status = vj_io_pread(fd, out, first.bytes, (off_t)first.offset, path);
            out += first.bytes;
        } else {
            if (span == NULL) span = malloc(SPAN);
            status = span != NULL ? vj_io_pread(fd, span, (size_t)(end - first.offset), (off_t)first.offset, path)
                                  : vj_fail(VJ_ERR_NOMEM, "no memory for reading a linked sample");
            for (int64_t k = i; status == VJ_OK && k < last; k++) {
                const vj_link_extent e = extent_of(r, k);
                memcpy(out, span + (e.offset - first.offset), e.bytes);
                out += e.bytes;
            }
        }
        i = last;
    }
    free(span);
    return status;
}

vj_status vj_link_read(vj_bytes *out, const void *data, size_t bytes, const vj_link_file *file)
{
    record r;
    int fd = -1;
    vj_status status = VJ_OK;
    VJ_TRY(parse(&r, data, bytes, file->bytes));
    VJ_TRY(vj_bytes_set(out, (size_t)r.bytes));
    if (r.head_bytes > 0) memcpy(out->data, r.head, (size_t)r.head_bytes);
    if (r.n > 0) VJ_TRY(open_file(&fd, file));
    uint32_t crc = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (r.n > 0) VJ_TRY_GOTO(read_extents(&r, fd, file->path, out->data + r.head_bytes), done);
        crc = vj_crc32c(0, out->data, out->bytes);
        if (crc == r.crc) goto done;
        if (fd >= 0) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);   // a page that went bad in memory is read anew
    }
    status = vj_fail(VJ_ERR_DATA, "the original file changed: checksum %08x, expected %08x: %s", crc, r.crc, file->path);
done:
    vj_io_close(&fd);
    return status;
}
