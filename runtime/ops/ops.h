// Every operation the models are made of. One header, because it is the whole instruction set: what is not here does
// not touch device memory (besides the copies of runtime/tensor/device.h).
//
// Conventions
//   Rows       Activations are ragged batches: (R, C) rows, all sequences one behind the other. Only attention knows
//              where a sequence begins: `seg` (S+1) int32 on the device holds the first row of each, seg[S] = R.
//              So several clips, several mask sets and several clip lengths go through a layer in one call.
//   Gradients  Gradients of parameters accumulate (+=), gradients of activations overwrite (=).
//   Types      "real" is the device's type (vj_device_real). Index tensors are VJ_I32 on the device.
//   Order      Every sum has an order fixed by shapes alone: equal bits for any number of threads.
//   Errors     Wrong shapes or types are bugs of ours: VJ_ERR_BUG with the op and tensor named. A size of zero is legal
//              and does nothing (outputs of zero-length sums are zero or unchanged).
//   Aliasing   Outputs never overlap inputs unless the op says so.
#ifndef VJ_RUNTIME_OPS_OPS_H
#define VJ_RUNTIME_OPS_OPS_H

#include "runtime/tensor/device.h"

// ---- linear layers: weights are (O, I) as in published files ------------------------------------------------------
typedef enum vj_epilogue {
    VJ_EPI_NONE,    // y = x w' + b
    VJ_EPI_GELU,    // y = gelu(pre), pre = x w' + b; pre is stored in `aux` when that is not NULL
    VJ_EPI_ADD      // y = aux + x w' + b (residual); aux may be y itself
} vj_epilogue;
// y (R, O), x (R, I), w (O, I), bias (O) or NULL, aux (R, O) or NULL.
vj_status vj_linear_forward(vj_stream *st, const vj_tensor *y, const vj_tensor *x, const vj_tensor *w,
                            const vj_tensor *bias, vj_epilogue epilogue, const vj_tensor *aux) VJ_MUST_CHECK;
// dx (R, I) = dy (R, O) w (O, I); with `gelu_pre` (R, I) not NULL: dx = (dy w) * gelu'(gelu_pre).
vj_status vj_linear_backward_input(vj_stream *st, const vj_tensor *dx, const vj_tensor *dy, const vj_tensor *w,
                                   const vj_tensor *gelu_pre) VJ_MUST_CHECK;
// dw (O, I) += dy' x;  dbias (O) += column sums of dy (NULL: none).
vj_status vj_linear_backward_weight(vj_stream *st, const vj_tensor *dw, const vj_tensor *dbias, const vj_tensor *dy,
                                    const vj_tensor *x) VJ_MUST_CHECK;

// ---- layer norm over the last axis, biased variance ---------------------------------------------------------------
// y (R, C) = (x - mean) * rstd * gamma + beta; gamma, beta (C), both NULL: no affine. mean, rstd (R) or both NULL.
vj_status vj_layernorm_forward(vj_stream *st, const vj_tensor *y, const vj_tensor *mean, const vj_tensor *rstd,
                               const vj_tensor *x, const vj_tensor *gamma, const vj_tensor *beta,
                               double eps) VJ_MUST_CHECK;
// dx (R, C) = residual + gradient through the norm (residual (R, C) or NULL; may be dx itself); dgamma, dbeta (C) +=.
vj_status vj_layernorm_backward(vj_stream *st, const vj_tensor *dx, const vj_tensor *dgamma, const vj_tensor *dbeta,
                                const vj_tensor *dy, const vj_tensor *x, const vj_tensor *gamma, const vj_tensor *mean,
                                const vj_tensor *rstd, const vj_tensor *residual) VJ_MUST_CHECK;

// ---- exact (erf) GELU ---------------------------------------------------------------------------------------------
vj_status vj_gelu_forward(vj_stream *st, const vj_tensor *y, const vj_tensor *x) VJ_MUST_CHECK;   // y may be x
vj_status vj_gelu_backward(vj_stream *st, const vj_tensor *dx, const vj_tensor *dy, const vj_tensor *x) VJ_MUST_CHECK;

// ---- 3-D rotary position embedding (spec/pretrain.md 1.6) ---------------------------------------------------------
typedef enum vj_rope_layout { VJ_ROPE_TILED, VJ_ROPE_INTERLEAVED } vj_rope_layout;
typedef struct vj_rope_spec {
    int64_t heads, head_dim;      // H, D
    int64_t axis;                 // a = 2*floor(floor(D/3)/2) channels per axis; 3a..D stay unrotated; 0: no rotation
    vj_rope_layout layout;
} vj_rope_spec;
// Rotates q and k inside qkv (R, 3*H*D), in place; v is untouched. pos (R, 3) int32: t, y, x of each row.
// table (2, M, a/2) real: cos then sin of position * omega_j, made on the host at set-up; every position < M.
vj_status vj_rope_forward(vj_stream *st, const vj_tensor *qkv, const vj_tensor *pos, const vj_tensor *table,
                          const vj_rope_spec *spec) VJ_MUST_CHECK;
