// Warnings: on recorded curves of runs that collapse (in time) and of runs that do not (never), and the state machine on
// made lines. The curves are metrics.jsonl of real runs with what warnings do not read left out (curves/README.md).

#include "jobs/train/warnings.h"

#include <math.h>
#include <string.h>

#include "configs/run_config.h"
#include "tests/support/scratch.h"

enum { WARMUP = 100, EVERY = 10 };   // of the recorded runs

static vj_monitor_config defaults(void)
{
    vj_run_config c;
    vj_config *origins = NULL;
    assert_ok(vj_run_config_load(&c, &origins, "quickstart", NULL, 0));
    assert_int_equal(c.train.warmup, WARMUP);
    vj_config_destroy(&origins);
    return c.monitor;
}

static vj_warnings *make(const vj_monitor_config *c)
{
    vj_warnings *w = NULL;
    assert_ok(vj_warnings_create(&w, c, WARMUP, EVERY));
    return w;
}

// ---- recorded curves -------------------------------------------------------------------------------------------------
typedef struct curve { vj_watch_point *points; int64_t n; } curve;

static curve read_curve(const char *name)
{
    char path[128], *text = NULL;
    size_t bytes = 0;
    vj_format(path, sizeof path, "tests/jobs/curves/%s.jsonl", name);
    assert_ok(vj_file_read(path, &text, &bytes, 0));
    curve c = { .points = calloc(bytes / 40, sizeof *c.points) };
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        vj_json_doc *doc = NULL;
        assert_ok(vj_json_parse(&doc, line, (size_t)(end - line), path));
        vj_watch_point_read(&c.points[c.n++], vj_json_root(doc));
        vj_json_destroy(&doc);
        line = end + 1;
    }
    free(text);
    assert_true(c.n > 20);
    return c;
}

// A run has collapsed when the held-out loss is that of a constant (ratio 0.97 or more) while the rank is 3 or less.
static int64_t collapse_of(const curve *c)
{
    double rank = NAN;
    for (int64_t i = 0; i < c->n; i++) {
        if (!isnan(c->points[i].rank)) rank = c->points[i].rank;
        if (c->points[i].held_out_ratio >= 0.97 && rank <= 3) return c->points[i].step;
    }
    return -1;
}

// The first step at which a warning begins, -1: never.
static int64_t first_warning(const curve *c, vj_warning *which)
{
    const vj_monitor_config config = defaults();
    vj_warnings *w = make(&config);
    int64_t first = -1;
    for (int64_t i = 0; i < c->n && first < 0; i++) {
        vj_warning_event events[VJ_WARNINGS];
        int n = 0;
        assert_ok(vj_warnings_add(w, &c->points[i], events, &n));
        if (n > 0) {
            first = events[0].step;
            *which = events[0].warning;
        }
    }
    vj_warnings_destroy(&w);
    return first;
}

static void collapses_warn_before_half_the_time(void **state)
{
    (void)state;
    static const char *const names[] = { "lr30", "lr10", "lr30-other" };
    for (int i = 0; i < 3; i++) {
        curve c = read_curve(names[i]);
        vj_warning which = VJ_WARNINGS;
        const int64_t collapse = collapse_of(&c), warning = first_warning(&c, &which);
        assert_true(collapse > 0);
        if (warning < 0 || 2 * warning >= collapse)
            fail_msg("%s: collapsed at %lld, first warning at %lld", names[i], (long long)collapse, (long long)warning);
        print_message("%s: collapsed at step %lld, %s at step %lld\n", names[i], (long long)collapse, vj_warning_names[which],
                      (long long)warning);
        free(c.points);
    }
}

static void healthy_runs_never_warn(void **state)
{
    (void)state;
    static const char *const names[] = { "quickstart", "healthy-other" };
    for (int i = 0; i < 2; i++) {
        curve c = read_curve(names[i]);
        vj_warning which = VJ_WARNINGS;
        assert_int_equal(c.points[c.n - 1].step, 1300);
        assert_int_equal(collapse_of(&c), -1);
        const int64_t warning = first_warning(&c, &which);
        if (warning >= 0) fail_msg("%s: %s at step %lld", names[i], vj_warning_names[which], (long long)warning);
        free(c.points);
    }
}

