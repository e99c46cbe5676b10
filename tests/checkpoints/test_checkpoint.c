// Checkpoints: round trip, hash, retention, every kill and failure in a save. Saves happen in children only
// (state_fixture.h says why).

#include "tests/checkpoints/state_fixture.h"

static void round_trip_on(const char *device)
{
    assert_int_equal(save_in_child(7, device, NULL, NULL, 10), 0);
    model *m = make_model(device), *fresh = make_model(device);
    fill(m, 7);
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    const vj_run_state *s = vj_checkpoint_state(c);
    assert_int_equal(s->adam_step, 10);
    assert_int_equal(s->cursor, 112);
    assert_string_equal(s->config_yaml, "train:\n  steps: 9\n");
    assert_string_equal(s->quarantine_json, "[]");
    OK(vj_checkpoint_load(c, fresh->parts, PARTS, fresh->st));
    same_values(m, fresh);
    vj_checkpoint_destroy(&c);
    free_model(m);
    free_model(fresh);
}

static void round_trip(void **state)
{
    (void)state;
    round_trip_on("cpu");
}

static void round_trip_float64(void **state)
{
    (void)state;
    round_trip_on("ref");
}

static void round_trip_far(void **state)
{
    (void)state;
    round_trip_on("far");
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// The definition of contracts section 4, written out once more by hand.
static void hash_is_the_one_of_its_definition(void **state)
{
    (void)state;
    saved(7);
    model *m = make_model("ref");
    static const char *const kinds[] = { "param", "exp_avg", "exp_avg_sq" };
    char *lines[64];
    int n = 0;
    for (int p = 0; p < PARTS; p++) {
        const vj_layout *l = m->parts[p].layout;
        for (int q = 0; q < l->n_params; q++) {
            float v[32];
            for (int64_t i = 0; i < l->params[q].count; i++) {
                v[i] = (float)sin((double)(7 * 1000 + p * 100 + q * 10) + 0.3 * (double)i);
            }
            char hex[65], shape[32];
            vj_sha256_hex(hex, v, (size_t)l->params[q].count * 4);
            if (l->params[q].rank == 2) {
                snprintf(shape, sizeof shape, "[%d,%d]", (int)l->params[q].shape[0], (int)l->params[q].shape[1]);
            } else {
                snprintf(shape, sizeof shape, "[%d]", (int)l->params[q].shape[0]);
            }
            lines[n] = malloc(256);
            snprintf(lines[n++], 256, "%s.%s/%s float32 %s %s\n", m->parts[p].network, l->params[q].name,
                     kinds[m->parts[p].kind], shape, hex);
        }
    }
    qsort(lines, (size_t)n, sizeof *lines, by_text);
    char *all = calloc(1, 64 * 256), want[65], got[65];
    for (int i = 0; i < n; i++) {
        strcat(all, lines[i]);
        free(lines[i]);
    }
    strcat(all, "step 7\nadam_step 10\ncursor 112\n");
    vj_sha256_hex(want, all, strlen(all));
    hash_of(run_dir, got);
    assert_string_equal(got, want);
    free(all);
    // The same state in float64 has the same hash.
    OK(vj_dir_remove(run_dir));
    assert_int_equal(save_in_child(7, "ref", NULL, NULL, 10), 0);
    hash_of(run_dir, got);
    assert_string_equal(got, want);
    free_model(m);
}

static void references(void **state)
{
    (void)state;
    saved(10);
    saved(30);
    saved(50);   // "decay"
    char ref[128];
    vj_checkpoint *c = NULL;
    newest_is(50);
    OK(vj_checkpoint_open(&c, run_dir, true));
    assert_int_equal(vj_checkpoint_state(c)->step, 30);   // the last of the constant phase
    vj_checkpoint_destroy(&c);
    snprintf(ref, sizeof ref, "%s@10", run_dir);
    OK(vj_checkpoint_open(&c, ref, true));
    assert_int_equal(vj_checkpoint_state(c)->step, 10);
    vj_checkpoint_destroy(&c);
    snprintf(ref, sizeof ref, "%s@11", run_dir);
    assert_int_equal(vj_checkpoint_open(&c, ref, false), VJ_ERR_CONFIG);
    snprintf(ref, sizeof ref, "%s@recommended", run_dir);
    assert_fails(vj_checkpoint_open(&c, ref, false), VJ_ERR_CONFIG, "no run.json");
    assert_int_equal(vj_checkpoint_open(&c, "/nonexistent/run", false), VJ_ERR_CONFIG);
}

// Not through vj_io_*: this program must not have met the fault shim when its children do.
static void write_run_json(const char *text)
{
    char path[160];
    vj_format(path, sizeof path, "%s/run.json", run_dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void what_a_run_recommends(void **state)
{
    (void)state;
    saved(10);
    saved(30);
    char ref[128];
    vj_format(ref, sizeof ref, "%s@recommended", run_dir);
    vj_checkpoint *c = NULL;
    static const struct { const char *text, *message; } bad[] = {
        { "{\"run_id\": \"x\"}", "no checkpoint is recommended (run.json names none); use" },
        { "{\"recommended\": {\"step\": null, \"why\": \"a warning is in force\"}}", "is recommended (a warning is in force)" },
        { "{\"recommended\": {\"step\": -3}}", "names none" },
        { "{\"recommended\": {\"step\": \"10\"}}", "names none" },
        { "{\"recommended\": {\"step\": 1e300}}", "names none" },
        { "{\"recommended\": [10]}", "names none" },
        { "{\"recommended\": {\"step\": 11}}", "step 11, is not there any more" },
        { "{\"recommended\": {\"step\": 9223372036854775807}}", "is not there any more" },
        { "{\"recommended\": {\"step\": 10}", "not valid JSON" },
        { "", "not valid JSON" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_run_json(bad[i].text);
        assert_fails(vj_checkpoint_open(&c, ref, i % 2), VJ_ERR_CONFIG, bad[i].message);
    }
    for (int cooldown = 0; cooldown < 2; cooldown++) {
        write_run_json("{\"recommended\": {\"step\": 10, \"why\": \"it is the best\"}}");
        OK(vj_checkpoint_open(&c, ref, cooldown));
        assert_int_equal(vj_checkpoint_state(c)->step, 10);
        vj_checkpoint_destroy(&c);
        OK(vj_checkpoint_verify(ref));
    }
}

static int64_t steps_there(int64_t *steps)
{
    vj_checkpoint_info *list = NULL;
    int64_t count = 0;
    OK(vj_checkpoint_list(run_dir, &list, &count));
    for (int64_t i = 0; i < count; i++) steps[i] = list[i].step;
    free(list);
    return count;
}

static void retention(void **state)
{
    (void)state;
    int64_t steps[16];
    for (int64_t s = 10; s <= 70; s += 10) assert_int_equal(save_in_child(s, "cpu", NULL, NULL, 2), 0);
    assert_int_equal(steps_there(steps), 3);
    assert_int_equal(steps[0], 30);   // the last constant-phase one stays for cooldowns
    assert_int_equal(steps[1], 60);
    assert_int_equal(steps[2], 70);
    // The recommended one stays as long as it is that.
    write_run_json("{\"recommended\": {\"step\": 60}}");
    for (int64_t s = 80; s <= 100; s += 10) assert_int_equal(save_in_child(s, "cpu", NULL, NULL, 2), 0);
    assert_int_equal(steps_there(steps), 4);
    assert_int_equal(steps[1], 60);
    write_run_json("{\"recommended\": {\"step\": 90}}");
    assert_int_equal(save_in_child(110, "cpu", NULL, NULL, 2), 0);
    assert_int_equal(steps_there(steps), 4);
    assert_int_equal(steps[1], 90);
}

static const char *const points[] = {
    "checkpoint.begin",
    "checkpoint.shard",
    "pwrite",
    "fsync",
    "checkpoint.before_manifest",
    "create",
    "checkpoint.after_manifest",
    "checkpoint.before_rename",
    "rename",
    "fsync_dir",
    "checkpoint.after_rename",
    "checkpoint.before_latest",
    "checkpoint.after_latest",
};

static void killed_anywhere_there_is_a_valid_checkpoint(void **state)
{
    (void)state;
    char want[65], got[65];
    saved(2);
    hash_of(run_dir, want);
    OK(vj_dir_remove(run_dir));
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        for (int nth = 1; nth <= 3; nth++) {
            saved(1);
            char fault[80];
            snprintf(fault, sizeof fault, "kill@%s:%d", points[i], nth);
            const int status = save_in_child(2, "cpu", fault, NULL, 10);
            if (!WIFSIGNALED(status)) {   // fewer than `nth` such points in a save
                assert_true(nth > 1 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
                OK(vj_dir_remove(run_dir));
                break;
            }
            assert_int_equal(WTERMSIG(status), SIGKILL);
            vj_checkpoint *c = NULL;
            OK(vj_checkpoint_open(&c, run_dir, false));
            assert_in_range(vj_checkpoint_state(c)->step, 1, 2);
            OK(vj_checkpoint_verify(vj_checkpoint_path(c)));
            vj_checkpoint_destroy(&c);
            saved(2);   // the next save meets what was left, and ends well
            newest_is(2);
            hash_of(run_dir, got);
            assert_string_equal(got, want);
            OK(vj_dir_remove(run_dir));
        }
    }
}

static void disk_full_anywhere_loses_nothing(void **state)
{
    (void)state;
    static const char *const full[] = { "checkpoint.shard", "pwrite", "fsync", "create", "rename", "fsync_dir",
                                        "checkpoint.before_manifest" };
    for (size_t i = 0; i < sizeof full / sizeof full[0]; i++) {
        saved(1);
        char fault[80];
        snprintf(fault, sizeof fault, "fail@%s:1", full[i]);
        const int status = save_in_child(2, "cpu", fault, NULL, 10);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 74);
        message_says("o space left");
        newest_is(1);
        nothing_half_made_is_there();
        saved(2);
        newest_is(2);
        OK(vj_dir_remove(run_dir));
    }
}

// The system's own refusal in the middle of a write, wherever it comes.
static void a_file_that_may_not_grow_loses_nothing(void **state)
{
    (void)state;
    saved(1);
    int refused = 0;
    for (rlim_t limit = 512;; limit += 4096) {
        file_limit = limit;
        const int status = save_in_child(2, "cpu", NULL, NULL, 10);
        file_limit = RLIM_INFINITY;
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 0) break;
        assert_int_equal(WEXITSTATUS(status), 74);
        message_says(run_dir);
        newest_is(1);
        nothing_half_made_is_there();
        refused++;
    }
    assert_in_range(refused, 3, 100);
    newest_is(2);
}

static void space_is_looked_at_before_a_save(void **state)
{
    (void)state;
    char trace[128], *text = NULL;
    snprintf(trace, sizeof trace, "%s/trace", run_dir);
    saved(1);
    const int status = save_in_child(2, "cpu", "fail@checkpoint.space:1", trace, 10);
    assert_int_equal(WEXITSTATUS(status), 74);
    message_says("a checkpoint needs 1.1 MB, 0 bytes are free");
    OK(vj_file_read(trace, &text, NULL, 0));
    assert_null(strstr(text, "checkpoint.begin"));   // nothing was begun
    free(text);
    newest_is(1);
}

static void a_place_that_cannot_be_written(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/ckpt", run_dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    const int status = save_in_child(2, "cpu", NULL, NULL, 10);
    assert_int_equal(WEXITSTATUS(status), 74);
    message_says(path);
}

static void killed_while_old_ones_go(void **state)
{
    (void)state;
    static const char *const faults[] = { "kill@checkpoint.retention:1", "kill@checkpoint.retention:2",
                                          "kill@rename:3", "kill@rename:4" };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        int64_t steps[16];
        saved(1);
        saved(2);
        const int status = save_in_child(3, "cpu", faults[i], NULL, 1);
        assert_true(WIFSIGNALED(status));
        newest_is(3);
        assert_int_equal(save_in_child(4, "cpu", NULL, NULL, 1), 0);
        newest_is(4);
        assert_int_equal(steps_there(steps), 1);
        nothing_half_made_is_there();
        OK(vj_dir_remove(run_dir));
    }
}

static int64_t line_of(const char *text, const char *what, const char *path, bool last)
{
    int64_t line = 0, found = -1;
    for (const char *p = text; *p; line++) {
        const char *end = strchr(p, '\n');
        const size_t n = end ? (size_t)(end - p) : strlen(p);
        char copy[1300];
        snprintf(copy, sizeof copy, "%.*s", (int)n, p);
        if (strncmp(copy, what, strlen(what)) == 0 && copy[strlen(what)] == ' ' && strstr(copy, path) &&
            (last || found < 0))
            found = line;
        p += n + (end != NULL);
    }
    return found;
}

static void the_order_of_a_commit(void **state)
{
    (void)state;
    char trace[128], *text = NULL;
    snprintf(trace, sizeof trace, "%s/trace", run_dir);
    assert_int_equal(save_in_child(3, "cpu", NULL, trace, 10), 0);
    OK(vj_file_read(trace, &text, NULL, 0));
    const int64_t order[] = {
        line_of(text, "pwrite", "shard-00000-of-00001.h5", true),     // all payload
        line_of(text, "fsync", "shard-00000-of-00001.h5", false),     // on disk
        line_of(text, "create", "manifest.json", false),              // then the manifest
        line_of(text, "pwrite", "manifest.json", false),
        line_of(text, "fsync", "manifest.json", false),
        line_of(text, "rename", "step-00000003", false),              // then the name
        line_of(text, "fsync_dir", "/ckpt", true),
        line_of(text, "checkpoint.before_latest", "step-00000003", false),
        line_of(text, "rename", "LATEST", false),                     // and the pointer last
    };
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) assert_true(order[i] >= 0);
    // The directory is synced once more behind LATEST: that line is compared with the rename only.
    static const int chain[] = { 0, 1, 2, 3, 4, 5, 7, 8 };
    for (int i = 1; i < 8; i++) assert_true(order[chain[i - 1]] < order[chain[i]]);
    assert_true(order[5] < order[6]);
    free(text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch, scratch_away)
    const struct CMUnitTest tests[] = {
        T(round_trip),
        T(round_trip_float64),
        T(round_trip_far),
        T(hash_is_the_one_of_its_definition),
        T(references),
        T(what_a_run_recommends),
        T(retention),
        T(killed_anywhere_there_is_a_valid_checkpoint),
        T(killed_while_old_ones_go),
        T(disk_full_anywhere_loses_nothing),
        T(a_file_that_may_not_grow_loses_nothing),
        T(space_is_looked_at_before_a_save),
        T(a_place_that_cannot_be_written),
        T(the_order_of_a_commit),
    };
    return cmocka_run_group_tests_name("checkpoints/checkpoint", tests, NULL, NULL);
}
