// Exact sizes of the published models, and what tells apart two models of one size (spec/pretrain.md 1.9, 2); schedules
// against the numbers of spec/pretrain.md 5 and 6.3.

#include "model/schedules.h"
#include "tests/model/golden_model.h"

static vj_model_config preset(const char *name)
{
    vj_model_config c = { 0 };
    strcpy(c.preset, name);
    OK(vj_model_resolve(&c));
    return c;
}

static int64_t counted(vj_layout *l)
{
    const int64_t n = vj_layout_count(l);
    vj_layout_destroy(&l);
    return n;
}

static void encoders_have_the_published_size(void **state)
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
        const vj_model_config c = preset(want[i].name);
        print_message("%s\n", want[i].name);
        assert_int_equal(c.width, want[i].width);
        assert_int_equal(c.depth, want[i].depth);
        assert_int_equal(c.heads, want[i].heads);
        assert_int_equal(c.hidden, want[i].hidden);
        assert_int_equal(c.patch, 16);
        assert_int_equal(c.tubelet, 2);
        assert_int_equal(vj_model_encoder_params(&c), want[i].params);
        vj_layout *l = NULL;
        OK(vj_encoder_layout(&l, &c, "encoder", vj_model_quantum(&c)));
        assert_int_equal(counted(l), want[i].params);   // the table itself, not only the formula
    }
}

static void predictors_have_the_published_size(void **state)
{
    (void)state;
    static const struct { const char *name; int64_t tokens, params; } want[] = {
        { "vit_large", 6, 22084480 },  { "vit_huge", 6, 22281344 },  { "vit_giant_xformers", 6, 22379776 },
        { "vit_large", 10, 22086016 }, { "vit_huge", 10, 22282880 }, { "vit_giant_xformers", 10, 22381312 },
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const vj_model_config c = preset(want[i].name);
        assert_int_equal(c.pred_width, 384);
        assert_int_equal(c.pred_depth, 12);
        assert_int_equal(c.pred_heads, 12);
        assert_int_equal(vj_model_predictor_params(&c, want[i].tokens), want[i].params);
        vj_layout *l = NULL;
        OK(vj_predictor_layout(&l, &c, want[i].tokens, vj_model_quantum(&c)));
        assert_int_equal(counted(l), want[i].params);
    }
}

// Two models with one parameter count: only the heads tell them apart, and with them the rotary embedding.
static void giants_differ_in_heads(void **state)
{
    (void)state;
    const vj_model_config a = preset("vit_giant"), b = preset("vit_giant_xformers");
    assert_int_equal(a.width / a.heads, 88);
    assert_int_equal(b.width / b.heads, 64);
    const vj_model_config c = preset("vit_gigantic"), d = preset("vit_gigantic_xformers");
    assert_int_equal(c.width / c.heads, 104);
    assert_int_equal(d.width / d.heads, 64);
}

// Everything but vectors and biases decays: mask tokens do, though they are no matrices.
static void weight_decay_groups(void **state)
{
    (void)state;
    const vj_model_config c = preset("vit_tiny");
    vj_layout *e = NULL, *p = NULL;
    OK(vj_encoder_layout(&e, &c, "encoder", 8));
    OK(vj_predictor_layout(&p, &c, 6, 8));
    static const struct { bool predictor, decays; const char *name; int rank; } want[] = {
        { false, true, "patch_embed.proj.weight", 5 }, { false, false, "patch_embed.proj.bias", 1 },
        { false, true, "blocks.11.attn.qkv.weight", 2 }, { false, false, "blocks.11.attn.qkv.bias", 1 },
        { false, false, "blocks.0.norm1.weight", 1 }, { false, false, "norm.weight", 1 },
        { true, true, "mask_tokens.5", 3 }, { true, false, "predictor_norm.weight", 1 },
        { true, true, "predictor_blocks.11.mlp.fc2.weight", 2 }, { true, false, "predictor_proj.bias", 1 },
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const vj_layout *l = want[i].predictor ? p : e;
        const int at = vj_layout_find(l, want[i].name);
        if (at < 0) fail_msg("no parameter %s", want[i].name);
        if (l->params[at].decay != want[i].decays || l->params[at].rank != want[i].rank) fail_msg("%s", want[i].name);
    }
    int64_t decayed = 0;
    for (int i = 0; i < e->n_params; i++) decayed += e->params[i].decay ? 1 : 0;
    assert_int_equal(decayed, 1 + 4 * 12);
    vj_layout_destroy(&e);
    vj_layout_destroy(&p);
}

