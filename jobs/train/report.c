// What a run says: a metrics line, the progress note, held-out figures, the summary. The schema of a line stands in
// runtime/README.md.

#include "jobs/train/trainer_impl.h"

#include <math.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/log/log.h"
#include "runtime/log/progress.h"
#include "runtime/log/timeline.h"

static void put_held_out(vj_json_writer *w, const vj_held_out_figures *f)
{
    vj_json_begin_object(w, "held_out");
    vj_json_put_f64(w, "loss", f->loss);
    vj_json_put_f64(w, "constant", f->constant);
    vj_json_put_f64(w, "ratio", f->loss / f->constant);
    vj_json_put_f64(w, "swapped", f->swapped);
    vj_json_put_f64(w, "swapped_ratio", f->swapped / f->constant);
    vj_json_put_f64(w, "moved", f->moved);
    vj_json_put_i64(w, "samples", f->samples);
    vj_json_put_i64(w, "swapped_samples", f->swapped_samples);
    vj_json_put_i64(w, "constant_samples", f->constant_samples);
    vj_json_put_f64(w, "seconds", f->seconds);
    vj_json_end_object(w);
}

static void put_unit_norms(vj_json_writer *w, const vj_trainer *t, const char *name, vj_network network)
{
    vj_vjepa_unit_norms(t->model, network, t->unit_norms);
    vj_json_begin_array(w, name);
    for (int u = 0; u < vj_vjepa_layout(t->model, network)->n_units; u++) vj_json_put_f64(w, NULL, t->unit_norms[u]);
    vj_json_end_array(w);
}

static void put_monitor(vj_json_writer *w, const vj_monitor_figures *f)
{
    vj_json_begin_object(w, "monitor");
    vj_json_put_f64(w, "spread", f->spread);
    vj_json_put_f64(w, "rank", f->rank);
    vj_json_put_f64(w, "cosine", f->cosine);
    vj_json_put_f64(w, "variance_ratio", f->variance_ratio);
    vj_json_put_f64(w, "target_variance", f->target_variance);
    vj_json_put_i64(w, "clips", f->clips);
    vj_json_put_bool(w, "of_held_out", f->held_out);
    vj_json_put_f64(w, "seconds", f->seconds);
    vj_json_end_object(w);
}

static vj_status run_held_out(vj_trainer *t)
{
    vj_span_begin("held-out", -1);
    VJ_TRY(vj_held_out_run(t->held_out, &t->figures));
    vj_span_end("held-out");
    t->figures_step = t->state.step;
    const vj_held_out_figures *f = &t->figures;
    char swapped[64] = "";
    if (!isnan(f->swapped)) vj_format(swapped, sizeof swapped, ", swapped %.2f x", f->swapped / f->constant);
    vj_log(VJ_INFO, "held-out", "step %lld: loss %.4f = %.3f x the best constant%s, target encoder moved %.3f (%.1f s)",
           (long long)t->state.step, f->loss, f->loss / f->constant, swapped, f->moved, f->seconds);
    return VJ_OK;
}

// Figures of the line that is about to be written, as the warnings see them.
static vj_watch_point point_of(const vj_trainer *t, const vj_step_report *r, const vj_monitor_figures *m, bool with_held_out)
{
    vj_watch_point p = { .step = t->state.step, .stage = t->stage_index + 1, .grad_norm = r->grad_norm,
                         .grad_norm_encoder = r->grad_norm_encoder, .rank = NAN, .spread = NAN, .cosine = NAN,
                         .variance_ratio = NAN, .target_variance = NAN, .held_out_ratio = NAN };
    p.loss = t->loss_count > 0 ? t->loss_sum / (double)t->loss_count : NAN;
    if (m) {
        p.rank = m->rank;
        p.spread = m->spread;
        p.cosine = m->cosine;
        p.variance_ratio = m->variance_ratio;
        p.target_variance = m->target_variance;
    }
    if (with_held_out && t->figures_step == t->state.step) p.held_out_ratio = t->figures.loss / t->figures.constant;
    p.has_ranks = t->window_step == t->state.step;
    if (p.has_ranks) {
        p.straggler = t->straggler.named;
        p.straggler_slowdown = t->straggler.named_slowdown;
        p.straggler_limit = t->straggler.limit;
        vj_format(p.straggler_host, sizeof p.straggler_host, "%s", p.straggler >= 0 ? t->hosts[p.straggler] : "?");
    }
    return p;
}

