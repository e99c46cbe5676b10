// From a request to a trainer that is ready for its first step. The order matters: nothing is written before the
// configuration is known to be right, and nothing of an existing run is touched before it is known to be this run.

#include "jobs/train/mesh_spec.h"
#include "jobs/train/parts.h"
#include "jobs/train/roof.h"
#include "jobs/train/room.h"
#include "jobs/train/trainer_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/init.h"
#include "runtime/base/clock.h"
#include "runtime/base/crash.h"
#include "runtime/base/fault.h"
#include "runtime/base/file.h"
#include "runtime/log/log.h"

static vj_status read_config(vj_trainer *t, const vj_train_request *r)
{
    VJ_TRY(vj_run_config_load(&t->whole, &t->origins, r->config, r->overrides, r->n_overrides));
    t->config = vj_stage_config(&t->whole, 0);
    const vj_train_config *c = &t->config.train;
    VJ_CHECK(!t->cooldown || r->from || c->init_from[0], VJ_ERR_USAGE,
             "cooldown needs --from REF (a run, RUN@STEP, or a checkpoint directory), or init.from=WEIGHTS of another program");
    VJ_CHECK(!r->from || !c->init_from[0], VJ_ERR_USAGE,
             "--from %s and init.from=%s (%s): a cooldown starts from one of them; --from carries Adam's moments on, init.from is "
             "weights alone",
             r->from, c->init_from, vj_config_origin(t->origins, "init.from"));
    VJ_CHECK(t->config.data.dir[0] != '\0', VJ_ERR_CONFIG,
             "data.dir is not set: give the folder that `vjepa data pack` made, as data.dir=SHARDS");
    VJ_CHECK(r->stop_at <= c->steps, VJ_ERR_USAGE, "--steps %lld is beyond train.steps = %lld (%s)", (long long)r->stop_at,
             (long long)c->steps, vj_config_origin(t->origins, "train.steps"));
    vj_config_resolved(t->origins, false, &t->resolved);
    return VJ_OK;
}

static vj_status check_ranks(const vj_trainer *t)
{
    const int ranks = vj_comm_size(t->ranks.world);
    if (ranks == 1) return VJ_OK;
    vj_mesh mesh;
    const vj_mesh_spec spec = { .mode = (vj_parallel_mode)t->config.train.parallel_mode, .shards = (int)t->config.train.parallel_shard,
                                .keep = vj_train_keep(&t->config.train) };
    VJ_TRY(vj_mesh_plan(&mesh, &spec, ranks, 0));
    for (int i = 0; i < vj_stage_count(&t->whole); i++) {
        const vj_run_config stage = vj_stage_config(&t->whole, i);
        const int64_t slots = stage.train.batch / stage.mask.group;
        VJ_CHECK(ranks <= slots, VJ_ERR_CONFIG, "%d ranks, but a step has %lld slots (train.batch %lld / mask.group %lld): start at most %lld", ranks,
                 (long long)slots, (long long)stage.train.batch, (long long)stage.mask.group, (long long)slots);
    }
    return VJ_OK;
}

// The configuration, and who else runs it.
static vj_status load_config(vj_trainer *t, const vj_train_request *r)
{
    const vj_status status = read_config(t, r);
    const vj_train_config *c = &t->config.train;
    const vj_world_request world = { .ranks = (int)c->parallel_ranks, .shared_memory = c->parallel_shared_memory };
    VJ_TRY(vj_ranks_open(&t->ranks, status, &world));
    VJ_TRY(vj_ranks_compare(&t->ranks, vj_str_text(&t->resolved)));
    VJ_TRY(vj_ranks_agree(&t->ranks, check_ranks(t), NULL, 0));
    if (c->threads_auto) {
        VJ_TRY(vj_ranks_threads(&t->ranks, &t->config.train.threads));
        t->whole.train.threads = t->config.train.threads;
    }
    return VJ_OK;
}

static void real_path(char out[512], const char *path)
{
    char *real = realpath(path, NULL);
    snprintf(out, 512, "%s", real ? real : path);
    free(real);
}

