// vjepa bench roof|attention|ops|step (the others: cmd_bench_*.c): figures of speed and memory as ratios of one run.

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jobs/bench/bench.h"
#include "jobs/cli/commands.h"
#include "runtime/base/thread.h"

// What all of them take.
typedef struct request {
    const char *model, *ctx, *tgt, *recompute, *peer;
    int64_t crop, frames, batch, threads, steps, pairs, rounds, depth, pred_depth;
    bool json, in_backward;
} request;

#define WORK_OPTIONS(r)                                                                                                        \
    { "model", VJ_OPT_TEXT, &(r).model, "PRESET", "model.preset (default: quickstart)" },                                     \
    { "depth", VJ_OPT_INT, &(r).depth, "N", "only N blocks in the encoder (default: the preset's)" },                          \
    { "pred-depth", VJ_OPT_INT, &(r).pred_depth, "N", "only N blocks in the predictor" },                                      \
    { "crop", VJ_OPT_INT, &(r).crop, "PX", "side of a clip (default: 64)" },                                                   \
    { "frames", VJ_OPT_INT, &(r).frames, "N", "frames of a clip (default: 8)" },                                               \
    { "batch", VJ_OPT_INT, &(r).batch, "N", "clips of a step (default: 2)" },                                                  \
    { "ctx", VJ_OPT_TEXT, &(r).ctx, "K,K", "context tokens of each mask (default: as the published masks leave)" },            \
    { "tgt", VJ_OPT_TEXT, &(r).tgt, "P,P", "target tokens of each mask" },                                                     \
    { "threads", VJ_OPT_INT, &(r).threads, "N", "threads (default: CPUs this process may use)" }

static vj_status work_of(const request *r, vj_bench_work *w)
{
    *w = (vj_bench_work){ .frames = r->frames, .crop = r->crop, .batch = r->batch, .threads = r->threads > 0 ? r->threads : vj_cpu_count(), .in_backward = r->in_backward };
    int recompute = VJ_RECOMPUTE_NONE;
    if (r->recompute) {
        VJ_CHECK(strcmp(r->recompute, "none") == 0 || strcmp(r->recompute, "block") == 0, VJ_ERR_USAGE, "--recompute %s: none or block", r->recompute);
        recompute = strcmp(r->recompute, "block") == 0 ? VJ_RECOMPUTE_BLOCK : VJ_RECOMPUTE_NONE;
    }
    VJ_TRY(vj_bench_model(w, r->model, r->depth, r->pred_depth, recompute));
    return vj_bench_masks(w, r->ctx, r->tgt);
}

static const char *const form_names[] = { "y = x w'", "dx = dy w", "dw += dy' x" };
static request defaults(void)
{
    return (request){ .model = "quickstart", .crop = 64, .frames = 8, .batch = 2, .threads = 0, .steps = 5, .pairs = 5, .rounds = 5 };
}

