// data/shard.c
//
// The set of open shards. One mutex guards which shards are open; an open shard is pinned by a count while a thread
// reads from it, and the longest unused one without a pin is closed when too many are open. File descriptors are plain
// ones: HDF5 is closed again as soon as the index is in memory.

#include "data/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/link.h"
#include "data/shard_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

enum { OPEN_WAIT = 1 };   // seconds

typedef struct open_shard {
    vj_shard_index index;
    char *path;
    int fd;
    int pins;
    bool given_up;              // a read failed: no longer in the set, closed when the last thread is done with it
    uint64_t used;              // tick of the last use
    struct open_shard **slot;   // where the set points to us
} open_shard;

typedef struct row_space {
    const vj_source *source;
    const vj_shard_list *list;
    open_shard **slots;         // (list->n), NULL while closed
    int *opening;               // (list->n) threads that are opening it now
} row_space;

struct vj_shards {
    const vj_catalog *catalog;
    row_space *spaces;          // (n_sources, 2): training, held out
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    open_shard **open;          // (max_open) packed
    int n_open, max_open;
    uint64_t tick;
};

static void close_shard(open_shard **shard)
{
    open_shard *s = *shard;
    if (s == NULL) return;
    vj_shard_index_free(&s->index);
    vj_io_close(&s->fd);
    free(s->path);
    free(s);
    *shard = NULL;
}

vj_status vj_shards_open(vj_shards **out, const vj_catalog *catalog, int max_open)
{
    *out = NULL;
    vj_shards *s = calloc(1, sizeof *s);
    VJ_CHECK(s != NULL, VJ_ERR_NOMEM, "no memory for a set of shards");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->opened, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->catalog = catalog;
    s->max_open = max_open > 0 ? max_open : 256;
    s->open = calloc((size_t)s->max_open, sizeof(open_shard *));
    s->spaces = calloc((size_t)catalog->n_sources * 2, sizeof *s->spaces);
    bool whole = s->open != NULL && s->spaces != NULL;
    for (int i = 0; whole && i < 2 * catalog->n_sources; i++) {
        row_space *space = &s->spaces[i];
        space->source = &catalog->sources[i / 2];
        space->list = i % 2 == 0 ? &space->source->train : &space->source->held_out;
        space->slots = calloc((size_t)space->list->n + 1, sizeof(open_shard *));
        space->opening = calloc((size_t)space->list->n + 1, sizeof *space->opening);
        whole = space->slots != NULL && space->opening != NULL;
    }
    if (!whole) {
        vj_shards_close(&s);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for a set of shards");
    }
    *out = s;
    return VJ_OK;
}

void vj_shards_close(vj_shards **shards)
{
    vj_shards *s = *shards;
    if (s == NULL) return;
    for (int i = 0; i < s->n_open; i++) close_shard(&s->open[i]);
    for (int i = 0; s->spaces != NULL && i < 2 * s->catalog->n_sources; i++) {
        free(s->spaces[i].slots);
        free(s->spaces[i].opening);
    }
    free(s->spaces);
    free(s->open);
    pthread_cond_destroy(&s->opened);
    pthread_mutex_destroy(&s->mutex);
    free(s);
    *shards = NULL;
}

static row_space *space_of(const vj_shards *s, int source, bool held_out)
{
    VJ_ASSERT(source >= 0 && source < s->catalog->n_sources);
    return &s->spaces[2 * source + (held_out ? 1 : 0)];
}

