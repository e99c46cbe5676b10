// tests/data/test_clip_sampler.c: which frames make a clip (spec/pretrain.md 7.3, spec/data.md 1.8, 5.1 T13)

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "data/clip_sampler.h"
#include "runtime/base/rng.h"

static void check(int64_t n, int64_t num, int64_t den, int64_t fpc, int64_t end, bool padded, const int64_t *want)
{
    int64_t got[64];
    assert_int_equal(vj_clip_indices_at(n, vj_clip_step(num, den, 4), fpc, end, got), padded);
    for (int64_t i = 0; i < fpc; i++) assert_int_equal(got[i], want[i]);
}

static void published_examples(void **state)
{
    (void)state;
    check(300, 30000, 1001, 16, 112, false,
          (const int64_t[16]){ 0, 7, 14, 22, 29, 37, 44, 52, 59, 67, 74, 82, 89, 97, 104, 111 });
    check(300, 30000, 1001, 16, 299, false,
          (const int64_t[16]){ 187, 194, 201, 209, 216, 224, 231, 239, 246, 254, 261, 269, 276, 284, 291, 298 });
    check(45, 12, 1, 16, 0, true, (const int64_t[16]){ 0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32, 35, 38, 41, 44, 44 });
    check(48, 12, 1, 16, 0, true, (const int64_t[16]){ 0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32, 35, 38, 41, 44, 47 });
}

static void steps_follow_the_rounded_up_rate(void **state)
{
    (void)state;
    static const struct { int64_t num, den; int64_t step; } table[] = {
        { 30, 1, 7 }, { 30000, 1001,
                        7 }, { 25, 1, 6 }, { 24, 1, 6 }, { 24000, 1001, 6 }, { 12, 1, 3 }, { 5, 1, 1 }, { 120, 1, 30 },
        { 10, 1, 2 }, { 3, 1, 1 }, { 0, 1, 1 }, { 1000010, 100001, 2 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(vj_clip_step(table[i].num, table[i].den, 4), table[i].step);
    }
}

static void short_videos_repeat_their_last_frame(void **state)
{
    (void)state;
    check(1, 30, 1, 4, 0, true, (const int64_t[4]){ 0, 0, 0, 0 });
    check(5, 30, 1, 4, 0, true, (const int64_t[4]){ 4, 4, 4, 4 });      // shorter than one step
    check(7, 30, 1, 4, 0, true, (const int64_t[4]){ 0, 6, 6, 6 });      // one point: the first frame
    check(28, 30, 1, 4, 0, true, (const int64_t[4]){ 0, 9, 18, 27 });   // exactly the clip
    check(29, 30, 1, 4, 28, false,
          (const int64_t[4]){ 0, 9, 18, 27 }); // one frame more: the long branch, one possible end
}

// The published arithmetic again, in its own words, over a grid of sizes and rates.
static void equals_the_formula(void **state)
{
    (void)state;
    static const int64_t rates[][2] = { { 24000, 1001 }, { 30000, 1001 }, { 5, 1 }, { 120, 1 }, { 25, 1 } };
    for (size_t r = 0; r < 5; r++) {
        for (int64_t fpc = 1; fpc <= 64; fpc *= 4) {
            const int64_t rate = (int64_t)ceil((double)rates[r][0] / (double)rates[r][1]), step = rate / 4, L =
                fpc * step;
            const int64_t sizes[] = { 1, 2, step, L - 1, L, L + 1, 2 * L, 1000 };
            for (size_t k = 0; k < 8; k++) {
                const int64_t n = sizes[k];
                if (n < 1) continue;
                for (uint64_t draw = 0; draw < 5; draw++) {
                    int64_t got[64];
                    const uint64_t u = vj_rng_u64(1, draw, 50, 0, 0);
                    vj_clip_indices(n, rates[r][0], rates[r][1], fpc, 4, u, got);
                    const int64_t end = n > L ? L + (int64_t)vj_mulhi64(u, (uint64_t)(n - L)) : 0, m = n / step;
                    assert_true(n <= L || end < n);
                    for (int64_t i = 0; i < fpc; i++) {
                        double x, low = 0, high = (double)n - 1;
                        if (n > L) {
                            low = (double)(end - L);
                            high = (double)(end - 1);
                            x = fpc == 1 ? low : low + (double)i * ((double)L / (double)(fpc - 1));
                        } else if (i < m) {
                            x = m == 1 ? 0 : (double)i * ((double)n / (double)(m - 1));
                        } else {
                            x = (double)n;
                        }
                        assert_int_equal(got[i], (int64_t)fmin(fmax(x, low), high));
                        assert_in_range(got[i], 0, n - 1);
                        assert_true(i == 0 || got[i] >= got[i - 1]);
                    }
                }
            }
        }
    }
}

static void ends_are_drawn_evenly(void **state)
{
    (void)state;
    int count[10] = { 0 };
    for (uint64_t g = 0; g < 10000; g++) {
        int64_t index[4];
        vj_clip_indices(4 * 7 + 10, 30, 1, 4, 4, vj_rng_u64(3, g, VJ_TAG_TEMPORAL, 0, 0), index);
        count[index[0]]++;
    }
    for (int i = 0; i < 10; i++) assert_in_range(count[i], 850, 1150);   // 1000 +- 5 sigma
}

static void times_stay_inside(void **state)
{
    (void)state;
    double t[8];
    for (uint64_t g = 0; g < 1000; g++) {
        assert_false(vj_clip_times(4.0, 8, 4, vj_rng_u64(3, g, VJ_TAG_TEMPORAL, 0, 0), t));
        assert_true(t[0] >= 0 && t[7] < 4.0);
        for (int i = 1; i < 8; i++) assert_true(fabs(t[i] - t[i - 1] - 0.25) < 1e-12);
    }
    assert_true(vj_clip_times(1.0, 8, 4, UINT64_MAX, t));   // too short: from the start, past the end
    assert_true(t[0] == 0 && t[7] == 1.75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_examples),
        cmocka_unit_test(steps_follow_the_rounded_up_rate),
        cmocka_unit_test(short_videos_repeat_their_last_frame),
        cmocka_unit_test(equals_the_formula),
        cmocka_unit_test(ends_are_drawn_evenly),
        cmocka_unit_test(times_stay_inside),
    };
    return cmocka_run_group_tests_name("data/clip_sampler", tests, NULL, NULL);
}
