// Where figures go besides metrics.jsonl: columns and cutting of log_r0.csv, Prometheus' text, restarts in TensorBoard's files.

#include "jobs/train/sinks.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/log/log.h"
#include "tests/support/scratch.h"

static vj_run_dir run;
static vj_train_config config;

static char *path_in(const char *name)
{
    static char path[4300];
    vj_path_join(path, sizeof path, run.path, name);
    return path;
}

static char *text_of(const char *name)
{
    char *text = NULL;
    assert_ok(vj_file_read(path_in(name), &text, NULL, 0));
    return text;
}

static void new_run(const char *scratch, const char *name)
{
    run = (vj_run_dir){ 0 };
    vj_path_join(run.path, sizeof run.path, scratch, name);
    vj_format(run.phase, sizeof run.phase, "pretrain");
    assert_ok(vj_dir_create(run.path));
    config = (vj_train_config){ .log_tensorboard = true, .log_csv = true, .log_epoch = 4, .log_prometheus = "metrics.prom" };
}

static vj_sinks *start(int64_t step)
{
    vj_sinks *s = NULL;
    run.resumed = step > 0;
    assert_ok(vj_sinks_open(&s, &run, &config, step));
    return s;
}

static void say(vj_sinks *s, const char *line) { vj_sinks_line(s, line, strlen(line), 1700000000.5); }

// ---- csv ---------------------------------------------------------------------------------------------------------------
#define HEADER "epoch,itr,loss,iter-time(ms),gpu-time(ms),dataload-time(ms)\n"

static void csv_has_the_published_columns(void **state)
{
    new_run(*state, "csv");
    vj_sinks *s = start(0);
    for (int64_t step = 1; step <= 6; step++) vj_sinks_step(s, step, 0.5 / (double)step, 0.25, 0.2, 0.0501);
    char *text = text_of("log_r0.csv");   // every step is there at once
    vj_sinks_close(&s);
    assert_string_equal(text, HEADER "1,0,0.50000,250,200,50\n1,1,0.25000,250,200,50\n1,2,0.16667,250,200,50\n"
                                     "1,3,0.12500,250,200,50\n2,0,0.10000,250,200,50\n2,1,0.08333,250,200,50\n");
    free(text);
}

static void csv_is_cut_to_the_restored_step(void **state)
{
    new_run(*state, "cut");
    vj_sinks *s = start(0);
    for (int64_t step = 1; step <= 9; step++) vj_sinks_step(s, step, 1, 0, 0, 0);
    vj_sinks_close(&s);
    s = start(5);
    vj_sinks_step(s, 6, NAN, 0, 0, 0);
    vj_sinks_close(&s);
    char *text = text_of("log_r0.csv");
    assert_string_equal(text, HEADER "1,0,1.00000,0,0,0\n1,1,1.00000,0,0,0\n1,2,1.00000,0,0,0\n1,3,1.00000,0,0,0\n2,0,1.00000,0,0,0\n"
                                     "2,1,nan,0,0,0\n");
    free(text);
    // Also when it is switched off by now: it must not say what the weights have not seen.
    config.log_csv = false;
    s = start(1);
    vj_sinks_step(s, 2, 1, 0, 0, 0);
    vj_sinks_close(&s);
    text = text_of("log_r0.csv");
    assert_string_equal(text, HEADER "1,0,1.00000,0,0,0\n");
    free(text);
}

static void csv_with_odd_content(void **state)
{
    new_run(*state, "odd");
    static const char *const tails[] = { "1,2", "x\n", "1,4,0,0,0,0\n", "0,1,0,0,0,0\n", "-1,1,\n", "99999999999999999999,0,\n", "\n", ",\n1,2,0,0,0,0\n", "1;2\n" };
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char before[200];
        vj_format(before, sizeof before, HEADER "1,0,1.00000,0,0,0\n%s", tails[i]);
        assert_ok(vj_file_write_atomic(path_in("log_r0.csv"), before, strlen(before)));
        vj_sinks *s = start(100);
        vj_sinks_step(s, 101, 2, 0, 0, 0);
        vj_sinks_close(&s);
        char *text = text_of("log_r0.csv");
        assert_string_equal(text, HEADER "1,0,1.00000,0,0,0\n26,0,2.00000,0,0,0\n");
        free(text);
    }
    assert_ok(vj_file_write_atomic(path_in("log_r0.csv"), "a,b\n1,2\n", 8));   // another program's: begun anew
    vj_sinks *s = start(100);
    vj_sinks_close(&s);
    char *text = text_of("log_r0.csv");
    assert_string_equal(text, HEADER);
    free(text);
}

