// Saving: shard files synced, manifest last, rename, LATEST, retention (design: README of this room). Every step that
// must survive a crash in this order is a named point of the fault shim, and a test asserts the order.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/save_impl.h"
#include "checkpoints/pins.h"
#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/log/log.h"

static vj_status point(const char *name, const char *path)
{
    VJ_CHECK(!vj_fault_point(name, path), VJ_ERR_IO, "%s: cannot write: no space left on device (injected at %s)", path,
             name);
    return VJ_OK;
}

int64_t vj_saver_payload(const vj_saver *s, int64_t r)
{
    int64_t n = 0;
    for (int p = 0; p < s->n_parts; p++) {
        const vj_state_part *part = &s->parts[r][p];
        for (int u = 0; u < part->layout->n_units; u++) n += (int64_t)vj_tensor_bytes(&part->shards[u]);
    }
    return n;
}

vj_status vj_saver_check_space(const vj_saver *s, int64_t payload)
{
    int64_t free_bytes = 0;
    VJ_TRY(vj_disk_free(s->ckpt, &free_bytes));
    if (vj_fault_point("checkpoint.space", s->ckpt)) free_bytes = 0;
    const int64_t need = payload + (1 << 20); // metadata and manifest are far below 1 MiB, beside the payload
    char want[24], have[24];
    vj_bytes_text(want, (double)need);
    vj_bytes_text(have, (double)free_bytes);
    VJ_CHECK(need <= free_bytes, VJ_ERR_IO,
             "%s: a checkpoint needs %s, %s are free; free some space and start again, the earlier checkpoints are as "
             "they were",
             s->ckpt, want, have);
    return VJ_OK;
}

// Left by a process that died: this run's lock is ours, so nobody writes there.
static vj_status remove_stale(const vj_saver *s)
{
    char **names = NULL;
    int64_t count = 0;
    VJ_TRY(vj_dir_list(s->ckpt, &names, &count));
    vj_status status = VJ_OK;
    for (int64_t i = 0; i < count && status == VJ_OK; i++) {
        if (!strstr(names[i], ".tmp-")) continue;
        char path[900];
        vj_path_join(path, sizeof path, s->ckpt, names[i]);
        vj_log(VJ_DEBUG, "checkpoint", "removing %s, which a killed process left", path);
        status = vj_dir_remove(path);
    }
    vj_names_free(&names, count);
    return status;
}

// An interval without elements (more writers than chunks) has no dataset.
static vj_status make_datasets(vj_saver *s, int64_t r, const char *path)
{
    vj_h5 *f = NULL;
    VJ_TRY(vj_h5_create(&f, path));
    vj_status status = VJ_OK;
    vj_shard_file *shard = &s->manifest.shards[r];
    const vj_h5_type type = shard->dtype == VJ_F64 ? VJ_H5_F64 : VJ_H5_F32;
    char group[128], name[256];
    for (int p = 0; p < s->n_parts; p++) {
        const vj_state_part *part = &s->parts[r][p];
        if (p == 0 || strcmp(part->network, part[-1].network) != 0) {
            vj_format(group, sizeof group, "/%s", part->network);
            VJ_TRY_GOTO(vj_h5_group(f, group), fail);
        }
        vj_format(group, sizeof group, "/%s/%s", part->network, vj_state_kind_names[part->kind]);
        VJ_TRY_GOTO(vj_h5_group(f, group), fail);
        for (int u = 0; u < part->layout->n_units; u++) {
            const int64_t n = vj_count(&part->shards[u]);
            if (n == 0) continue;
            vj_interval *v = &shard->intervals[shard->n++];
            *v = (vj_interval){ .kind = part->kind, .unit = u, .begin = part->begin[u], .end = part->begin[u] + n };
            vj_format(v->network, sizeof v->network, "%s", part->network);
            vj_format(name, sizeof name, "%s/%s", group, part->layout->units[u].name);
            VJ_TRY_GOTO(vj_h5_dataset(f, name, type, 1, &n, &v->offset), fail);
            VJ_TRY_GOTO(vj_h5_put_i64(f, name, "flat_begin", v->begin), fail);
            VJ_TRY_GOTO(vj_h5_put_i64(f, name, "flat_end", v->end), fail);
        }
    }
    VJ_TRY_GOTO(vj_h5_put_text(f, "/", "vj.format", "vjcheckpoint"), fail);
    VJ_TRY_GOTO(vj_h5_put_text(f, "/", "vj.run_id", s->manifest.state.run_id), fail);
    VJ_TRY_GOTO(vj_h5_put_i64(f, "/", "vj.step", s->manifest.state.step), fail);
    VJ_TRY_GOTO(vj_h5_put_i64(f, "/", "vj.writer", r), fail);
    VJ_TRY_GOTO(vj_h5_put_i64(f, "/", "vj.writers", s->manifest.n_shards), fail);
    return vj_h5_close(&f);
fail:
    vj_h5_abandon(&f);
    return status;
}