// A cooldown that exists keeps the parent it was started from, even when `--from RUN` has newer checkpoints by now or is
// gone; only a reference to another run, or to another step by name, is refused (by vj_run_dir_open).
static vj_status find_parent(vj_trainer *t, const vj_train_request *r, char parent[512], int64_t *parent_step)
{
    parent[0] = '\0';
    *parent_step = -1;
    if (!r->from) return VJ_OK;
    const bool exists = !r->fresh && vj_run_dir_exists(r->run);
    vj_status status = vj_checkpoint_open(&t->start, r->from, true);
    if (status != VJ_OK && !exists) {
        vj_context("looking for the checkpoint to cool down from (--from %s)", r->from);
        return status;
    }
    if (status == VJ_OK) {
        real_path(parent, vj_checkpoint_path(t->start));
        *parent_step = vj_checkpoint_state(t->start)->step;
    }
    if (!exists) return VJ_OK;

    vj_run_dir there;
    VJ_TRY(vj_run_dir_read(&there, r->run));
    char mine[512], theirs[512];
    snprintf(mine, sizeof mine, "%s", there.parent);
    snprintf(theirs, sizeof theirs, "%s", parent);
    char *cut = strrchr(mine, '/');
    if (cut) *cut = '\0';
    cut = strrchr(theirs, '/');
    if (cut) *cut = '\0';
    const char *at = strrchr(r->from, '@');   // what RUN and RUN@recommended mean may have changed since
    const bool by_run = (at == NULL || strcmp(at, "@recommended") == 0) && !vj_str_starts(vj_path_base(r->from), "step-");
    const bool same = parent[0] == '\0' || strcmp(parent, there.parent) == 0 || (by_run && strcmp(mine, theirs) == 0);
    if (!same) return VJ_OK;   // the difference is named when the directory is opened
    vj_checkpoint_destroy(&t->start);
    snprintf(parent, 512, "%s", there.parent);
    *parent_step = there.parent_step;
    if (vj_checkpoint_open(&t->start, there.parent, false) != VJ_OK) {
        vj_log(VJ_WARN, "train", "the parent checkpoint %s cannot be read any more: the figure `moved` is left out", there.parent);
        vj_error_clear();
    }
    return VJ_OK;
}

static vj_status open_run(vj_trainer *t, const vj_train_request *r, const char *parent, int64_t parent_step)
{
    VJ_TRY(vj_run_dir_open(&t->run, r->run, r->phase, parent, parent_step, t->init ? vj_weights_facts_of(t->init)->path : "",
                           t->init_digest, t->origins, r->fresh));
    vj_trainer_init_same(t);
    char file[640];
    vj_path_join(file, sizeof file, t->run.path, "log.txt");
    vj_crash_dir(t->run.path);
    return vj_log_file(file);
}

