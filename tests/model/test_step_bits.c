// Steps of many slots, each of another shape (clip lengths, sizes, masks): the same bits whatever the number of threads, the
// device's address space, or what is kept for backward; gradients in one tree for every number of slots (contracts 1);
// nothing of ours allocated when the largest slot comes late.

#include "tests/model/made_slots.h"

enum { SLOTS = 8 };

static vj_model_config small(void)
{
    vj_model_config c = golden_config();
    c.width = 48;
    c.heads = 3;
    c.hidden = 104;
    return c;
}

static const vj_slot_bound bound = { .clips = 3, .F = 8, .height = 32, .width = 40, .n_pairs = 2, .slots = SLOTS };

// Slots of different shapes: two clip lengths, clips that are not square, one clip, one mask.
static void make_slots(made_slot slots[SLOTS], const vj_model_config *c)
{
    static const struct { int n; made_group g[2]; } shapes[4] = {
        { 1, { { 0, 2, 4, 32, 32, 2 } } },
        { 2, { { 0, 1, 4, 16, 24, 2 }, { 1, 2, 8, 24, 16, 1 } } },
        { 1, { { 1, 1, 8, 32, 40, 1 } } },
        { 1, { { 0, 3, 2, 8, 40, 2 } } },
    };
    for (int i = 0; i < SLOTS; i++) slots[i] = make_slot(c, 40 + (uint64_t)i, VJ_F32, shapes[i % 4].n, shapes[i % 4].g);
}

typedef struct side { const char *device; int threads, recompute; } side;

static void same_steps(const char *what, vj_model_config c, int steps, side a, side b)
{
    made_slot slots[SLOTS];
    make_slots(slots, &c);
    c.recompute = a.recompute;
    golden_model x = open_model(a.device, a.threads, &c, &bound);
    c.recompute = b.recompute;
    golden_model y = open_model(b.device, b.threads, &c, &bound);
    for (int s = 1; s <= steps; s++) {
        const int n = s == 1 ? 5 : s == 2 ? SLOTS - 1 : 1;
        const vj_step_options o = golden_options(s);
        const vj_step_result p = step_of(&x, slots, n, &o), q = step_of(&y, slots, n, &o);
        assert_int_equal(p.update, VJ_UPDATED);
        assert_memory_equal(&p.loss, &q.loss, sizeof p.loss);
        assert_memory_equal(&p.grad_norm, &q.grad_norm, sizeof p.grad_norm);
        same_state(what, x.m, y.m);
    }
    golden_close(&x);
    golden_close(&y);
    for (int i = 0; i < SLOTS; i++) unmake_slot(&slots[i]);
}

// Wide enough for several tiles in every product and several blocks of rows in every reduction.
static vj_model_config wide(void)
{
    vj_model_config c = small();
    c.width = 264;
    c.hidden = 1056;
    c.patch = 4;
    return c;
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    same_steps("1 and 2 threads", small(), 3, (side){ "cpu", 1, VJ_RECOMPUTE_NONE }, (side){ "cpu", 2, VJ_RECOMPUTE_NONE });
    same_steps("1 and 3 threads", wide(), 1, (side){ "cpu", 1, VJ_RECOMPUTE_NONE }, (side){ "cpu", 3, VJ_RECOMPUTE_NONE });
}

static void far_gives_the_bits_of_cpu(void **state)
{
    (void)state;
    same_steps("cpu and far", small(), 3, (side){ "cpu", 1, VJ_RECOMPUTE_NONE }, (side){ "far", 2, VJ_RECOMPUTE_NONE });
}

static void recomputing_changes_nothing(void **state)
{
    (void)state;
    same_steps("recompute on cpu", small(), 3, (side){ "cpu", 2, VJ_RECOMPUTE_NONE }, (side){ "cpu", 2, VJ_RECOMPUTE_BLOCK });
    same_steps("recompute on far", small(), 2, (side){ "cpu", 1, VJ_RECOMPUTE_BLOCK }, (side){ "far", 1, VJ_RECOMPUTE_BLOCK });
    same_steps("recompute on ref", small(), 1, (side){ "ref", 1, VJ_RECOMPUTE_NONE }, (side){ "ref", 1, VJ_RECOMPUTE_BLOCK });
}

// ---- the tree -------------------------------------------------------------------------------------------------------
static void tree(float *v[], int n, int64_t count)   // sums into v[0]; neighbours first, a missing leaf is skipped
{
    for (; n > 1; n = (n + 1) / 2) {
        for (int i = 0; i < n / 2; i++) {
            for (int64_t k = 0; k < count; k++) v[i][k] = v[2 * i][k] + v[2 * i + 1][k];
        }
        if (n % 2) memmove(v[n / 2], v[n - 1], (size_t)count * sizeof *v[0]);
    }
}

static float *gradients(vj_vjepa *m, int64_t *count)
{
    double *g = snapshot(m, VJ_ENCODER, VJ_PREDICTOR, VJ_BUF_GRAD, count);
    float *out = malloc((size_t)*count * sizeof *out);
    for (int64_t i = 0; i < *count; i++) out[i] = (float)g[i];   // they are floats
    free(g);
    return out;
}

