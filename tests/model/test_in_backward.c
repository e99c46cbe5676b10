// optim.in_backward: units updated while the backward pass goes on. The same bits as an update at the end, whatever the device,
// the number of threads and what is recomputed; less memory; and what happens when a gradient is not finite.

#include <math.h>

#include "tests/model/made_slots.h"

static const made_group shapes[3][2] = {
    { { 0, 2, 4, 32, 32, 2 } }, { { 0, 1, 4, 16, 24, 2 }, { 1, 2, 8, 24, 16, 1 } }, { { 1, 1, 8, 32, 40, 1 } },
};

static vj_model_config config(int recompute)
{
    vj_model_config c = golden_config();
    c.width = 48;
    c.depth = 5;
    c.heads = 3;
    c.hidden = 104;
    c.pred_depth = 6;   // two units: blocks 0 to 3, and 4 to 5
    c.recompute = recompute;
    return c;
}

static golden_model open_one(const char *device, int threads, int recompute, bool in_backward)
{
    const vj_slot_bound bound = { .clips = 3, .F = 8, .height = 32, .width = 40, .n_pairs = 2, .slots = 1, .in_backward = in_backward };
    const vj_model_config c = config(recompute);
    return open_model(device, threads, &c, &bound);
}

static vj_step_result early_step(golden_model *g, const vj_slot *slot, const vj_step_options *o)
{
    vj_step_result r;
    OK(vj_vjepa_step_begin_in_backward(g->m, o));
    OK(vj_vjepa_slot(g->m, slot));
    OK(vj_vjepa_update(g->m, o, &r));
    return r;
}

static void same_norms(vj_vjepa *a, vj_vjepa *b, vj_network network)
{
    const int n = vj_vjepa_layout(a, network)->n_units;
    double x[64], y[64];
    assert_in_range(n, 1, 64);
    vj_vjepa_unit_norms(a, network, x);
    vj_vjepa_unit_norms(b, network, y);
    assert_memory_equal(x, y, (size_t)n * sizeof *x);
    for (int u = 0; u < n; u++) assert_true(x[u] > 0);
}

static void the_bits_of_an_update_at_the_end(void **state)
{
    (void)state;
    static const struct { const char *device; int threads, recompute; } sides[] = {
        { "cpu", 1, VJ_RECOMPUTE_NONE }, { "cpu", 2, VJ_RECOMPUTE_BLOCK }, { "far", 2, VJ_RECOMPUTE_NONE }, { "ref", 1, VJ_RECOMPUTE_BLOCK },
    };
    for (int k = 0; k < 4; k++) {
        golden_model x = open_one(sides[k].device, 1, VJ_RECOMPUTE_NONE, false),
                     y = open_one(sides[k].device, sides[k].threads, sides[k].recompute, true);
        const vj_model_config c = config(0);
        for (int s = 1; s <= 4; s++) {
            made_slot slot = make_slot(&c, 40 + (uint64_t)s, VJ_F32, s % 3 == 1 ? 2 : 1, shapes[s % 3]);
            const vj_step_options o = golden_options(s);
            const vj_step_result p = step_of(&x, &slot, 1, &o), q = early_step(&y, &slot.slot, &o);
            assert_int_equal(q.update, VJ_UPDATED);
            assert_memory_equal(&p, &q, offsetof(vj_step_result, update));
            same_norms(x.m, y.m, VJ_ENCODER);
            same_norms(x.m, y.m, VJ_PREDICTOR);
            same_buffers(sides[k].device, x.m, y.m, false);
            unmake_slot(&slot);
        }
        golden_close(&x);
        golden_close(&y);
    }
}

// Gradients: the longest unit of the encoder; of the predictor its first unit and the longest other one.
static void gradients_take_the_room_of_a_unit(void **state)
{
    (void)state;
    golden_model x = open_one("cpu", 1, 0, false), y = open_one("cpu", 1, 0, true);
    const vj_layout *e = vj_vjepa_layout(y.m, VJ_ENCODER), *r = vj_vjepa_layout(y.m, VJ_PREDICTOR);
    int64_t of_e = 0, of_r = 0;
    for (int u = 0; u < e->n_units; u++) of_e = e->units[u].length > of_e ? e->units[u].length : of_e;
    for (int u = 1; u < r->n_units; u++) of_r = r->units[u].length > of_r ? r->units[u].length : of_r;
    assert_true(r->n_units >= 3);
    assert_int_equal(vj_vjepa_memory(y.m)->gradients, 4 * (of_e + of_r + r->units[0].length));
    assert_int_equal(vj_vjepa_memory(x.m)->gradients, 4 * (vj_layout_length(e) + vj_layout_length(r)));
    const int64_t less = vj_vjepa_memory(x.m)->total - vj_vjepa_memory(y.m)->total;
    assert_int_equal(less, vj_vjepa_memory(x.m)->gradients - vj_vjepa_memory(y.m)->gradients);
    assert_true(vj_device_bytes(x.device) - vj_device_bytes(y.device) >= less - 8192);
    golden_close(&x);
    golden_close(&y);
}

