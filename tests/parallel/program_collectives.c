// Started by mpirun (tests/parallel/collectives.test.sh): every collective of a communicator against what it must give, on many
// sizes, by shared memory or by messages.
//
//   parallel_collectives check [messages]      all operations, and of halves of the world
//   parallel_collectives gone RANK             RANK leaves without a word in the middle; the others must get a message
//   parallel_collectives abort RANK            RANK ends all with exit code 65
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parallel/comm.h"
#include "parallel/tree.h"

static int failures;
static const char *doing = "";

static void must(vj_status status)
{
    if (status == VJ_OK) return;
    fprintf(stderr, "%s: %s\n", doing, vj_error_text());
    exit(vj_status_exit_code(status));
}

static void expect(bool good, vj_comm *c, int64_t n, int64_t quantum)
{
    if (good) return;
    failures++;
    fprintf(stderr, "rank %d of %d (%s): %s is wrong for n %lld, quantum %lld\n", vj_comm_rank(c), vj_comm_size(c), vj_comm_carrier(c), doing, (long long)n,
            (long long)quantum);
}

// Sizes far apart, so that every order of adding gives other bits.
static double value(int rank, int64_t i)
{
    uint32_t h = (uint32_t)(rank * 7919 + i * 104729 + 12345);
    h = (h ^ (h >> 15)) * 2246822519u;
    h = (h ^ (h >> 13)) * 3266489917u;
    static const double size[4] = { 1, 1e4, 1e-3, 37 };
    return ((double)(h >> 8) / 8388608.0 - 1) * size[h & 3];
}

// The definition: neighbours first, then pairs of pairs; a missing leaf is skipped.
static float tree32(int low, int span, int n, int64_t i)
{
    if (span == 1) return (float)value(low, i);
    const float left = tree32(low, span / 2, n, i);
    return low + span / 2 < n ? left + tree32(low + span / 2, span / 2, n, i) : left;
}

static double tree64(int low, int span, int n, int64_t i)
{
    if (span == 1) return value(low, i);
    const double left = tree64(low, span / 2, n, i);
    return low + span / 2 < n ? left + tree64(low + span / 2, span / 2, n, i) : left;
}

static int span_of(int n)
{
    int span = 1;
    while (span < n) span *= 2;
    return span;
}

// `apart`: this rank's part comes from elsewhere.
static void gather(vj_comm *c, int64_t n, int64_t quantum, vj_dtype type, bool apart)
{
    const size_t size = vj_dtype_size(type);
    char *all = calloc((size_t)n + 1, size);
    int64_t begin, end;
    vj_comm_part(c, n, quantum, vj_comm_rank(c), &begin, &end);
    char *mine = apart ? calloc((size_t)(end - begin) + 1, size) : all + (size_t)begin * size;
    for (int64_t i = begin; i < end; i++) {
        if (type == VJ_F32) ((float *)mine)[i - begin] = (float)value(3, i);
        else ((double *)mine)[i - begin] = value(3, i);
    }
    vj_ticket t;
    doing = "all-gather";
    must(vj_comm_all_gather(c, all, apart ? mine : NULL, type, n, quantum, &t));
    must(vj_comm_wait(c, t));
    bool good = true;
    for (int64_t i = 0; i < n; i++) good = good && (type == VJ_F32 ? ((float *)all)[i] == (float)value(3, i) : ((double *)all)[i] == value(3, i));
    expect(good, c, n, quantum);
    if (apart) free(mine);
    free(all);
}

static void reduce(vj_comm *c, int64_t n, int64_t quantum, vj_dtype type, int present, bool in_place)
{
    const size_t size = vj_dtype_size(type);
    const int rank = vj_comm_rank(c);
    int64_t begin, end;
    vj_comm_part(c, n, quantum, rank, &begin, &end);
    char *all = calloc((size_t)n + 1, size), *out = in_place ? all + (size_t)begin * size : calloc((size_t)(end - begin) + 1, size);
    for (int64_t i = 0; i < n; i++) {
        if (type == VJ_F32) ((float *)all)[i] = (float)value(rank, i);
        else ((double *)all)[i] = value(rank, i);
    }
    vj_ticket t;
    doing = "reduce-scatter";
    must(vj_comm_reduce_scatter(c, out, rank < present ? all : NULL, type, n, quantum, present, &t));
    must(vj_comm_wait(c, t));
    bool good = true;
    for (int64_t i = begin; i < end; i++) {
        good = good && (type == VJ_F32 ? ((float *)out)[i - begin] == tree32(0, span_of(present), present, i)
                                       : ((double *)out)[i - begin] == tree64(0, span_of(present), present, i));
    }
    expect(good, c, n, quantum);
    if (!in_place) free(out);
    free(all);
}