// Elements [first, first + count) of a unit's shard in host memory: where they lie, or through one block.
static vj_status stage(vj_saver *s, const vj_state_part *state, int unit, int64_t first, int64_t count, const void **out)
{
    *out = s->block;
    if (state->fill) return state->fill(state->fill_context, state, unit, state->begin[unit] + first, count, s->block);
    const vj_tensor part = vj_rows(&state->shards[unit], first, count);
    if (!s->st) {
        *out = part.data;
        return VJ_OK;
    }
    VJ_TRY(vj_copy_to_host(s->st, s->block, part.data, vj_tensor_bytes(&part)));
    return vj_stream_sync(s->st);
}

// Checksums of the pieces of a block: blocks are whole pieces but for an interval's last one.
static void add_pieces(vj_shard_file *shard, const char *block, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += VJ_CKPT_PIECE) {
        const size_t n = bytes - at < VJ_CKPT_PIECE ? bytes - at : VJ_CKPT_PIECE;
        shard->pieces[shard->n_pieces++] = vj_xxh64(block + at, n);
    }
}

// By pieces: a thread that writes a large block at once would hold a CPU while others wait for it.
static vj_status write_block(int fd, const char *block, size_t bytes, off_t offset, const char *path)
{
    for (size_t at = 0; at < bytes; at += VJ_CKPT_PIECE) {
        const size_t n = bytes - at < VJ_CKPT_PIECE ? bytes - at : VJ_CKPT_PIECE;
        VJ_TRY(vj_io_pwrite(fd, block + at, n, offset + (off_t)at, path));
    }
    return VJ_OK;
}

static vj_status make_piece_room(vj_shard_file *shard, vj_interval *v)
{
    const int64_t n = vj_pieces_of(shard, v);
    v->first_piece = -1;
    if (n == 0) return VJ_OK;
    uint64_t *more = realloc(shard->pieces, (size_t)(shard->n_pieces + n) * sizeof *more);
    VJ_CHECK(more != NULL, VJ_ERR_NOMEM, "no memory for a checkpoint");
    shard->pieces = more;
    v->first_piece = shard->n_pieces;
    return VJ_OK;
}

static vj_status write_interval(vj_saver *s, vj_shard_file *shard, int fd, const char *path, const vj_state_part *state, int unit,
                                vj_interval *v)
{
    const vj_tensor *t = &state->shards[unit];
    const size_t size = vj_dtype_size(t->dtype);
    const int64_t per_block = (int64_t)(VJ_CKPT_BLOCK / size), n = vj_count(t);
    vj_block_hash h = { 0 };
    VJ_TRY(make_piece_room(shard, v));
    for (int64_t first = 0; first < n; first += per_block) {
        const int64_t count = n - first < per_block ? n - first : per_block;
        const void *block = NULL;
        if (s->cancel && atomic_load(s->cancel)) {
            vj_error_clear();
            return VJ_ERR_IO;
        }
        VJ_TRY(stage(s, state, unit, first, count, &block));
        vj_block_hash_add(&h, block, (size_t)count * size);
        if (v->first_piece >= 0) add_pieces(shard, block, (size_t)count * size);
        VJ_TRY(write_block(fd, block, (size_t)count * size, (off_t)(v->offset + first * (int64_t)size), path));
    }
    v->checksum = vj_block_hash_end(&h);
    return VJ_OK;
}