// A run that is killed and resumed anywhere reads its lines again and goes on as if nothing had been.
static void reading_again_is_having_seen(void **state)
{
    const vj_monitor_config config = defaults();
    curve c = read_curve("lr30");
    for (int64_t cut = 0; cut <= c.n; cut++) {
        const int64_t last = cut > 0 ? c.points[cut - 1].step : 0;
        vj_warnings *whole = make(&config), *again = make(&config);
        vj_warning_event a[VJ_WARNINGS], b[VJ_WARNINGS];
        int n = 0, m = 0;
        for (int64_t i = 0; i < cut; i++) assert_ok(vj_warnings_add(whole, &c.points[i], a, &n));
        assert_ok(vj_warnings_replay(again, "tests/jobs/curves/lr30.jsonl", last));
        for (int64_t i = cut; i < c.n; i++) {
            assert_ok(vj_warnings_add(whole, &c.points[i], a, &n));
            assert_ok(vj_warnings_add(again, &c.points[i], b, &m));
            assert_int_equal(n, m);
            for (int k = 0; k < n; k++) {
                assert_true(a[k].warning == b[k].warning && a[k].begins == b[k].begins && a[k].value == b[k].value);
                assert_string_equal(a[k].text, b[k].text);
            }
        }
        for (int64_t s = 0; s < 400; s++) assert_int_equal(vj_warnings_at(whole, s), vj_warnings_at(again, s));
        vj_warnings_destroy(&whole);
        vj_warnings_destroy(&again);
    }
    free(c.points);
    vj_warnings *w = make(&config);
    assert_ok(vj_warnings_replay(w, "/nonexistent/metrics.jsonl", 9));
    char path[4200];
    vj_format(path, sizeof path, "%s/metrics.jsonl", (const char *)*state);
    const char odd[] = "{\"step\": 1, \"loss\": \"x\", \"monitor\": [1], \"held_out\": null}\n[3]\n{\"step\": 2, \"monitor\": {\"rank\": null}}";
    assert_ok(vj_file_write_atomic(path, odd, strlen(odd)));
    assert_ok(vj_warnings_replay(w, path, 9));
    assert_ok(vj_file_write_atomic(path, "{\"step\": 1}\nno line", 19));
    assert_fails(vj_warnings_replay(w, path, 9), VJ_ERR_CONFIG, "metrics.jsonl");
    vj_warnings_destroy(&w);
}

// ---- made lines ------------------------------------------------------------------------------------------------------
static vj_watch_point healthy(int64_t step)
{
    return (vj_watch_point){ .step = step, .stage = 1, .loss = 0.5, .grad_norm = 1, .grad_norm_encoder = 0.1, .rank = 8,
                             .spread = 0.3, .cosine = 0.5, .variance_ratio = 0.5, .target_variance = 0.8, .held_out_ratio = 0.8 };
}

// Adds a line; "begins NAME" or "ends NAME" of what happened, "" when nothing did.
static const char *add(vj_warnings *w, const vj_watch_point *p)
{
    static char text[256];
    vj_warning_event events[VJ_WARNINGS];
    int n = 0;
    assert_ok(vj_warnings_add(w, p, events, &n));
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        assert_int_equal(events[i].step, p->step);
        assert_true(events[i].text[0] != '\0');
        const size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s%s %s", at ? ", " : "", events[i].begins ? "begins" : "ends", vj_warning_names[events[i].warning]);
    }
    return text;
}

