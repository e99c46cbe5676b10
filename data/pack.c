// data/pack.c
//
// The course of packing, source by source: list, look into every file, choose the held-out windows, check the disk, make
// samples (files in parallel, each worker with a spool of its own), gather rows in the order of files, write shards (in
// parallel), and at the very end move the shards to OUT and write the catalogue.
//
// Everything before that happens in OUT/.tmp-pack under a lock on OUT. What is done is written into a journal there, and the same
// command goes on where a killed one stopped (pack_journal.h, pack_folder.c). Nothing that is remembered can change the result:
// a file's scan and samples are taken over only while the file is the same, which windows are held out is chosen anew, and shards
// are made of rows in the order of files, whoever packed them when.

#include "data/pack.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/idx_images.h"
#include "data/pack_folder.h"
#include "data/shard_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/signals.h"
#include "runtime/base/str.h"
#include "runtime/base/thread.h"
#include "runtime/log/log.h"
#include "runtime/log/progress.h"

enum { KEPT_SCAN_PACKETS = 4 << 20, MAX_THREADS = 256 };

typedef struct pack_state {
    const vj_pack_request *request;
    vj_pack_report *report;
    vj_catalog *catalog;
    vj_pool *pool;
    vj_packer *packers;              // (threads)
    int threads;
    vj_pack_folder folder;
    vj_pack_files *listings;         // (n_sources), taken from as each is packed
    // Of the source that is being packed:
    const vj_pack_source *source;
    int index;                       // of the source
    char *link_root;                 // with --link: where its files' names begin
    int64_t spooled;                 // bytes of it in spools of earlier lives
    vj_pack_files files;
    vj_recode_config recode;
    atomic_llong kept_packets, done;
    pthread_mutex_t mutex;           // guards failure, progress
    vj_status failure;               // the first that is not about content
    char *failure_text;
    bool progress;
    char first_reason[400];
} pack_state;

void vj_pack_defaults(vj_pack_request *request)
{
    *request = (vj_pack_request){ .gop = 8, .crf = 23, .threads = 1, .seed = 239, .max_shard_bytes = (int64_t)1 << 30 };
}

static bool name_is_plain(const char *name)
{
    const size_t n = strlen(name);
    if (n < 1 || n >= VJ_SOURCE_NAME_MAX || name[0] == '.') return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n;
}

static vj_status check_request(const vj_pack_request *r)
{
    VJ_CHECK(r->n_sources >= 1 && r->n_sources <= VJ_MAX_SOURCES, VJ_ERR_USAGE, "%d sources: 1 to %d are expected", r->n_sources, VJ_MAX_SOURCES);
    VJ_CHECK(r->window == 0 || (r->window >= 0.1 && r->window <= 86400), VJ_ERR_USAGE, "--window %g: 0.1 to 86400 seconds are expected", r->window);
    VJ_CHECK(r->hold_out >= 0 && r->hold_out <= 0.9, VJ_ERR_USAGE, "--hold-out %g: a fraction from 0 to 0.9 is expected", r->hold_out);
    VJ_CHECK(r->recode == 0 || (r->recode >= 16 && r->recode <= 4096), VJ_ERR_USAGE, "--recode %d: a short side from 16 to 4096 pixels is expected", r->recode);
    VJ_CHECK(r->gop >= 1 && r->gop <= 1000, VJ_ERR_USAGE, "--gop %d: 1 to 1000 frames are expected", r->gop);
    VJ_CHECK(r->crf >= 0 && r->crf <= 51, VJ_ERR_USAGE, "--crf %d: 0 to 51 is expected", r->crf);
    VJ_CHECK(r->threads >= 1 && r->threads <= MAX_THREADS, VJ_ERR_USAGE, "--threads %d: 1 to %d are expected", r->threads, MAX_THREADS);
    VJ_CHECK(r->max_shard_bytes >= 1 << 16, VJ_ERR_USAGE, "--max-shard-bytes %lld: at least 65536 is expected", (long long)r->max_shard_bytes);
    VJ_CHECK(r->limit >= 0, VJ_ERR_USAGE, "--limit %lld: a number of images is expected", (long long)r->limit);
    for (int i = 0; i < r->n_sources; i++) {
        const vj_pack_source *s = &r->sources[i];
        VJ_CHECK(name_is_plain(s->name), VJ_ERR_USAGE, "source name '%s': letters, digits, '_', '-' and '.' are expected", s->name);
        VJ_CHECK(vj_path_exists(s->path), VJ_ERR_USAGE, "source %s: %s does not exist", s->name, s->path);
        VJ_CHECK(vj_path_is_dir(s->path) || s->image || vj_pack_is_list(s->path), VJ_ERR_USAGE, "source %s: %s is not a folder", s->name, s->path);
        for (int j = 0; j < i; j++) VJ_CHECK(strcmp(s->name, r->sources[j].name) != 0, VJ_ERR_USAGE, "source %s is given twice", s->name);
    }
    VJ_CHECK(!r->link || r->recode == 0, VJ_ERR_USAGE, "--link leaves the videos where they are, --recode makes new ones: leave one of them out");
    if (r->recode > 0) VJ_TRY(vj_recode_check());
    return VJ_OK;
}

