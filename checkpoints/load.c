// Finding, opening, loading, verifying. Loading works by interval intersection: whatever the number of shards that
// wrote a unit, each part takes the elements it needs.

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoints/checkpoint_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/log/log.h"

const vj_run_state *vj_checkpoint_state(const vj_checkpoint *c) { return &c->state; }
const char *vj_checkpoint_path(const vj_checkpoint *c) { return c->path; }

const char *vj_checkpoint_file(const vj_checkpoint *c, int64_t index, int64_t *bytes)
{
    if (index < 0 || index >= c->n_shards) return NULL;
    *bytes = c->shards[index].bytes;
    return c->shards[index].name;
}

const vj_layout *vj_checkpoint_layout(const vj_checkpoint *c, const char *network)
{
    if (strcmp(network, "encoder") == 0 || strcmp(network, "target_encoder") == 0) return c->layouts[0];
    return strcmp(network, "predictor") == 0 ? c->layouts[1] : NULL;
}

bool vj_checkpoint_has(const vj_checkpoint *c, const char *network, vj_state_kind kind)
{
    for (int64_t k = 0; k < c->n_shards; k++) {
        for (int64_t i = 0; i < c->shards[k].n; i++) {
            const vj_interval *v = &c->shards[k].intervals[i];
            if (v->kind == kind && strcmp(v->network, network) == 0) return true;
        }
    }
    return false;
}

// ---- finding -------------------------------------------------------------------------------------------------------
static bool is_step_name(const char *name, int64_t *step)
{
    const char *digits = name + 5;
    return strncmp(name, "step-", 5) == 0 && strlen(digits) >= 8 && strspn(digits, "0123456789") == strlen(digits) &&
           vj_parse_i64(digits, step);
}

static int by_step(const void *a, const void *b)
{
    const vj_checkpoint_info *x = a, *y = b;
    return x->step < y->step ? -1 : x->step > y->step;
}

static void describe(vj_checkpoint_info *info)
{
    vj_checkpoint *c = NULL;
    if (vj_manifest_read(&c, info->path) != VJ_OK) {
        snprintf(info->problem, sizeof info->problem, "%s", vj_error_text());
        vj_error_clear();
        return;
    }
    info->valid = true;
    snprintf(info->phase, sizeof info->phase, "%s", c->state.phase);
    snprintf(info->schedule_phase, sizeof info->schedule_phase, "%s", c->state.schedule_phase);
    snprintf(info->written, sizeof info->written, "%s", c->written);
    for (int64_t k = 0; k < c->n_shards; k++) info->bytes += c->shards[k].bytes;
    vj_checkpoint_destroy(&c);
}

vj_status vj_checkpoint_list(const char *run_dir, vj_checkpoint_info **out, int64_t *count)
{
    *out = NULL;
    *count = 0;
    char ckpt[640];
    VJ_CHECK(strlen(run_dir) < 480, VJ_ERR_USAGE, "the run directory's path is too long");
    vj_path_join(ckpt, sizeof ckpt, run_dir, "ckpt");
    VJ_CHECK(vj_path_exists(run_dir), VJ_ERR_CONFIG, "%s: does not exist", run_dir);
    VJ_CHECK(vj_path_is_dir(ckpt), VJ_ERR_CONFIG, "%s: holds no checkpoints (no folder ckpt)", run_dir);
    char **names = NULL;
    int64_t n = 0;
    VJ_TRY(vj_dir_list(ckpt, &names, &n));
    vj_checkpoint_info *list = calloc((size_t)n + 1, sizeof *list);
    if (!list) {
        vj_names_free(&names, n);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory to list checkpoints");
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t step = 0;
        if (!is_step_name(names[i], &step)) continue;
        vj_checkpoint_info *info = &list[(*count)++];
        info->step = step;
        snprintf(info->path, sizeof info->path, "%.490s/%.20s", ckpt, names[i]);
        describe(info);
    }
    qsort(list, (size_t)*count, sizeof *list, by_step);
    vj_names_free(&names, n);
    *out = list;
    return VJ_OK;
}

