// Learning rate, weight decay and momentum: the values of spec/pretrain.md 5 and 6.3, and the ends of each curve.

#include "model/schedules.h"

#include <math.h>

#include "tests/support/scratch.h"

// `digits` significant digits are known.
static void near(double got, double want, int digits)
{
    if (fabs(got / want - 1) > 0.5001 * pow(10, 1 - digits)) fail_msg("%.12g, expected %.12g", got, want);
}

static void warm_up_then_constant(void **state)
{
    (void)state;
    const double start = 1e-4, ref = 5.25e-4;
    near(vj_warmup_cosine(1, 12000, 240000, start, ref, ref), 1.000354167e-4, 10);
    near(vj_warmup_cosine(6000, 12000, 240000, start, ref, ref), 3.125e-4, 10);
    near(vj_warmup_cosine(11999, 12000, 240000, start, ref, ref), 5.249645833e-4, 10);
    assert_true(vj_warmup_cosine(12000, 12000, 240000, start, ref, ref) == ref);
    assert_true(vj_warmup_cosine(239999, 12000, 240000, start, ref, ref) == ref);
    assert_true(vj_warmup_cosine(1000000, 12000, 240000, start, ref, ref) == ref);
    assert_true(vj_warmup_cosine(1, 0, 10, start, ref, ref) == ref);   // no warm-up
}

// The abbreviated recipe: 90,000 steps, with the published scale of 1.25 (112,500) and with 1.
static void warm_up_then_cosine(void **state)
{
    (void)state;
    near(vj_warmup_cosine(90000, 12000, 112500, 2e-4, 6.25e-4, 1e-6), 7.504e-5, 4);
    near(vj_warmup_cosine(45000, 12000, 112500, 2e-4, 6.25e-4, 1e-6), 4.732e-4, 4);
    near(vj_warmup_cosine(45000, 12000, 90000, 2e-4, 6.25e-4, 1e-6), 3.877e-4, 4);
    near(vj_warmup_cosine(90000, 12000, 90000, 2e-4, 6.25e-4, 1e-6), 1e-6, 9);
    near(vj_cosine_wd(90000, 112500, 0.04, 0.4), 0.3656, 4);
    near(vj_cosine_wd(90000, 90000, 0.04, 0.4), 0.4, 9);
    near(vj_linear_ema(90000, 112500, 0.999, 1), 0.9998, 9);
    near(vj_linear_ema(90000, 90000, 0.999, 1), 1, 9);
    assert_true(vj_linear_ema(0, 90000, 0.999, 1) == 0.999);
    assert_true(vj_linear_ema(12345, 90000, 0.99925, 0.99925) == 0.99925);
}

static void cooldown(void **state)
{
    (void)state;
    near(vj_linear_decay(12000, 15000, 5.25e-4, 1e-6), 1.058e-4, 4);
    near(vj_linear_decay(1, 15000, 5.25e-4, 1e-6), 5.249650667e-4, 10);
    near(vj_linear_decay(1, 12000, 5.25e-4, 1e-6), 5.249563333e-4, 10);
    near(vj_linear_decay(6000, 12000, 5.25e-4, 1e-6), 2.63e-4, 9);
    near(vj_linear_decay(12000, 12000, 5.25e-4, 1e-6), 1e-6, 9);
    assert_true(vj_linear_decay(0, 12000, 5.25e-4, 1e-6) == 5.25e-4);
}

// No curve passes its end, in either direction, not by the last bit, and every value between is between.
static void ends_are_not_passed(void **state)
{
    (void)state;
    for (int64_t s = 0; s <= 300; s++) {
        assert_true(vj_cosine_wd(s, 100, 0.04, 0.4) <= 0.4 && vj_cosine_wd(s, 100, 0.4, 0.04) >= 0.04);
        assert_true(vj_cosine_wd(s, 100, 0.04, 0.4) >= 0.04 - 1e-15 && vj_cosine_wd(s, 100, 0.4, 0.04) <= 0.4 + 1e-15);
        assert_true(vj_warmup_cosine(s, 10, 100, 1e-4, 1e-3, 1e-5) >= 1e-5);
        assert_true(vj_warmup_cosine(s, 10, 100, 1e-4, 1e-3, 1e-5) <= 1e-3 + 1e-18);
    }
    for (int64_t s = 1; s <= 100; s++)
        assert_true(vj_cosine_wd(s, 100, 0.04, 0.4) > vj_cosine_wd(s - 1, 100, 0.04, 0.4));
    for (int64_t s = 11; s < 100; s++) {
        assert_true(vj_warmup_cosine(s, 10, 100, 1e-4, 1e-3, 1e-5) <
                    vj_warmup_cosine(s - 1, 10, 100, 1e-4, 1e-3, 1e-5));
    }
    assert_true(isfinite(vj_warmup_cosine(0, 0, 0, 1e-4, 1e-3, 1e-3)) &&
                isfinite(vj_linear_decay(1, 0, 1, 0)));   // no steps at all
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warm_up_then_constant),
        cmocka_unit_test(warm_up_then_cosine),
        cmocka_unit_test(cooldown),
        cmocka_unit_test(ends_are_not_passed),
    };
    return cmocka_run_group_tests_name("model/schedules", tests, NULL, NULL);
}
