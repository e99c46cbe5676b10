// State out of and into checkpoints. One list of parts serves both: what is saved is what is loaded.

#include "jobs/train/trainer_impl.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/log/log.h"

typedef struct part_list {
    vj_state_part parts[8];
    int n;
    vj_tensor *shards;
    int64_t *begin;
} part_list;

static const struct {
    const char *name;
    vj_network network;
    vj_buffer buffer;
    vj_state_kind kind;
} part_table[] = {
    { "encoder", VJ_ENCODER, VJ_BUF_PARAM, VJ_STATE_PARAM },
    { "encoder", VJ_ENCODER, VJ_BUF_EXP_AVG, VJ_STATE_EXP_AVG },
    { "encoder", VJ_ENCODER, VJ_BUF_EXP_AVG_SQ, VJ_STATE_EXP_AVG_SQ },
    { "predictor", VJ_PREDICTOR, VJ_BUF_PARAM, VJ_STATE_PARAM },
    { "predictor", VJ_PREDICTOR, VJ_BUF_EXP_AVG, VJ_STATE_EXP_AVG },
    { "predictor", VJ_PREDICTOR, VJ_BUF_EXP_AVG_SQ, VJ_STATE_EXP_AVG_SQ },
    { "target_encoder", VJ_TARGET_ENCODER, VJ_BUF_PARAM, VJ_STATE_PARAM },
};
enum { PARTS = sizeof part_table / sizeof part_table[0] };

static void part_list_free(part_list *l)
{
    vj_host_free(l->shards);
    vj_host_free(l->begin);
    *l = (part_list){ 0 };
}

// `saving`: what this rank is to write; else what it is to read.
static vj_status part_list_make(part_list *l, const vj_vjepa *model, bool saving)
{
    *l = (part_list){ .n = PARTS };
    int units = 0;
    for (int i = 0; i < PARTS; i++) units += vj_vjepa_layout(model, part_table[i].network)->n_units;
    VJ_TRY(vj_host_alloc(&l->shards, (size_t)units * sizeof *l->shards, "a list of units"));
    vj_status status = vj_host_alloc(&l->begin, (size_t)units * sizeof *l->begin, "a list of units");
    if (status != VJ_OK) {
        part_list_free(l);
        return status;
    }
    int at = 0;
    for (int i = 0; i < PARTS; i++) {
        const vj_layout *layout = vj_vjepa_layout(model, part_table[i].network);
        l->parts[i] = (vj_state_part){ .network = part_table[i].name, .kind = part_table[i].kind, .layout = layout,
                                       .shards = l->shards + at, .begin = l->begin + at };
        for (int u = 0; u < layout->n_units; u++, at++) {
            l->shards[at] = (saving ? vj_vjepa_owned : vj_vjepa_held)(model, part_table[i].network, part_table[i].buffer, u, &l->begin[at]);
        }
    }
    return VJ_OK;
}

static vj_status take_quarantine(void *loader, const char *json) { return vj_loader_quarantine_add(loader, json); }

// What any rank found bad is known to all from now on.
static vj_status share_quarantine(vj_trainer *t)
{
    if (vj_comm_size(t->ranks.world) == 1) return VJ_OK;
    vj_loader_stats stats;
    vj_loader_stats_get(t->loader, &stats);
    double bad = (double)stats.bad;
    VJ_TRY(vj_comm_all_reduce_now(t->ranks.world, &bad, 1, VJ_MAX));
    if (bad == 0) return VJ_OK;
    char *mine = NULL;
    vj_status status = vj_loader_quarantine(t->loader, &mine);
    VJ_TRY(vj_ranks_agree(&t->ranks, status, NULL, 0));
    status = vj_ranks_exchange(&t->ranks, mine, take_quarantine, t->loader);
    free(mine);
    return status;
}

// `together`: every rank writes what it alone holds; else the lead, which has everything.
static vj_status write_checkpoint(vj_trainer *t, bool together)
{
    const double started = vj_now();
    vj_loader_state data;
    vj_loader_state_get(t->loader, &data);
    t->state.cursor = data.cursor;
    t->state.plan_digest = data.plan_digest;
    t->state.catalog_digest = data.catalog_digest;
    t->state.quarantine_digest = data.quarantine_digest;
    vj_format(t->state.schedule_phase, sizeof t->state.schedule_phase, "%s", vj_schedule_phase_name(&t->config.train, t->state.step));
    t->state.config_yaml = vj_str_text(&t->resolved);

    char *quarantine = NULL;
    part_list list = { 0 };
    vj_status status = vj_loader_quarantine(t->loader, &quarantine);
    t->state.quarantine_json = quarantine;
    if (status == VJ_OK) status = part_list_make(&list, t->model, true);
    if (together) status = vj_ranks_agree(&t->ranks, status, NULL, 0);   // all go in, or none
    if (status == VJ_OK) {
        const vj_train_config *c = &t->config.train;
        vj_stream *st = vj_vjepa_stream(t->model);
        status = together ? vj_checkpoint_save_ranks(t->ranks.world, t->run.path, list.parts, list.n, &t->state, st, c->checkpoint_keep, c->checkpoint_keep_every)
                          : vj_checkpoint_save(t->run.path, list.parts, list.n, &t->state, st, c->checkpoint_keep, c->checkpoint_keep_every);
    }
    part_list_free(&list);
    free(quarantine);
    t->state.quarantine_json = NULL;
    if (status != VJ_OK && vj_error_text()[0]) vj_context("saving the checkpoint of step %lld", (long long)t->state.step);
    VJ_TRY(status);
    t->saved_step = t->state.step;
    if (t->ranks.lead) VJ_TRY(vj_trainer_recommend(t));
    vj_log(VJ_DEBUG, "train", "checkpoint of step %lld saved in %.2f s", (long long)t->state.step, vj_now() - started);
    return VJ_OK;
}

vj_status vj_trainer_save(vj_trainer *t)
{
    if (t->saved_step == t->state.step) return VJ_OK;
    VJ_TRY(vj_ranks_agree(&t->ranks, share_quarantine(t), NULL, 0));
    const bool together = vj_comm_size(t->ranks.world) > 1 && t->config.train.parallel_mode != VJ_DDP;
    const vj_status status = together || t->ranks.lead ? write_checkpoint(t, together) : VJ_OK;
    t->saved_step = t->state.step;
    return vj_ranks_agree(&t->ranks, status, NULL, 0);
}

bool vj_trainer_has_moments(const vj_checkpoint *from)
{
    for (int i = 0; i < PARTS; i++) {
        if (!vj_checkpoint_has(from, part_table[i].name, part_table[i].kind)) return false;
    }
    return true;
}

vj_status vj_trainer_recommend(vj_trainer *t)
{
    char ckpt[640];
    vj_path_join(ckpt, sizeof ckpt, t->run.path, "ckpt");
    if (t->cooldown || !vj_path_exists(ckpt)) return VJ_OK;
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
    part_list list;
    const bool moments = vj_trainer_has_moments(from);
    VJ_TRY(part_list_make(&list, t->model, false));
    int n = 0;
    for (int i = 0; i < list.n; i++) {
        if (moments || list.parts[i].kind == VJ_STATE_PARAM) list.parts[n++] = list.parts[i];
    }
    vj_status status = vj_checkpoint_load(from, list.parts, n, vj_vjepa_stream(t->model));
    part_list_free(&list);
    return status;
}