static vj_status open_newest(vj_checkpoint **out, const char *run, bool for_cooldown)
{
    vj_checkpoint_info *list = NULL;
    int64_t count = 0;
    VJ_TRY(vj_checkpoint_list(run, &list, &count));
    vj_status status = VJ_OK;
    int64_t damaged = 0;
    for (int64_t i = count - 1; i >= 0 && !*out && status == VJ_OK; i--) {
        if (!list[i].valid) {
            vj_log(VJ_WARN, "checkpoint", "%s is damaged and passed over: %s", list[i].path, list[i].problem);
            damaged++;
        } else if (!for_cooldown || strcmp(list[i].schedule_phase, "decay") != 0) {
            status = vj_manifest_read(out, list[i].path);
        }
    }
    free(list);
    VJ_TRY(status);
    if (*out) return VJ_OK;
    if (count > 0 && damaged == count) VJ_FAIL(VJ_ERR_CHECKPOINT, "%s: none of its %lld checkpoints can be read", run, (long long)count);
    if (count > 0) {
        VJ_FAIL(VJ_ERR_CONFIG, "%s: has no checkpoint of its constant phase any more; name one as %s@STEP", run, run);
    }
    VJ_FAIL(VJ_ERR_CONFIG, "%s: holds no checkpoint", run);
}

vj_status vj_checkpoint_recommended(const char *run_dir, int64_t *step, vj_str *why)
{
    *step = -1;
    char file[640];
    VJ_CHECK(strlen(run_dir) < 480, VJ_ERR_USAGE, "the run directory's path is too long");
    vj_path_join(file, sizeof file, run_dir, "run.json");
    VJ_CHECK(vj_path_exists(run_dir), VJ_ERR_CONFIG, "%s: does not exist", run_dir);
    VJ_CHECK(vj_path_exists(file), VJ_ERR_CONFIG, "%s: holds no run (no run.json)", run_dir);
    vj_json_doc *doc = NULL;
    VJ_TRY(vj_json_read(&doc, file));
    const vj_json *r = vj_json_get(vj_json_root(doc), "recommended");
    const char *text = vj_json_as_text(vj_json_get(r, "why"));
    if (!vj_json_as_i64(vj_json_get(r, "step"), step) || *step < 0) {
        *step = -1;
        if (why && text) vj_str_add(why, text);
    }
    vj_json_destroy(&doc);
    return VJ_OK;
}

static vj_status recommended_path(const char *ref, const char *run, char path[640])
{
    int64_t step = 0;
    vj_str why = { 0 };
    vj_status status = vj_checkpoint_recommended(run, &step, &why);
    if (status == VJ_OK && step < 0) {
        const char *reason = why.length > 0 ? vj_str_text(&why) : "run.json names none";
        status =
            vj_fail(VJ_ERR_CONFIG, "%s: no checkpoint is recommended (%s); use %s or %s@STEP", ref, reason, run, run);
    }
    vj_str_free(&why);
    VJ_TRY(status);
    vj_format(path, 640, "%s/ckpt/step-%08lld", run, (long long)step);
    VJ_CHECK(vj_path_is_dir(path), VJ_ERR_CONFIG, "%s: the recommended checkpoint, step %lld, is not there any more",
             ref, (long long)step);
    return VJ_OK;
}

// What REF means. *path: the checkpoint's directory, or "" when it is a run directory whose newest is meant.
static vj_status resolve(const char *ref, char path[640])
{
    int64_t step = 0;
    path[0] = '\0';
    VJ_CHECK(strlen(ref) < 480, VJ_ERR_USAGE, "a reference of %zu bytes is too long", strlen(ref));
    const char *at = strrchr(ref, '@');
    if (at && !vj_path_exists(ref)) {
        char run[500];
        vj_format(run, sizeof run, "%.*s", (int)(at - ref), ref);
        if (strcmp(at, "@recommended") == 0) return recommended_path(ref, run, path);
        VJ_CHECK(vj_parse_i64(at + 1, &step) && step >= 0, VJ_ERR_USAGE, "%s: a step number was expected behind the @",
                 ref);
        vj_format(path, 640, "%s/ckpt/step-%08lld", run, (long long)step);
        VJ_CHECK(vj_path_is_dir(path), VJ_ERR_CONFIG,
                 "%s: there is no checkpoint of step %lld (`vjepa checkpoint ls %s` lists them)", run, (long long)step,
                 run);
        return VJ_OK;
    }
    VJ_CHECK(vj_path_exists(ref), VJ_ERR_CONFIG, "%s: no such run or checkpoint", ref);
    VJ_CHECK(vj_path_is_dir(ref), VJ_ERR_CONFIG,
             "%s: is a file; a run directory or a checkpoint directory was expected", ref);
    char trimmed[500], manifest[640];
    vj_format(trimmed, sizeof trimmed, "%s", ref);
    for (size_t n = strlen(trimmed); n > 1 && trimmed[n - 1] == '/'; n--) trimmed[n - 1] = '\0';
    vj_path_join(manifest, sizeof manifest, trimmed, "manifest.json");
    if (is_step_name(vj_path_base(trimmed), &step) || vj_path_exists(manifest)) vj_format(path, 640, "%s", trimmed);
    return VJ_OK;
}

