// Run directories. Easy to get wrong: the identity is written before anything else of the run, and the resolved
// configuration before the identity, so that a start that is killed half-way leaves a directory that the same command
// can simply start again.

#include "jobs/train/run_dir.h"

#include "jobs/train/recommend.h"
#include "jobs/train/run_lock.h"

#include <errno.h>
#include <string.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/log/log.h"

static void path_in(char out[640], const char *dir, const char *name) { vj_path_join(out, 640, dir, name); }

bool vj_run_dir_exists(const char *path)
{
    char file[640];
    path_in(file, path, "run.json");
    return vj_path_exists(file);
}

// A run directory that is not a run may only be missing, empty, or hold what a killed first start leaves behind.
static vj_status refuse_strangers(const char *path)
{
    char **names = NULL;
    int64_t count = 0;
    VJ_TRY(vj_dir_list(path, &names, &count));
    vj_status status = VJ_OK;
    for (int64_t i = 0; i < count && status == VJ_OK; i++) {
        const bool ours = strcmp(names[i], "lock") == 0 || vj_str_starts(names[i], "lock.") ||
                          strcmp(names[i], "log.txt") == 0 || strcmp(names[i], "ranks") == 0 || vj_str_starts(names[i], "config.yaml") || vj_str_starts(names[i], "run.json");
        if (!ours) {
            status = vj_fail(VJ_ERR_CONFIG,
                             "%s: is not empty and holds no run (found %s); choose another --run, or --fresh to move "
                             "its content to %s.old-TIME",
                             path, names[i], path);
        }
    }
    vj_names_free(&names, count);
    return status;
}

static vj_status move_aside(const char *path)
{
    char now[20], target[640];
    vj_wall_compact(now);
    vj_format(target, sizeof target, "%s.old-%s", path, now);
    for (int n = 2; vj_path_exists(target); n++) vj_format(target, sizeof target, "%s.old-%s-%d", path, now, n);
    VJ_TRY(vj_io_rename(path, target));
    vj_log(VJ_INFO, "run", "moved the old %s to %s", path, target);
    return VJ_OK;
}

static vj_status write_identity(vj_run_dir *run, const vj_config *config)
{
    unsigned char token[8];
    VJ_CHECK(getrandom(token, sizeof token, 0) == (ssize_t)sizeof token, VJ_ERR_IO, "no random bytes: %s", strerror(errno));
    char now[20], hex[17], file[640], wall[32];
    vj_wall_compact(now);
    vj_hex(hex, token, sizeof token);
    vj_format(run->run_id, sizeof run->run_id, "%s-%s", now, hex);

    vj_str yaml = { 0 };
    vj_config_resolved(config, true, &yaml);
    path_in(file, run->path, "config.yaml");
    vj_status status = vj_file_write_atomic(file, vj_str_text(&yaml), yaml.length);
    vj_str_free(&yaml);
    VJ_TRY(status);

    vj_json_writer w = { .pretty = true };
    vj_wall_text(wall);
    vj_json_begin_object(&w, NULL);
    vj_json_put_i64(&w, "format", 1);
    vj_json_put_text(&w, "run_id", run->run_id);
    vj_json_put_text(&w, "phase", run->phase);
    vj_json_put_text(&w, "parent", run->parent);
    vj_json_put_i64(&w, "parent_step", run->parent_step);
    if (run->init[0]) vj_json_put_text(&w, "init_from", run->init_from);
    if (run->init[0]) vj_json_put_text(&w, "init_sha256", run->init);
    vj_json_put_text(&w, "created", wall);
    vj_json_end_object(&w);
    vj_str_add(&w.out, "\n");
    path_in(file, run->path, "run.json");
    status = vj_file_write_atomic(file, vj_str_text(&w.out), w.out.length);
    vj_json_writer_free(&w);
    return status;
}

