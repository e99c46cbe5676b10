// The golden numbers of spec/pretrain.md 13.1: forward, loss, gradients, three training steps; on ref to 1e-10, on cpu
// and far to the float32 tolerances.

#include "tests/model/golden_model.h"

static double tolerance(const golden_model *g, double f64, double f32)
{
    return vj_device_real(g->device) == VJ_F64 ? f64 : f32;
}

static void near(const char *what, double got, double want, double relative, double floor)
{
    if (fabs(got - want) <= relative * fabs(want) + floor) return;
    print_error("%s: %.15g, expected %.15g (off by %.3g)\n", what, got, want, got - want);
    fail();
}

typedef struct row { const char *name; double l2, first[3], last; } row;

static double *param(golden_model *g, vj_network n, vj_buffer b, const char *name, int64_t *count)
{
    const vj_layout *l = vj_vjepa_layout(g->m, n);
    const int p = vj_layout_find(l, name);
    assert_true(p >= 0);
    double *v = malloc((size_t)l->params[p].count * sizeof *v);
    OK(vj_vjepa_get_param(g->m, n, b, p, v));
    *count = l->params[p].count;
    return v;
}

static double l2(const double *v, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += v[i] * v[i];
    return sqrt(s);
}

static double sum(const double *v, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += v[i];
    return s;
}

static void check_predictions(golden_model *g)
{
    double pred[34 * 64], target[34 * 64];
    int64_t rows = 0;
    OK(vj_vjepa_predict(g->m, &g->slot, pred, target, 34, &rows));
    assert_int_equal(rows, 34);
    const double t = tolerance(g, 1e-10, 1e-4), f = tolerance(g, 1e-9, 1e-4);
    static const struct { const char *name; int64_t first, n; double sum, l2, v[3], last; bool pred;
    } rowsets[] = {
        { "pred 0",
          0,
          14,
          7.40660727875,
          27.1037304766,
          { .7761691541, .827530317, -1.110555331 },
          -1.077190138,
          true },
        { "target 0", 0, 14, 0, 29.9331116109, { -.7191750838, -.4833185927, .6532123647 }, 1.072360857, false },
        { "pred 1",
          14,
          20,
          10.6237504056,
          32.4889819518,
          { .7774482097, .8299115558, -1.112684662 },
          -1.080599762,
          true },
        { "target 1", 14, 20, 0, 35.7769113867, { -.465021142, -.6606882404, .3223768654 }, -.8780926237, false },
    };
    for (int i = 0; i < 4; i++) {
        const double *v = (rowsets[i].pred ? pred : target) + rowsets[i].first * 64;
        const int64_t n = rowsets[i].n * 64;
        near(rowsets[i].name, sum(v, n), rowsets[i].sum, t, f * 10);
        near(rowsets[i].name, l2(v, n), rowsets[i].l2, t, 0);
        for (int k = 0; k < 3; k++) near(rowsets[i].name, v[k], rowsets[i].v[k], tolerance(g, 1e-9, 1e-4), f);
        near(rowsets[i].name, v[n - 1], rowsets[i].last, tolerance(g, 1e-9, 1e-4), f);
    }
}

static const struct { vj_network network; const char *name; double l2, first, last; } gradients[] = {
    { VJ_ENCODER, "patch_embed.proj.weight", .0294922930946, 5.264873957e-5, 1.01208739e-4 },
    { VJ_ENCODER, "patch_embed.proj.bias", .00629449008612, -7.825282287e-4, -9.510106826e-4 },
    { VJ_ENCODER, "blocks.0.norm1.weight", 1.76939923622e-6, 0, 0 },
    { VJ_ENCODER, "blocks.0.attn.qkv.weight", 2.90223438104e-4, 0, -2.256860544e-6 },
    { VJ_ENCODER, "blocks.0.attn.qkv.bias", 1.58355530804e-4, 0, -2.210235137e-5 },
    { VJ_ENCODER, "blocks.1.attn.proj.weight", .00376951287021, -6.740578619e-5, 1.116066746e-4 },
    { VJ_ENCODER, "blocks.1.mlp.fc1.weight", .00350704670677, 1.804414043e-5, -5.634599581e-6 },
    { VJ_ENCODER, "blocks.1.mlp.fc2.bias", .00649993947835, -8.41128902e-4, -9.506391756e-4 },
    { VJ_ENCODER, "norm.weight", 7.8696202835e-4, 0, 0 },
    { VJ_PREDICTOR, "predictor_embed.weight", .160154249096, -2.599123524e-4, -1.741459531e-3 },
    { VJ_PREDICTOR, "mask_tokens.0", .396478690178, .009032513842, .02249151521 },
    { VJ_PREDICTOR, "predictor_blocks.0.attn.qkv.weight", .496597021153, -5.857009569e-5, -.01576688254 },
    { VJ_PREDICTOR, "predictor_blocks.1.mlp.fc2.weight", 4.11248380184, -.00241395415, 4.9314474e-4 },
    { VJ_PREDICTOR, "predictor_norm.bias", .0933057593047, 0, 0 },
    { VJ_PREDICTOR, "predictor_proj.weight", .645380574366, .002975162063, -.0040820816 },
    { VJ_PREDICTOR, "predictor_proj.bias", .0908639119686, .004575892857, -.009933035714 },
};

