// The published training checkpoint: three state dictionaries, AdamW's state by number, and the little beside them.

#include <stdio.h>
#include <string.h>

#include "checkpoints/official.h"
#include "checkpoints/pt.h"
#include "jobs/formats/formats.h"
#include "runtime/base/str.h"

typedef struct exporter {
    vj_model_source *source;
    vj_pt_writer *w;
    float *values;
    vj_status status;
} exporter;

static void put(exporter *x, const char *name, vj_state_kind kind)
{
    const vj_weight *t = vj_weights_find(x->source->weights, name);
    if (x->status != VJ_OK) return;
    x->status = vj_weights_read(x->source->weights, name, kind, x->values, t->count);
    if (x->status == VJ_OK) x->status = vj_pt_put_tensor(x->w, t->rank, t->shape, x->values);
}

static void put_network(exporter *x, const char *network)
{
    const size_t n = strlen(network);
    vj_pt_key(x->w, network);
    vj_pt_begin_dict(x->w);
    for (int64_t i = 0; i < vj_weights_count(x->source->weights) && x->status == VJ_OK; i++) {
        const vj_weight *t = vj_weights_at(x->source->weights, i);
        char key[160];
        if (strncmp(t->name, network, n) != 0 || t->name[n] != '.') continue;
        vj_format(key, sizeof key, "module.backbone.%s", t->name + n + 1);
        vj_pt_key(x->w, key);
        put(x, t->name, VJ_STATE_PARAM);
    }
    vj_pt_end_dict(x->w);
}

// A mask token that never had a gradient has no state in the published files.
static bool untouched(exporter *x, const char *name)
{
    const vj_weight *t = vj_weights_find(x->source->weights, name);
    if (strncmp(name, "predictor.mask_tokens.", 22) != 0) return false;
    x->status = vj_weights_read(x->source->weights, name, VJ_STATE_EXP_AVG_SQ, x->values, t->count);
    for (int64_t i = 0; i < t->count; i++) {
        if (x->values[i] != 0) return false;
    }
    return true;
}

static void put_state(void *context, int64_t index, const char *name)
{
    exporter *x = context;
    const float step = (float)vj_weights_facts_of(x->source->weights)->adam_step;
    if (x->status == VJ_OK && !vj_weights_find(x->source->weights, name))
        x->status = vj_fail(VJ_ERR_CONFIG, "tensor %s is missing", name);
    if (x->status != VJ_OK || untouched(x, name) || x->status != VJ_OK) return;
    vj_pt_key_int(x->w, index);
    vj_pt_begin_dict(x->w);
    vj_pt_key(x->w, "step");
    x->status = vj_pt_put_tensor(x->w, 0, NULL, &step);
    vj_pt_key(x->w, "exp_avg");
    put(x, name, VJ_STATE_EXP_AVG);
    vj_pt_key(x->w, "exp_avg_sq");
    put(x, name, VJ_STATE_EXP_AVG_SQ);
    vj_pt_end_dict(x->w);
}

static void put_group(exporter *x, int group, int64_t first, int64_t end)
{
    vj_pt_writer *w = x->w;
    vj_pt_begin_dict(w);
    vj_pt_key(w, "lr");
    vj_pt_put_float(w, x->source->lr);
    vj_pt_key(w, "betas");
    vj_pt_put_floats(w, (const double[]){ 0.9, 0.999 }, 2);
    vj_pt_key(w, "eps");
    vj_pt_put_float(w, 1e-8);
    vj_pt_key(w, "weight_decay");
    vj_pt_put_float(w, group < 2 ? 0.04 : 0);
    if (group >= 2) {
        vj_pt_key(w, "WD_exclude");
        vj_pt_put_bool(w, true);
    }
    static const char *const off[] = { "amsgrad", "maximize", "capturable", "differentiable" };
    for (int i = 0; i < 4; i++) {
        vj_pt_key(w, off[i]);
        vj_pt_put_bool(w, false);
    }
    vj_pt_key(w, "foreach");
    vj_pt_put_none(w);
    vj_pt_key(w, "fused");
    vj_pt_put_none(w);
    vj_pt_key(w, "params");
    vj_pt_begin_list(w);
    for (int64_t i = first; i < end; i++) vj_pt_put_int(w, i);
    vj_pt_end_list(w);
    vj_pt_end_dict(w);
}

static void put_optimiser(exporter *x)
{
    const vj_model_config *m = &x->source->model;
    const vj_official_sizes sizes = {
        .depth = m->depth, .pred_depth = m->pred_depth, .mask_tokens = x->source->mask_tokens};
    int64_t first[VJ_OFFICIAL_GROUPS + 1];
    vj_pt_key(x->w, "opt");
    vj_pt_begin_dict(x->w);
    vj_pt_key(x->w, "state");
    vj_pt_begin_dict(x->w);
    vj_official_order(&sizes, put_state, x);
    vj_pt_end_dict(x->w);
    vj_official_groups(&sizes, first);
    vj_pt_key(x->w, "param_groups");
    vj_pt_begin_list(x->w);
    for (int g = 0; g < VJ_OFFICIAL_GROUPS; g++) put_group(x, g, first[g], first[g + 1]);
    vj_pt_end_list(x->w);
    vj_pt_end_dict(x->w);
}

static vj_status write(exporter *x)
{
    const vj_weights_facts *facts = vj_weights_facts_of(x->source->weights);
    const int64_t group = x->source->group > 0 ? x->source->group : 24,
                  batch = x->source->batch > 0 ? x->source->batch : 3072;
    vj_pt_begin_dict(x->w);
    put_network(x, "encoder");
    if (x->source->mask_tokens > 0) put_network(x, "predictor");
    put_network(x, "target_encoder");
    if (facts->moments && x->status == VJ_OK) put_optimiser(x);
    vj_pt_key(x->w, "scaler");
    vj_pt_put_none(x->w);
    vj_pt_key(x->w, "epoch");
    vj_pt_put_int(x->w, facts->step / VJ_OFFICIAL_EPOCH);
    vj_pt_key(x->w, "loss");
    vj_pt_put_float(x->w, 0);
    vj_pt_key(x->w, "batch_size");   // of one of its ranks
    vj_pt_put_int(x->w, group);
    vj_pt_key(x->w, "world_size");
    vj_pt_put_int(x->w, batch / group);
    vj_pt_key(x->w, "lr");
    vj_pt_put_float(x->w, x->source->lr);
    vj_pt_end_dict(x->w);
    return x->status;
}

vj_status vj_export_official(vj_model_source *source, const char *file)
{
    exporter x = { .source = source, .status = VJ_OK };
    int64_t largest = 1;
    for (int64_t i = 0; i < vj_weights_count(source->weights); i++) {
        const int64_t n = vj_weights_at(source->weights, i)->count;
        largest = n > largest ? n : largest;
    }
    VJ_CHECK(
        source->model.rope_layout == VJ_ROPE_TILED, VJ_ERR_CONFIG,
        "model.rope_layout: interleaved cannot be said in the published format; its code would compute other features");
    VJ_TRY(vj_host_alloc(&x.values, (size_t)largest * sizeof *x.values, "a tensor"));
    vj_status status = vj_pt_writer_create(&x.w, file);
    if (status == VJ_OK) status = write(&x);
    if (status == VJ_OK) status = vj_pt_writer_finish(&x.w);
    vj_pt_writer_abandon(&x.w);
    vj_host_free(x.values);
    return status;
}
