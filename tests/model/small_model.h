// A model small enough for finite differences and yet with everything in it: two groups of clips of different length
// (so two mask tokens), not square, two masks, weights without zeros, a target encoder that is not the encoder.
#ifndef VJ_TESTS_MODEL_SMALL_MODEL_H
#define VJ_TESTS_MODEL_SMALL_MODEL_H

#include "tests/model/golden_model.h"

enum { SMALL_WIDTH = 24, SMALL_TOKENS = 4, SMALL_ROWS = 2 * (5 + 3) + 1 * (2 + 4) };

static inline vj_model_config small_config(void)
{
    vj_model_config c = { .width = SMALL_WIDTH,
                          .depth = 2,
                          .heads = 2,
                          .hidden = 40,
                          .patch = 4,
                          .tubelet = 2,
                          .pred_width = 18,
                          .pred_depth = 5,
                          .pred_heads = 1,
                          .loss_exponent = 1,
                          .shard_quantum = 8 };
    strcpy(c.preset, "custom");
    return c;
}

// A value in (-1, 1) that depends on `n` alone.
static inline double noise(uint64_t n)
{
    n = (n + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
    n = (n ^ (n >> 27)) * 0x94d049bb133111eb;
    return (double)((n ^ (n >> 31)) >> 11) * 0x1p-52 - 1;
}

typedef struct small_model {
    vj_device *device;
    vj_vjepa *m;
    vj_slot slot;
    double clips[2 * 3 * 4 * 8 * 12 + 3 * 2 * 8 * 12];
} small_model;

// Group 0: two clips of 4 frames, 8 x 12 pixels, 12 tokens; group 1: one clip of 2 frames, 6 tokens.
static inline void small_slot(small_model *s, uint64_t seed)
{
    static const int32_t ctx[2][2][8] = { { { 0, 3, 7, 11, 1, 2, 8, 9 }, { 5, 10, 6, 4 } }, { { 0, 4, 5 }, { 2, 3 } } };
    static const int32_t tgt[2][2][10] = { { { 1, 2, 4, 5, 10, 0, 3, 5, 6, 11 }, { 0, 8, 11, 1, 7, 9 } },
                                           { { 1, 3 }, { 0, 1, 4, 5 } } };
    for (size_t i = 0; i < sizeof s->clips / sizeof s->clips[0]; i++) s->clips[i] = noise(seed * 1000003 + i);
    s->slot = (vj_slot){ .n_groups = 2 };
    vj_clip_group *g = s->slot.groups;
    g[0] = (vj_clip_group){
        .fpc_index = 0, .B = 2, .F = 4, .height = 8, .width = 12, .clips = s->clips, .dtype = VJ_F64, .n_pairs = 2
    };
    g[0].pairs[0] = (vj_mask_pair){ .K = 4, .P = 5, .ctx = ctx[0][0], .tgt = tgt[0][0] };
    g[0].pairs[1] = (vj_mask_pair){ .K = 2, .P = 3, .ctx = ctx[0][1], .tgt = tgt[0][1] };
    g[1] = (vj_clip_group){ .fpc_index = 2,
                            .B = 1,
                            .F = 2,
                            .height = 8,
                            .width = 12,
                            .clips = s->clips + 2 * 3 * 4 * 8 * 12,
                            .dtype = VJ_F64,
                            .n_pairs = 2 };
    g[1].pairs[0] = (vj_mask_pair){ .K = 3, .P = 2, .ctx = ctx[1][0], .tgt = tgt[1][0] };
    g[1].pairs[1] = (vj_mask_pair){ .K = 2, .P = 4, .ctx = ctx[1][1], .tgt = tgt[1][1] };
}

// Weights near the official ones in size, but nothing zero or one; the target encoder differs from the encoder.
static inline void small_fill(vj_vjepa *m)
{
    for (int n = VJ_ENCODER; n <= VJ_TARGET_ENCODER; n++) {
        const vj_layout *l = vj_vjepa_layout(m, (vj_network)n);
        for (int p = 0; p < l->n_params; p++) {
            const bool gain = strstr(l->params[p].name, "norm") && strstr(l->params[p].name, "weight");
            const int same = n == VJ_TARGET_ENCODER ? VJ_ENCODER : n;
            double *v = malloc((size_t)l->params[p].count * sizeof *v);
            for (int64_t i = 0; i < l->params[p].count; i++) {
                v[i] = (gain ? 1 : 0) + 0.3 * noise((uint64_t)(same * 1000 + p) * 1000000 + (uint64_t)i);
                if (n == VJ_TARGET_ENCODER) v[i] += 0.05 * noise(7777777 + (uint64_t)p * 100000 + (uint64_t)i);
            }
            OK(vj_vjepa_set_param(m, (vj_network)n, VJ_BUF_PARAM, p, v));
            free(v);
        }
    }
}

static inline vj_slot_bound small_bound(int64_t slots)
{
    return (vj_slot_bound){ .clips = 3, .F = 4, .height = 8, .width = 12, .n_pairs = 2, .slots = slots };
}

static inline void small_open(small_model *s, const char *device, int threads, const vj_model_config *config,
                              int64_t slots)
{
    const vj_slot_bound bound = small_bound(slots);
    *s = (small_model){ 0 };
    OK(vj_device_open(&s->device, device, threads));
    OK(vj_vjepa_create(&s->m, config, SMALL_TOKENS, s->device, &bound, true));
    small_fill(s->m);
    small_slot(s, 1);
}

static inline void small_close(small_model *s)
{
    vj_vjepa_destroy(&s->m);
    assert_int_equal(vj_device_bytes(s->device), 0);
    vj_device_close(&s->device);
}

// All values of one buffer of one network, parameter after parameter; free it.
static inline double *all_of(vj_vjepa *m, vj_network network, vj_buffer buffer, int64_t *count)
{
    const vj_layout *l = vj_vjepa_layout(m, network);
    *count = vj_layout_count(l);
    double *v = malloc((size_t)*count * sizeof *v), *at = v;
    for (int p = 0; p < l->n_params; p++) {
        OK(vj_vjepa_get_param(m, network, buffer, p, at));
        at += l->params[p].count;
    }
    return v;
}

// Weights of all networks, moments and gradients of two models, bit for bit.
static inline void assert_same_state(vj_vjepa *a, vj_vjepa *b)
{
    for (int n = VJ_ENCODER; n <= VJ_TARGET_ENCODER; n++) {
        for (int k = VJ_BUF_PARAM; k <= (n == VJ_TARGET_ENCODER ? VJ_BUF_PARAM : VJ_BUF_GRAD); k++) {
            int64_t na, nb;
            double *x = all_of(a, (vj_network)n, (vj_buffer)k, &na), *y = all_of(b, (vj_network)n, (vj_buffer)k, &nb);
            assert_int_equal(na, nb);
            for (int64_t i = 0; i < na; i++) {
                if (memcmp(&x[i], &y[i], sizeof x[i]) != 0)
                    fail_msg("network %d, buffer %d, value %d: %.17g and %.17g", n, k, (int)i, x[i], y[i]);
            }
            free(x);
            free(y);
        }
    }
}

static inline vj_step_result small_step(small_model *s, int64_t step)
{
    vj_step_result r;
    const vj_step_options o = golden_options(step);
    OK(vj_vjepa_step_begin(s->m, 1));
    OK(vj_vjepa_slot(s->m, &s->slot));
    OK(vj_vjepa_update(s->m, &o, &r));
    return r;
}

#endif