vj_status vj_checkpoint_open(vj_checkpoint **out, const char *ref, bool for_cooldown)
{
    *out = NULL;
    char path[640];
    VJ_TRY(resolve(ref, path));
    return path[0] ? vj_manifest_read(out, path) : open_newest(out, ref, for_cooldown);
}

// ---- reading --------------------------------------------------------------------------------------------------------
// Whatever is wrong with a checkpoint's files, also a disk that does not give them: this checkpoint cannot be used.
static vj_status damaged(vj_status status)
{
    return status == VJ_OK || status == VJ_ERR_NOMEM ? status : VJ_ERR_CHECKPOINT;
}

// Size and digest are checked before anything in the file is believed.
static vj_status open_checked(const vj_checkpoint *c, const vj_shard_file *f, int *fd)
{
    char path[640];
    *fd = -1;
    vj_path_join(path, sizeof path, c->path, f->name);
    struct stat st;
    VJ_CHECK(stat(path, &st) == 0, VJ_ERR_CHECKPOINT, "%s: is missing", path);
    VJ_CHECK((int64_t)st.st_size == f->bytes, VJ_ERR_CHECKPOINT,
             "%s: has %lld bytes, its manifest says %lld: truncated or not of this checkpoint", path,
             (long long)st.st_size, (long long)f->bytes);
    unsigned char digest[32];
    VJ_TRY(damaged(vj_shard_digest(f, path, digest)));
    VJ_CHECK(memcmp(digest, f->digest, 32) == 0, VJ_ERR_CHECKPOINT,
             "%s: its metadata (the bytes outside of the datasets) is damaged: the digest differs from the manifest's",
             path);
    return damaged(vj_io_open_read(fd, path));
}

static atomic_int_fast64_t bytes_read;
int64_t vj_checkpoint_bytes_read(void) { return atomic_load(&bytes_read); }

static vj_status damaged_bytes(const vj_checkpoint *c, const char *path, const vj_interval *v, int64_t from, int64_t to)
{
    VJ_FAIL(VJ_ERR_CHECKPOINT, "%s: %s/%s of unit %s is damaged (bytes %lld to %lld do not fit their checksum)", path, v->network,
            vj_state_kind_names[v->kind], vj_checkpoint_layout(c, v->network)->units[v->unit].name, (long long)(v->offset + from),
            (long long)(v->offset + to));
}

// `at`: bytes of the interval in front of the block, a multiple of a piece.
static vj_status check_pieces(const vj_checkpoint *c, const vj_shard_file *f, const vj_interval *v, const char *path, const char *block,
                              int64_t at, int64_t bytes)
{
    for (int64_t k = 0; k < bytes; k += VJ_CKPT_PIECE) {
        const int64_t n = bytes - k < VJ_CKPT_PIECE ? bytes - k : VJ_CKPT_PIECE;
        if (vj_xxh64(block + k, (size_t)n) == f->pieces[v->first_piece + (at + k) / VJ_CKPT_PIECE]) continue;
        return damaged_bytes(c, path, v, at + k, at + k + n);
    }
    return VJ_OK;
}

// Hands each block of an interval that holds elements [low, high) of the unit to `fn` (NULL: only checks), and maybe some beside them.
typedef vj_status (*block_fn)(void *context, const void *data, int64_t first, int64_t count);

