// What must hold whatever the weights are (spec/pretrain.md 13.3): order of tokens, full context, the target encoder's
// average, places that rotate nothing.

#include "model/vjepa_impl.h"
#include "tests/model/small_model.h"

static double far_apart(const double *a, const double *b, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fabs(a[i] - b[i]) > most ? fabs(a[i] - b[i]) : most;
    return most;
}

// One pair of one group with ids of its own, reordered at will.
typedef struct one_pair { small_model s; int32_t ctx[2 * 5], tgt[2 * 6]; } one_pair;

static void one_pair_open(one_pair *o, const char *device)
{
    static const int32_t ctx[] = { 0, 3, 6, 7, 11, 1, 2, 8, 9, 10 }, tgt[] = { 1, 2, 4, 5, 9, 10, 0, 3, 4, 5, 6, 11 };
    const vj_model_config c = small_config();
    small_open(&o->s, device, 1, &c, 1);
    memcpy(o->ctx, ctx, sizeof ctx);
    memcpy(o->tgt, tgt, sizeof tgt);
    o->s.slot.n_groups = 1;
    o->s.slot.groups[0].n_pairs = 1;
    o->s.slot.groups[0].pairs[0] = (vj_mask_pair){ .K = 5, .P = 6, .ctx = o->ctx, .tgt = o->tgt };
}

enum { PAIR_VALUES = 12 * SMALL_WIDTH };

static void predict(one_pair *o, double *pred, double *target)
{
    int64_t rows = 0;
    OK(vj_vjepa_predict(o->s.m, &o->s.slot, pred, target, 12, &rows));
    assert_int_equal(rows, 12);
}

static void order_of_the_context_does_not_matter(void **state)
{
    (void)state;
    static const int order[2][5] = { { 4, 0, 3, 1, 2 }, { 2, 4, 1, 0, 3 } };
    one_pair o;
    double before[PAIR_VALUES], after[PAIR_VALUES];
    one_pair_open(&o, "ref");
    predict(&o, before, NULL);
    int32_t old[10];
    memcpy(old, o.ctx, sizeof old);
    for (int b = 0; b < 2; b++) {
        for (int k = 0; k < 5; k++) o.ctx[b * 5 + k] = old[b * 5 + order[b][k]];
    }
    predict(&o, after, NULL);
    assert_true(far_apart(before, after, PAIR_VALUES) < 1e-12);
    o.ctx[2] = 5;   // another token, and another prediction
    predict(&o, after, NULL);
    assert_true(far_apart(before, after, PAIR_VALUES / 2) > 1e-4);
    assert_true(far_apart(before + PAIR_VALUES / 2, after + PAIR_VALUES / 2, PAIR_VALUES / 2) <
                1e-12);   // of that clip alone
    small_close(&o.s);
}

static void predictions_follow_the_order_of_targets(void **state)
{
    (void)state;
    static const int order[6] = { 3, 5, 0, 4, 1, 2 };
    one_pair o;
    double before[PAIR_VALUES], after[PAIR_VALUES], target[PAIR_VALUES], target_after[PAIR_VALUES];
    one_pair_open(&o, "ref");
    predict(&o, before, target);
    int32_t old[12];
    memcpy(old, o.tgt, sizeof old);
    for (int b = 0; b < 2; b++) {
        for (int k = 0; k < 6; k++) o.tgt[b * 6 + k] = old[b * 6 + order[k]];
    }
    predict(&o, after, target_after);
    for (int b = 0; b < 2; b++) {
        for (int k = 0; k < 6; k++) {
            const int64_t now = (b * 6 + k) * SMALL_WIDTH, then = (b * 6 + order[k]) * SMALL_WIDTH;
            assert_true(far_apart(after + now, before + then, SMALL_WIDTH) < 1e-12);
            assert_true(far_apart(target_after + now, target + then, SMALL_WIDTH) == 0);
        }
    }
    small_close(&o.s);
}

