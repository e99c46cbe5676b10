// JSON: what is refused and how it is named, typed access, the writer's text read back.

#include "runtime/base/json.h"

#include <math.h>
#include <string.h>

#include "tests/support/scratch.h"

static void typed_access(void **state)
{
    (void)state;
    static const char text[] = "{\"i\": -7, \"f\": 1.5, \"b\": true, \"t\": \"x\", \"h\": \"00ff\", \"a\": [1, [], {\"k\": null}]}";
    vj_json_doc *doc = NULL;
    assert_ok(vj_json_parse(&doc, text, strlen(text), "here"));
    const vj_json *root = vj_json_root(doc);
    int64_t i = 0;
    uint64_t u = 0;
    double f = 0;
    bool b = false;
    const char *t = NULL;
    assert_ok(vj_json_i64(root, "i", &i));
    assert_int_equal(i, -7);
    assert_ok(vj_json_f64(root, "f", &f));
    assert_true(f == 1.5);
    assert_ok(vj_json_f64(root, "i", &f));   // whole numbers are numbers
    assert_true(f == -7);
    assert_ok(vj_json_bool(root, "b", &b));
    assert_true(b);
    assert_ok(vj_json_text(root, "t", &t));
    assert_string_equal(t, "x");
    assert_ok(vj_json_u64_hex(root, "h", &u));
    assert_int_equal(u, 255);
    assert_fails(vj_json_i64(root, "f", &i), VJ_ERR_CONFIG, "\"f\" should be a whole number");
    assert_fails(vj_json_i64(root, "none", &i), VJ_ERR_CONFIG, "\"none\" is missing");
    assert_fails(vj_json_bool(root, "i", &b), VJ_ERR_CONFIG, "\"i\" should be true or false");
    assert_fails(vj_json_text(root, "i", &t), VJ_ERR_CONFIG, "\"i\" should be a text");
    assert_fails(vj_json_u64_hex(root, "t", &u), VJ_ERR_CONFIG, "hex");
    assert_fails(vj_json_f64(root, "t", &f), VJ_ERR_CONFIG, "\"t\" should be a number");
    const vj_json *a = vj_json_get(root, "a");
    assert_true(vj_json_is_array(a) && !vj_json_is_object(a));
    assert_int_equal(vj_json_count(a), 3);
    assert_int_equal(vj_json_count(root), 6);
    assert_true(vj_json_is_object(vj_json_at(a, 2)));
    assert_null(vj_json_at(a, 3));
    assert_null(vj_json_at(a, -1));
    assert_null(vj_json_at(root, 0));
    assert_null(vj_json_get(a, "k"));
    assert_null(vj_json_get(NULL, "k"));
    const char *key = NULL;
    assert_non_null(vj_json_member(root, 1, &key));
    assert_string_equal(key, "f");   // in the file's order
    assert_null(vj_json_member(root, 6, &key));
    vj_json_destroy(&doc);
    assert_null(doc);
    vj_json_destroy(&doc);
}

static void broken_texts_are_named(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "{", "{\"a\": 1,}", "{\"a\": 1} x", "{\"a\": 1, \"a\": 2}", "[1 2]", "\"\\ud800\"", "{\"a\": NaN}", "{'a': 1}", "nul",
        "{\"a\": 1e999}", "[\"\xff\"]", "{\"a\": 99999999999999999999}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        vj_json_doc *doc = NULL;
        const vj_status status = vj_json_parse(&doc, bad[i], strlen(bad[i]), "file.json");
        if (status != VJ_ERR_CONFIG) fail_msg("%s was taken", bad[i]);
        assert_null(doc);
        assert_true(vj_str_starts(vj_error_text(), "file.json:"));
    }
    vj_json_doc *doc = NULL;
    assert_fails(vj_json_parse(&doc, "{\n  \"a\": 1,\n  \"b\" 2\n}", 22, "file.json"), VJ_ERR_CONFIG, "file.json:3:");
    assert_fails(vj_json_parse(&doc, "[1]\0", 4, "file.json"), VJ_ERR_CONFIG, "file.json:");   // a NUL behind the end
    char deep[8001];
    memset(deep, '[', 4000);
    memset(deep + 4000, ']', 4000);
    assert_fails(vj_json_parse(&doc, deep, 8000, "file.json"), VJ_ERR_CONFIG, "file.json:");   // no stack overflow
}

