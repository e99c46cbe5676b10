#include "evals/model_source.h"

#include <stdio.h>
#include <string.h>

#include "configs/run_config.h"
#include "runtime/base/str.h"

static int64_t count_blocks(const vj_weights *w, const char *list)
{
    for (int64_t n = 0;; n++) {
        char name[120];
        vj_format(name, sizeof name, "%s.%lld.norm1.weight", list, (long long)n);
        if (!vj_weights_find(w, name)) return n;
    }
}

static vj_status need(const vj_weights *w, const char *name, int rank, const vj_weight **out)
{
    *out = vj_weights_find(w, name);
    VJ_CHECK(*out != NULL && (*out)->rank == rank, VJ_ERR_CONFIG, "%s: tensor %s of %d dimensions is missing",
             vj_weights_facts_of(w)->path, name, rank);
    return VJ_OK;
}

static bool same_sizes(const vj_model_config *a, const vj_model_config *b)
{
    return a->width == b->width && a->depth == b->depth && a->hidden == b->hidden &&
           (b->heads == 0 || a->heads == b->heads) &&
           (b->pred_width == 0 || (a->pred_width == b->pred_width && a->pred_depth == b->pred_depth &&
                                   (b->pred_heads == 0 || a->pred_heads == b->pred_heads)));
}

// The preset with these sizes. Two of them with different heads: the format must say which.
static vj_status find_preset(const char *path, vj_model_config *m)
{
    const char *found = NULL;
    vj_model_config of_found = { 0 };
    for (const char *const *name = vj_model_preset_names(); *name; name++) {
        vj_model_config p = { .patch = m->patch, .tubelet = m->tubelet, .loss_exponent = 1 };
        if (strcmp(*name, "custom") == 0) continue;
        vj_format(p.preset, sizeof p.preset, "%s", *name);
        if (vj_model_resolve(&p) != VJ_OK) {
            vj_error_clear();
            continue;
        }
        if (!same_sizes(&p, m)) continue;
        VJ_CHECK(
            !found || of_found.heads == p.heads, VJ_ERR_CONFIG,
            "%s: the tensors fit %s (%lld heads) and %s (%lld heads), and the format does not say which: give --heads",
            path, found, (long long)of_found.heads, *name, (long long)p.heads);
        if (found) continue;
        found = *name;
        of_found = p;
    }
    if (found) {
        vj_format(m->preset, sizeof m->preset, "%s", found);
        m->heads = of_found.heads;
        if (m->pred_heads == 0) m->pred_heads = of_found.pred_heads;
    } else {
        vj_format(m->preset, sizeof m->preset, "custom");
        VJ_CHECK(m->heads > 0, VJ_ERR_CONFIG, "%s: an encoder of width %lld and %lld blocks is no preset: give --heads",
                 path, (long long)m->width, (long long)m->depth);
    }
    return VJ_OK;
}

static vj_status from_shapes(vj_model_source *s, int64_t heads, int64_t pred_heads)
{
    const vj_weights_facts *facts = vj_weights_facts_of(s->weights);
    const vj_weight *patch, *fc1, *embed;
    vj_model_config *m = &s->model;
    VJ_TRY(need(s->weights, "encoder.patch_embed.proj.weight", 5, &patch));
    VJ_TRY(need(s->weights, "encoder.blocks.0.mlp.fc1.weight", 2, &fc1));
    VJ_CHECK(patch->shape[1] == 3 && patch->shape[3] == patch->shape[4] && patch->shape[2] <= 16 &&
                 patch->shape[3] <= 64 && patch->shape[0] <= 16384 && fc1->shape[0] <= 65536,
             VJ_ERR_CONFIG, "%s: its patch embedding is none of colour video", facts->path);
    *m = (vj_model_config){.width = patch->shape[0],
                           .tubelet = patch->shape[2],
                           .patch = patch->shape[3],
                           .hidden = fc1->shape[0],
                           .loss_exponent = 1,
                           .depth = count_blocks(s->weights, "encoder.blocks"),
                           .heads = heads > 0 ? heads : facts->heads,
                           .pred_heads = pred_heads > 0 ? pred_heads : facts->pred_heads};
    if (s->mask_tokens > 0) {
        VJ_TRY(need(s->weights, "predictor.predictor_embed.weight", 2, &embed));
        m->pred_width = embed->shape[0];
        m->pred_depth = count_blocks(s->weights, "predictor.predictor_blocks");
        VJ_CHECK(m->pred_width <= 16384, VJ_ERR_CONFIG, "%s: its predictor is %lld wide", facts->path,
                 (long long)m->pred_width);
    }
    VJ_TRY(find_preset(facts->path, m));
    VJ_TRY_CTX(vj_model_resolve(m), "%s", facts->path);
    s->crop = facts->crop;
    s->frames = facts->frames;
    s->batch = facts->batch;
    s->group = facts->group;
    s->lr = facts->lr;
    return VJ_OK;
}

static vj_status from_checkpoint(vj_model_source *s)
{
    vj_checkpoint *c = NULL;
    vj_config *origins = NULL;
    vj_run_config whole;
    const char *path = vj_weights_facts_of(s->weights)->path;
    VJ_TRY(vj_checkpoint_open(&c, path, false));
    vj_status status = vj_run_config_from_text(&whole, &origins, vj_checkpoint_state(c)->config_yaml, path);
    if (status == VJ_OK) {
        const int64_t step = vj_checkpoint_state(c)->step;
        const vj_run_config r = vj_stage_config(&whole, vj_stage_at(&whole, step > 0 ? step - 1 : 0));
        s->model = r.model;
        s->crop = r.data.crop;
        for (int64_t i = 0; i < r.data.fpc.n; i++)
            s->frames = r.data.fpc.v[i] > s->frames ? r.data.fpc.v[i] : s->frames;
        s->fps = r.data.fps;
        s->batch = r.train.batch;
        s->group = r.mask.group;
        s->lr = r.train.lr;
    }
    vj_config_destroy(&origins);
    vj_checkpoint_destroy(&c);
    return status;
}

vj_status vj_model_source_open(vj_model_source *s, const char *ref, int64_t heads, int64_t pred_heads, bool strict)
{
    *s = (vj_model_source){ 0 };
    VJ_CHECK(heads >= 0 && heads <= 256 && pred_heads >= 0 && pred_heads <= 256, VJ_ERR_USAGE,
             "--heads and --pred-heads: 1 to 256 are possible");
    VJ_TRY(vj_weights_open(&s->weights, ref, strict));
    s->mask_tokens = vj_weights_mask_tokens(s->weights);
    const bool own = strcmp(vj_weights_facts_of(s->weights)->format, "checkpoint") == 0;
    const vj_status status = own ? from_checkpoint(s) : from_shapes(s, heads, pred_heads);
    if (status != VJ_OK) vj_model_source_close(s);
    return status;
}

void vj_model_source_close(vj_model_source *s) { vj_weights_close(&s->weights); }