// The encoder on all tokens, as context and as target: with equal weights both passes compute the same.
static void full_context_is_the_full_encoder(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model s;
    small_open(&s, "ref", 1, &c, 1);
    for (int p = 0; p < vj_vjepa_layout(s.m, VJ_ENCODER)->n_params; p++) {
        double v[6000];
        assert_true(vj_vjepa_layout(s.m, VJ_ENCODER)->params[p].count <= 6000);
        OK(vj_vjepa_get_param(s.m, VJ_ENCODER, VJ_BUF_PARAM, p, v));
        OK(vj_vjepa_set_param(s.m, VJ_TARGET_ENCODER, VJ_BUF_PARAM, p, v));
    }
    int32_t every[24];
    for (int i = 0; i < 24; i++) every[i] = i % 12;
    s.slot.n_groups = 1;
    s.slot.groups[0].n_pairs = 1;
    s.slot.groups[0].pairs[0] = (vj_mask_pair){ .K = 12, .P = 12, .ctx = every, .tgt = every };

    vj_slot_plan plan;
    vj_student_saved saved;
    vj_tensor targets;
    double z[24 * SMALL_WIDTH], t[24 * SMALL_WIDTH];
    OK(vj_slot_plan_make(s.m, &s.slot, &plan));
    s.m->ctx.training = false;
    OK(vj_target_pass(s.m, &s.m->ctx, &plan, &targets));
    OK(vj_student_forward(s.m, &s.m->ctx, &plan, &saved));
    OK(vj_download(s.m->ctx.st, z, VJ_F64, &saved.z));
    OK(vj_download(s.m->ctx.st, t, VJ_F64, &targets));
    for (int r = 0; r < 24; r++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < SMALL_WIDTH; i++) mean += z[r * SMALL_WIDTH + i] / SMALL_WIDTH;
        for (int i = 0; i < SMALL_WIDTH; i++) variance += pow(z[r * SMALL_WIDTH + i] - mean, 2) / SMALL_WIDTH;
        for (int i = 0; i < SMALL_WIDTH; i++)
            z[r * SMALL_WIDTH + i] = (z[r * SMALL_WIDTH + i] - mean) / sqrt(variance + 1e-5);
    }
    assert_true(far_apart(z, t, 24 * SMALL_WIDTH) < 1e-12);
    small_close(&s);
}

static void compare_target(small_model *s, vj_network with, const double *values)
{
    int64_t n, m;
    double *target = all_of(s->m, VJ_TARGET_ENCODER, VJ_BUF_PARAM, &n),
           *other = values ? NULL : all_of(s->m, with, VJ_BUF_PARAM, &m);
    assert_memory_equal(target, values ? values : other, (size_t)n * sizeof *target);
    free(target);
    free(other);
}

// Momentum 1 keeps the target encoder, momentum 0 makes it the encoder as it is after the update.
static void ends_of_the_average(void **state)
{
    (void)state;
    static const char *const devices[] = { "ref", "cpu" };
    for (int d = 0; d < 2; d++) {
        const vj_model_config c = small_config();
        small_model s;
        small_open(&s, devices[d], 1, &c, 1);
        vj_step_options o = golden_options(1);
        vj_step_result r;
        int64_t n;
        double *before = all_of(s.m, VJ_TARGET_ENCODER, VJ_BUF_PARAM, &n),
               *online = all_of(s.m, VJ_ENCODER, VJ_BUF_PARAM, &n);
        o.momentum = 1;
        OK(vj_vjepa_step_begin(s.m, 1));
        OK(vj_vjepa_slot(s.m, &s.slot));
        OK(vj_vjepa_update(s.m, &o, &r));
        compare_target(&s, VJ_TARGET_ENCODER, before);
        double *updated = all_of(s.m, VJ_ENCODER, VJ_BUF_PARAM, &n);
        assert_true(memcmp(online, updated, (size_t)n * sizeof *online) != 0);
        o.momentum = 0;
        o.adam_step = 2;
        OK(vj_vjepa_step_begin(s.m, 1));
        OK(vj_vjepa_slot(s.m, &s.slot));
        OK(vj_vjepa_update(s.m, &o, &r));
        compare_target(&s, VJ_ENCODER, NULL);
        free(before);
        free(online);
        free(updated);
        small_close(&s);
    }
}

