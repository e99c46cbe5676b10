// Saving by many ranks: each writes the shard of what it owns, side by side; the first makes the directory, the manifest and the
// rename, as a single process does. A rank that fails makes all fail, and nothing stays.
//
// Easy to get wrong: the manifest is written only after every rank has synced its shard and said so.

#include <stdlib.h>
#include <string.h>

#include "checkpoints/save_impl.h"

// What the first rank decided, for all.
typedef struct decision { char temporary[640]; bool done; } decision;

vj_status vj_saver_begin_together(vj_saver *s, vj_comm *comm, const char *run_dir, bool *done)
{
    decision d = { .done = false };
    VJ_TRY(vj_comm_agree(comm, vj_comm_rank(comm) == 0 ? vj_saver_begin(s, run_dir, &d.done) : VJ_OK));
    vj_format(d.temporary, sizeof d.temporary, "%s", s->temporary);
    VJ_TRY(vj_comm_broadcast_now(comm, 0, &d, sizeof d));
    vj_format(s->temporary, sizeof s->temporary, "%s", d.temporary);
    *done = d.done;
    return VJ_OK;
}

vj_status vj_saver_open_together(vj_saver *s, vj_comm *comm)
{
    const int rank = vj_comm_rank(comm);
    double payload = (double)vj_saver_payload(s, rank);
    VJ_TRY(vj_comm_all_reduce_now(comm, &payload, 1, VJ_SUM));
    vj_status status = rank == 0 ? vj_saver_check_space(s, (int64_t)payload) : VJ_OK;
    if (status == VJ_OK) status = vj_saver_make_room(s);
    if (status == VJ_OK && rank == 0) status = vj_saver_open(s);
    return vj_comm_agree(comm, status);
}

vj_status vj_saver_share_shard(vj_saver *s, vj_comm *comm, int writer)
{
    vj_shard_file *shard = &s->manifest.shards[writer], copy = *shard;
    VJ_TRY(vj_comm_broadcast_now(comm, writer, &copy, sizeof copy));
    copy.intervals = shard->intervals;   // addresses are each rank's own
    copy.pieces = shard->pieces;
    *shard = copy;
    VJ_CHECK(shard->n >= 0 && shard->n <= s->most_intervals, VJ_ERR_BUG, "a shard of %lld intervals", (long long)shard->n);
    VJ_TRY(vj_comm_broadcast_now(comm, writer, shard->intervals, (size_t)shard->n * sizeof *shard->intervals));
    if (shard->n_pieces == 0) return VJ_OK;
    if (!shard->pieces) shard->pieces = calloc((size_t)shard->n_pieces, sizeof *shard->pieces);
    VJ_CHECK(shard->pieces != NULL, VJ_ERR_NOMEM, "no memory for a checkpoint");
    return vj_comm_broadcast_now(comm, writer, shard->pieces, (size_t)shard->n_pieces * sizeof *shard->pieces);
}

static vj_status write_together(vj_saver *s, vj_comm *comm)
{
    const int rank = vj_comm_rank(comm);
    VJ_TRY(vj_saver_open_together(s, comm));
    VJ_TRY(vj_comm_agree(comm, vj_saver_write_shard(s, rank)));
    for (int r = 0; r < vj_comm_size(comm); r++) VJ_TRY(vj_saver_share_shard(s, comm, r));
    return vj_comm_agree(comm, rank == 0 ? vj_saver_commit(s) : VJ_OK);
}

vj_status vj_checkpoint_save_ranks(vj_comm *comm, const char *run_dir, const vj_state_part *parts, int n_parts, const vj_run_state *state,
                                   vj_stream *st, int64_t keep, int64_t keep_every)
{
    const int ranks = vj_comm_size(comm), rank = vj_comm_rank(comm);
    if (ranks == 1) return vj_checkpoint_save(run_dir, parts, n_parts, state, st, keep, keep_every);
    const vj_state_part **all = calloc((size_t)ranks, sizeof *all);
    VJ_CHECK(all != NULL, VJ_ERR_NOMEM, "no memory for a checkpoint");
    for (int r = 0; r < ranks; r++) all[r] = parts;   // only the own one's intervals are looked at
    vj_saver s = { .parts = all, .n_parts = n_parts, .st = st };
    s.manifest.state = *state;
    s.manifest.n_shards = ranks;
    bool done = false;
    vj_status status = vj_saver_begin_together(&s, comm, run_dir, &done);
    if (status == VJ_OK && !done) {
        status = write_together(&s, comm);
        vj_saver_free(&s);
        if (status != VJ_OK && rank == 0) vj_saver_undo(&s);
    }
    if (status == VJ_OK) status = vj_comm_agree(comm, rank == 0 ? vj_saver_end(&s, run_dir, keep, keep_every) : VJ_OK);
    free(all);
    return status;
}
