// Gradients of the whole model against finite differences of a loss that is computed here, from predictions and
// targets.
//
// Each parameter tensor is moved along a random direction; the slope of the loss along it must be the gradient's
// component. A slot of two groups and two masks is in it, so weights of rows, mask tokens and their groups are checked
// as well.

#include "tests/model/small_model.h"

// Mean over clips, tokens and channels of each (group, mask), then over those (spec/pretrain.md 4).
static double loss_of(small_model *s, int exponent)
{
    double pred[SMALL_ROWS * SMALL_WIDTH], target[SMALL_ROWS * SMALL_WIDTH], total = 0;
    int64_t rows = 0, at = 0;
    OK(vj_vjepa_predict(s->m, &s->slot, pred, target, SMALL_ROWS, &rows));
    assert_int_equal(rows, SMALL_ROWS);
    for (int g = 0; g < 2; g++) {
        for (int k = 0; k < 2; k++) {
            const int64_t n = s->slot.groups[g].B * s->slot.groups[g].pairs[k].P * SMALL_WIDTH;
            double sum = 0;
            for (int64_t i = 0; i < n; i++, at++) sum += pow(fabs(pred[at] - target[at]), exponent) / exponent;
            total += sum / (double)n;
        }
    }
    return total / 4;
}

// Relative to the larger of the slope and what a direction of that tensor's gradient could give.
static double check_tensor(small_model *s, vj_network n, int p, int exponent, double spoil)
{
    const vj_param *q = &vj_vjepa_layout(s->m, n)->params[p];
    const double step = 1e-5;
    double *w = malloc((size_t)q->count * sizeof *w), *g = malloc((size_t)q->count * sizeof *g),
           *moved = malloc((size_t)q->count * sizeof *moved);
    double slope = 0, norm = 0, loss[2];
    OK(vj_vjepa_get_param(s->m, n, VJ_BUF_PARAM, p, w));
    OK(vj_vjepa_get_param(s->m, n, VJ_BUF_GRAD, p, g));
    g[q->count / 2] += spoil;
    for (int64_t i = 0; i < q->count; i++) {
        const double u = noise(99000000 + (uint64_t)p * 100003 + (uint64_t)i + ((uint64_t)n << 40));
        slope += g[i] * u;
        norm += g[i] * g[i];
    }
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < q->count; i++) {
            moved[i] = w[i] + (side ? -step : step) *
                                  noise(99000000 + (uint64_t)p * 100003 + (uint64_t)i + ((uint64_t)n << 40));
        }
        OK(vj_vjepa_set_param(s->m, n, VJ_BUF_PARAM, p, moved));
        loss[side] = loss_of(s, exponent);
    }
    OK(vj_vjepa_set_param(s->m, n, VJ_BUF_PARAM, p, w));
    const double measured = (loss[0] - loss[1]) / (2 * step);
    free(w);
    free(g);
    free(moved);
    return fabs(measured - slope) / (sqrt(norm) + 1e-7);
}

static void check_model(const vj_model_config *c, double tolerance)
{
    small_model s;
    small_open(&s, "ref", 1, c, 1);
    const int exponent = (int)c->loss_exponent;
    vj_step_result r;
    const vj_step_options still = {
        .lr = 0, .weight_decay = 0, .momentum = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .adam_step = 1
    };
    OK(vj_vjepa_step_begin(s.m, 1));
    OK(vj_vjepa_slot(s.m, &s.slot));
    OK(vj_vjepa_update(s.m, &still, &r));
    assert_true(fabs(r.loss - loss_of(&s, exponent)) < 1e-13);
    double worst = 0;
    for (int n = VJ_ENCODER; n <= VJ_PREDICTOR; n++) {
        const vj_layout *l = vj_vjepa_layout(s.m, (vj_network)n);
        for (int p = 0; p < l->n_params; p++) {
            const double error = check_tensor(&s, (vj_network)n, p, exponent, 0);
            worst = error > worst ? error : worst;
            if (!(error < tolerance))
                fail_msg("%s.%s: the slope differs by %.3g of the gradient's norm", l->network, l->params[p].name,
                         error);
            if (p % 7 == 0 && check_tensor(&s, (vj_network)n, p, exponent, 1e-2) < tolerance) {   // this check can fail
                fail_msg("%s.%s: a wrong gradient was not noticed", l->network, l->params[p].name);
            }
        }
    }
    print_message("worst error %.3g of a gradient's norm\n", worst);
    small_close(&s);
}

static void absolute_error(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    check_model(&c, 2e-5);
}

static void square_error_and_interleaved_rotation(void **state)
{
    (void)state;
    vj_model_config c = small_config();
    c.loss_exponent = 2;
    c.rope_layout = VJ_ROPE_INTERLEAVED;
    check_model(&c, 1e-6);
}

// Activations that are made again are the same, so are all bits after three steps; and less is kept.
static void recomputation_changes_no_bit(void **state)
{
    (void)state;
    static const char *const devices[] = { "ref", "cpu" };
    for (int d = 0; d < 2; d++) {
        vj_model_config keep = small_config(), again = small_config();
        again.recompute = VJ_RECOMPUTE_BLOCK;
        small_model a, b;
        small_open(&a, devices[d], 1, &keep, 1);
        small_open(&b, devices[d], 1, &again, 1);
        for (int64_t step = 1; step <= 3; step++) {
            const vj_step_result x = small_step(&a, step), y = small_step(&b, step);
            assert_true(x.loss == y.loss && x.grad_norm == y.grad_norm);
        }
        assert_same_state(a.m, b.m);
        assert_true(vj_vjepa_memory(b.m)->saved < vj_vjepa_memory(a.m)->saved / 2);
        small_close(&a);
        small_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absolute_error),
        cmocka_unit_test(square_error_and_interleaved_rotation),
        cmocka_unit_test(recomputation_changes_no_bit),
    };
    return cmocka_run_group_tests_name("model/gradients", tests, NULL, NULL);
}
