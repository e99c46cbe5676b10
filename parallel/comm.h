// Communicators: ranks that exchange buffers. Host memory; float32 and float64.
//
//   self       one rank: everything is done when it is asked for
//   many       ranks started by mpirun or srun: messages (transport.h), and inside one machine shared memory
//
// An operation is asked for and goes on by itself, on a thread of the communicator, in the order asked for; its ticket is
// waited for. All ranks of a communicator ask for the same operations in the same order. Buffers stay as they are until then.
// Sums over ranks have the order of a tree over the rank's number (tree.h), whatever carries them: the same bits always.
//
// Errors: the first operation that fails, here or on another rank, ends the communicator: it and all later ones give
// VJ_ERR_DEVICE with one message that names the rank that is gone, where it is known.
#ifndef VJ_PARALLEL_COMM_H
#define VJ_PARALLEL_COMM_H

#include "runtime/tensor/tensor.h"

typedef struct vj_comm vj_comm;
typedef uint64_t vj_ticket;

enum { VJ_COMM_SCALARS = 1 << 16 };
typedef enum vj_reduction { VJ_SUM, VJ_MIN, VJ_MAX } vj_reduction;

// ---- the world -----------------------------------------------------------------------------------------------------------
typedef struct vj_world_request {
    int ranks;                 // that the configuration says there are; 0: as many as were started
    bool shared_memory;        // use it inside a machine where there is enough
    // A network that is slower than this machine's, for tests and benchmarks: messages are done not before latency + bytes /
    // rate; 0, 0: none. Takes shared memory out of use.
    double latency_seconds, bytes_per_second;
} vj_world_request;

// All ranks of this program. Started alone: self. VJ_ERR_CONFIG: several ranks were started but cannot reach each other (no
// vjepa_mpi.so, srun without --mpi=pmix, programs of other builds), or there are more or fewer than the request, SLURM or the
// launcher say. Once in a program, from its first thread.
vj_status vj_world_open(vj_comm **out, const vj_world_request *request) VJ_MUST_CHECK;
// A communicator of this rank alone.
vj_status vj_comm_self(vj_comm **out) VJ_MUST_CHECK;
// Ranks of equal `color` become a communicator, in the order of their numbers here. All ranks call it.
vj_status vj_comm_split(vj_comm *c, int color, vj_comm **out) VJ_MUST_CHECK;
// Waits for what was asked for. The world last: it ends the transport. After a failure nothing is waited for.
void vj_comm_destroy(vj_comm **c);
// Ends all ranks of the program with exit code `code` where the launcher can; in any case peers that wait for this rank give
// up. To be called by a rank that must leave alone, before it does. Returns when there is no launcher.
void vj_comm_abort(vj_comm *c, int code);

// After a failure: the exit code of a rank that ended all by vj_comm_abort, with which this one is to go too, in silence: the
// launcher may report whichever goes first. -1: none has.
int vj_comm_peer_code(const vj_comm *c);

int vj_comm_rank(const vj_comm *c);
int vj_comm_size(const vj_comm *c);
int vj_comm_local_size(const vj_comm *c);      // ranks of the world on this machine: they share its CPUs
const char *vj_comm_carrier(const vj_comm *c); // "self", "shared memory", "Open MPI 4.1.4": for logs

// While nothing is under way: another delay of messages from now on (see vj_world_request; it must have begun without shared memory); and
// what went over the network so far: exchanges, and bytes, of each exchange the greater of in and out.
void vj_comm_delay(vj_comm *world, double latency_seconds, double bytes_per_second);
void vj_comm_traffic(const vj_comm *world, int64_t *exchanges, int64_t *bytes);

// MPI itself, NULL where this rank is alone: to measure against while nothing of a communicator is under way.
const struct vj_mpi_api *vj_comm_mpi(const vj_comm *c);

