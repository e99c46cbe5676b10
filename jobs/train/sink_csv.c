// log_r0.csv: one line a step in the columns of the published code (spec/pretrain.md 8): epoch from 1, iteration from 0, the
// step's own loss, milliseconds of the step, of its computing, and of waiting for data. An epoch is log.epoch steps.

#include "jobs/train/sinks_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/file.h"

static const char header[] = "epoch,itr,loss,iter-time(ms),gpu-time(ms),dataload-time(ms)\n";

typedef struct csv {
    int fd;
    int64_t epoch;
    char path[640];
} csv;

static bool wanted(const vj_train_config *config) { return config->log_csv; }
static void path_of(char out[640], const vj_sink_place *place) { vj_path_join(out, 640, place->run_path, "log_r0.csv"); }

// Bytes of the leading lines that are whole and do not lie beyond `last_step`; 0 for a file that is none of ours.
static size_t keep(const char *text, size_t bytes, int64_t epoch, int64_t last_step)
{
    const size_t head = sizeof header - 1;
    if (bytes < head || memcmp(text, header, head) != 0) return 0;
    size_t kept = head;
    while (kept < bytes) {
        const char *line = text + kept, *end = memchr(line, '\n', bytes - kept);
        char *after = NULL;
        if (!end) break;
        const long long e = strtoll(line, &after, 10);
        if (after == line || *after != ',' || e < 1 || e > INT64_MAX / epoch) break;
        const char *second = after + 1;
        const long long i = strtoll(second, &after, 10);
        if (after == second || *after != ',' || i < 0 || i >= epoch || (e - 1) * epoch + i >= last_step) break;
        kept = (size_t)(end - text) + 1;
    }
    return kept;
}

static vj_status cut(const vj_sink_place *place)
{
    char path[640], *text = NULL;
    size_t bytes = 0;
    path_of(path, place);
    if (!vj_path_exists(path)) return VJ_OK;
    VJ_TRY(vj_file_read(path, &text, &bytes, (size_t)1 << 40));
    const size_t kept = keep(text, bytes, place->epoch, place->last_step);
    free(text);
    if (kept == bytes) return VJ_OK;
    VJ_CHECK(truncate(path, (off_t)kept) == 0, VJ_ERR_IO, "%s: cannot be cut to the restored step: %s", path, strerror(errno));
    return VJ_OK;
}

static vj_status put(csv *c, const char *text, size_t n)
{
    const ssize_t written = write(c->fd, text, n);
    VJ_CHECK(written == (ssize_t)n, VJ_ERR_IO, "%s: cannot write: %s", c->path, written < 0 ? strerror(errno) : "no space left on device");
    return VJ_OK;
}

static vj_status open_csv(void **state, const vj_sink_place *place)
{
    csv *c = calloc(1, sizeof *c);
    VJ_CHECK(c != NULL, VJ_ERR_NOMEM, "no memory for log_r0.csv");
    c->epoch = place->epoch;
    path_of(c->path, place);
    c->fd = open(c->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    vj_status status = VJ_OK;
    if (c->fd < 0) status = vj_fail(VJ_ERR_IO, "%s: cannot be opened: %s", c->path, strerror(errno));
    else if (lseek(c->fd, 0, SEEK_END) == 0) status = put(c, header, sizeof header - 1);
    if (status == VJ_OK) {
        *state = c;
        return VJ_OK;
    }
    if (c->fd >= 0) close(c->fd);
    free(c);
    return status;
}

static long long milliseconds(double seconds) { return seconds > 0 && seconds < 1e12 ? (long long)(seconds * 1000) : 0; }

static vj_status step(void *state, const vj_step_times *t)
{
    csv *c = state;
    char line[400];
    const int64_t at = t->step - 1;
    const int n = snprintf(line, sizeof line, "%lld,%lld,%.5f,%lld,%lld,%lld\n", (long long)(at / c->epoch + 1), (long long)(at % c->epoch), t->loss,
                           milliseconds(t->step_seconds), milliseconds(t->compute_seconds), milliseconds(t->wait_seconds));
    return put(c, line, n > 0 && (size_t)n < sizeof line ? (size_t)n : 0);
}

static void close_csv(void *state)
{
    csv *c = state;
    close(c->fd);
    free(c);
}

const vj_sink_kind vj_sink_csv = { .name = "log_r0.csv", .wanted = wanted, .prepare = cut, .open = open_csv, .step = step, .close = close_csv };