static vj_status say_warnings(vj_trainer *t, const vj_warning_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        const vj_warning_event *e = &events[i];
        const char *name = vj_warning_names[e->warning];
        vj_log(e->begins ? VJ_WARN : VJ_INFO, "monitor", "step %lld: %s %s: %s", (long long)e->step, name,
               e->begins ? "begins" : "ends", e->text);
        vj_json_writer *w = vj_metrics_begin(t->warnings_file, e->step);
        vj_json_put_text(w, "name", name);
        vj_json_put_text(w, "state", e->begins ? "begins" : "ends");
        vj_json_put_f64(w, "value", e->value);
        vj_json_put_f64(w, "limit", e->limit);
        vj_json_put_text(w, "text", e->text);
        VJ_TRY(vj_metrics_end(t->warnings_file));
    }
    return n > 0 ? vj_trainer_recommend(t) : VJ_OK;
}

static void put_warnings(vj_json_writer *w, const vj_warnings *warnings)
{
    int64_t since;
    vj_json_begin_array(w, "warnings");
    for (int i = 0; i < VJ_WARNINGS; i++) {
        if (vj_warnings_in_force(warnings, (vj_warning)i, &since)) vj_json_put_text(w, NULL, vj_warning_names[i]);
    }
    vj_json_end_array(w);
}

vj_status vj_trainer_log(vj_trainer *t, const vj_step_report *r, bool with_held_out)
{
    const double now = vj_now(), wall = now - t->log_started;
    const double steps = t->log_steps > 0 ? (double)t->log_steps : 1;
    const vj_loader_stats data = t->of_all;
    // Before the line is begun: the figures take time, and their failure must not leave half a line.
    if (with_held_out && t->held_out) VJ_TRY(run_held_out(t));
    const int64_t every = t->config.monitor.every < 0 ? t->config.train.log_every : t->config.monitor.every;
    const bool watched = t->monitor && t->state.step % every == 0;
    vj_monitor_figures figures;
    if (watched) {
        vj_span_begin("monitor", -1);
        VJ_TRY_CTX(vj_monitor_run(t->monitor, &figures), "computing monitor figures");
        vj_span_end("monitor");
        t->process_monitor_seconds += figures.seconds;
    }
    const vj_watch_point point = point_of(t, r, watched ? &figures : NULL, with_held_out);
    vj_warning_event events[VJ_WARNINGS];
    int n_events = 0;
    VJ_TRY(vj_warnings_add(t->warnings, &point, events, &n_events));

    vj_json_writer *w = vj_metrics_begin(t->metrics, t->state.step);
    vj_json_put_text(w, "phase", t->run.phase);
    vj_json_put_text(w, "schedule", vj_schedule_phase_name(&t->config.train, t->state.step));
    if (vj_stage_count(&t->whole) > 1) vj_json_put_i64(w, "stage", t->stage_index + 1);
    vj_json_put_f64(w, "loss", t->loss_count > 0 ? t->loss_sum / (double)t->loss_count : NAN);
    vj_json_put_f64(w, "loss_last", r->loss);
    vj_json_put_f64(w, "lr", r->lr);
    vj_json_put_f64(w, "weight_decay", r->weight_decay);
    vj_json_put_f64(w, "momentum", r->momentum);
    vj_json_put_f64(w, "grad_norm", r->grad_norm);
    vj_json_put_f64(w, "grad_norm_encoder", r->grad_norm_encoder);
    vj_json_put_f64(w, "grad_norm_predictor", r->grad_norm_predictor);
    vj_json_begin_object(w, "grad_norm_units");
    put_unit_norms(w, t, "encoder", VJ_ENCODER);
    put_unit_norms(w, t, "predictor", VJ_PREDICTOR);
    vj_json_end_object(w);
    vj_json_put_f64(w, "step_seconds", t->step_seconds / steps);
    vj_json_put_f64(w, "data_wait_seconds", t->wait_seconds / steps);
    vj_json_put_f64(w, "samples_per_second", wall > 0 ? (double)t->log_samples / wall : NAN);
    vj_json_put_f64(w, "tokens_per_second", wall > 0 ? (double)t->log_tokens / wall : NAN);
    const double rate = t->step_seconds > 0 ? t->flop / t->step_seconds : NAN;
    vj_json_put_f64(w, "flop_per_second", rate);
    vj_json_put_f64(w, "roof_flop_per_second", t->roof);
    vj_json_put_f64(w, "mfu", rate / t->roof);
    vj_json_put_f64(w, "hfu", (t->flop + t->again_flop) / t->step_seconds / t->roof);
    vj_json_put_f64(w, "loader_cpu_seconds", data.decode_seconds);
    vj_json_put_i64(w, "cursor", (int64_t)t->state.cursor);
    vj_json_put_i64(w, "adam_step", t->state.adam_step);
    vj_json_put_i64(w, "skipped_steps", t->skipped);
    vj_json_put_i64(w, "rollbacks", t->n_rollbacks);
    vj_json_put_i64(w, "bad_samples", data.bad);
    vj_json_put_i64(w, "substituted_samples", data.substituted);
    vj_json_put_i64(w, "peak_rss_bytes", vj_peak_rss_bytes());
    vj_json_put_f64(w, "train_seconds", t->state.wall_seconds);
    vj_trainer_put_ranks(w, t);
    put_warnings(w, t->warnings);
    if (watched) put_monitor(w, &figures);
    if (with_held_out && t->figures_step == t->state.step) put_held_out(w, &t->figures);
    VJ_TRY(vj_metrics_end(t->metrics));
    size_t bytes = 0;
    const char *line = vj_metrics_line(t->metrics, &bytes);
    vj_sinks_line(t->sinks, line, bytes, vj_wall());
    VJ_TRY(say_warnings(t, events, n_events));

    t->log_started = vj_now();
    t->step_seconds = t->wait_seconds = t->flop = t->again_flop = t->loss_sum = 0;
    t->log_samples = t->log_tokens = t->log_steps = t->loss_count = 0;
    return VJ_OK;
}

