// Features: an encoder alone gives the same bits as inside the whole model; the last layer's features, normalised once
// more, are the targets; blocks that are not the last are read on the way without disturbing it.

#include <math.h>

#include "tests/model/small_model.h"

enum { ROWS = 2 * 12 + 6 };   // tokens of the small slot
static const char *const devices[] = { "ref", "cpu", "far" };

static float *features(vj_vjepa *m, vj_network network, const vj_slot *slot, const int *layers, int n)
{
    float *v = calloc((size_t)(n * ROWS) * SMALL_WIDTH, sizeof *v);
    int64_t rows = 0;
    OK(vj_vjepa_features(m, network, slot, layers, n, v, ROWS, &rows));
    assert_int_equal(rows, ROWS);
    return v;
}

// Targets of token 1 of the first clip, through the prediction path: LN0 of its feature.
static void the_last_layer_is_what_targets_are_made_of(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    for (int d = 0; d < 3; d++) {
        small_model s;
        small_open(&s, devices[d], 1, &c, 1);
        const int last = 1;
        float *f = features(s.m, VJ_TARGET_ENCODER, &s.slot, &last, 1);
        double target[SMALL_ROWS * SMALL_WIDTH];
        int64_t rows = 0;
        OK(vj_vjepa_predict(s.m, &s.slot, NULL, target, SMALL_ROWS, &rows));
        const float *x = f + 1 * SMALL_WIDTH;
        double mean = 0, var = 0;
        for (int i = 0; i < SMALL_WIDTH; i++) mean += x[i] / (double)SMALL_WIDTH;
        for (int i = 0; i < SMALL_WIDTH; i++) var += (x[i] - mean) * (x[i] - mean) / SMALL_WIDTH;
        for (int i = 0; i < SMALL_WIDTH; i++) {   // the first target row is token 1 of clip 0
            const double want = (x[i] - mean) / sqrt(var + 1e-5);
            if (fabs(target[i] - want) > 1e-5)
                fail_msg("%s, channel %d: %g, %g expected", devices[d], i, target[i], want);
        }
        free(f);
        small_close(&s);
    }
}

static void layers_are_read_on_the_way(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model s;
    small_open(&s, "cpu", 2, &c, 1);
    const int both[] = { 0, 1 }, first = 0, last = 1;
    for (int network = VJ_ENCODER; network <= VJ_TARGET_ENCODER; network += 2) {
        float *all = features(s.m, (vj_network)network, &s.slot, both, 2);
        float *a = features(s.m, (vj_network)network, &s.slot, &first, 1),
              *b = features(s.m, (vj_network)network, &s.slot, &last, 1);
        assert_memory_equal(all, a, ROWS * SMALL_WIDTH * sizeof *a);
        assert_memory_equal(all + ROWS * SMALL_WIDTH, b, ROWS * SMALL_WIDTH * sizeof *b);
        assert_memory_not_equal(a, b, ROWS * SMALL_WIDTH * sizeof *b);
        free(all);
        free(a);
        free(b);
    }
    small_close(&s);
}

static void an_encoder_alone_agrees_and_is_smaller(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    for (int d = 0; d < 3; d++) {
        small_model s;
        small_open(&s, devices[d], 1, &c, 1);
        vj_vjepa *alone = NULL;
        const vj_slot_bound bound = small_bound(1);
        OK(vj_vjepa_create_encoder(&alone, &c, s.device, &bound));
        const vj_layout *l = vj_vjepa_layout(alone, VJ_TARGET_ENCODER);
        assert_int_equal(vj_vjepa_memory(alone)->params, 0);
        assert_true(vj_vjepa_memory(alone)->total < vj_vjepa_memory(s.m)->total / 3);
        double *v = malloc((size_t)vj_layout_count(l) * sizeof *v);
        for (int p = 0; p < l->n_params; p++) {
            OK(vj_vjepa_get_param(s.m, VJ_TARGET_ENCODER, VJ_BUF_PARAM, p, v));
            OK(vj_vjepa_set_param(alone, VJ_TARGET_ENCODER, VJ_BUF_PARAM, p, v));
        }
        assert_fails(vj_vjepa_get_param(alone, VJ_ENCODER, VJ_BUF_PARAM, 0, v), VJ_ERR_BUG, "alone");
        free(v);
        vj_slot bare = s.slot;
        bare.groups[0].n_pairs = bare.groups[1].n_pairs = 0;
        const int both[] = { 0, 1 };
        float *whole = features(s.m, VJ_TARGET_ENCODER, &s.slot, both, 2),
              *x = features(alone, VJ_TARGET_ENCODER, &bare, both, 2);
        assert_memory_equal(whole, x, 2 * ROWS * SMALL_WIDTH * sizeof *x);
        double row[SMALL_WIDTH];
        int64_t rows;
        assert_fails(vj_vjepa_predict(alone, &s.slot, row, NULL, 1, &rows), VJ_ERR_BUG, "alone");
        const vj_network target = VJ_TARGET_ENCODER;
        const int twice[] = { 1, 1 }, behind = 2;
        assert_fails(vj_vjepa_features(alone, VJ_PREDICTOR, &bare, both, 2, x, ROWS, &rows), VJ_ERR_BUG, "no encoder");
        assert_fails(vj_vjepa_features(alone, target, &bare, twice, 2, x, ROWS, &rows), VJ_ERR_USAGE, "ascending");
        assert_fails(vj_vjepa_features(alone, target, &bare, &behind, 1, x, ROWS, &rows), VJ_ERR_USAGE, "layer 2");
        assert_fails(vj_vjepa_features(alone, target, &bare, both, 2, x, ROWS - 1, &rows), VJ_ERR_BUG, "do not fit");
        free(whole);
        free(x);
        vj_vjepa_destroy(&alone);
        small_close(&s);
    }
}