// The only token of a clip stands at 0, 0, 0: no layout of the rotation makes a difference there, elsewhere it does.
static void position_zero_is_not_rotated(void **state)
{
    (void)state;
    double pred[2][SMALL_WIDTH];
    for (int place = 0; place < 2; place++) {
        for (int layout = 0; layout < 2; layout++) {
            vj_model_config c = small_config();
            c.rope_layout = layout;
            small_model s;
            small_open(&s, "ref", 1, &c, 1);
            static const int32_t first[] = { 0 }, two[] = { 7, 11 };
            s.slot.n_groups = 1;
            s.slot.groups[0].B = 1;
            s.slot.groups[0].n_pairs = 1;
            s.slot.groups[0].pairs[0] =
                (vj_mask_pair){ .K = 1, .P = 1, .ctx = place ? two : first, .tgt = place ? two + 1 : first };
            int64_t rows;
            OK(vj_vjepa_predict(s.m, &s.slot, pred[layout], NULL, 1, &rows));
            small_close(&s);
        }
        if (place == 0) assert_memory_equal(pred[0], pred[1], sizeof pred[0]);
        else assert_true(far_apart(pred[0], pred[1], SMALL_WIDTH) > 1e-6);
    }
}

// Several groups: the loss is the mean over all (group, mask) pairs, whatever the sizes of the groups.
static void every_pair_weighs_the_same(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model s;
    small_open(&s, "ref", 1, &c, 1);
    const vj_slot whole = s.slot;
    const vj_step_options still = {
        .lr = 0, .weight_decay = 0, .momentum = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .adam_step = 1
    };
    vj_step_result r;
    double loss[3];
    int64_t n[2];
    double *gradient[3][2];
    for (int part = 0; part < 3; part++) {
        s.slot = whole;
        if (part < 2) {
            s.slot.n_groups = 1;
            s.slot.groups[0] = whole.groups[part];
        } else s.slot.groups[1].n_pairs = 1;
        if (part == 1) s.slot.groups[0].n_pairs = 1;
        OK(vj_vjepa_step_begin(s.m, 1));
        OK(vj_vjepa_slot(s.m, &s.slot));
        OK(vj_vjepa_update(s.m, &still, &r));
        loss[part] = r.loss;
        for (int k = 0; k < 2; k++) gradient[part][k] = all_of(s.m, k ? VJ_PREDICTOR : VJ_ENCODER, VJ_BUF_GRAD, &n[k]);
    }
    assert_true(fabs(loss[2] - (2 * loss[0] + loss[1]) / 3) < 1e-14);
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < n[k]; i++)
            assert_true(fabs(gradient[2][k][i] - (2 * gradient[0][k][i] + gradient[1][k][i]) / 3) < 1e-13);
        for (int part = 0; part < 3; part++) free(gradient[part][k]);
    }
    small_close(&s);
}

// Tokens 0 and 2 are used by the slot's groups; 1 and 3 keep their values and get no moments.
static void unused_mask_tokens_are_left_alone(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model s;
    small_open(&s, "cpu", 1, &c, 1);
    const vj_layout *l = vj_vjepa_layout(s.m, VJ_PREDICTOR);
    double before[SMALL_TOKENS][18], after[18], moment[18];
    const int first = vj_layout_find(l, "mask_tokens.0");
    for (int i = 0; i < SMALL_TOKENS; i++)
        OK(vj_vjepa_get_param(s.m, VJ_PREDICTOR, VJ_BUF_PARAM, first + i, before[i]));
    for (int64_t step = 1; step <= 2; step++) (void)small_step(&s, step);
    for (int i = 0; i < SMALL_TOKENS; i++) {
        OK(vj_vjepa_get_param(s.m, VJ_PREDICTOR, VJ_BUF_PARAM, first + i, after));
        OK(vj_vjepa_get_param(s.m, VJ_PREDICTOR, VJ_BUF_EXP_AVG_SQ, first + i, moment));
        for (int k = 0; k < 18; k++) {
            assert_int_equal(after[k] != before[i][k], i % 2 == 0);
            assert_int_equal(moment[k] != 0, i % 2 == 0);
        }
    }
    small_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_the_context_does_not_matter),
        cmocka_unit_test(predictions_follow_the_order_of_targets),
        cmocka_unit_test(full_context_is_the_full_encoder),
        cmocka_unit_test(ends_of_the_average),
        cmocka_unit_test(position_zero_is_not_rotated),
        cmocka_unit_test(every_pair_weighs_the_same),
        cmocka_unit_test(unused_mask_tokens_are_left_alone),
    };
    return cmocka_run_group_tests_name("model/properties", tests, NULL, NULL);
}
