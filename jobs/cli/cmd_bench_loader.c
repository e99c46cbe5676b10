// vjepa bench loader SHARDS: samples to clips on one thread, in alternation with another program on the same files.

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jobs/bench/bench.h"
#include "jobs/cli/commands.h"

// The workloads of spec/data.md 5.4.
static const struct { const char *name, *about; int64_t frames, side; double fps; bool scattered; } workloads[] = {
    { "W1", "16 frames at 4 a second, 256 px", 16, 256, 4, false },
    { "W2", "64 frames at 4 a second, 384 px", 64, 384, 4, false },
    { "W3", "8 frames anywhere, 256 px", 8, 256, 4, true },
    { "W4", "pictures, 256 px", 1, 256, 4, false },
};
enum { WORKLOADS = sizeof workloads / sizeof workloads[0], ROUNDS = 64 };

typedef struct loader_request { const char *workload, *originals, *list, *dump, *peer; int64_t samples, pairs; bool json; } loader_request;
typedef struct loader_rounds { int n; double rate[ROUNDS], cpu[ROUNDS], rss[ROUNDS], peer[ROUNDS], ratio[ROUNDS]; int64_t used, decoded; } loader_rounds;

static vj_status work_of(const loader_request *r, const char *shards, vj_bench_clips *w, int *which)
{
    for (*which = 0; *which < WORKLOADS && strcmp(workloads[*which].name, r->workload) != 0; (*which)++) {}
    VJ_CHECK(*which < WORKLOADS, VJ_ERR_USAGE, "--workload %s: W1, W2, W3 or W4", r->workload);
    VJ_CHECK(r->samples >= 1 && r->samples <= 1 << 20 && r->pairs >= 1 && r->pairs <= ROUNDS, VJ_ERR_USAGE,
             "--samples 1 to %d and --pairs 1 to %d are possible", 1 << 20, ROUNDS);
    VJ_CHECK(!r->list == !r->originals && (!r->dump || r->list), VJ_ERR_USAGE,
             "--list and --originals belong together (the list names the files that were packed), and --dump to both");
    *w = (vj_bench_clips){ .shards = shards, .frames = workloads[*which].frames, .side = workloads[*which].side, .fps = workloads[*which].fps,
                           .scattered = workloads[*which].scattered, .samples = r->samples, .originals = r->originals, .list = r->list,
                           .dump = r->dump };
    return VJ_OK;
}

static vj_status one_round(const loader_request *r, const vj_bench_clips *w, loader_rounds *k)
{
    vj_bench_clips_result ours;
    vj_bench_peer peer = { 0 };
    const int i = k->n;
    VJ_TRY(vj_bench_clips_run(w, &ours));
    if (r->peer) VJ_TRY(vj_bench_peer_run(r->peer, &peer));
    k->rate[i] = (double)w->samples / ours.seconds;
    k->cpu[i] = ours.cpu_seconds / (double)w->samples;
    k->rss[i] = (double)ours.peak_rss;
    k->peer[i] = peer.n > 0 ? (double)w->samples / vj_bench_median(peer.seconds, peer.n) : NAN;
    k->ratio[i] = k->rate[i] / k->peer[i];
    k->used = ours.used;
    k->decoded = ours.decoded;
    k->n++;
    return VJ_OK;
}

static void print_json(const loader_request *r, const vj_bench_clips *c, const loader_rounds *k)
{
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_bench_put_machine(&w, 1);
    vj_json_put_text(&w, "workload", r->workload);
    vj_json_put_i64(&w, "frames", c->frames);
    vj_json_put_i64(&w, "side", c->side);
    vj_json_put_i64(&w, "samples", c->samples);
    vj_json_put_f64(&w, "decoded_per_used_frame", (double)k->decoded / (double)k->used);
    vj_bench_put_figure(&w, "clips_per_second", k->rate, k->n);
    vj_bench_put_figure(&w, "cpu_seconds_per_clip", k->cpu, k->n);
    vj_bench_put_figure(&w, "peak_rss_bytes", k->rss, k->n);
    if (r->peer) vj_bench_put_figure(&w, "peer_clips_per_second", k->peer, k->n);
    if (r->peer) vj_bench_put_figure(&w, "rate_ratio", k->ratio, k->n);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

static vj_status bench(const loader_request *r, const char *shards)
{
    vj_bench_clips w;
    loader_rounds k = { 0 };
    int which;
    VJ_TRY(work_of(r, shards, &w, &which));
    if (r->list) VJ_TRY(vj_bench_clips_list(&w));
    if (!r->json) {
        vj_bench_print_machine(1);
        printf("%s: %s; %lld clips of %s\n\nround  clips/s  CPU ms a clip%s\n", r->workload, workloads[which].about, (long long)r->samples, shards,
               r->peer ? "   peer/s    rate" : "");
    }
    for (int i = 0; i < (int)r->pairs; i++) {
        VJ_TRY_CTX(one_round(r, &w, &k), "in round %d of %lld", i + 1, (long long)r->pairs);
        if (r->json) continue;
        printf("%5d %8.1f %14.2f", i + 1, k.rate[i], 1e3 * k.cpu[i]);
        if (r->peer) printf(" %8.1f %6.2fx", k.peer[i], k.ratio[i]);
        putchar('\n');
        fflush(stdout);
    }
    if (r->json) {
        print_json(r, &w, &k);
        return VJ_OK;
    }
    printf("\nmedian of %d: %.1f clips a second, %.2f frames decoded for each one used, peak %.0f MB", k.n, vj_bench_median(k.rate, k.n),
           (double)k.decoded / (double)k.used, 1e-6 * vj_bench_median(k.rss, k.n));
    if (r->peer) printf("; %.2f x the peer's rate", vj_bench_median(k.ratio, k.n));
    putchar('\n');
    return VJ_OK;
}

vj_status vj_cmd_bench_loader(int argc, char **argv)
{
    loader_request r = { .workload = "W1", .samples = 100, .pairs = 5 };
    const vj_option options[] = {
        { "workload", VJ_OPT_TEXT, &r.workload, "W1|W2|W3|W4", "16 frames 256 px, 64 frames 384 px, 8 frames anywhere, pictures (default: W1)" },
        { "samples", VJ_OPT_INT, &r.samples, "N", "clips of a round (default: 100)" },
        { "pairs", VJ_OPT_INT, &r.pairs, "N", "rounds: ours, the peer's (default: 5)" },
        { "originals", VJ_OPT_TEXT, &r.originals, "DIR", "the folder that was packed, for --list" },
        { "list", VJ_OPT_TEXT, &r.list, "FILE", "write what a round makes, a line of JSON for each clip, for the peer to make the same" },
        { "dump", VJ_OPT_TEXT, &r.dump, "FILE", "write the pixels of the first 16 clips (float32), for the peer to compare with" },
        { "peer", VJ_OPT_TEXT, &r.peer, "COMMAND", "another program: prints \"total SECONDS s\" for each pass over the list, the first not counted" },
        VJ_OPT_JSON(&r.json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench loader", "SHARDS",
                          "Samples to clips on one thread: read and check, decode, crop, resize, normalise, as the loader's threads do, in\n"
                          "alternation with a peer (tests/bench/peer_loader.py). Files are warm: each round goes through its clips twice.\n"
                          "JSON: time, cpu, isa, libraries, threads, workload, frames, side, samples, decoded_per_used_frame, and {median, all} of\n"
                          "clips_per_second, cpu_seconds_per_clip, peak_rss_bytes and, with a peer, peer_clips_per_second, rate_ratio.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "SHARDS"));
    return bench(&r, args.positional[0]);
}
