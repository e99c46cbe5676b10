// vjepa bench collectives: what ranks send each other, against MPI's own blocking collectives, in alternation.

#include <stdio.h>

#include "jobs/bench/bench.h"
#include "jobs/cli/commands.h"
#include "parallel/comm.h"
#include "parallel/mpi_plugin.h"
#include "runtime/base/arena.h"
#include "runtime/base/clock.h"

enum { MOST = 200 };

typedef struct figure { double ours, mpi, ratio; } figure;   // medians: seconds, and the ratio of a pair
typedef struct buffers { float *all, *mine; } buffers;

// The slowest rank's time of one operation: it is done when all have it.
static vj_status timed(vj_comm *c, const buffers *b, int64_t n, bool gather, bool mpi, double *seconds)
{
    const int64_t each = n / vj_comm_size(c);
    VJ_TRY(vj_comm_barrier_now(c));
    const double began = vj_now();
    if (mpi) {
        const vj_mpi_api *api = vj_comm_mpi(c);
        VJ_CHECK((gather ? api->all_gather(b->all, (int)each) : api->reduce_scatter(b->all, b->mine, (int)each)) == 0, VJ_ERR_DEVICE, "%s fails", api->library);
    } else {
        vj_ticket t;
        if (gather) VJ_TRY(vj_comm_all_gather(c, b->all, NULL, VJ_F32, n, vj_comm_size(c), &t));
        else VJ_TRY(vj_comm_reduce_scatter(c, b->mine, b->all, VJ_F32, n, vj_comm_size(c), vj_comm_size(c), &t));
        VJ_TRY(vj_comm_wait(c, t));
    }
    *seconds = vj_now() - began;
    return vj_comm_all_reduce_now(c, seconds, 1, VJ_MAX);
}

static vj_status measure(vj_comm *c, const buffers *b, int64_t n, bool gather, int pairs, figure *out)
{
    double ours[MOST], mpi[MOST], ratio[MOST];
    for (int i = -1; i < pairs; i++) {   // the first pair touches the memory
        double x, y;
        VJ_TRY(timed(c, b, n, gather, false, &x));
        VJ_TRY(timed(c, b, n, gather, true, &y));
        if (i < 0) continue;
        ours[i] = x;
        mpi[i] = y;
        ratio[i] = y / x;
    }
    *out = (figure){ vj_bench_median(ours, pairs), vj_bench_median(mpi, pairs), vj_bench_median(ratio, pairs) };
    return VJ_OK;
}

static vj_status run(vj_comm *c, int pairs, bool json)
{
    const int ranks = vj_comm_size(c), lead = vj_comm_rank(c) == 0;
    VJ_CHECK(vj_comm_mpi(c) != NULL, VJ_ERR_USAGE, "start several ranks: mpirun -np 4 vjepa bench collectives");
    buffers b = { 0 };
    const int64_t most = (int64_t)64 << 18;   // 64 MB of float32
    VJ_TRY(vj_host_alloc(&b.all, (size_t)most * sizeof *b.all, "a benchmark"));
    VJ_TRY(vj_host_alloc(&b.mine, (size_t)most * sizeof *b.mine, "a benchmark"));
    for (int64_t i = 0; i < most; i++) b.all[i] = (float)(i % 1000);
    vj_json_writer w = { .pretty = true };
    if (lead && json) {
        vj_json_begin_object(&w, NULL);
        vj_bench_put_machine(&w, 1);
        vj_json_put_i64(&w, "ranks", ranks);
        vj_json_put_text(&w, "carrier", vj_comm_carrier(c));
        vj_json_put_text(&w, "mpi", vj_comm_mpi(c)->library);
        vj_json_begin_array(&w, "collectives");
    } else if (lead) {
        vj_bench_print_machine(1);
        printf("%d ranks by %s, against %s; medians of %d pairs, MB of the whole buffer\n\n%-16s %5s %9s %9s %7s\n", ranks, vj_comm_carrier(c),
               vj_comm_mpi(c)->library, pairs, "operation", "MB", "ours ms", "MPI ms", "ratio");
    }
    for (int gather = 1; gather >= 0; gather--) {
        for (int64_t mb = 1; mb <= 64; mb *= 4) {
            figure f;
            const int64_t n = (mb << 18) / ranks * ranks;
            VJ_TRY(measure(c, &b, n, gather, mb > 16 ? (pairs + 3) / 4 : pairs, &f));
            const char *name = gather ? "all-gather" : "reduce-scatter";
            if (lead && json) {
                vj_json_begin_object(&w, NULL);
                vj_json_put_text(&w, "operation", name);
                vj_json_put_i64(&w, "bytes", n * 4);
                vj_json_put_f64(&w, "seconds", f.ours);
                vj_json_put_f64(&w, "mpi_seconds", f.mpi);
                vj_json_put_f64(&w, "ratio", f.ratio);
                vj_json_end_object(&w);
            } else if (lead) {
                printf("%-16s %5lld %9.3f %9.3f %6.2fx\n", name, (long long)mb, 1e3 * f.ours, 1e3 * f.mpi, f.ratio);
                fflush(stdout);
            }
        }
    }
    if (lead && json) {
        vj_json_end_array(&w);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    }
    vj_host_free(b.all);
    vj_host_free(b.mine);
    return VJ_OK;
}

vj_status vj_cmd_bench_collectives(int argc, char **argv)
{
    int64_t pairs = 21;
    bool json = false, messages = false;
    const vj_option options[] = {
        { "pairs", VJ_OPT_INT, &pairs, "N", "pairs of each size (default: 21; a quarter of it at 64 MB)" },
        { "messages", VJ_OPT_FLAG, &messages, NULL, "not through shared memory" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench collectives", "",
                          "All-gather and reduce-scatter of 1 to 64 MB among the ranks that were started (mpirun -np 4 vjepa bench collectives),\n"
                          "in alternation with MPI's own blocking ones. JSON: ranks, carrier, mpi, collectives [operation, bytes, seconds, mpi_seconds, ratio].",
                          options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no word"));
    VJ_CHECK(pairs >= 1 && pairs <= MOST, VJ_ERR_USAGE, "--pairs 1 to %d are possible", MOST);
    vj_comm *world = NULL;
    const vj_world_request request = { .shared_memory = !messages };
    VJ_TRY(vj_world_open(&world, &request));
    const vj_status status = run(world, (int)pairs, json);
    vj_comm_destroy(&world);
    return status;
}
