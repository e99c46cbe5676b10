// Presets, parameter tables and initial values: names, shapes, counts and heads as published.

#include <math.h>

#include "model/init.h"
#include "model/layouts.h"
#include "model/vjepa.h"
#include "tests/support/scratch.h"

#include <string.h>

static vj_model_config preset(const char *name)
{
    vj_model_config m = { 0 };
    vj_format(m.preset, sizeof m.preset, "%s", name);
    assert_ok(vj_model_resolve(&m));
    return m;
}

// Spec/pretrain.md 1.9 and 12.3. Heads tell apart models of equal size.
static void presets_are_the_published_models(void **state)
{
    (void)state;
    static const struct { const char *name; int64_t width, depth, heads, hidden, params; } want[] = {
        { "vit_tiny", 192, 12, 3, 768, 5633856 },
        { "vit_small", 384, 12, 6, 1536, 21884544 },
        { "vit_base", 768, 12, 12, 3072, 86236416 },
        { "vit_large", 1024, 24, 16, 4096, 303885312 },
        { "vit_huge", 1280, 32, 16, 5120, 631648000 },
        { "vit_giant", 1408, 40, 16, 6144, 1012173952 },
        { "vit_giant_xformers", 1408, 40, 22, 6144, 1012173952 },
        { "vit_gigantic", 1664, 48, 16, 6656, 1598483328 },
        { "vit_gigantic_xformers", 1664, 48, 26, 6656, 1598483328 },
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const vj_model_config m = preset(want[i].name);
        print_message("%s\n", want[i].name);
        assert_int_equal(m.width, want[i].width);
        assert_int_equal(m.depth, want[i].depth);
        assert_int_equal(m.heads, want[i].heads);
        assert_int_equal(m.hidden, want[i].hidden);
        assert_int_equal(m.patch, 16);
        assert_int_equal(m.tubelet, 2);
        assert_int_equal(m.pred_width, 384);
        assert_int_equal(m.pred_depth, 12);
        assert_int_equal(m.pred_heads, 12);
        assert_int_equal(vj_model_encoder_params(&m), want[i].params);
    }
    static const struct { const char *name; int64_t tokens, params; } predictors[] = {
        { "vit_large", 6, 22084480 }, { "vit_huge", 6, 22281344 }, { "vit_giant_xformers", 6, 22379776 },
        { "vit_large", 10, 22086016 }, { "vit_huge", 10, 22282880 }, { "vit_giant_xformers", 10, 22381312 },
    };
    for (size_t i = 0; i < sizeof predictors / sizeof predictors[0]; i++) {
        const vj_model_config m = preset(predictors[i].name);
        assert_int_equal(vj_model_predictor_params(&m, predictors[i].tokens), predictors[i].params);
    }
}

static void small_presets(void **state)
{
    (void)state;
    const vj_model_config t = preset("tiny"), q = preset("quickstart");
    assert_true(t.width == 96 && t.depth == 3 && t.heads == 3 && t.hidden == 384);
    assert_true(q.width == 128 && q.depth == 6 && q.heads == 4 && q.hidden == 512);
    assert_true(q.pred_width == 96 && q.pred_depth == 3 && q.pred_heads == 3);
    assert_int_equal(vj_model_quantum(&q), 8);
    const vj_model_config l = preset("vit_large");
    assert_int_equal(vj_model_quantum(&l), 1024);
}

static void every_preset_name_resolves(void **state)
{
    (void)state;
    int n = 0;
    for (const char *const *name = vj_model_preset_names(); *name; name++, n++) {
        if (strcmp(*name, "custom") != 0) (void)preset(*name);
    }
    assert_true(n >= 12);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    vj_model_config m = { .preset = "vit_lage" };
    assert_fails(vj_model_resolve(&m), VJ_ERR_CONFIG, "did you mean vit_large?");
    m = (vj_model_config){ .preset = "custom", .width = 64 };
    assert_fails(vj_model_resolve(&m), VJ_ERR_CONFIG, "model.depth");
    m = (vj_model_config){ .preset = "vit_large", .heads = 15 };
    assert_fails(vj_model_resolve(&m), VJ_ERR_CONFIG, "model.width 1024 is not a multiple of model.heads 15");
    m = (vj_model_config){ .preset = "vit_large", .pred_heads = 7 };
    assert_fails(vj_model_resolve(&m), VJ_ERR_CONFIG, "model.pred_width 384 is not a multiple of model.pred_heads 7");
    m = (vj_model_config){ .preset = "vit_large", .heads = 4 };
    assert_fails(vj_model_resolve(&m), VJ_ERR_CONFIG, "128 channels");
    m = (vj_model_config){ .preset = "vit_large", .depth = 3 };   // a member that is given wins
    assert_ok(vj_model_resolve(&m));
    assert_int_equal(m.depth, 3);
}