static vj_status read_interval(const vj_checkpoint *c, const vj_shard_file *f, int fd, const vj_interval *v, int64_t low, int64_t high,
                               block_fn fn, void *context)
{
    const int64_t size = (int64_t)vj_dtype_size(f->dtype), n = v->end - v->begin;
    const int64_t per_block = VJ_CKPT_BLOCK / size, per_piece = VJ_CKPT_PIECE / size;
    const bool whole = v->first_piece < 0 || (low <= v->begin && high >= v->end);
    const int64_t from = whole || low <= v->begin ? 0 : (low - v->begin) / per_piece * per_piece;
    int64_t to = whole || high >= v->end ? n : (high - v->begin + per_piece - 1) / per_piece * per_piece;
    if (to > n) to = n;
    char path[640];
    vj_path_join(path, sizeof path, c->path, f->name);
    void *block = malloc(VJ_CKPT_BLOCK);
    VJ_CHECK(block != NULL, VJ_ERR_NOMEM, "no memory to read %s", path);
    vj_block_hash h = { 0 };
    vj_status status = VJ_OK;
    for (int64_t first = from; first < to && status == VJ_OK; first += per_block) {
        const int64_t count = to - first < per_block ? to - first : per_block;
        status = damaged(vj_io_pread(fd, block, (size_t)(count * size), (off_t)(v->offset + first * size), path));
        if (status != VJ_OK) break;
        atomic_fetch_add(&bytes_read, count * size);
        if (whole) vj_block_hash_add(&h, block, (size_t)(count * size));
        else status = check_pieces(c, f, v, path, block, first * size, count * size);
        if (fn && status == VJ_OK) status = fn(context, block, v->begin + first, count);
    }
    free(block);
    VJ_TRY(status);
    return whole && vj_block_hash_end(&h) != v->checksum ? damaged_bytes(c, path, v, 0, n * size) : VJ_OK;
}

vj_status vj_checkpoint_check(const vj_checkpoint *c)
{
    for (int64_t k = 0; k < c->n_shards; k++) {
        int fd = -1;
        VJ_TRY(open_checked(c, &c->shards[k], &fd));
        vj_status status = VJ_OK;
        for (int64_t i = 0; i < c->shards[k].n && status == VJ_OK; i++) {
            const vj_interval *v = &c->shards[k].intervals[i];
            status = read_interval(c, &c->shards[k], fd, v, v->begin, v->end, NULL, NULL);
        }
        vj_io_close(&fd);
        VJ_TRY(status);
    }
    return VJ_OK;
}

static void param_text(vj_str *out, const char *network, const vj_param *p)
{
    vj_str_clear(out);
    if (!p) {
        vj_str_add(out, "no further parameter");
        return;
    }
    vj_str_printf(out, "%s.%s [", network, p->name);
    for (int i = 0; i < p->rank; i++) vj_str_printf(out, i ? ",%lld" : "%lld", (long long)p->shape[i]);
    vj_str_add(out, "]");
}

static bool same_param(const vj_param *p, const vj_param *q)
{
    return p && q && strcmp(p->name, q->name) == 0 && p->rank == q->rank &&
           memcmp(p->shape, q->shape, (size_t)p->rank * sizeof p->shape[0]) == 0;
}

static vj_status same_layout(const vj_checkpoint *c, const vj_state_part *part)
{
    const vj_layout *a = vj_checkpoint_layout(c, part->network), *b = part->layout;
    VJ_CHECK(a != NULL, VJ_ERR_CONFIG, "%s: holds no network %s", c->path, part->network);
    for (int i = 0; i < a->n_params || i < b->n_params; i++) {
        const vj_param *p = i < a->n_params ? &a->params[i] : NULL, *q = i < b->n_params ? &b->params[i] : NULL;
        if (same_param(p, q)) continue;
        vj_str there = { 0 }, here = { 0 };
        param_text(&there, part->network, p);
        param_text(&here, part->network, q);
        const vj_status status = vj_fail(VJ_ERR_CONFIG, "%s: belongs to another model: it has %s where this one has %s",
                                         c->path, vj_str_text(&there), vj_str_text(&here));
        vj_str_free(&there);
        vj_str_free(&here);
        return status;
    }
    bool same = a->quantum == b->quantum && a->n_units == b->n_units;
    for (int u = 0; same && u < a->n_units; u++) same = a->units[u].length == b->units[u].length;
    VJ_CHECK(same, VJ_ERR_CONFIG, "%s: its units are cut differently (model.shard_quantum=%lld there, %lld here)",
             c->path, (long long)a->quantum, (long long)b->quantum);
    return VJ_OK;
}

