// tests/data/test_quarantine.c: the list of bad rows

#include <string.h>

#include "data/quarantine.h"
#include "tests/support/scratch.h"

static vj_source sources[2] =
    { { .name = "a", .train = { .rows = 100000 } }, { .name = "b", .train = { .rows = 10 } } };
static const vj_catalog catalog = { .dir = (char *)"shards", .n_sources = 2, .sources = sources };

static vj_quarantine *fresh(void)
{
    vj_quarantine *q = NULL;
    assert_ok(vj_quarantine_create(&q, &catalog));
    return q;
}

static bool add(vj_quarantine *q, int source, int64_t row, int64_t *count)
{
    vj_quarantined e = { .source = source, .row = row, .key = 0xfedcba9876543210u, .g = (uint64_t)row << 33,
                         .reason = "ends \"early\"\n" };
    snprintf(e.where, sizeof e.where, "a-000.h5 row %lld", (long long)row);
    return vj_quarantine_add(q, &e, count);
}

static void remembers_rows(void **state)
{
    (void)state;
    vj_quarantine *q = fresh();
    int64_t count = 0;
    assert_int_equal(vj_quarantine_digest(q), 0);
    assert_false(vj_quarantine_has(q, 0, 0));
    for (int64_t row = 0; row < 3000; row++) {
        assert_true(add(q, 0, row * 31, &count));
        assert_int_equal(count, row + 1);
    }
    assert_false(add(q, 0, 31, &count));
    assert_int_equal(count, 3000);
    for (int64_t row = 0; row < 93000; row++) assert_true(vj_quarantine_has(q, 0, row) == (row % 31 == 0));
    assert_false(vj_quarantine_has(q, 1, 0));
    assert_int_equal(vj_quarantine_count(q, 1), 0);
    assert_int_equal(vj_quarantine_count(q, -1), 3000);
    // Found ahead is not met: only what delivered samples met counts, in their order.
    char text[400];
    vj_quarantine_describe(q, 0, 2, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(vj_quarantine_meet(q, 0, 62, 5), 1);
    assert_int_equal(vj_quarantine_meet(q, 0, 0, 6), 2);
    assert_int_equal(vj_quarantine_meet(q, 0, 62, 7), 2);
    assert_int_equal(vj_quarantine_meet(q, 0, 31, 8), 3);
    vj_quarantine_describe(q, 0, 2, text, sizeof text);
    assert_string_equal(text, "\n  a-000.h5 row 62 (key fedcba9876543210): ends \"early\"\n"
                              "\n  a-000.h5 row 0 (key fedcba9876543210): ends \"early\"\n");
    vj_quarantine_destroy(&q);
}

static void digest_ignores_the_order_and_knows_growth(void **state)
{
    (void)state;
    vj_quarantine *a = fresh(), *b = fresh();
    add(a, 0, 5, NULL);
    const uint64_t one = vj_quarantine_digest(a);
    add(a, 1, 7, NULL);
    add(b, 1, 7, NULL);
    const uint64_t other = vj_quarantine_digest(b);
    add(b, 0, 5, NULL);
    assert_int_equal(vj_quarantine_digest(a), vj_quarantine_digest(b));
    assert_true(one != other && one != 0);
    assert_true(vj_quarantine_contains_digest(a, 0));
    assert_true(vj_quarantine_contains_digest(a, one));
    assert_true(vj_quarantine_contains_digest(a, vj_quarantine_digest(a)));
    assert_false(vj_quarantine_contains_digest(a, one + 1));
    vj_quarantine_destroy(&a);
    vj_quarantine_destroy(&b);
}

static void json_round_trip_merges(void **state)
{
    (void)state;
    vj_quarantine *a = fresh(), *b = fresh();
    add(a, 0, 99999, NULL);
    add(a, 1, 3, NULL);
    add(b, 1, 3, NULL);
    char *json = NULL, *again = NULL;
    assert_ok(vj_quarantine_to_json(a, &json));
    assert_ok(vj_quarantine_add_json(b, json));
    assert_int_equal(vj_quarantine_count(b, -1), 2);
    assert_int_equal(vj_quarantine_digest(a), vj_quarantine_digest(b));
    vj_quarantine_destroy(&b);
    b = fresh();
    assert_ok(vj_quarantine_add_json(b, json));
    assert_ok(vj_quarantine_to_json(b, &again));
    assert_string_equal(json, again);
    free(json);
    free(again);
    vj_quarantine_destroy(&a);
    vj_quarantine_destroy(&b);
}

static void foreign_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "{", "[]", "{\"version\": 2, \"samples\": []}", "{\"version\": 1}", "{\"version\": 1, \"samples\": [3]}",
        "{\"version\": 1, \"samples\": [{\"source\": \"c\", \"row\": 1, \"key\": \"00\", \"g\": \"00\", \"where\": \"\", \"reason\": \"\"}]}",
        "{\"version\": 1, \"samples\": [{\"source\": \"b\", \"row\": 10, \"key\": \"00\", \"g\": \"00\", \"where\": \"\", \"reason\": \"\"}]}",
        "{\"version\": 1, \"samples\": [{\"source\": \"b\", \"row\": -1, \"key\": \"00\", \"g\": \"00\", \"where\": \"\", \"reason\": \"\"}]}",
    };
    vj_quarantine *q = fresh();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(vj_quarantine_add_json(q, bad[i]) != VJ_OK);
        assert_true(strlen(vj_error_text()) > 0);
        assert_int_equal(vj_quarantine_count(q, -1), 0);
    }
    vj_quarantine_destroy(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_rows),
        cmocka_unit_test(digest_ignores_the_order_and_knows_growth),
        cmocka_unit_test(json_round_trip_merges),
        cmocka_unit_test(foreign_json_is_refused),
    };
    return cmocka_run_group_tests_name("data/quarantine", tests, NULL, NULL);
}
