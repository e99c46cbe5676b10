// What every layer gets. In a measuring pass arenas only count and nothing is launched, so the same code sizes itself.
#ifndef VJ_MODEL_CTX_H
#define VJ_MODEL_CTX_H

#include "runtime/ops/ops.h"

typedef struct vj_ctx {
    vj_stream *st;
    vj_dtype real;
    vj_arena saved;      // activations that backward reads
    vj_arena scratch;    // gone at the end of each layer function
    bool measuring;
    bool training;       // keep what backward needs, and only then
} vj_ctx;

// An op or copy: launched unless this pass only measures.
#define VJ_RUN(ctx, call)                                                                                              \
    do {                                                                                                               \
        if (!(ctx)->measuring) VJ_TRY(call);                                                                           \
    } while (0)
#define VJ_SCRATCH(ctx, t, n0, n1) VJ_TRY(vj_tensor_alloc_2d(&(ctx)->scratch, t, (ctx)->real, n0, n1))
#define VJ_SAVED(ctx, t, n0, n1) VJ_TRY(vj_tensor_alloc_2d(&(ctx)->saved, t, (ctx)->real, n0, n1))

// Sequences of a ragged batch: rows one behind the other, and where each token sits in space and time.
typedef struct vj_sequences {
    int64_t rows, segments, longest, pairs;   // pairs: sum of squared lengths
    vj_tensor seg;                            // (segments + 1) int32
    vj_tensor pos;                            // (rows, 3) int32: t, y, x
    // What is read of the last block, where that is not every row: the last rows of each sequence.
    int64_t used, used_pairs;                 // rows (0: all); sum over sequences of used rows times rows
    vj_tensor used_rows;                      // (used) int32
    vj_tensor used_from;                      // (segments) int32: the first, counted from the sequence's begin
} vj_sequences;

#endif
