// data/pack_folder.c
//
// What a killed packing can leave, and what becomes of it when the same command is given again:
//
//   OUT/.tmp-pack without a journal that says whose it is      removed: nothing in it counts
//   OUT/.tmp-pack of the same request                          gone on with; shards that already had their place come back
//   OUT/.tmp-pack of another request                           refused, or removed by --force
//   the catalogue and OUT/.tmp-pack                            finished but for tidying: tidied
//   shards without a catalogue and without OUT/.tmp-pack       removed

#include "data/pack_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"
#include "runtime/log/log.h"

#define WORK_NAME ".tmp-pack"

void vj_pack_spool_name(char *out, size_t size, const vj_pack_folder *f, int source, int life, int worker)
{
    vj_format(out, size, "%.4000s/spool-%d-%d-%d", f->work, source, life, worker);
}

void vj_pack_spools_remove(const vj_pack_folder *f, int source)
{
    char **names, start[32], path[4200];
    int64_t n;
    vj_format(start, sizeof start, "spool-%d-", source);
    if (vj_dir_list(f->work, &names, &n) != VJ_OK) return;   // they go with the folder
    for (int64_t i = 0; i < n; i++) {
        if (!vj_str_starts(names[i], start)) continue;
        vj_path_join(path, sizeof path, f->work, names[i]);
        unlink(path);
    }
    vj_names_free(&names, n);
}

// ---- what earlier lives packed -------------------------------------------------------------------------------------

// Every life leaves a spool per worker.
static void allow_files(int64_t more)
{
    struct rlimit limit;
    const rlim_t wanted = (rlim_t)more + 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);   // else opening says what is wrong
}

static vj_status add_spool(vj_pack_folder *f, const char *name, int source)
{
    int its_source, life, worker, end = 0;
    char path[4200];
    struct stat st;
    if (sscanf(name, "spool-%d-%d-%d%n", &its_source, &life, &worker, &end) != 3 || name[end] != '\0') return VJ_OK;
    if (its_source != source || life >= vj_journal_life(f->journal)) return VJ_OK;
    vj_old_spool *s = &f->old[f->n_old];
    *s = (vj_old_spool){ .life = life, .worker = worker, .fd = -1 };
    vj_path_join(path, sizeof path, f->work, name);
    VJ_TRY(vj_io_open_read(&s->fd, path));
    f->n_old++;
    VJ_CHECK(fstat(s->fd, &st) == 0, VJ_ERR_IO, "cannot stat %s: %s", path, strerror(errno));
    s->bytes = (int64_t)st.st_size;
    return VJ_OK;
}

vj_status vj_pack_spools_open(vj_pack_folder *f, int source, int64_t *bytes)
{
    char **names;
    int64_t n;
    VJ_TRY(vj_dir_list(f->work, &names, &n));
    f->n_old = *bytes = 0;
    f->old = calloc((size_t)n + 1, sizeof *f->old);
    vj_status status = f->old != NULL ? VJ_OK : vj_fail(VJ_ERR_NOMEM, "no memory for %lld spools", (long long)n);
    allow_files(n);
    for (int64_t i = 0; status == VJ_OK && i < n; i++) status = add_spool(f, names[i], source);
    for (int64_t i = 0; i < f->n_old; i++) *bytes += f->old[i].bytes;
    vj_names_free(&names, n);
    return status;
}

void vj_pack_spools_close(vj_pack_folder *f)
{
    for (int64_t i = 0; i < f->n_old; i++) vj_io_close(&f->old[i].fd);
    free(f->old);
    f->old = NULL;
    f->n_old = 0;
}

// After a power cut a record may be there and its bytes not.
static bool bytes_are_there(const vj_old_spool *spool, const vj_pack_row *row)
{
    enum { CHUNK = 1 << 18 };
    unsigned char *buffer = malloc(CHUNK);
    uint32_t crc = 0;
    bool ok = buffer != NULL;
    for (int64_t done = 0; ok && done < row->info.bytes;) {
        const int64_t left = row->info.bytes - done;
        const size_t n = left < CHUNK ? (size_t)left : CHUNK;
        ok = vj_io_pread(spool->fd, buffer, n, (off_t)(row->spool_offset + done), "spool") == VJ_OK;
        if (ok) crc = vj_crc32c(crc, buffer, n);
        done += (int64_t)n;
    }
    free(buffer);
    return ok && crc == row->crc32c;
}