// ---- workers and their spools --------------------------------------------------------------------------------------

static vj_status open_packers(pack_state *p)
{
    p->packers = calloc((size_t)p->threads, sizeof *p->packers);
    VJ_CHECK(p->packers != NULL, VJ_ERR_NOMEM, "no memory for %d workers", p->threads);
    for (int i = 0; i < p->threads; i++) {
        p->packers[i].spool.fd = p->packers[i].link_fd = -1;
        p->packers[i].link = p->request->link;
    }
    for (int i = 0; i < p->threads; i++) VJ_TRY(vj_decoder_create(&p->packers[i].decoder));
    return vj_pool_create(&p->pool, p->threads, NULL);
}

static vj_status open_spools(pack_state *p)
{
    for (int i = 0; i < p->threads; i++) {
        vj_spool *s = &p->packers[i].spool;
        vj_pack_spool_name(s->path, sizeof s->path, &p->folder, p->index, vj_journal_life(p->folder.journal), i);
        s->end = 0;
        VJ_TRY(vj_io_create(&s->fd, s->path));
    }
    return VJ_OK;
}

static void close_spools(pack_state *p)
{
    for (int i = 0; p->packers != NULL && i < p->threads; i++) {
        vj_io_close(&p->packers[i].spool.fd);
    }
    vj_pack_spools_close(&p->folder);
}

static void set_failure(pack_state *p, vj_status status)
{
    pthread_mutex_lock(&p->mutex);
    if (p->failure == VJ_OK) {
        p->failure = status;
        p->failure_text = vj_strdup(vj_error_text());
    }
    pthread_mutex_unlock(&p->mutex);
}

static bool failed(pack_state *p)
{
    pthread_mutex_lock(&p->mutex);
    if (p->failure == VJ_OK && vj_stop_requested()) {
        p->failure = VJ_ERR_STOPPED;
        p->failure_text = vj_strdup("packing was stopped");
    }
    const bool f = p->failure != VJ_OK;
    pthread_mutex_unlock(&p->mutex);
    return f;
}

static vj_status take_failure(pack_state *p)
{
    if (p->failure == VJ_OK) return VJ_OK;
    return vj_fail_text(p->failure, p->failure_text);
}

static void mark_bad(pack_state *p, vj_pack_file *file)
{
    file->bad = true;
    pthread_mutex_lock(&p->mutex);
    if (p->first_reason[0] == '\0') vj_format(p->first_reason, sizeof p->first_reason, "%.100s: %.280s", file->name, vj_error_text());
    pthread_mutex_unlock(&p->mutex);
    vj_log(VJ_WARN, "data", "%s/%s: left out: %s", p->source->name, file->name, vj_error_text());
}

static void count_done(pack_state *p, int worker)
{
    const int64_t done = atomic_fetch_add(&p->done, 1) + 1;
    if (worker == 0 && p->progress) vj_progress_update(done, NULL);   // the caller's thread
}

static void scan_task(void *context, int64_t task, int worker)
{
    pack_state *p = context;
    vj_pack_file *file = &p->files.v[task];
    if (failed(p)) return;
    const bool known = vj_journal_scan(p->folder.journal, p->index, file);
    vj_status status = known ? VJ_OK : vj_scan_file(&file->scan, file->path);
    if (status == VJ_OK) status = vj_windows_cut(&file->windows, &file->n_windows, file->scan.duration_us, p->request->window);
    if (status == VJ_OK && !known) status = vj_cut_bytes(&file->cut_bytes, &file->scan, file->windows, file->n_windows);
    if (status == VJ_OK) {
        // Few files keep their table, many read it again later.
        if (atomic_fetch_add(&p->kept_packets, file->scan.n_packets) > KEPT_SCAN_PACKETS) {
            free(file->scan.packets);
            file->scan.packets = NULL;
        }
        const vj_status written = known ? VJ_OK : vj_journal_add_scan(p->folder.journal, p->index, file);
        if (written != VJ_OK) set_failure(p, written);
    } else if (status == VJ_ERR_NOMEM) {
        set_failure(p, status);
    } else {
        mark_bad(p, file);
    }
    count_done(p, worker);
}

