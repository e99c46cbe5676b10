// tests/data/test_perm.c: the keyed permutation (spec/data.md 4.3, 5.1 T1 to T3)
// label: slow

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/perm.h"
#include "runtime/base/rng.h"

static void golden_values(void **state)
{
    (void)state;
    static const uint64_t want[8] = { 190, 730, 553, 535, 775, 802, 807, 365 };
    for (uint64_t i = 0; i < 8; i++) assert_int_equal(vj_perm(239, i, 1000, 7, 0), want[i]);
}

static void check_bijection(uint64_t seed, uint64_t n, bool inverse, unsigned char *seen)
{
    memset(seen, 0, n);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t v = vj_perm(seed, i, n, 1, 3);
        assert_true(v < n);
        assert_false(seen[v]);
        seen[v] = 1;
        if (inverse) assert_int_equal(vj_perm_inverse(seed, v, n, 1, 3), i);
    }
}

static void is_a_bijection(void **state)
{
    (void)state;
    unsigned char *seen = malloc((size_t)1 << 20);
    for (uint64_t n = 1; n <= 4097; n++) check_bijection(239, n, n < 200 || n % 41 == 0, seen);
    for (uint32_t k = 0; k < 4; k++) check_bijection(k, 1 + vj_rng_below(5, k, 99, 0, 0, 1 << 20), false, seen);
    free(seen);
}

static void large_sizes_stay_in_range_and_invert(void **state)
{
    (void)state;
    const uint64_t sizes[] =
        { (uint64_t)1 << 40, ((uint64_t)1 << 40) - 1, ((uint64_t)1 << 61) + 12345, (uint64_t)1 << 62 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        for (uint32_t j = 0; j < 500; j++) {
            const uint64_t i = vj_rng_below(11, j, 98, 0, 0, sizes[k]), v = vj_perm(7, i, sizes[k], 16, j);
            assert_true(v < sizes[k]);
            assert_int_equal(vj_perm_inverse(7, v, sizes[k], 16, j), i);
        }
    }
}

// Over many epochs each position takes each value equally often. z of a chi-square with (n-1)^2 degrees of freedom.
static double position_z(uint64_t n, uint32_t epochs)
{
    uint32_t *count = calloc(n * n, sizeof *count);
    for (uint32_t e = 0; e < epochs; e++) {
        for (uint64_t i = 0; i < n; i++) count[i * n + vj_perm(239, i, n, 16, e)]++;
    }
    const double expected = (double)epochs / (double)n;
    double sum = 0;
    for (uint64_t k = 0; k < n * n; k++) sum += (count[k] - expected) * (count[k] - expected) / expected;
    free(count);
    const double freedom = (double)(n - 1) * (double)(n - 1);
    return (sum * (double)(n - 1) / (double)n - freedom) / sqrt(2 * freedom);
}

static void positions_are_even(void **state)
{
    (void)state;
    assert_true(fabs(position_z(10, 20000)) < 4);
    assert_true(fabs(position_z(37, 6000)) < 4);
    assert_true(fabs(position_z(100, 6000)) < 4);
    assert_true(fabs(position_z(1000, 600)) < 4);
}

static void all_orders_of_four_come_up(void **state)
{
    (void)state;
    int count[256] = { 0 };
    const int epochs = 24000;
    for (uint32_t e = 0; e < (uint32_t)epochs; e++) {
        int code = 0;
        for (uint64_t i = 0; i < 4; i++) code = 4 * code + (int)vj_perm(1, i, 4, 17, e);
        count[code]++;
    }
    double chi = 0;
    int orders = 0;
    for (int c = 0; c < 256; c++) {
        if (count[c] == 0) continue;
        orders++;
        chi += (count[c] - 1000.0) * (count[c] - 1000.0) / 1000.0;
    }
    assert_int_equal(orders, 24);
    assert_true(chi < 50);
}

static void neighbours_land_far_apart(void **state)
{
    (void)state;
    double sum = 0;
    const int n = 1000, keys = 16;
    for (uint32_t key = 0; key < (uint32_t)keys; key++) {
        for (uint64_t i = 0; i + 1 < (uint64_t)n; i++) {
            sum += fabs((double)vj_perm(key, i, (uint64_t)n, 16, 0) - (double)vj_perm(key, i + 1, (uint64_t)n, 16, 0));
        }
    }
    const double mean = sum / (keys * (n - 1));
    assert_true(fabs(mean - n / 3.0) < 0.1 * n / 3.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_values),
        cmocka_unit_test(is_a_bijection),
        cmocka_unit_test(large_sizes_stay_in_range_and_invert),
        cmocka_unit_test(positions_are_even),
        cmocka_unit_test(all_orders_of_four_come_up),
        cmocka_unit_test(neighbours_land_far_apart),
    };
    return cmocka_run_group_tests_name("data/perm", tests, NULL, NULL);
}
