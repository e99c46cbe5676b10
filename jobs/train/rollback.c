// train.nonfinite=rollback: after a step that was not finite, the newest checkpoint again, without the samples that led there.
//
// With K = train.rollback_steps the samples of the K batches that end with the bad one are left out (at most those behind the
// checkpoint): the steps between are made again with their own samples, then the next step takes what follows. Steps keep their
// numbers, so schedules and the end of the run stay; the cursor is ahead. What was left out stands in RUN/rollbacks.jsonl, so
// that a resumed run leaves out the same. Everything follows from numbers that all ranks share.
//
// Lines of another run (run_id), from a copied file, are passed over.

#include <stdlib.h>
#include <string.h>

#include "jobs/train/trainer_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/log/log.h"

static void path_of(const vj_trainer *t, char out[640]) { vj_path_join(out, 640, t->run.path, "rollbacks.jsonl"); }

static vj_status add(vj_trainer *t, const vj_rollback *r)
{
    vj_rollback *grown = realloc(t->rollbacks, (size_t)(t->n_rollbacks + 1) * sizeof *grown);
    VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory for a list of rollbacks");
    t->rollbacks = grown;
    t->rollbacks[t->n_rollbacks++] = *r;
    return VJ_OK;
}

static vj_status read_line(vj_trainer *t, const char *line, size_t bytes, const char *origin)
{
    vj_json_doc *doc = NULL;
    const char *run = NULL;
    int64_t first = 0, samples = 0;
    vj_rollback r = { 0 };
    VJ_TRY(vj_json_parse(&doc, line, bytes, origin));
    const vj_json *root = vj_json_root(doc);
    vj_status status;
    VJ_TRY_GOTO(vj_json_text(root, "run_id", &run), done);
    VJ_TRY_GOTO(vj_json_i64(root, "step", &r.step), done);
    VJ_TRY_GOTO(vj_json_i64(root, "to_step", &r.to_step), done);
    VJ_TRY_GOTO(vj_json_i64(root, "first", &first), done);
    VJ_TRY_GOTO(vj_json_i64(root, "samples", &samples), done);
    if (first < 0 || samples <= 0 || samples % t->config.train.batch != 0) {
        status = vj_fail(VJ_ERR_CONFIG, "%lld samples from %lld on: expected whole batches of %lld", (long long)samples, (long long)first,
                         (long long)t->config.train.batch);
        goto done;
    }
    r.first = (uint64_t)first;
    r.samples = (uint64_t)samples;
    if (strcmp(run, t->run.run_id) == 0) status = add(t, &r);
done:
    vj_json_destroy(&doc);
    return status;
}

static vj_status read_file(vj_trainer *t)
{
    char path[640], *text = NULL;
    size_t bytes = 0;
    path_of(t, path);
    if (!vj_path_exists(path)) return VJ_OK;
    VJ_TRY(vj_file_read(path, &text, &bytes, 0));
    vj_status status = VJ_OK;
    for (size_t at = 0; at < bytes && status == VJ_OK;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        const size_t n = end ? (size_t)(end - text) - at : bytes - at;
        status = read_line(t, text + at, n, path);
        at += n + 1;
    }
    free(text);
    if (status != VJ_OK) vj_context("reading which samples this run leaves out (%s)", path);
    return status == VJ_OK ? VJ_OK : VJ_ERR_CONFIG;
}

static vj_status write_file(const vj_trainer *t)
{
    char path[640];
    vj_json_writer w = { 0 };
    vj_str all = { 0 };
    path_of(t, path);
    for (int64_t i = 0; i < t->n_rollbacks; i++) {
        const vj_rollback *r = &t->rollbacks[i];
        vj_str_clear(&w.out);
        w.depth = 0;
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "run_id", t->run.run_id);
        vj_json_put_i64(&w, "step", r->step);
        vj_json_put_i64(&w, "to_step", r->to_step);
        vj_json_put_i64(&w, "first", (int64_t)r->first);
        vj_json_put_i64(&w, "samples", (int64_t)r->samples);
        vj_json_end_object(&w);
        vj_str_printf(&all, "%s\n", vj_str_text(&w.out));
    }
    const vj_status status = vj_file_write_atomic(path, vj_str_text(&all), all.length);
    vj_str_free(&all);
    vj_json_writer_free(&w);
    return status;
}

vj_status vj_trainer_read_rollbacks(vj_trainer *t)
{
    VJ_TRY(vj_ranks_agree(&t->ranks, t->ranks.lead ? read_file(t) : VJ_OK, NULL, 0));
    if (vj_comm_size(t->ranks.world) == 1) return VJ_OK;
    int64_t n = t->n_rollbacks;
    VJ_TRY(vj_ranks_tell(&t->ranks, (char *)&n, sizeof n));
    if (n == 0) return VJ_OK;
    if (!t->ranks.lead) {
        t->rollbacks = calloc((size_t)n, sizeof *t->rollbacks);
        VJ_CHECK(t->rollbacks != NULL, VJ_ERR_NOMEM, "no memory for a list of rollbacks");
        t->n_rollbacks = n;
    }
    return vj_ranks_tell(&t->ranks, (char *)t->rollbacks, (size_t)n * sizeof *t->rollbacks);
}

static int64_t rollbacks_to(const vj_trainer *t, int64_t step)
{
    int64_t n = 0;
    for (int64_t i = 0; i < t->n_rollbacks; i++) n += t->rollbacks[i].to_step == step;
    return n;
}

