// What a save costs the training: in one process, on one model, a save that is waited for and one beside the steps, in turns; and the
// loader's clips, alone and beside a save.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/async.h"
#include "configs/run_config.h"
#include "data/loader.h"
#include "jobs/bench/bench.h"
#include "jobs/train/parts.h"
#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/file.h"

enum { STEPS = 3, MOST_CLIPS = 1 << 16, MOST_STEPS = 256 };

typedef struct bench {
    const vj_bench_save *job;
    vj_device *device;
    vj_vjepa *model;
    vj_slot slot;
    vj_parts parts;
    vj_run_state state;
    vj_async_save *writer;
    int64_t steps;
    char *copy;
    double *clip_seconds;   // MOST_CLIPS
} bench;

static vj_status step(bench *b, double *seconds)
{
    vj_step_result r;
    return vj_bench_step(b->model, &b->slot, 1, 1, ++b->steps, false, &r, seconds);
}

static vj_status make(bench *b)
{
    const vj_bench_work *w = b->job->work;
    const vj_slot_bound bound = vj_bench_bound(w);
    VJ_TRY(vj_device_open(&b->device, "cpu", (int)w->threads));
    VJ_TRY(vj_vjepa_create(&b->model, &w->model, 2, b->device, &bound, true));
    VJ_TRY(vj_vjepa_init(b->model, 1));
    VJ_TRY(vj_bench_slot(w, &b->slot));
    VJ_TRY(vj_parts_make(&b->parts, b->model, true));
    VJ_TRY(vj_async_save_create(&b->writer, NULL));
    vj_async_save_prepare(b->writer, b->parts.parts, b->parts.n);
    b->state = (vj_run_state){ .run_id = "bench-save", .phase = "pretrain", .schedule_phase = "constant", .config_yaml = "" };
    VJ_TRY(vj_host_alloc(&b->clip_seconds, MOST_CLIPS * sizeof *b->clip_seconds, "times of clips"));
    return vj_dir_create(b->job->dir);
}

static int64_t bytes_of(const vj_parts *l)
{
    int64_t bytes = 0;
    for (int p = 0; p < l->n; p++) {
        for (int u = 0; u < l->parts[p].layout->n_units; u++) bytes += (int64_t)vj_tensor_bytes(&l->parts[p].shards[u]);
    }
    return bytes;
}

// Into memory that was touched before.
static vj_status plain_copy(bench *b, int64_t bytes, double *seconds)
{
    if (!b->copy) VJ_TRY(vj_host_alloc(&b->copy, (size_t)bytes, "a copy of the state"));
    char *at = b->copy;
    vj_stream *st = vj_vjepa_stream(b->model);
    const double began = vj_now();
    for (int p = 0; p < b->parts.n; p++) {
        for (int u = 0; u < b->parts.parts[p].layout->n_units; u++) {
            const vj_tensor *t = &b->parts.parts[p].shards[u];
            VJ_TRY(vj_copy_to_host(st, at, t->data, vj_tensor_bytes(t)));
            at += vj_tensor_bytes(t);
        }
    }
    VJ_TRY(vj_stream_sync(st));
    *seconds = vj_now() - began;
    return VJ_OK;
}

static vj_status start_beside(bench *b, double *stood)
{
    vj_async_outcome how;
    const double began = vj_now();
    b->state.step++;
    VJ_TRY(vj_async_save_start(b->writer, b->job->dir, b->parts.parts, b->parts.n, &b->state, vj_vjepa_stream(b->model), 1, 0, &how));
    *stood = vj_now() - began;
    VJ_CHECK(how == VJ_ASYNC_STARTED, VJ_ERR_NOMEM, "there is no memory for a copy of the state");
    return VJ_OK;
}

