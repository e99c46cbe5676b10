// metrics.jsonl. On opening, lines beyond the restored step are cut, and a torn last line with them: the file then says what
// the weights have seen, no more.

#include "runtime/log/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/file.h"

struct vj_metrics {
    int fd;
    char path[700];
    vj_json_writer writer;
};

// Bytes of the leading lines that are whole, parse, and do not lie beyond `last_step`.
static size_t keep(const char *text, size_t bytes, int64_t last_step)
{
    size_t kept = 0;
    while (kept < bytes) {
        const char *end = memchr(text + kept, '\n', bytes - kept);
        if (!end) break;
        vj_json_doc *doc = NULL;
        int64_t step = 0;
        bool good = vj_json_parse(&doc, text + kept, (size_t)(end - (text + kept)), "metrics") == VJ_OK &&
                    vj_json_i64(vj_json_root(doc), "step", &step) == VJ_OK && step <= last_step;
        vj_json_destroy(&doc);
        if (!good) break;
        kept = (size_t)(end - text) + 1;
    }
    vj_error_clear();
    return kept;
}

vj_status vj_metrics_open(vj_metrics **out, const char *path, int64_t last_step)
{
    *out = NULL;
    size_t kept = 0;
    if (vj_path_exists(path)) {
        char *text = NULL;
        size_t bytes = 0;
        VJ_TRY(vj_file_read(path, &text, &bytes, 0));
        kept = keep(text, bytes, last_step);
        free(text);
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    VJ_CHECK(fd >= 0, VJ_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    vj_metrics *m = calloc(1, sizeof *m);
    if (!m || ftruncate(fd, (off_t)kept) != 0 || lseek(fd, 0, SEEK_END) < 0) {
        const int error = errno;
        free(m);
        close(fd);
        VJ_FAIL(VJ_ERR_IO, "%s: cannot be cut to the restored step: %s", path, strerror(error));
    }
    m->fd = fd;
    vj_format(m->path, sizeof m->path, "%.690s", path);
    *out = m;
    return VJ_OK;
}

vj_json_writer *vj_metrics_begin(vj_metrics *m, int64_t step)
{
    vj_str_clear(&m->writer.out);
    m->writer.depth = 0;
    vj_json_begin_object(&m->writer, NULL);
    vj_json_put_i64(&m->writer, "step", step);
    return &m->writer;
}

vj_status vj_metrics_end(vj_metrics *m)
{
    vj_json_end_object(&m->writer);
    vj_str_add(&m->writer.out, "\n");
    const ssize_t n = write(m->fd, m->writer.out.data, m->writer.out.length);
    VJ_CHECK(n == (ssize_t)m->writer.out.length, VJ_ERR_IO, "%s: cannot write: %s", m->path, n < 0 ? strerror(errno) : "no space left on device");
    return VJ_OK;
}

const char *vj_metrics_line(const vj_metrics *m, size_t *bytes)
{
    *bytes = m->writer.out.length;
    return vj_str_text(&m->writer.out);
}

void vj_metrics_close(vj_metrics **m)
{
    if (!*m) return;
    vj_json_writer_free(&(*m)->writer);
    close((*m)->fd);
    free(*m);
    *m = NULL;
}