static bool restore_rows(const vj_pack_folder *f, vj_pack_file *file, const vj_packed *packed)
{
    const vj_old_spool *spool = NULL;
    for (int64_t i = 0; i < f->n_old; i++) {
        if (f->old[i].life == packed->life && f->old[i].worker == packed->worker) spool = &f->old[i];
    }
    if (spool == NULL) return false;
    int64_t window = 0;
    for (int64_t i = 0; i < file->n_rows; i++) {
        vj_pack_row *row = &file->rows[i];
        const int64_t bytes = row->info.bytes, offset = row->spool_offset;
        if (bytes < 0 || offset < 0 || bytes > spool->bytes || offset > spool->bytes - bytes) return false;
        if (!packed->synced && !bytes_are_there(spool, row)) return false;
        row->spool_fd = spool->fd;
        if (file->windows == NULL) continue;   // of images none is held out
        while (window < file->n_windows && file->windows[window].t0_us != row->info.t0_us) window++;
        if (window == file->n_windows) return false;
        file->row_held_out[i] = file->windows[window].held_out;
    }
    return true;
}

bool vj_pack_restore(const vj_pack_folder *f, int source, vj_pack_file *file)
{
    vj_packed packed;
    if (!vj_journal_packed(f->journal, source, file, &packed)) return false;
    if (restore_rows(f, file, &packed)) return true;
    free(file->rows);
    free(file->row_held_out);
    file->rows = NULL;
    file->row_held_out = NULL;
    file->n_rows = file->bad_rows = 0;
    return false;
}

// ---- what is left over ---------------------------------------------------------------------------------------------

// Spools first and the journal last, so that a kill in between leaves something that says what it is.
static vj_status remove_work(const char *work)
{
    char **names, path[4200];
    int64_t n;
    if (!vj_path_is_dir(work)) return VJ_OK;
    VJ_TRY(vj_dir_list(work, &names, &n));
    vj_status status = VJ_OK;
    for (int64_t i = 0; status == VJ_OK && i < n; i++) {
        if (strcmp(names[i], "journal") == 0) continue;
        vj_path_join(path, sizeof path, work, names[i]);
        status = vj_dir_remove(path);
    }
    vj_names_free(&names, n);
    return status == VJ_OK ? vj_dir_remove(work) : status;
}

// Leftovers in OUT go; anything that is not ours stops us. When a packing goes on, shards return to its work folder.
static vj_status clear_out(const vj_pack_folder *f, const char *out, bool goes_on)
{
    char **names, path[4096], back[4200];
    int64_t n;
    VJ_TRY(vj_dir_list(out, &names, &n));
    vj_status status = VJ_OK;
    for (int64_t i = 0; status == VJ_OK && i < n; i++) {
        if (!vj_str_starts(names[i], ".tmp-") && !vj_str_ends(names[i], ".h5") && !vj_str_starts(names[i], VJ_CATALOG_NAME ".tmp-")) {
            status = vj_fail(VJ_ERR_CONFIG, "%s holds %s, which is no shard: give an empty or a new folder", out, names[i]);
        }
    }
    for (int64_t i = 0; status == VJ_OK && i < n; i++) {
        if (goes_on && strcmp(names[i], WORK_NAME) == 0) continue;
        vj_path_join(path, sizeof path, out, names[i]);
        vj_path_join(back, sizeof back, f->work, names[i]);
        if (goes_on && vj_str_ends(names[i], ".h5") && !vj_path_exists(back)) status = vj_io_rename(path, back);
        else status = vj_dir_remove(path);
    }
    vj_names_free(&names, n);
    return status;
}

// Spools that no record speaks of, and shards that were being written.
static vj_status clear_work(const vj_pack_folder *f)
{
    char **names, path[4200];
    int64_t n;
    VJ_TRY(vj_dir_list(f->work, &names, &n));
    vj_status status = VJ_OK;
    for (int64_t i = 0; status == VJ_OK && i < n; i++) {
        int source, life, worker, end = 0;
        const bool spool = sscanf(names[i], "spool-%d-%d-%d%n", &source, &life, &worker, &end) == 3 && names[i][end] == '\0';
        if (strcmp(names[i], "journal") == 0 || vj_str_ends(names[i], ".h5")) continue;
        if (spool && vj_journal_uses_spool(f->journal, source, life, worker)) continue;
        vj_path_join(path, sizeof path, f->work, names[i]);
        status = vj_dir_remove(path);
    }
    vj_names_free(&names, n);
    return status;
}

// ---- opening -------------------------------------------------------------------------------------------------------

static bool same(const vj_pack_identity *a, const vj_pack_identity *b)
{
    return strcmp(a->command, b->command) == 0 && memcmp(a->lists, b->lists, sizeof a->lists) == 0;
}

static vj_status refuse(const vj_pack_folder *f, const vj_pack_request *r, const vj_pack_identity *id)
{
    const vj_pack_identity *other = vj_journal_identity(f->journal);
    if (strcmp(other->command, id->command) == 0) {
        VJ_FAIL(VJ_ERR_CONFIG, "%s holds a packing that is not finished, by the same command, but a list of files has changed since: "
                "--force throws away what it did, or give another --out", f->work);
    }
    VJ_FAIL(VJ_ERR_CONFIG, "%s holds a packing by another command that is not finished: give that command again to go on with it, "
            "--force to throw away what it did, or another --out; it was\n    vjepa data pack --out %s%s", f->work, r->out, other->command);
}