static void small(vj_comm *c, int64_t n)
{
    double *v = calloc((size_t)n + 1, sizeof *v);
    const int rank = vj_comm_rank(c), size = vj_comm_size(c);
    for (int how = VJ_SUM; how <= VJ_MAX; how++) {
        for (int64_t i = 0; i < n; i++) v[i] = value(rank, i);
        doing = "all-reduce";
        must(vj_comm_all_reduce_now(c, v, n, (vj_reduction)how));
        bool good = true;
        for (int64_t i = 0; i < n; i++) {
            double want = value(0, i);
            for (int r = 1; r < size; r++) want = how == VJ_MIN ? fmin(want, value(r, i)) : fmax(want, value(r, i));
            if (how == VJ_SUM) want = tree64(0, span_of(size), size, i);
            good = good && v[i] == want;
        }
        expect(good, c, n, how);
    }
    for (int root = 0; root < size; root++) {
        for (int64_t i = 0; i < n; i++) v[i] = rank == root ? value(root, i) : 0;
        doing = "broadcast";
        must(vj_comm_broadcast_now(c, root, v, (size_t)n * sizeof *v));
        bool good = true;
        for (int64_t i = 0; i < n; i++) good = good && v[i] == value(root, i);
        expect(good, c, n, root);
    }
    doing = "barrier";
    must(vj_comm_barrier_now(c));
    free(v);
}

// Several operations under way, waited for in another order.
static void at_once(vj_comm *c)
{
    enum { OPS = 40, N = 4096 };
    static float buffer[OPS][N];
    vj_ticket t[OPS];
    doing = "operations at once";
    for (int k = 0; k < OPS; k++) {
        int64_t begin, end;
        vj_comm_part(c, N, 64, vj_comm_rank(c), &begin, &end);
        for (int64_t i = begin; i < end; i++) buffer[k][i] = (float)value(k, i);
        must(vj_comm_all_gather(c, buffer[k], NULL, VJ_F32, N, 64, &t[k]));
    }
    for (int k = OPS - 1; k >= 0; k--) {
        must(vj_comm_wait(c, t[k]));
        bool good = true;
        for (int64_t i = 0; i < N; i++) good = good && buffer[k][i] == (float)value(k, i);
        expect(good, c, N, k);
    }
}

static void all_of(vj_comm *c)
{
    // Quanta that the ranks divide and do not, more ranks than chunks, parts longer than a stage of shared memory.
    static const struct { int64_t n, quantum; } shapes[] = { { 0, 1 }, { 1, 1 }, { 64, 64 }, { 24 * 64, 24 }, { 1000 * 7, 7 }, { 3 * 64, 3 }, { 1024 * 64, 1024 },
                                                              { 1 << 22, 1024 }, { 3000017, 1 }, { 1021 * 4099, 1021 } };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int type = 0; type < 2; type++) {
            const vj_dtype real = type ? VJ_F64 : VJ_F32;
            for (int apart = 0; apart < 2; apart++) gather(c, shapes[i].n, shapes[i].quantum, real, apart == 1);
            for (int present = 1; present <= vj_comm_size(c); present += 1 + (shapes[i].n > 1 << 20) * (vj_comm_size(c) - 1)) {
                reduce(c, shapes[i].n, shapes[i].quantum, real, present, false);
                if (present == vj_comm_size(c)) reduce(c, shapes[i].n, shapes[i].quantum, real, present, true);
            }
        }
    }
    static const int64_t few[] = { 0, 1, 3, 1000, 65536 };
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) small(c, few[i]);
    at_once(c);
}

