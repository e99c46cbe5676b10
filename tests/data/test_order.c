// tests/data/test_order.c: which sample comes when (spec/data.md 4.4, 5.1 T1, T4 to T6, T11)

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/order.h"
#include "runtime/base/rng.h"
#include "tests/support/scratch.h"

static const char *const names[12] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l" };

static vj_plan *plan_of(uint64_t seed, int n, const int64_t *rows, const uint64_t *weights, uint64_t block)
{
    vj_plan *plan = NULL;
    if (vj_plan_create(&plan, seed, n, names, rows, weights, block) != VJ_OK) fail_msg("%s", vj_error_text());
    return plan;
}

static const int64_t table1_rows[5] = { 168000, 733000, 1100000, 19000000, 1000000 };
static const uint64_t table1_weights[5] = { 56, 188, 318, 188, 250 };

static void golden_of_the_papers_mix(void **state)
{
    (void)state;
    static const struct { int source; uint64_t ordinal; } want[20] = {
        { 2, 146 }, { 1, 50 }, { 2,
                                 134 }, { 2, 124 }, { 3, 42 }, { 4, 98 }, { 4, 40 }, { 4, 8 }, { 2, 132 }, { 2, 127 },
        { 4, 18 }, { 4, 57 }, { 3, 72 }, { 1, 90 }, { 1, 0 }, { 2, 53 }, { 4, 13 }, { 2, 154 }, { 1, 66 }, { 1, 5 },
    };
    static const int64_t rows[8] = { 248878, 22840, 808355, 149031, 6991705, 476258, 700118, 733577 };
    static const int counts[5] = { 280, 940, 1590, 940, 1250 };
    vj_plan *plan = plan_of(239, 5, table1_rows, table1_weights, 0);
    assert_int_equal(plan->segments[0].block, 500);
    int count[5] = { 0 };
    for (uint64_t g = 0; g < 5000; g++) {
        const vj_ref ref = vj_order(plan, g);
        count[ref.source]++;
        if (g < 20) {
            assert_int_equal(ref.source, want[g].source);
            assert_int_equal(ref.ordinal, want[g].ordinal);
        }
        if (g < 8) assert_int_equal(ref.row, rows[g]);
    }
    assert_memory_equal(count, counts, sizeof count);
    vj_plan_destroy(&plan);
}

static void quotas_stay_within_one_of_the_share(void **state)
{
    (void)state;
    for (uint32_t trial = 0; trial < 200; trial++) {
        int64_t rows[12];
        uint64_t weights[12], total = 0;
        const int n = 2 + (int)vj_rng_below(3, trial, 90, 0, 0, 11);
        for (int s = 0; s < n; s++) {
            rows[s] = 100;
            weights[s] = (uint64_t)exp(vj_rng_uniform(3, trial, 90, 1, (uint32_t)s) * log(1e6));
            total += weights[s];
        }
        vj_plan *plan = plan_of(trial, n, rows, weights, 0);
        const vj_plan_segment *seg = &plan->segments[0];
        for (uint64_t b = 0; b < 300; b++) {
            uint64_t sum = 0;
            for (int s = 0; s < n; s++) {
                const uint64_t now = vj_plan_before(seg, s, b), next = vj_plan_before(seg, s, b + 1);
                assert_true(next >= now);
                sum += next - now;
                const long double share = (long double)(b * seg->block) * weights[s] / total;
                assert_true(fabsl((long double)now - share) < 1);
            }
            assert_int_equal(sum, seg->block);
        }
        vj_plan_destroy(&plan);
    }
}

static void ordinals_and_rows_come_once_each(void **state)
{
    (void)state;
    const int64_t rows[4] = { 7, 50, 1, 300 };
    const uint64_t weights[4] = { 3, 10, 2, 5 };
    vj_plan *plan = plan_of(17, 4, rows, weights, 0);
    const uint64_t blocks = 5, n = blocks * plan->segments[0].block;
    for (int s = 0; s < 4; s++) {
        unsigned char *ordinal = calloc(n, 1);
        int *visits = calloc((size_t)rows[s], sizeof *visits);
        uint64_t count = 0;
        for (uint64_t g = 0; g < n; g++) {
            const vj_ref ref = vj_order(plan, g);
            if (ref.source != s) continue;
            count++;
            assert_true(ref.ordinal < n);
            assert_false(ordinal[ref.ordinal]);
            ordinal[ref.ordinal] = 1;
            assert_int_equal(ref.epoch, ref.ordinal / (uint64_t)rows[s]);
            visits[ref.row]++;
        }
        for (uint64_t k = 0; k < count; k++) assert_true(ordinal[k]);   // no gaps at a block end
        const int least = (int)(count / (uint64_t)rows[s]);
        for (int64_t r = 0; r < rows[s]; r++) assert_in_range(visits[r], least, least + 1);   // once per source epoch
        free(ordinal);
        free(visits);
    }
    vj_plan_destroy(&plan);
}

