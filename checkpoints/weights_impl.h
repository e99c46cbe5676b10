// How a format offers its tensors to weights.c: numbered tensors that can be read piece by piece, and for every
// official name the pieces it is made of.
#ifndef VJ_CHECKPOINTS_WEIGHTS_IMPL_H
#define VJ_CHECKPOINTS_WEIGHTS_IMPL_H

#include "checkpoints/weights.h"

// More tensors than any model has; lists of them are walked in quadratic time, which this bounds.
enum { VJ_WEIGHTS_MAX = 1 << 14 };

typedef struct vj_piece { int64_t tensor, first, count; } vj_piece;   // elements of one of the format's tensors

typedef struct vj_weight_entry {
    vj_weight w;
    int n_pieces;
    vj_piece pieces[3];
    int64_t moments[2];      // the format's tensors of exp_avg and exp_avg_sq; -1: none
} vj_weight_entry;

struct vj_weights {
    vj_weights_facts facts;
    vj_weight_entry *entries;
    int64_t n, capacity;
    void *file;              // the format's own
    vj_status (*read)(vj_weights *w, int64_t tensor, int64_t first, int64_t count, float *out);
    vj_status (*read_own)(vj_weights *w, const char *name, vj_state_kind kind, float *out,
                          int64_t count); // instead of pieces
    void (*close)(vj_weights *w);
};

// Adds an entry with its shape and no pieces; VJ_ERR_CONFIG when the name is there already.
vj_status vj_weights_add(vj_weights *w, const char *name, int rank, const int64_t *shape,
                         vj_weight_entry **out) VJ_MUST_CHECK;
// One piece that is a whole tensor of the format.
vj_status vj_weights_add_whole(vj_weights *w, const char *name, int rank, const int64_t *shape,
                               int64_t tensor) VJ_MUST_CHECK;

// The formats.
vj_status vj_weights_open_checkpoint(vj_weights *w, const char *ref) VJ_MUST_CHECK;
vj_status vj_weights_open_folder(vj_weights *w, const char *dir, bool strict) VJ_MUST_CHECK;
vj_status vj_weights_open_safetensors(vj_weights *w, const char *file, bool strict) VJ_MUST_CHECK;
vj_status vj_weights_open_pt(vj_weights *w, const char *file, bool strict) VJ_MUST_CHECK;

#endif
