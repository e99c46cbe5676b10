// vjepa bench save: how long training stands for a save.

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jobs/bench/bench.h"
#include "jobs/cli/commands.h"
#include "runtime/base/thread.h"

typedef struct save_request { const char *model, *dir, *shards; int64_t depth, pred_depth, crop, frames, batch, threads, rounds; double disk; bool json; } save_request;

static vj_status work_of(const save_request *r, vj_bench_work *w)
{
    *w = (vj_bench_work){ .frames = r->frames, .crop = r->crop, .batch = r->batch, .threads = r->threads > 0 ? r->threads : vj_cpu_count() };
    VJ_CHECK(r->disk >= 0, VJ_ERR_USAGE, "--disk from 0 is possible");
    VJ_TRY(vj_bench_model(w, r->model, r->depth, r->pred_depth, VJ_RECOMPUTE_NONE));
    return vj_bench_masks(w, NULL, NULL);
}

typedef struct figures { double stall[VJ_BENCH_SAVES], over_copy[VJ_BENCH_SAVES], step[VJ_BENCH_SAVES], clip[VJ_BENCH_SAVES]; } figures;

static figures figures_of(const vj_bench_save_result *k)
{
    figures f;
    for (int i = 0; i < k->n; i++) {
        f.stall[i] = k->stood[i] / k->waited[i];
        f.over_copy[i] = k->stood[i] - k->copy[i];
        f.step[i] = k->step_beside[i] / k->step[i];
        f.clip[i] = k->clip_p99_beside[i] / k->clip_p99[i];
    }
    return f;
}

