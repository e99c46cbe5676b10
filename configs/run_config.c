// The root: tables of all rooms, and the rules across them.

#include "configs/run_config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "configs/embedded.h"
#include "runtime/base/file.h"
#include "runtime/base/thread.h"

static const vj_config_part parts[] = {
    { vj_train_fields, offsetof(vj_run_config, train) },
    { vj_model_fields, offsetof(vj_run_config, model) },
    { vj_data_fields, offsetof(vj_run_config, data) },
    { vj_mask_fields, offsetof(vj_run_config, mask) },
    { vj_stages_fields, offsetof(vj_run_config, stages) },
    { vj_monitor_fields, offsetof(vj_run_config, monitor) },
};

// A text that is looked for under a name of its own, as if it were a built-in file.
static const char text_name[] = "@text";
static const char *text_now;

static const char *find_builtin(const char *name)
{
    if (text_now && strcmp(name, text_name) == 0) return text_now;
    for (const vj_embedded_config *e = vj_embedded_configs; e->name; e++) {
        if (strcmp(e->name, name) == 0) return e->text;
    }
    return NULL;
}

const char *vj_run_config_folder(void)
{
    static char dir[256];
    static bool looked;
    if (looked) return dir[0] ? dir : NULL;
    looked = true;
    const ssize_t n = readlink("/proc/self/exe", dir, sizeof dir);
    dir[n > 0 && n < (ssize_t)sizeof dir ? n : 0] = '\0';
    char *slash = strrchr(dir, '/');   // PREFIX/bin/vjepa
    if (slash) *slash = '\0';
    slash = slash ? strrchr(dir, '/') : NULL;
    static const char share[] = "/share/vjepa/configs";
    const bool bin = slash && strcmp(slash, "/bin") == 0 && slash - dir + sizeof share <= sizeof dir;
    if (bin) memcpy(slash, share, sizeof share);
    if (!bin || !vj_path_is_dir(dir)) dir[0] = '\0';
    return dir[0] ? dir : NULL;
}

const vj_field *vj_run_config_fields(int part)
{
    return part >= 0 && part < (int)(sizeof parts / sizeof parts[0]) ? parts[part].fields : NULL;
}

const char *vj_run_config_builtin(int index, char about[160])
{
    const vj_embedded_config *e = &vj_embedded_configs[index];
    if (!e->name) return NULL;
    const char *text = e->text + (e->text[0] == '#') + (e->text[0] == '#' && e->text[1] == ' ');
    const int n = e->text[0] == '#' ? (int)strcspn(text, "\n") : 0;
    vj_format(about, 160, "%.*s", n < 159 ? n : 159, text);
    return e->name;
}

// Far above what anyone trains, and low enough that no count of rows or bytes leaves its 64 bits, nor slots their tree.
enum { TOKENS_MAX = 1 << 20, SLOT_TOKENS_MAX = 1 << 27, SLOTS_MAX = 1 << 20 };

// Whose fault a problem of this stage is: the stage's own list, or the value that serves all.
typedef struct stage_keys { const char *crop, *fpc, *group; } stage_keys;
static stage_keys keys_of(const vj_run_config *r)
{
    return (stage_keys){ .crop = r->stages.crop.n > 0 ? "stages.crop" : "data.crop",
                         .fpc = r->stages.frames.n > 0 ? "stages.frames" : "data.fpc",
                         .group = r->stages.group.n > 0 ? "stages.group" : "mask.group" };
}

int vj_stage_count(const vj_run_config *c) { return c->stages.from.n > 0 ? (int)c->stages.from.n : 1; }

int vj_stage_at(const vj_run_config *c, int64_t step)
{
    int stage = 0;
    while (stage + 1 < c->stages.from.n && c->stages.from.v[stage + 1] <= step) stage++;
    return stage;
}

vj_run_config vj_stage_config(const vj_run_config *c, int stage)
{
    vj_run_config out = *c;
    const vj_stages_config *s = &c->stages;
    if (stage < s->crop.n) out.data.crop = s->crop.v[stage];
    if (stage < s->frames.n) out.data.fpc = (vj_int_list){ .n = 1, .v = { s->frames.v[stage] } };
    if (stage < s->fps.n) out.data.fps = s->fps.v[stage];
    if (stage < s->group.n) out.mask.group = s->group.v[stage];
    return out;
}

