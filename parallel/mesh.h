// Which ranks share what: replicas x shards over the world, rank = replica * shards + shard (tensor parallelism will be a third,
// innermost axis). Pure arithmetic, and the communicators along the two axes.
//
//             weights a rank holds        gradients, moments
//   ddp       all                         sums in parts of 1 / ranks, moments whole
//   zero2     all                         both in parts of 1 / ranks
//   fsdp      1 / ranks                   both in parts of 1 / ranks
//   hsdp      1 / shards                  both in parts of 1 / ranks, inside what it holds
//
// What a rank holds are whole chunks (layout.h): of Q chunks shard k of s has floor(k Q / s) to floor((k + 1) Q / s), and replica i
// of R of these c chunks updates floor(i c / R) to floor((i + 1) c / R). With R = 1 that is contracts 3.
#ifndef VJ_PARALLEL_MESH_H
#define VJ_PARALLEL_MESH_H

#include "parallel/comm.h"
#include "parallel/layout.h"

typedef enum vj_parallel_mode { VJ_DDP, VJ_ZERO2, VJ_FSDP, VJ_HSDP } vj_parallel_mode;

// What is kept of a unit's gathered weights between its forward and its backward pass (parallel.reshard_after_forward): nothing
// (always), everything (never), or the k-th part, k >= 2, gathered again among k neighbours alone.
enum { VJ_KEEP_NOTHING = 0, VJ_KEEP_ALL = 1 };

typedef struct vj_mesh_spec {
    vj_parallel_mode mode;
    int shards;                // hsdp: ranks that hold the weights once; else ignored
    int prefetch;              // units gathered before they are needed, 0 to 3; 0: nothing overlaps, reductions neither
    int keep;
} vj_mesh_spec;

typedef struct vj_mesh {
    vj_parallel_mode mode;
    int ranks, rank;
    int shards, shard;
    int replicas, replica;
    int prefetch, keep;
    // NULL in a mesh to plan with. The world is not owned, and the others may be it.
    vj_comm *world, *shard_comm, *replica_comm, *keep_comm;
} vj_mesh;

// The shards that hsdp may have on `ranks` ranks, for messages: "2, 4".
void vj_mesh_legal_shards(int ranks, char *out, size_t size);
// A mesh without communicators, of rank `rank` of `ranks`. VJ_ERR_CONFIG: shards do not divide the ranks, or keep does not divide
// the shards.
vj_status vj_mesh_plan(vj_mesh *m, const vj_mesh_spec *spec, int ranks, int rank) VJ_MUST_CHECK;
// The same over a world; all its ranks call it.
vj_status vj_mesh_open(vj_mesh *m, const vj_mesh_spec *spec, vj_comm *world) VJ_MUST_CHECK;
void vj_mesh_close(vj_mesh *m);

// NULL: one rank, which has everything.
bool vj_mesh_in_parts(const vj_mesh *m);       // weights are
bool vj_mesh_shares(const vj_mesh *m);         // each rank updates a part of its own
// Elements [begin, end) of a unit whose weights this rank holds, and which it updates where vj_mesh_shares.
void vj_mesh_held(const vj_mesh *m, const vj_layout *l, int unit, int64_t *begin, int64_t *end);
void vj_mesh_owned(const vj_mesh *m, const vj_layout *l, int unit, int64_t *begin, int64_t *end);
// keep >= 2: what this rank keeps of a gathered unit.
void vj_mesh_kept(const vj_mesh *m, const vj_layout *l, int unit, int64_t *begin, int64_t *end);

#endif