static vj_status open_one(open_shard **out, const char *dir, const vj_shard_entry *entry, const char *source)
{
    char path[4096];
    struct stat st;
    vj_status status = VJ_OK;
    open_shard *s = calloc(1, sizeof *s);

    VJ_CHECK(s != NULL, VJ_ERR_NOMEM, "no memory for an open shard");
    s->fd = -1;
    vj_path_join(path, sizeof path, dir, entry->path);
    s->path = vj_strdup(path);
    if (stat(path, &st) != 0) {
        const bool missing = errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EACCES;
        status = vj_fail(missing ? VJ_ERR_DATA : VJ_ERR_IO, "cannot open shard %s: %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(st.st_mode) || (int64_t)st.st_size != entry->file_bytes) {
        status = vj_fail(VJ_ERR_DATA, "shard %s has %lld bytes, the catalogue says %lld: truncated or replaced", path,
                         (long long)st.st_size, (long long)entry->file_bytes);
        goto fail;
    }
    VJ_TRY_GOTO(vj_shard_index_load(&s->index, path, entry, source), fail);
    VJ_TRY_GOTO(vj_io_open_read(&s->fd, path), fail);
    *out = s;
    return VJ_OK;
fail:
    close_shard(&s);
    return status;
}

// Closes the longest unused shard that nobody reads from; under the mutex.
static void evict(vj_shards *s)
{
    int oldest = -1;
    for (int i = 0; i < s->n_open; i++) {
        if (s->open[i]->pins == 0 && (oldest < 0 || s->open[i]->used < s->open[oldest]->used)) oldest = i;
    }
    if (oldest < 0) return;
    *s->open[oldest]->slot = NULL;
    close_shard(&s->open[oldest]);
    s->open[oldest] = s->open[--s->n_open];
}

// Opens a shard into its slot; under the mutex, which is free meanwhile: a file system that hangs must not stop those who read
// from other shards. One thread opens; who waits for it longer than OPEN_WAIT tries by itself.
static vj_status open_slot(vj_shards *s, row_space *space, int at)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += OPEN_WAIT;
    int rc = 0;
    while (space->slots[at] == NULL && space->opening[at] > 0 && rc == 0) rc = pthread_cond_timedwait(&s->opened, &s->mutex, &until);
    if (space->slots[at] != NULL) return VJ_OK;
    space->opening[at]++;
    pthread_mutex_unlock(&s->mutex);
    open_shard *fresh = NULL;
    vj_status status = open_one(&fresh, s->catalog->dir, &space->list->v[at], space->source->name);
    pthread_mutex_lock(&s->mutex);
    space->opening[at]--;
    pthread_cond_broadcast(&s->opened);
    if (status != VJ_OK || space->slots[at] != NULL) {   // another one was faster
        close_shard(&fresh);
        return space->slots[at] != NULL ? VJ_OK : status;
    }
    if (s->n_open == s->max_open) evict(s);
    if (s->n_open == s->max_open) {
        close_shard(&fresh);
        VJ_FAIL(VJ_ERR_NOMEM, "all %d shards that may be open are in use; allow more", s->max_open);
    }
    space->slots[at] = fresh;
    fresh->slot = &space->slots[at];
    s->open[s->n_open++] = fresh;
    return VJ_OK;
}

// Pins the shard of a row; unpin it afterwards.
static vj_status pin(vj_shards *s, int source, bool held_out, int64_t row, open_shard **out, int64_t *row_in_shard)
{
    row_space *space = space_of(s, source, held_out);
    const int at = vj_shard_list_locate(space->list, row, row_in_shard);
    vj_status status = VJ_OK;
    pthread_mutex_lock(&s->mutex);
    if (space->slots[at] == NULL) status = open_slot(s, space, at);
    if (status == VJ_OK) {
        *out = space->slots[at];
        (*out)->pins++;
        (*out)->used = ++s->tick;
    }
    pthread_mutex_unlock(&s->mutex);
    return status;
}

// `give_up`: its descriptor does not read (a stale handle, say); whoever comes next opens the file anew, with all checks.
static void unpin(vj_shards *s, open_shard *shard, bool give_up)
{
    pthread_mutex_lock(&s->mutex);
    if (give_up && !shard->given_up) {
        shard->given_up = true;
        *shard->slot = NULL;
        int at = 0;
        while (s->open[at] != shard) at++;
        s->open[at] = s->open[--s->n_open];
    }
    if (--shard->pins == 0 && shard->given_up) close_shard(&shard);
    pthread_mutex_unlock(&s->mutex);
}

static void fill_info(vj_sample_info *out, const open_shard *shard, int64_t row, const char *source)
{
    const vj_shard_row *r = &shard->index.rows[row];
    char name[2048], id[2048 + VJ_SOURCE_NAME_MAX];
    vj_shard_index_file(&shard->index, row, name, sizeof name);
    vj_format(id, sizeof id, "%s|%s", source, name);
    *out = (vj_sample_info){
        .key = r->key, .file_key = vj_xxh64(id, strlen(id)), .bytes = (int64_t)r->nbytes, .n_frames = r->n_frames,
        .t0_us = r->t0_us, .t1_us = r->t1_us, .fps_num = (int32_t)r->fps_num, .fps_den = (int32_t)r->fps_den,
        .width = r->width, .height = r->height, .orientation = r->orientation, .label = r->label, .flags = r->flags,
        .media = (vj_media)r->media,
    };
}