// A loss that is not finite changes nothing at all.
static void nothing_changes_after_a_loss_that_is_not_finite(void **state)
{
    (void)state;
    golden_model x = open_one("cpu", 2, 0, true), y = open_one("cpu", 2, 0, true);
    const vj_model_config c = config(0);
    made_slot slot = make_slot(&c, 7, VJ_F32, 1, shapes[0]);
    ((float *)slot.clips[0])[1000] = NAN;
    const vj_step_options o = golden_options(1);
    const vj_step_result r = early_step(&x, &slot.slot, &o);
    assert_int_equal(r.update, VJ_UPDATE_NONFINITE);
    assert_true(isnan(r.loss));
    same_buffers("a loss that is not finite", x.m, y.m, false);
    unmake_slot(&slot);
    golden_close(&x);
    golden_close(&y);
}

static void set_all(vj_vjepa *m, const char *name, double value)
{
    const vj_layout *l = vj_vjepa_layout(m, VJ_ENCODER);
    const int p = vj_layout_find(l, name);
    assert_true(p >= 0);
    double *v = malloc((size_t)l->params[p].count * sizeof *v);
    for (int64_t i = 0; i < l->params[p].count; i++) v[i] = value;
    OK(vj_vjepa_set_param(m, VJ_ENCODER, VJ_BUF_PARAM, p, v));
    free(v);
}

// A gradient that is not finite stops the updates from there on; the step says so.
static void a_gradient_that_is_not_finite_is_said(void **state)
{
    (void)state;
    golden_model x = open_one("cpu", 1, 0, true), y = open_one("cpu", 1, 0, true);
    const vj_layout *l = vj_vjepa_layout(x.m, VJ_ENCODER);
    const int early = vj_layout_find(l, "blocks.1.mlp.fc1.weight"), late = vj_layout_find(l, "blocks.4.mlp.fc1.weight");
    assert_true(early >= 0 && late >= 0);
    // The forward pass stays finite: 0 goes into fc2, whatever its weights. Backward, fc1's gradient has both as factors.
    set_all(x.m, "blocks.2.mlp.fc1.weight", 0);
    set_all(x.m, "blocks.2.mlp.fc1.bias", 0);
    set_all(x.m, "blocks.2.mlp.fc2.weight", 3e38);
    set_all(x.m, "blocks.2.norm2.weight", 1e12);
    const vj_model_config c = config(0);
    made_slot slot = make_slot(&c, 7, VJ_F32, 1, shapes[0]);
    const vj_step_options o = golden_options(1);
    const vj_step_result r = early_step(&x, &slot.slot, &o);
    assert_int_equal(r.update, VJ_UPDATE_NONFINITE);
    assert_true(isfinite(r.loss) && !isfinite(r.grad_norm));
    double *before = malloc((size_t)l->params[early].count * sizeof *before), *after = malloc((size_t)l->params[early].count * sizeof *after);
    OK(vj_vjepa_get_param(y.m, VJ_ENCODER, VJ_BUF_PARAM, early, before));
    OK(vj_vjepa_get_param(x.m, VJ_ENCODER, VJ_BUF_PARAM, early, after));
    assert_memory_equal(before, after, (size_t)l->params[early].count * sizeof *before);
    OK(vj_vjepa_get_param(y.m, VJ_ENCODER, VJ_BUF_PARAM, late, before));   // finite, and updated before it was known
    OK(vj_vjepa_get_param(x.m, VJ_ENCODER, VJ_BUF_PARAM, late, after));
    assert_memory_not_equal(before, after, (size_t)l->params[late].count * sizeof *before);
    free(before);
    free(after);
    unmake_slot(&slot);
    golden_close(&x);
    golden_close(&y);
}

static void the_two_ways_do_not_mix(void **state)
{
    (void)state;
    golden_model x = open_one("cpu", 1, 0, false), y = open_one("cpu", 1, 0, true);
    const vj_step_options o = golden_options(1);
    assert_int_equal(vj_vjepa_step_begin(y.m, 1), VJ_ERR_BUG);
    assert_int_equal(vj_vjepa_step_begin_in_backward(x.m, &o), VJ_ERR_BUG);
    vj_error_clear();
    vj_vjepa *m = NULL;
    const vj_model_config c = config(0);
    const vj_slot_bound two = { .clips = 3, .F = 8, .height = 32, .width = 40, .n_pairs = 2, .slots = 2, .in_backward = true };
    assert_int_equal(vj_vjepa_create(&m, &c, 2, x.device, &two, true), VJ_ERR_BUG);
    vj_error_clear();
    golden_close(&x);
    golden_close(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_of_an_update_at_the_end),
        cmocka_unit_test(gradients_take_the_room_of_a_unit),
        cmocka_unit_test(nothing_changes_after_a_loss_that_is_not_finite),
        cmocka_unit_test(a_gradient_that_is_not_finite_is_said),
        cmocka_unit_test(the_two_ways_do_not_mix),
    };
    return cmocka_run_group_tests_name("model/in_backward", tests, NULL, NULL);
}
