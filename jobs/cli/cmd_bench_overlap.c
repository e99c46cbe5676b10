// vjepa bench overlap: a step of several ranks over a network that is so slow that sending takes a given share of the time of computing.
// Three steps in turns: of one rank alone, without any sending; with everything sent while nothing is computed; and as training
// does it. Every rank computes one slot each time.

#include <stdio.h>
#include <string.h>

#include "jobs/bench/bench.h"
#include "jobs/cli/commands.h"
#include "runtime/base/clock.h"

enum { MOST = 32, SIDES = 3 };
static const char *const names[SIDES] = { "alone", "blocking", "overlapped" };

typedef struct side {
    vj_mesh mesh;
    vj_vjepa *m;
    int64_t slots, step;
    double seconds[MOST];
} side;

typedef struct request {
    const char *model, *mode;
    int64_t crop, frames, batch, rounds, steps, prefetch, keep, latency;
    double share;
    bool json;
} request;

static vj_status one_step(side *s, const vj_slot *slot)
{
    vj_step_result r;
    double seconds;
    return vj_bench_step(s->m, slot, 1, s->slots, ++s->step, false, &r, &seconds);
}

// `n` steps one behind the other; the slowest rank's mean.
static vj_status steps(side *s, vj_comm *world, const vj_slot *slot, int n, double *seconds)
{
    VJ_TRY(vj_comm_barrier_now(world));
    const double began = vj_now();
    for (int i = 0; i < n; i++) VJ_TRY(one_step(s, slot));
    *seconds = (vj_now() - began) / n;
    return vj_comm_all_reduce_now(world, seconds, 1, VJ_MAX);
}

static vj_status open_side(side *s, const vj_bench_work *w, vj_device *d, vj_comm *world, const vj_mesh_spec *spec)
{
    vj_slot_bound bound = vj_bench_bound(w);
    s->slots = 1;
    if (spec) {
        VJ_TRY(vj_mesh_open(&s->mesh, spec, world));
        bound.mesh = &s->mesh;
        s->slots = bound.slots = vj_comm_size(world);
    }
    VJ_TRY(vj_vjepa_create(&s->m, &w->model, 2, d, &bound, true));
    return vj_vjepa_init(s->m, 1);
}

typedef struct result {
    double compute, sending;             // seconds of a step: alone; what the network takes for one
    double median[SIDES];
    double latency, bytes_per_second;
    int64_t exchanges, bytes;            // of a step
} result;

// How slow the network must be: exchanges * latency + bytes / rate = share * computing.
static vj_status tune(const request *q, side *sides, vj_comm *world, const vj_slot *slot, result *out)
{
    int64_t exchanges, bytes;
    double seconds;
    VJ_TRY(steps(&sides[0], world, slot, 1, &seconds));
    VJ_TRY(steps(&sides[1], world, slot, 1, &seconds));
    VJ_TRY(steps(&sides[2], world, slot, 1, &seconds));
    VJ_TRY(steps(&sides[0], world, slot, (int)q->steps, &out->compute));
    vj_comm_traffic(world, &exchanges, &bytes);
    VJ_TRY(one_step(&sides[1], slot));
    vj_comm_traffic(world, &out->exchanges, &out->bytes);
    out->exchanges -= exchanges;
    out->bytes -= bytes;
    double both[2] = { (double)out->exchanges, (double)out->bytes };   // of the busiest rank
    VJ_TRY(vj_comm_all_reduce_now(world, both, 2, VJ_MAX));
    out->exchanges = (int64_t)both[0];
    out->bytes = (int64_t)both[1];
    out->sending = q->share * out->compute;
    out->latency = 1e-6 * (double)q->latency;
    const double left = out->sending - both[0] * out->latency;
    VJ_CHECK(left > 0.1 * out->sending, VJ_ERR_USAGE,
             "%lld exchanges of %lld us are more than %.0f %% of %.1f ms of computing: a larger model or a smaller --latency is needed",
             (long long)out->exchanges, (long long)q->latency, 100 * q->share, 1e3 * out->compute);
    out->bytes_per_second = both[1] / left;
    return VJ_OK;
}

static vj_status measure(const request *q, const vj_bench_work *w, vj_comm *world, result *out)
{
    vj_device *d = NULL;
    vj_slot slot;
    side sides[SIDES] = { 0 };
    VJ_TRY(vj_device_open(&d, "cpu", 1));
    VJ_TRY(vj_bench_slot(w, &slot));
    const int ranks = vj_comm_size(world);
    vj_mesh_spec spec = { .mode = strcmp(q->mode, "fsdp") == 0 ? VJ_FSDP : strcmp(q->mode, "zero2") == 0 ? VJ_ZERO2 : strcmp(q->mode, "ddp") == 0 ? VJ_DDP : VJ_HSDP,
                          .shards = ranks / 2, .keep = (int)q->keep };
    VJ_CHECK(spec.mode != VJ_HSDP || strcmp(q->mode, "hsdp") == 0, VJ_ERR_USAGE, "--mode %s: ddp, zero2, fsdp or hsdp", q->mode);
    VJ_TRY(open_side(&sides[0], w, d, world, NULL));
    VJ_TRY(open_side(&sides[1], w, d, world, &spec));
    spec.prefetch = (int)q->prefetch;
    VJ_TRY(open_side(&sides[2], w, d, world, &spec));
    VJ_TRY(tune(q, sides, world, &slot, out));
    for (int r = 0; r < q->rounds; r++) {
        for (int i = 0; i < SIDES; i++) {
            vj_comm_delay(world, i ? out->latency : 0, i ? out->bytes_per_second : 0);
            VJ_TRY(steps(&sides[i], world, &slot, (int)q->steps, &sides[i].seconds[r]));
            vj_comm_delay(world, 0, 0);
        }
    }
    for (int i = 0; i < SIDES; i++) {
        out->median[i] = vj_bench_median(sides[i].seconds, (int)q->rounds);
        vj_vjepa_destroy(&sides[i].m);
        vj_mesh_close(&sides[i].mesh);
    }
    vj_device_close(&d);
    return VJ_OK;
}

