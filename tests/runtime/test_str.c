// Strings, whole-text conversions, nearest names, sizes for people.

#include "runtime/base/str.h"

#include <string.h>

#include "runtime/base/clock.h"
#include "tests/support/scratch.h"

static void strings_grow(void **state)
{
    (void)state;
    vj_str s = { 0 };
    assert_string_equal(vj_str_text(&s), "");
    vj_str_add_n(&s, "abcdef", 3);
    vj_str_printf(&s, "-%d-%s", 42, "x");
    assert_string_equal(vj_str_text(&s), "abc-42-x");
    for (int i = 0; i < 10000; i++) vj_str_printf(&s, "%d,", i % 10);
    assert_int_equal(s.length, 8 + 20000);
    assert_int_equal(strlen(s.data), s.length);
    const size_t capacity = s.capacity;
    vj_str_clear(&s);
    assert_string_equal(vj_str_text(&s), "");
    assert_int_equal(s.capacity, capacity);
    vj_str_free(&s);
    assert_null(s.data);
    vj_str_clear(&s);
    vj_str_free(&s);
}

static void starts_and_ends(void **state)
{
    (void)state;
    assert_true(vj_str_starts("step-5", "step-") && vj_str_starts("x", "") && !vj_str_starts("ste", "step"));
    assert_true(vj_str_ends("a.yaml", ".yaml") && vj_str_ends("x", "") && !vj_str_ends("yaml", ".yaml"));
}

static void whole_numbers(void **state)
{
    (void)state;
    int64_t i = 7;
    assert_true(vj_parse_i64("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(vj_parse_i64("+12", &i) && i == 12);
    static const char *const bad[] = { "", " 1", "1 ", "1x", "-", "+", "--1", "0x10", "1.0", "1e3", "9223372036854775808", "nan" };
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        if (vj_parse_i64(bad[k], &i)) fail_msg("'%s' was taken for a whole number", bad[k]);
    }
    assert_int_equal(i, 12);
    uint64_t u = 5;
    assert_true(vj_parse_u64("18446744073709551615", &u) && u == UINT64_MAX);
    assert_false(vj_parse_u64("18446744073709551616", &u) || vj_parse_u64("-1", &u) || vj_parse_u64("+1", &u) || vj_parse_u64("", &u));
    assert_true(u == UINT64_MAX);
}

static void numbers(void **state)
{
    (void)state;
    double v = 3;
    assert_true(vj_parse_f64("5.25e-4", &v) && v == 5.25e-4);
    assert_true(vj_parse_f64("-.5", &v) && v == -0.5);
    assert_true(vj_parse_f64("7", &v) && v == 7);
    static const char *const bad[] = { "", " 1", "1 ", "inf", "nan", "-inf", "1e999", "0x1p3", "1,5", ".", "e5", "1e", "--1" };
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        if (vj_parse_f64(bad[k], &v)) fail_msg("'%s' was taken for a number", bad[k]);
    }
    assert_true(v == 7);
}

static void nearest_names(void **state)
{
    (void)state;
    const char *const names[] = { "optim.lr", "optim.final_lr", "train.batch", "seed", NULL };
    assert_string_equal(vj_nearest("train.bacth", names), "train.batch");
    assert_string_equal(vj_nearest("optim.l", names), "optim.lr");
    assert_string_equal(vj_nearest("sede", names), "seed");
    assert_null(vj_nearest("completely.else", names));
    assert_null(vj_nearest("x", (const char *const[]){ NULL }));
    char lengthy[400];
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    assert_null(vj_nearest(lengthy, names));
}

static void sizes_and_durations(void **state)
{
    (void)state;
    static const struct { double bytes; const char *want; } size[] = {
        { 0, "0 bytes" }, { 999, "999 bytes" }, { 1000, "1.0 KB" }, { 12345, "12.3 KB" }, { 340e6, "340 MB" },
        { 1.25e9, "1.2 GB" }, { 999.9e6, "1.0 GB" }, { 4.2e13, "42.0 TB" },
    };
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++) {
        char out[24];
        vj_bytes_text(out, size[i].bytes);
        assert_string_equal(out, size[i].want);
    }
    static const struct { double seconds; const char *want; } time[] = {
        { 41.2, "41.2 s" }, { 192, "3 min 12 s" }, { 7500, "2 h 05 min" },
    };
    for (size_t i = 0; i < sizeof time / sizeof time[0]; i++) {
        char out[32];
        vj_duration_text(out, time[i].seconds);
        assert_string_equal(out, time[i].want);
    }
}

static void utf8(void **state)
{
    (void)state;
    static const struct { const char *text; size_t length; } is[] = {
        { "", 1 }, { "a", 1 }, { "\x7f", 1 }, { "\xc2\x80", 2 }, { "\xc3\xa4x", 2 }, { "\xe0\xa0\x80", 3 }, { "\xed\x9f\xbf", 3 },
        { "\xef\xbf\xbf", 3 }, { "\xf0\x90\x80\x80", 4 }, { "\xf4\x8f\xbf\xbf", 4 },
        { "\x80", 0 }, { "\xbf", 0 }, { "\xc0\xaf", 0 }, { "\xc1\x81", 0 }, { "\xc3", 0 }, { "\xc3(", 0 }, { "\xe0\x9f\xbf", 0 },
        { "\xe2\x82", 0 }, { "\xed\xa0\x80", 0 }, { "\xf0\x8f\xbf\xbf", 0 }, { "\xf4\x90\x80\x80", 0 }, { "\xf5\x80\x80\x80", 0 }, { "\xff", 0 },
    };
    for (size_t i = 0; i < sizeof is / sizeof is[0]; i++) assert_int_equal(vj_utf8_length(is[i].text), is[i].length);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_grow),
        cmocka_unit_test(starts_and_ends),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(numbers),
        cmocka_unit_test(nearest_names),
        cmocka_unit_test(sizes_and_durations),
        cmocka_unit_test(utf8),
    };
    return cmocka_run_group_tests_name("runtime/str", tests, NULL, NULL);
}
