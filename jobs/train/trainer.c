// The loop. Everything that may stop, save or speak does so here, between two steps.

#include "jobs/train/trainer_impl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/signals.h"
#include "runtime/log/log.h"
#include "runtime/log/progress.h"
#include "runtime/log/timeline.h"

static bool due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

static void progress(vj_trainer *t, const vj_step_report *r)
{
    char note[96];
    const int n = snprintf(note, sizeof note, "loss %.4f  lr %.2e", r->loss, r->lr);
    if (t->figures_step >= 0 && n > 0 && (size_t)n < sizeof note) {
        snprintf(note + n, sizeof note - (size_t)n, "  held-out %.2f x constant", t->figures.loss / t->figures.constant);
    }
    vj_progress_update(t->state.step, note);
}

// What the lead says of a step.
static vj_status say_step(vj_trainer *t, const vj_step_report *r, bool last)
{
    const vj_train_config *c = &t->config.train;
    const int64_t step = t->state.step;
    // At the end of the whole run there are always figures to look at; at --steps only those that are due.
    const bool figures = due(step, c->held_out_every) || (step == c->steps && c->held_out_every > 0);
    const bool watched = t->monitor && due(step, t->config.monitor.every);   // auto: at every line
    if (due(step, c->log_every) || watched || figures || last) VJ_TRY(vj_trainer_log(t, r, figures));
    progress(t, r);
    return VJ_OK;
}

// Before the step that train.trace begins with, and behind the one it ends with. A process that starts within the range has the rest.
static vj_status begin_trace(vj_trainer *t)
{
    int64_t from, to;
    const int64_t step = t->state.step + 1;
    VJ_ASSERT(vj_trace_range(t->config.train.trace, &from, &to));
    if (t->trace || step < from || step > to) return VJ_OK;
    t->trace_from = step;
    return vj_trace_begin(&t->trace, &t->ranks);
}

static vj_status end_trace(vj_trainer *t, bool last)
{
    int64_t from, to;
    char name[64], file[640];
    VJ_ASSERT(vj_trace_range(t->config.train.trace, &from, &to));
    if (!t->trace || (t->state.step < to && !last)) return VJ_OK;
    vj_format(name, sizeof name, "trace-%08lld.json", (long long)t->trace_from);
    vj_path_join(file, sizeof file, t->run.path, name);
    return vj_trace_end(&t->trace, &t->ranks, t->hosts[vj_comm_rank(t->ranks.world)], file);
}

static vj_status steps(vj_trainer *t, int64_t stop_at, const char **outcome)
{
    const vj_train_config *c = &t->config.train;
    const bool alone = vj_comm_size(t->ranks.world) == 1;
    *outcome = "done";
    while (t->state.step < stop_at) {
        vj_step_report r;
        VJ_TRY(begin_trace(t));
        vj_span_begin("step", t->state.step + 1);
        VJ_TRY(vj_trainer_next_stage(t));
        VJ_TRY(vj_trainer_leave_out(t));
        VJ_TRY(vj_trainer_step(t, &r));
        if (r.rolled_back) {
            vj_span_end("step");
            continue;
        }
        const bool last = t->state.step == stop_at;
        if (due(t->state.step, c->log_every)) VJ_TRY(vj_trainer_window(t));
        vj_span_begin("report", -1);
        vj_watchdog_at(t->dog, VJ_LIFE_FIGURES, -1, -1);
        // The lead may look at clips: with weights in parts the others gather with it.
        vj_status said = t->ranks.lead ? vj_vjepa_alone(t->model, true) : vj_vjepa_follow(t->model);
        if (t->ranks.lead && said == VJ_OK) {
            if (t->pending == VJ_OK) said = say_step(t, &r, last);
            const vj_status ended = vj_vjepa_alone(t->model, false);
            if (said == VJ_OK) said = ended;
        }
        vj_span_end("report");
        vj_phase_lap(&t->clock, VJ_PHASE_REPORT);
        vj_watchdog_at(t->dog, VJ_LIFE_SAVE, -1, -1);
        vj_trainer_put_off(t, said);
        if (alone) vj_trainer_tell(t);   // a request that came since the step's end counts
        const bool stop = t->told[VJ_TOLD_STOP] > 0, saves = due(t->state.step, c->checkpoint_every) || last || stop;
        VJ_TRY(vj_trainer_border(t));
        if (saves || alone) VJ_TRY(vj_ranks_agree(&t->ranks, vj_trainer_pending(t), NULL, 0));
        if (saves) {
            vj_span_begin("save", -1);
            VJ_TRY(vj_ranks_agree(&t->ranks, vj_run_dir_held(&t->run, true), NULL, 0));
            VJ_TRY(vj_trainer_save(t, last || stop));
            vj_span_end("save");
        }
        vj_span_end("step");
        vj_phase_lap(&t->clock, VJ_PHASE_SAVE);
        VJ_TRY(end_trace(t, last || stop));
        if (!last && stop) {
            *outcome = "stopped";
            return VJ_OK;
        }
    }
    if (stop_at < c->steps) *outcome = "reached --steps";
    return VJ_OK;
}