vj_status vj_run_dir_read(vj_run_dir *out, const char *path)
{
    *out = (vj_run_dir){ .parent_step = -1, .resumed = true };
    char file[640];
    path_in(file, path, "run.json");
    VJ_CHECK(vj_path_exists(path), VJ_ERR_CONFIG, "%s: does not exist", path);
    VJ_CHECK(vj_path_exists(file), VJ_ERR_CONFIG, "%s: holds no run (no run.json)", path);
    VJ_CHECK(strlen(path) < sizeof out->path, VJ_ERR_USAGE, "the run directory's path is longer than %zu bytes", sizeof out->path);
    vj_format(out->path, sizeof out->path, "%s", path);
    vj_json_doc *doc = NULL;
    VJ_TRY(vj_json_read(&doc, file));
    const vj_json *root = vj_json_root(doc);
    const char *id = NULL, *phase = NULL, *parent = NULL, *init = "", *init_from = "";
    vj_status status = VJ_OK;
    VJ_TRY_GOTO(vj_json_text(root, "run_id", &id), done);
    VJ_TRY_GOTO(vj_json_text(root, "phase", &phase), done);
    VJ_TRY_GOTO(vj_json_text(root, "parent", &parent), done);
    VJ_TRY_GOTO(vj_json_i64(root, "parent_step", &out->parent_step), done);
    if (vj_json_get(root, "init_sha256")) {
        VJ_TRY_GOTO(vj_json_text(root, "init_sha256", &init), done);
        VJ_TRY_GOTO(vj_json_text(root, "init_from", &init_from), done);
    }
    if (strlen(init) >= sizeof out->init || strlen(init_from) >= sizeof out->init_from ||
        strlen(id) >= sizeof out->run_id || strlen(phase) >= sizeof out->phase || strlen(parent) >= sizeof out->parent) {
        status = vj_fail(VJ_ERR_CONFIG, "a text in it is too long");
        goto done;
    }
    vj_format(out->run_id, sizeof out->run_id, "%s", id);
    vj_format(out->phase, sizeof out->phase, "%s", phase);
    vj_format(out->parent, sizeof out->parent, "%s", parent);
    vj_format(out->init, sizeof out->init, "%s", init);
    vj_format(out->init_from, sizeof out->init_from, "%s", init_from);
done:
    vj_json_destroy(&doc);
    if (status != VJ_OK) vj_context("reading %s", file);
    return status == VJ_OK ? VJ_OK : VJ_ERR_CONFIG;
}

// `old` without its `recommended`, then the new one.
static void with_recommendation(vj_json_writer *w, const vj_json *old, const vj_recommendation *r)
{
    vj_json_begin_object(w, NULL);
    for (int64_t i = 0; i < vj_json_count(old); i++) {
        const char *key = NULL;
        const vj_json *value = vj_json_member(old, i, &key);
        if (strcmp(key, "recommended") != 0) vj_json_put_copy(w, key, value);
    }
    vj_json_begin_object(w, "recommended");
    if (r->step >= 0) vj_json_put_i64(w, "step", r->step);
    else vj_json_put_null(w, "step");
    vj_json_put_text(w, "why", r->why);
    vj_json_put_f64(w, "held_out_ratio", r->ratio);
    if (r->ratio_step >= 0) vj_json_put_i64(w, "held_out_step", r->ratio_step);
    else vj_json_put_null(w, "held_out_step");
    vj_json_end_object(w);
    vj_json_end_object(w);
    vj_str_add(&w->out, "\n");
}

vj_status vj_run_dir_recommend(const vj_run_dir *run, const vj_recommendation *r)
{
    char file[640];
    path_in(file, run->path, "run.json");
    char *text = NULL;
    size_t bytes = 0;
    vj_json_doc *doc = NULL;
    VJ_TRY(vj_file_read(file, &text, &bytes, 0));
    vj_status status = vj_json_parse(&doc, text, bytes, file);
    if (status == VJ_OK) {
        vj_json_writer w = { .pretty = true };
        with_recommendation(&w, vj_json_root(doc), r);
        if (strcmp(vj_str_text(&w.out), text) != 0) status = vj_file_write_atomic(file, vj_str_text(&w.out), w.out.length);
        vj_json_writer_free(&w);
    }
    vj_json_destroy(&doc);
    free(text);
    return status;
}

// The run that is there must be the run that was asked for.
static vj_status check_identity(const vj_run_dir *run, const char *phase, const char *parent, int64_t parent_step,
                                const vj_config *config)
{
    VJ_CHECK(strcmp(run->phase, phase) == 0, VJ_ERR_CONFIG,
             "%s: holds a %s, not a %s; choose another --run, or --fresh to move the old run aside", run->path, run->phase, phase);
    const bool same_parent = parent[0] == '\0' || (strcmp(parent, run->parent) == 0 && parent_step == run->parent_step);
    VJ_CHECK(same_parent, VJ_ERR_CONFIG,
             "%s: was started from %s, not from %s; choose another --run, or --fresh to move the old run aside", run->path,
             run->parent, parent);
    char file[640];
    path_in(file, run->path, "config.yaml");
    vj_str differences = { 0 };
    int count = 0;
    vj_status status = vj_config_differences(config, file, &differences, &count);
    if (status == VJ_OK && count > 0) {
        status = vj_fail(VJ_ERR_CONFIG,
                         "%s: belongs to a run with another configuration; choose another --run, or --fresh to move the "
                         "old run aside. Different:\n%s",
                         run->path, vj_str_text(&differences));
    }
    vj_str_free(&differences);
    return status;
}

