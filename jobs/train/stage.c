// Stages of a run: what depends on the shape of clips is made anew where one begins, everything else goes on.
//
// Easy to get wrong: the cursor and the bad samples go from the old loader to the new one, so a border changes neither
// which sample comes when nor what a resumed run does.

#include <stdlib.h>
#include <string.h>

#include "jobs/train/room.h"
#include "jobs/train/trainer_impl.h"
#include "runtime/log/log.h"

static vj_status open_loader(vj_trainer *t)
{
    return vj_loader_open(&t->loader, &t->config.data, &t->config.mask, &t->stage, t->data_known ? &t->data : NULL, t->quarantine);
}

vj_status vj_trainer_begin_stage(vj_trainer *t)
{
    const int before = t->stage_index;
    t->stage_index = vj_stage_at(&t->whole, t->state.step);
    if (t->stage_index > 0 || before > 0) {   // the model was made for stage 0
        t->config = vj_stage_config(&t->whole, t->stage_index);
        vj_slot_bound bound;
        VJ_TRY(vj_ranks_agree(&t->ranks, vj_room_expected(&t->config, &bound, NULL), NULL, 0));
        bound.mesh = vj_comm_size(t->ranks.world) > 1 ? &t->mesh : NULL;
        VJ_TRY_CTX(vj_vjepa_resize(t->model, &bound), "making room for stage %d", t->stage_index + 1);
    }
    const vj_run_config *c = &t->config;
    t->stage = (vj_loader_stage){ .seed = (uint64_t)c->train.seed, .batch = c->train.batch, .slot = c->mask.group,
                                  .crop = c->data.crop, .tubelet = c->model.tubelet, .patch = c->model.patch,
                                  .fpc = c->data.fpc, .fps = c->data.fps, .rank = vj_comm_rank(t->ranks.world),
                                  .world = vj_comm_size(t->ranks.world), .threads = (int)c->data.threads, .held_out = false };
    vj_status status = open_loader(t);
    if (status == VJ_OK) t->met = vj_loader_met(t->loader);
    if (status == VJ_OK && c->mask.truncate == VJ_TRUNCATE_RANK) {
        vj_log(VJ_INFO, "train", "mask.truncate=rank: masks are cut over all samples of a rank, of %d now: another number of ranks gives "
               "another result (with slot, global and fixed it does not)", t->stage.world);
    }
    // The lead looks at held-out clips alone, all of them.
    vj_loader_stage whole = t->stage;
    whole.rank = 0;
    whole.world = 1;
    if (status == VJ_OK && t->ranks.lead) status = vj_held_out_create(&t->held_out, c, &whole, t->model, vj_trainer_start_param, t);
    if (status == VJ_OK && t->ranks.lead) status = vj_monitor_create(&t->monitor, c, &whole, t->model);
    return vj_ranks_agree(&t->ranks, status, NULL, 0);
}

static void close_loader(vj_trainer *t)
{
    vj_loader_stats stats;
    vj_loader_stats_get(t->loader, &stats);
    t->past.samples += stats.samples;
    t->past.bad += stats.bad;
    t->past.substituted += stats.substituted;
    t->past.decode_seconds += stats.decode_seconds;
    vj_loader_close(&t->loader);
}

void vj_trainer_end_stage(vj_trainer *t)
{
    vj_held_out_destroy(&t->held_out);
    vj_monitor_destroy(&t->monitor);
    close_loader(t);
}

// Where the loader stands and what it found bad, for the one that follows it.
static vj_status keep_data(vj_trainer *t)
{
    vj_loader_state_get(t->loader, &t->data);
    t->data_known = true;
    free(t->quarantine);
    t->quarantine = NULL;
    return vj_loader_quarantine(t->loader, &t->quarantine);
}

vj_status vj_trainer_skip_data(vj_trainer *t, uint64_t samples)
{
    VJ_TRY(keep_data(t));
    close_loader(t);
    t->data.skip = samples;
    const vj_status status = open_loader(t);
    t->data.skip = 0;
    return status;
}

vj_status vj_trainer_next_stage(vj_trainer *t)
{
    const int stage = vj_stage_at(&t->whole, t->state.step);
    if (stage == t->stage_index) return VJ_OK;
    VJ_TRY(keep_data(t));
    vj_trainer_end_stage(t);
    VJ_TRY(vj_trainer_begin_stage(t));
    vj_log(VJ_INFO, "train", "step %lld: stage %d of %d begins: %lld frames x %lld px at %g frames a second, %lld slots of %lld",
           (long long)t->state.step, stage + 1, vj_stage_count(&t->whole), (long long)t->config.data.fpc.v[0],
           (long long)t->config.data.crop, t->config.data.fps, (long long)(t->config.train.batch / t->config.mask.group),
           (long long)t->config.mask.group);
    return VJ_OK;
}