static const vj_param *named(const vj_layout *l, const char *name)
{
    const int p = vj_layout_find(l, name);
    if (p < 0) fail_msg("no parameter '%s'", name);
    return &l->params[p];
}

static void tables_hold_what_the_formula_counts(void **state)
{
    (void)state;
    static const char *const names[] = { "quickstart", "vit_large", "vit_huge", "vit_giant_xformers" };
    for (int i = 0; i < 4; i++) {
        const vj_model_config m = preset(names[i]);
        vj_layout *e = NULL, *p = NULL;
        assert_ok(vj_encoder_layout(&e, &m, "encoder", vj_model_quantum(&m)));
        assert_ok(vj_predictor_layout(&p, &m, 6, vj_model_quantum(&m)));
        assert_int_equal(vj_layout_count(e), vj_model_encoder_params(&m));
        assert_int_equal(vj_layout_count(p), vj_model_predictor_params(&m, 6));
        assert_int_equal(e->n_units, m.depth + 2);
        assert_int_equal(p->n_units, 1 + (m.pred_depth + 3) / 4);
        for (int u = 0; u < e->n_units; u++) assert_int_equal(e->units[u].length % (64 * e->quantum), 0);
        vj_layout_destroy(&e);
        vj_layout_destroy(&p);
    }
}

static void names_shapes_and_decay(void **state)
{
    (void)state;
    const vj_model_config m = preset("vit_large");
    vj_layout *e = NULL, *p = NULL;
    assert_ok(vj_encoder_layout(&e, &m, "encoder", 1024));
    assert_ok(vj_predictor_layout(&p, &m, 6, 1024));
    const vj_param *q = named(e, "patch_embed.proj.weight");
    assert_true(q->rank == 5 && q->shape[0] == 1024 && q->shape[1] == 3 && q->shape[2] == 2 && q->shape[3] == 16 &&
                q->shape[4] == 16);
    assert_true(q->decay);
    q = named(e, "blocks.23.attn.qkv.weight");
    assert_true(q->rank == 2 && q->shape[0] == 3072 && q->shape[1] == 1024 && q->decay);
    assert_string_equal(e->units[q->unit].name, "blocks.23");
    q = named(e, "blocks.0.mlp.fc1.bias");
    assert_true(q->rank == 1 && q->shape[0] == 4096 && !q->decay);
    assert_false(named(e, "norm.weight")->decay);
    q = named(p, "mask_tokens.5");
    assert_true(q->rank == 3 && q->shape[0] == 1 && q->shape[1] == 1 && q->shape[2] == 384);
    assert_true(q->decay);   // three sizes and no "bias" in the name
    assert_int_equal(q->unit, 0);
    q = named(p, "predictor_blocks.7.mlp.fc2.weight");
    assert_true(q->shape[0] == 384 && q->shape[1] == 1536);
    assert_string_equal(p->units[q->unit].name, "predictor_blocks.4-7");
    assert_int_equal(named(p, "predictor_proj.weight")->unit, 0);
    vj_layout_destroy(&e);
    vj_layout_destroy(&p);
}

static void moments(const double *v, int64_t n, double *mean, double *deviation)
{
    *mean = *deviation = 0;
    for (int64_t i = 0; i < n; i++) *mean += v[i] / (double)n;
    for (int64_t i = 0; i < n; i++) *deviation += (v[i] - *mean) * (v[i] - *mean) / (double)n;
    *deviation = sqrt(*deviation);
}