typedef struct taker { const vj_tensor *shard; int64_t begin, taken; vj_dtype from; vj_stream *st; } taker;

static vj_status take(void *context, const void *data, int64_t first, int64_t count)
{
    taker *t = context;
    const int64_t end = t->begin + vj_count(t->shard);
    const int64_t low = first > t->begin ? first : t->begin, high = first + count < end ? first + count : end;
    if (low >= high) return VJ_OK;
    const vj_tensor part = vj_rows(t->shard, low - t->begin, high - low);
    VJ_TRY(vj_upload(t->st, &part, (const char *)data + (size_t)(low - first) * vj_dtype_size(t->from), t->from));
    t->taken += high - low;
    return VJ_OK;
}

static vj_status load_part(const vj_checkpoint *c, const vj_shard_file *f, int fd, const vj_state_part *part,
                           int64_t *taken, vj_stream *st)
{
    for (int64_t i = 0; i < f->n; i++) {
        const vj_interval *v = &f->intervals[i];
        if (v->kind != part->kind || strcmp(v->network, part->network) != 0) continue;
        const int64_t begin = part->begin[v->unit], end = begin + vj_count(&part->shards[v->unit]);
        if (v->end <= begin || v->begin >= end) continue;
        taker t = { &part->shards[v->unit], begin, 0, f->dtype, st };
        VJ_TRY(read_interval(c, f, fd, v, begin, end, take, &t));
        *taken += t.taken;
    }
    return VJ_OK;
}

// A rank that needs nothing of a shard does not open it: another one does, and says what is wrong with it.
static bool needs(const vj_shard_file *f, const vj_state_part *parts, int n_parts)
{
    for (int p = 0; p < n_parts; p++) {
        for (int64_t i = 0; i < f->n; i++) {
            const vj_interval *v = &f->intervals[i];
            if (v->kind != parts[p].kind || strcmp(v->network, parts[p].network) != 0) continue;
            const int64_t begin = parts[p].begin[v->unit], end = begin + vj_count(&parts[p].shards[v->unit]);
            if (v->end > begin && v->begin < end) return true;
        }
    }
    return false;
}

vj_status vj_checkpoint_load(const vj_checkpoint *c, const vj_state_part *parts, int n_parts, vj_stream *st)
{
    for (int p = 0; p < n_parts; p++) {
        VJ_TRY(same_layout(c, &parts[p]));
        VJ_CHECK(vj_checkpoint_has(c, parts[p].network, parts[p].kind), VJ_ERR_CHECKPOINT, "%s: holds no %s of the %s",
                 c->path, vj_state_kind_names[parts[p].kind], parts[p].network);
    }
    int64_t taken = 0, wanted = 0;
    for (int64_t k = 0; k < c->n_shards; k++) {
        int fd = -1;
        if (!needs(&c->shards[k], parts, n_parts)) continue;
        VJ_TRY(open_checked(c, &c->shards[k], &fd));
        vj_status status = VJ_OK;
        for (int p = 0; p < n_parts && status == VJ_OK; p++) {
            status = load_part(c, &c->shards[k], fd, &parts[p], &taken, st);
        }
        vj_io_close(&fd);
        VJ_TRY(status);
    }
    for (int p = 0; p < n_parts; p++) {
        for (int u = 0; u < parts[p].layout->n_units; u++) wanted += vj_count(&parts[p].shards[u]);
    }
    VJ_CHECK(taken == wanted, VJ_ERR_CHECKPOINT, "%s: its shards hold %lld of %lld elements", c->path, (long long)taken,
             (long long)wanted);
    return VJ_OK;
}

// Elements [low, high) of the interval's unit, in the file's type.
static vj_status read_slice(const vj_checkpoint *c, const vj_shard_file *f, const vj_interval *v, int64_t low, int64_t high, void *out)
{
    const size_t size = vj_dtype_size(f->dtype);
    char path[640];
    int fd = -1;
    vj_path_join(path, sizeof path, c->path, f->name);
    vj_status status = vj_io_open_read(&fd, path);
    if (status == VJ_OK) status = vj_io_pread(fd, out, (size_t)(high - low) * size, (off_t)(v->offset + (low - v->begin) * (int64_t)size), path);
    vj_io_close(&fd);
    return damaged(status);
}

