// Inside of communicators: shared by comm.c (asking and waiting), comm_messages.c and comm_node.c (carrying).
#ifndef VJ_PARALLEL_COMM_IMPL_H
#define VJ_PARALLEL_COMM_IMPL_H

#include <pthread.h>

#include "parallel/comm.h"
#include "parallel/transport.h"

typedef enum vj_comm_kind { VJ_ALL_GATHER, VJ_REDUCE_SCATTER, VJ_ALL_REDUCE, VJ_BROADCAST, VJ_BARRIER } vj_comm_kind;

typedef struct vj_comm_op {
    vj_comm_kind kind;
    vj_comm *comm;
    void *out;
    const void *in;
    vj_dtype type;
    int64_t n, quantum;
    int present, root;
    vj_reduction how;
    const char *what;                  // for observers
    int unit;
    double asked;
} vj_comm_op;

typedef struct vj_comm_watcher {
    vj_comm_observer f;
    void *context;
} vj_comm_watcher;

// The thread of the world and its queue. One for all communicators: MPI is called from one thread at a time, and two of them
// that wait for each other on two ranks in two orders would wait for ever.
enum { VJ_COMM_QUEUE = 256 };
typedef struct vj_comm_engine {
    vj_transport transport;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work, done_one;
    vj_comm_op ring[VJ_COMM_QUEUE];
    uint64_t asked, done;              // tickets 1, 2, ...; done: all up to this one
    bool closing;
    vj_status status;                  // of the first operation that failed
    char text[2048];
    volatile int stop;                 // no waiting any more
    volatile int peer_code;            // of a rank that ended all with vj_comm_abort; -1: none has
    int next_id;                       // of communicators
    pthread_mutex_t observing;         // held while observers are called
    vj_comm_watcher watcher[VJ_COMM_OBSERVERS];
    int watchers;
    void *scratch;                     // for messages, grown on first need
    size_t scratch_bytes;
} vj_comm_engine;

typedef struct vj_node vj_node;

struct vj_comm {
    vj_comm_engine *engine;            // NULL: self
    bool world;
    int id, rank, size, local_size;
    int *world_rank;                   // (size)
    vj_node *node;                     // shared memory, NULL: messages
    bool shared_memory;                // asked for
    const char *name, *what;           // what it is, and what its next operations are for (vj_comm_about)
    int unit;
    const void **leaf;                 // (size): room for vj_tree_sum
    vj_mpi_message *messages;          // (2 size)
};

// comm_messages.c
vj_status vj_messages_run(vj_comm *c, const vj_comm_op *op) VJ_MUST_CHECK;

// comm_node.c: memory shared by the ranks of a communicator that are all on one machine. All ranks call create; *out stays NULL
// where there is not enough (said once in the log).
vj_status vj_node_create(vj_node **out, vj_comm *c) VJ_MUST_CHECK;
void vj_node_destroy(vj_node **node);
vj_status vj_node_run(vj_node *node, vj_comm *c, const vj_comm_op *op) VJ_MUST_CHECK;
void vj_node_abort(vj_node *node, int code);   // whoever waits gives up

// values[i] reduced over `n_leaves` arrays of `n` doubles.
void vj_fold(double *out, const void *const *leaf, int n_leaves, int64_t n, vj_reduction how);

#endif
