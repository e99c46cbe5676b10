// What the loader hands to the model: host memory, owned by the loader until the batch is released. data/ fills it,
// model/ reads it; neither knows the other.
//
// A slot is `mask.group` consecutive samples of a step (contracts section 1). Inside a slot the samples are grouped by
// frames per clip; each group has its own masks, truncated alone; every (group, mask) pair weighs the same in the loss.
#ifndef VJ_RUNTIME_TENSOR_CLIP_BATCH_H
#define VJ_RUNTIME_TENSOR_CLIP_BATCH_H

#include "runtime/tensor/dtype.h"

enum { VJ_MAX_MASKS = 4, VJ_MAX_GROUPS = 8 };

typedef struct vj_mask_pair {
    int64_t K, P;          // context and target tokens per sample; K, P >= 1
    const int32_t *ctx;    // (B, K) token ids, id = (t*gh + y)*gw + x
    const int32_t *tgt;    // (B, P)
} vj_mask_pair;

typedef struct vj_clip_group {
    int fpc_index;              // position in the configured list of frames per clip: chooses the mask token
    int64_t B;                  // samples
    int64_t F, height, width;   // frames and pixels
    const void *clips;          // (B, 3, F, height, width) normalised
    vj_dtype dtype;             // VJ_F32, or VJ_F64 (parity)
    const uint64_t *g;          // (B) global sample indices, NULL outside training
    int n_pairs;
    vj_mask_pair pairs[VJ_MAX_MASKS];
} vj_clip_group;

typedef struct vj_slot {
    int64_t index;              // 0 .. V-1 inside its step
    int n_groups;               // groups present, at least 1
    vj_clip_group groups[VJ_MAX_GROUPS];
} vj_slot;

#endif