vj_status vj_shards_info(vj_shards *shards, int source, bool held_out, int64_t row, vj_sample_info *out)
{
    open_shard *shard;
    int64_t at;
    VJ_TRY(pin(shards, source, held_out, row, &shard, &at));
    fill_info(out, shard, at, shards->catalog->sources[source].name);
    unpin(shards, shard, false);
    return VJ_OK;
}

static vj_status read_stored(const open_shard *shard, int64_t row, vj_bytes *out)
{
    const vj_shard_row *r = &shard->index.rows[row];
    const off_t offset = (off_t)(shard->index.blob_offset + (int64_t)r->offset);
    VJ_TRY(vj_bytes_set(out, (size_t)r->nbytes));
    uint32_t crc = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        VJ_TRY(vj_io_pread(shard->fd, out->data, (size_t)r->nbytes, offset, shard->path));
        crc = vj_crc32c(0, out->data, (size_t)r->nbytes);
        if (crc == r->crc32c) return VJ_OK;
        // A page that went bad in memory is read anew; what is bad on the disk stays bad.
        posix_fadvise(shard->fd, offset, (off_t)r->nbytes, POSIX_FADV_DONTNEED);
    }
    VJ_FAIL(VJ_ERR_DATA, "%s row %lld: checksum %08x, expected %08x: its bytes are damaged", shard->path, (long long)row, crc,
            r->crc32c);
}

// The sample that the shard holds, or that its record and an original file make.
static vj_status read_checked(const open_shard *shard, int64_t row, vj_bytes *out)
{
    char path[8192];
    vj_link_file file;
    vj_bytes stored = { 0 };
    if (shard->index.link_root == NULL) return read_stored(shard, row, out);
    vj_shard_index_link(&shard->index, row, path, sizeof path, &file);
    vj_status status = read_stored(shard, row, &stored);
    if (status == VJ_OK) status = vj_link_read(out, stored.data, stored.bytes, &file);
    vj_bytes_free(&stored);
    return status;
}

vj_status vj_shards_read(vj_shards *shards, int source, bool held_out, int64_t row, vj_sample_info *info, vj_bytes *out)
{
    open_shard *shard;
    int64_t at;
    VJ_TRY(pin(shards, source, held_out, row, &shard, &at));
    if (info != NULL) fill_info(info, shard, at, shards->catalog->sources[source].name);
    const vj_status status = read_checked(shard, at, out);
    if (info != NULL && status == VJ_OK) info->bytes = (int64_t)out->bytes;
    unpin(shards, shard, status == VJ_ERR_IO);
    return status;
}

vj_status vj_shards_file(vj_shards *shards, int source, bool held_out, int64_t row, char *out, size_t size)
{
    open_shard *shard;
    int64_t at;
    VJ_TRY(pin(shards, source, held_out, row, &shard, &at));
    vj_shard_index_file(&shard->index, at, out, size);
    const vj_shard_row *r = &shard->index.rows[at];
    if (r->media == VJ_MEDIA_GRAY8 && strlen(out) + 24 < size) {   // many images of one IDX file
        const size_t n = strlen(out);
        vj_format(out + n, size - n, ":%lld", (long long)r->t0_us);
    }
    unpin(shards, shard, false);
    return VJ_OK;
}

vj_status vj_shards_link(vj_shards *shards, int source, bool held_out, int64_t row, char *out, size_t size)
{
    open_shard *shard;
    int64_t at;
    char path[8192] = "";
    vj_link_file file;
    VJ_TRY(pin(shards, source, held_out, row, &shard, &at));
    if (shard->index.link_root != NULL) vj_shard_index_link(&shard->index, at, path, sizeof path, &file);
    unpin(shards, shard, false);
    vj_format(out, size, "%.*s", (int)size - 1, path);
    return VJ_OK;
}

void vj_shards_where(const vj_shards *shards, int source, bool held_out, int64_t row, char *out, size_t size)
{
    int64_t at;
    const row_space *space = space_of(shards, source, held_out);
    const int i = vj_shard_list_locate(space->list, row, &at);
    vj_format(out, size, "%s row %lld", space->list->v[i].path, (long long)at);
}