vj_status vj_trainer_leave_out(vj_trainer *t)
{
    uint64_t to = t->state.cursor;
    for (int64_t i = 0; i < t->n_rollbacks; i++) {
        const vj_rollback *r = &t->rollbacks[i];
        if (r->first > to || to - r->first >= r->samples) continue;
        to = r->first + r->samples;
        i = -1;   // another one may go on from there
    }
    if (to == t->state.cursor) return VJ_OK;
    vj_log(VJ_INFO, "train", "step %lld: samples %llu to %llu are left out (rollbacks.jsonl)", (long long)t->state.step + 1,
           (unsigned long long)t->state.cursor, (unsigned long long)to - 1);
    const vj_status status = vj_trainer_skip_data(t, to - t->state.cursor);
    t->state.cursor = to;
    return vj_ranks_agree(&t->ranks, status, NULL, 0);
}

// Adam's moments as in a new model: what a checkpoint or a parent holds is loaded over them, a new run has none.
static vj_status forget_moments(vj_trainer *t)
{
    static const vj_network networks[] = { VJ_ENCODER, VJ_PREDICTOR };
    static const vj_buffer buffers[] = { VJ_BUF_EXP_AVG, VJ_BUF_EXP_AVG_SQ };
    int64_t largest = 0;
    for (int n = 0; n < 2; n++) {
        const vj_layout *l = vj_vjepa_layout(t->model, networks[n]);
        for (int p = 0; p < l->n_params; p++) largest = l->params[p].count > largest ? l->params[p].count : largest;
    }
    double *zeros = NULL;   // vj_host_alloc clears
    VJ_TRY(vj_host_alloc(&zeros, (size_t)largest * sizeof *zeros, "zeros"));
    vj_status status = VJ_OK;
    for (int n = 0; n < 4 && status == VJ_OK; n++) {
        const int n_params = vj_vjepa_layout(t->model, networks[n / 2])->n_params;
        for (int p = 0; p < n_params && status == VJ_OK; p++)
            status = vj_vjepa_set_param(t->model, networks[n / 2], buffers[n % 2], p, zeros);
    }
    if (status == VJ_OK) status = vj_stream_sync(vj_vjepa_stream(t->model));
    vj_host_free(zeros);
    return status;
}

static void forget_figures(vj_trainer *t)
{
    t->step_seconds = t->wait_seconds = t->flop = t->again_flop = t->loss_sum = 0;
    t->log_samples = t->log_tokens = t->log_steps = t->loss_count = 0;
    t->figures_step = -1;
    t->window_step = 0;
    vj_phase_start(&t->clock);
}

// Whether it may be done once more.
static vj_status check_limit(const vj_trainer *t, double loss, double grad_norm)
{
    const int64_t to = t->saved_step >= 0 ? t->saved_step : 0, n = rollbacks_to(t, to);
    if (n < t->config.train.rollback_max) return VJ_OK;
    VJ_FAIL(VJ_ERR_NONFINITE,
            "step %lld: loss %g, gradient norm %g: not finite, and the run went back to step %lld %lld times already (train.rollback_max). "
            "Lower optim.lr or lengthen optim.warmup, or raise train.rollback_steps",
            (long long)t->state.step + 1, loss, grad_norm, (long long)to, (long long)n);
}

vj_status vj_trainer_roll_back(vj_trainer *t, double loss, double grad_norm)
{
    VJ_TRY(vj_trainer_save_wait(t));   // else the newest checkpoint is a matter of time
    VJ_TRY(vj_ranks_agree(&t->ranks, check_limit(t, loss, grad_norm), NULL, 0));
    const uint64_t batch = (uint64_t)t->config.train.batch, behind = t->state.cursor + batch;
    vj_rollback r = { .step = t->state.step + 1 };
    vj_trainer_close_files(t);
    vj_trainer_end_stage(t);
    free(t->quarantine);
    t->quarantine = NULL;
    t->data_known = false;
    t->saved_step = -1;
    t->state = (vj_run_state){ 0 };
    t->run.resumed = true;
    forget_figures(t);
    VJ_TRY(vj_ranks_agree(&t->ranks, forget_moments(t), NULL, 0));
    VJ_TRY(vj_ranks_agree(&t->ranks, vj_trainer_make_state(t), NULL, 0));

    const uint64_t most = (uint64_t)t->config.train.rollback_steps * batch;
    r.to_step = t->state.step;
    r.samples = behind - t->state.cursor < most ? behind - t->state.cursor : most;
    r.first = behind - r.samples;
    vj_status status = add(t, &r);
    if (status == VJ_OK && t->ranks.lead) status = write_file(t);
    VJ_TRY(vj_ranks_agree(&t->ranks, status, NULL, 0));
    if (t->ranks.lead) {
        vj_log(VJ_WARN, "train", "step %lld: back to %s %lld; samples %llu to %llu are left out (%lld of at most %lld rollbacks to it)",
               (long long)r.step, t->saved_step >= 0 ? "the checkpoint of step" : "the beginning, step", (long long)r.to_step,
               (unsigned long long)r.first, (unsigned long long)behind - 1, (long long)rollbacks_to(t, r.to_step),
               (long long)t->config.train.rollback_max);
    }
    VJ_TRY(vj_trainer_begin_stage(t));
    t->log_started = vj_now();
    return vj_ranks_agree(&t->ranks, t->ranks.lead ? vj_trainer_open_files(t) : VJ_OK, NULL, 0);
}