vj_status vj_checkpoint_read_elements(const vj_checkpoint *c, const char *network, vj_state_kind kind, int unit, int64_t first,
                                      int64_t count, void *out)
{
    int64_t taken = 0;
    for (int64_t k = 0; k < c->n_shards; k++) {
        const size_t size = vj_dtype_size(c->shards[k].dtype);
        for (int64_t i = 0; i < c->shards[k].n; i++) {
            const vj_interval *v = &c->shards[k].intervals[i];
            const int64_t low = v->begin > first ? v->begin : first, high = v->end < first + count ? v->end : first + count;
            if (v->kind != kind || v->unit != unit || strcmp(v->network, network) != 0 || low >= high) continue;
            VJ_TRY(read_slice(c, &c->shards[k], v, low, high, (char *)out + (size_t)(low - first) * size));
            taken += high - low;
        }
    }
    VJ_CHECK(taken == count, VJ_ERR_CHECKPOINT, "%s: holds %lld of %lld elements of %s", c->path, (long long)taken, (long long)count, network);
    return VJ_OK;
}

vj_status vj_checkpoint_read_param(const vj_checkpoint *c, const char *name, vj_state_kind kind, float *out,
                                   int64_t count)
{
    const char *dot = strchr(name, '.');
    char network[24] = "";
    if (dot && (size_t)(dot - name) < sizeof network) {
        vj_format(network, sizeof network, "%.*s", (int)(dot - name), name);
    }
    const vj_layout *l = vj_checkpoint_layout(c, network);
    const int p = l ? vj_layout_find(l, dot + 1) : -1;
    VJ_CHECK(p >= 0, VJ_ERR_CONFIG, "%s: holds no parameter %s", c->path, name);
    const vj_param *q = &l->params[p];
    VJ_CHECK(q->count == count, VJ_ERR_BUG, "%s has %lld elements, %lld were asked for", name, (long long)q->count,
             (long long)count);
    const vj_dtype type = c->shards[0].dtype;
    if (type == VJ_F32) return vj_checkpoint_read_elements(c, network, kind, q->unit, q->offset, count, out);
    void *raw = malloc((size_t)count * vj_dtype_size(type));
    VJ_CHECK(raw != NULL, VJ_ERR_NOMEM, "no memory to read %s", name);
    vj_status status = vj_checkpoint_read_elements(c, network, kind, q->unit, q->offset, count, raw);
    if (status == VJ_OK) status = vj_convert(out, VJ_F32, raw, type, count);
    free(raw);
    return status;
}

// Bytes that are there and wrong are a failed verification; a file that cannot be read is a storage error.
static vj_status verdict(const char *path, const vj_checkpoint *c, vj_status status)
{
    char file[760];
    if (status != VJ_ERR_CHECKPOINT) return status;
    vj_path_join(file, sizeof file, path, "manifest.json");
    if (access(file, R_OK) != 0) return status;
    for (int64_t k = 0; c && k < c->n_shards; k++) {
        vj_path_join(file, sizeof file, path, c->shards[k].name);
        if (access(file, R_OK) != 0) return status;
    }
    return VJ_ERR_MISMATCH;
}

// No way back to an older one here: the newest directory is what is asked about.
vj_status vj_checkpoint_verify(const char *ref)
{
    char path[640];
    VJ_TRY(resolve(ref, path));
    if (!path[0]) {
        vj_checkpoint_info *list = NULL;
        int64_t count = 0;
        VJ_TRY(vj_checkpoint_list(ref, &list, &count));
        if (count > 0) vj_format(path, sizeof path, "%s", list[count - 1].path);
        free(list);
        VJ_CHECK(count > 0, VJ_ERR_CONFIG, "%s: holds no checkpoint", ref);
    }
    vj_checkpoint *c = NULL;
    vj_status status = vj_manifest_read(&c, path);
    if (status == VJ_OK) status = vj_checkpoint_check(c);
    status = verdict(path, c, status);
    vj_checkpoint_destroy(&c);
    return status;
}
