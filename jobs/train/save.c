// State out of and into checkpoints.

#include "jobs/train/parts.h"
#include "jobs/train/trainer_impl.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/signals.h"
#include "runtime/log/log.h"

// What any rank found bad is known to all from now on.
static vj_status share_quarantine(vj_trainer *t)
{
    if (vj_comm_size(t->ranks.world) == 1) return VJ_OK;
    vj_loader_stats stats;
    vj_loader_stats_get(t->loader, &stats);
    double bad = (double)stats.bad;
    VJ_TRY(vj_comm_all_reduce_now(t->ranks.world, &bad, 1, VJ_MAX));
    return bad == 0 ? VJ_OK : vj_trainer_share_bad(t);
}

static vj_status take_quarantine(void *loader, const char *json) { return vj_loader_quarantine_add(loader, json); }

vj_status vj_trainer_share_bad(vj_trainer *t)
{
    char *mine = NULL;
    vj_status status = vj_loader_quarantine(t->loader, &mine);
    VJ_TRY(vj_ranks_agree(&t->ranks, status, NULL, 0));
    status = vj_ranks_exchange(&t->ranks, mine, take_quarantine, t->loader);
    free(mine);
    return status;
}

// Whether every rank writes what it alone holds; else the lead has everything, and saves alone.
static bool together(const vj_trainer *t) { return vj_comm_size(t->ranks.world) > 1 && t->config.train.parallel_mode != VJ_DDP; }

// The run's state besides tensors. `quarantine`: free() it behind the save.
static vj_status gather_state(vj_trainer *t, char **quarantine)
{
    vj_loader_state data;
    vj_loader_state_get(t->loader, &data);
    t->state.cursor = data.cursor;
    t->state.plan_digest = data.plan_digest;
    t->state.catalog_digest = data.catalog_digest;
    t->state.quarantine_digest = data.quarantine_digest;
    vj_format(t->state.schedule_phase, sizeof t->state.schedule_phase, "%s", vj_schedule_phase_name(&t->config.train, t->state.step));
    t->state.config_yaml = vj_str_text(&t->resolved);
    VJ_TRY(vj_loader_quarantine(t->loader, quarantine));
    t->state.quarantine_json = *quarantine;
    return VJ_OK;
}

static vj_status with_step(vj_status status, int64_t step)
{
    if (status != VJ_OK && vj_error_text()[0]) vj_context("saving the checkpoint of step %lld", (long long)step);
    return status;
}

// A checkpoint is committed: only now is it the newest, and said to be.
static vj_status committed(vj_trainer *t, int64_t step)
{
    t->saved_step = step;
    if (!t->ranks.lead) return VJ_OK;
    vj_log(VJ_INFO, "train", "checkpoint of step %lld saved in %.2f s (training stood for %.3f s)", (long long)step,
           vj_now() - t->save_started, t->save_stood);
    return vj_trainer_recommend(t);
}

vj_status vj_trainer_prepare_saves(vj_trainer *t, int64_t stop_at)
{
    const vj_train_config *c = &t->config.train;
    const int64_t next = (t->state.step / c->checkpoint_every + 1) * c->checkpoint_every;
    const bool mine = together(t) || t->ranks.lead;
    if (!mine || !c->checkpoint_async || next >= stop_at) return VJ_OK;
    vj_parts list;
    VJ_TRY(vj_async_save_create(&t->writer, together(t) ? t->ranks.world : NULL));
    VJ_TRY(vj_parts_make(&list, t->model, true));
    vj_async_save_prepare(t->writer, list.parts, list.n);
    vj_parts_free(&list);
    if (vj_async_save_bytes(t->writer) == 0) return VJ_OK;   // asked again, and said, at the first save
    char bytes[24];
    vj_bytes_text(bytes, (double)vj_async_save_bytes(t->writer));
    vj_log(VJ_INFO, "train", "saves go on beside the training, from a copy in %s of memory (checkpoint.async=false: none)", bytes);
    return VJ_OK;
}

