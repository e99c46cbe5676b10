// metrics.jsonl: one whole line per step; on opening, lines beyond the restored step and a torn last one are cut.

#include "runtime/log/metrics.h"

#include <string.h>

#include "runtime/log/log.h"
#include "tests/support/scratch.h"

static void write_steps(const char *path, int64_t last_step, int64_t from, int64_t to)
{
    vj_metrics *m = NULL;
    assert_ok(vj_metrics_open(&m, path, last_step));
    for (int64_t step = from; step <= to; step++) {
        vj_json_writer *w = vj_metrics_begin(m, step);
        vj_json_put_f64(w, "loss", 1.0 / (double)step);
        assert_ok(vj_metrics_end(m));
        char *text = NULL;   // each line is in the file at once
        assert_ok(vj_file_read(path, &text, NULL, 0));
        char want[40];
        vj_format(want, sizeof want, "{\"step\":%lld,", (long long)step);
        assert_non_null(strstr(text, want));
        assert_true(vj_str_ends(text, "}\n"));
        free(text);
    }
    vj_metrics_close(&m);
    assert_null(m);
    vj_metrics_close(&m);
}

static void expect_steps(const char *path, int64_t from, int64_t to)
{
    char *text = NULL;
    assert_ok(vj_file_read(path, &text, NULL, 0));
    const char *line = text;
    for (int64_t step = from; step <= to; step++) {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        vj_json_doc *doc = NULL;
        int64_t got = 0;
        assert_ok(vj_json_parse(&doc, line, (size_t)(end - line), path));
        assert_ok(vj_json_i64(vj_json_root(doc), "step", &got));
        assert_int_equal(got, step);
        vj_json_destroy(&doc);
        line = end + 1;
    }
    assert_string_equal(line, "");
    free(text);
}

static void a_resume_cuts_what_the_weights_have_not_seen(void **state)
{
    char path[4200];
    vj_path_join(path, sizeof path, *state, "metrics.jsonl");
    write_steps(path, 0, 1, 7);
    expect_steps(path, 1, 7);
    write_steps(path, 4, 5, 6);      // restored at step 4
    expect_steps(path, 1, 6);
    write_steps(path, 100, 7, 8);    // nothing beyond
    expect_steps(path, 1, 8);
    write_steps(path, 0, 1, 1);      // from the start again
    expect_steps(path, 1, 1);
}

static void a_torn_line_is_cut(void **state)
{
    char path[4200];
    vj_path_join(path, sizeof path, *state, "metrics.jsonl");
    static const char *const tails[] = { "{\"step\":2,\"lo", "{\"step\":2}", "\n", "{}\n", "garbage\n{\"step\":2}\n", "{\"step\":\"2\"}\n" };
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char text[100];
        vj_format(text, sizeof text, "{\"step\":1}\n%s", tails[i]);
        assert_ok(vj_file_write_atomic(path, text, strlen(text)));
        write_steps(path, 10, 2, 3);
        expect_steps(path, 1, 3);
    }
    // Bytes of a file that was full of zeros after a crash of the machine.
    assert_ok(vj_file_write_atomic(path, "{\"step\":1}\n\0\0\0\0\n\0\0", 18));
    write_steps(path, 10, 2, 2);
    expect_steps(path, 1, 2);
}

static void places_that_cannot_be_written(void **state)
{
    char path[4200];
    vj_metrics *m = NULL;
    vj_path_join(path, sizeof path, *state, "missing/metrics.jsonl");
    assert_fails(vj_metrics_open(&m, path, 0), VJ_ERR_IO, path);
    assert_null(m);
    assert_fails(vj_metrics_open(&m, *state, 0), VJ_ERR_IO, *state);
    if (access("/dev/full", W_OK) != 0) skip();
    vj_path_join(path, sizeof path, *state, "full");
    assert_int_equal(symlink("/dev/full", path), 0);
    // Not a regular file: refused on opening.
    assert_fails(vj_metrics_open(&m, path, 0), VJ_ERR_IO, path);
}

static void lines_for_people(void **state)
{
    char path[4200], *text = NULL;
    vj_path_join(path, sizeof path, *state, "log.txt");
    assert_ok(vj_log_file(path));
    const int64_t warnings = vj_log_warnings();
    vj_log_level_set(VJ_WARN);
    vj_log(VJ_INFO, "data", "not said");
    vj_log(VJ_WARN, "data", "%d things", 3);
    vj_log(VJ_ERROR, "train", "a\nb");
    vj_log_level_set(VJ_INFO);
    assert_ok(vj_log_file(NULL));
    vj_log(VJ_WARN, "data", "no longer in the file");
    assert_int_equal(vj_log_warnings() - warnings, 3);
    assert_ok(vj_file_read(path, &text, NULL, 0));
    assert_null(strstr(text, "not said"));
    assert_null(strstr(text, "no longer"));
    assert_non_null(strstr(text, "data"));
    assert_non_null(strstr(text, "WARN"));
    assert_non_null(strstr(text, "3 things\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resume_cuts_what_the_weights_have_not_seen),
        cmocka_unit_test(a_torn_line_is_cut),
        cmocka_unit_test(places_that_cannot_be_written),
        cmocka_unit_test(lines_for_people),
    };
    return cmocka_run_group_tests_name("runtime/metrics", tests, scratch_setup, scratch_teardown);
}