// What observers see: each operation's begin and end, in order, with what was said of it; and nothing once they are gone.
typedef struct seen {
    vj_comm_event last;
    int began, ended, wrong;
} seen;

static void see(void *context, const vj_comm_event *event)
{
    seen *s = context;
    const bool begins = event->ended == 0;
    *(begins ? &s->began : &s->ended) += 1;
    const bool follows = s->last.seq == 0 || (begins ? event->seq == s->last.seq + 1 && s->last.ended > 0 : event->seq == s->last.seq);
    if (!follows || event->asked > event->began || (!begins && event->ended < event->began) || event->failed) s->wrong++;
    s->last = *event;
}

static void watched(vj_comm *world, vj_comm *part)
{
    static seen one, two;
    float x[64] = { 0 };
    double y[3] = { 0 };
    vj_ticket t;
    doing = "observing";
    vj_comm_observe(world, see, &one);
    vj_comm_observe(world, see, &two);
    vj_comm_about(part, "encoder", 5);
    vj_comm_name(part, "halves");
    must(vj_comm_all_gather(part, x, NULL, VJ_F32, 64, 64, &t));
    vj_comm_about(part, NULL, 0);   // the label of what was asked before stays
    must(vj_comm_wait(part, t));
    must(vj_comm_barrier_now(world));
    vj_comm_unobserve(world, see, &one);   // the end of what was waited for may be told a little later
    const bool alone = strcmp(vj_comm_carrier(world), "self") == 0;
    expect(alone ? one.began == 0 : one.began == 2 && one.ended >= 1 && one.wrong == 0 && strcmp(one.last.op, "barrier") == 0 && one.last.what == NULL, world, 0, 0);
    expect(alone || (strcmp(one.last.comm, "world") == 0 && one.last.size == vj_comm_size(world) && one.last.unit == -1), world, 1, 0);
    vj_comm_about(part, "predictor", 2);
    must(vj_comm_reduce_scatter(part, x, x, VJ_F32, 0, 1, 1, &t));
    must(vj_comm_wait(part, t));
    vj_comm_about(part, "losses", -1);
    must(vj_comm_all_reduce_now(part, y, 3, VJ_SUM));
    vj_comm_unobserve(world, see, &two);
    expect(alone ? two.began == 0 : two.began == 4 && two.ended >= 3 && two.wrong == 0 && one.began == 2, world, 2, 0);
    expect(alone || (strcmp(two.last.what, "losses") == 0 && two.last.bytes == 24 && strcmp(two.last.comm, "halves") == 0 && two.last.size == vj_comm_size(part)),
           world, 3, 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    vj_comm *world;
    const vj_world_request request = { .shared_memory = argc < 3 || strcmp(argv[2], "messages") != 0 };
    doing = "opening the world";
    must(vj_world_open(&world, &request));
    const int rank = vj_comm_rank(world), size = vj_comm_size(world);
    if (strcmp(argv[1], "check") != 0) {
        const int chosen = atoi(argv[2]);
        must(vj_comm_barrier_now(world));
        if (rank == chosen && strcmp(argv[1], "gone") == 0) raise(SIGKILL);
        if (rank == chosen) vj_comm_abort(world, 65);
        const vj_status status = vj_comm_barrier_now(world);
        printf("rank %d: %s\n", rank, vj_error_text());
        fflush(stdout);
        _exit(vj_comm_peer_code(world) >= 0 ? vj_comm_peer_code(world) : vj_status_exit_code(status));
    }
    all_of(world);
    for (int colors = 2; colors <= 3; colors++) {
        vj_comm *part;
        doing = "split";
        must(vj_comm_split(world, rank % colors, &part));
        expect(vj_comm_size(part) == (size - rank % colors + colors - 1) / colors && vj_comm_rank(part) == rank / colors, part, colors, 0);
        all_of(part);
        small(world, 100);
        if (colors == 2) watched(world, part);
        vj_comm_destroy(&part);
    }
    double all = failures;
    must(vj_comm_all_reduce_now(world, &all, 1, VJ_SUM));
    if (rank == 0) printf("%d ranks by %s: %d wrong\n", size, vj_comm_carrier(world), (int)all);
    vj_comm_destroy(&world);
    return all > 0;
}