static void pack_task(void *context, int64_t task, int worker)
{
    pack_state *p = context;
    vj_pack_file *file = &p->files.v[task];
    if (file->bad || failed(p)) return;
    file->done = vj_pack_restore(&p->folder, p->index, file);
    if (file->done) {
        count_done(p, worker);
        return;
    }
    vj_packer *packer = &p->packers[worker];
    vj_status status;
    if (!p->source->image) status = vj_pack_video(packer, file, p->source->name, p->request->recode > 0 ? &p->recode : NULL);
    else if (vj_idx_name_matches(file->path)) status = vj_pack_idx(packer, file, p->source->name);
    else status = vj_pack_image(packer, file, p->source->name);
    if (status == VJ_OK) {
        file->done = true;
        status = vj_journal_add_packed(p->folder.journal, p->index, file, worker);
        if (status == VJ_OK && vj_journal_sync_due(p->folder.journal)) {
            status = vj_journal_sync(p->folder.journal, p->packers, p->threads);
        }
    } else if (status == VJ_ERR_DATA) {
        mark_bad(p, file);
        status = VJ_OK;
    }
    if (status != VJ_OK) set_failure(p, status);
    count_done(p, worker);
}

static vj_status run_tasks(pack_state *p, const char *title, vj_task_fn fn)
{
    atomic_store(&p->done, 0);
    p->progress = true;
    vj_progress_start(title, p->files.n, "files");
    vj_pool_run(p->pool, p->files.n, fn, p);
    vj_progress_stop();
    p->progress = false;
    (void)failed(p);
    return take_failure(p);
}

// ---- the disk ------------------------------------------------------------------------------------------------------

// Bytes that the samples of the source will take, from above.
static double estimate_bytes(const pack_state *p)
{
    double bytes = 0;
    for (int64_t i = 0; i < p->files.n; i++) {
        const vj_pack_file *f = &p->files.v[i];
        if (f->bad) continue;
        if (p->request->link) {   // tables; what has to be copied after all is not known yet
            bytes += 28.0 * (double)f->scan.shown + 4096.0 * (double)(f->n_windows + 1);
        } else if (p->source->image) {
            bytes += (double)(f->image_bytes > 0 ? f->image_bytes : f->bytes);
        } else if (p->request->recode > 0) {
            const vj_clip *c = &f->scan.stream;
            const double side = c->width < c->height ? c->width : c->height, scale = side > p->recode.side ? p->recode.side / side : 1.0;
            const double fps = (double)f->scan.fps_num / f->scan.fps_den;
            const double frames = (double)f->scan.duration_us * 1e-6 * (fps < p->recode.max_fps ? fps : p->recode.max_fps);
            bytes += frames * c->width * c->height * scale * scale * 0.15 + 4096.0 * (double)f->n_windows;
        } else {
            bytes += 1.01 * (double)f->cut_bytes + 24.0 * (double)f->scan.shown + 4096.0 * (double)f->n_windows;
        }
    }
    return bytes;
}

static vj_status check_disk(pack_state *p)
{
    int64_t free_bytes;
    char need[24], have[24];
    double bytes = 2.0 * estimate_bytes(p) + 1e6;   // the spool and the shards made of it
    bytes -= (double)p->spooled < bytes / 2 ? (double)p->spooled : bytes / 2;
    VJ_TRY(vj_disk_free(p->request->out, &free_bytes));
    vj_bytes_text(need, bytes);
    vj_bytes_text(have, (double)free_bytes);
    vj_log(VJ_INFO, "data", "source %s: packing needs at most %s on the disk of %s, %s are free", p->source->name, need, p->request->out, have);
    VJ_CHECK(bytes < (double)free_bytes, VJ_ERR_IO, "source %s needs up to %s on the disk of %s, only %s are free: make room or choose another --out",
             p->source->name, need, p->request->out, have);
    return VJ_OK;
}