static void put_work(vj_json_writer *w, const vj_bench_work *k)
{
    vj_json_put_text(w, "model", k->model.preset);
    vj_json_put_i64(w, "depth", k->model.depth);
    vj_json_put_i64(w, "pred_depth", k->model.pred_depth);
    vj_json_put_i64(w, "crop", k->crop);
    vj_json_put_i64(w, "frames", k->frames);
    vj_json_put_i64(w, "batch", k->batch);
    vj_json_begin_array(w, "masks");
    for (int i = 0; i < k->n_pairs; i++) {
        vj_json_begin_object(w, NULL);
        vj_json_put_i64(w, "context", k->K[i]);
        vj_json_put_i64(w, "target", k->P[i]);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_put_f64(w, "step_flop", vj_bench_flop(k));
}

static void print_work(const vj_bench_work *k)
{
    printf("%s (%lld + %lld blocks), %lld frames x %lld px, batch %lld, masks", k->model.preset, (long long)k->model.depth, (long long)k->model.pred_depth,
           (long long)k->frames, (long long)k->crop, (long long)k->batch);
    for (int i = 0; i < k->n_pairs; i++) printf(" %lld+%lld", (long long)k->K[i], (long long)k->P[i]);
    printf(", %.3g TFLOP a step\n", vj_bench_flop(k) * 1e-12);
}

// ---- roof -----------------------------------------------------------------------------------------------------------------

static bool void_roof(const vj_bench_roof *r) { return r->total < 0.75 * r->fma; }

static void print_roof(const vj_bench_work *k, const vj_bench_roof *r)
{
    vj_bench_shape shapes[VJ_BENCH_SHAPES];
    const int n = vj_bench_shapes(k, shapes);
    printf("multiply-adds %.0f GFLOP/s, memory %.1f GB/s\n\n%-13s %7s %6s %6s %9s", r->fma * 1e-9, r->memory * 1e-9, "product", "rows", "in", "out", "of step");
    for (int p = 0; p < VJ_ROOF_PRODUCTS; p++) printf(" %9s", vj_roof_product_names[p]);
    printf("   GFLOP/s\n");
    for (int s = 0; s < n; s++) {
        printf("%-13s %7lld %6lld %6lld %8.1f%%", form_names[shapes[s].shape.form], (long long)shapes[s].shape.R, (long long)shapes[s].shape.I,
               (long long)shapes[s].shape.O, 100 * shapes[s].flop / vj_bench_flop(k));
        for (int p = 0; p < VJ_ROOF_PRODUCTS; p++) {
            if (r->rate[s][p] > 0) printf(" %9.1f", r->rate[s][p] * 1e-9);
            else printf(" %9s", "-");
        }
        putchar('\n');
    }
    printf("\nroof %.1f GFLOP/s, %.0f %% of the multiply-adds%s\n", r->total * 1e-9, 100 * r->total / r->fma,
           void_roof(r) ? ": below 75 %, so this run says nothing" : "");
}

static void put_roof(vj_json_writer *w, const vj_bench_work *k, const vj_bench_roof *r)
{
    vj_bench_shape shapes[VJ_BENCH_SHAPES];
    const int n = vj_bench_shapes(k, shapes);
    vj_json_put_f64(w, "fma_flop_per_second", r->fma);
    vj_json_put_f64(w, "memory_bytes_per_second", r->memory);
    vj_json_begin_array(w, "products");
    for (int s = 0; s < n; s++) {
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "form", form_names[shapes[s].shape.form]);
        vj_json_put_i64(w, "rows", shapes[s].shape.R);
        vj_json_put_i64(w, "in", shapes[s].shape.I);
        vj_json_put_i64(w, "out", shapes[s].shape.O);
        vj_json_put_f64(w, "share_of_step", shapes[s].flop / vj_bench_flop(k));
        for (int p = 0; p < VJ_ROOF_PRODUCTS; p++) vj_json_put_f64(w, vj_roof_product_names[p], r->rate[s][p] > 0 ? r->rate[s][p] : NAN);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_put_f64(w, "roof_flop_per_second", r->total);
    vj_json_put_bool(w, "valid", !void_roof(r));
}

static vj_status bench_roof(int argc, char **argv)
{
    request r = defaults();
    const vj_option options[] = {
        WORK_OPTIONS(r),
        { "rounds", VJ_OPT_INT, &r.rounds, "N", "measurements of each figure, in turns (default: 5)" },
        VJ_OPT_JSON(&r.json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench roof", "", "What this machine can do at most: multiply-adds in registers, memory, and the five largest products of a step by\n"
                          "our kernel, oneDNN and OpenBLAS (libopenblas0-serial, when installed). The roof takes the best of each.\n"
                          "JSON: time, cpu, isa, libraries, threads, model, depth, pred_depth, crop, frames, batch, masks, step_flop, fma_flop_per_second,\n"
                          "memory_bytes_per_second, products [form, rows, in, out, share_of_step, own, oneDNN, OpenBLAS],\n"
                          "roof_flop_per_second, valid.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no word"));
    vj_bench_work work;
    vj_bench_roof roof;
    VJ_TRY(work_of(&r, &work));
    VJ_TRY(vj_bench_roof_measure(&work, (int)r.rounds, &roof));
    if (r.json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_bench_put_machine(&w, work.threads);
        put_work(&w, &work);
        put_roof(&w, &work, &roof);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
        return VJ_OK;
    }
    vj_bench_print_machine(work.threads);
    print_work(&work);
    print_roof(&work, &roof);
    return VJ_OK;
}

// ---- attention ------------------------------------------------------------------------------------------------------------

static void put_attention(vj_json_writer *w, const vj_bench_work *work, const vj_bench_attention *k)
{
    vj_json_begin_object(w, NULL);
    vj_bench_put_machine(w, work->threads);
    put_work(w, work);
    vj_json_put_f64(w, "fma_flop_per_second", k->fma);
    vj_json_put_f64(w, "roof_flop_per_second", k->roof);
    vj_json_begin_array(w, "attention");
    for (int i = 0; i < k->n; i++) {
        const vj_bench_attention_row *r = &k->row[i];
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "of", r->of);
        vj_json_put_i64(w, "sequences", r->segments);
        vj_json_put_i64(w, "rows", r->rows);
        vj_json_put_i64(w, "heads", r->heads);
        vj_json_put_i64(w, "head_size", r->head_dim);
        vj_json_put_f64(w, "forward_flop_per_second", r->forward);
        vj_json_put_f64(w, "backward_flop_per_second", r->backward > 0 ? r->backward : NAN);
        vj_json_put_f64(w, "roof_share", r->share);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_end_object(w);
}

static vj_status bench_attention(int argc, char **argv)
{
    request r = defaults();
    const vj_option options[] = {
        WORK_OPTIONS(r),
        { "rounds", VJ_OPT_INT, &r.rounds, "N", "measurements of each figure, in turns (default: 5)" },
        VJ_OPT_JSON(&r.json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench attention", "", "The attention of one block of each network on the sequences of a step, against the roof of the same minutes. FLOP are\n"
                          "those of the model: that the backward pass makes the probabilities again earns nothing.\n"
                          "JSON: as `bench roof` up to step_flop, fma_flop_per_second, roof_flop_per_second, attention [of, sequences, rows,\n"
                          "heads, head_size, forward_flop_per_second, backward_flop_per_second, roof_share].", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no word"));
    vj_bench_work work;
    vj_bench_attention k;
    VJ_TRY(work_of(&r, &work));
    VJ_TRY(vj_bench_attention_measure(&work, (int)r.rounds, &k));
    if (r.json) {
        vj_json_writer w = { .pretty = true };
        put_attention(&w, &work, &k);
        vj_cli_print_json(&w);
        return VJ_OK;
    }
    vj_bench_print_machine(work.threads);
    print_work(&work);
    printf("multiply-adds %.0f GFLOP/s, roof %.0f GFLOP/s\n\n%-16s %9s %7s %6s %5s %9s %9s %9s\n", k.fma * 1e-9, k.roof * 1e-9, "attention of",
           "sequences", "rows", "heads", "size", "forward", "backward", "of roof");
    for (int i = 0; i < k.n; i++) {
        const vj_bench_attention_row *a = &k.row[i];
        printf("%-16s %9lld %7lld %6lld %5lld %9.1f ", a->of, (long long)a->segments, (long long)a->rows, (long long)a->heads,
               (long long)a->head_dim, a->forward * 1e-9);
        if (a->backward > 0) printf("%9.1f", a->backward * 1e-9);
        else printf("%9s", "-");
        printf(" %8.0f%%\n", 100 * a->share);
    }
    return VJ_OK;
}

// ---- ops ------------------------------------------------------------------------------------------------------------------

static vj_status bench_ops(int argc, char **argv)
{
    request r = defaults();
    const vj_option options[] = {
        WORK_OPTIONS(r),
        { "steps", VJ_OPT_INT, &r.steps, "N", "timed steps (default: 5)" },
        { "recompute", VJ_OPT_TEXT, &r.recompute, "none|block", "model.recompute" },
        { "in-backward", VJ_OPT_FLAG, &r.in_backward, NULL, "optim.in_backward" },
        VJ_OPT_JSON(&r.json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench ops", "", "Where the time of a training step goes, operation by operation, against the multiply-adds of the same minute.\n"
                          "JSON: as `bench roof` up to step_flop, step_seconds, fma_flop_per_second, ops [op, calls, seconds, flop_per_second].", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no word"));
    vj_bench_work work;
    vj_bench_roof roof;
    vj_bench_steps steps;
    VJ_TRY(work_of(&r, &work));
    VJ_TRY(vj_bench_roof_measure(&work, 1, &roof));
    VJ_TRY(vj_bench_steps_run(&work, (int)r.steps, &steps));
    double total = 0;
    for (int i = 0; i < steps.n; i++) total += steps.seconds[i];
    if (r.json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_bench_put_machine(&w, work.threads);
        put_work(&w, &work);
        vj_json_put_f64(&w, "step_seconds", total / steps.n);
        vj_json_put_f64(&w, "fma_flop_per_second", roof.fma);
        vj_json_begin_array(&w, "ops");
        for (int i = 0; i < steps.n_ops; i++) {
            vj_json_begin_object(&w, NULL);
            vj_json_put_text(&w, "op", steps.ops[i].name);
            vj_json_put_i64(&w, "calls", steps.ops[i].calls / steps.n);
            vj_json_put_f64(&w, "seconds", steps.ops[i].seconds / steps.n);
            vj_json_put_f64(&w, "flop_per_second", steps.ops[i].flop > 0 ? steps.ops[i].flop / steps.ops[i].seconds : NAN);
            vj_json_end_object(&w);
        }
        vj_json_end_array(&w);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
        return VJ_OK;
    }
    vj_bench_print_machine(work.threads);
    print_work(&work);
    printf("%.4g s a step; multiply-adds %.0f GFLOP/s\n\n%-24s %6s %10s %7s %8s %8s\n", total / steps.n, roof.fma * 1e-9, "operation", "calls", "ms a step",
           "share", "GFLOP/s", "of peak");
    double named = 0;
    for (int i = 0; i < steps.n_ops; i++) {
        const vj_bench_op *o = &steps.ops[i];
        named += o->seconds;
        printf("%-24s %6lld %10.2f %6.1f%%", o->name, (long long)(o->calls / steps.n), 1e3 * o->seconds / steps.n, 100 * o->seconds / total);
        if (o->flop > 0) printf(" %8.1f %7.0f%%", 1e-9 * o->flop / o->seconds, 100 * o->flop / o->seconds / roof.fma);
        putchar('\n');
    }
    printf("%-24s %6s %10.2f %6.1f%%\n", "between operations", "", 1e3 * (total - named) / steps.n, 100 * (total - named) / total);
    return VJ_OK;
}

// ---- step -----------------------------------------------------------------------------------------------------------------

enum { PAIRS = 64 };
typedef struct rounds {
    int n;
    double ours[PAIRS], rss[PAIRS], roof[PAIRS], fma[PAIRS];                 // s, bytes, FLOP/s
    double peer[PAIRS], peer_rss[PAIRS], ratio[PAIRS], rss_ratio[PAIRS];     // with a peer
    double share[PAIRS];                                                     // of the roof
} rounds;

static vj_status one_round(const request *r, const vj_bench_work *work, rounds *out)
{
    const int i = out->n;
    vj_bench_steps ours;
    vj_bench_roof roof;
    vj_bench_peer peer = { 0 };
    VJ_TRY(vj_bench_roof_measure(work, 1, &roof));
    VJ_TRY(vj_bench_steps_run(work, (int)r->steps, &ours));
    if (r->peer) VJ_TRY(vj_bench_peer_run(r->peer, &peer));
    out->ours[i] = vj_bench_median(ours.seconds, ours.n);
    out->rss[i] = (double)ours.peak_rss;
    out->roof[i] = roof.total;
    out->fma[i] = roof.fma;
    out->share[i] = vj_bench_flop(work) / out->ours[i] / roof.total;
    out->peer[i] = peer.n > 0 ? vj_bench_median(peer.seconds, peer.n) : NAN;
    out->peer_rss[i] = peer.peak_rss > 0 ? peer.peak_rss : NAN;
    out->ratio[i] = out->peer[i] / out->ours[i];
    out->rss_ratio[i] = out->rss[i] / out->peer_rss[i];
    out->n++;
    return VJ_OK;
}

static void print_round(const vj_bench_work *work, const rounds *k, int i)
{
    printf("%5d %10.4f %8.1f %8.1f %6.0f%% %7.2f", i + 1, k->ours[i], 1e-9 * vj_bench_flop(work) / k->ours[i], 1e-9 * k->roof[i], 100 * k->share[i], 1e-9 * k->rss[i]);
    if (!isnan(k->peer[i])) printf(" %10.4f %7.2fx", k->peer[i], k->ratio[i]);
    if (!isnan(k->peer_rss[i])) printf(" %7.2f %6.2fx", 1e-9 * k->peer_rss[i], k->rss_ratio[i]);
    printf("%s\n", k->roof[i] < 0.75 * k->fma[i] ? "   roof below 75 % of the multiply-adds" : "");
    fflush(stdout);
}

static void print_medians(const rounds *k)
{
    printf("\nmedian of %d: %.4f s a step, %.0f %% of the roof, peak %.2f GB", k->n, vj_bench_median(k->ours, k->n), 100 * vj_bench_median(k->share, k->n),
           1e-9 * vj_bench_median(k->rss, k->n));
    if (!isnan(k->peer[0])) printf("; peer %.4f s: %.2f x its rate", vj_bench_median(k->peer, k->n), vj_bench_median(k->ratio, k->n));
    if (!isnan(k->peer_rss[0])) printf(", %.2f x its memory", vj_bench_median(k->rss_ratio, k->n));
    putchar('\n');
}

static vj_status bench_step(int argc, char **argv)
{
    request r = defaults();
    const vj_option options[] = {
        WORK_OPTIONS(r),
        { "steps", VJ_OPT_INT, &r.steps, "N", "timed steps of a round (default: 5)" },
        { "pairs", VJ_OPT_INT, &r.pairs, "N", "rounds: roof, our steps, the peer's (default: 5)" },
        { "recompute", VJ_OPT_TEXT, &r.recompute, "none|block", "model.recompute" },
        { "in-backward", VJ_OPT_FLAG, &r.in_backward, NULL, "optim.in_backward" },
        { "peer", VJ_OPT_TEXT, &r.peer, "COMMAND", "another program: prints \"total SECONDS s\" per step and \"peak GIB GiB\"" },
        VJ_OPT_JSON(&r.json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench step", "", "A training step (target pass, forward, backward, AdamW, EMA) on clips of noise, against the roof of the same minute\n"
                          "and in alternation with a peer. Each round runs in fresh processes; the first step of each is not counted.\n"
                          "JSON: as `bench roof` up to step_flop, then {median, all} of step_seconds, roof_flop_per_second, roof_share,\n"
                          "peak_rss_bytes and, with a peer, peer_seconds, peer_rss_bytes, rate_ratio, rss_ratio.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no word"));
    VJ_CHECK(r.pairs >= 1 && r.pairs <= PAIRS, VJ_ERR_USAGE, "--pairs %lld: 1 to %d are possible", (long long)r.pairs, PAIRS);
    vj_bench_work work;
    rounds k = { 0 };
    VJ_TRY(work_of(&r, &work));
    if (!r.json) {
        vj_bench_print_machine(work.threads);
        print_work(&work);
        printf("\nround s a step  GFLOP/s     roof  share peak GB%s\n", r.peer ? "     peer s    rate peak GB  memory" : "");
    }
    for (int i = 0; i < (int)r.pairs; i++) {
        VJ_TRY_CTX(one_round(&r, &work, &k), "in round %d of %lld", i + 1, (long long)r.pairs);
        if (!r.json) print_round(&work, &k, i);
    }
    if (!r.json) {
        print_medians(&k);
        return VJ_OK;
    }
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_bench_put_machine(&w, work.threads);
    put_work(&w, &work);
    const struct { const char *name; const double *v; bool peer; } figures[] = {
        { "step_seconds", k.ours, false }, { "roof_flop_per_second", k.roof, false }, { "roof_share", k.share, false }, { "peak_rss_bytes", k.rss, false },
        { "peer_seconds", k.peer, true }, { "peer_rss_bytes", k.peer_rss, true }, { "rate_ratio", k.ratio, true }, { "rss_ratio", k.rss_ratio, true },
    };
    for (int i = 0; i < 8; i++) {
        if (!figures[i].peer || r.peer) vj_bench_put_figure(&w, figures[i].name, figures[i].v, k.n);
    }
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
    return VJ_OK;
}

static const vj_command subcommands[] = {
    { "roof", bench_roof, "what this machine can do at most" },
    { "attention", bench_attention, "the attention of each network against that roof" },
    { "ops", bench_ops, "where the time of a step goes" },
    { "step", bench_step, "a step against that roof, and against another program" },
    { "loader", vj_cmd_bench_loader, "samples to clips on one thread, against another program" },
    { "collectives", vj_cmd_bench_collectives, "what ranks send each other, against MPI's own" },
    { "masks", vj_cmd_bench_masks, "what is left of clips, and how evenly a step spreads over ranks" },
    { "save", vj_cmd_bench_save, "how long training stands for a save" },
    { "overlap", vj_cmd_bench_overlap, "how much of what ranks send is hidden behind computing" },
    { "slots", vj_cmd_bench_slots, "what the order of sums costs that gives one result on any number of ranks" },
    { 0 },
};

vj_status vj_cmd_bench(int argc, char **argv) { return vj_cli_dispatch("bench", subcommands, argc, argv); }