// Where the time of this process' steps went, by operation.
static void put_ops(vj_json_writer *w, const vj_device *device)
{
    vj_op_stat stats[64];
    const int n = vj_device_stats(device, stats, 64);
    vj_json_begin_array(w, "ops");
    for (int i = 0; i < n; i++) {
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "op", stats[i].name);
        vj_json_put_i64(w, "calls", stats[i].calls);
        vj_json_put_f64(w, "seconds", stats[i].seconds);
        vj_json_put_f64(w, "flop", stats[i].flop);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
}

vj_status vj_trainer_summary(vj_trainer *t, const char *outcome)
{
    char wall[32], file[640];
    vj_wall_text(wall);
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "outcome", outcome);
    vj_json_put_text(&w, "phase", t->run.phase);
    vj_json_put_text(&w, "run_id", t->run.run_id);
    vj_json_put_text(&w, "parent", t->run.parent);
    vj_json_put_i64(&w, "step", t->state.step);
    vj_json_put_i64(&w, "steps", t->config.train.steps);
    vj_json_put_i64(&w, "checkpoint_step", t->saved_step);
    vj_json_put_text(&w, "model", t->config.model.preset);
    vj_json_put_i64(&w, "crop", t->config.data.crop);
    vj_json_put_i64(&w, "frames", t->config.data.fpc.v[0]);
    vj_json_put_f64(&w, "train_seconds", t->state.wall_seconds);
    vj_json_put_i64(&w, "peak_rss_bytes", vj_peak_rss_bytes());
    vj_json_put_text(&w, "device", vj_device_name(t->device));
    vj_json_put_text(&w, "isa", vj_device_isa(t->device));
    vj_json_put_text(&w, "gemm", vj_device_gemm(t->device));
    vj_json_put_i64(&w, "threads", vj_device_threads(t->device));
    vj_json_put_text(&w, "written", wall);
    vj_json_put_i64(&w, "bad_samples", t->of_all.bad);
    vj_json_put_i64(&w, "substituted_samples", t->of_all.substituted);
    vj_json_put_i64(&w, "skipped_steps", t->skipped);
    vj_json_put_i64(&w, "rollbacks", t->n_rollbacks);
    vj_json_put_i64(&w, "steps_of_this_process", t->steps_done);
    vj_json_put_f64(&w, "step_seconds_of_this_process", t->process_step_seconds);
    vj_json_put_f64(&w, "monitor_seconds_of_this_process", t->process_monitor_seconds);
    vj_json_put_f64(&w, "save_seconds_of_this_process", t->saves_stood);   // that steps waited
    vj_json_put_f64(&w, "roof_flop_per_second", t->roof);
    put_warnings(&w, t->warnings);
    put_ops(&w, t->device);
    if (t->figures_step >= 0) {
        vj_json_put_i64(&w, "held_out_step", t->figures_step);
        put_held_out(&w, &t->figures);
    }
    vj_json_end_object(&w);
    vj_str_add(&w.out, "\n");
    vj_path_join(file, sizeof file, t->run.path, "summary.json");
    vj_status status = vj_file_write_atomic(file, vj_str_text(&w.out), w.out.length);
    vj_json_writer_free(&w);
    return status;
}