static void gradients_are_a_tree_sum(void **state)
{
    (void)state;
    made_slot slots[SLOTS];
    const vj_model_config c = small();
    const vj_step_options o = no_change();
    make_slots(slots, &c);
    golden_model g = open_model("cpu", 2, &c, &bound);
    float *alone[SLOTS], *sum[SLOTS];
    double loss[SLOTS];
    int64_t n = 0, other_order = 0;
    for (int i = 0; i < SLOTS; i++) {
        loss[i] = step_of(&g, &slots[i], 1, &o).loss;
        alone[i] = gradients(g.m, &n);
        sum[i] = malloc((size_t)n * sizeof *sum[i]);
    }
    for (int V = 1; V <= SLOTS; V++) {
        for (int i = 0; i < V; i++) memcpy(sum[i], alone[i], (size_t)n * sizeof *sum[i]);
        tree(sum, V, n);
        const vj_step_result r = step_of(&g, slots, V, &o);
        float *got = gradients(g.m, &n);
        double mean = 0, square = 0;
        for (int i = 0; i < V; i++) mean += loss[i] / V;
        for (int64_t k = 0; k < n; k++) {
            if (memcmp(&got[k], &sum[0][k], sizeof got[k]) != 0) fail_msg("%d slots: gradient %lld is %.9g, %.9g was expected", V, (long long)k, got[k], sum[0][k]);
            square += (double)got[k] * got[k];
            float line = alone[0][k];
            for (int i = 1; i < V; i++) line += alone[i][k];
            other_order += V == SLOTS && line != got[k];
        }
        assert_true(fabs(r.loss - mean) < 1e-12);
        assert_true(fabs(r.grad_norm - sqrt(square) / V) < 1e-9 * r.grad_norm);
        free(got);
    }
    assert_true(other_order > 0);   // or this test could not tell a tree from a line
    for (int i = 0; i < SLOTS; i++) {
        free(alone[i]);
        free(sum[i]);
        unmake_slot(&slots[i]);
    }
    golden_close(&g);
}

// ---- allocation -----------------------------------------------------------------------------------------------------
static void nothing_is_allocated_in_a_step(void **state)
{
    (void)state;
    static const char *const devices[] = { "ref", "cpu", "far" };
    for (int d = 0; d < 3; d++) {
        made_slot slots[SLOTS];
        const vj_model_config c = small();
        make_slots(slots, &c);
        golden_model g = open_model(devices[d], 2, &c, &bound);
        int64_t calls = 0, bytes = 0;
        for (int s = 1; s <= 6; s++) {
            if (s == 4) {
                calls = vj_host_alloc_calls();
                bytes = vj_device_bytes(g.device);
            }
            // The first three steps have not met the largest slot yet: buffers must have been made for it all the same.
            const vj_step_options o = golden_options(s);
            step_of(&g, slots, s <= 3 ? 1 : 4, &o);
        }
        print_message("%s\n", devices[d]);
        assert_int_equal(vj_host_alloc_calls(), calls);
        assert_int_equal(vj_device_bytes(g.device), bytes);
        golden_close(&g);
        for (int i = 0; i < SLOTS; i++) unmake_slot(&slots[i]);
    }
}

// Predictions and targets of a clip do not depend on what else is in its slot: not on other clips, nor on their shape.
static void clips_do_not_see_each_other(void **state)
{
    (void)state;
    static const char *const devices[] = { "ref", "cpu", "far" };
    const made_group groups[2] = { { 0, 2, 4, 16, 24, 2 }, { 0, 1, 8, 32, 16, 2 } };
    const vj_model_config c = small();
    enum { ROWS = 200 };
    const int64_t half = ROWS * c.width;   // predictions, then targets
    double *both_of = malloc((size_t)(2 * half) * sizeof *both_of), *alone = malloc((size_t)(2 * half) * sizeof *alone);
    for (int d = 0; d < 3; d++) {
        golden_model g = open_model(devices[d], 1, &c, &bound);
        made_slot both = make_slot(&c, 11, VJ_F32, 2, groups);
        int64_t all = 0, rows = 0, at = 0;
        OK(vj_vjepa_predict(g.m, &both.slot, both_of, both_of + half, ROWS, &all));
        for (int i = 0; i < 2; i++, at += rows) {
            vj_slot one = { .n_groups = 1 };
            one.groups[0] = both.slot.groups[i];
            OK(vj_vjepa_predict(g.m, &one, alone, alone + half, ROWS, &rows));
            double worst = 0;
            for (int64_t k = 0; k < rows * c.width; k++) {
                worst = fmax(worst, fabs(alone[k] - both_of[at * c.width + k]));
                worst = fmax(worst, fabs(alone[half + k] - both_of[half + at * c.width + k]));
            }
            assert_true(worst < (d == 0 ? 1e-12 : 2e-5));
        }
        assert_int_equal(at, all);
        unmake_slot(&both);
        golden_close(&g);
    }
    free(both_of);
    free(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(far_gives_the_bits_of_cpu),
        cmocka_unit_test(recomputing_changes_nothing),
        cmocka_unit_test(gradients_are_a_tree_sum),
        cmocka_unit_test(nothing_is_allocated_in_a_step),
        cmocka_unit_test(clips_do_not_see_each_other),
    };
    return cmocka_run_group_tests_name("model/step_bits", tests, NULL, NULL);
}
