#include "parallel/transport.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

enum { PIECE = 1 << 30 };   // bytes of a message that MPI sees

static int whole(const char *name, int otherwise)
{
    const char *text = getenv(name);
    int64_t v;
    return text && vj_parse_i64(text, &v) && v >= 0 && v < 1 << 24 ? (int)v : otherwise;
}

vj_launch vj_launch_read(void)
{
    // mpirun sets both; srun --mpi=pmix sets PMIX_RANK. srun without it starts programs that know nothing of each other.
    if (getenv("OMPI_COMM_WORLD_SIZE")) return (vj_launch){ "mpirun", whole("OMPI_COMM_WORLD_SIZE", 1), true };
    const bool step = getenv("SLURM_STEP_ID") != NULL && getenv("SLURM_PROCID") != NULL;
    const int tasks = whole("SLURM_STEP_NUM_TASKS", whole("SLURM_NTASKS", 1));
    if (getenv("PMIX_RANK")) return (vj_launch){ "srun", tasks, true };
    if (step && tasks > 1) return (vj_launch){ "srun", tasks, false };
    return (vj_launch){ NULL, 1, true };
}

// Beside the program, or where it is installed.
static vj_status load(vj_transport *t)
{
    char exe[3072], path[4096], why[512] = "";
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    VJ_CHECK(n > 0, VJ_ERR_DEVICE, "/proc/self/exe cannot be read");
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    static const char *const places[] = { "vjepa_mpi.so", "../lib/vjepa/vjepa_mpi.so" };
    for (int i = 0; i < 2 && !t->library; i++) {
        vj_format(path, sizeof path, "%s/%s", exe, places[i]);
        if (!vj_path_exists(path)) continue;
        t->library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);   // Open MPI's own modules look for its symbols
        if (!t->library) vj_format(why, sizeof why, "%s", dlerror());
    }
    if (!t->library && why[0]) VJ_FAIL(VJ_ERR_CONFIG, "several ranks need MPI, which cannot be loaded: %s; install openmpi-bin", why);
    VJ_CHECK(t->library != NULL, VJ_ERR_CONFIG,
             "several ranks need MPI: there is no vjepa_mpi.so in %s or %s/../lib/vjepa; install libopenmpi-dev and build again", exe, exe);
    vj_mpi_open open = NULL;
    *(void **)&open = dlsym(t->library, VJ_MPI_OPEN);
    t->api = open ? open() : NULL;
    VJ_CHECK(t->api && t->api->abi == VJ_MPI_ABI, VJ_ERR_CONFIG, "%s belongs to another build of vjepa: build both again", path);
    return VJ_OK;
}

vj_status vj_transport_open(vj_transport *t, int ranks)
{
    *t = (vj_transport){ .size = 1, .local_size = 1 };
    const vj_launch launch = vj_launch_read();
    VJ_CHECK(launch.reachable, VJ_ERR_CONFIG,
             "srun started %d programs that cannot reach each other, they would be %d trainings in one folder: start them with srun --mpi=pmix",
             launch.ranks, launch.ranks);
    VJ_CHECK(ranks == 0 || ranks == launch.ranks, VJ_ERR_CONFIG, "%d ranks are asked for, %s: %s", ranks,
             launch.by ? "another number was started" : "one was started",
             launch.by ? "give the launcher the same number" : "start it with mpirun -np or srun --mpi=pmix -n");
    if (launch.by == NULL) return VJ_OK;
    VJ_TRY(load(t));
    char error[1024] = "";
    vj_mpi_place place = { 0 };
    VJ_CHECK(t->api->start(&place, error, sizeof error) == 0, VJ_ERR_DEVICE, "%s does not start: %s", t->api->library, error);
    t->rank = place.rank;
    t->size = place.size;
    t->local_rank = place.node_rank;
    t->local_size = place.node_size;
    // mpirun inside srun, two kinds of MPI: each program is then a world of its own.
    VJ_CHECK(t->size == launch.ranks, VJ_ERR_CONFIG,
             "%s started %d ranks, but %s sees %d: the launcher and the MPI library do not belong together (srun --mpi=list)", launch.by, launch.ranks,
             t->api->library, t->size);
    VJ_TRY(vj_host_alloc(&t->machine, (size_t)t->size * sizeof *t->machine, "a table of ranks"));
    VJ_TRY(vj_host_alloc(&t->pieces, 2 * (size_t)t->size * sizeof *t->pieces, "a table of messages"));
    VJ_CHECK(t->api->machines(t->machine, error, sizeof error) == 0, VJ_ERR_DEVICE, "%s", error);
    return VJ_OK;
}

static void sleep_until(double moment)
{
    for (double left; (left = moment - vj_now()) > 0;) {
        const struct timespec pause = { .tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9) };
        nanosleep(&pause, NULL);
    }
}

vj_status vj_transport_exchange(vj_transport *t, const vj_mpi_message *messages, int n, const volatile int *stop)
{
    const double began = vj_now();
    size_t out = 0, in = 0;
    vj_mpi_message *pieces = t->pieces;
    VJ_ASSERT(n <= 2 * t->size);
    char error[1024] = "";
    // Rounds of one piece of each message, so that two ranks with long messages for each other never wait for each other.
    for (size_t at = 0, longest = 1; at < longest; at += PIECE) {
        int posted = 0;
        for (int i = 0; i < n; i++) {
            const vj_mpi_message *m = &messages[i];
            longest = m->bytes > longest ? m->bytes : longest;
            if (at == 0) *(m->incoming ? &in : &out) += m->bytes;
            if (at > 0 && at >= m->bytes) continue;
            pieces[posted] = *m;
            pieces[posted].data = (char *)m->data + at;
            pieces[posted++].bytes = m->bytes - at < PIECE ? m->bytes - at : PIECE;
        }
        const int status = t->api->exchange(pieces, posted, stop, error, sizeof error);
        VJ_CHECK(status <= 0, VJ_ERR_DEVICE, "given up: another rank has stopped");
        VJ_CHECK(status == 0, VJ_ERR_DEVICE, "%s: %s", t->api->library, error);
    }
    t->exchanges++;
    t->bytes += (int64_t)(in > out ? in : out);
    if (t->latency > 0 || t->seconds_per_byte > 0) sleep_until(began + t->latency + (double)(in > out ? in : out) * t->seconds_per_byte);
    return VJ_OK;
}

void vj_transport_abort(vj_transport *t, int code)
{
    if (t->api) t->api->abort(code);
}

void vj_transport_close(vj_transport *t)
{
    if (t->api) t->api->end();
    vj_host_free(t->machine);
    vj_host_free(t->pieces);
    // The library stays loaded: Open MPI leaves threads and exit handlers behind.
    *t = (vj_transport){ .size = 1, .local_size = 1 };
}