// ---- watching ----------------------------------------------------------------------------------------------------------------
typedef struct vj_comm_event {
    uint64_t seq;              // 1, 2, ...: the same operation on all ranks, over all communicators of the world
    const char *op;            // "all-gather", "reduce-scatter", "all-reduce", "broadcast", "barrier"
    const char *what;          // what it is for (vj_comm_about), NULL: not said
    int unit;                  // of what, -1: none
    int64_t bytes;             // of the whole buffer
    const char *comm;          // "world", or what it was named
    int size;                  // its ranks
    double asked, began, ended;   // vj_now(); ended 0: it has begun
    bool failed;               // with ended
} vj_comm_event;

// Called in the communicator's thread when an operation has begun and when it has ended; it must be quick, must not ask for operations
// and must not keep `event`. Texts in it last as long as their givers keep them.
typedef void (*vj_comm_observer)(void *context, const vj_comm_event *event);

enum { VJ_COMM_OBSERVERS = 4 };
// Operations of all communicators of the world that begin from now on. A program that was started alone never calls f.
void vj_comm_observe(vj_comm *world, vj_comm_observer f, void *context);
// Behind it f is not called with `context` any more.
void vj_comm_unobserve(vj_comm *world, vj_comm_observer f, void *context);
// What operations of `c` are for that are asked for from now on, by the thread that asks. `what` must outlast them.
void vj_comm_about(vj_comm *c, const char *what, int unit);
void vj_comm_name(vj_comm *c, const char *name);   // must outlast it

// ---- operations ------------------------------------------------------------------------------------------------------------
// Which elements of n rank r of G has: chunks floor(r*quantum/G) to floor((r+1)*quantum/G) of n/quantum elements (layout.h).
void vj_comm_part(const vj_comm *c, int64_t n, int64_t quantum, int rank, int64_t *begin, int64_t *end);

// `all` (n) gets every rank's part. This rank's is `mine`, or stands in its place of `all` already (`mine` NULL).
vj_status vj_comm_all_gather(vj_comm *c, void *all, const void *mine, vj_dtype type, int64_t n, int64_t quantum, vj_ticket *t) VJ_MUST_CHECK;
// `mine` (this rank's part) gets the tree sum of everybody's `all` (n) there. Ranks from `present` on (1 to size) have nothing
// to add: their `all` is not read and may be NULL. `mine` may be this rank's part of `all`.
vj_status vj_comm_reduce_scatter(vj_comm *c, void *mine, const void *all, vj_dtype type, int64_t n, int64_t quantum, int present,
                                 vj_ticket *t) VJ_MUST_CHECK;
// Few numbers (at most VJ_COMM_SCALARS), each reduced over ranks; a sum in tree order.
vj_status vj_comm_all_reduce(vj_comm *c, double *values, int64_t n, vj_reduction how, vj_ticket *t) VJ_MUST_CHECK;
vj_status vj_comm_broadcast(vj_comm *c, int root, void *data, size_t bytes, vj_ticket *t) VJ_MUST_CHECK;
vj_status vj_comm_barrier(vj_comm *c, vj_ticket *t) VJ_MUST_CHECK;
// Waits until the operation is done. Tickets may be waited for in any order, and more than once.
vj_status vj_comm_wait(vj_comm *c, vj_ticket t) VJ_MUST_CHECK;
// Seconds that the calling thread has spent waiting for tickets, of all communicators; what was done already costs none.
double vj_comm_waited(void);

// The same at once, for set-up.
vj_status vj_comm_broadcast_now(vj_comm *c, int root, void *data, size_t bytes) VJ_MUST_CHECK;
vj_status vj_comm_all_reduce_now(vj_comm *c, double *values, int64_t n, vj_reduction how) VJ_MUST_CHECK;
vj_status vj_comm_barrier_now(vj_comm *c) VJ_MUST_CHECK;

// VJ_OK when every rank's `status` is; else, on all ranks, the status of the lowest one that failed with a message. The message
// stays on that rank alone, so that it is printed once.
vj_status vj_comm_agree(vj_comm *c, vj_status status) VJ_MUST_CHECK;

#endif
