// Inside of checkpoints: the manifest as read.
#ifndef VJ_CHECKPOINTS_CHECKPOINT_IMPL_H
#define VJ_CHECKPOINTS_CHECKPOINT_IMPL_H

#include "checkpoints/checkpoint.h"
#include "runtime/base/h5.h"

enum { VJ_CKPT_BLOCK = 8 << 20, VJ_CKPT_FORMAT = 1 };

// One flat interval of one unit in one shard file. Its checksum is the XXH3 of the XXH3s of its blocks of 8 MiB, so that it
// can be made and checked with a bounded buffer.
typedef struct vj_interval {
    char network[24];
    vj_state_kind kind;
    int unit;
    int64_t begin, end;        // elements
    int64_t offset;            // bytes from the file's start
    uint64_t checksum;
} vj_interval;

typedef struct vj_shard_file {
    char name[64];
    int64_t bytes;
    unsigned char digest[32];  // of the bytes that are no payload
    vj_dtype dtype;
    vj_interval *intervals;
    int64_t n;
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

// manifest.c
void vj_manifest_text(const vj_checkpoint *c, vj_str *out);
vj_status vj_manifest_read(vj_checkpoint **out, const char *dir) VJ_MUST_CHECK;
// Streaming checksum of an interval.
typedef struct vj_block_hash { uint64_t hashes[1024]; uint64_t total; int n; } vj_block_hash;
void vj_block_hash_add(vj_block_hash *h, const void *block, size_t bytes);
uint64_t vj_block_hash_end(vj_block_hash *h);

// load.c: opens a shard (digest checked) and hands each block of an interval to `fn`.
typedef vj_status (*vj_block_fn)(void *context, const void *data, int64_t first, int64_t count);
vj_status vj_shard_open_checked(const vj_checkpoint *c, const vj_shard_file *f, int *fd) VJ_MUST_CHECK;
vj_status vj_interval_read(const vj_checkpoint *c, const vj_shard_file *f, int fd, const vj_interval *v, vj_block_fn fn, void *context) VJ_MUST_CHECK;
const vj_layout *vj_checkpoint_layout(const vj_checkpoint *c, const char *network);

#endif