static vj_status make_model(vj_trainer *t)
{
    const vj_run_config *c = &t->config;
    VJ_TRY(vj_device_open(&t->device, c->train.device, (int)c->train.threads));
    // Bits are those of one instruction set (contracts 1).
    char isa[32];
    vj_format(isa, sizeof isa, "%s", vj_device_isa(t->device));
    VJ_TRY(vj_ranks_tell(&t->ranks, isa, sizeof isa));
    VJ_CHECK(strcmp(isa, vj_device_isa(t->device)) == 0, VJ_ERR_CONFIG,
             "rank %d computes with %s, rank 0 with %s: set VJ_CPU to the lowest of all machines for all of them", vj_comm_rank(t->ranks.world),
             vj_device_isa(t->device), isa);
    t->mask_tokens = c->model.mask_tokens > 0 ? c->model.mask_tokens : c->mask.n * c->data.fpc.n;
    // The gradient tree is as high as the stage with most slots needs; the rest is made again where a stage begins.
    vj_slot_bound bound;
    VJ_TRY(vj_ranks_agree(&t->ranks, vj_room_expected(c, &bound, NULL), NULL, 0));
    for (int i = 0; i < vj_stage_count(&t->whole); i++) {
        const vj_run_config stage = vj_stage_config(&t->whole, i);
        const int64_t slots = vj_room_any(&stage).slots;
        bound.slots = slots > bound.slots ? slots : bound.slots;
    }
    vj_mesh_spec spec;
    if (vj_comm_size(t->ranks.world) > 1) {
        const vj_status found = vj_mesh_spec_of(c, vj_comm_size(t->ranks.world), t->mask_tokens, &bound, vj_device_real(t->device), &spec);
        VJ_TRY(vj_ranks_agree(&t->ranks, found, NULL, 0));
        VJ_TRY(vj_mesh_open(&t->mesh, &spec, t->ranks.world));
        bound.mesh = &t->mesh;
    }
    VJ_TRY(vj_vjepa_create(&t->model, &c->model, t->mask_tokens, t->device, &bound, true));
    vj_vjepa_digest(t->model, t->model_digest);
    const int encoder = vj_vjepa_layout(t->model, VJ_ENCODER)->n_units,
              predictor = vj_vjepa_layout(t->model, VJ_PREDICTOR)->n_units;
    const size_t units = (size_t)(encoder > predictor ? encoder : predictor);
    VJ_TRY(vj_host_alloc(&t->unit_norms, units * sizeof *t->unit_norms, "norms of units"));
    VJ_TRY(vj_comm_barrier_now(t->ranks.world));   // all at once, as they will train
    VJ_TRY(vj_roof_measure(t->device, &t->roof));
    VJ_TRY(vj_comm_all_reduce_now(t->ranks.world, &t->roof, 1, VJ_SUM));
    vj_device_stats_enable(t->device, true);   // two clock readings an op: not measurable
    return VJ_OK;
}

static void begin_state(vj_trainer *t)
{
    vj_run_state *s = &t->state;
    vj_format(s->run_id, sizeof s->run_id, "%s", t->run.run_id);
    vj_format(s->phase, sizeof s->phase, "%s", t->run.phase);
    vj_format(s->parent, sizeof s->parent, "%s", t->run.parent);
    vj_format(s->model_digest, sizeof s->model_digest, "%s", t->model_digest);
    vj_format(s->isa, sizeof s->isa, "%s", vj_device_isa(t->device));
    snprintf(s->gemm, sizeof s->gemm, "%s", vj_device_gemm(t->device));
    s->seed = (uint64_t)t->config.train.seed;
}

static vj_status check_model(const vj_trainer *t, const vj_checkpoint *from)
{
    VJ_CHECK(strcmp(vj_checkpoint_state(from)->model_digest, t->model_digest) == 0, VJ_ERR_CONFIG,
             "%s: belongs to another model (its parameters differ in name or shape from model.preset=%s with %lld mask tokens); "
             "`vjepa checkpoint show` prints what it holds",
             vj_checkpoint_path(from), t->config.model.preset, (long long)t->mask_tokens);
    return VJ_OK;
}

static vj_status keep_quarantine(vj_trainer *t, const vj_run_state *from)
{
    free(t->quarantine);   // of a checkpoint that another rank could not read
    t->quarantine = NULL;
    if (!from->quarantine_json) return VJ_OK;
    t->quarantine = vj_strdup(from->quarantine_json);
    return VJ_OK;
}

static vj_status resume(vj_trainer *t, const vj_checkpoint *from)
{
    const vj_run_state *s = vj_checkpoint_state(from);
    VJ_CHECK(strcmp(s->run_id, t->run.run_id) == 0, VJ_ERR_CONFIG, "%s: belongs to run %s, this directory's run is %s",
             vj_checkpoint_path(from), s->run_id, t->run.run_id);
    VJ_TRY(check_model(t, from));
    if (strcmp(s->isa, t->state.isa) != 0 || strcmp(s->gemm, t->state.gemm) != 0) {
        vj_log(VJ_WARN, "train", "the checkpoint was made with %s, %s; this machine has %s, %s: bits will differ from an uninterrupted run",
               s->isa, s->gemm, t->state.isa, t->state.gemm);
    }
    vj_fault_point("resume.opened", vj_checkpoint_path(from));
    VJ_TRY(vj_trainer_load(t, from));
    vj_fault_point("resume.loaded", vj_checkpoint_path(from));
    t->state.step = t->saved_step = s->step;
    t->state.adam_step = s->adam_step;
    t->state.cursor = s->cursor;
    t->state.wall_seconds = s->wall_seconds;
    t->data = (vj_loader_state){ .cursor = s->cursor, .step = s->step, .plan_digest = s->plan_digest,
                                 .catalog_digest = s->catalog_digest, .quarantine_digest = s->quarantine_digest };
    t->data_known = true;
    return keep_quarantine(t, s);
}

