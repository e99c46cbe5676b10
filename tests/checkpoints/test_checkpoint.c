// Checkpoints: round trip, hash, retention, every kill and failure in a save, damage anywhere. Saves run in child processes,
// so that each has a fault shim of its own.

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoints/checkpoint.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != VJ_OK) {                                                                                         \
            print_error("%s\n", vj_error_text());                                                                      \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)

enum { PARTS = 7, UNITS = 3 };
typedef struct model {
    vj_device *device;
    vj_stream *st;
    vj_layout *encoder, *target, *predictor;
    void *memory[PARTS];
    vj_tensor shards[PARTS][UNITS];
    int64_t begin[UNITS];
    vj_state_part parts[PARTS];
} model;

static vj_layout *make_layout(const char *network, int units)
{
    vj_layout *l = NULL;
    OK(vj_layout_create(&l, network, 2));
    for (int u = 0; u < units; u++) {
        char name[40];
        snprintf(name, sizeof name, "unit.%d", u);
        OK(vj_layout_unit(l, name));
        for (int p = 0; p < 2; p++) {
            vj_param q = { .rank = 1 + p, .shape = { 5 + u, 3 }, .trained = true };
            snprintf(q.name, sizeof q.name, "unit.%d.%s", u, p ? "weight" : "bias");
            OK(vj_layout_param(l, &q));
        }
    }
    return l;
}

// The parts point into the model: it stays where it is made.
static model *make_model(const char *device)
{
    static const char *const networks[PARTS] = { "encoder", "encoder", "encoder", "predictor", "predictor", "predictor", "target_encoder" };
    static const vj_state_kind kinds[PARTS] = { VJ_STATE_PARAM, VJ_STATE_EXP_AVG, VJ_STATE_EXP_AVG_SQ, VJ_STATE_PARAM, VJ_STATE_EXP_AVG, VJ_STATE_EXP_AVG_SQ, VJ_STATE_PARAM };
    model *made = calloc(1, sizeof *made);
    OK(vj_device_open(&made->device, device, 1));
    OK(vj_stream_create(made->device, &made->st));
    made->encoder = make_layout("encoder", UNITS);
    made->target = make_layout("target_encoder", UNITS);
    made->predictor = make_layout("predictor", 2);
    for (int p = 0; p < PARTS; p++) {
        vj_layout *l = p < 3 ? made->encoder : p < 6 ? made->predictor : made->target;
        const vj_dtype t = vj_device_real(made->device);
        OK(vj_device_alloc(made->device, &made->memory[p], (size_t)vj_layout_length(l) * vj_dtype_size(t), "a part"));
        int64_t at = 0;
        for (int u = 0; u < l->n_units; u++) {
            made->shards[p][u] = vj_tensor_1d((void *)((uintptr_t)made->memory[p] + (size_t)at * vj_dtype_size(t)), t, l->units[u].length);
            at += l->units[u].length;
        }
        made->parts[p] = (vj_state_part){ .network = networks[p], .kind = kinds[p], .layout = l, .shards = made->shards[p], .begin = made->begin };
    }
    return made;
}

static void free_model(model *m)
{
    for (int p = 0; p < PARTS; p++) vj_device_free(m->device, m->memory[p]);
    vj_layout_destroy(&m->encoder);
    vj_layout_destroy(&m->target);
    vj_layout_destroy(&m->predictor);
    vj_stream_destroy(&m->st);
    vj_device_close(&m->device);
    free(m);
}

// Only parameters have values: padding stays zero, as in training.
static void fill(model *m, int64_t step)
{
    for (int p = 0; p < PARTS; p++) {
        const vj_layout *l = m->parts[p].layout;
        for (int u = 0; u < l->n_units; u++) {
            double *v = calloc((size_t)l->units[u].length, sizeof *v);
            for (int q = l->units[u].first_param; q < l->units[u].first_param + l->units[u].n_params; q++) {
                for (int64_t i = 0; i < l->params[q].count; i++) v[l->params[q].offset + i] = (float)sin((double)(step * 1000 + p * 100 + q * 10) + 0.3 * (double)i);
            }
            OK(vj_upload(m->st, &m->shards[p][u], v, VJ_F64));
            free(v);
        }
    }
}

