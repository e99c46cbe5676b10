// Principal components: found in features that were made from known ones, the same bits each time, and colours that spread.

#include "evals/pca.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"

enum { N = 500, C = 24 };

static double noise(uint64_t n)
{
    n = (n + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
    n = (n ^ (n >> 27)) * 0x94d049bb133111eb;
    return (double)((n ^ (n >> 31)) >> 11) * 0x1p-52 - 1;
}

// Standard deviations 3, 2, 1 along the axes 5, 2 and 11, little elsewhere, around a mean that is not zero.
static void make(float *x)
{
    static const int axes[] = { 5, 2, 11 };
    static const double size[] = { 3, 2, 1 };
    for (int i = 0; i < N; i++) {
        for (int c = 0; c < C; c++) x[i * C + c] = (float)(10 + 0.01 * noise((uint64_t)(i * C + c)));
        for (int k = 0; k < 3; k++)
            x[i * C + axes[k]] += (float)(size[k] * sqrt(3) * noise((uint64_t)(1000000 + 3 * i + k)));
    }
}

static void known_directions_are_found(void **state)
{
    (void)state;
    static float x[N * C];
    static const int axes[] = { 5, 2, 11 };
    make(x);
    vj_pca p, again;
    OK(vj_pca_fit(&p, x, N, C, 3));
    double total = 0;
    for (int k = 0; k < 3; k++) {
        assert_true(p.components[k * C + axes[k]] > 0.99);   // the largest entry is positive
        total += p.share[k];
        for (int m = 0; m <= k; m++) {
            double dot = 0;
            for (int c = 0; c < C; c++) dot += p.components[k * C + c] * p.components[m * C + c];
            assert_true(fabs(dot - (k == m)) < 1e-12);
        }
    }
    assert_true(total > 0.999 && total <= 1 + 1e-12);
    assert_true(p.share[0] > p.share[1] && p.share[1] > p.share[2]);
    OK(vj_pca_fit(&again, x, N, C, 3));
    assert_memory_equal(p.components, again.components, 3 * C * sizeof(double));
    vj_pca_free(&p);
    vj_pca_free(&again);
}

static void colours_follow_the_components(void **state)
{
    (void)state;
    static float x[N * C];
    static unsigned char rgb[3 * N];
    make(x);
    vj_pca p;
    OK(vj_pca_fit(&p, x, N, C, 3));
    OK(vj_pca_rgb(&p, x, N, rgb));
    int low = 0, high = 0, wrong = 0;
    for (int i = 0; i < N; i++) {
        low += rgb[3 * i] == 0;
        high += rgb[3 * i] == 255;
        for (int k = i + 1; k < N; k += 97) {   // red grows along axis 5
            const double a = x[i * C + 5], b = x[k * C + 5];
            if (fabs(a - b) > 1 && (a > b) != (rgb[3 * i] > rgb[3 * k]) && rgb[3 * i] != rgb[3 * k]) wrong++;
        }
    }
    assert_true(low >= 10 && high >= 10 && low < 40 && high < 40);
    assert_int_equal(wrong, 0);
    memset(x, 0, sizeof x);   // nothing varies: some grey, no crash
    OK(vj_pca_rgb(&p, x, N, rgb));
    vj_pca_free(&p);
    OK(vj_pca_fit(&p, x, N, C, 3));
    assert_true(p.share[0] == 0);
    vj_pca_free(&p);
    assert_fails(vj_pca_fit(&p, x, 1, C, 3), VJ_ERR_BUG, "components");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_directions_are_found),
        cmocka_unit_test(colours_follow_the_components),
    };
    return cmocka_run_group_tests_name("evals/pca", tests, NULL, NULL);
}