// Weights, target encoder, Adam's moments and count, and the data cursor are carried over; step and schedules start at 0.
static vj_status branch(vj_trainer *t)
{
    const vj_run_state *s = vj_checkpoint_state(t->start);
    VJ_TRY(check_model(t, t->start));
    VJ_TRY(vj_trainer_load(t, t->start));
    if (!vj_parts_have_moments(t->start)) {
        vj_log(VJ_INFO, "train", "%s holds weights alone: Adam's moments start at zero", vj_checkpoint_path(t->start));
    }
    t->state.adam_step = s->adam_step;
    t->state.cursor = s->cursor;
    t->data = (vj_loader_state){ .cursor = s->cursor, .step = 0, .plan_digest = s->plan_digest,
                                 .catalog_digest = s->catalog_digest, .quarantine_digest = s->quarantine_digest };
    t->data_known = strcmp(s->phase, "import") != 0;   // imported weights know no data
    vj_log(VJ_INFO, "train", "cooling down from %s (step %lld, %s phase)", vj_checkpoint_path(t->start), (long long)s->step, s->schedule_phase);
    return keep_quarantine(t, s);
}

// A checkpoint whose payload turned out damaged is moved aside (nothing is deleted), so that its step can be saved again.
static vj_status set_aside(const char *path, const char *why)
{
    char now[20], target[700];
    vj_wall_compact(now);
    vj_format(target, sizeof target, "%s.damaged-%s", path, now);
    vj_log(VJ_WARN, "train", "%s", why);
    vj_log(VJ_WARN, "train", "%s is damaged: moved to %s, trying the checkpoint before it", path, target);
    return vj_io_rename(path, target);
}

static vj_status resume_at(vj_trainer *t, const char *path)
{
    vj_checkpoint *from = NULL;
    vj_status status = vj_checkpoint_open(&from, path, false);
    if (status == VJ_OK) status = resume(t, from);
    vj_checkpoint_destroy(&from);
    return status;
}

// `status` of reading the checkpoint at `path` on this rank. *damaged: it is, as some rank found; the lead has set it aside.
static vj_status judge(vj_trainer *t, const char *path, vj_status status, bool *damaged)
{
    vj_ranks *r = &t->ranks;
    char why[2048] = "";
    const bool mine = status == VJ_ERR_CHECKPOINT;
    double first = mine ? vj_comm_rank(r->world) : vj_comm_size(r->world);
    VJ_TRY(vj_ranks_agree(r, mine ? VJ_OK : status, NULL, 0));
    VJ_TRY(vj_comm_all_reduce_now(r->world, &first, 1, VJ_MIN));
    *damaged = first < vj_comm_size(r->world);
    if (!*damaged) return VJ_OK;
    if (mine) vj_format(why, sizeof why, "%.2000s", vj_error_text());
    vj_error_clear();
    VJ_TRY(vj_comm_broadcast_now(r->world, (int)first, why, sizeof why));
    return vj_ranks_agree(r, r->lead ? set_aside(path, why) : VJ_OK, NULL, 0);
}

static vj_status list_own(vj_trainer *t, vj_checkpoint_info **list, int64_t *count)
{
    char ckpt[640];
    vj_path_join(ckpt, sizeof ckpt, t->run.path, "ckpt");
    return t->run.resumed && t->ranks.lead && vj_path_exists(ckpt) ? vj_checkpoint_list(t->run.path, list, count) : VJ_OK;
}

