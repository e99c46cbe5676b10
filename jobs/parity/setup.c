// The model and the batch of a parity check, from safetensors files.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/parity/parity.h"
#include "runtime/base/str.h"
#include "runtime/base/thread.h"

static vj_status find(const vj_safetensors *f, const char *file, const char *name, int rank, const vj_st_entry **out)
{
    *out = vj_safetensors_find(f, name);
    VJ_CHECK(*out != NULL, VJ_ERR_CONFIG, "%s: holds no tensor '%s'", file, name);
    VJ_CHECK((*out)->rank == rank, VJ_ERR_CONFIG, "%s: '%s' has %d sizes, %d were expected", file, name, (*out)->rank, rank);
    return VJ_OK;
}

// How many of PREFIX0SUFFIX, PREFIX1SUFFIX, ... there are.
static int64_t count_of(const vj_safetensors *f, const char *prefix, const char *suffix)
{
    for (int64_t n = 0;; n++) {
        char name[160];
        vj_format(name, sizeof name, "%s%lld%s", prefix, (long long)n, suffix);
        if (!vj_safetensors_find(f, name)) return n;
    }
}

static vj_status number(const vj_safetensors *f, const char *file, const char *key, double given, double *out)
{
    *out = given;
    if (!isnan(given)) return VJ_OK;
    const char *text = vj_safetensors_meta(f, key);
    VJ_CHECK(text != NULL, VJ_ERR_USAGE, "%s says nothing about '%s': give it as %s=VALUE", file, key, key);
    VJ_CHECK(vj_parse_f64(text, out), VJ_ERR_CONFIG, "%s: metadata '%s' is no number: %.40s", file, key, text);
    return VJ_OK;
}

static vj_status whole(const char *key, double v, double most)
{
    VJ_CHECK(v >= 1 && v <= most && v == floor(v), VJ_ERR_USAGE, "%s=%g: a whole number from 1 to %g was expected", key, v, most);
    return VJ_OK;
}

static vj_status read_config(vj_parity *p, const char *file, const vj_parity_keys *k)
{
    const vj_st_entry *patch, *fc1, *embed, *pred_fc1;
    double heads, pred_heads;
    VJ_TRY(find(p->model, file, "encoder.patch_embed.proj.weight", 5, &patch));
    VJ_TRY(find(p->model, file, "encoder.blocks.0.mlp.fc1.weight", 2, &fc1));
    VJ_TRY(find(p->model, file, "predictor.predictor_embed.weight", 2, &embed));
    VJ_TRY(find(p->model, file, "predictor.predictor_blocks.0.mlp.fc1.weight", 2, &pred_fc1));
    VJ_TRY(number(p->model, file, "heads", k->heads, &heads));
    VJ_TRY(number(p->model, file, "pred_heads", k->pred_heads, &pred_heads));
    VJ_TRY(number(p->model, file, "lr", k->lr, &p->lr));
    VJ_TRY(number(p->model, file, "weight_decay", k->weight_decay, &p->weight_decay));
    VJ_TRY(number(p->model, file, "momentum", k->momentum, &p->momentum));
    VJ_CHECK(patch->shape[1] == 3 && patch->shape[3] == patch->shape[4], VJ_ERR_CONFIG, "%s: patches must be square, of 3 channels", file);
    VJ_CHECK(pred_fc1->shape[0] == 4 * embed->shape[0], VJ_ERR_CONFIG, "%s: the predictor's MLP must be four times its width", file);
    VJ_TRY(whole("heads", heads, 1024));
    VJ_TRY(whole("pred_heads", pred_heads, 1024));
    p->config = (vj_model_config){ .width = patch->shape[0], .depth = count_of(p->model, "encoder.blocks.", ".norm1.weight"), .heads = (int64_t)heads,
                                   .hidden = fc1->shape[0], .tubelet = patch->shape[2], .patch = patch->shape[3], .pred_width = embed->shape[0],
                                   .pred_depth = count_of(p->model, "predictor.predictor_blocks.", ".norm1.weight"), .pred_heads = (int64_t)pred_heads,
                                   .loss_exponent = 1, .shard_quantum = 8 };
    vj_format(p->config.preset, sizeof p->config.preset, "custom");
    p->mask_tokens = count_of(p->model, "predictor.mask_tokens.", "");
    VJ_CHECK(p->mask_tokens >= 1, VJ_ERR_CONFIG, "%s: holds no mask token", file);
    return vj_model_resolve(&p->config);
}