// Spec/pretrain.md 1.8: sigma 0.02, output projections of block n (from 1) divided by sqrt(2n), zeros and ones
// elsewhere.
static void initial_values(void **state)
{
    (void)state;
    vj_model_config m = preset("vit_tiny");
    vj_layout *e = NULL, *p = NULL;
    assert_ok(vj_encoder_layout(&e, &m, "encoder", 8));
    assert_ok(vj_predictor_layout(&p, &m, 2, 8));
    static const struct { const char *name; bool predictor; double deviation; } want[] = {
        { "patch_embed.proj.weight", false, 0.02 },      { "blocks.0.attn.qkv.weight", false, 0.02 },
        { "blocks.0.attn.proj.weight", false, 0.01414 }, { "blocks.7.mlp.fc2.weight", false, 0.005 },
        { "blocks.7.mlp.fc1.weight", false, 0.02 },      { "predictor_embed.weight", true, 0.02 },
        { "predictor_blocks.1.attn.proj.weight", true, 0.01 }, { "predictor_proj.weight", true, 0.02 },
    };
    double *v = malloc(4096 * 1024 * sizeof *v), *again = malloc(4096 * 1024 * sizeof *v);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const vj_layout *l = want[i].predictor ? p : e;
        const int at = vj_layout_find(l, want[i].name);
        assert_true(at >= 0);
        const int64_t n = l->params[at].count;
        double mean, deviation;
        assert_ok(vj_init_param(l, at, 7, VJ_F64, 1, v));
        moments(v, n, &mean, &deviation);
        if (fabs(deviation / want[i].deviation - 1) > 0.02 || fabs(mean) > 5 * want[i].deviation / sqrt((double)n)) {
            fail_msg("%s: mean %g, deviation %g, expected %g", want[i].name, mean, deviation, want[i].deviation);
        }
        assert_ok(vj_init_param(l, at, 7, VJ_F32, 1, again));
        for (int64_t k = 0; k < n; k++) assert_true(again[k] == (double)(float)v[k]);
        assert_ok(vj_init_param(l, at, 8, VJ_F64, 1, again));
        int64_t equal = 0;
        for (int64_t k = 0; k < n; k++) equal += again[k] == v[k];
        assert_int_equal(equal, 0);
        assert_ok(vj_init_param(l, at, 7, VJ_F64, 3, again));
        assert_memory_equal(v, again, (size_t)n * sizeof *v);
    }
    assert_ok(vj_init_param(e, vj_layout_find(e, "blocks.0.attn.qkv.weight"), 7, VJ_F64, 1, v));
    assert_ok(vj_init_param(e, vj_layout_find(e, "blocks.1.attn.qkv.weight"), 7, VJ_F64, 1, again));
    assert_true(memcmp(v, again, 1000 * sizeof *v) != 0);
    assert_ok(vj_init_param(e, vj_layout_find(e, "blocks.0.norm1.weight"), 7, VJ_F64, 1, v));
    assert_true(v[0] == 1 && v[191] == 1);
    assert_ok(vj_init_param(p, vj_layout_find(p, "mask_tokens.1"), 7, VJ_F64, 1, v));
    assert_true(v[0] == 0 && v[383] == 0);
    free(v);
    free(again);
    vj_layout_destroy(&e);
    vj_layout_destroy(&p);
}

// The paper's slot of spec/pretrain.md 12.2, 16 x 256 x 256: mean sizes of the two masks from 3.4.
static void flop_of_a_step(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double tera;
    } want[] = { { "vit_large", 3.57 }, { "vit_huge", 6.50 }, { "vit_giant_xformers", 9.82 } };
    for (int i = 0; i < 3; i++) {
        const vj_model_config m = preset(want[i].name);
        vj_slot s = { .n_groups = 1 };
        s.groups[0] = (vj_clip_group){ .B = 3, .F = 16, .height = 256, .width = 256, .n_pairs = 2 };
        s.groups[0].pairs[0] = (vj_mask_pair){ .K = 502, .P = 953 };
        s.groups[0].pairs[1] = (vj_mask_pair){ .K = 134, .P = 1441 };
        const double tera = vj_vjepa_slot_flop(&m, &s) / 3e12;
        print_message("%s: %.3f TFLOP a clip, the table says %.2f\n", want[i].name, tera, want[i].tera);
        assert_true(fabs(tera / want[i].tera - 1) < 0.03);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_are_the_published_models),
        cmocka_unit_test(small_presets),
        cmocka_unit_test(every_preset_name_resolves),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(tables_hold_what_the_formula_counts),
        cmocka_unit_test(names_shapes_and_decay),
        cmocka_unit_test(initial_values),
        cmocka_unit_test(flop_of_a_step),
    };
    return cmocka_run_group_tests_name("model/config", tests, NULL, NULL);
}