// What a killed process left half written: NAME.tmp-PID. The lock is ours, so nobody is still writing one. A failure is of no
// consequence: the file is in nobody's way.
static void sweep_leftovers(const char *path)
{
    char **names = NULL;
    int64_t count = 0;
    if (vj_dir_list(path, &names, &count) != VJ_OK) {
        vj_error_clear();
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const char *mark = strstr(names[i], ".tmp-");
        char file[1024];
        if (!mark || mark == names[i] || mark[5] == '\0' || mark[5 + strspn(mark + 5, "0123456789")] != '\0') continue;
        vj_path_join(file, sizeof file, path, names[i]);
        if (!vj_path_is_dir(file) && unlink(file) == 0) vj_log(VJ_DEBUG, "run", "removed %s, left by a killed process", file);
    }
    vj_names_free(&names, count);
}

// A run that never came to its first line or checkpoint: a start that was refused, or killed.
static bool nothing_done(const char *path)
{
    char file[640];
    struct stat st;
    path_in(file, path, "metrics.jsonl");
    if (stat(file, &st) == 0 && st.st_size > 0) return false;
    path_in(file, path, "ckpt");
    char **names = NULL;
    int64_t count = 0;
    if (!vj_path_is_dir(file)) return true;
    if (vj_dir_list(file, &names, &count) != VJ_OK) return false;
    vj_names_free(&names, count);
    return count == 0;
}

vj_status vj_run_dir_open(vj_run_dir *out, const char *path, const char *phase, const char *parent, int64_t parent_step,
                          const char *init_from, const char *init, const vj_config *config, bool fresh)
{
    *out = (vj_run_dir){ .parent_step = -1 };
    VJ_CHECK(strlen(path) + 64 < sizeof out->path, VJ_ERR_USAGE, "--run: the path is longer than %zu bytes", sizeof out->path - 64);
    VJ_CHECK(!vj_path_exists(path) || vj_path_is_dir(path), VJ_ERR_CONFIG, "%s: is a file, a run needs a directory", path);
    if (fresh && vj_path_exists(path)) {
        vj_run_lock *probe = NULL;
        VJ_TRY(vj_run_lock_take(&probe, path));   // never move a directory under a running process
        vj_status moved = move_aside(path);
        vj_run_lock_release(&probe);
        VJ_TRY(moved);
    }
    VJ_TRY(vj_dir_create(path));
    vj_run_dir run = { .parent_step = parent_step };
    vj_format(run.path, sizeof run.path, "%s", path);
    VJ_TRY(vj_run_lock_take(&run.lock, path));

    vj_status status = VJ_OK;
    bool exists = vj_run_dir_exists(path);
    if (exists) {
        vj_run_dir there;
        status = vj_run_dir_read(&there, path);
        there.lock = run.lock;
        if (status == VJ_OK) status = check_identity(&there, phase, parent, parent_step, config);
        if (status == VJ_OK) run = there;
        else if (nothing_done(path)) {
            vj_error_clear();
            vj_log(VJ_INFO, "run", "%s: another run began here and never made a step: its place is taken", path);
            status = VJ_OK;
            exists = false;
        } else goto fail;
    }
    if (!exists) {
        VJ_TRY_GOTO(refuse_strangers(path), fail);
        if (strlen(parent) >= sizeof run.parent) {
            status = vj_fail(VJ_ERR_USAGE, "the path of the parent checkpoint is longer than %zu bytes", sizeof run.parent);
            goto fail;
        }
        vj_format(run.phase, sizeof run.phase, "%s", phase);
        vj_format(run.parent, sizeof run.parent, "%s", parent);
        vj_format(run.init_from, sizeof run.init_from, "%s", init_from);
        vj_format(run.init, sizeof run.init, "%s", init);
        VJ_TRY_GOTO(write_identity(&run, config), fail);
    }
    sweep_leftovers(path);
    *out = run;
    return VJ_OK;
fail:
    vj_run_dir_close(&run);
    return status;
}

void vj_run_dir_close(vj_run_dir *run) { vj_run_lock_release(&run->lock); }

vj_status vj_run_dir_held(vj_run_dir *run, bool look) { return vj_run_lock_check(run->lock, look); }
