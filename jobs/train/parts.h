// A model's state as checkpoints see it: which units of which networks, and what of them this rank has.
#ifndef VJ_JOBS_TRAIN_PARTS_H
#define VJ_JOBS_TRAIN_PARTS_H

#include "checkpoints/checkpoint.h"
#include "model/vjepa.h"

typedef struct vj_parts {
    vj_state_part parts[8];
    int n;
    vj_tensor *shards;
    int64_t *begin;
} vj_parts;

// `saving`: what this rank is to write; else what it is to read. Views into the model: nothing is copied.
vj_status vj_parts_make(vj_parts *l, const vj_vjepa *model, bool saving) VJ_MUST_CHECK;
void vj_parts_free(vj_parts *l);
bool vj_parts_have_moments(const vj_checkpoint *from);   // false: imported weights without an optimiser's state

#endif
