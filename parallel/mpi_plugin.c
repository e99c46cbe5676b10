// vjepa_mpi.so: MPI behind mpi_plugin.h. The only file that includes mpi.h.

#include "parallel/mpi_plugin.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static MPI_Request *requests;
static int capacity;

static int failed(int code, const char *what, char *error, size_t size)
{
    if (code == MPI_SUCCESS) return 0;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    snprintf(error, size, "%s: %s", what, text);
    return -1;
}

static int start(vj_mpi_place *place, char *error, size_t size)
{
    int provided = 0;
    if (failed(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread", error, size)) return -1;
    if (provided < MPI_THREAD_SERIALIZED) {
        snprintf(error, size, "this MPI cannot be called from another thread than the first (MPI_THREAD_SERIALIZED)");
        return -1;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (failed(MPI_Comm_rank(MPI_COMM_WORLD, &place->rank), "MPI_Comm_rank", error, size)) return -1;
    if (failed(MPI_Comm_size(MPI_COMM_WORLD, &place->size), "MPI_Comm_size", error, size)) return -1;
    MPI_Comm node;
    if (failed(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, place->rank, MPI_INFO_NULL, &node), "MPI_Comm_split_type", error, size))
        return -1;
    MPI_Comm_rank(node, &place->node_rank);
    MPI_Comm_size(node, &place->node_size);
    MPI_Comm_free(&node);
    return 0;
}

static int machines(int *leader, char *error, size_t size)
{
    MPI_Comm node;
    int rank = 0, lowest = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (failed(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node), "MPI_Comm_split_type", error, size)) return -1;
    int code = MPI_Allreduce(&rank, &lowest, 1, MPI_INT, MPI_MIN, node);
    MPI_Comm_free(&node);
    if (code == MPI_SUCCESS) code = MPI_Allgather(&lowest, 1, MPI_INT, leader, 1, MPI_INT, MPI_COMM_WORLD);
    return failed(code, "asking which ranks share a machine", error, size);
}

// A few looks without a pause for small messages between free cores, then pauses that grow: ranks may be more than cores, and a
// thread that only waits must not take one from those that compute.
static void pause_after(int looks)
{
    if (looks < 20) return;
    const long micros = looks < 200 ? 20 : 100;
    const struct timespec t = { .tv_sec = 0, .tv_nsec = micros * 1000 };
    nanosleep(&t, NULL);
}

static int exchange(const vj_mpi_message *messages, int n, const volatile int *stop, char *error, size_t size)
{
    if (n > capacity) {
        MPI_Request *more = realloc(requests, (size_t)n * sizeof *more);
        if (!more) {
            snprintf(error, size, "no memory for %d messages", n);
            return -1;
        }
        requests = more;
        capacity = n;
    }
    // Receives first: what arrives finds its place.
    int begun = 0;
    for (int incoming = 1; incoming >= 0; incoming--) {
        for (int i = 0; i < n; i++) {
            const vj_mpi_message *m = &messages[i];
            if (m->incoming != incoming) continue;
            MPI_Request *r = &requests[begun++];
            const int code = incoming ? MPI_Irecv(m->data, (int)m->bytes, MPI_BYTE, m->peer, m->tag, MPI_COMM_WORLD, r)
                                      : MPI_Isend(m->data, (int)m->bytes, MPI_BYTE, m->peer, m->tag, MPI_COMM_WORLD, r);
            if (failed(code, incoming ? "MPI_Irecv" : "MPI_Isend", error, size)) return -1;
        }
    }
    for (int looks = 0;; looks++) {
        int done = 0;
        if (failed(MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE), "MPI_Testall", error, size)) return -1;
        if (done) return 0;
        if (stop && *stop) return 1;
        pause_after(looks);
    }
}

static int all_gather(float *all, int n_each)
{
    return MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, n_each, MPI_FLOAT, MPI_COMM_WORLD) == MPI_SUCCESS ? 0 : -1;
}

static int reduce_scatter(const float *all, float *mine, int n_each)
{
    return MPI_Reduce_scatter_block(all, mine, n_each, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD) == MPI_SUCCESS ? 0 : -1;
}

static void stop_all(int code)
{
    MPI_Abort(MPI_COMM_WORLD, code);
    _Exit(code);
}

static void end(void)
{
    free(requests);
    requests = NULL;
    capacity = 0;
    MPI_Finalize();
}

__attribute__((visibility("default"))) const vj_mpi_api *vj_mpi_open_1(void);
const vj_mpi_api *vj_mpi_open_1(void)
{
    static char library[MPI_MAX_LIBRARY_VERSION_STRING];
    static vj_mpi_api api = { .abi = VJ_MPI_ABI, .start = start, .machines = machines, .exchange = exchange,
                              .all_gather = all_gather, .reduce_scatter = reduce_scatter, .abort = stop_all, .end = end };
    int length = 0;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, ",")] = '\0';
    // "Open MPI v4.1.4": as everybody writes it.
    char *v = strstr(library, " v");
    if (v) memmove(v + 1, v + 2, strlen(v + 2) + 1);
    api.library = library;
    return &api;
}