// ---- shards --------------------------------------------------------------------------------------------------------

typedef struct shard_plan {
    vj_pack_row *rows;      // all rows of one list, in order
    int64_t n;
    int64_t *start;         // (shards + 1)
    vj_shard_list *list;
    bool held_out;
    pack_state *p;
} shard_plan;

static void shard_task(void *context, int64_t task, int worker)
{
    shard_plan *plan = context;
    pack_state *p = plan->p;
    char name[VJ_SOURCE_NAME_MAX + 32];
    (void)worker;
    if (failed(p)) return;
    vj_format(name, sizeof name, "%s-%s%05lld.h5", p->source->name, plan->held_out ? "held-out-" : "", (long long)task);
    const vj_status status = vj_shard_write(&plan->list->v[task], p->folder.work, name, p->source->name,
                                            p->source->image ? VJ_SOURCE_IMAGE : VJ_SOURCE_VIDEO, plan->held_out, p->link_root,
                                            plan->rows + plan->start[task], plan->start[task + 1] - plan->start[task]);
    if (status != VJ_OK) set_failure(p, status);
}

static vj_status gather_rows(shard_plan *plan)
{
    pack_state *p = plan->p;
    int64_t total = 0;
    for (int64_t i = 0; i < p->files.n; i++) total += p->files.v[i].n_rows;
    plan->rows = malloc((size_t)(total + 1) * sizeof *plan->rows);
    plan->start = malloc((size_t)(total + 2) * sizeof *plan->start);
    VJ_CHECK(plan->rows != NULL && plan->start != NULL, VJ_ERR_NOMEM, "no memory for %lld samples", (long long)total);
    for (int64_t i = 0; i < p->files.n; i++) {
        const vj_pack_file *f = &p->files.v[i];
        bool any = false;
        for (int64_t j = 0; j < f->n_rows; j++) {
            if (f->row_held_out[j] != plan->held_out) continue;
            plan->rows[plan->n++] = f->rows[j];
            plan->list->frames += f->rows[j].info.n_frames;
            any = true;
        }
        if (any) plan->list->files++;
    }
    return VJ_OK;
}

static vj_status write_shards(pack_state *p, vj_shard_list *list, bool held_out)
{
    shard_plan plan = { .list = list, .held_out = held_out, .p = p };
    vj_status status = gather_rows(&plan);
    int64_t shards = 0, bytes = 0;
    if (status == VJ_OK && plan.n > 0) {
        for (int64_t i = 0; i < plan.n; i++) {
            const int64_t row = plan.rows[i].info.bytes + VJ_SHARD_ALIGN;
            if (i == 0 || bytes + row > p->request->max_shard_bytes || i - plan.start[shards - 1] == VJ_SHARD_MAX_ROWS) {
                plan.start[shards++] = i;
                bytes = 0;
            }
            bytes += row;
        }
        plan.start[shards] = plan.n;
        list->v = calloc((size_t)shards, sizeof *list->v);
        if (list->v == NULL) {
            status = vj_fail(VJ_ERR_NOMEM, "no memory for %lld shards", (long long)shards);
        } else {
            list->n = (int)shards;
            list->rows = plan.n;
            vj_pool_run(p->pool, shards, shard_task, &plan);
            status = take_failure(p);
        }
    }
    free(plan.rows);
    free(plan.start);
    return status;
}

// ---- one source ----------------------------------------------------------------------------------------------------

// The first --limit images of a source, in the order of files; how many an IDX file gives is in its header.
static vj_status limit_images(pack_state *p)
{
    int64_t left = p->request->limit > 0 ? p->request->limit : INT64_MAX, n = 0;
    for (; n < p->files.n && left > 0; n++) {
        vj_pack_file *f = &p->files.v[n];
        vj_idx *idx;
        int width, height;
        f->images = 1;
        if (vj_idx_name_matches(f->path) && vj_idx_open(&idx, f->path) == VJ_OK) {   // else: named when it is packed
            f->images = vj_idx_count(idx) < left ? vj_idx_count(idx) : left;
            vj_idx_size(idx, &width, &height);
            f->image_bytes = f->images * width * height;
            vj_idx_close(&idx);
        }
        left -= f->images;
    }
    vj_pack_files rest = { .v = malloc((size_t)(p->files.n - n + 1) * sizeof(vj_pack_file)), .n = p->files.n - n };
    VJ_CHECK(rest.v != NULL, VJ_ERR_NOMEM, "no memory for a list of files");
    memcpy(rest.v, p->files.v + n, (size_t)rest.n * sizeof *rest.v);
    p->files.n = n;
    vj_pack_files_free(&rest);
    return VJ_OK;
}

