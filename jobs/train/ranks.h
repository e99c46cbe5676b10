// What the ranks of a run do together besides the step: who leads, and that all stop alike.
//
// The lead (rank 0) alone writes: run directory, logs, metrics, checkpoints; and looks at held-out clips. The others compute. What
// fails on one rank is made known to all at the next agreement, and one message is printed, by the rank that knows it. A rank
// that fails where no agreement is due ends all the others (vj_ranks_leave).
//
// Easy to get wrong: between two agreements every rank must ask the communicator for the same things. What only the lead does
// may fail only there; its failure is carried to the next agreement.
#ifndef VJ_JOBS_TRAIN_RANKS_H
#define VJ_JOBS_TRAIN_RANKS_H

#include "parallel/comm.h"

typedef struct vj_ranks {
    vj_comm *world;            // never NULL once opened
    bool lead;
    bool agreed;               // the failure that is being returned is known to all ranks
} vj_ranks;

// `status`: how reading the configuration went on this rank; `request` is used where it went well.
vj_status vj_ranks_open(vj_ranks *r, vj_status status, const vj_world_request *request) VJ_MUST_CHECK;
void vj_ranks_close(vj_ranks *r);
// VJ_OK when every rank's `status` is; else the status of the lowest rank that failed, on all of them. The message is that rank's,
// and stays only on it. `sums` (n, may be NULL): replaced by the sums over ranks.
vj_status vj_ranks_agree(vj_ranks *r, vj_status status, double *sums, int n) VJ_MUST_CHECK;
// Refuses programs or configurations that differ between ranks. `text`: the resolved configuration.
vj_status vj_ranks_compare(vj_ranks *r, const char *text) VJ_MUST_CHECK;
// Text of the lead, on all ranks. `size` bytes.
vj_status vj_ranks_tell(vj_ranks *r, char *text, size_t size) VJ_MUST_CHECK;
// `threads` of this rank when the configuration leaves it open: the CPUs it may use, shared with the ranks that may use the same.
vj_status vj_ranks_threads(vj_ranks *r, int64_t *threads) VJ_MUST_CHECK;
// Gives every rank's text to `take`, in the order of ranks, the own one left out. NULL: none.
typedef vj_status (*vj_ranks_take)(void *context, const char *text);
vj_status vj_ranks_exchange(vj_ranks *r, const char *text, vj_ranks_take take, void *context) VJ_MUST_CHECK;
// This rank goes with a failure: prints its message, where it has one, and ends all ranks if they do not know of it. Returns where they
// know, or where it is alone (and has printed nothing).
void vj_ranks_leave(vj_ranks *r, vj_status status);

#endif