static void files(void **state)
{
    char path[4200];
    vj_json_doc *doc = NULL;
    vj_path_join(path, sizeof path, *state, "x.json");
    assert_fails(vj_json_read(&doc, path), VJ_ERR_IO, path);
    assert_ok(vj_file_write_atomic(path, "{\"a\": [}", 8));
    assert_fails(vj_json_read(&doc, path), VJ_ERR_CONFIG, path);
    assert_ok(vj_file_write_atomic(path, "{\"a\": []}", 9));
    assert_ok(vj_json_read(&doc, path));
    vj_json_destroy(&doc);
}

static void what_is_written(void **state)
{
    (void)state;
    vj_json_writer w = { 0 };
    vj_json_begin_object(&w, NULL);
    vj_json_put_i64(&w, "i", INT64_MIN);
    vj_json_put_text(&w, "t", "a\"b\\c\n\x01 \xc3\xa4");
    vj_json_put_hex(&w, "h", 255);
    vj_json_put_bool(&w, "b", false);
    vj_json_put_null(&w, "n");
    vj_json_put_f64(&w, "nan", NAN);
    vj_json_put_f64(&w, "inf", -INFINITY);
    vj_json_begin_array(&w, "a");
    vj_json_put_f64(&w, NULL, 0.1);
    vj_json_put_f64(&w, NULL, 3);
    vj_json_begin_object(&w, NULL);
    vj_json_end_object(&w);
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    assert_string_equal(vj_str_text(&w.out),
                        "{\"i\":-9223372036854775808,\"t\":\"a\\\"b\\\\c\\n\\u0001 \xc3\xa4\",\"h\":\"00000000000000ff\",\"b\":false,"
                        "\"n\":null,\"nan\":null,\"inf\":null,\"a\":[0.1,3.0,{}]}");
    vj_json_doc *doc = NULL;
    assert_ok(vj_json_parse(&doc, w.out.data, w.out.length, "the writer's"));
    const char *t = NULL;
    assert_ok(vj_json_text(vj_json_root(doc), "t", &t));
    assert_string_equal(t, "a\"b\\c\n\x01 \xc3\xa4");
    vj_json_destroy(&doc);
    vj_json_writer_free(&w);

    w.pretty = true;
    vj_json_begin_object(&w, NULL);
    vj_json_put_i64(&w, "a", 1);
    vj_json_begin_array(&w, "e");
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    assert_string_equal(vj_str_text(&w.out), "{\n  \"a\": 1,\n  \"e\": []\n}");
    vj_json_writer_free(&w);
}

// Names of files may hold any bytes; what we wrote we must be able to read.
static void bytes_that_are_no_text(void **state)
{
    (void)state;
    static const char *const odd[] = { "\xff.avi", "a\xc3", "\xc3(", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xc0\xaf", "\xe2\x82", "\x7f" };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        vj_json_writer w = { 0 };
        vj_json_begin_array(&w, NULL);
        vj_json_put_text(&w, NULL, odd[i]);
        vj_json_put_text(&w, NULL, "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8e\x9e");   // these are fine and stay
        vj_json_end_array(&w);
        vj_json_doc *doc = NULL;
        assert_ok(vj_json_parse(&doc, w.out.data, w.out.length, "the writer's"));
        assert_string_equal(vj_json_as_text(vj_json_at(vj_json_root(doc), 1)), "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8e\x9e");
        vj_json_destroy(&doc);
        vj_json_writer_free(&w);
    }
}

static void numbers_read_back_exactly(void **state)
{
    (void)state;
    static const double values[] = { 0, -0.0, 0.1, 1.0 / 3, 5.25e-4, 1e300, 5e-324, 1.7976931348623157e308, 123456789, 1e22, -2.5 };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        vj_json_writer w = { 0 };
        vj_json_begin_array(&w, NULL);
        vj_json_put_f64(&w, NULL, values[i]);
        vj_json_end_array(&w);
        vj_json_doc *doc = NULL;
        double back = NAN;
        assert_ok(vj_json_parse(&doc, w.out.data, w.out.length, "the writer's"));
        assert_true(vj_json_as_f64(vj_json_at(vj_json_root(doc), 0), &back));
        assert_memory_equal(&back, &values[i], sizeof back);
        vj_json_destroy(&doc);
        vj_json_writer_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typed_access),
        cmocka_unit_test(broken_texts_are_named),
        cmocka_unit_test(files),
        cmocka_unit_test(what_is_written),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(numbers_read_back_exactly),
    };
    return cmocka_run_group_tests_name("runtime/json", tests, scratch_setup, scratch_teardown);
}
