// The monitors' figures on matrices whose answers are known in closed form.

#include "jobs/train/feature_stats.h"

#include <math.h>
#include <string.h>

#include "tests/support/scratch.h"

static void near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-10 * (1 + fabs(b)))) fail_msg("%.17g, %.17g expected", a, b);
}

static double rank_of(const double *x, int64_t n, int64_t C)
{
    double rank = 0;
    assert_ok(vj_feature_rank(x, n, C, &rank));
    return rank;
}

static void rank_counts_directions(void **state)
{
    (void)state;
    double identity[8 * 8] = { 0 };
    for (int i = 0; i < 8; i++) identity[i * 9] = 3;
    near(rank_of(identity, 8, 8), 8);                    // all directions alike
    double same[5 * 3];
    for (int i = 0; i < 5; i++) memcpy(same + i * 3, (double[]){ 1, -2, 0.5 }, 3 * sizeof *same);
    assert_true(fabs(rank_of(same, 5, 3) - 1) < 1e-5);   // one direction: the square root of rounding is left
    near(rank_of((double[]){ 4, 0, 0, 1 }, 2, 2), exp(-0.8 * log(0.8) - 0.2 * log(0.2)));   // singular values 4 and 1
    near(rank_of((double[]){ 3, 0, 0, 0, 3, 0 }, 2, 3), 2);                                 // wide
    const double tall = rank_of((double[]){ 3, 0, 0, 3, 0, 0, 0, 0 }, 4, 2);                // rows of zeros add nothing
    near(tall, 2);
    assert_true(isnan(rank_of((double[]){ 0, 0, 0, 0 }, 2, 2)));
    assert_true(isnan(rank_of((double[]){ 1, NAN, 0, 1 }, 2, 2)));
}

// A rotation in every plane changes neither singular values nor rank.
static void rank_does_not_depend_on_the_axes(void **state)
{
    (void)state;
    enum { N = 6, C = 7 };
    double x[N * C] = { 0 }, entropy = 0, sum = 0;
    for (int i = 0; i < N; i++) sum += 1 << i;
    for (int i = 0; i < N; i++) {
        x[i * C + i] = 1 << i;
        entropy -= (1 << i) / sum * log((1 << i) / sum);
    }
    near(rank_of(x, N, C), exp(entropy));
    for (int p = 0; p < C; p++) {
        for (int q = p + 1; q < C; q++) {
            for (int i = 0; i < N; i++) {
                const double a = x[i * C + p], b = x[i * C + q];
                x[i * C + p] = cos(0.3 * (p + 1)) * a - sin(0.3 * (p + 1)) * b;
                x[i * C + q] = sin(0.3 * (p + 1)) * a + cos(0.3 * (p + 1)) * b;
            }
        }
    }
    near(rank_of(x, N, C), exp(entropy));
}

static void eigenvalues_of_a_second_difference(void **state)
{
    (void)state;
    enum { N = 40 };
    double a[N * N] = { 0 }, values[N], found[N] = { 0 };
    for (int i = 0; i < N; i++) {
        a[i * N + i] = 2;
        if (i > 0) a[i * N + i - 1] = a[(i - 1) * N + i] = -1;
    }
    vj_eigenvalues(a, N, values);
    for (int k = 1; k <= N; k++) {   // 2 - 2 cos(k pi / (N + 1))
        const double want = 2 - 2 * cos(k * M_PI / (N + 1));
        for (int i = 0; i < N; i++) {
            if (fabs(values[i] - want) < 1e-12 && found[i] == 0) {
                found[i] = 1;
                break;
            }
            if (i == N - 1) fail_msg("eigenvalue %d, %g, is not there", k, want);
        }
    }
}

static void spread_is_the_mean_deviation(void **state)
{
    (void)state;
    // Columns: +-1 (deviation 1), constant (0), 0 0 6 6 (3).
    const double x[] = { 1, 7, 0, -1, 7, 0, 1, 7, 6, -1, 7, 6 };
    near(vj_feature_spread(x, 4, 3), (1.0 + 0 + 3) / 3);
    near(vj_feature_spread(x, 1, 3), 0);
}

static void cosine_compares_different_windows(void **state)
{
    (void)state;
    const double x[] = { 1, 0, 2, 0, 0, 3, 1, 1 };   // 0, 0, 90, 45 degrees
    const double h = sqrt(0.5);
    near(vj_feature_cosine(x, 4, 2, (uint64_t[]){ 1, 2, 3, 4 }), (1 + 0 + h + 0 + h + h) / 6);
    near(vj_feature_cosine(x, 4, 2, (uint64_t[]){ 1, 1, 2, 2 }), (0 + h + 0 + h) / 4);   // not the first two, not the last
    near(vj_feature_cosine(x, 2, 2, (uint64_t[]){ 5, 6 }), 1);
    assert_true(isnan(vj_feature_cosine(x, 2, 2, (uint64_t[]){ 5, 5 })));                // one window: nothing to compare
    near(vj_feature_cosine((double[]){ 1, 0, 0, 0 }, 2, 2, (uint64_t[]){ 1, 2 }), 0);
    assert_true(isnan(vj_feature_cosine(x, 1, 2, (uint64_t[]){ 1 })));
}

static void variance_of_rows(void **state)
{
    (void)state;
    vj_row_variance v;
    assert_ok(vj_row_variance_create(&v, 2));
    assert_true(isnan(vj_row_variance_mean(&v)));
    // Deviations of 1e-5 around 1000: a difference of large squares would see nothing of them.
    for (int i = 0; i < 1000; i++) vj_row_variance_add(&v, (double[]){ i % 2 ? 2 : -2, 1000 + (i % 2 ? 1e-5 : -1e-5) });
    assert_true(fabs(vj_row_variance_mean(&v) - (4 + 1e-10) / 2) < 1e-12);
    vj_row_variance_clear(&v);
    for (int i = 0; i < 10; i++) vj_row_variance_add(&v, (double[]){ 0, 1000 + (i % 2 ? 1e-5 : -1e-5) });
    assert_true(fabs(vj_row_variance_mean(&v) * 2 - 1e-10) < 1e-14);
    vj_row_variance_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_counts_directions),
        cmocka_unit_test(rank_does_not_depend_on_the_axes),
        cmocka_unit_test(eigenvalues_of_a_second_difference),
        cmocka_unit_test(spread_is_the_mean_deviation),
        cmocka_unit_test(cosine_compares_different_windows),
        cmocka_unit_test(variance_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