static void check_length(vj_config *c, const vj_run_config *r, const char *key, int64_t n)
{
    if (n != 0 && n != r->stages.from.n) {
        vj_config_problem(c, key, "has %lld entries, stages.from has %lld: give one per stage, or none", (long long)n,
                          (long long)r->stages.from.n);
    }
}

// False when the stages themselves are wrong: then their shapes say nothing.
static bool check_stages(vj_config *c, const vj_run_config *r)
{
    const vj_stages_config *s = &r->stages;
    bool good = true;
    check_length(c, r, "stages.crop", s->crop.n);
    check_length(c, r, "stages.frames", s->frames.n);
    check_length(c, r, "stages.fps", s->fps.n);
    check_length(c, r, "stages.group", s->group.n);
    for (int64_t i = 0; i < s->from.n && good; i++) {
        const int64_t before = i > 0 ? s->from.v[i - 1] : -1;
        good = i == 0 ? s->from.v[0] == 0 : s->from.v[i] > before && s->from.v[i] < r->train.steps;
        if (good) continue;
        if (i == 0) vj_config_problem(c, "stages.from", "begins with %lld: the first stage begins at step 0", (long long)s->from.v[0]);
        else vj_config_problem(c, "stages.from", "entry %lld is %lld: steps must ascend and stay below train.steps = %lld",
                               (long long)i + 1, (long long)s->from.v[i], (long long)r->train.steps);
    }
    if (s->frames.n > 0 && r->data.fpc.n > 1) {
        vj_config_problem(c, "stages.frames", "gives one number of frames for all sources, data.fpc has one for each of %lld; "
                          "use one of the two", (long long)r->data.fpc.n);
        good = false;
    }
    return good;
}

static void check_sizes(vj_config *c, const vj_run_config *r)
{
    const stage_keys key = keys_of(r);
    const int64_t slots = r->train.batch / r->mask.group, side = r->data.crop / r->model.patch;
    int64_t tokens = 0;
    for (int64_t i = 0; i < r->data.fpc.n; i++) {
        const int64_t n = r->data.fpc.v[i] / r->model.tubelet * side * side;
        if (n > tokens) tokens = n;
    }
    if (slots > SLOTS_MAX) {
        vj_config_problem(c, "train.batch", "%lld samples are %lld slots of mask.group = %lld; at most %d are possible", (long long)r->train.batch,
                          (long long)slots, (long long)r->mask.group, SLOTS_MAX);
    }
    if (tokens > TOKENS_MAX) {
        vj_config_problem(c, key.crop, "%lld pixels and the frames of data.fpc are %lld tokens of a clip; at most %d are possible",
                          (long long)r->data.crop, (long long)tokens, TOKENS_MAX);
    } else if (tokens * r->mask.group > SLOT_TOKENS_MAX) {
        vj_config_problem(c, key.group, "%lld clips of %lld tokens are more than the %d of a slot that are possible", (long long)r->mask.group,
                          (long long)tokens, SLOT_TOKENS_MAX);
    }
}

static void check_shapes(vj_config *c, const vj_run_config *r)
{
    const vj_train_config *t = &r->train;
    const stage_keys key = keys_of(r);
    check_sizes(c, r);
    if (t->batch % r->mask.group != 0) {
        vj_config_problem(c, "train.batch", "%lld is not a multiple of %s = %lld", (long long)t->batch, key.group, (long long)r->mask.group);
    }
    if (t->in_backward && t->batch != r->mask.group) {
        vj_config_problem(c, "optim.in_backward", "needs one slot a step (%s = train.batch): here %lld samples are %lld slots, whose "
                          "gradients are summed first; use false, or model.recompute=block to save memory", key.group,
                          (long long)t->batch, (long long)(t->batch / r->mask.group));
    }
    if (r->data.crop % r->model.patch != 0) {
        vj_config_problem(c, key.crop, "%lld pixels are not a multiple of model.patch = %lld", (long long)r->data.crop, (long long)r->model.patch);
    }
    for (int64_t i = 0; i < r->data.fpc.n; i++) {
        if (r->data.fpc.v[i] % r->model.tubelet != 0) {
            vj_config_problem(c, key.fpc, "%lld frames are not a multiple of model.tubelet = %lld", (long long)r->data.fpc.v[i], (long long)r->model.tubelet);
        }
    }
}

