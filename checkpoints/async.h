// Saving beside the training: a save begins with a copy of the state in host memory, one thread of every rank writes its shard from
// that copy, and the checkpoint is committed when all shards are on the disk. What is written is what vj_checkpoint_save[_ranks]
// writes; whatever kills the program, an older checkpoint or this one is there and whole.
//
//   start      all ranks, at a step border: directory, copy, threads       the training stands
//   (writing)  every rank's thread: its shard, synced                      the training goes on
//   advance    all ranks, at the first border where all are ready: what the manifest says of every shard goes to all
//   (commit)   the first rank's thread: manifest, rename, LATEST, old ones  the training goes on
//   advance    all ranks, at the first border where it is done: saved
//
// Threads here have a low priority, and never speak to other ranks. Whether all are ready is told by an agreement that step borders have anyway: every rank
// gives vj_async_save_ready, and all call advance when all are, or when one failed. A save alone is one phase.
#ifndef VJ_CHECKPOINTS_ASYNC_H
#define VJ_CHECKPOINTS_ASYNC_H

#include "checkpoints/checkpoint.h"

typedef struct vj_async_save vj_async_save;

// `comm`: the ranks that save together, not owned; NULL: this rank saves alone.
vj_status vj_async_save_create(vj_async_save **out, vj_comm *comm) VJ_MUST_CHECK;
// A save that still runs is given up: nothing of it is committed, its temporary directory stays for the next start to remove.
void vj_async_save_destroy(vj_async_save **a);

// Takes the memory for copies of such parts now, beside whatever follows, so that the first save need not: a hint, without an answer.
void vj_async_save_prepare(vj_async_save *a, const vj_state_part *parts, int n_parts);

typedef enum vj_async_outcome {
    VJ_ASYNC_STARTED,
    VJ_ASYNC_THERE,      // this very checkpoint was there already, and is whole
    VJ_ASYNC_NO_ROOM     // some rank has no memory for the copy: nothing was begun, save without one
} vj_async_outcome;
// All ranks; none runs. The copy has the size of the parts and is kept for the next save. `parts` and `state` are not needed any
// more when it returns. Synchronises the stream. The status is the same on all ranks; the message is where it failed.
vj_status vj_async_save_start(vj_async_save *a, const char *run_dir, const vj_state_part *parts, int n_parts, const vj_run_state *state,
                              vj_stream *st, int64_t keep, int64_t keep_every, vj_async_outcome *how) VJ_MUST_CHECK;

int64_t vj_async_save_step(const vj_async_save *a);         // of the save that runs; -1: none does
int64_t vj_async_save_bytes(const vj_async_save *a);        // host memory of the copy, 0 before the first save
// Whether this rank's thread has done what the phase asks of it; *failed: and could not. False when no save runs.
bool vj_async_save_ready(const vj_async_save *a, bool *failed);
// All ranks: ends the phase, waiting for threads that still work. `failed`: on some rank; the others stop writing. *saved: the
// checkpoint is committed. After a failure (the same status on all ranks) no save runs and nothing of it stays.
vj_status vj_async_save_advance(vj_async_save *a, bool failed, bool *saved) VJ_MUST_CHECK;
// All ranks: to the end of the save that runs, if one does.
vj_status vj_async_save_finish(vj_async_save *a, bool *saved) VJ_MUST_CHECK;

#endif