// All sources are looked at before the first is packed: hours of work must not end at a misspelt folder.
static vj_status list_source(pack_state *p)
{
    const vj_pack_source *s = p->source;
    VJ_TRY_CTX(vj_pack_list(&p->files, s->path, s->image), "listing source %s", s->name);
    p->report->ignored_files += p->files.ignored;
    VJ_CHECK(p->files.n > 0 || s->image || p->files.other_kind == 0, VJ_ERR_DATA,
             "source %s: no video in %s, but %lld images; pack those with --image-source %s=%s", s->name, s->path,
             (long long)p->files.other_kind, s->name, s->path);
    VJ_CHECK(p->files.n > 0, VJ_ERR_DATA, "source %s: no %s in %s (%lld other files)", s->name, s->image ? "image" : "video", s->path,
             (long long)(p->files.ignored + p->files.other_kind));
    if (p->files.other_kind > 0) {
        vj_log(VJ_INFO, "data", "source %s: %lld %s in %s are not packed", s->name, (long long)p->files.other_kind,
               s->image ? "videos" : "images", s->path);
    }
    return s->image ? limit_images(p) : VJ_OK;
}

// What the listing of a source says of its files.
static void digest_listing(const vj_pack_files *files, unsigned char out[32])
{
    vj_sha256 h;
    vj_sha256_start(&h);
    for (int64_t i = 0; i < files->n; i++) {
        const vj_pack_file *f = &files->v[i];
        const int64_t numbers[4] = { f->bytes, f->mtime_ns, f->images, f->label };
        vj_sha256_add(&h, f->name, strlen(f->name) + 1);
        vj_sha256_add(&h, numbers, sizeof numbers);
    }
    vj_sha256_end(&h, out);
}

static bool shards_are_there(const pack_state *p, const vj_shard_list *list)
{
    char path[4200];
    for (int i = 0; i < list->n; i++) {
        vj_shard_index index = { 0 };
        struct stat st;
        vj_path_join(path, sizeof path, p->folder.work, list->v[i].path);
        if (stat(path, &st) != 0 || (int64_t)st.st_size != list->v[i].file_bytes) return false;
        const vj_status status = vj_shard_index_load(&index, path, &list->v[i], p->source->name);
        vj_shard_index_free(&index);
        if (status != VJ_OK) return false;
    }
    return true;
}

// A source whose shards an earlier life wrote, when its files are still the same.
static bool take_source(pack_state *p, const unsigned char listing[32], vj_source_done *done)
{
    if (!vj_journal_source(p->folder.journal, p->index, done)) return false;
    const bool same = memcmp(done->listing, listing, 32) == 0;
    if (same && shards_are_there(p, &done->source.train) && shards_are_there(p, &done->source.held_out)) return true;
    vj_log(VJ_WARN, "data", "source %s is packed again: %s", p->source->name,
           same ? "its shards in the work folder are gone or damaged" : "its files are not those that were packed");
    vj_shard_list_free(&done->source.train);
    vj_shard_list_free(&done->source.held_out);
    return false;
}

static void report_source(pack_state *p, const vj_source *s, const vj_source_done *done)
{
    vj_pack_report *r = p->report;
    const int64_t bad = done->bad_files, bad_rows = done->bad_windows, rows = s->train.rows + s->held_out.rows;
    r->files += done->files;
    r->bad_files += bad;
    r->bad_windows += bad_rows;
    r->rows += rows;
    r->held_out += s->held_out.rows;
    r->held_out_files += s->held_out.files;
    r->frames += s->train.frames + s->held_out.frames;
    r->shards += s->train.n + s->held_out.n;
    const vj_shard_list *lists[2] = { &s->train, &s->held_out };
    for (int l = 0; l < 2; l++) {
        for (int i = 0; i < lists[l]->n; i++) r->bytes += lists[l]->v[i].file_bytes;
    }
    vj_log(bad + bad_rows > 0 ? VJ_WARN : VJ_INFO, "data",
           "source %s: %lld of %lld files give %lld samples (%lld held out from %lld files); left out: %lld files, %lld windows",
           s->name, (long long)(done->files - bad), (long long)done->files, (long long)rows, (long long)s->held_out.rows,
           (long long)s->held_out.files, (long long)bad, (long long)bad_rows);
}