static void seeds_give_other_orders(void **state)
{
    (void)state;
    vj_plan *one = plan_of(1, 5, table1_rows, table1_weights, 0), *two = plan_of(2, 5, table1_rows, table1_weights, 0);
    assert_true(vj_plan_digest(one, 0) != vj_plan_digest(two, 0));
    int same = 0;
    for (uint64_t g = 0; g < 5000; g++) {
        const vj_ref a = vj_order(one, g), b = vj_order(two, g);
        same += a.source == b.source && a.row == b.row;
    }
    assert_true(same <= 3);   // chance: 5000 * sum(w^2 / N) = 0.007
    vj_plan_destroy(&one);
    vj_plan_destroy(&two);
    const int n = 20000;   // neighbouring samples draw independently
    double xy = 0, xx = 0;
    for (uint64_t g = 0; g < (uint64_t)n; g++) {
        const double x = vj_rng_uniform(1, g, VJ_TAG_CROP, 0, 0) - 0.5, y =
            vj_rng_uniform(1, g + 1, VJ_TAG_CROP, 0, 0) - 0.5;
        xy += x * y;
        xx += x * x;
    }
    assert_true(fabs(xy / xx) < 4 / sqrt(n));
}

static void decimals_become_integers(void **state)
{
    (void)state;
    uint64_t out[5];
    vj_weights_to_integers((const double[5]){ 0.056, 0.188, 0.318, 0.188, 0.25 }, 5, out);
    assert_memory_equal(out, table1_weights, sizeof out);
    vj_weights_to_integers((const double[3]){ 0.335, 0.1, 0.565 }, 3, out);
    assert_int_equal(out[0], 335);
    assert_int_equal(out[1], 100);
    assert_int_equal(out[2], 565);
    vj_weights_to_integers((const double[2]){ 83, 70000 }, 2, out);
    assert_int_equal(out[0], 83);
    assert_int_equal(out[1], 70000);
    vj_weights_to_integers((const double[3]){ 1.0 / 3, 2.0 / 3, 0 }, 3, out);
    assert_true(fabs((double)out[1] / (double)out[0] - 2) < 1e-8);
    assert_int_equal(out[2], 0);
    vj_weights_to_integers((const double[2]){ 1e-12, 1 }, 2, out);
    assert_true(out[0] >= 1);
}

static void impossible_plans_are_refused(void **state)
{
    (void)state;
    vj_plan *plan = NULL;
    const int64_t rows[2] = { 10, 0 };
    assert_int_equal(vj_plan_create(&plan, 1, 2, names, rows, (const uint64_t[2]){ 1, 1 }, 0), VJ_ERR_CONFIG);
    assert_non_null(strstr(vj_error_text(), "source b"));
    assert_int_equal(vj_plan_create(&plan, 1, 2, names, rows, (const uint64_t[2]){ 0, 0 }, 0), VJ_ERR_CONFIG);
    const int64_t both[2] = { 10, 10 };
    assert_int_equal(vj_plan_create(&plan, 1, 2, names, both, (const uint64_t[2]){ 1, 99 }, 16), VJ_ERR_CONFIG);
    assert_non_null(strstr(vj_error_text(), "fewer than two samples in a block of 16"));
    assert_null(plan);
}

static void weights_of_the_configuration(void **state)
{
    (void)state;
    vj_source sources[2] = { { .name = "kinetics", .weight = 3, .train = { .rows = 30 } },
                             { .name = "pictures", .weight = 1, .train = { .rows = 10 }, .kind = VJ_SOURCE_IMAGE } };
    const vj_catalog catalog = { .dir = (char *)"shards", .n_sources = 2, .sources = sources };
    vj_data_config config = { 0 };
    vj_plan *plan = NULL;
    assert_int_equal(vj_plan_from_catalog(&plan, 1, &catalog, &config, 16), VJ_OK);
    assert_int_equal(plan->segments[0].weight[0], 3);
    assert_int_equal(plan->segments[0].weight[1], 1);
    vj_plan_destroy(&plan);

    config.weights = (vj_weight_list){ .n = 1, .name = { "pictures" }, .v = { 0.5 } };
    assert_int_equal(vj_plan_from_catalog(&plan, 1, &catalog, &config, 16), VJ_OK);
    for (uint64_t g = 0; g < 100; g++) assert_int_equal(vj_order(plan, g).source, 1);
    vj_plan_destroy(&plan);

    strcpy(config.weights.name[0], "picures");
    assert_int_equal(vj_plan_from_catalog(&plan, 1, &catalog, &config, 16), VJ_ERR_CONFIG);
    assert_non_null(strstr(vj_error_text(), "did you mean 'pictures'"));

    config.weights.n = 0;
    config.batch_exact = true;
    assert_int_equal(vj_plan_from_catalog(&plan, 1, &catalog, &config, 8), VJ_OK);
    for (uint64_t step = 0; step < 20; step++) {
        int videos = 0;
        for (uint64_t i = 0; i < 8; i++) videos += vj_order(plan, 8 * step + i).source == 0;
        assert_int_equal(videos, 6);
    }
    vj_plan_destroy(&plan);
}

