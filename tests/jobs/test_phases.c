// Who is slow, on made numbers: a rank that is, at once or off and on; masks of other sizes; ranks that only take turns.

#include "jobs/train/phases.h"

#include <math.h>

#include "runtime/base/rng.h"
#include "tests/support/scratch.h"

enum { RANKS = 4, DRAWS = 0x7f0000 };

static vj_straggler window(vj_stragglers *s, const double *pace, int ranks)
{
    double figures[16 * VJ_PHASE_FIGURES] = { 0 };
    for (int r = 0; r < ranks; r++) figures[r * VJ_PHASE_FIGURES + VJ_PHASES] = pace[r];
    vj_straggler out;
    vj_stragglers_add(s, figures, &out);
    return out;
}

static vj_stragglers *make(int ranks, double limit)
{
    vj_stragglers *s = NULL;
    assert_ok(vj_stragglers_create(&s, ranks, limit, 3, 0.25));
    return s;
}

static void a_slow_rank_is_named_until_it_is_not(void **state)
{
    (void)state;
    vj_stragglers *s = make(RANKS, 1.2);
    // Rank 2's pace over the others' 1; whether it is named after this window.
    static const struct { double pace; int named; } windows[] = {
        { 1.5, -1 }, { 1.5, -1 }, { 1.1, -1 },               // not three in a row
        { 1.3, -1 }, { 1.21, -1 }, { 1.3, 2 }, { 2.0, 2 },
        { 1.18, 2 }, { 1.18, 2 }, { 1.18, 2 }, { 1.18, 2 },  // below the limit, not by the margin: 1 + 0.2 / 1.25
        { 1.15, 2 }, { 1.15, 2 }, { 1.17, 2 }, { 1.15, 2 }, { 1.15, 2 }, { 1.15, -1 }, { 1.19, -1 },
    };
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        const vj_straggler got = window(s, (const double[]){ 1, 0.99, windows[i].pace, 1.01 }, RANKS);
        if (got.named != windows[i].named) fail_msg("window %zu: rank %d instead of %d is named", i, got.named, windows[i].named);
        assert_int_equal(got.slowest, 2);
        assert_true(fabs(got.slowdown - windows[i].pace) < 1e-12 && got.limit == 1.2);
        if (got.named == 2) assert_true(got.named_slowdown == got.slowdown);
        else assert_true(isnan(got.named_slowdown));
    }
    vj_stragglers_destroy(&s);
}

static void two_ranks_and_two_slow_ones(void **state)
{
    (void)state;
    vj_stragglers *s = make(2, 1.2);   // of two the faster is the measure
    vj_straggler got = { 0 };
    for (int i = 0; i < 3; i++) got = window(s, (const double[]){ 3, 2 }, 2);
    assert_true(got.named == 0 && got.named_slowdown == 1.5);
    vj_stragglers_destroy(&s);

    s = make(5, 1.2);   // the slower of two at once; when it is well again, the other
    for (int i = 0; i < 3; i++) got = window(s, (const double[]){ 1, 1.5, 1, 1.7, 1 }, 5);
    assert_int_equal(got.named, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(got.named, 3);
        got = window(s, (const double[]){ 1, 1.9, 1, 1, 1 }, 5);
    }
    assert_int_equal(got.named, 1);
    assert_true(fabs(got.named_slowdown - 1.9) < 1e-12);
    vj_stragglers_destroy(&s);

    s = make(3, 1.2);   // a rank without a slot in the whole window says nothing
    for (int i = 0; i < 5; i++) got = window(s, (const double[]){ 1, 0, 1.1 }, 3);
    assert_true(got.named == -1 && got.slowest == 2);
    vj_stragglers_destroy(&s);
    s = make(3, 1.2);
    got = window(s, (const double[]){ 0, 0, 0 }, 3);
    assert_true(got.named == -1 && got.slowest == -1);
    vj_stragglers_destroy(&s);

    s = make(2, 0);   // 0: never
    for (int i = 0; i < 9; i++) assert_int_equal(window(s, (const double[]){ 1, 50 }, 2).named, -1);
    vj_stragglers_destroy(&s);
}

// One step of rank `r`: slots of unequal FLOP, and a pace with noise; now and then something else has the CPU for long.
static void made_step(vj_phase_clock *c, int r, uint64_t step, double slow)
{
    const uint64_t seed = 7, id = step * RANKS + (uint64_t)r;
    const double flop = 1e9 * (1 + vj_rng_uniform(seed, id, DRAWS, 0, 0)), noise = 1 + 0.2 * vj_rng_uniform(seed, id, DRAWS, 1, 0),
                 hiccup = vj_rng_uniform(seed, id, DRAWS, 2, 0) < 0.1 ? 20 : 1;
    vj_phase_step(c, slow * flop * 1e-10 * noise * hiccup, flop);
}

static void noise_and_unequal_masks_name_nobody(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        vj_stragglers *s = make(RANKS, 1.2);
        vj_phase_clock c[RANKS] = { 0 };
        int first = -1;
        for (int w = 0; w < 200; w++) {
            double figures[RANKS * VJ_PHASE_FIGURES];
            for (int r = 0; r < RANKS; r++) {
                for (int i = 0; i < 10; i++) made_step(&c[r], r, (uint64_t)(w * 10 + i), slow && r == 1 && w >= 50 ? 1.4 : 1);
                vj_phase_window(&c[r], figures + r * VJ_PHASE_FIGURES);
            }
            vj_straggler got;
            vj_stragglers_add(s, figures, &got);
            if (got.named >= 0 && first < 0) first = w;
            assert_true(got.named == -1 || (slow && got.named == 1));
        }
        assert_int_equal(first, slow ? 52 : -1);   // with the third window of being slow
        vj_stragglers_destroy(&s);
    }
}

static void laps_leave_no_gap(void **state)
{
    (void)state;
    vj_phase_clock c;
    vj_phase_start(&c);
    const double began = c.last;
    for (int i = 0; i < 100; i++) {
        const double seconds = vj_phase_lap(&c, (vj_phase)(i % VJ_PHASES));
        assert_true(seconds >= 0);
        vj_phase_step(&c, seconds, 1);
    }
    double figures[VJ_PHASE_FIGURES], sum = 0;
    const double all = c.last - began;
    vj_phase_window(&c, figures);
    for (int p = 0; p < VJ_PHASES; p++) sum += 100 * figures[p];
    assert_true(fabs(sum - all) <= 1e-9 * all + 1e-12 && figures[VJ_PHASE_COMMUNICATION] >= 0);
    vj_phase_window(&c, figures);   // nothing since
    for (int p = 0; p < VJ_PHASE_FIGURES; p++) assert_true(figures[p] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_rank_is_named_until_it_is_not),
        cmocka_unit_test(two_ranks_and_two_slow_ones),
        cmocka_unit_test(noise_and_unequal_masks_name_nobody),
        cmocka_unit_test(laps_leave_no_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