// ---- Prometheus ----------------------------------------------------------------------------------------------------------
static void prometheus_text(void **state)
{
    new_run(*state, "a \"b\"\\c");
    vj_sinks *s = start(0);
    say(s, "{\"step\":10,\"phase\":\"pretrain\",\"loss\":0.5,\"bad_samples\":2,\"lr\":null,\"held_out\":{\"ratio\":0.75},"
           "\"grad_norm_units\":{\"encoder\":[1.5,2]},\"warnings\":[\"rank\",\"ratio\"],\"extra\":true}\n");
    char *text = text_of("metrics.prom");
#define LABELS "run=\"a \\\"b\\\"\\\\c\",phase=\"pretrain\""
    assert_string_equal(text,
        "# HELP vjepa_step Optimiser steps done\n# TYPE vjepa_step gauge\nvjepa_step{" LABELS "} 10\n"
        "# HELP vjepa_last_line_timestamp_seconds When the newest line of metrics.jsonl was written, seconds since 1970\n"
        "# TYPE vjepa_last_line_timestamp_seconds gauge\nvjepa_last_line_timestamp_seconds{" LABELS "} 1700000000.5\n"
        "# HELP vjepa_loss Mean training loss since the last line\n# TYPE vjepa_loss gauge\nvjepa_loss{" LABELS "} 0.5\n"
        "# HELP vjepa_bad_samples Samples found bad, since the process started\n# TYPE vjepa_bad_samples gauge\nvjepa_bad_samples{" LABELS "} 2\n"
        "# HELP vjepa_lr Learning rate\n# TYPE vjepa_lr gauge\nvjepa_lr{" LABELS "} NaN\n"
        "# HELP vjepa_warnings 1 for every warning in force\n# TYPE vjepa_warnings gauge\n"
        "vjepa_warnings{" LABELS ",name=\"rank\"} 1\nvjepa_warnings{" LABELS ",name=\"ratio\"} 1\n"
        "# HELP vjepa_extra Member extra of metrics.jsonl\n# TYPE vjepa_extra gauge\nvjepa_extra{" LABELS "} 1\n"
        "# HELP vjepa_held_out_ratio Held-out loss over that of the best constant; below 1 something was learned\n"
        "# TYPE vjepa_held_out_ratio gauge\nvjepa_held_out_ratio{" LABELS "} 0.75\n"
        "# HELP vjepa_grad_norm_units_encoder Member grad_norm_units/encoder of metrics.jsonl\n# TYPE vjepa_grad_norm_units_encoder gauge\n"
        "vjepa_grad_norm_units_encoder{" LABELS ",index=\"0\"} 1.5\nvjepa_grad_norm_units_encoder{" LABELS ",index=\"1\"} 2\n");
    free(text);
    // Figures that a line does not have keep their last value; those of the line are new.
    say(s, "{\"step\":20,\"loss\":0.25,\"grad_norm_units\":{\"encoder\":[3]}}");
    text = text_of("metrics.prom");
    assert_non_null(strstr(text, "vjepa_step{" LABELS "} 20\n"));
    assert_non_null(strstr(text, "vjepa_loss{" LABELS "} 0.25\n"));
    assert_non_null(strstr(text, "vjepa_held_out_ratio{" LABELS "} 0.75\n"));
    assert_non_null(strstr(text, "vjepa_grad_norm_units_encoder{" LABELS ",index=\"0\"} 3\n"));
    assert_null(strstr(text, "index=\"1\""));
    assert_null(strstr(text, "name=\"rank\""));
    free(text);
    vj_sinks_close(&s);
}

static void prometheus_elsewhere(void **state)
{
    new_run(*state, "elsewhere");
    vj_sinks *s = NULL;
    vj_format(config.log_prometheus, sizeof config.log_prometheus, "missing/x.prom");
    assert_fails(vj_sinks_open(&s, &run, &config, 0), VJ_ERR_CONFIG, "log.prometheus: there is no folder");
    assert_null(s);
    vj_format(config.log_prometheus, sizeof config.log_prometheus, ".");
    assert_fails(vj_sinks_open(&s, &run, &config, 0), VJ_ERR_CONFIG, "is a folder");
    assert_true(strlen(*state) + 16 < sizeof config.log_prometheus);
    vj_path_join(config.log_prometheus, sizeof config.log_prometheus, *state, "far.prom");
    s = start(0);
    say(s, "{\"step\":1,\"loss\":1}");
    assert_true(vj_path_exists(config.log_prometheus));
    // What goes wrong later stops this sink only, with one warning.
    const int64_t warnings = vj_log_warnings();
    assert_int_equal(unlink(config.log_prometheus), 0);
    assert_int_equal(mkdir(config.log_prometheus, 0777), 0);
    for (int i = 2; i < 5; i++) say(s, "{\"step\":2,\"loss\":1}");
    vj_sinks_step(s, 5, 1, 0, 0, 0);
    assert_int_equal(vj_log_warnings() - warnings, 1);
    vj_sinks_close(&s);
    char *text = text_of("log_r0.csv");
    assert_non_null(strstr(text, "2,0,1.00000"));
    free(text);
}

