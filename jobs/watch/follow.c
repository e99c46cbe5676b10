// Following a file by its path: opened anew at each call, so that a renamed directory or a replaced file is noticed.

#include "jobs/watch/follow.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 16, LINE_MAX_BYTES = 4 << 20 };

void vj_follow_start(vj_follow *f, const char *path)
{
    *f = (vj_follow){ 0 };
    vj_format(f->path, sizeof f->path, "%s", path);
}

void vj_follow_end(vj_follow *f) { vj_str_free(&f->buffer); }

static bool same_tail(const vj_follow *f, int fd)
{
    char now[sizeof f->tail];
    return f->tail_bytes == 0 || (pread(fd, now, (size_t)f->tail_bytes, (off_t)(f->at - f->tail_bytes)) == f->tail_bytes &&
                                  memcmp(now, f->tail, (size_t)f->tail_bytes) == 0);
}

static void keep_tail(vj_follow *f, int fd)
{
    f->tail_bytes = f->at < (int64_t)sizeof f->tail ? (int)f->at : (int)sizeof f->tail;
    if (pread(fd, f->tail, (size_t)f->tail_bytes, (off_t)(f->at - f->tail_bytes)) != f->tail_bytes) f->tail_bytes = 0;
}

// Hands out whole lines from `at` on; what has no newline yet is read again next time.
static void read_lines(vj_follow *f, int fd, const vj_follow_sink *sink)
{
    char chunk[CHUNK];
    int64_t read_to = f->at;
    bool skipping = false;
    vj_str_clear(&f->buffer);
    for (;;) {
        const ssize_t n = pread(fd, chunk, sizeof chunk, (off_t)read_to);
        if (n <= 0) break;
        read_to += n;
        const char *rest = chunk, *end;
        size_t left = (size_t)n;
        while ((end = memchr(rest, '\n', left)) != NULL) {
            const size_t piece = (size_t)(end - rest);
            if (!skipping) {
                vj_str_add_n(&f->buffer, rest, piece);
                sink->line(sink->context, vj_str_text(&f->buffer), f->buffer.length);
            }
            skipping = false;
            vj_str_clear(&f->buffer);
            rest = end + 1;
            left -= piece + 1;
            f->at = read_to - (int64_t)left;
        }
        if (!skipping) vj_str_add_n(&f->buffer, rest, left);
        if (f->buffer.length > LINE_MAX_BYTES) {
            skipping = true;
            vj_str_clear(&f->buffer);
        }
    }
}

vj_status vj_follow_poll(vj_follow *f, const vj_follow_sink *sink)
{
    struct stat st;
    const int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   // a pipe of that name must not hold us up
    f->there = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (f->there) {
        const bool another = (unsigned long long)st.st_dev != f->device || (unsigned long long)st.st_ino != f->inode;
        if (f->at > 0 && (another || st.st_size < f->at || !same_tail(f, fd))) {
            f->at = 0;
            f->tail_bytes = 0;
            sink->again(sink->context);
        }
        f->device = (unsigned long long)st.st_dev;
        f->inode = (unsigned long long)st.st_ino;
        f->changed = (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec * 1e-9;
        if (st.st_size > f->at) {
            read_lines(f, fd, sink);
            keep_tail(f, fd);
        }
    }
    if (fd >= 0) close(fd);
    return VJ_OK;
}