static vj_status read_ids(vj_parity *p, const char *file, const char *kind, int j, int64_t B, int32_t **ids, int64_t *n)
{
    char name[32];
    const vj_st_entry *e;
    vj_format(name, sizeof name, "%s_%d", kind, j);
    VJ_TRY(find(p->batch, file, name, 2, &e));
    VJ_CHECK((e->dtype == VJ_I32 || e->dtype == VJ_I64) && e->shape[0] == B && e->shape[1] >= 1, VJ_ERR_CONFIG, "%s: '%s' should be int32 (%lld, n)", file, name, (long long)B);
    *n = e->shape[1];
    VJ_TRY(vj_host_alloc(ids, (size_t)(B * *n) * sizeof **ids, name));
    for (int64_t i = 0; i < B * *n; i++) {
        if (e->dtype == VJ_I32) memcpy(*ids + i, (const char *)e->data + 4 * i, 4);
        else {
            int64_t v;
            memcpy(&v, (const char *)e->data + 8 * i, 8);
            VJ_CHECK(v >= 0 && v <= INT32_MAX, VJ_ERR_DATA, "%s: '%s' holds %lld, which is no token", file, name, (long long)v);
            (*ids)[i] = (int32_t)v;
        }
    }
    return VJ_OK;
}

static vj_status read_batch(vj_parity *p, const char *file)
{
    const vj_st_entry *clips;
    VJ_TRY(find(p->batch, file, "clips", 5, &clips));
    const int64_t *s = clips->shape;
    VJ_CHECK(s[1] == 3 && (clips->dtype == VJ_F32 || clips->dtype == VJ_F64) && s[0] >= 1, VJ_ERR_CONFIG, "%s: clips should be float (B, 3, F, H, W)", file);
    const int64_t pairs = count_of(p->batch, "ctx_", "");
    VJ_CHECK(pairs >= 1 && pairs <= VJ_MAX_MASKS, VJ_ERR_CONFIG, "%s: %lld masks (ctx_0, ctx_1, ...), 1 to %d are possible", file, (long long)pairs, VJ_MAX_MASKS);
    VJ_CHECK(vj_safetensors_count(p->batch) == 1 + 2 * pairs, VJ_ERR_CONFIG, "%s: holds %lld tensors; clips and %lld pairs ctx_j, tgt_j were expected", file,
             (long long)vj_safetensors_count(p->batch), (long long)pairs);
    VJ_TRY(vj_host_alloc(&p->clips, clips->bytes, "clips"));
    memcpy(p->clips, clips->data, clips->bytes);
    p->slot = (vj_slot){ .n_groups = 1 };
    vj_clip_group *g = &p->slot.groups[0];
    *g = (vj_clip_group){ .B = s[0], .F = s[2], .height = s[3], .width = s[4], .clips = p->clips, .dtype = clips->dtype, .n_pairs = (int)pairs };
    for (int j = 0; j < pairs; j++) {
        VJ_TRY(read_ids(p, file, "ctx", j, s[0], &p->ids[2 * j], &g->pairs[j].K));
        VJ_TRY(read_ids(p, file, "tgt", j, s[0], &p->ids[2 * j + 1], &g->pairs[j].P));
        g->pairs[j].ctx = p->ids[2 * j];
        g->pairs[j].tgt = p->ids[2 * j + 1];
        p->rows += s[0] * g->pairs[j].P;
        p->ctx_rows += s[0] * g->pairs[j].K;
    }
    return VJ_OK;
}

static const struct { vj_network network; const char *name; } networks[] = { { VJ_ENCODER, "encoder" }, { VJ_PREDICTOR, "predictor" }, { VJ_TARGET_ENCODER, "target_encoder" } };