// From the newest checkpoint of this run that every rank can read: the lead names one after the other, all read what they hold.
// `path`: which one; "": there is none at all.
static vj_status own_checkpoint(vj_trainer *t, char path[640])
{
    vj_checkpoint_info *list = NULL;
    int64_t count = 0;
    vj_status status = vj_ranks_agree(&t->ranks, list_own(t, &list, &count), NULL, 0);
    bool damaged = true;
    for (int64_t i = count - 1; status == VJ_OK && damaged; i--) {
        vj_format(path, 640, "%s", i >= 0 ? list[i].path : "");
        status = vj_ranks_tell(&t->ranks, path, 640);
        if (status != VJ_OK || !path[0]) break;
        status = judge(t, path, resume_at(t, path), &damaged);
    }
    free(list);
    if (status == VJ_OK && count > 0 && !path[0]) {
        status = vj_fail(VJ_ERR_CHECKPOINT, "%s: none of its %lld checkpoints can be read (they were kept as *.damaged-*); start anew with --fresh",
                         t->run.path, (long long)count);
    }
    return vj_ranks_agree(&t->ranks, status, NULL, 0);
}

vj_status vj_trainer_make_state(vj_trainer *t)
{
    begin_state(t);
    char path[640] = "";
    VJ_TRY(own_checkpoint(t, path));
    if (path[0]) return VJ_OK;
    if (!t->cooldown || t->config.train.init_from[0]) {
        VJ_TRY(vj_vjepa_init(t->model, (uint64_t)t->config.train.seed));
        if (!t->config.train.init_from[0]) return VJ_OK;
        VJ_CHECK(t->init != NULL, VJ_ERR_CONFIG, "%s: has no checkpoint yet, and init.from=%s has changed or cannot be read any more; "
                 "--fresh starts anew",
                 t->run.path, t->config.train.init_from);
        return vj_trainer_init_weights(t);
    }
    VJ_CHECK(t->start != NULL, VJ_ERR_CHECKPOINT,
             "%s: the cooldown has no checkpoint of its own yet and its parent %s cannot be read", t->run.path,
             t->run.parent);
    return branch(t);
}

// The target encoder as it was at step 0: made again from the seed, or read from the parent or the file it started
// from.
bool vj_trainer_start_param(void *trainer, int param, double *out)
{
    vj_trainer *t = trainer;
    const vj_layout *layout = vj_vjepa_layout(t->model, VJ_TARGET_ENCODER);
    const vj_param *p = &layout->params[param];
    if (t->config.train.init_from[0]) {
        if (!t->init) return false;
        if (vj_trainer_init_read(t, "target_encoder", p, out) == VJ_OK) return true;
        vj_error_clear();
        return false;
    }
    if (!t->cooldown) {
        const int threads = vj_device_threads(t->device);
        if (vj_init_param(layout, param, (uint64_t)t->config.train.seed, vj_device_real(t->device), threads, out) == VJ_OK) return true;
        vj_error_clear();
        return false;
    }
    if (!t->start) return false;
    float *values = NULL;
    if (vj_host_alloc(&values, (size_t)p->count * sizeof *values, "a parameter of the parent") != VJ_OK) return false;
    char name[128];
    vj_format(name, sizeof name, "target_encoder.%s", p->name);
    const bool ok = vj_checkpoint_read_param(t->start, name, VJ_STATE_PARAM, values, p->count) == VJ_OK;
    for (int64_t i = 0; ok && i < p->count; i++) out[i] = values[i];
    vj_host_free(values);
    return ok;
}

// What an uninterrupted run knows of its past stands in its lines of metrics.
static vj_status open_warnings(vj_trainer *t, const char *metrics)
{
    const vj_run_config *c = &t->config;
    const int64_t every = c->monitor.every > 0 ? c->monitor.every : c->train.log_every;
    VJ_TRY(vj_warnings_create(&t->warnings, &c->monitor, c->train.warmup, every));
    VJ_TRY_CTX(vj_warnings_replay(t->warnings, metrics, t->state.step), "reading the run's figures again");
    char file[640];
    vj_path_join(file, sizeof file, t->run.path, "warnings.jsonl");
    return vj_metrics_open(&t->warnings_file, file, t->state.step);
}

