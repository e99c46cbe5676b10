// One training step on tensors from files, compared with another program's (peers/torch_vjepa2.py export writes such files).
//
//   model.safetensors    encoder.*, predictor.*, target_encoder.* under the published names; metadata: heads, pred_heads, lr,
//                        weight_decay, momentum
//   batch.safetensors    clips (B, 3, F, H, W), ctx_j (B, K_j), tgt_j (B, P_j)
//   expect.safetensors   loss, pred_j, target_j, grad.NETWORK.NAME, after.NETWORK.NAME
#ifndef VJ_JOBS_PARITY_PARITY_H
#define VJ_JOBS_PARITY_PARITY_H

#include "checkpoints/safetensors.h"
#include "model/vjepa.h"

enum { VJ_KINDS_OF_PARITY = 6 };

typedef struct vj_parity {
    vj_safetensors *model, *batch, *expect;   // expect NULL: nothing to compare with
    vj_model_config config;
    int64_t mask_tokens;
    double lr, weight_decay, momentum;
    int64_t threads;
    vj_device *device;
    vj_vjepa *vjepa;
    vj_slot slot;
    void *clips;                              // the batch in memory of its own: files are mapped unaligned
    int32_t *ids[2 * VJ_MAX_MASKS];
    int64_t ctx_rows, rows, C;                // context and predicted rows of all pairs
    double *pred, *target;                    // (rows, C)
    vj_step_result result;
    int64_t flips, elements;                  // signs of (prediction - target) that differ from the expected ones
} vj_parity;

// setup.c: sizes from tensor shapes, every tensor of the files accounted for, weights on the device.
typedef struct vj_parity_keys { double heads, pred_heads, lr, weight_decay, momentum, threads; } vj_parity_keys;   // NAN: from the metadata
vj_status vj_parity_open(vj_parity *p, const char *model, const char *batch, const char *expect, const char *device, const vj_parity_keys *keys)
    VJ_MUST_CHECK;
vj_status vj_parity_weights(vj_parity *p) VJ_MUST_CHECK;   // (again) the file's weights, zero moments
void vj_parity_close(vj_parity *p);
// compare.c: runs the step; then compares, kind by kind. `over` is the worst error over its tolerance (above 1: disagreement).
typedef struct vj_parity_row {
    const char *kind;                         // "loss", "gradients", ...
    double worst, over, tolerance;            // relative error of the worst tensor
    char tensor[160];
    int64_t tensors;
} vj_parity_row;
vj_status vj_parity_step(vj_parity *p) VJ_MUST_CHECK;
vj_status vj_parity_compare(vj_parity *p, vj_parity_row rows[VJ_KINDS_OF_PARITY], double *worst) VJ_MUST_CHECK;
vj_status vj_parity_write(vj_parity *p, const char *path) VJ_MUST_CHECK;

#endif