// The folder in which a source's names are looked for, without links: absolute, since shards are small and may be moved, and what they
// refer to is large and stays.
static vj_status find_link_root(pack_state *p)
{
    char dir[4096];
    const char *path = p->source->path;
    VJ_CHECK(strlen(path) < sizeof dir - 4, VJ_ERR_USAGE, "%.80s...: the path is too long", path);
    vj_format(dir, sizeof dir, "%s", path);
    if (!vj_path_is_dir(path)) {
        char *slash = strrchr(dir, '/');
        if (slash == NULL) vj_format(dir, sizeof dir, ".");
        else slash[slash == dir ? 1 : 0] = '\0';
    }
    p->link_root = realpath(dir, NULL);
    VJ_CHECK(p->link_root != NULL, VJ_ERR_IO, "cannot find the folder %s: %s", dir, strerror(errno));
    return VJ_OK;
}

// Says once which samples could not be linked.
static void report_copied(pack_state *p)
{
    int64_t n = 0, bytes = 0;
    const char *example = "";
    char text[24];
    for (int i = 0; i < p->threads; i++) {
        n += p->packers[i].copied;
        bytes += p->packers[i].copied_bytes;
        if (p->packers[i].copied > 0) example = p->packers[i].copied_example;
        p->packers[i].copied = p->packers[i].copied_bytes = 0;
    }
    if (n == 0) return;
    vj_bytes_text(text, (double)bytes);
    vj_log(VJ_WARN, "data", "source %s: %lld samples (%s) are copied, not linked: their packets do not lie in one piece in their files (%s, say)",
           p->source->name, (long long)n, text, example);
}

// From listed files to shards in the work folder.
static vj_status pack_files(pack_state *p, vj_source *s)
{
    const vj_pack_source *from = p->source;
    if (p->request->link) VJ_TRY(find_link_root(p));
    VJ_TRY(vj_pack_spools_open(&p->folder, p->index, &p->spooled));
    if (!from->image) {
        VJ_TRY(run_tasks(p, "looking into files", scan_task));
        (void)vj_hold_out_choose(p->files.v, p->files.n, from->name, p->request->hold_out, p->request->seed);
    }
    VJ_TRY(check_disk(p));
    VJ_TRY(open_spools(p));
    VJ_TRY(run_tasks(p, "packing", pack_task));
    report_copied(p);
    VJ_TRY(vj_journal_sync(p->folder.journal, p->packers, p->threads));
    VJ_TRY(write_shards(p, &s->train, false));
    VJ_TRY(write_shards(p, &s->held_out, true));
    VJ_CHECK(s->train.rows > 0, VJ_ERR_DATA, "source %s: none of the %lld files in %s gives a training sample; the first reason: %s", from->name,
             (long long)p->files.n, from->path, p->first_reason[0] != '\0' ? p->first_reason : "all windows are held out");
    return vj_io_fsync_dir(p->folder.work);
}

static vj_status make_source(pack_state *p, vj_source *s)
{
    const vj_pack_source *from = p->source;
    vj_source_done done;
    unsigned char listing[32];
    p->files = p->listings[p->index];
    p->listings[p->index] = (vj_pack_files){ 0 };
    digest_listing(&p->files, listing);
    if (take_source(p, listing, &done)) {
        s->train = done.source.train;
        s->held_out = done.source.held_out;
    } else {
        VJ_TRY(pack_files(p, s));
        done = (vj_source_done){ .files = p->files.n, .source = *s };
        memcpy(done.listing, listing, sizeof listing);
        for (int64_t i = 0; i < p->files.n; i++) {
            done.bad_files += p->files.v[i].bad ? 1 : 0;
            done.bad_windows += p->files.v[i].bad_rows;
        }
        VJ_TRY(vj_journal_add_source(p->folder.journal, p->index, &done));
    }
    close_spools(p);
    vj_pack_spools_remove(&p->folder, p->index);
    s->weight = from->weight >= 0 ? from->weight : (double)s->train.rows;
    if (!from->image && p->request->hold_out > 0 && s->held_out.rows == 0) {
        vj_log(VJ_WARN, "data", "source %s: too few windows to hold any out", from->name);
    }
    report_source(p, s, &done);
    return VJ_OK;
}

