// Slots of random clips and masks, and snapshots of a model's state, for the tests of this folder.
#ifndef VJ_TESTS_MODEL_MADE_SLOTS_H
#define VJ_TESTS_MODEL_MADE_SLOTS_H

#include "runtime/base/rng.h"
#include "tests/model/golden_model.h"

enum { MADE_TAG = 0x7e57, MADE_MAX_IDS = 2 * VJ_MAX_GROUPS * VJ_MAX_MASKS };

typedef struct made_group { int fpc_index; int64_t B, F, height, width; int n_pairs; } made_group;

typedef struct made_slot {
    vj_slot slot;
    void *clips[VJ_MAX_GROUPS];
    int32_t *ids[MADE_MAX_IDS];
    int n_ids;
} made_slot;

static inline double made_uniform(uint64_t seed, uint64_t id, uint32_t draw) { return vj_rng_uniform(seed, id, MADE_TAG, draw, 0); }

// The first n of a random order of 0 .. N-1, one row per clip.
static inline int32_t *made_ids(made_slot *s, uint64_t seed, int64_t B, int64_t N, int64_t first, int64_t n)
{
    int32_t *out = malloc((size_t)(B * n) * sizeof *out), *all = malloc((size_t)N * sizeof *all);
    for (int64_t b = 0; b < B; b++) {
        for (int64_t i = 0; i < N; i++) all[i] = (int32_t)i;
        for (int64_t i = N - 1; i > 0; i--) {
            const int64_t j = (int64_t)vj_rng_below(seed, (uint64_t)(b * N + i), MADE_TAG, 1, 0, (uint64_t)i + 1);
            const int32_t held = all[i];
            all[i] = all[j];
            all[j] = held;
        }
        memcpy(out + b * n, all + first, (size_t)n * sizeof *out);
    }
    free(all);
    s->ids[s->n_ids++] = out;
    return out;
}

// Context and target tokens of a pair do not overlap; their numbers differ from pair to pair.
static inline made_slot make_slot(const vj_model_config *c, uint64_t seed, vj_dtype type, int n_groups, const made_group *groups)
{
    made_slot s = { .slot = { .n_groups = n_groups } };
    for (int i = 0; i < n_groups; i++) {
        const made_group *q = &groups[i];
        vj_clip_group *g = &s.slot.groups[i];
        const int64_t values = q->B * 3 * q->F * q->height * q->width, N = q->F / c->tubelet * (q->height / c->patch) * (q->width / c->patch);
        s.clips[i] = malloc((size_t)values * vj_dtype_size(type));
        for (int64_t k = 0; k < values; k++) {
            const double v = 3 * made_uniform(seed + (uint64_t)i, (uint64_t)k, 0) - 1.5;
            if (type == VJ_F64) ((double *)s.clips[i])[k] = v;
            else ((float *)s.clips[i])[k] = (float)v;
        }
        *g = (vj_clip_group){ .fpc_index = q->fpc_index, .B = q->B, .F = q->F, .height = q->height, .width = q->width,
                              .clips = s.clips[i], .dtype = type, .n_pairs = q->n_pairs };
        for (int p = 0; p < q->n_pairs; p++) {
            vj_mask_pair *pair = &g->pairs[p];
            const uint64_t order = seed * 100 + (uint64_t)(10 * i + p);
            pair->K = N / (2 + p) > 1 ? N / (2 + p) : 1;
            pair->P = N - pair->K - p > 1 ? N - pair->K - p : 1;
            pair->ctx = made_ids(&s, order, q->B, N, 0, pair->K);
            pair->tgt = made_ids(&s, order, q->B, N, pair->K, pair->P);
        }
    }
    return s;
}

static inline void unmake_slot(made_slot *s)
{
    for (int i = 0; i < VJ_MAX_GROUPS; i++) free(s->clips[i]);
    for (int i = 0; i < s->n_ids; i++) free(s->ids[i]);
}

static inline golden_model open_model(const char *device, int threads, const vj_model_config *config, const vj_slot_bound *bound)
{
    golden_model g = { 0 };
    OK(vj_device_open(&g.device, device, threads));
    OK(vj_vjepa_create(&g.m, config, 2, g.device, bound, true));
    golden_fill(g.m);
    return g;
}

static inline vj_step_result step_of(golden_model *g, const made_slot *slots, int n, const vj_step_options *o)
{
    vj_step_result r;
    OK(vj_vjepa_step_begin(g->m, n));
    for (int i = 0; i < n; i++) OK(vj_vjepa_slot(g->m, &slots[i].slot));
    OK(vj_vjepa_update(g->m, o, &r));
    return r;
}

// A step that computes loss and gradients and leaves the weights alone.
static inline vj_step_options no_change(void)
{
    return (vj_step_options){ .lr = 0, .weight_decay = 0, .momentum = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .adam_step = 1 };
}

// One buffer of networks [first, last], parameter by parameter, as float64.
static inline double *snapshot(vj_vjepa *m, vj_network first, vj_network last, vj_buffer buffer, int64_t *count)
{
    int64_t n = 0, at = 0;
    for (int k = first; k <= (int)last; k++) n += vj_layout_count(vj_vjepa_layout(m, (vj_network)k));
    double *out = malloc((size_t)n * sizeof *out);
    for (int k = first; k <= (int)last; k++) {
        const vj_layout *l = vj_vjepa_layout(m, (vj_network)k);
        for (int p = 0; p < l->n_params; at += l->params[p++].count) OK(vj_vjepa_get_param(m, (vj_network)k, buffer, p, out + at));
    }
    if (count) *count = n;
    return out;
}

// Equal bits of weights, both moments and the target encoder; of gradients too, if asked for.
static inline void same_buffers(const char *what, vj_vjepa *a, vj_vjepa *b, bool gradients)
{
    static const struct { vj_buffer buffer; vj_network last; const char *name; } parts[] = {
        { VJ_BUF_GRAD, VJ_PREDICTOR, "gradients" }, { VJ_BUF_PARAM, VJ_TARGET_ENCODER, "weights" },
        { VJ_BUF_EXP_AVG, VJ_PREDICTOR, "first moments" }, { VJ_BUF_EXP_AVG_SQ, VJ_PREDICTOR, "second moments" },
    };
    for (int i = gradients ? 0 : 1; i < 4; i++) {
        int64_t n = 0, m = 0;
        double *x = snapshot(a, VJ_ENCODER, parts[i].last, parts[i].buffer, &n), *y = snapshot(b, VJ_ENCODER, parts[i].last, parts[i].buffer, &m);
        assert_int_equal(n, m);
        for (int64_t k = 0; k < n; k++) {
            if (memcmp(x + k, y + k, sizeof *x) != 0) fail_msg("%s: %s differ at %lld: %.17g, %.17g", what, parts[i].name, (long long)k, x[k], y[k]);
        }
        free(x);
        free(y);
    }
}

static inline void same_state(const char *what, vj_vjepa *a, vj_vjepa *b) { same_buffers(what, a, b, true); }

#endif