// What only the lead does before there is a model: it makes or opens the run's directory.
static vj_status take_run(vj_trainer *t, const vj_train_request *request)
{
    char parent[512];
    int64_t parent_step;
    VJ_TRY(find_parent(t, request, parent, &parent_step));
    // The data is looked at before the run directory is made: a typing error in data.dir must not leave a run behind.
    vj_data_summary summary;
    VJ_TRY(vj_data_summary_read(t->config.data.dir, &summary));
    VJ_TRY(vj_trainer_init_open(t, !request->fresh && vj_run_dir_exists(request->run)));
    return open_run(t, request, parent, parent_step);
}

// The others, once it is there: they read what it is.
static vj_status join_run(vj_trainer *t, const vj_train_request *request, bool resumed)
{
    VJ_TRY(vj_run_dir_read(&t->run, request->run));
    t->run.resumed = resumed;
    vj_crash_dir(t->run.path);
    if (t->run.parent[0] && vj_checkpoint_open(&t->start, t->run.parent, false) != VJ_OK) vj_error_clear();   // missed where it is needed
    VJ_TRY(vj_trainer_init_open(t, resumed));
    vj_trainer_init_same(t);
    return VJ_OK;
}

vj_status vj_trainer_open_files(vj_trainer *t)
{
    char file[640];
    vj_path_join(file, sizeof file, t->run.path, "metrics.jsonl");
    VJ_TRY(vj_metrics_open(&t->metrics, file, t->state.step));
    VJ_TRY(open_warnings(t, file));
    return vj_sinks_open(&t->sinks, &t->run, &t->config.train, t->state.step);
}

vj_status vj_trainer_start(vj_trainer *t, const vj_train_request *request)
{
    *t = (vj_trainer){ .request = request, .saved_step = -1, .figures_step = -1, .cooldown = strcmp(request->phase, "cooldown") == 0 };
    VJ_TRY(load_config(t, request));
    vj_ranks *r = &t->ranks;
    VJ_TRY(vj_ranks_agree(r, r->lead ? take_run(t, request) : VJ_OK, NULL, 0));
    char resumed = t->run.resumed;
    VJ_TRY(vj_ranks_tell(r, &resumed, 1));
    VJ_TRY(vj_ranks_agree(r, r->lead ? VJ_OK : join_run(t, request, resumed != 0), NULL, 0));
    const vj_train_config *c = &t->config.train;
    const vj_watchdog_limits limits = { .start = (double)c->timeout_start, .step = (double)c->timeout_step, .save = (double)c->timeout_save };
    vj_watchdog_open(&t->dog, t->run.path, r->world, &limits);
    VJ_TRY(make_model(t));
    VJ_TRY(vj_ranks_agree(r, vj_trainer_make_state(t), NULL, 0));
    VJ_TRY(vj_trainer_read_rollbacks(t));
    VJ_TRY(vj_trainer_begin_stage(t));
    VJ_TRY(vj_trainer_meet(t));
    return vj_ranks_agree(r, r->lead ? vj_trainer_open_files(t) : VJ_OK, NULL, 0);
}

void vj_trainer_close_files(vj_trainer *t)
{
    vj_sinks_close(&t->sinks);
    vj_metrics_close(&t->metrics);
    vj_metrics_close(&t->warnings_file);
    vj_warnings_destroy(&t->warnings);
}

void vj_trainer_end(vj_trainer *t)
{
    vj_async_save_destroy(&t->writer);
    vj_trainer_close_files(t);
    vj_held_out_destroy(&t->held_out);
    vj_monitor_destroy(&t->monitor);
    vj_loader_close(&t->loader);
    vj_vjepa_destroy(&t->model);
    vj_mesh_close(&t->mesh);
    vj_host_free(t->unit_norms);
    vj_trace_drop(&t->trace);
    vj_host_free(t->windows);
    vj_host_free(t->hosts);
    vj_stragglers_destroy(&t->stragglers);
    vj_device_close(&t->device);
    vj_checkpoint_destroy(&t->start);
    vj_weights_close(&t->init);
    vj_run_dir_close(&t->run);
    vj_config_destroy(&t->origins);
    vj_str_free(&t->resolved);
    free(t->quarantine);
    free(t->rollbacks);
    vj_watchdog_close(&t->dog, true);
    vj_ranks_close(&t->ranks);
    if (vj_log_file(NULL) != VJ_OK) vj_error_clear();
}