// T9: weights that change at g0. What came before is as it was, every source goes on with its next ordinal, and the new shares
// are exact from block to block.
static void the_mix_may_change(void **state)
{
    (void)state;
    enum { N = 4, COUNT = 60000 };
    const int64_t rows[N] = { 700, 90, 11, 5000 };
    const char *const called[N] = { "a", "b", "c", "d" };
    const uint64_t weights[3][N] = { { 5, 3, 1, 1 }, { 1, 0, 7, 2 }, { 0, 4, 1, 95 } };
    const uint64_t at[3] = { 0, 4001, 23456 };   // neither is a border of a block
    vj_plan *plain = NULL, *mixed = NULL;
    OK(vj_plan_create(&plain, 239, N, called, rows, weights[0], 0));
    OK(vj_plan_create(&mixed, 239, N, called, rows, weights[0], 0));
    uint64_t first[3] = { 0 };
    for (int k = 1; k < 3; k++) {
        OK(vj_plan_append(mixed, at[k], called, weights[k], 0, &first[k]));
        assert_true(first[k] >= at[k] && first[k] < at[k] + mixed->segments[k - 1].block);
    }
    static unsigned char seen[N][COUNT];
    uint64_t count[N] = { 0 };
    memset(seen, 0, sizeof seen);
    for (uint64_t g = 0; g < COUNT; g++) {
        const vj_ref r = vj_order(mixed, g);
        if (g < first[1]) {
            const vj_ref before = vj_order(plain, g);
            assert_true(r.source == before.source && r.ordinal == before.ordinal && r.epoch == before.epoch && r.row == before.row);
        }
        const int k = g >= first[2] ? 2 : g >= first[1] ? 1 : 0;
        assert_true(weights[k][r.source] > 0);
        assert_true(r.ordinal < COUNT && !seen[r.source][r.ordinal]);
        seen[r.source][r.ordinal] = 1;
        count[r.source]++;
        // At a border of a block: no ordinal was left out, and the shares are exact.
        const vj_plan_segment *seg = &mixed->segments[k];
        const uint64_t done = g + 1 - seg->first;
        if (done % seg->block != 0) continue;
        for (int s = 0; s < N; s++) {
            for (uint64_t o = 0; o < count[s]; o += 97) assert_true(seen[s][o]);
            assert_true(count[s] == 0 || seen[s][count[s] - 1]);
            const double share = (double)done * (double)weights[k][s] / (double)seg->total;
            assert_true(fabs((double)(count[s] - seg->base[s]) - share) < 1);
        }
    }
    // Digests: equal until the change was seen, so a waiting run may be given a new one; different afterwards.
    assert_int_equal(vj_plan_digest(plain, first[1]), vj_plan_digest(mixed, first[1]));
    assert_true(vj_plan_digest(plain, first[1] + 1) != vj_plan_digest(mixed, first[1] + 1));
    assert_fails(vj_plan_append(mixed, 10, called, weights[0], 0, NULL), VJ_ERR_CONFIG, "comes before");
    assert_fails(vj_plan_append(mixed, COUNT, called, (const uint64_t[N]){ 0 }, 0, NULL), VJ_ERR_CONFIG, "weight 0");
    vj_plan_destroy(&plain);
    vj_plan_destroy(&mixed);
}

static void changes_are_read_from_text(void **state)
{
    (void)state;
    vj_mix_change c[VJ_LIST_MAX];
    int n;
    OK(vj_mix_parse("", c, &n));
    assert_int_equal(n, 0);
    OK(vj_mix_parse("100: a=1 b=2.5; 2000: a=0;", c, &n));
    assert_int_equal(n, 2);
    assert_int_equal(c[0].step, 100);
    assert_int_equal(c[0].weights.n, 2);
    assert_string_equal(c[0].weights.name[1], "b");
    assert_true(c[0].weights.v[1] == 2.5 && c[1].step == 2000 && c[1].weights.v[0] == 0);
    assert_fails(vj_mix_parse("a=1", c, &n), VJ_ERR_CONFIG, "STEP: SOURCE=WEIGHT");
    assert_fails(vj_mix_parse("x: a=1", c, &n), VJ_ERR_CONFIG, "'x' is no step");
    assert_fails(vj_mix_parse("5: a=1; 5: a=2", c, &n), VJ_ERR_CONFIG, "does not come after");
    assert_fails(vj_mix_parse("5: a=-1", c, &n), VJ_ERR_CONFIG, "a weight from 0");
    assert_fails(vj_mix_parse("5:", c, &n), VJ_ERR_CONFIG, "weights were expected");
    assert_fails(vj_mix_parse("5: =3", c, &n), VJ_ERR_CONFIG, "SOURCE=WEIGHT was expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_of_the_papers_mix),
        cmocka_unit_test(quotas_stay_within_one_of_the_share),
        cmocka_unit_test(ordinals_and_rows_come_once_each),
        cmocka_unit_test(seeds_give_other_orders),
        cmocka_unit_test(decimals_become_integers),
        cmocka_unit_test(impossible_plans_are_refused),
        cmocka_unit_test(weights_of_the_configuration),
        cmocka_unit_test(the_mix_may_change),
        cmocka_unit_test(changes_are_read_from_text),
    };
    return cmocka_run_group_tests_name("data/order", tests, NULL, NULL);
}