// Looking between two slots of a step changes no bit of what the step does.
static void looking_trains_nothing(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model a, b;
    small_open(&a, "cpu", 1, &c, 1);
    small_open(&b, "cpu", 1, &c, 1);
    const vj_step_options o = golden_options(1);
    vj_step_result ra, rb;
    (void)small_step(&a, 1);
    (void)small_step(&b, 1);
    OK(vj_vjepa_step_begin(a.m, 1));
    OK(vj_vjepa_slot(a.m, &a.slot));
    OK(vj_vjepa_update(a.m, &o, &ra));
    OK(vj_vjepa_step_begin(b.m, 1));
    OK(vj_vjepa_slot(b.m, &b.slot));
    vj_slot other = b.slot;
    other.n_groups = 1;
    other.groups[0].fpc_index = 1;   // would be another mask token
    const int last = 1;
    float v[ROWS * SMALL_WIDTH];
    int64_t rows;
    OK(vj_vjepa_features(b.m, VJ_ENCODER, &other, &last, 1, v, ROWS, &rows));
    assert_int_equal(rows, 24);
    OK(vj_vjepa_update(b.m, &o, &rb));
    assert_same_state(a.m, b.m);
    small_close(&a);
    small_close(&b);
}

// Made small, then large enough: the same bits as a model that was large from the start, and memory as planned for it.
static void another_size_changes_no_bit(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model a, b;
    small_open(&a, "cpu", 1, &c, 2);
    b = (small_model){ 0 };
    OK(vj_device_open(&b.device, "cpu", 1));
    vj_slot_bound bound = { .clips = 1, .F = 2, .height = 8, .width = 8, .n_pairs = 2, .slots = 2 };
    OK(vj_vjepa_create(&b.m, &c, SMALL_TOKENS, b.device, &bound, true));
    small_fill(b.m);
    small_slot(&b, 1);
    OK(vj_vjepa_step_begin(b.m, 1));
    assert_fails(vj_vjepa_slot(b.m, &b.slot), VJ_ERR_BUG, "larger than the bound");
    bound = small_bound(1);
    OK(vj_vjepa_resize(b.m, &bound));
    assert_memory_equal(vj_vjepa_memory(a.m), vj_vjepa_memory(b.m), sizeof(vj_memory_plan));
    for (int64_t step = 1; step <= 2; step++) {
        (void)small_step(&a, step);
        (void)small_step(&b, step);
    }
    assert_same_state(a.m, b.m);
    bound.slots = 3;
    assert_fails(vj_vjepa_resize(b.m, &bound), VJ_ERR_BUG, "made for 2");
    small_close(&a);
    small_close(&b);
}

// Made for fewer rows than come: it grows between steps, and has the bits of a model that was large from the start.
static void room_changes_no_bit(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model a, b = { 0 };
    small_open(&a, "cpu", 1, &c, 2);
    OK(vj_device_open(&b.device, "cpu", 1));
    vj_slot_bound bound = small_bound(2);
    bound.ctx_rows = bound.tgt_rows = 8;
    bound.rows = 16;
    OK(vj_vjepa_create(&b.m, &c, SMALL_TOKENS, b.device, &bound, true));
    small_fill(b.m);
    small_slot(&b, 1);
    OK(vj_vjepa_step_begin(b.m, 1));
    assert_fails(vj_vjepa_slot(b.m, &b.slot), VJ_ERR_BUG, "larger than the bound");
    const int64_t little = vj_vjepa_memory(b.m)->total;
    for (int64_t step = 1; step <= 3; step++) {
        bool grew;
        small_slot(&a, (uint64_t)step);
        small_slot(&b, (uint64_t)step);
        OK(vj_vjepa_room(b.m, &b.slot, 1, &grew));
        assert_int_equal(grew, step == 1);
        (void)small_step(&a, step);
        (void)small_step(&b, step);
    }
    assert_same_state(a.m, b.m);
    assert_true(little < vj_vjepa_memory(b.m)->total && vj_vjepa_memory(b.m)->total < vj_vjepa_memory(a.m)->total);
    small_close(&a);
    small_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_layer_is_what_targets_are_made_of),
        cmocka_unit_test(layers_are_read_on_the_way),
        cmocka_unit_test(an_encoder_alone_agrees_and_is_smaller),
        cmocka_unit_test(looking_trains_nothing),
        cmocka_unit_test(another_size_changes_no_bit),
        cmocka_unit_test(room_changes_no_bit),
    };
    return cmocka_run_group_tests_name("model/features", tests, NULL, NULL);
}
