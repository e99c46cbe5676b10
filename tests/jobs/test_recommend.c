// Which checkpoint is recommended, on made runs.

#include "jobs/train/recommend.h"

#include <math.h>
#include <string.h>

#include "configs/run_config.h"
#include "tests/support/scratch.h"

enum { EVERY = 100, MOST = 64 };

// A run with checkpoints and held-out figures at every hundredth step: warm-up to step 100, then constant.
typedef struct made { vj_warnings *w; vj_checkpoint_info list[MOST]; int64_t n; } made;

static void begin(made *m)
{
    vj_run_config c;
    vj_config *origins = NULL;
    assert_ok(vj_run_config_load(&c, &origins, "quickstart", NULL, 0));
    vj_config_destroy(&origins);
    m->n = 0;
    assert_ok(vj_warnings_create(&m->w, &c.monitor, 100, EVERY));
}

// The next checkpoint; cosine 0.99 (three lines of it begin a warning, three of 0.5 end it).
static void next(made *m, double ratio, double cosine, const char *phase)
{
    const int64_t step = (m->n + 1) * EVERY;
    vj_watch_point p = { .step = step, .stage = 1, .loss = 0.5, .grad_norm = 1, .grad_norm_encoder = 1, .rank = 8, .spread = 1,
                         .cosine = cosine, .variance_ratio = 1, .target_variance = 1, .held_out_ratio = ratio };
    vj_warning_event events[VJ_WARNINGS];
    int n = 0;
    assert_ok(vj_warnings_add(m->w, &p, events, &n));
    vj_checkpoint_info *c = &m->list[m->n++];
    *c = (vj_checkpoint_info){ .step = step, .valid = true };
    vj_format(c->schedule_phase, sizeof c->schedule_phase, "%s", phase);
}

static void expect(made *m, double noise, int64_t step, const char *why)
{
    vj_recommendation r;
    vj_recommend(&r, m->list, m->n, m->w, noise);
    if (r.step != step || !strstr(r.why, why)) fail_msg("step %lld: %s; step %lld, '%s' expected", (long long)r.step, r.why, (long long)step, why);
}

static void the_latest_good_one(void **state)
{
    (void)state;
    made m;
    begin(&m);
    expect(&m, 0.03, -1, "no checkpoint of the constant phase yet");
    next(&m, 0.95, 0.5, "warmup");
    expect(&m, 0.03, -1, "no checkpoint of the constant phase yet");
    next(&m, 0.80, 0.5, "constant");
    expect(&m, 0.03, 200, "step 200 is the latest good one of 1 checkpoints of the constant phase: its held-out ratio, 0.800, is the best; "
                          "no warning is in force, rank 8.00 (highest 8.00)");
    next(&m, 0.82, 0.5, "constant");
    expect(&m, 0.03, 300, "0.820, is within 3 % of the best, 0.800 at step 200");
    expect(&m, 0.02, 200, "is the best");
    next(&m, 0.90, 0.5, "constant");
    expect(&m, 0.03, 300, "within 3 %");
    m.list[2].valid = false;   // damaged
    expect(&m, 0.03, 200, "is the best");
    m.list[1].valid = false;   // and no good one is left
    expect(&m, 0.03, 400, "step 400 is the best of 1 checkpoints of the constant phase: its held-out ratio, 0.900, is not within 3 % of the best");
    next(&m, 0.7, 0.5, "decay");
    expect(&m, 0.5, 400, "within 50 %");
    vj_warnings_destroy(&m.w);
}

static void none_is_good_any_more(void **state)
{
    (void)state;
    made m;
    begin(&m);
    static const double ratios[] = { 0.9, 0.7, 0.9, 0.85, 0.95 };
    for (int i = 0; i < 5; i++) next(&m, ratios[i], 0.5, "constant");
    m.list[1].valid = false;   // the best is gone
    expect(&m, 0.03, 400, "step 400 is the best of 4");
    vj_warnings_destroy(&m.w);
}

static void before_a_warning(void **state)
{
    (void)state;
    made m;
    begin(&m);
    next(&m, 0.95, 0.5, "warmup");
    for (int i = 0; i < 4; i++) next(&m, 0.80 + 0.01 * i, 0.5, "constant");   // to step 500
    for (int i = 0; i < 3; i++) next(&m, 0.60, 0.99, "constant");            // begins at step 800
    expect(&m, 0.03, 700, "step 700 is the last checkpoint of the constant phase before the warning clips_alike began at step 800; "
                          "its held-out ratio is 0.600 (step 700)");
    next(&m, 0.10, 0.99, "constant");
    expect(&m, 0.03, 700, "clips_alike");
    for (int i = 0; i < 7; i++) m.list[i].valid = false;
    expect(&m, 0.03, -1, "the warning clips_alike is in force since step 800, and no checkpoint of the constant phase is older");
    for (int i = 0; i < 7; i++) m.list[i].valid = true;
    for (int i = 0; i < 3; i++) next(&m, 0.62, 0.5, "constant");             // ends at step 1200
    expect(&m, 0.03, 700, "is the best");   // step 1200 is not within 3 %; those under the warning do not count
    expect(&m, 0.05, 1200, "within 5 % of the best, 0.600 at step 600");
    vj_warnings_destroy(&m.w);
}

static void without_held_out_figures(void **state)
{
    (void)state;
    made m;
    begin(&m);
    for (int i = 0; i < 3; i++) next(&m, NAN, 0.5, "constant");
    expect(&m, 0.03, 300, "step 300 is the latest good one of 3 checkpoints of the constant phase; there are no held-out figures to compare");
    vj_warnings_destroy(&m.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_latest_good_one),
        cmocka_unit_test(none_is_good_any_more),
        cmocka_unit_test(before_a_warning),
        cmocka_unit_test(without_held_out_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