vj_status vj_saver_write_shard(vj_saver *s, int64_t r)
{
    char path[760];
    vj_shard_file *shard = &s->manifest.shards[r];
    vj_format(shard->name, sizeof shard->name, "shard-%05d-of-%05d.h5", (int)r, (int)s->manifest.n_shards);
    vj_path_join(path, sizeof path, s->temporary, shard->name);
    shard->dtype = s->parts[r][0].shards[0].dtype;
    VJ_TRY(make_datasets(s, r, path));
    VJ_TRY(point("checkpoint.shard", path));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    VJ_CHECK(fd >= 0, VJ_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    vj_status status = VJ_OK;
    vj_interval *v = shard->intervals;   // in the order of make_datasets
    for (int p = 0; p < s->n_parts && status == VJ_OK; p++) {
        const vj_state_part *part = &s->parts[r][p];
        for (int u = 0; u < part->layout->n_units && status == VJ_OK; u++) {
            if (vj_count(&part->shards[u]) > 0) status = write_interval(s, shard, fd, path, part, u, v++);
        }
    }
    if (status == VJ_OK) status = vj_io_fsync(fd, path);
    if (status == VJ_OK) shard->bytes = (int64_t)lseek(fd, 0, SEEK_END);
    close(fd);
    VJ_TRY(status);
    return vj_shard_digest(shard, path, shard->digest);
}

static vj_status write_manifest(vj_saver *s)
{
    char path[760];
    vj_path_join(path, sizeof path, s->temporary, "manifest.json");
    for (int p = 0; p < s->n_parts; p++) {
        vj_layout *l = (vj_layout *)(uintptr_t)s->parts[0][p].layout;   // only read: the manifest is made from it
        if (strcmp(s->parts[0][p].network, "encoder") == 0) s->manifest.layouts[0] = l;
        if (strcmp(s->parts[0][p].network, "predictor") == 0) s->manifest.layouts[1] = l;
    }
    VJ_ASSERT(s->manifest.layouts[0] && s->manifest.layouts[1]);
    vj_str text = { 0 };
    vj_manifest_text(&s->manifest, &text);
    int fd = -1;
    vj_status status = vj_io_create(&fd, path);
    if (status == VJ_OK) status = vj_io_pwrite(fd, text.data, text.length, 0, path);
    if (status == VJ_OK) status = vj_io_fsync(fd, path);
    vj_io_close(&fd);
    vj_str_free(&text);
    return status;
}

// An existing directory of this step: the same state whose bytes are all good is fine, a damaged one is moved aside,
// anything else is refused.
static vj_status meet_existing(const vj_saver *s, bool *done)
{
    *done = false;
    if (!vj_path_exists(s->final)) return VJ_OK;
    vj_checkpoint *old = NULL;
    if (vj_manifest_read(&old, s->final) == VJ_OK) {
        const vj_run_state *a = &old->state, *b = &s->manifest.state;
        const bool same = strcmp(a->run_id, b->run_id) == 0 && a->step == b->step && a->cursor == b->cursor &&
                          a->adam_step == b->adam_step;
        *done = same && vj_checkpoint_check(old) == VJ_OK;
        vj_checkpoint_destroy(&old);
        if (*done) return VJ_OK;
        VJ_CHECK(same, VJ_ERR_CHECKPOINT, "%s: exists and belongs to another state", s->final);
    }
    char now[20], aside[660];
    vj_wall_compact(now);
    vj_format(aside, sizeof aside, "%s.damaged-%s", s->final, now);
    vj_log(VJ_WARN, "checkpoint", "%s is damaged and was moved to %s: %s", s->final, aside, vj_error_text());
    vj_error_clear();
    return vj_io_rename(s->final, aside);
}

static vj_status write_latest(const vj_saver *s)
{
    char path[700];
    vj_path_join(path, sizeof path, s->ckpt, "LATEST");
    char text[80];
    const int n = snprintf(text, sizeof text, "%s\n", vj_path_base(s->final));
    return vj_file_write_atomic(path, text, (size_t)n);
}

static vj_status retain(const char *run_dir, int64_t keep, int64_t keep_every)
{
    vj_kept *plan = NULL;
    int64_t n = 0;
    VJ_TRY(vj_retention_plan(run_dir, keep, keep_every, &plan, &n));
    const vj_status status = vj_retention_apply(run_dir, plan, n);
    free(plan);
    return status;
}

vj_status vj_saver_open(vj_saver *s)
{
    VJ_TRY(point("checkpoint.begin", s->temporary));
    return vj_dir_create(s->temporary);
}

vj_status vj_saver_commit(vj_saver *s)
{
    VJ_TRY(vj_io_fsync_dir(s->temporary));
    VJ_TRY(point("checkpoint.before_manifest", s->temporary));
    VJ_TRY(write_manifest(s));
    VJ_TRY(vj_io_fsync_dir(s->temporary));
    VJ_TRY(point("checkpoint.after_manifest", s->temporary));
    VJ_TRY(point("checkpoint.before_rename", s->temporary));
    VJ_TRY(vj_io_rename(s->temporary, s->final));
    VJ_TRY(vj_io_fsync_dir(s->ckpt));
    return point("checkpoint.after_rename", s->final);
}

vj_status vj_saver_make_room(vj_saver *s)
{
    int64_t intervals = 0;
    for (int p = 0; p < s->n_parts; p++) intervals += s->parts[0][p].layout->n_units;
    s->most_intervals = intervals + 1;
    s->block = malloc(VJ_CKPT_BLOCK);
    s->manifest.shards = calloc((size_t)s->manifest.n_shards, sizeof *s->manifest.shards);
    bool there = s->block != NULL && s->manifest.shards != NULL;
    for (int64_t r = 0; there && r < s->manifest.n_shards; r++) {
        s->manifest.shards[r].intervals = calloc((size_t)s->most_intervals, sizeof *s->manifest.shards[r].intervals);
        there = s->manifest.shards[r].intervals != NULL;
    }
    VJ_CHECK(there, VJ_ERR_NOMEM, "no memory for a checkpoint");
    return VJ_OK;
}

void vj_saver_free(vj_saver *s)
{
    for (int64_t r = 0; s->manifest.shards && r < s->manifest.n_shards; r++) {
        free(s->manifest.shards[r].intervals);
        free(s->manifest.shards[r].pieces);
    }
    free(s->manifest.shards);
    free(s->block);
    s->manifest.shards = NULL;
    s->block = NULL;
}

void vj_saver_undo(const vj_saver *s)
{
    char text[2048];
    snprintf(text, sizeof text, "%s", vj_error_text());
    if (vj_dir_remove(s->temporary) != VJ_OK) {
        vj_log(VJ_WARN, "checkpoint", "%s is left over and can be removed", s->temporary);
    }
    if (text[0]) (void)!vj_fail_text(VJ_ERR_IO, text);
    else vj_error_clear();
}

// Writes the directory; on failure nothing of it stays.
static vj_status write_all(vj_saver *s)
{
    int64_t payload = 0;
    for (int64_t r = 0; r < s->manifest.n_shards; r++) payload += vj_saver_payload(s, r);
    VJ_TRY(vj_saver_check_space(s, payload));
    vj_status status = vj_saver_make_room(s);
    if (status == VJ_OK) status = vj_saver_open(s);
    for (int64_t r = 0; r < s->manifest.n_shards && status == VJ_OK; r++) status = vj_saver_write_shard(s, r);
    if (status == VJ_OK) status = vj_saver_commit(s);
    vj_saver_free(s);
    if (status != VJ_OK) vj_saver_undo(s);
    return status;
}

vj_status vj_saver_begin(vj_saver *s, const char *run_dir, bool *done)
{
    VJ_CHECK(strlen(run_dir) < 480, VJ_ERR_USAGE, "the run directory's path is too long");
    vj_path_join(s->ckpt, sizeof s->ckpt, run_dir, "ckpt");
    vj_format(s->final, sizeof s->final, "%s/step-%08lld", s->ckpt, (long long)s->manifest.state.step);
    vj_format(s->temporary, sizeof s->temporary, "%s.tmp-%d", s->final, (int)getpid());
    VJ_TRY(vj_dir_create(s->ckpt));
    VJ_TRY(remove_stale(s));
    *done = false;
    return meet_existing(s, done);
}

vj_status vj_saver_end(const vj_saver *s, const char *run_dir, int64_t keep, int64_t keep_every)
{
    VJ_TRY(point("checkpoint.before_latest", s->final));
    VJ_TRY(write_latest(s));
    VJ_TRY(point("checkpoint.after_latest", s->final));
    if (retain(run_dir, keep, keep_every) !=
        VJ_OK) { // the new checkpoint is safe: old ones that stay are no failure
        vj_log(VJ_WARN, "checkpoint", "old checkpoints could not be removed: %s", vj_error_text());
        vj_error_clear();
    }
    return VJ_OK;
}

vj_status vj_checkpoint_save_as(const char *run_dir, const vj_state_part *const *parts, int writers, int n_parts,
                                const vj_run_state *state, vj_stream *st, int64_t keep, int64_t keep_every)
{
    vj_saver s = { .parts = parts, .n_parts = n_parts, .st = st };
    s.manifest.state = *state;
    s.manifest.n_shards = writers;
    bool done = false;
    VJ_TRY(vj_saver_begin(&s, run_dir, &done));
    if (!done) VJ_TRY(write_all(&s));
    return vj_saver_end(&s, run_dir, keep, keep_every);
}

vj_status vj_checkpoint_save(const char *run_dir, const vj_state_part *parts, int n_parts, const vj_run_state *state,
                             vj_stream *st, int64_t keep, int64_t keep_every)
{
    return vj_checkpoint_save_as(run_dir, &parts, 1, n_parts, state, st, keep, keep_every);
}
