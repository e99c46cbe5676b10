// A stack of pre-norm transformer blocks with rotary attention: the body of encoder and predictor.
//
//   x1 = x + Attn(LN1(x)),  y = x1 + MLP(LN2(x1))           [spec/pretrain.md 1.4 to 1.7]
//
// In the last block only some rows may be used (vj_sequences): all give keys and values, but only those ask, are projected
// and go through the MLP.
//
// Saved per block and row: x, qkv (rotated), o, x1, the pre-activation of the MLP, and the statistics of both norms and
// of the softmax: 10 C floats and a few. LN and GELU outputs are made again in backward: they cost little and would be
// 6 C more.
#ifndef VJ_MODEL_BLOCKS_H
#define VJ_MODEL_BLOCKS_H

#include "model/ctx.h"
#include "model/layouts.h"
#include "parallel/store.h"

typedef struct vj_block_saved {
    vj_tensor x;                      // (R, C) block input
    vj_tensor mean1, rstd1;           // (R)
    vj_tensor qkv;                    // (R, 3C), q and k rotated
    vj_tensor o, lse;                 // (R, C), (R, H)
    vj_tensor x1;                     // (U, C), U = R, or in the last block the rows that are used
    vj_tensor mean2, rstd2;           // (U)
    vj_tensor pre;                    // (U, hidden)
} vj_block_saved;

typedef struct vj_blocks {
    vj_store *store;
    int first;                        // index of block 0's first parameter
    int64_t depth, C, heads, hidden;
    vj_rope_spec rope;
    vj_tensor table;                  // (2, M, axis / 2): cos and sin of position * omega
    int recompute;                    // vj_recompute
    vj_block_saved *saved;            // depth
} vj_blocks;

vj_status vj_blocks_create(vj_blocks *b, vj_store *store, int first, int64_t depth, int64_t C, int64_t heads,
                           int64_t hidden, int rope_layout, int recompute) VJ_MUST_CHECK;
void vj_blocks_destroy(vj_blocks *b);
size_t vj_rope_table_bytes(const vj_blocks *b, int64_t positions, vj_dtype real);
// Fills the table at `address` (device memory of that size) for positions 0 .. positions - 1.
vj_status vj_rope_table_fill(vj_blocks *b, void *address, int64_t positions, vj_stream *st) VJ_MUST_CHECK;

// *x (R, C) goes in and the output of the last block comes out of it: (used, C) where only some rows are used. Other memory
// when training (the input is saved) or when only some are used, the same memory otherwise.
vj_status vj_blocks_forward(vj_ctx *ctx, vj_blocks *b, vj_tensor *x, const vj_sequences *s) VJ_MUST_CHECK;
// Blocks first .. end - 1 alone, nothing kept: *x (R, C) is updated where it is.
vj_status vj_blocks_run(vj_ctx *ctx, vj_blocks *b, vj_tensor *x, const vj_sequences *s, int64_t first,
                        int64_t end) VJ_MUST_CHECK;
// g (R, C): gradient of the output in (where only some rows are used, its first `used` rows), of the input out.
vj_status vj_blocks_backward(vj_ctx *ctx, vj_blocks *b, const vj_tensor *g, const vj_sequences *s) VJ_MUST_CHECK;

#endif