// Every rule: which figure, the value where it begins and one where it does not yet, and where it ends and not yet. With
// the defaults on the figures of healthy(); patience lines are needed each way.
static void every_rule_has_its_limits(void **state)
{
    (void)state;
    static const struct { const char *name; size_t at; double good, bad, still, back; int lines; } rules[] = {
        { "rank_low", offsetof(vj_watch_point, rank), 8 * 0.201, 8 * 0.199, 8 * 0.249, 8 * 0.251, 3 },
        { "spread_low", offsetof(vj_watch_point, spread), 0.3 * 0.51, 0.3 * 0.49, 0.3 * 0.62, 0.3 * 0.63, 3 },
        { "targets_alike", offsetof(vj_watch_point, target_variance), 0.8 * 0.151, 0.8 * 0.149, 0.8 * 0.187, 0.8 * 0.188, 3 },
        { "clips_alike", offsetof(vj_watch_point, cosine), 0.949, 0.951, 0.938, 0.937, 3 },
        { "predicts_constant", offsetof(vj_watch_point, variance_ratio), 0.021, 0.019, 0.0249, 0.0251, 3 },
        { "gradient_jump", offsetof(vj_watch_point, grad_norm), 19.9, 20.1, 16.1, 15.9, 3 },
        { "encoder_gradient", offsetof(vj_watch_point, grad_norm_encoder), 0.0101, 0.0099, 0.0124, 0.0126, 3 },
        { "loss_rise", offsetof(vj_watch_point, loss), 0.5 * 1.29, 0.5 * 1.31, 0.5 * 1.241, 0.5 * 1.239, 3 },
        { "held_out", offsetof(vj_watch_point, held_out_ratio), 0.969, 0.971, 0.963, 0.962, 2 },
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        vj_monitor_config config = defaults();
        config.rank_fall = 0;
        vj_warnings *w = make(&config);
        char begins[64], ends[64];
        vj_format(begins, sizeof begins, "begins %s", rules[i].name);
        vj_format(ends, sizeof ends, "ends %s", rules[i].name);
        int64_t step = 2 * WARMUP;
        for (int k = 0; k < 60; k++) {
            const vj_watch_point p = healthy(step += EVERY);
            assert_string_equal(add(w, &p), "");
        }
        const double values[] = { rules[i].good, rules[i].bad, rules[i].still, rules[i].back };
        static const int lasting[] = { 5, 0, 5, 0 };   // 0: as many as it takes
        for (int phase = 0; phase < 4; phase++) {
            const int lines = lasting[phase] ? lasting[phase] : rules[i].lines;
            for (int k = 1; k <= lines; k++) {
                vj_watch_point p = healthy(step += EVERY);
                memcpy((char *)&p + rules[i].at, &values[phase], sizeof values[phase]);
                const char *want = lasting[phase] || k < lines ? "" : phase == 1 ? begins : ends;
                const char *got = add(w, &p);
                if (strcmp(got, want) != 0) fail_msg("%s, phase %d, line %d: '%s' instead of '%s'", rules[i].name, phase, k, got, want);
            }
        }
        assert_false(vj_warnings_at(w, step));
        assert_true(vj_warnings_at(w, step - EVERY));
        vj_warnings_destroy(&w);
    }
}

static void a_fall_of_the_rank(void **state)
{
    (void)state;
    const vj_monitor_config config = defaults();
    vj_warnings *w = make(&config);   // looks back 50 steps
    vj_watch_point p;
    int64_t step = 0, since = 0;
    for (double rank = 8; rank > 4; rank *= 0.9) {   // 0.9 ** 5 = 0.59 within the window
        p = healthy(step += EVERY);
        p.rank = rank;
        assert_string_equal(add(w, &p), "");
    }
    for (int i = 0; i < 6; i++) {
        p = healthy(step += EVERY);
        p.rank = 4;
        assert_string_equal(add(w, &p), "");   // less than 0.55 of 8, which is long ago
    }
    p = healthy(step += EVERY);
    p.rank = 2.19;
    assert_string_equal(add(w, &p), "begins rank_fall");   // one line is enough
    assert_true(vj_warnings_in_force(w, VJ_WARNING_RANK_FALL, &since) && since == step);
    for (int i = 0; i < 20; i++) {
        p = healthy(step += EVERY);
        p.rank = 3;   // it falls no more, but it is not back at 0.775 of 4
        assert_string_equal(add(w, &p), "");
    }
    for (int i = 0; i < 3; i++) {
        p = healthy(step += EVERY);
        p.rank = 3.11;
        assert_string_equal(add(w, &p), i < 2 ? "" : "ends rank_fall");
    }
    vj_warnings_destroy(&w);
}

static void lines_without_figures_count_for_nothing(void **state)
{
    (void)state;
    const vj_monitor_config config = defaults();
    vj_warnings *w = make(&config);
    vj_watch_point p;
    int64_t step = 2 * WARMUP;
    for (int i = 0; i < 10; i++) {
        p = healthy(step += EVERY);
        assert_string_equal(add(w, &p), "");
    }
    for (int i = 0; i < 3; i++) {   // bad lines, with lines between them that say nothing
        p = (vj_watch_point){ .step = step += EVERY, .stage = 1, .loss = NAN, .grad_norm = NAN, .grad_norm_encoder = INFINITY, .rank = NAN,
                              .spread = NAN, .cosine = NAN, .variance_ratio = NAN, .target_variance = NAN, .held_out_ratio = NAN };
        assert_string_equal(add(w, &p), "");
        p = healthy(step += EVERY);
        p.cosine = 0.99;
        assert_string_equal(add(w, &p), i < 2 ? "" : "begins clips_alike");
    }
    vj_warnings_destroy(&w);

    w = make(&config);   // before the end of the warm-up, and of twice that
    for (step = EVERY; step <= 2 * WARMUP; step += EVERY) {
        p = healthy(step);
        p.held_out_ratio = step < 2 * WARMUP ? 1.1 : 0.9;
        if (step <= WARMUP) p.variance_ratio = 0;
        assert_string_equal(add(w, &p), "");
    }
    vj_warnings_destroy(&w);
}