// The transpose of that map on dqkv, in place (tiled: not the inverse rotation).
vj_status vj_rope_backward(vj_stream *st, const vj_tensor *dqkv, const vj_tensor *pos, const vj_tensor *table,
                           const vj_rope_spec *spec) VJ_MUST_CHECK;

// ---- attention: softmax(q k' / sqrt(D)) v inside each sequence, no mask; nothing of rows x rows is stored ---------
typedef struct vj_attention_spec {
    int64_t heads, head_dim;      // H, D
    int64_t segments;             // S
    int64_t longest;              // rows of the longest sequence (host knows it; kernels size their tiles by it)
    int64_t pairs;                // sum over sequences of queries times rows (host knows it; for counting FLOP)
    const vj_tensor *from;        // (S) int32, 0 .. rows of its sequence: rows before it ask nothing, they are keys and values
                                  // alone; their o and lse are 0, their do counts for nothing. NULL: every row asks
} vj_attention_spec;
// o (R, H*D), lse (R, H): log of the softmax's denominator, saved for backward; qkv (R, 3*H*D); seg (S+1).
vj_status vj_attention_forward(vj_stream *st, const vj_tensor *o, const vj_tensor *lse, const vj_tensor *qkv,
                               const vj_tensor *seg, const vj_attention_spec *spec) VJ_MUST_CHECK;
vj_status vj_attention_backward(vj_stream *st, const vj_tensor *dqkv, const vj_tensor *do_, const vj_tensor *o,
                                const vj_tensor *lse, const vj_tensor *qkv, const vj_tensor *seg,
                                const vj_attention_spec *spec) VJ_MUST_CHECK;

// ---- patches ------------------------------------------------------------------------------------------------------
typedef struct vj_patch_spec {
    int64_t B, F, height, width;  // clips (B, 3, F, height, width)
    int64_t tubelet, patch;       // t, p
} vj_patch_spec;
// bricks (R, 3*t*p*p), flattened (channel, dt, dy, dx); rows (R, 2) int32: clip, token id (raster over (gt, gh, gw)).
vj_status vj_patch_gather(vj_stream *st, const vj_tensor *bricks, const vj_tensor *clips, const vj_tensor *rows,
                          const vj_patch_spec *spec) VJ_MUST_CHECK;

// ---- rows ---------------------------------------------------------------------------------------------------------
// y (R, C): y[r] = x[index[r]] when index[r] >= 0, else table[-1 - index[r]]. index (R) int32; table (M, C) or NULL.
vj_status vj_rows_gather(vj_stream *st, const vj_tensor *y, const vj_tensor *x, const vj_tensor *table,
                         const vj_tensor *index) VJ_MUST_CHECK;
// sum (C) += sum over n of x[index[n]] (index (n) int32, all >= 0), in fixed row blocks: mask-token gradients.
vj_status vj_rows_sum(vj_stream *st, const vj_tensor *sum, const vj_tensor *x, const vj_tensor *index) VJ_MUST_CHECK;
// dx (R, C) = 0, then dx[index[n]] = dy[n]: the transpose of a gather whose indices are distinct.
vj_status vj_rows_scatter(vj_stream *st, const vj_tensor *dx, const vj_tensor *dy,
                          const vj_tensor *index) VJ_MUST_CHECK;

// ---- loss ---------------------------------------------------------------------------------------------------------
// Per row r: sum over channels of |pred - target|^e / e, times weight[r]; loss (1) float64 = sum over rows.
// dpred (R, C) = d loss / d pred (0 where equal, e = 1). exponent 1 or 2. weight (R) real. row_loss (R) real or NULL
// receives the unweighted channel sums.
vj_status vj_loss(vj_stream *st, const vj_tensor *loss, const vj_tensor *dpred, const vj_tensor *row_loss,
                  const vj_tensor *pred, const vj_tensor *target, const vj_tensor *weight, int exponent) VJ_MUST_CHECK;

// ---- flat spans: optimiser, target encoder, tree sums -------------------------------------------------------------
vj_status vj_add_inplace(vj_stream *st, const vj_tensor *y, const vj_tensor *x) VJ_MUST_CHECK;   // y += x
typedef struct vj_adamw_spec {
    double lr, weight_decay, beta1, beta2, eps;
    double grad_scale;        // multiplies g first (1/V)
    int64_t step;             // t >= 1 of the bias corrections
} vj_adamw_spec;
// p, m, v, g (n) flat, updated in place as spec/pretrain.md 6.1; g is read only.
vj_status vj_adamw(vj_stream *st, const vj_tensor *p, const vj_tensor *m, const vj_tensor *v, const vj_tensor *g,
                   const vj_adamw_spec *spec) VJ_MUST_CHECK;
vj_status vj_ema(vj_stream *st, const vj_tensor *target, const vj_tensor *online, double momentum) VJ_MUST_CHECK;
// out (n / chunk) float64: sums of squares of consecutive chunks of x (n), each in a fixed inner order. A non-finite
// element makes its chunk's sum non-finite: the finite check of a step.
vj_status vj_square_sums(vj_stream *st, const vj_tensor *out, const vj_tensor *x, int64_t chunk) VJ_MUST_CHECK;

#endif