// ---- schedules ------------------------------------------------------------------------------------------------------
// `unit`: one in the last digit that the specification prints.
static void is(double got, double want, double unit)
{
    if (fabs(got - want) <= 0.5001 * unit) return;
    print_error("%.12g, expected %.12g\n", got, want);
    fail();
}

static void warmup_then_constant(void **state)
{
    (void)state;
    static const struct { int64_t s; double lr, unit; } want[] = {
        { 1, 1.000354167e-4, 1e-13 }, { 6000, 3.125e-4, 1e-15 }, { 11999, 5.249645833e-4, 1e-13 },
        { 12000, 5.25e-4, 1e-15 }, { 12001, 5.25e-4, 1e-15 }, { 240000, 5.25e-4, 1e-15 },
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        is(vj_warmup_cosine(want[i].s, 12000, 240000, 1e-4, 5.25e-4, 5.25e-4), want[i].lr, want[i].unit);
    }
}

static void cooldown_is_a_line(void **state)
{
    (void)state;
    is(vj_linear_decay(1, 12000, 5.25e-4, 1e-6), 5.249563333e-4, 1e-13);
    is(vj_linear_decay(6000, 12000, 5.25e-4, 1e-6), 2.63e-4, 1e-15);
    is(vj_linear_decay(12000, 12000, 5.25e-4, 1e-6), 1e-6, 1e-18);
    // The published files stretch the schedule by 1.25 and so end early.
    is(vj_linear_decay(1, 15000, 5.25e-4, 1e-6), 5.249650667e-4, 1e-13);
    is(vj_linear_decay(12000, 15000, 5.25e-4, 1e-6), 1.058e-4, 1e-15);
}

static void abbreviated_recipe(void **state)
{
    (void)state;
    is(vj_warmup_cosine(45000, 12000, 112500, 2e-4, 6.25e-4, 1e-6), 4.732e-4, 1e-7);
    is(vj_warmup_cosine(90000, 12000, 112500, 2e-4, 6.25e-4, 1e-6), 7.504e-5, 1e-8);
    is(vj_warmup_cosine(45000, 12000, 90000, 2e-4, 6.25e-4, 1e-6), 3.877e-4, 1e-7);
    is(vj_warmup_cosine(90000, 12000, 90000, 2e-4, 6.25e-4, 1e-6), 1e-6, 1e-15);
    is(vj_cosine_wd(90000, 112500, 0.04, 0.4), 0.3656, 1e-4);
    is(vj_cosine_wd(90000, 90000, 0.04, 0.4), 0.4, 1e-12);
    is(vj_linear_ema(90000, 112500, 0.999, 1), 0.9998, 1e-12);
    is(vj_linear_ema(90000, 90000, 0.999, 1), 1, 1e-12);
    is(vj_linear_ema(0, 90000, 0.999, 1), 0.999, 1e-12);
}

static void schedules_do_not_pass_their_ends(void **state)
{
    (void)state;
    // Beyond the end the cosine would rise again: lr stays at or above final, decay on its side of final.
    for (int64_t s = 0; s <= 400; s++) {
        assert_true(vj_warmup_cosine(s, 10, 100, 1e-4, 1e-3, 1e-5) >= 1e-5);
        assert_true(vj_cosine_wd(s, 100, 0.04, 0.4) <= 0.4);
        assert_true(vj_cosine_wd(s, 100, 0.4, 0.04) >= 0.04);
        assert_true(vj_cosine_wd(s, 100, 0.04, 0.04) == 0.04);
    }
    assert_true(isfinite(vj_warmup_cosine(0, 0, 0, 1e-4, 1e-3, 1e-5)));   // no warm-up, no steps: no division by zero
    assert_true(isfinite(vj_linear_decay(0, 0, 1e-3, 1e-5)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoders_have_the_published_size),
        cmocka_unit_test(predictors_have_the_published_size),
        cmocka_unit_test(giants_differ_in_heads),
        cmocka_unit_test(weight_decay_groups),
        cmocka_unit_test(warmup_then_constant),
        cmocka_unit_test(cooldown_is_a_line),
        cmocka_unit_test(abbreviated_recipe),
        cmocka_unit_test(schedules_do_not_pass_their_ends),
    };
    return cmocka_run_group_tests_name("model/presets", tests, NULL, NULL);
}