// Every tensor of the model file must be a parameter, of its shape; every parameter must be there.
static vj_status check_model(const vj_parity *p, const char *file)
{
    int64_t params = 0;
    for (int n = 0; n < 3; n++) {
        const vj_layout *l = vj_vjepa_layout(p->vjepa, networks[n].network);
        params += l->n_params;
        for (int i = 0; i < l->n_params; i++) {
            char name[160];
            const vj_st_entry *e;
            vj_format(name, sizeof name, "%s.%s", networks[n].name, l->params[i].name);
            VJ_TRY(find(p->model, file, name, l->params[i].rank, &e));
            VJ_CHECK(memcmp(e->shape, l->params[i].shape, (size_t)e->rank * sizeof e->shape[0]) == 0, VJ_ERR_CONFIG, "%s: '%s' has another shape than the model's", file, name);
        }
    }
    for (int64_t k = 0; k < vj_safetensors_count(p->model) && params != vj_safetensors_count(p->model); k++) {
        const char *name = vj_safetensors_at(p->model, k)->name, *dot = strchr(name, '.');
        bool known = false;
        for (int n = 0; n < 3 && dot; n++) {
            known = known || (strncmp(name, networks[n].name, (size_t)(dot - name)) == 0 && strlen(networks[n].name) == (size_t)(dot - name) &&
                              vj_layout_find(vj_vjepa_layout(p->vjepa, networks[n].network), dot + 1) >= 0);
        }
        VJ_CHECK(known, VJ_ERR_CONFIG, "%s: '%s' is no tensor of this model", file, name);
    }
    return VJ_OK;
}

vj_status vj_parity_weights(vj_parity *p)
{
    for (int n = 0; n < 3; n++) {
        const vj_layout *l = vj_vjepa_layout(p->vjepa, networks[n].network);
        for (int i = 0; i < l->n_params; i++) {
            char name[160];
            double *v = NULL;
            vj_format(name, sizeof name, "%s.%s", networks[n].name, l->params[i].name);
            VJ_TRY(vj_host_alloc(&v, (size_t)l->params[i].count * sizeof *v, name));
            vj_status status = vj_safetensors_copy(p->model, name, v, VJ_F64, l->params[i].count);
            if (status == VJ_OK) status = vj_vjepa_set_param(p->vjepa, networks[n].network, VJ_BUF_PARAM, i, v);
            memset(v, 0, (size_t)l->params[i].count * sizeof *v);
            for (int b = VJ_BUF_EXP_AVG; b <= VJ_BUF_EXP_AVG_SQ && networks[n].network != VJ_TARGET_ENCODER && status == VJ_OK; b++) {
                status = vj_vjepa_set_param(p->vjepa, networks[n].network, (vj_buffer)b, i, v);
            }
            vj_host_free(v);
            VJ_TRY(status);
        }
    }
    return VJ_OK;
}

vj_status vj_parity_open(vj_parity *p, const char *model, const char *batch, const char *expect, const char *device, const vj_parity_keys *keys)
{
    *p = (vj_parity){ 0 };
    VJ_TRY(vj_safetensors_open(&p->model, model));
    VJ_TRY(vj_safetensors_open(&p->batch, batch));
    if (expect) VJ_TRY(vj_safetensors_open(&p->expect, expect));
    VJ_TRY(read_config(p, model, keys));
    VJ_TRY(read_batch(p, batch));
    if (!isnan(keys->threads)) VJ_TRY(whole("threads", keys->threads, 1024));
    p->threads = isnan(keys->threads) ? vj_cpu_count() : (int64_t)keys->threads;
    p->C = p->config.width;
    VJ_TRY(vj_device_open(&p->device, device, (int)p->threads));
    const vj_clip_group *g = &p->slot.groups[0];
    const vj_slot_bound bound = { .clips = g->B, .F = g->F, .height = g->height, .width = g->width, .n_pairs = g->n_pairs, .slots = 1,
                                  .ctx_rows = p->ctx_rows, .tgt_rows = p->rows, .rows = p->ctx_rows + p->rows };
    VJ_TRY(vj_vjepa_create(&p->vjepa, &p->config, p->mask_tokens, p->device, &bound, true));
    VJ_TRY(check_model(p, model));
    VJ_TRY(vj_host_alloc(&p->pred, (size_t)(p->rows * p->C) * sizeof *p->pred, "predictions"));
    VJ_TRY(vj_host_alloc(&p->target, (size_t)(p->rows * p->C) * sizeof *p->target, "targets"));
    return vj_parity_weights(p);
}

void vj_parity_close(vj_parity *p)
{
    vj_vjepa_destroy(&p->vjepa);
    vj_device_close(&p->device);
    vj_safetensors_close(&p->model);
    vj_safetensors_close(&p->batch);
    vj_safetensors_close(&p->expect);
    for (int i = 0; i < 2 * VJ_MAX_MASKS; i++) vj_host_free(p->ids[i]);
    vj_host_free(p->clips);
    vj_host_free(p->pred);
    vj_host_free(p->target);
}