static vj_status one_round(bench *b, vj_bench_save_result *out)
{
    const int i = out->n++;
    double seconds[MOST_STEPS];
    int n = 0;
    for (; n < STEPS; n++) VJ_TRY(step(b, &seconds[n]));
    out->step[i] = vj_bench_median(seconds, n);
    VJ_TRY(plain_copy(b, out->bytes, &out->copy[i]));

    b->state.step++;
    double began = vj_now();
    VJ_TRY(vj_checkpoint_save(b->job->dir, b->parts.parts, b->parts.n, &b->state, vj_vjepa_stream(b->model), 1, 0));
    out->waited[i] = vj_now() - began;

    bool saved = false, failed;
    began = vj_now();
    VJ_TRY(start_beside(b, &out->stood[i]));
    for (n = 0; !saved;) {
        VJ_TRY(step(b, &seconds[n < MOST_STEPS - 1 ? n++ : n]));
        if (!vj_async_save_ready(b->writer, &failed)) continue;
        const double border = vj_now();
        VJ_TRY(vj_async_save_advance(b->writer, failed, &saved));
        out->stood[i] += vj_now() - border;
    }
    out->beside[i] = vj_now() - began;
    out->step_beside[i] = vj_bench_median(seconds, n < 256 ? n : 256);
    return VJ_OK;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Clips one after the other: for `seconds`, or as long as a save runs (`seconds` 0).
static vj_status clips(bench *b, vj_loader *loader, double seconds, int *n, double *median, double *p99)
{
    const double began = vj_now();
    bool failed;
    for (*n = 0; *n < MOST_CLIPS && (seconds > 0 ? vj_now() - began < seconds : !vj_async_save_ready(b->writer, &failed));) {
        const vj_batch *batch = NULL;
        const double asked = vj_now();
        VJ_TRY(vj_loader_next(loader, &batch));
        b->clip_seconds[(*n)++] = vj_now() - asked;
        vj_loader_release(loader, batch);
    }
    VJ_CHECK(*n >= 100, VJ_ERR_USAGE, "only %d clips were loaded: a 99th percentile needs 100; a slower --disk or a larger model lets a save last longer", *n);
    qsort(b->clip_seconds, (size_t)*n, sizeof *b->clip_seconds, ascending);
    *median = b->clip_seconds[*n / 2];
    *p99 = b->clip_seconds[(*n * 99) / 100];
    return VJ_OK;
}

static vj_status loader_beside(bench *b, vj_bench_save_result *out)
{
    char word[600];
    vj_run_config c;
    vj_config *origins = NULL;
    vj_loader *loader = NULL;
    vj_format(word, sizeof word, "data.dir=%s", b->job->shards);
    const char *words[] = { word, "data.prefetch=1" };
    VJ_TRY(vj_run_config_load(&c, &origins, "quickstart", words, 2));
    const vj_loader_stage stage = { .seed = 1, .batch = 1, .slot = 1, .crop = c.data.crop, .tubelet = c.model.tubelet, .patch = c.model.patch,
                                    .fpc = c.data.fpc, .fps = c.data.fps, .world = 1, .threads = (int)c.data.threads };
    VJ_TRY(vj_loader_open(&loader, &c.data, &c.mask, &stage, NULL, NULL));
    double stood, warm_median, warm_p99;
    int warm;
    bool saved;
    const double seconds = vj_bench_median(out->waited, out->n) > 2 ? vj_bench_median(out->waited, out->n) : 2;
    VJ_TRY(clips(b, loader, seconds, &warm, &warm_median, &warm_p99));   // all files have been read once
    for (int i = 0; i < out->n; i++) {
        VJ_TRY(clips(b, loader, seconds, &out->clips[i], &out->clip_median[i], &out->clip_p99[i]));
        VJ_TRY(start_beside(b, &stood));
        VJ_TRY(clips(b, loader, 0, &out->clips_beside[i], &out->clip_median_beside[i], &out->clip_p99_beside[i]));
        VJ_TRY(vj_async_save_finish(b->writer, &saved));
    }
    vj_loader_close(&loader);
    vj_config_destroy(&origins);
    return VJ_OK;
}

// The process ends behind this: memory is not given back.
static vj_status measure(const void *context, void *result)
{
    bench b = { .job = context };
    vj_bench_save_result *out = result;
    *out = (vj_bench_save_result){ 0 };
    double first;
    vj_fault_disk_set(b.job->rate);
    VJ_TRY(make(&b));
    VJ_TRY(step(&b, &first));   // touches all memory
    out->bytes = bytes_of(&b.parts);
    for (int r = 0; r < b.job->rounds; r++) VJ_TRY(one_round(&b, out));
    return b.job->shards ? loader_beside(&b, out) : VJ_OK;
}

vj_status vj_bench_save_run(const vj_bench_save *save, vj_bench_save_result *out)
{
    VJ_CHECK(save->rounds >= 1 && save->rounds <= VJ_BENCH_SAVES, VJ_ERR_USAGE, "--rounds 1 to %d are possible", VJ_BENCH_SAVES);
    char ckpt[640];
    vj_path_join(ckpt, sizeof ckpt, save->dir, "ckpt");
    VJ_CHECK(!vj_path_exists(ckpt), VJ_ERR_USAGE, "%s: exists already; the benchmark needs a folder of its own (--dir)", ckpt);
    vj_status status = vj_bench_apart(measure, save, out, sizeof *out);
    char text[2048];
    vj_format(text, sizeof text, "%.2000s", vj_error_text());
    if (vj_dir_remove(ckpt) != VJ_OK && status == VJ_OK) return VJ_ERR_IO;
    return status == VJ_OK ? VJ_OK : vj_fail_text(status, text);
}