static vj_run_state state_of(int64_t step)
{
    vj_run_state s = { .step = step, .adam_step = step + 3, .cursor = (uint64_t)step * 16, .seed = 239, .config_yaml = "train:\n  steps: 9\n", .quarantine_json = "[]" };
    strcpy(s.run_id, "run-of-the-test");
    strcpy(s.phase, "pretrain");
    strcpy(s.schedule_phase, step < 40 ? "constant" : "decay");
    strcpy(s.model_digest, "0123");
    return s;
}

static char run_dir[64];

static int scratch(void **state)
{
    (void)state;
    strcpy(run_dir, "/tmp/vj-checkpoint-XXXXXX");
    return mkdtemp(run_dir) ? 0 : -1;
}

static int scratch_away(void **state)
{
    (void)state;
    return vj_dir_remove(run_dir) == VJ_OK ? 0 : -1;
}

// Saves `step` in a child with VJ_FAULT=`fault`; the wait status.
static int save_in_child(int64_t step, const char *device, const char *fault, const char *trace, int64_t keep)
{
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (fault) setenv("VJ_FAULT", fault, 1);
        if (trace) setenv("VJ_FAULT_TRACE", trace, 1);
        signal(SIGSEGV, SIG_DFL);   // a child must die of its faults, not run the other tests
        signal(SIGABRT, SIG_DFL);
        model *m = make_model(device);
        fill(m, step);
        const vj_run_state s = state_of(step);
        const vj_status status = vj_checkpoint_save(run_dir, m->parts, PARTS, &s, m->st, keep, 0);
        if (status != VJ_OK && !fault) fprintf(stderr, "%s\n", vj_error_text());
        _exit(vj_status_exit_code(status));
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
}

static void saved(int64_t step) { assert_int_equal(save_in_child(step, "cpu", NULL, NULL, 10), 0); }

// The newest valid checkpoint is `step`, and every byte of it is good.
static void newest_is(int64_t step)
{
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    assert_int_equal(vj_checkpoint_state(c)->step, step);
    OK(vj_checkpoint_verify(vj_checkpoint_path(c)));
    vj_checkpoint_destroy(&c);
}

static void hash_of(const char *ref, char hex[65])
{
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, ref, false));
    OK(vj_checkpoint_hash(c, hex, NULL));
    vj_checkpoint_destroy(&c);
}

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
    for (int p = 0; p < PARTS; p++) {
        for (int u = 0; u < m->parts[p].layout->n_units; u++) {
            const int64_t n = vj_count(&m->shards[p][u]);
            double *a = malloc((size_t)n * sizeof *a), *b = malloc((size_t)n * sizeof *b);
            OK(vj_download(m->st, a, VJ_F64, &m->shards[p][u]));
            OK(vj_download(fresh->st, b, VJ_F64, &fresh->shards[p][u]));
            assert_memory_equal(a, b, (size_t)n * sizeof *a);
            free(a);
            free(b);
        }
    }
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
            for (int64_t i = 0; i < l->params[q].count; i++) v[i] = (float)sin((double)(7 * 1000 + p * 100 + q * 10) + 0.3 * (double)i);
            char hex[65], shape[32];
            vj_sha256_hex(hex, v, (size_t)l->params[q].count * 4);
            if (l->params[q].rank == 2) snprintf(shape, sizeof shape, "[%d,%d]", (int)l->params[q].shape[0], (int)l->params[q].shape[1]);
            else snprintf(shape, sizeof shape, "[%d]", (int)l->params[q].shape[0]);
            lines[n] = malloc(256);
            snprintf(lines[n++], 256, "%s.%s/%s float32 %s %s\n", m->parts[p].network, l->params[q].name, kinds[m->parts[p].kind], shape, hex);
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
    assert_int_equal(vj_checkpoint_open(&c, ref, false), VJ_ERR_USAGE);
    assert_int_equal(vj_checkpoint_open(&c, "/nonexistent/run", false), VJ_ERR_CONFIG);
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
}