static vj_status start_writing(vj_trainer *t, const vj_parts *list, vj_async_outcome *how)
{
    const vj_train_config *c = &t->config.train;
    VJ_TRY(vj_async_save_start(t->writer, t->run.path, list->parts, list->n, &t->state, vj_vjepa_stream(t->model), c->checkpoint_keep,
                               c->checkpoint_keep_every, how));
    if (*how == VJ_ASYNC_NO_ROOM && !t->save_no_room && t->ranks.lead) {
        vj_log(VJ_WARN, "train", "there is no memory for a copy of the state: the training stands while it is saved (checkpoint.async=false says so)");
        t->save_no_room = true;
    }
    return VJ_OK;
}

static vj_status save_waiting(vj_trainer *t, const vj_parts *list)
{
    const vj_train_config *c = &t->config.train;
    vj_stream *st = vj_vjepa_stream(t->model);
    return together(t) ? vj_checkpoint_save_ranks(t->ranks.world, t->run.path, list->parts, list->n, &t->state, st, c->checkpoint_keep, c->checkpoint_keep_every)
                       : vj_checkpoint_save(t->run.path, list->parts, list->n, &t->state, st, c->checkpoint_keep, c->checkpoint_keep_every);
}

static vj_status write_checkpoint(vj_trainer *t, bool last)
{
    const double started = vj_now();
    char *quarantine = NULL;
    vj_parts list = { 0 };
    vj_status status = gather_state(t, &quarantine);
    if (status == VJ_OK) status = vj_parts_make(&list, t->model, true);
    if (together(t)) status = vj_ranks_agree(&t->ranks, status, NULL, 0);   // all go in, or none
    vj_async_outcome how = VJ_ASYNC_NO_ROOM;
    if (status == VJ_OK && !last && t->writer) status = start_writing(t, &list, &how);
    if (status == VJ_OK && how == VJ_ASYNC_NO_ROOM) status = save_waiting(t, &list);
    vj_parts_free(&list);
    free(quarantine);
    t->state.quarantine_json = NULL;
    VJ_TRY(with_step(status, t->state.step));
    t->save_started = started;
    t->save_stood = vj_now() - started;
    t->saves_stood += t->save_stood;
    return how == VJ_ASYNC_STARTED ? VJ_OK : committed(t, t->state.step);
}

// One phase further with the save that runs, or to its end.
static vj_status go_on(vj_trainer *t, bool failed, bool to_the_end)
{
    const int64_t step = vj_async_save_step(t->writer);
    const double began = vj_now();
    bool saved = false;
    vj_status status = to_the_end ? vj_async_save_finish(t->writer, &saved) : vj_async_save_advance(t->writer, failed, &saved);
    VJ_TRY(with_step(status, step));
    t->save_stood += vj_now() - began;
    t->saves_stood += vj_now() - began;
    return saved ? committed(t, step) : VJ_OK;
}

void vj_trainer_tell(vj_trainer *t)
{
    bool failed;
    const bool ready = vj_async_save_ready(t->writer, &failed);
    t->told[VJ_TOLD_STOP] = vj_stop_requested();   // any rank's: all stop at the same step
    t->told[VJ_TOLD_SAVE_READY] = together(t) && ready;
    t->told[VJ_TOLD_SAVE_FAILED] = together(t) && failed;
}

vj_status vj_trainer_border(vj_trainer *t)
{
    const bool all = together(t), runs = vj_async_save_step(t->writer) >= 0, failed = t->told[VJ_TOLD_SAVE_FAILED] > 0;
    bool mine_failed;
    // A save of the lead alone is its own affair, until it fails.
    if (!all && t->pending == VJ_OK && vj_async_save_ready(t->writer, &mine_failed)) vj_trainer_put_off(t, go_on(t, false, false));
    if (!all || !runs || (t->told[VJ_TOLD_SAVE_READY] < vj_comm_size(t->ranks.world) && !failed)) return VJ_OK;
    return vj_ranks_agree(&t->ranks, go_on(t, failed, false), NULL, 0);
}