static void print(const request *q, const result *r, int ranks)
{
    if (q->json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_bench_put_machine(&w, 1);
        vj_json_put_i64(&w, "ranks", ranks);
        vj_json_put_text(&w, "model", q->model);
        vj_json_put_text(&w, "mode", q->mode);
        vj_json_put_i64(&w, "prefetch", q->prefetch);
        vj_json_put_i64(&w, "exchanges", r->exchanges);
        vj_json_put_i64(&w, "bytes", r->bytes);
        vj_json_put_f64(&w, "latency_seconds", r->latency);
        vj_json_put_f64(&w, "bytes_per_second", r->bytes_per_second);
        for (int i = 0; i < SIDES; i++) {
            char name[40];
            vj_format(name, sizeof name, "%s_seconds", names[i]);
            vj_json_put_f64(&w, name, r->median[i]);
        }
        vj_json_put_f64(&w, "blocking_ratio", r->median[1] / r->median[0]);
        vj_json_put_f64(&w, "overlapped_ratio", r->median[2] / r->median[0]);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
        return;
    }
    vj_bench_print_machine(1);
    printf("%s, %s on %d ranks: %lld exchanges and %.1f MB a step and rank, over a network of %.0f us and %.1f MB/s: %.0f %% of the time of computing\n",
           q->model, q->mode, ranks, (long long)r->exchanges, 1e-6 * (double)r->bytes, 1e6 * r->latency, 1e-6 * r->bytes_per_second,
           100 * r->sending / r->compute);
    for (int i = 0; i < SIDES; i++) printf("%-11s %8.1f ms a step  %5.2f x\n", names[i], 1e3 * r->median[i], r->median[i] / r->median[0]);
}

vj_status vj_cmd_bench_overlap(int argc, char **argv)
{
    request q = { .model = "quickstart", .mode = "fsdp", .crop = 64, .frames = 8, .batch = 4, .rounds = 7, .steps = 3, .prefetch = 1, .latency = 200, .share = 0.8 };
    const vj_option options[] = {
        { "model", VJ_OPT_TEXT, &q.model, "PRESET", "model.preset (default: quickstart)" },
        { "mode", VJ_OPT_TEXT, &q.mode, "MODE", "ddp, zero2, fsdp (default) or hsdp, with half of the ranks as shards" },
        { "prefetch", VJ_OPT_INT, &q.prefetch, "N", "units gathered ahead (default: 1)" },
        { "keep", VJ_OPT_INT, &q.keep, "K", "parallel.reshard_after_forward: 0 always (default), 1 never, k" },
        { "crop", VJ_OPT_INT, &q.crop, "PX", "side of a clip (default: 64)" },
        { "frames", VJ_OPT_INT, &q.frames, "N", "frames of a clip (default: 8)" },
        { "batch", VJ_OPT_INT, &q.batch, "N", "clips of a rank's slot (default: 4)" },
        { "share", VJ_OPT_FLOAT, &q.share, "X", "sending, as a share of the time of computing (default: 0.8)" },
        { "latency", VJ_OPT_INT, &q.latency, "US", "of an exchange (default: 200 microseconds)" },
        { "steps", VJ_OPT_INT, &q.steps, "N", "steps of a round (default: 3)" },
        { "rounds", VJ_OPT_INT, &q.rounds, "N", "rounds (default: 7)" },
        VJ_OPT_JSON(&q.json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench overlap", "",
                          "A step of the ranks that were started (mpirun -np 2 vjepa bench overlap), a thread each, over messages that are made slow: alone\n"
                          "without sending, with everything sent while nothing is computed, and as training does it. Medians over rounds in turns.\n"
                          "JSON: ranks, model, mode, prefetch, exchanges, bytes (of a step and rank), latency_seconds, bytes_per_second, alone_seconds,\n"
                          "blocking_seconds, overlapped_seconds, blocking_ratio, overlapped_ratio.",
                          options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no word"));
    VJ_CHECK(q.rounds >= 1 && q.rounds <= MOST && q.steps >= 1 && q.steps <= 1000 && q.prefetch >= 0 && q.prefetch <= 3 && q.keep >= 0 && q.keep <= 1024 && q.latency >= 0 &&
                 q.latency <= 1000000 && q.share > 0 && q.share <= 100, VJ_ERR_USAGE,
             "--rounds 1 to %d, --steps 1 to 1000, --prefetch 0 to 3, --keep up to 1024, --latency up to 1000000 and --share up to 100 are possible", MOST);
    vj_bench_work w = { .frames = q.frames, .crop = q.crop, .batch = q.batch, .threads = 1 };
    VJ_TRY(vj_bench_model(&w, q.model, 0, 0, VJ_RECOMPUTE_NONE));
    VJ_TRY(vj_bench_masks(&w, NULL, NULL));
    vj_comm *world = NULL;
    const vj_world_request messages = { .shared_memory = false };
    VJ_TRY(vj_world_open(&world, &messages));
    vj_status status = VJ_OK;
    result r;
    if (vj_comm_size(world) == 1) status = vj_fail(VJ_ERR_USAGE, "start several ranks: mpirun -np 2 vjepa bench overlap");
    if (status == VJ_OK) status = measure(&q, &w, world, &r);
    if (status == VJ_OK && vj_comm_rank(world) == 0) print(&q, &r, vj_comm_size(world));
    vj_comm_destroy(&world);
    return status;
}