static const char *const points[] = {
    "checkpoint.begin", "checkpoint.shard", "pwrite", "fsync", "checkpoint.before_manifest", "create", "checkpoint.after_manifest",
    "checkpoint.before_rename", "rename", "fsync_dir", "checkpoint.after_rename", "checkpoint.before_latest", "checkpoint.after_latest",
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
    static const char *const full[] = { "checkpoint.shard", "pwrite", "fsync", "create", "rename", "fsync_dir", "checkpoint.before_manifest" };
    for (size_t i = 0; i < sizeof full / sizeof full[0]; i++) {
        saved(1);
        char fault[80];
        snprintf(fault, sizeof fault, "fail@%s:1", full[i]);
        const int status = save_in_child(2, "cpu", fault, NULL, 10);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 74);
        newest_is(1);
        char **names = NULL, ckpt[128];
        int64_t count = 0;
        snprintf(ckpt, sizeof ckpt, "%s/ckpt", run_dir);
        OK(vj_dir_list(ckpt, &names, &count));
        for (int64_t k = 0; k < count; k++) assert_null(strstr(names[k], ".tmp-"));   // nothing half-made stays
        vj_names_free(&names, count);
        saved(2);
        newest_is(2);
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
        if (strncmp(copy, what, strlen(what)) == 0 && copy[strlen(what)] == ' ' && strstr(copy, path) && (last || found < 0)) found = line;
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

static void flip(const char *path, int64_t at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, (long)at, SEEK_SET);
    const int byte = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(byte ^ 0x20, f);
    fclose(f);
}

static void a_flipped_byte_is_seen(void **state)
{
    (void)state;
    saved(5);
    const char *const files[] = { "shard-00000-of-00001.h5", "manifest.json" };
    uint32_t noise = 99;
    for (int k = 0; k < 200; k++) {
        char path[256];
        snprintf(path, sizeof path, "%s/ckpt/step-00000005/%s", run_dir, files[k % 2]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        noise = noise * 1664525u + 1013904223u;
        const int64_t at = (int64_t)(noise >> 8) % st.st_size;
        flip(path, at);
        char ref[128];
        snprintf(ref, sizeof ref, "%s@5", run_dir);
        const vj_status status = vj_checkpoint_verify(ref);
        if (status != VJ_ERR_CHECKPOINT) {
            print_error("byte %lld of %s: status %d\n", (long long)at, files[k % 2], (int)status);
            fail();
        }
        flip(path, at);
    }
    newest_is(5);
}

static void a_cut_file_is_seen_and_the_one_before_is_used(void **state)
{
    (void)state;
    saved(4);
    saved(5);
    const char *const files[] = { "shard-00000-of-00001.h5", "manifest.json" };
    for (int k = 0; k < 2; k++) {
        char path[256], ref[128], *data = NULL;
        size_t bytes = 0;
        snprintf(path, sizeof path, "%s/ckpt/step-00000005/%s", run_dir, files[k]);
        snprintf(ref, sizeof ref, "%s@5", run_dir);
        OK(vj_file_read(path, &data, &bytes, 0));
        for (int part = 0; part < 16; part++) {
            assert_int_equal(truncate(path, (off_t)(bytes * (size_t)part / 16)), 0);
            assert_int_equal(vj_checkpoint_verify(ref), VJ_ERR_CHECKPOINT);
            if (k == 1) newest_is(4);
        }
        OK(vj_file_write_atomic(path, data, bytes));
        free(data);
        newest_is(5);
    }
}

static void another_model_is_refused_by_name(void **state)
{
    (void)state;
    saved(5);
    model *m = make_model("cpu");
    strcpy(m->encoder->params[3].name, "unit.1.other");
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    assert_int_equal(vj_checkpoint_load(c, m->parts, PARTS, m->st), VJ_ERR_CONFIG);
    assert_non_null(strstr(vj_error_text(), "unit.1.other"));
    vj_checkpoint_destroy(&c);
    free_model(m);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch, scratch_away)
    const struct CMUnitTest tests[] = {
        T(round_trip), T(round_trip_float64), T(round_trip_far), T(hash_is_the_one_of_its_definition), T(references), T(retention),
        T(killed_anywhere_there_is_a_valid_checkpoint), T(disk_full_anywhere_loses_nothing), T(the_order_of_a_commit),
        T(a_flipped_byte_is_seen), T(a_cut_file_is_seen_and_the_one_before_is_used), T(another_model_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("checkpoints/checkpoint", tests, NULL, NULL);
}
