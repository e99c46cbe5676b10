// What the program asks of MPI, and all that it asks: who is there, and messages. It is a library of its own, vjepa_mpi.so,
// loaded only when a launcher started several ranks: so the program runs where there is no MPI, and starts no slower.
//
// No symbol of the program is used in it: errors are numbers and text.
#ifndef VJ_PARALLEL_MPI_PLUGIN_H
#define VJ_PARALLEL_MPI_PLUGIN_H

#include <stddef.h>

enum { VJ_MPI_ABI = 1 };

typedef struct vj_mpi_place {
    int rank, size;
    int node_rank, node_size;     // among the ranks that share this machine's memory
} vj_mpi_place;

// One message. At most 2^31 - 1 bytes: longer ones are several with one tag, which arrive in order.
typedef struct vj_mpi_message {
    void *data;
    size_t bytes;
    int peer, tag;
    int incoming;                 // 1: received into `data`, 0: sent from it
} vj_mpi_message;

typedef struct vj_mpi_api {
    int abi;
    const char *library;          // "Open MPI 4.1.4": for manifests and messages
    // 0, or not, with text in `error`. From one thread at a time (MPI_THREAD_SERIALIZED).
    int (*start)(vj_mpi_place *place, char *error, size_t size);
    // leader[r]: the lowest rank on the machine of rank r. `leader` has room for all ranks.
    int (*machines)(int *leader, char *error, size_t size);
    // Begins all messages and returns when all are done, or when *stop is no more 0 (1 then). In between it sleeps: ranks may
    // be more than cores.
    int (*exchange)(const vj_mpi_message *messages, int n, const volatile int *stop, char *error, size_t size);
    // MPI's own blocking collectives over all ranks, float32, equal parts of n_each: only to measure against. 0, or not.
    int (*all_gather)(float *all, int n_each);                     // in place
    int (*reduce_scatter)(const float *all, float *mine, int n_each);
    void (*abort)(int code);      // ends all ranks; does not return
    void (*end)(void);
} vj_mpi_api;

typedef const vj_mpi_api *(*vj_mpi_open)(void);
#define VJ_MPI_OPEN "vj_mpi_open_1"

#endif
