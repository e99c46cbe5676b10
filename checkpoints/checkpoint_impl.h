// Inside of checkpoints: the manifest as read, and saving as several writers.
#ifndef VJ_CHECKPOINTS_CHECKPOINT_IMPL_H
#define VJ_CHECKPOINTS_CHECKPOINT_IMPL_H

#include "checkpoints/checkpoint.h"
#include "runtime/base/h5.h"

enum { VJ_CKPT_BLOCK = 8 << 20, VJ_CKPT_PIECE = 1 << 20, VJ_CKPT_FORMAT = 1, VJ_CKPT_NETWORKS = 3, VJ_CKPT_MOST_SHARDS = 65536 };

// One flat interval of one unit in one shard file. Its checksum is the XXH3 of the XXH3s of its blocks of 8 MiB, so
// that it can be made and checked with a bounded buffer. An interval of more than a piece (1 MiB) has the XXH3 of every piece too: who
// needs a part of it reads and checks only the pieces that hold it.
typedef struct vj_interval {
    char network[24];
    vj_state_kind kind;
    int unit;
    int64_t begin, end;        // elements
    int64_t offset;            // bytes from the file's start
    uint64_t checksum;
    int64_t first_piece;       // in the shard's list; -1: none (small, or of a program before pieces)
} vj_interval;

typedef struct vj_shard_file {
    char name[64];
    int64_t bytes;
    unsigned char digest[32];  // of the bytes that are no payload
    vj_dtype dtype;
    vj_interval *intervals;
    int64_t n;
    uint64_t *pieces;          // checksums of the pieces of large intervals
    int64_t n_pieces;
} vj_shard_file;

struct vj_checkpoint {
    char path[512];
    vj_run_state state;
    char *config_yaml, *quarantine;
    char written[32];
    vj_layout *layouts[2];     // encoder (and target encoder), predictor
    vj_shard_file *shards;
    int64_t n_shards;
};

extern const char *const vj_state_kind_names[VJ_STATE_KINDS];
extern const char *const vj_ckpt_networks[VJ_CKPT_NETWORKS];   // encoder, predictor, target_encoder

// manifest.c
int64_t vj_pieces_of(const vj_shard_file *shard, const vj_interval *v);   // 0: too small to have any
void vj_manifest_text(const vj_checkpoint *c, vj_str *out);
vj_status vj_manifest_read(vj_checkpoint **out, const char *dir) VJ_MUST_CHECK;
// Streaming checksum of an interval.
typedef struct vj_block_hash { uint64_t hashes[1024]; int n; } vj_block_hash;
void vj_block_hash_add(vj_block_hash *h, const void *block, size_t bytes);
uint64_t vj_block_hash_end(vj_block_hash *h);
// SHA-256 of the shard file at `path` without its intervals' payload: what the manifest keeps of it.
vj_status vj_shard_digest(const vj_shard_file *shard, const char *path, unsigned char out[32]) VJ_MUST_CHECK;

// load.c
// All bytes of all shards against their checksums.
vj_status vj_checkpoint_check(const vj_checkpoint *c) VJ_MUST_CHECK;
// Elements [first, first + count) of a unit, from any shards, in the type of the checkpoint; not checked.
vj_status vj_checkpoint_read_elements(const vj_checkpoint *c, const char *network, vj_state_kind kind, int unit, int64_t first,
                                      int64_t count, void *out) VJ_MUST_CHECK;

// save.c: what vj_checkpoint_save does with one writer, for any number of them in one process. parts[r] is what writer
// r holds: the same networks and kinds in the same order, other intervals.
vj_status vj_checkpoint_save_as(const char *run_dir, const vj_state_part *const *parts, int writers, int n_parts,
                                const vj_run_state *state, vj_stream *st, int64_t keep,
                                int64_t keep_every) VJ_MUST_CHECK;

#endif