// Clips of another stage are others: nothing is compared across the border.
static void a_stage_starts_anew(void **state)
{
    (void)state;
    const vj_monitor_config config = defaults();
    vj_warnings *w = make(&config);
    for (int64_t step = 210; step < 900; step += EVERY) {
        vj_watch_point p = healthy(step);
        if (step >= 500) {
            p.stage = 2;
            p.rank = p.spread = p.target_variance = p.grad_norm_encoder = 1e-3;
            p.loss = p.grad_norm = 100;
        }
        assert_string_equal(add(w, &p), "");
    }
    vj_warnings_destroy(&w);
}

// Named by who compares the ranks; a line without ranks changes nothing, and another rank is another warning. What was learned is
// not worse for it.
static void a_straggler_comes_and_goes(void **state)
{
    const vj_monitor_config config = defaults();
    vj_warnings *w = make(&config);
    static const struct { bool has; int64_t rank; const char *want; } lines[] = {
        { true, -1, "" }, { true, 3, "begins straggler" }, { false, 0, "" }, { true, 3, "" }, { true, 0, "ends straggler" }, { false, 0, "" },
        { true, 0, "begins straggler" }, { true, 0, "" }, { true, -1, "ends straggler" }, { true, -1, "" },
    };
    int64_t step = 2 * WARMUP, since;
    vj_str text = { 0 };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        vj_watch_point p = healthy(step += EVERY);
        p.has_ranks = lines[i].has;
        p.straggler = lines[i].rank;
        p.straggler_slowdown = 2.5;
        p.straggler_limit = 1.2;
        vj_format(p.straggler_host, sizeof p.straggler_host, "node%lld", (long long)lines[i].rank);
        assert_string_equal(add(w, &p), lines[i].want);
        assert_false(vj_warnings_at(w, step));
        vj_str_printf(&text, "{\"step\": %lld", (long long)step);
        if (lines[i].has) vj_str_printf(&text, ", \"ranks\": {\"count\": 4, \"straggler\": %lld}", (long long)lines[i].rank);
        vj_str_add(&text, "}\n");
    }
    vj_warnings_destroy(&w);
    // Read again from its lines.
    char path[4200];
    vj_format(path, sizeof path, "%s/metrics.jsonl", (const char *)*state);
    assert_ok(vj_file_write_atomic(path, vj_str_text(&text), text.length));
    vj_str_free(&text);
    w = make(&config);
    assert_ok(vj_warnings_replay(w, path, 2 * WARMUP + 7 * EVERY));
    assert_true(vj_warnings_in_force(w, VJ_WARNING_STRAGGLER, &since) && since == 2 * WARMUP + 7 * EVERY);
    vj_warnings_destroy(&w);
    w = make(&config);
    assert_ok(vj_warnings_replay(w, path, step));
    assert_false(vj_warnings_in_force(w, VJ_WARNING_STRAGGLER, &since));
    vj_warnings_destroy(&w);
}

static void zero_is_never(void **state)
{
    (void)state;
    vj_monitor_config config = defaults();
    config.rank_fall = config.rank_low = config.spread_low = config.target_variance_low = config.cosine_high = 0;
    config.variance_ratio_low = config.gradient_high = config.encoder_gradient_low = config.loss_rise = config.held_out_high = 0;
    vj_warnings *w = make(&config);
    curve c = read_curve("lr30");
    for (int64_t i = 0; i < c.n; i++) assert_string_equal(add(w, &c.points[i]), "");
    free(c.points);
    vj_warnings_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(collapses_warn_before_half_the_time),
        cmocka_unit_test(healthy_runs_never_warn),
        cmocka_unit_test_setup_teardown(reading_again_is_having_seen, scratch_setup, scratch_teardown),
        cmocka_unit_test(every_rule_has_its_limits),
        cmocka_unit_test(a_fall_of_the_rank),
        cmocka_unit_test(lines_without_figures_count_for_nothing),
        cmocka_unit_test(a_stage_starts_anew),
        cmocka_unit_test_setup_teardown(a_straggler_comes_and_goes, scratch_setup, scratch_teardown),
        cmocka_unit_test(zero_is_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