static void say_start(const vj_trainer *t, int64_t stop_at)
{
    const vj_memory_plan *m = vj_vjepa_memory(t->model);
    char bytes[24];
    vj_bytes_text(bytes, (double)m->total);
    vj_log(VJ_INFO, "train", "%s %s in %s: steps %lld to %lld of %lld, batch %lld in %lld slots, %lld frames x %lld px, %s on %d threads (%s, %s), %s for the model",
           t->run.resumed && t->state.step > 0 ? "resuming" : "starting", t->run.phase, t->run.path, (long long)t->state.step,
           (long long)stop_at, (long long)t->config.train.steps, (long long)t->config.train.batch,
           (long long)(t->config.train.batch / t->config.mask.group), (long long)t->config.data.fpc.v[0],
           (long long)t->config.data.crop, t->config.model.preset, vj_device_threads(t->device), vj_device_isa(t->device),
           vj_device_gemm(t->device), bytes);
}

static void say_end(const vj_trainer *t, const char *outcome)
{
    char took[32];
    vj_duration_text(took, t->state.wall_seconds);
    vj_log(VJ_INFO, "train", "%s: step %lld of %lld, %s of training, checkpoint %s/ckpt/step-%08lld", outcome,
           (long long)t->state.step, (long long)t->config.train.steps, took, t->run.path, (long long)t->saved_step);
}

vj_status vj_train(const vj_train_request *request)
{
    vj_trainer t;
    vj_status status = vj_trainer_start(&t, request);
    if (status != VJ_OK) {
        vj_ranks_leave(&t.ranks, status);
        vj_trainer_end(&t);
        return status;
    }
    const int64_t steps_total = t.config.train.steps;
    const int64_t stop_at = request->stop_at < 0 ? steps_total : request->stop_at;
    const char *outcome = "done";
    if (t.state.step >= stop_at) {
        vj_log(VJ_INFO, "train", "%s: step %lld of %lld is reached already", t.run.path, (long long)t.state.step, (long long)stop_at);
        if (t.saved_step != t.state.step) status = vj_trainer_save(&t, true);
        vj_trainer_end(&t);
        return status;
    }
    // A summary is of a run that stands still: whoever watches this one must not read the end of the last process in it.
    char summary[640];
    vj_path_join(summary, sizeof summary, t.run.path, "summary.json");
    if (t.ranks.lead && unlink(summary) != 0 && errno != ENOENT) vj_log(VJ_WARN, "train", "%s: cannot be removed: %s", summary, strerror(errno));
    say_start(&t, stop_at);
    t.log_started = vj_now();
    vj_phase_start(&t.clock);
    if (t.ranks.lead) vj_progress_start(t.run.phase, stop_at, "steps");
    status = vj_ranks_agree(&t.ranks, vj_trainer_prepare_saves(&t, stop_at), NULL, 0);
    if (status == VJ_OK) status = steps(&t, stop_at, &outcome);
    if (status != VJ_OK) vj_trainer_save_end(&t, status);
    if (t.ranks.lead) vj_progress_stop();
    if (status == VJ_OK) status = vj_ranks_agree(&t.ranks, t.ranks.lead ? vj_trainer_summary(&t, outcome) : VJ_OK, NULL, 0);
    if (status == VJ_OK) {
        say_end(&t, outcome);
        if (strcmp(outcome, "stopped") == 0) {
            status = vj_fail(VJ_ERR_STOPPED, "stopped on %s at step %lld; the same command continues", vj_stop_reason(),
                             (long long)t.state.step);
            t.ranks.agreed = true;
            if (!t.ranks.lead) vj_error_clear();
        }
    }
    if (status != VJ_OK && !t.ranks.agreed && vj_comm_peer_code(t.ranks.world) < 0) vj_watchdog_report(t.dog, vj_error_text());
    vj_ranks_leave(&t.ranks, status);
    vj_trainer_end(&t);
    return status;
}