static void print_json(const save_request *r, const vj_bench_work *work, const vj_bench_save_result *k)
{
    const figures f = figures_of(k);
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_bench_put_machine(&w, work->threads);
    vj_json_put_text(&w, "model", work->model.preset);
    vj_json_put_i64(&w, "bytes", k->bytes);
    vj_json_put_f64(&w, "disk_bytes_per_second", r->disk > 0 ? r->disk : NAN);
    vj_bench_put_figure(&w, "waited_seconds", k->waited, k->n);
    vj_bench_put_figure(&w, "stall_seconds", k->stood, k->n);
    vj_bench_put_figure(&w, "beside_seconds", k->beside, k->n);
    vj_bench_put_figure(&w, "copy_seconds", k->copy, k->n);
    vj_bench_put_figure(&w, "stall_share", f.stall, k->n);
    vj_bench_put_figure(&w, "stall_over_copy_seconds", f.over_copy, k->n);
    vj_bench_put_figure(&w, "step_ratio", f.step, k->n);
    if (k->clips[0] > 0) {
        vj_bench_put_figure(&w, "clip_median_seconds", k->clip_median, k->n);
        vj_bench_put_figure(&w, "clip_p99_seconds", k->clip_p99, k->n);
        vj_bench_put_figure(&w, "clip_median_beside_seconds", k->clip_median_beside, k->n);
        vj_bench_put_figure(&w, "clip_p99_beside_seconds", k->clip_p99_beside, k->n);
        vj_bench_put_figure(&w, "clip_p99_ratio", f.clip, k->n);
    }
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

static void print_text(const save_request *r, const vj_bench_work *work, const vj_bench_save_result *k)
{
    const figures f = figures_of(k);
    char bytes[24], rate[24];
    vj_bench_print_machine(work->threads);
    vj_bytes_text(bytes, (double)k->bytes);
    vj_bytes_text(rate, r->disk);
    printf("%s (%lld + %lld blocks), a checkpoint of %s, %s%s\n\n", work->model.preset, (long long)work->model.depth, (long long)work->model.pred_depth,
           bytes, r->disk > 0 ? rate : "the disk as it is", r->disk > 0 ? " a second to the disk" : "");
    printf("%-6s %10s %12s %8s %10s %14s %12s %12s\n", "round", "waited", "stall beside", "share", "copy", "stall - copy", "committed in", "step beside");
    for (int i = 0; i < k->n; i++) {
        printf("%-6d %8.2f s %10.3f s %7.2f%% %8.3f s %12.3f s %10.2f s %10.2f x\n", i + 1, k->waited[i], k->stood[i], 100 * f.stall[i], k->copy[i],
               f.over_copy[i], k->beside[i], f.step[i]);
    }
    printf("\nmedian stall %.3f s, %.2f %% of a save that is waited for\n", vj_bench_median(k->stood, k->n), 100 * vj_bench_median(f.stall, k->n));
    if (k->clips[0] == 0) return;
    printf("\nseconds until the loader has the next clip: median and 99th percentile, alone and beside a save\n");
    for (int i = 0; i < k->n; i++) {
        printf("%-6d %8.1f ms %7.1f ms (%d clips) %8.1f ms %7.1f ms (%d) %7.2f x\n", i + 1, 1e3 * k->clip_median[i], 1e3 * k->clip_p99[i], k->clips[i],
               1e3 * k->clip_median_beside[i], 1e3 * k->clip_p99_beside[i], k->clips_beside[i], f.clip[i]);
    }
    printf("median %.2f x in the 99th percentile\n", vj_bench_median(f.clip, k->n));
}

vj_status vj_cmd_bench_save(int argc, char **argv)
{
    save_request r = { .model = "quickstart", .dir = "bench-save", .crop = 64, .frames = 8, .batch = 2, .rounds = 3 };
    const vj_option options[] = {
        { "model", VJ_OPT_TEXT, &r.model, "PRESET", "model.preset (default: quickstart)" },
        { "depth", VJ_OPT_INT, &r.depth, "N", "only N blocks in the encoder (default: the preset's)" },
        { "pred-depth", VJ_OPT_INT, &r.pred_depth, "N", "only N blocks in the predictor" },
        { "crop", VJ_OPT_INT, &r.crop, "PX", "side of a clip (default: 64)" },
        { "frames", VJ_OPT_INT, &r.frames, "N", "frames of a clip (default: 8)" },
        { "batch", VJ_OPT_INT, &r.batch, "N", "clips of a step (default: 2)" },
        { "threads", VJ_OPT_INT, &r.threads, "N", "threads (default: CPUs this process may use)" },
        { "disk", VJ_OPT_FLOAT, &r.disk, "BYTES", "bytes a second that the disk takes, 1e8 for example (default: as it is)" },
        { "dir", VJ_OPT_TEXT, &r.dir, "DIR", "where the checkpoints go (default: bench-save)" },
        { "shards", VJ_OPT_TEXT, &r.shards, "SHARDS", "load clips of it, alone and beside a save" },
        { "rounds", VJ_OPT_INT, &r.rounds, "N", "saves of either kind, in turns (default: 3)" },
        VJ_OPT_JSON(&r.json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench save", "",
                          "How long steps wait for a checkpoint: for one that is waited for (checkpoint.async=false), and for one that is written\n"
                          "beside them; in turns. With shards also how long the loader's next clip takes, alone and beside a save.\n"
                          "JSON: time, cpu, isa, libraries, threads, model, bytes, disk_bytes_per_second, {median, all} of waited_seconds,\n"
                          "stall_seconds, beside_seconds, copy_seconds, stall_share, stall_over_copy_seconds and step_ratio; with shards\n"
                          "clip_median_seconds, clip_p99_seconds, clip_median_beside_seconds, clip_p99_beside_seconds and clip_p99_ratio.",
                          options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no word"));
    vj_bench_work work;
    vj_bench_save_result k;
    VJ_TRY(work_of(&r, &work));
    const vj_bench_save save = { .work = &work, .dir = r.dir, .rate = r.disk, .shards = r.shards, .rounds = (int)r.rounds };
    VJ_TRY(vj_bench_save_run(&save, &k));
    if (r.json) print_json(&r, &work, &k);
    else print_text(&r, &work, &k);
    return VJ_OK;
}
