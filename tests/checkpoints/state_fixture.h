// A small state of three networks for the tests of checkpoints, and saves in child processes, so that each has a fault
// shim of its own (the shim reads its variables once: a program that saves itself cannot test faults any more). The run
// directory is a scratch folder per test.
#ifndef VJ_TESTS_CHECKPOINTS_STATE_FIXTURE_H
#define VJ_TESTS_CHECKPOINTS_STATE_FIXTURE_H

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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoints/checkpoint_impl.h"
#include "runtime/base/fault.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "tests/support/scratch.h"

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

static inline vj_layout *make_layout(const char *network, int units)
{
    vj_layout *l = NULL;
    OK(vj_layout_create(&l, network, 2));
    for (int u = 0; u < units; u++) {
        char name[40];
        snprintf(name, sizeof name, "unit.%d", u);
        OK(vj_layout_unit(l, name));
        for (int p = 0; p < 2; p++) {
            vj_param q = { .rank = 1 + p, .shape = { 5 + u, 3 } };
            snprintf(q.name, sizeof q.name, "unit.%d.%s", u, p ? "weight" : "bias");
            OK(vj_layout_param(l, &q));
        }
    }
    return l;
}

// The parts point into the model: it stays where it is made.
static inline model *make_model(const char *device)
{
    static const char *const networks[PARTS] = { "encoder", "encoder", "encoder", "predictor", "predictor",
                                                 "predictor", "target_encoder" };
    static const vj_state_kind kinds[PARTS] = { VJ_STATE_PARAM, VJ_STATE_EXP_AVG, VJ_STATE_EXP_AVG_SQ,
                                                VJ_STATE_PARAM, VJ_STATE_EXP_AVG, VJ_STATE_EXP_AVG_SQ,
                                                VJ_STATE_PARAM };
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
            made->shards[p][u] = vj_tensor_1d((void *)((uintptr_t)made->memory[p] + (size_t)at * vj_dtype_size(t)), t,
                                              l->units[u].length);
            at += l->units[u].length;
        }
        made->parts[p] = (vj_state_part){ .network = networks[p], .kind = kinds[p], .layout = l,
                                          .shards = made->shards[p], .begin = made->begin };
    }
    return made;
}

static inline void free_model(model *m)
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
static inline void fill(model *m, int64_t step)
{
    for (int p = 0; p < PARTS; p++) {
        const vj_layout *l = m->parts[p].layout;
        for (int u = 0; u < l->n_units; u++) {
            double *v = calloc((size_t)l->units[u].length, sizeof *v);
            for (int q = l->units[u].first_param; q < l->units[u].first_param + l->units[u].n_params; q++) {
                for (int64_t i = 0; i < l->params[q].count; i++) {
                    v[l->params[q].offset + i] = (float)sin((double)(step * 1000 + p * 100 + q * 10) + 0.3 * (double)i);
                }
            }
            OK(vj_upload(m->st, &m->shards[p][u], v, VJ_F64));
            free(v);
        }
    }
}

static inline vj_run_state state_of(int64_t step)
{
    vj_run_state s = { .step = step, .adam_step = step + 3, .cursor = (uint64_t)step * 16, .seed = 239,
                       .config_yaml = "train:\n  steps: 9\n", .quarantine_json = "[]" };
    strcpy(s.run_id, "run-of-the-test");
    strcpy(s.phase, "pretrain");
    strcpy(s.schedule_phase, step < 40 ? "constant" : "decay");
    strcpy(s.model_digest, "0123");
    return s;
}

static char run_dir[64];

static inline int scratch(void **state)
{
    (void)state;
    strcpy(run_dir, "/dev/shm/vj-checkpoint-XXXXXX");   // processes die here, not disks: syncing to memory is enough
    if (mkdtemp(run_dir)) return 0;
    strcpy(run_dir, "/tmp/vj-checkpoint-XXXXXX");
    return mkdtemp(run_dir) ? 0 : -1;
}

static inline int scratch_away(void **state)
{
    (void)state;
    return vj_dir_remove(run_dir) == VJ_OK ? 0 : -1;
}

static rlim_t file_limit = RLIM_INFINITY;   // of children

static inline void leave_message(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/message", run_dir);
    FILE *f = fopen(path, "w");
    if (f) {
        fputs(vj_error_text(), f);
        fclose(f);
    }
}

// Saves `step` in a child with VJ_FAULT=`fault`; the wait status. A failure's message is left in the file `message`.
static inline int save_in_child(int64_t step, const char *device, const char *fault, const char *trace, int64_t keep)
{
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (fault) setenv("VJ_FAULT", fault, 1);
        if (trace) setenv("VJ_FAULT_TRACE", trace, 1);
        vj_fault_reread();
        signal(SIGSEGV, SIG_DFL);   // a child must die of its faults, not run the other tests
        signal(SIGABRT, SIG_DFL);
        signal(SIGXFSZ, SIG_IGN);
        model *m = make_model(device);
        fill(m, step);
        const vj_run_state s = state_of(step);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ file_limit, file_limit });
        const vj_status status = vj_checkpoint_save(run_dir, m->parts, PARTS, &s, m->st, keep, 0);
        if (status != VJ_OK) leave_message();
        _exit(vj_status_exit_code(status));
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
}

static inline void message_says(const char *part)
{
    char path[128], *text = NULL;
    snprintf(path, sizeof path, "%s/message", run_dir);
    OK(vj_file_read(path, &text, NULL, 0));
    if (!strstr(text, part)) print_error("'%s' is not in: %s\n", part, text);
    assert_non_null(strstr(text, part));
    free(text);
}

static inline void nothing_half_made_is_there(void)
{
    char **names = NULL, ckpt[128];
    int64_t count = 0;
    snprintf(ckpt, sizeof ckpt, "%s/ckpt", run_dir);
    OK(vj_dir_list(ckpt, &names, &count));
    for (int64_t k = 0; k < count; k++) assert_null(strstr(names[k], ".tmp-"));
    vj_names_free(&names, count);
}

static inline void saved(int64_t step) { assert_int_equal(save_in_child(step, "cpu", NULL, NULL, 10), 0); }

// The newest valid checkpoint is `step`, and every byte of it is good.
static inline void newest_is(int64_t step)
{
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    assert_int_equal(vj_checkpoint_state(c)->step, step);
    OK(vj_checkpoint_verify(vj_checkpoint_path(c)));
    vj_checkpoint_destroy(&c);
}

static inline void hash_of(const char *ref, char hex[65])
{
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, ref, false));
    OK(vj_checkpoint_hash(c, hex, NULL));
    vj_checkpoint_destroy(&c);
}

static inline void same_values(const model *a, const model *b)
{
    for (int p = 0; p < PARTS; p++) {
        for (int u = 0; u < a->parts[p].layout->n_units; u++) {
            const int64_t n = vj_count(&a->shards[p][u]);
            double *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
            OK(vj_download(a->st, x, VJ_F64, &a->shards[p][u]));
            OK(vj_download(b->st, y, VJ_F64, &b->shards[p][u]));
            assert_memory_equal(x, y, (size_t)n * sizeof *x);
            free(x);
            free(y);
        }
    }
}

#endif
