// Parameters, units and shards: pure arithmetic, the same for training, checkpoints and resharding (contracts 3).
//
// A unit is a flat buffer, gathered and released as a whole: one for the patch embedding, one per encoder block, one
// for the final norm; predictor: one for embed + mask tokens + norm + projection, one per four blocks. Each parameter
// starts on a multiple of 64 elements; a unit's length is a multiple of quantum * 64, whatever the number of ranks.
// Rank r of G owns chunks floor(r*Q/G) .. floor((r+1)*Q/G) of every unit (a chunk is length / Q elements).
#ifndef VJ_PARALLEL_LAYOUT_H
#define VJ_PARALLEL_LAYOUT_H

#include "runtime/tensor/tensor.h"

typedef enum vj_init { VJ_INIT_ZERO, VJ_INIT_ONE, VJ_INIT_NORMAL } vj_init;   // NORMAL: truncated at +-2, inverse CDF

typedef struct vj_param {
    char name[80];          // official name without "module.backbone.": "blocks.0.attn.qkv.weight"
    int unit;
    int64_t offset;         // elements from the unit's start, a multiple of 64
    int64_t count;
    int rank;
    int64_t shape[VJ_MAX_RANK];   // as published: conv weights are 5-D, mask tokens (1, 1, q)
    bool decay;             // weight decay applies: not 1-D and no "bias" in the name
    vj_init init;
    double init_std, init_divisor;   // value = std * normal / divisor
} vj_param;

typedef struct vj_unit {
    char name[40];          // "blocks.3", "patch_embed", "predictor_blocks.0-3"
    int64_t used;           // elements up to the end of the last parameter
    int64_t length;         // padded
    int first_param, n_params;
} vj_unit;

typedef struct vj_layout {
    char network[24];       // "encoder", "predictor" ("target_encoder" shares the encoder's layout)
    int64_t quantum;        // Q
    int n_params, n_units;
    vj_param *params;       // unit by unit, inside a unit as published (spec/pretrain.md 9.1)
    vj_unit *units;
} vj_layout;

// Building: begin, then for each unit vj_layout_unit followed by its parameters.
vj_status vj_layout_create(vj_layout **out, const char *network, int64_t quantum) VJ_MUST_CHECK;
vj_status vj_layout_unit(vj_layout *l, const char *name) VJ_MUST_CHECK;
vj_status vj_layout_param(vj_layout *l, const vj_param *p) VJ_MUST_CHECK;   // name, shape, init; the rest is computed
void vj_layout_destroy(vj_layout **l);

int vj_layout_find(const vj_layout *l, const char *name);   // parameter index or -1
int64_t vj_layout_count(const vj_layout *l);                // parameters without padding
int64_t vj_layout_length(const vj_layout *l);               // elements of all units with padding
// The flat interval [begin, end) of unit `u` that rank r of G owns.
void vj_layout_owned(const vj_layout *l, int u, int r, int G, int64_t *begin, int64_t *end);

#endif
