// Units, offsets, padding, owners.

#include "parallel/layout.h"

#include <string.h>

#include "tests/support/scratch.h"

static vj_param vector(const char *name, int64_t n)
{
    vj_param p = { .rank = 1, .shape = { n } };
    vj_format(p.name, sizeof p.name, "%s", name);
    return p;
}

static vj_param matrix(const char *name, int64_t rows, int64_t columns)
{
    vj_param p = { .rank = 2, .shape = { rows, columns } };
    vj_format(p.name, sizeof p.name, "%s", name);
    return p;
}

static vj_layout *two_units(int64_t quantum)
{
    vj_layout *l = NULL;
    const vj_param params[] = { matrix("a.weight", 5, 13), vector("a.bias", 3), vector("n.weight", 64),
                                matrix("b.bias_table", 7, 9) };
    assert_ok(vj_layout_create(&l, "encoder", quantum));
    assert_ok(vj_layout_unit(l, "first"));
    assert_ok(vj_layout_param(l, &params[0]));
    assert_ok(vj_layout_param(l, &params[1]));
    assert_ok(vj_layout_unit(l, "second"));
    assert_ok(vj_layout_param(l, &params[2]));
    assert_ok(vj_layout_param(l, &params[3]));
    return l;
}

static void parameters_start_aligned(void **state)
{
    (void)state;
    vj_layout *l = two_units(8);
    assert_int_equal(l->n_units, 2);
    assert_int_equal(l->n_params, 4);
    static const struct {
        int unit;
        int64_t offset, count;
    } want[4] = { { 0, 0, 65 }, { 0, 128, 3 }, { 1, 0, 64 }, { 1, 64, 63 } };
    for (int i = 0; i < 4; i++) {
        assert_int_equal(l->params[i].unit, want[i].unit);
        assert_int_equal(l->params[i].offset, want[i].offset);
        assert_int_equal(l->params[i].count, want[i].count);
    }
    assert_int_equal(l->units[0].used, 131);
    assert_int_equal(l->units[1].used, 127);
    assert_int_equal(l->units[0].length, 512);   // a multiple of 8 * 64
    assert_int_equal(l->units[1].first_param, 2);
    assert_int_equal(l->units[1].n_params, 2);
    assert_int_equal(vj_layout_count(l), 65 + 3 + 64 + 63);
    assert_int_equal(vj_layout_length(l), 1024);
    assert_int_equal(vj_layout_find(l, "n.weight"), 2);
    assert_int_equal(vj_layout_find(l, "n"), -1);
    vj_layout_destroy(&l);
    assert_null(l);
    vj_layout_destroy(&l);
}

static void decay_follows_rank_and_name(void **state)
{
    (void)state;
    vj_layout *l = two_units(1);
    static const bool want[4] = { true, false, false, false };   // a matrix with "bias" in its name is not decayed
    for (int i = 0; i < 4; i++) assert_int_equal(l->params[i].decay, want[i]);
    vj_layout_destroy(&l);
}

// Whatever the number of ranks: intervals of chunks, one behind the other, together the whole unit.
static void any_number_of_ranks_shares_a_unit(void **state)
{
    (void)state;
    static const int64_t quanta[] = { 1, 8, 1024 };
    for (int q = 0; q < 3; q++) {
        vj_layout *l = two_units(quanta[q]);
        for (int u = 0; u < l->n_units; u++) {
            const int64_t chunk = l->units[u].length / quanta[q];
            assert_int_equal(chunk % 64, 0);
            for (int G = 1; G <= 17; G++) {
                int64_t at = 0, begin, end, least = INT64_MAX, most = 0;
                for (int r = 0; r < G; r++) {
                    vj_layout_owned(l, u, r, G, &begin, &end);
                    assert_int_equal(begin, at);
                    assert_true(end >= begin && (end - begin) % chunk == 0);
                    const int64_t n = (end - begin) / chunk;
                    least = n < least ? n : least;
                    most = n > most ? n : most;
                    at = end;
                }
                assert_int_equal(at, l->units[u].length);
                assert_true(most - least <= 1);
            }
        }
        vj_layout_destroy(&l);
    }
}

// More parameters than the first allocations hold, and all of them still there.
static void tables_grow(void **state)
{
    (void)state;
    vj_layout *l = NULL;
    assert_ok(vj_layout_create(&l, "encoder", 1));
    for (int u = 0; u < 37; u++) {
        char name[32];
        vj_format(name, sizeof name, "unit.%d", u);
        assert_ok(vj_layout_unit(l, name));
        for (int i = 0; i < 5; i++) {
            vj_format(name, sizeof name, "p.%d.%d", u, i);
            const vj_param p = vector(name, u + i + 1);
            assert_ok(vj_layout_param(l, &p));
        }
    }
    assert_int_equal(l->n_params, 37 * 5);
    for (int u = 0; u < 37; u++) {
        for (int i = 0; i < 5; i++) {
            char name[32];
            vj_format(name, sizeof name, "p.%d.%d", u, i);
            const int p = vj_layout_find(l, name);
            assert_int_equal(p, u * 5 + i);
            assert_int_equal(l->params[p].count, u + i + 1);
            assert_int_equal(l->params[p].unit, u);
        }
    }
    vj_layout_destroy(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_start_aligned),
        cmocka_unit_test(decay_follows_rank_and_name),
        cmocka_unit_test(any_number_of_ranks_shares_a_unit),
        cmocka_unit_test(tables_grow),
    };
    return cmocka_run_group_tests_name("parallel/layout", tests, NULL, NULL);
}
