// optim.clip_norm: the update takes the gradient scaled down to that norm, over all parameters of both networks.

#include "tests/model/made_slots.h"

enum { SLOTS = 3 };
static const vj_slot_bound bound = { .clips = 2, .F = 4, .height = 32, .width = 32, .n_pairs = 2, .slots = SLOTS };

static void values_of(const golden_model *g, vj_network network, vj_buffer buffer, int param, double *out) { OK(vj_vjepa_get_param(g->m, network, buffer, param, out)); }

// After one step Adam's first moment is (1 - beta1) times the gradient that it was given.
static void the_update_takes_the_clipped_gradient(void **state)
{
    (void)state;
    const vj_model_config c = golden_config();
    made_slot slots[SLOTS];
    const made_group group = { 0, 2, 4, 32, 32, 2 };
    for (int i = 0; i < SLOTS; i++) slots[i] = make_slot(&c, 70 + (uint64_t)i, VJ_F64, 1, &group);
    golden_model plain = open_model("ref", 1, &c, &bound), clipped = open_model("ref", 1, &c, &bound), far_off = open_model("ref", 1, &c, &bound);
    vj_step_options o = golden_options(1);
    const vj_step_result p = step_of(&plain, slots, SLOTS, &o);
    assert_true(p.clip_scale == 1 && p.grad_norm > 0);
    o.clip_norm = p.grad_norm / 3;
    const vj_step_result q = step_of(&clipped, slots, SLOTS, &o);
    o.clip_norm = p.grad_norm * 1.0001;
    const vj_step_result r = step_of(&far_off, slots, SLOTS, &o);
    assert_true(q.grad_norm == p.grad_norm && q.loss == p.loss);
    assert_true(fabs(q.clip_scale - 1.0 / 3) < 1e-12);
    assert_true(r.clip_scale == 1);
    same_state("a limit that is not reached", plain.m, far_off.m);
    double square = 0;
    for (int n = VJ_ENCODER; n <= VJ_PREDICTOR; n++) {
        const vj_layout *l = vj_vjepa_layout(plain.m, (vj_network)n);
        for (int i = 0; i < l->n_params; i++) {
            const size_t count = (size_t)l->params[i].count;
            double *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
            values_of(&plain, (vj_network)n, VJ_BUF_EXP_AVG, i, x);
            values_of(&clipped, (vj_network)n, VJ_BUF_EXP_AVG, i, y);
            for (size_t k = 0; k < count; k++) {
                if (fabs(y[k] - x[k] / 3) > 1e-12 * fabs(x[k])) fail_msg("%s, value %zu: %.17g, a third of %.17g was expected", l->params[i].name, k, y[k], x[k]);
                square += (y[k] / (1 - o.beta1)) * (y[k] / (1 - o.beta1));
            }
            free(x);
            free(y);
        }
    }
    assert_true(fabs(sqrt(square) / (p.grad_norm / 3) - 1) < 1e-9);
    golden_close(&plain);
    golden_close(&clipped);
    golden_close(&far_off);
    for (int i = 0; i < SLOTS; i++) unmake_slot(&slots[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_update_takes_the_clipped_gradient) };
    return cmocka_run_group_tests_name("model/clip", tests, NULL, NULL);
}
