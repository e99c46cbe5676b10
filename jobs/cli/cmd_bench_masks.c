// vjepa bench masks: what each mask.truncate leaves of a clip, and how evenly it spreads a step over ranks.

#include <stdio.h>

#include "configs/run_config.h"
#include "jobs/bench/balance.h"
#include "jobs/bench/bench.h"
#include "jobs/cli/commands.h"

static const char *const cut_names[VJ_BENCH_CUTS] = { "slot", "global", "fixed", "rank" };

static void put(vj_json_writer *w, const char *name, const vj_run_config *c, const vj_bench_balance *k)
{
    const struct { const char *name; int64_t value; } figures[] = {
        { "frames", k->frames }, { "crop", k->crop }, { "group", c->mask.group },
        { "ranks", k->ranks }, { "slots_per_rank", k->slots }, { "steps", k->steps },
    };
    vj_json_begin_object(w, NULL);
    vj_json_put_text(w, "config", name);
    vj_json_put_text(w, "model", c->model.preset);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) vj_json_put_i64(w, figures[i].name, figures[i].value);
    vj_json_put_f64(w, "count_seconds", k->count_seconds);
    vj_json_begin_array(w, "truncate");
    for (int how = 0; how < VJ_BENCH_CUTS; how++) {
        const vj_bench_cut *of = &k->cut[how];
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "mode", cut_names[how]);
        vj_json_begin_array(w, "masks");
        for (int i = 0; i < c->mask.n; i++) {
            vj_json_begin_object(w, NULL);
            vj_json_put_f64(w, "context_mean", of->K[i]);
            vj_json_put_f64(w, "target_mean", of->P[i]);
            vj_json_end_object(w);
        }
        vj_json_end_array(w);
        vj_json_put_f64(w, "rank_flop", of->flop);
        vj_json_put_f64(w, "balance", of->balance);
        vj_json_put_f64(w, "balance_recompute", of->balance_recompute);
        vj_json_put_f64(w, "worst_step", of->worst);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_end_object(w);
}

static void print(const char *name, const vj_run_config *c, const vj_bench_balance *k)
{
    printf("\n%s: %s, %lld frames x %lld px, %lld ranks with %lld slot%s of %lld samples, %lld steps\n", name, c->model.preset,
           (long long)k->frames, (long long)k->crop, (long long)k->ranks, (long long)k->slots, k->slots == 1 ? "" : "s",
           (long long)c->mask.group, (long long)k->steps);
    printf("  %-8s", "truncate");
    for (int i = 0; i < c->mask.n; i++) printf("  %15s %d", "context/target", i + 1);
    printf("  %12s %9s  %14s %7s\n", "TFLOP a rank", "max/mean", "with recompute", "worst");
    for (int how = 0; how < VJ_BENCH_CUTS; how++) {
        const vj_bench_cut *of = &k->cut[how];
        printf("  %-8s", cut_names[how]);
        for (int i = 0; i < c->mask.n; i++) printf("  %8.0f/%-8.0f", of->K[i], of->P[i]);
        printf("  %12.4g %9.3f  %14.3f %7.3f\n", of->flop * 1e-12, of->balance, of->balance_recompute, of->worst);
    }
    printf("  counting the masks of a step takes %.1f ms\n", 1e3 * k->count_seconds);
}

static vj_status one(const char *name, const vj_args *args, bool first, vj_bench_balance *k, vj_json_writer *w)
{
    vj_run_config c;
    vj_config *origins = NULL;
    VJ_TRY(vj_run_config_load(&c, &origins, name, args->overrides, args->n_overrides));
    vj_config_destroy(&origins);
    c = vj_stage_config(&c, 0);
    k->crop = c.data.crop;
    k->frames = 0;
    for (int64_t i = 0; i < c.data.fpc.n; i++) k->frames = c.data.fpc.v[i] > k->frames ? c.data.fpc.v[i] : k->frames;
    if (first && !w) vj_bench_print_machine(1);
    VJ_TRY(vj_bench_balance_measure(&c.model, &c.mask, (uint64_t)c.train.seed, k));
    if (w) put(w, name, &c, k);
    else print(name, &c, k);
    return VJ_OK;
}

vj_status vj_cmd_bench_masks(int argc, char **argv)
{
    vj_bench_balance k = { .ranks = 128, .slots = 1, .steps = 300 };
    bool json = false;
    const vj_option options[] = {
        { "ranks", VJ_OPT_INT, &k.ranks, "N", "ranks that share a step (default: 128)" },
        { "slots", VJ_OPT_INT, &k.slots, "N", "slots of each rank, of mask.group samples (default: 1)" },
        { "steps", VJ_OPT_INT, &k.steps, "N", "steps to draw (default: 300)" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    static const char *const usual[] = { "pretrain/vitg16", "cooldown/vitg16-64x256", "cooldown/vitg16-64x384" };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench masks", "[CONFIG ...] [key=value ...]",
                          "What each mask.truncate leaves of a clip, and how evenly it spreads the predicted FLOP of a step over\n"
                          "ranks: a step waits for the busiest (with recompute: model.recompute=block makes the blocks' forward pass again).\n"
                          "Masks are drawn and counted, nothing is trained. CONFIG gives model, clip length (the longest), crop and mask.*;\n"
                          "without one: pretrain/vitg16, cooldown/vitg16-64x256, cooldown/vitg16-64x384. mask.rng=official: the published draws.\n"
                          "JSON: time, cpu, isa, libraries, threads, configs [config, model, frames, crop, group, ranks,\n"
                          "slots_per_rank, steps, count_seconds, truncate [mode, masks [context_mean, target_mean], rank_flop, balance, balance_recompute, worst_step]].", options);
        return VJ_OK;
    }
    VJ_CHECK(k.ranks >= 1 && k.ranks <= 65536 && k.slots >= 1 && k.slots <= 65536 && k.steps >= 1 && k.steps <= 1000000, VJ_ERR_USAGE,
             "--ranks and --slots 1 to 65536, --steps 1 to 1000000 are possible");
    vj_json_writer w = { .pretty = true };
    if (json) {
        vj_json_begin_object(&w, NULL);
        vj_bench_put_machine(&w, 1);
        vj_json_begin_array(&w, "configs");
    }
    const int n = args.n_positional > 0 ? args.n_positional : 3;
    for (int i = 0; i < n; i++) {
        const vj_status status = one(args.n_positional > 0 ? args.positional[i] : usual[i], &args, i == 0, &k, json ? &w : NULL);
        if (status != VJ_OK) {
            vj_json_writer_free(&w);
            return status;
        }
    }
    if (json) {
        vj_json_end_array(&w);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    }
    return VJ_OK;
}