static vj_status lock(vj_pack_folder *f, const char *out)
{
    if (f->lock_fd >= 0) close(f->lock_fd);
    f->lock_fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    VJ_CHECK(f->lock_fd >= 0, VJ_ERR_IO, "cannot open %s: %s", out, strerror(errno));
    VJ_CHECK(flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK, VJ_ERR_CONFIG, "another packing is writing to %s", out);
    return VJ_OK;
}

static vj_status move_aside(const char *out)
{
    char aside[4096], when[20];
    vj_wall_compact(when);
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') n--;
    vj_format(aside, sizeof aside, "%.*s.old-%s", (int)n, out, when);
    for (int k = 2; vj_path_exists(aside) && k < 1000; k++) vj_format(aside, sizeof aside, "%.*s.old-%s-%d", (int)n, out, when, k);
    VJ_TRY(vj_io_rename(out, aside));
    vj_log(VJ_INFO, "data", "old shards moved to %s", aside);
    return VJ_OK;
}

// There is a catalogue: a packing that got there is tidied, and what it made is its result.
static vj_status meet_catalog(vj_pack_folder *f, const vj_pack_request *r, const vj_pack_identity *id, vj_pack_report *report)
{
    if (!r->force && f->journal != NULL && same(vj_journal_identity(f->journal), id) && vj_journal_finished(f->journal, report)) {
        f->finished = true;
        return VJ_OK;
    }
    vj_journal_close(&f->journal);
    VJ_TRY(remove_work(f->work));
    VJ_CHECK(r->force, VJ_ERR_CONFIG, "%s already holds shards; give another --out, or --force to move them aside", r->out);
    VJ_TRY(move_aside(r->out));
    VJ_TRY(vj_dir_create(r->out));
    return lock(f, r->out);
}

static vj_status open_locked(vj_pack_folder *f, const vj_pack_request *r, const vj_pack_identity *id, vj_pack_report *report)
{
    char catalog[4096];
    vj_path_join(catalog, sizeof catalog, r->out, VJ_CATALOG_NAME);
    vj_status status = vj_journal_open(&f->journal, f->work);
    if (status == VJ_ERR_CONFIG && (r->force || vj_path_exists(catalog))) status = VJ_OK;   // another version's: it goes
    VJ_TRY(status);
    if (vj_path_exists(catalog)) {
        VJ_TRY(meet_catalog(f, r, id, report));
        if (f->finished) return VJ_OK;
    }
    const bool goes_on = f->journal != NULL && same(vj_journal_identity(f->journal), id);
    if (f->journal != NULL && !goes_on && !r->force) return refuse(f, r, id);
    VJ_TRY(clear_out(f, r->out, goes_on));
    if (!goes_on) {
        vj_journal_close(&f->journal);
        VJ_TRY(vj_dir_create(f->work));
        VJ_TRY(vj_journal_create(&f->journal, f->work, id));
    } else {
        VJ_TRY(clear_work(f));
        vj_log(VJ_INFO, "data", "going on with the packing that stopped in %s", r->out);
    }
    VJ_TRY(vj_journal_begin_life(f->journal));
    VJ_TRY(vj_io_fsync_dir(f->work));
    return vj_io_fsync_dir(r->out);
}

vj_status vj_pack_folder_open(vj_pack_folder *f, const vj_pack_request *r, vj_pack_report *report)
{
    vj_pack_identity id = { 0 };
    *f = (vj_pack_folder){ .lock_fd = -1 };
    VJ_CHECK(strlen(r->out) > 0 && strlen(r->out) < 3000, VJ_ERR_USAGE, "--out needs a folder");
    VJ_CHECK(!vj_path_exists(r->out) || vj_path_is_dir(r->out), VJ_ERR_USAGE, "--out %s is not a folder", r->out);
    VJ_TRY(vj_dir_create(r->out));
    VJ_TRY(lock(f, r->out));
    VJ_TRY(vj_pack_identify(&id, r));
    vj_path_join(f->work, sizeof f->work, r->out, WORK_NAME);
    const vj_status status = open_locked(f, r, &id, report);
    // A refusal must not cost another one's work.
    if (status != VJ_OK && !f->finished) f->work[0] = '\0';
    vj_pack_identity_free(&id);
    return status;
}

void vj_pack_folder_close(vj_pack_folder *f, bool keep)
{
    vj_journal_close(&f->journal);
    if (f->work[0] != '\0' && !keep) {
        char *text = vj_strdup(vj_error_text());   // the message of a failure must survive the tidying
        if (remove_work(f->work) != VJ_OK) vj_log(VJ_WARN, "data", "cannot remove %s: %s", f->work, vj_error_text());
        (void)vj_fail_text(VJ_OK, text);
        free(text);
    }
    if (f->lock_fd >= 0) close(f->lock_fd);
    f->lock_fd = -1;
}