static void check_training(vj_config *c, const vj_run_config *r)
{
    const vj_train_config *t = &r->train;
    if (t->schedule == VJ_SCHEDULE_WARMUP_COSINE && t->warmup > t->steps) {
        vj_config_problem(c, "optim.warmup", "%lld steps are more than train.steps = %lld", (long long)t->warmup, (long long)t->steps);
    }
    if (t->in_backward && t->clip_norm > 0) {
        vj_config_problem(c, "optim.clip_norm", "the norm is known only when all gradients are: it does not go with optim.in_backward=true");
    }
    if (t->in_backward && t->nonfinite != VJ_NONFINITE_ABORT) {
        vj_config_problem(c, "optim.in_backward", "a step that is not finite cannot be undone when units were updated before: it goes "
                          "with train.nonfinite=abort only");
    }
    int64_t from, to;
    if (!vj_trace_range(t->trace, &from, &to)) {
        vj_config_problem(c, "train.trace", "'%s' is no range of steps: FROM:TO with 1 <= FROM <= TO is expected, 100:102 for example", t->trace);
    }
    if (vj_train_keep(t) == -2)
        vj_config_problem(c, "parallel.reshard_after_forward", "'%s' is none of always, never, auto, or a number of ranks from 2 on", t->parallel_reshard);
    if (t->parallel_shard > 0 && t->parallel_mode != 3)
        vj_config_problem(c, "parallel.shard", "goes with parallel.mode=hsdp alone; fsdp shards over all ranks");
    if (t->parallel_shard == 0 && t->parallel_mode == 3)
        vj_config_problem(c, "parallel.mode", "hsdp needs parallel.shard: how many ranks together hold the weights once");
    if (t->parallel_tp != 1) vj_config_problem(c, "parallel.tp", "tensor parallelism is not there yet; use 1");
    if (strcmp(t->device, "cpu") != 0 && strcmp(t->device, "ref") != 0 && strcmp(t->device, "far") != 0) {
        vj_config_problem(c, "device", "'%s' is none of cpu, ref, far", t->device);
    }
}

vj_status vj_run_config_load(vj_run_config *out, vj_config **config, const char *path, const char *const *overrides, int n_overrides)
{
    memset(out, 0, sizeof *out);
    vj_config_builtin(find_builtin);
    vj_config_folder(vj_run_config_folder());
    VJ_TRY(vj_config_load(config, out, parts, (int)(sizeof parts / sizeof parts[0]), path, overrides, n_overrides));
    vj_status status = vj_model_resolve(&out->model);
    if (status != VJ_OK) vj_context("resolving the model (model.preset: %s)", vj_config_origin(*config, "model.preset"));
    if (status == VJ_OK) {
        out->train.threads_auto = out->train.threads < 0;
        if (out->train.threads_auto) out->train.threads = vj_cpu_count();
        if (out->data.threads < 0) out->data.threads = vj_cpu_count();
        vj_data_config_check(*config, &out->data, &out->mask);
        if (check_stages(*config, out)) {
            for (int i = 0; i < vj_stage_count(out); i++) {
                const vj_run_config stage = vj_stage_config(out, i);
                check_shapes(*config, &stage);
            }
        }
        check_training(*config, out);
        status = vj_config_problems(*config);
    }
    if (status != VJ_OK) vj_config_destroy(config);
    return status;
}

vj_status vj_run_config_from_text(vj_run_config *out, vj_config **config, const char *text, const char *origin)
{
    text_now = text;
    vj_status status = vj_run_config_load(out, config, text_name, NULL, 0);
    text_now = NULL;
    if (status != VJ_OK) vj_context("reading the configuration of %s", origin);
    return status;
}