static vj_status list_sources(pack_state *p)
{
    p->listings = calloc((size_t)p->request->n_sources, sizeof *p->listings);
    VJ_CHECK(p->listings != NULL, VJ_ERR_NOMEM, "no memory for lists of files");
    for (int i = 0; i < p->request->n_sources; i++) {
        p->source = &p->request->sources[i];
        const vj_status status = list_source(p);
        p->listings[i] = p->files;
        p->files = (vj_pack_files){ 0 };
        VJ_TRY(status);
    }
    return VJ_OK;
}

static vj_status pack_source(pack_state *p, int i)
{
    p->source = &p->request->sources[i];
    p->index = i;
    p->first_reason[0] = '\0';
    atomic_store(&p->kept_packets, 0);
    vj_source *s = &p->catalog->sources[i];
    vj_format(s->name, sizeof s->name, "%s", p->source->name);
    s->kind = p->source->image ? VJ_SOURCE_IMAGE : VJ_SOURCE_VIDEO;
    s->linked = p->request->link;
    const vj_status status = make_source(p, s);
    close_spools(p);
    free(p->link_root);
    p->link_root = NULL;
    vj_pack_files_free(&p->files);
    return status;
}

static vj_status publish(pack_state *p)
{
    char from[4200], to[4096];
    VJ_TRY(vj_journal_add_finished(p->folder.journal, p->report));
    for (int i = 0; i < p->catalog->n_sources; i++) {
        const vj_source *s = &p->catalog->sources[i];
        const vj_shard_list *lists[2] = { &s->train, &s->held_out };
        for (int l = 0; l < 2; l++) {
            for (int k = 0; k < lists[l]->n; k++) {
                vj_path_join(from, sizeof from, p->folder.work, lists[l]->v[k].path);
                vj_path_join(to, sizeof to, p->request->out, lists[l]->v[k].path);
                VJ_TRY(vj_io_rename(from, to));
            }
        }
    }
    VJ_TRY(vj_io_fsync_dir(p->request->out));
    return vj_catalog_write(p->catalog, p->request->out);
}

vj_status vj_pack(const vj_pack_request *request, vj_pack_report *report)
{
    vj_status status = VJ_OK;
    const double start = vj_now();
    pack_state p = { .request = request, .report = report, .threads = request->threads };
    p.recode = (vj_recode_config){ .side = request->recode, .gop = request->gop, .crf = request->crf, .max_fps = 30 };

    *report = (vj_pack_report){ 0 };
    VJ_TRY(check_request(request));
    pthread_mutex_init(&p.mutex, NULL);
    VJ_TRY_GOTO(vj_pack_folder_open(&p.folder, request, report), done);
    if (p.folder.finished) goto done;
    VJ_TRY_GOTO(open_packers(&p), done);
    p.catalog = calloc(1, sizeof *p.catalog);
    if (p.catalog != NULL) p.catalog->sources = calloc((size_t)request->n_sources, sizeof *p.catalog->sources);
    if (p.catalog == NULL || p.catalog->sources == NULL) {
        status = vj_fail(VJ_ERR_NOMEM, "no memory for a catalogue");
        goto done;
    }
    VJ_TRY_GOTO(list_sources(&p), done);
    for (int i = 0; i < request->n_sources; i++) {
        p.catalog->n_sources = i + 1;
        VJ_TRY_GOTO(pack_source(&p, i), done);
    }
    VJ_TRY_GOTO(publish(&p), done);
done:
    report->seconds = vj_now() - start;
    for (int i = 0; p.packers != NULL && i < p.threads; i++) {
        vj_decoder_destroy(&p.packers[i].decoder);
        vj_bytes_free(&p.packers[i].bytes);
        vj_bytes_free(&p.packers[i].record);
        free(p.packers[i].extents.v);
    }
    for (int i = 0; p.listings != NULL && i < request->n_sources; i++) vj_pack_files_free(&p.listings[i]);
    free(p.listings);
    vj_pool_destroy(&p.pool);
    free(p.packers);
    const bool keep = status == VJ_ERR_STOPPED || status == VJ_ERR_IO || status == VJ_ERR_NOMEM;
    if (keep && p.folder.work[0] != '\0') {
        vj_context("what was packed is kept in %s: start the same command again, and it goes on from there", p.folder.work);
    }
    vj_pack_folder_close(&p.folder, keep);
    vj_catalog_destroy(&p.catalog);
    free(p.failure_text);
    pthread_mutex_destroy(&p.mutex);
    return status;
}
