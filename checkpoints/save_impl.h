// The parts of saving that one process and many ranks share (save.c, save_ranks.c).
#ifndef VJ_CHECKPOINTS_SAVE_IMPL_H
#define VJ_CHECKPOINTS_SAVE_IMPL_H

#include <stdatomic.h>

#include "checkpoints/checkpoint_impl.h"

typedef struct vj_saver {
    const vj_state_part *const *parts;   // of each writer
    int n_parts;
    vj_stream *st;                       // NULL: the parts lie in host memory
    char ckpt[560], final[600], temporary[640];
    vj_checkpoint manifest;              // its shards: one per writer
    int64_t most_intervals;              // that a shard has room for
    void *block;                         // staging, VJ_CKPT_BLOCK bytes
    atomic_bool *cancel;                 // NULL, or: another rank failed, writing stops without a message
} vj_saver;

// In this order. begin: paths, what dead processes left, and whether this very checkpoint is there already (*done).
vj_status vj_saver_begin(vj_saver *s, const char *run_dir, bool *done) VJ_MUST_CHECK;
int64_t vj_saver_payload(const vj_saver *s, int64_t writer);   // bytes
vj_status vj_saver_check_space(const vj_saver *s, int64_t payload) VJ_MUST_CHECK;
vj_status vj_saver_make_room(vj_saver *s) VJ_MUST_CHECK;        // memory for the manifest
vj_status vj_saver_open(vj_saver *s) VJ_MUST_CHECK;             // the temporary directory
vj_status vj_saver_write_shard(vj_saver *s, int64_t writer) VJ_MUST_CHECK;
vj_status vj_saver_commit(vj_saver *s) VJ_MUST_CHECK;           // manifest, rename
void vj_saver_free(vj_saver *s);
void vj_saver_undo(const vj_saver *s);                          // after a failure, whose message stays: removes the temporary directory
vj_status vj_saver_end(const vj_saver *s, const char *run_dir, int64_t keep, int64_t keep_every) VJ_MUST_CHECK;   // LATEST, old ones

// save_ranks.c, by all ranks. begin_together: the first rank's begin, and its temporary directory's name for all.
vj_status vj_saver_begin_together(vj_saver *s, vj_comm *comm, const char *run_dir, bool *done) VJ_MUST_CHECK;
vj_status vj_saver_open_together(vj_saver *s, vj_comm *comm) VJ_MUST_CHECK;   // space for all, memory, the temporary directory
// What the manifest will tell of `writer`'s shard, from it to all.
vj_status vj_saver_share_shard(vj_saver *s, vj_comm *comm, int writer) VJ_MUST_CHECK;

#endif
