// The tiny deterministic model of spec/pretrain.md 13.1, shared by the tests of this folder.
#ifndef VJ_TESTS_MODEL_GOLDEN_MODEL_H
#define VJ_TESTS_MODEL_GOLDEN_MODEL_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/layouts.h"
#include "model/vjepa.h"
#include "tests/support/scratch.h"

static inline vj_model_config golden_config(void)
{
    vj_model_config c = { .width = 64,
                          .depth = 2,
                          .heads = 2,
                          .hidden = 256,
                          .patch = 8,
                          .tubelet = 2,
                          .pred_width = 48,
                          .pred_depth = 2,
                          .pred_heads = 2,
                          .loss_exponent = 1,
                          .shard_quantum = 8 };
    strcpy(c.preset, "custom");
    return c;
}

enum { GOLDEN_VALUES = 2 * 3 * 4 * 32 * 32 };
static const int32_t golden_ctx0[] = { 0, 1, 2, 5, 8, 16, 17, 21, 30, 3, 4, 6, 7, 9, 18, 20, 25, 31 };
static const int32_t golden_tgt0[] = { 3, 4, 10, 11, 12, 22, 23, 0, 1, 2, 10, 14, 15, 29 };
static const int32_t golden_ctx1[] = { 0, 7, 13, 26, 5, 6, 28, 31 };
static const int32_t golden_tgt1[] = { 1, 2, 3, 8, 9, 10, 11, 12, 20, 21, 0, 1, 2, 3, 4, 7, 8, 9, 10, 11 };

static inline vj_slot golden_slot(const double *clips)
{
    vj_slot s = { .n_groups = 1 };
    s.groups[0] =
        (vj_clip_group){ .B = 2, .F = 4, .height = 32, .width = 32, .clips = clips, .dtype = VJ_F64, .n_pairs = 2 };
    s.groups[0].pairs[0] = (vj_mask_pair){ .K = 9, .P = 7, .ctx = golden_ctx0, .tgt = golden_tgt0 };
    s.groups[0].pairs[1] = (vj_mask_pair){ .K = 4, .P = 10, .ctx = golden_ctx1, .tgt = golden_tgt1 };
    return s;
}

static inline double *golden_clips(void)
{
    double *x = malloc(GOLDEN_VALUES * sizeof *x);
    for (int i = 0; i < GOLDEN_VALUES; i++) x[i] = sin(0.013 * i) + 0.5 * cos(0.0071 * i);
    return x;
}

// Place of a predictor parameter in the published order: embed, tokens, blocks, norm, projection.
static inline int golden_index(const vj_vjepa *m, vj_network network, int param)
{
    if (network != VJ_PREDICTOR) return param;
    const vj_layout *l = vj_vjepa_layout(m, VJ_PREDICTOR);
    const int encoder = vj_vjepa_layout(m, VJ_ENCODER)->n_params,
              first_block = vj_layout_find(l, "predictor_blocks.0.norm1.weight");
    const int heads = first_block - 4, blocks = l->n_params - first_block;
    if (param < heads) return encoder + param;
    if (param >= first_block) return encoder + heads + (param - first_block);
    return encoder + heads + blocks + (param - heads);
}

static inline void golden_fill(vj_vjepa *m)
{
    for (int n = VJ_ENCODER; n <= VJ_TARGET_ENCODER; n++) {
        const vj_layout *l = vj_vjepa_layout(m, (vj_network)n);
        for (int p = 0; p < l->n_params; p++) {
            const vj_param *q = &l->params[p];
            const int k = golden_index(m, (vj_network)n, p);
            const bool norm = strstr(q->name, "norm") != NULL, bias = strstr(q->name, "bias") != NULL;
            double *v = malloc((size_t)q->count * sizeof *v);
            for (int64_t i = 0; i < q->count; i++) {
                const double u = sin((k + 1) * 0.7 + (double)i * 0.61803398875);
                v[i] = norm && !bias                    ? 1 + 0.1 * u
                       : norm                           ? 0.05 * u
                       : bias                           ? 0.02 * u
                       : strstr(q->name, "mask_tokens") ? 0.1 * u
                                                        : 0.05 * u;
            }
            OK(vj_vjepa_set_param(m, (vj_network)n, VJ_BUF_PARAM, p, v));
            free(v);
        }
    }
}

typedef struct golden_model {
    vj_device *device;
    vj_vjepa *m;
    double *clips;
    vj_slot slot;
} golden_model;

static inline golden_model golden_open(const char *device, int threads, const vj_model_config *config, int64_t slots)
{
    golden_model g = { 0 };
    const vj_slot_bound bound = { .clips = 2, .F = 4, .height = 32, .width = 32, .n_pairs = 2, .slots = slots };
    OK(vj_device_open(&g.device, device, threads));
    OK(vj_vjepa_create(&g.m, config, 2, g.device, &bound, true));
    golden_fill(g.m);
    g.clips = golden_clips();
    g.slot = golden_slot(g.clips);
    return g;
}

static inline void golden_close(golden_model *g)
{
    vj_vjepa_destroy(&g->m);
    vj_device_close(&g->device);
    free(g->clips);
}

static inline vj_step_options golden_options(int64_t step)
{
    return (vj_step_options){ .lr = 1e-3,
                              .weight_decay = 0.04,
                              .momentum = 0.99925,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .adam_step = step };
}

static inline vj_step_result golden_step(golden_model *g, int64_t step)
{
    vj_step_result r;
    const vj_step_options o = golden_options(step);
    OK(vj_vjepa_step_begin(g->m, 1));
    OK(vj_vjepa_slot(g->m, &g->slot));
    OK(vj_vjepa_update(g->m, &o, &r));
    return r;
}

#endif
