// Messages between ranks: what a communicator is built on when shared memory does not do. One home: vjepa_mpi.so.
#ifndef VJ_PARALLEL_TRANSPORT_H
#define VJ_PARALLEL_TRANSPORT_H

#include "parallel/mpi_plugin.h"
#include "runtime/base/status.h"

typedef struct vj_transport {
    const vj_mpi_api *api;             // NULL: this rank is alone
    void *library;
    int rank, size, local_rank, local_size;
    int *machine;                      // (size): the lowest rank on each rank's machine
    vj_mpi_message *pieces;            // (2 size)
    double latency, seconds_per_byte;  // of a network slower than the real one; 0: as it is
    int64_t exchanges, bytes;          // so far; of an exchange the greater of what came in and what went out
} vj_transport;

// How this program was started, by the environment alone.
typedef struct vj_launch {
    const char *by;                    // "mpirun", "srun", NULL: alone
    int ranks;                         // that the launcher says there are; 1 when alone
    bool reachable;                    // false: several were started without a way to find each other
} vj_launch;
vj_launch vj_launch_read(void);

// VJ_ERR_CONFIG as vj_world_open. `ranks` 0: any number.
vj_status vj_transport_open(vj_transport *t, int ranks) VJ_MUST_CHECK;
// All messages together (at most two for each rank); returns when all are done. `stop`: given up when it is no more 0 (VJ_ERR_DEVICE). Messages may be of any
// length.
vj_status vj_transport_exchange(vj_transport *t, const vj_mpi_message *messages, int n, const volatile int *stop) VJ_MUST_CHECK;
void vj_transport_abort(vj_transport *t, int code);
void vj_transport_close(vj_transport *t);

#endif