static void check_gradients(golden_model *g)
{
    const double t = tolerance(g, 1e-10, 1e-3), floor = tolerance(g, 1e-14, 1e-7);
    for (size_t i = 0; i < sizeof gradients / sizeof gradients[0]; i++) {
        int64_t n = 0;
        double *v = param(g, gradients[i].network, VJ_BUF_GRAD, gradients[i].name, &n);
        near(gradients[i].name, l2(v, n), gradients[i].l2, t, floor);
        // Elements are printed with ten digits, and in float32 a sign flip of the loss may move them: norms are the
        // check there.
        if (vj_device_real(g->device) == VJ_F64) {
            if (gradients[i].first != 0) near(gradients[i].name, v[0], gradients[i].first, 1e-8, 1e-14);
            if (gradients[i].last != 0) near(gradients[i].name, v[n - 1], gradients[i].last, 1e-8, 1e-14);
        }
        free(v);
    }
    int64_t n = 0;
    double *v = param(g, VJ_PREDICTOR, VJ_BUF_GRAD, "mask_tokens.1", &n);
    assert_true(l2(v, n) == 0);
    free(v);
}

static void golden(const char *device)
{
    const vj_model_config c = golden_config();
    golden_model g = golden_open(device, 2, &c, 1);
    check_predictions(&g);
    const double t = tolerance(&g, 1e-10, 1e-4);
    vj_step_result r = golden_step(&g, 1);
    near("loss", r.loss, 1.10196058650841, t, 0);
    near("gradient norm", r.grad_norm, 7.03241004353, tolerance(&g, 1e-10, 1e-3), 0);
    check_gradients(&g);
    static const double after[3] = { 0.852162474578985, 0.806284305318414, 0.790032437017465 };
    for (int s = 0; s < 3; s++) {
        // The loss of the next step is the loss after this one's update; the last update is the third.
        if (s < 2) r = golden_step(&g, s + 2);
        else {
            OK(vj_vjepa_step_begin(g.m, 1));
            OK(vj_vjepa_slot(g.m, &g.slot));
            const vj_step_options o = {
                .lr = 0, .weight_decay = 0, .momentum = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .adam_step = 4
            };
            OK(vj_vjepa_update(g.m, &o, &r));
        }
        near("loss after an update", r.loss, after[s], tolerance(&g, 1e-10, s == 0 ? 1e-4 : 1e-3), 0);
    }
    int64_t n = 0;
    double *v = param(&g, VJ_ENCODER, VJ_BUF_PARAM, "patch_embed.proj.weight", &n);
    near("sum of the patch weights", sum(v, n), .0868245477326, tolerance(&g, 1e-9, 2e-2), 0);
    free(v);
    v = param(&g, VJ_TARGET_ENCODER, VJ_BUF_PARAM, "patch_embed.proj.weight", &n);
    near("sum of the target's patch weights", sum(v, n), .151448050436, tolerance(&g, 1e-9, 1e-3), 0);
    free(v);
    v = param(&g, VJ_PREDICTOR, VJ_BUF_PARAM, "mask_tokens.1", &n);
    near("unused mask token", sum(v, n), -.17667244748878908, tolerance(&g, 1e-12, 1e-5), 0);
    free(v);
    golden_close(&g);
}

static void golden_on_ref(void **state)
{
    (void)state;
    golden("ref");
}

static void golden_on_cpu(void **state)
{
    (void)state;
    golden("cpu");
}

static void golden_on_far(void **state)
{
    (void)state;
    golden("far");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(golden_on_ref), cmocka_unit_test(golden_on_cpu),
                                        cmocka_unit_test(golden_on_far) };
    return cmocka_run_group_tests_name("model/golden", tests, NULL, NULL);
}
