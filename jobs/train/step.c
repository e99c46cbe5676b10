// One training step, and what happens when its numbers are not finite.

#include "jobs/train/trainer_impl.h"

#include <math.h>
#include <string.h>

#include "jobs/train/schedule.h"
#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/file.h"
#include "runtime/log/log.h"
#include "runtime/log/timeline.h"

// Everything needed to see the step again: samples are pure functions of their global index, so their names are enough.
static vj_status dump_step(vj_trainer *t, const vj_batch *batch, const vj_step_result *r, const vj_step_options *o)
{
    char name[96], again[32] = "", rank[24] = "", file[640];
    // After a rollback the same step may fail with other samples.
    if (t->n_rollbacks > 0) vj_format(again, sizeof again, "-rollbacks-%lld", (long long)t->n_rollbacks);
    if (!t->ranks.lead) vj_format(rank, sizeof rank, "-rank-%d", vj_comm_rank(t->ranks.world));
    vj_format(name, sizeof name, "nonfinite-step-%lld%s%s.json", (long long)t->state.step + 1, again, rank);
    vj_path_join(file, sizeof file, t->run.path, name);
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_i64(&w, "step", t->state.step + 1);
    vj_json_put_f64(&w, "loss", r->loss);
    vj_json_put_f64(&w, "grad_norm_encoder", r->grad_norm_encoder);
    vj_json_put_f64(&w, "grad_norm_predictor", r->grad_norm_predictor);
    vj_json_put_f64(&w, "lr", o->lr);
    vj_json_put_i64(&w, "adam_step", o->adam_step);
    vj_json_put_i64(&w, "last_checkpoint_step", t->saved_step);
    vj_json_begin_array(&w, "samples");
    for (int64_t i = 0; i < batch->samples; i++) {
        vj_sample_origin origin;
        VJ_TRY(vj_loader_origin(t->loader, batch, i, &origin));
        vj_json_begin_object(&w, NULL);
        vj_json_put_i64(&w, "g", (int64_t)origin.g);
        vj_json_put_text(&w, "source", origin.source_name);
        vj_json_put_text(&w, "file", origin.file);
        vj_json_put_i64(&w, "row", origin.row);
        vj_json_put_hex(&w, "key", origin.key);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    vj_str_add(&w.out, "\n");
    vj_status status = vj_file_write_atomic(file, vj_str_text(&w.out), w.out.length);
    vj_json_writer_free(&w);
    if (status == VJ_OK && t->ranks.lead) vj_log(VJ_ERROR, "train", "the step's samples and figures are in %s", file);
    return status;
}

static vj_status on_nonfinite(vj_trainer *t, const vj_batch *batch, const vj_step_result *r, const vj_step_options *o)
{
    VJ_TRY(dump_step(t, batch, r, o));
    const vj_train_config *c = &t->config.train;
    if (c->nonfinite == VJ_NONFINITE_ROLLBACK) return VJ_OK;   // once all ranks are out of the step
    if (c->nonfinite == VJ_NONFINITE_SKIP) {
        t->skipped++;
        if (t->ranks.lead)
            vj_log(VJ_WARN, "train", "step %lld: loss %g, gradient norm %g: not finite, weights unchanged (skipped so far: %lld)",
                   (long long)t->state.step + 1, r->loss, r->grad_norm, (long long)t->skipped);
        return VJ_OK;
    }
    VJ_FAIL(VJ_ERR_NONFINITE,
            "step %lld: loss %g, gradient norm %g: not finite; %s, the newest checkpoint is step %lld. "
            "Lower optim.lr or lengthen optim.warmup, or go on past it with train.nonfinite=skip or rollback%s",
            (long long)t->state.step + 1, r->loss, r->grad_norm,
            c->in_backward ? "nothing of this step is saved" : "weights were not changed", (long long)t->saved_step,
            c->in_backward ? " and optim.in_backward=false" : "");
}

// Tokens of a slot's clips, before masks take their share.
static int64_t slot_tokens(const vj_model_config *c, const vj_slot *slot)
{
    int64_t tokens = 0;
    for (int i = 0; i < slot->n_groups; i++) {
        const vj_clip_group *g = &slot->groups[i];
        tokens += g->B * (g->F / c->tubelet) * (g->height / c->patch) * (g->width / c->patch);
    }
    return tokens;
}

// For slots of longer masks than any before.
static vj_status make_room(vj_trainer *t, const vj_batch *batch)
{
    bool grew;
    VJ_TRY_CTX(vj_vjepa_room(t->model, batch->slots, batch->n_slots, &grew), "making room for longer masks");
    if (!grew) return VJ_OK;
    char bytes[24];
    vj_bytes_text(bytes, (double)vj_vjepa_memory(t->model)->total);
    vj_log(VJ_DEBUG, "train", "step %lld: masks are longer than any before, the model takes %s now", (long long)t->state.step + 1, bytes);
    return VJ_OK;
}

// What this rank's loaders have done since the process started.
static void put_data(const vj_trainer *t, double out[3])
{
    vj_loader_stats data;
    vj_loader_stats_get(t->loader, &data);
    out[0] = (double)(data.bad + t->past.bad);
    out[1] = (double)(data.substituted + t->past.substituted);
    out[2] = data.decode_seconds + t->past.decode_seconds;
}

// `status` of this rank's batch. A source has one ceiling of bad samples for all ranks, so that the run ends at the same step on any
// number of them: what one meets is told to all at once.
static vj_status agree_on_data(vj_trainer *t, vj_status status)
{
    const int64_t met = vj_loader_met(t->loader);
    double found = (double)(met - t->met);
    VJ_TRY(vj_ranks_agree(&t->ranks, status, &found, 1));
    if (found > 0 && vj_comm_size(t->ranks.world) > 1) {
        VJ_TRY(vj_ranks_agree(&t->ranks, vj_trainer_share_bad(t), NULL, 0));
        VJ_TRY(vj_ranks_agree(&t->ranks, vj_loader_judge(t->loader), NULL, 0));
    }
    t->met = vj_loader_met(t->loader);
    return VJ_OK;
}

// The data is unusable, as all ranks know, between two steps: what was trained so far is kept.
static vj_status data_ends(vj_trainer *t, vj_status status)
{
    if (status != VJ_ERR_DATA || t->steps_done == 0) return status;
    char text[4096];
    vj_format(text, sizeof text, "%.4000s", vj_error_text());
    const bool agreed = t->ranks.agreed;
    t->ranks.agreed = false;
    vj_status saved = vj_ranks_agree(&t->ranks, vj_run_dir_held(&t->run, true), NULL, 0);
    if (saved == VJ_OK) saved = vj_trainer_save_wait(t);   // from here on all ranks know of the same newest checkpoint
    if (saved == VJ_OK) saved = vj_trainer_save(t, true);
    if (saved != VJ_OK && vj_error_text()[0]) vj_log(VJ_WARN, "train", "%s", vj_error_text());
    t->ranks.agreed = agreed;
    vj_error_clear();
    return text[0] ? vj_fail_text(status, text) : status;
}

vj_status vj_trainer_step(vj_trainer *t, vj_step_report *out)
{
    const vj_train_config *c = &t->config.train;
    const int64_t s = t->state.step + 1;   // schedules count from 1 (spec/pretrain.md 6.3)
    const vj_step_options options = {
        .lr = vj_schedule_lr(c, s),
        .weight_decay = vj_schedule_weight_decay(c, s),
        .momentum = vj_schedule_momentum(c, s - 1),   // the EMA sequence counts from 0 (spec/pretrain.md 5)
        .beta1 = c->beta1, .beta2 = c->beta2, .eps = c->eps,
        .adam_step = t->state.adam_step + 1, .clip_norm = c->clip_norm,
        .shared = t->told, .n_shared = VJ_TOLD,
    };
    const double asked = vj_now();
    vj_watchdog_at(t->dog, VJ_LIFE_DATA, s, -1);
    const vj_batch *batch = NULL;
    vj_span_begin("data", -1);
    vj_status status = vj_trainer_pending(t);
    if (status == VJ_OK) {
        status = vj_loader_next(t->loader, &batch);
        if (status != VJ_OK) vj_context("reading the batch of step %lld", (long long)s);
    }
    vj_span_end("data");
    vj_phase_lap(&t->clock, VJ_PHASE_DATA);
    status = agree_on_data(t, status);
    if (status != VJ_OK) return data_ends(t, status);
    VJ_ASSERT(batch->first == t->state.cursor);
    const double began = vj_now();

    vj_step_result r;
    status = make_room(t, batch);
    if (status == VJ_OK) {
        status = c->in_backward ? vj_vjepa_step_begin_in_backward(t->model, &options)
                                : vj_vjepa_step_begin(t->model, c->batch / t->config.mask.group);
    }
    memset(t->told, 0, sizeof t->told);
    for (int i = 0; i < batch->n_slots && status == VJ_OK; i++) {
        t->told[VJ_TOLD_FLOP] += vj_vjepa_slot_flop(&t->config.model, &batch->slots[i]);
        t->told[VJ_TOLD_TOKENS] += (double)slot_tokens(&t->config.model, &batch->slots[i]);
        t->told[VJ_TOLD_AGAIN_FLOP] += vj_vjepa_slot_recompute_flop(&t->config.model, &batch->slots[i]);
        vj_watchdog_at(t->dog, VJ_LIFE_STEP, s, i);
        status = vj_vjepa_slot(t->model, &batch->slots[i]);
        vj_fault_slow("train.slot");
    }
    vj_phase_step(&t->clock, vj_phase_lap(&t->clock, VJ_PHASE_COMPUTE), t->told[VJ_TOLD_FLOP]);
    put_data(t, t->told + VJ_TOLD_BAD);
    vj_trainer_tell(t);
    if (status == VJ_OK) status = vj_vjepa_update(t->model, &options, &r);
    vj_phase_lap(&t->clock, VJ_PHASE_UPDATE);
    const bool met = status == VJ_OK;   // else the others wait for this rank in the step: it cannot agree, only leave
    const bool nonfinite = met && r.update == VJ_UPDATE_NONFINITE;   // on all ranks alike
    if (nonfinite) status = on_nonfinite(t, batch, &r, &options);
    vj_loader_release(t->loader, batch);
    if (status != VJ_OK) vj_context("in step %lld", (long long)s);
    if (!met) return status;
    if (nonfinite) VJ_TRY(vj_ranks_agree(&t->ranks, status, NULL, 0));
    vj_trainer_put_off(t, vj_run_dir_held(&t->run, false));   // else what follows writes into another process' run
    t->of_all = (vj_loader_stats){ .bad = (int64_t)t->told[VJ_TOLD_BAD], .substituted = (int64_t)t->told[VJ_TOLD_SUBSTITUTED],
                                   .decode_seconds = t->told[VJ_TOLD_DECODE_SECONDS] };
    if (nonfinite && c->nonfinite == VJ_NONFINITE_ROLLBACK) {
        VJ_TRY(vj_ranks_agree(&t->ranks, vj_trainer_pending(t), NULL, 0));
        *out = (vj_step_report){ .rolled_back = true };
        return vj_trainer_roll_back(t, r.loss, r.grad_norm);
    }
    t->flop += t->told[VJ_TOLD_FLOP];
    t->log_tokens += (int64_t)t->told[VJ_TOLD_TOKENS];
    t->again_flop += t->told[VJ_TOLD_AGAIN_FLOP];

    t->state.step = s;
    t->state.cursor += (uint64_t)c->batch;
    if (r.update == VJ_UPDATED) t->state.adam_step++;
    const double ended = vj_now();
    t->wait_seconds += began - asked;
    t->step_seconds += ended - began;
    t->state.wall_seconds += ended - asked;
    t->log_samples += c->batch;
    t->log_steps++;
    t->steps_done++;
    t->process_step_seconds += ended - asked;
    if (isfinite(r.loss)) {
        t->loss_sum += r.loss;
        t->loss_count++;
    }
    if (t->sinks && t->pending == VJ_OK) vj_sinks_step(t->sinks, s, r.loss, ended - asked, ended - began, began - asked);
    *out = (vj_step_report){ .loss = r.loss, .lr = options.lr, .weight_decay = options.weight_decay,
                             .momentum = options.momentum, .grad_norm = r.grad_norm,
                             .grad_norm_encoder = r.grad_norm_encoder, .grad_norm_predictor = r.grad_norm_predictor,
                             .updated = r.update == VJ_UPDATED };
    return VJ_OK;
}