void vj_trainer_put_off(vj_trainer *t, vj_status status)
{
    if (status == VJ_OK || t->pending != VJ_OK) return;
    t->pending = status;
    vj_format(t->pending_text, sizeof t->pending_text, "%s", vj_error_text());
    vj_error_clear();
}

vj_status vj_trainer_pending(vj_trainer *t)
{
    const vj_status status = t->pending;
    t->pending = VJ_OK;
    return status == VJ_OK ? VJ_OK : vj_fail_text(status, t->pending_text);
}

vj_status vj_trainer_save_wait(vj_trainer *t)
{
    const bool mine = together(t) || t->ranks.lead;
    return vj_ranks_agree(&t->ranks, mine && vj_async_save_step(t->writer) >= 0 ? go_on(t, false, true) : VJ_OK, NULL, 0);
}

vj_status vj_trainer_save(vj_trainer *t, bool last)
{
    const bool mine = together(t) || t->ranks.lead;
    if (t->saved_step == t->state.step) return VJ_OK;
    VJ_TRY(vj_trainer_save_wait(t));
    VJ_TRY(vj_ranks_agree(&t->ranks, share_quarantine(t), NULL, 0));
    const vj_status status = mine ? write_checkpoint(t, last) : VJ_OK;
    if (!mine) t->saved_step = t->state.step;
    return vj_ranks_agree(&t->ranks, status, NULL, 0);
}

void vj_trainer_save_end(vj_trainer *t, vj_status status)
{
    const bool alone = vj_comm_size(t->ranks.world) == 1;
    if (vj_async_save_step(t->writer) < 0 || (!alone && !t->ranks.agreed)) return;   // a rank is gone: nobody waits
    char text[4096];
    vj_format(text, sizeof text, "%.4000s", vj_error_text());
    double lost = vj_run_dir_held(&t->run, false) != VJ_OK;   // the directory is another process' by now
    const bool told = !together(t) || vj_comm_all_reduce_now(t->ranks.world, &lost, 1, VJ_MAX) == VJ_OK;
    if (told && lost == 0 && go_on(t, false, true) != VJ_OK) {
        if (vj_error_text()[0]) vj_log(VJ_WARN, "train", "%s", vj_error_text());
    }
    if (text[0]) (void)!vj_fail_text(status, text);
    else vj_error_clear();
}

vj_status vj_trainer_recommend(vj_trainer *t)
{
    char ckpt[640];
    vj_path_join(ckpt, sizeof ckpt, t->run.path, "ckpt");
    if (t->cooldown || !vj_path_exists(ckpt)) return VJ_OK;
    if (vj_async_save_step(t->writer) >= 0) return VJ_OK;   // it may be removing old ones now; asked again when it has ended
    vj_checkpoint_info *list = NULL;
    int64_t n = 0;
    VJ_TRY(vj_checkpoint_list(t->run.path, &list, &n));
    vj_recommendation r;
    vj_recommend(&r, list, n, t->warnings, t->config.monitor.noise);
    free(list);
    return vj_run_dir_recommend(&t->run, &r);
}

// Moments that are not there stay zero, as in a new model.
vj_status vj_trainer_load(vj_trainer *t, const vj_checkpoint *from)
{
    vj_parts list;
    const bool moments = vj_parts_have_moments(from);
    VJ_TRY(vj_parts_make(&list, t->model, false));
    int n = 0;
    for (int i = 0; i < list.n; i++) {
        if (moments || list.parts[i].kind == VJ_STATE_PARAM) list.parts[n++] = list.parts[i];
    }
    vj_status status = vj_checkpoint_load(from, list.parts, n, vj_vjepa_stream(t->model));
    vj_parts_free(&list);
    return status;
}