// ---- TensorBoard -----------------------------------------------------------------------------------------------------------
static bool holds(const char *data, size_t bytes, const char *what, size_t n) { return memmem(data, bytes, what, n) != NULL; }

static void board_restarts_behind_the_restored_step(void **state)
{
    new_run(*state, "board");
    vj_sinks *s = start(0);
    vj_sinks_close(&s);
    assert_false(vj_path_exists(path_in("tb")));   // nothing was said, so nothing is there
    s = start(0);
    say(s, "{\"step\":10,\"phase\":\"pretrain\",\"loss\":0.5,\"held_out\":{\"ratio\":0.75},\"units\":{\"e\":[1]},\"warnings\":[\"rank\"]}");
    vj_sinks_close(&s);
    s = start(20);
    say(s, "{\"step\":23,\"cut\":1}");   // beyond the next restored step
    vj_sinks_close(&s);
    s = start(20);
    say(s, "{\"step\":30,\"loss\":0.25}");
    vj_sinks_close(&s);
    char **names = NULL, path[4400], *data = NULL;
    int64_t count = 0;
    size_t bytes = 0;
    assert_ok(vj_dir_list(path_in("tb"), &names, &count));
    assert_int_equal(count, 3);
    static const char restart[] = "\x10\x15\x3a\x02\x08\x01";   // step 21, session log, status START
    for (int i = 0; i < 3; i++) {
        vj_path_join(path, sizeof path, path_in("tb"), names[i]);
        assert_ok(vj_file_read(path, &data, &bytes, 0));
        assert_int_equal(holds(data, bytes, restart, 6), i == 2);
        assert_int_equal(holds(data, bytes, "\x0a\x0atrain/loss\x15", 13), i != 1);
        assert_false(holds(data, bytes, "train/cut", 9));
        assert_int_equal(holds(data, bytes, "held_out/ratio\x15\x00\x00\x40\x3f", 19), i == 0);
        assert_int_equal(holds(data, bytes, "units/e/0", 9), i == 0);
        assert_false(holds(data, bytes, "phase", 5));
        free(data);
    }
    vj_names_free(&names, count);
}

static void all_can_be_switched_off(void **state)
{
    new_run(*state, "off");
    config = (vj_train_config){ .log_epoch = 4 };
    vj_sinks *s = start(0);
    say(s, "{\"step\":1,\"loss\":1}");
    vj_sinks_step(s, 1, 1, 0, 0, 0);
    vj_sinks_close(&s);
    char **names = NULL;
    int64_t count = -1;
    assert_ok(vj_dir_list(run.path, &names, &count));
    assert_int_equal(count, 0);
    vj_names_free(&names, count);
}

static void lines_of_any_kind(void **state)
{
    new_run(*state, "any");
    vj_sinks *s = start(0);
    vj_str line = { 0 };
    vj_str_add(&line, "{\"step\":1");
    for (int i = 0; i < 20000; i++) vj_str_printf(&line, ",\"m%d\":%d", i, i);
    for (int i = 0; i < 30; i++) vj_str_add(&line, ",\"deep\":{\"x\":1");
    for (int i = 0; i < 30; i++) vj_str_add(&line, "}");
    vj_str_printf(&line, ",\"%0200d\":1,\"\":3,\"n\":[[1],[2]],\"big\":1e308}", 7);
    say(s, vj_str_text(&line));
    char *text = text_of("metrics.prom");
    assert_non_null(strstr(text, "vjepa_m100{"));
    free(text);
    vj_str_free(&line);
    vj_sinks_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_has_the_published_columns),
        cmocka_unit_test(csv_is_cut_to_the_restored_step),
        cmocka_unit_test(csv_with_odd_content),
        cmocka_unit_test(prometheus_text),
        cmocka_unit_test(prometheus_elsewhere),
        cmocka_unit_test(board_restarts_behind_the_restored_step),
        cmocka_unit_test(all_can_be_switched_off),
        cmocka_unit_test(lines_of_any_kind),
    };
    return cmocka_run_group_tests_name("jobs/sinks", tests, scratch_setup, scratch_teardown);
}
