// V-JEPA 2 as one object: encoder, predictor, EMA target encoder, optimiser state, and the training step
// (spec/pretrain.md 0). No I/O, no logging.
//
// A step is: vj_vjepa_step_begin, then vj_vjepa_slot for each slot this rank owns, in order, then vj_vjepa_update.
// Gradients of slots are summed in a binary tree over the slot index (contracts 1). With several ranks all make each of these calls;
// rank r of G owns slots r, r + G, r + 2G, ..., and after the update all have the same weights and figures.
#ifndef VJ_MODEL_VJEPA_H
#define VJ_MODEL_VJEPA_H

#include "model/model_config.h"
#include "parallel/store.h"
#include "runtime/base/str.h"
#include "runtime/tensor/clip_batch.h"
#include "runtime/tensor/device.h"

typedef struct vj_vjepa vj_vjepa;
typedef enum vj_network { VJ_ENCODER, VJ_PREDICTOR, VJ_TARGET_ENCODER, VJ_NETWORKS } vj_network;

// The largest slot the model will see: sizes every buffer before the first step. Token counts are upper bounds.
typedef struct vj_slot_bound {
    int64_t clips;                 // samples per slot
    int64_t F, height, width;      // largest clip
    int64_t n_pairs;               // masks per group
    int64_t ctx_rows, tgt_rows;    // upper bound of sum over pairs of B*K, and of B*P (0: pairs * clips * tokens)
    int64_t rows;                  // upper bound of sum over pairs of B*(K+P) (0: pairs * clips * tokens)
    int64_t slots;                 // V, over all ranks
    const vj_mesh *mesh;           // the ranks that share a step's slots, and what each holds (not owned); NULL: this one alone
    bool any_order;                // to measure what the order of sums costs (parallel/store.h)
    bool in_backward;              // optim.in_backward: units are updated as the backward pass leaves them; slots must be 1
} vj_slot_bound;

// Bytes by purpose, before anything is allocated (`config check`) or as allocated.
typedef struct vj_memory_plan {
    int64_t params, moments, target, gathered, gradients, saved, scratch, input, total;   // gathered: buffers for weights in parts
} vj_memory_plan;
vj_status vj_vjepa_plan(const vj_model_config *config, int64_t mask_tokens, const vj_slot_bound *bound, bool training,
                        vj_dtype real, vj_memory_plan *out) VJ_MUST_CHECK;

// FLOP of one step over `slots` slots (spec/pretrain.md 12.1 with gathered patches; multiply-add = 2; backward counts
// 2x, recomputation earns nothing).
double vj_vjepa_slot_flop(const vj_model_config *config, const vj_slot *slot);
// FLOP of what the backward pass computes again with model.recompute=block: what HFU counts besides. 0 without.
double vj_vjepa_slot_recompute_flop(const vj_model_config *config, const vj_slot *slot);

// `training` false: no optimiser state, gradients or saved activations (evaluation of a checkpoint).
vj_status vj_vjepa_create(vj_vjepa **out, const vj_model_config *config, int64_t mask_tokens, vj_device *device,
                          const vj_slot_bound *bound, bool training) VJ_MUST_CHECK;
// An encoder alone, to look at features: its weights are the network VJ_TARGET_ENCODER, whichever they were in training.
// The other networks have a layout and no memory; only vj_vjepa_features runs. Of `bound`, clips, F, height and width
// count.
vj_status vj_vjepa_create_encoder(vj_vjepa **out, const vj_model_config *config, vj_device *device,
                                  const vj_slot_bound *bound) VJ_MUST_CHECK;
// Other clips from now on: buffers for slots of `bound` in place of the old ones; weights, moments and gradients stay.
// `bound->slots` may not be above the number the model was created with; `in_backward` stays as it was. Between steps only. After
// a failure the model can only be destroyed.
vj_status vj_vjepa_resize(vj_vjepa *m, const vj_slot_bound *bound) VJ_MUST_CHECK;
// Makes room for these slots where they need more rows than `bound` announced, so that it need not be the largest that masks may be.
// Changes no bit. Between steps only; nothing happens when they fit. *grew may be NULL. After a failure the model can only be destroyed.
vj_status vj_vjepa_room(vj_vjepa *m, const vj_slot *slots, int n_slots, bool *grew) VJ_MUST_CHECK;
void vj_vjepa_destroy(vj_vjepa **m);
// Official initialisation (spec/pretrain.md 1.8) from Philox streams keyed by (seed, parameter); target = copy of
// encoder.
vj_status vj_vjepa_init(vj_vjepa *m, uint64_t seed) VJ_MUST_CHECK;

typedef struct vj_step_options {
    double lr, weight_decay, momentum;      // momentum of the target encoder
    double beta1, beta2, eps;
    int64_t adam_step;                      // t >= 1
    // Several ranks: numbers that are summed over them in the reduction that the step has anyway, in place. At most VJ_STEP_SHARED; alone
    // they stay as they are.
    double *shared;
    int n_shared;
    double clip_norm;                       // the update takes a gradient of at most this norm over everything; 0: as it is
} vj_step_options;

enum { VJ_STEP_SHARED = 16 };
typedef enum vj_update_result { VJ_UPDATED, VJ_UPDATE_NONFINITE } vj_update_result;

typedef struct vj_step_result {
    double loss;                    // mean over slots, tree order
    double grad_norm;               // over all gradients, after the 1/V scaling, before clipping
    double clip_scale;              // what the gradient was multiplied by to reach clip_norm; 1: not clipped
    double grad_norm_encoder, grad_norm_predictor;
    vj_update_result update;
} vj_step_result;

// n_slots: V of this step, over all ranks; at least one for each.
vj_status vj_vjepa_step_begin(vj_vjepa *m, int64_t n_slots) VJ_MUST_CHECK;
// Target forward, context forward, predictor, loss, backward for one slot. Reads the slot's host memory before it
// returns or before the next vj_vjepa_* call synchronises; the caller keeps the batch until vj_vjepa_update.
vj_status vj_vjepa_slot(vj_vjepa *m, const vj_slot *slot) VJ_MUST_CHECK;
// Finite check first (nothing is changed when it fails), then AdamW, then EMA. Synchronises.
vj_status vj_vjepa_update(vj_vjepa *m, const vj_step_options *options, vj_step_result *out) VJ_MUST_CHECK;
// A model made with bound.in_backward: in place of vj_vjepa_step_begin(m, 1), with the options of the update that is to come.
// vj_vjepa_slot then updates each unit as soon as its gradient is complete, and forgets the gradient (VJ_BUF_GRAD means nothing
// afterwards); vj_vjepa_update makes the EMA and the figures. Same bits as without. Each unit is checked before its update: once
// the loss or a gradient is not finite nothing more is changed, but units further up were updated already, so that after
// VJ_UPDATE_NONFINITE the model must not be used or saved (contracts 1).
vj_status vj_vjepa_step_begin_in_backward(vj_vjepa *m, const vj_step_options *options) VJ_MUST_CHECK;
// After an update, until the next step begins: the gradient's norm in each unit of VJ_ENCODER or VJ_PREDICTOR, scaled as
// grad_norm is (their squares sum up to its square). `out` holds the layout's n_units.
void vj_vjepa_unit_norms(const vj_vjepa *m, vj_network network, double *out);

// Weights in parts (fsdp, hsdp) are gathered by all ranks together. Passes and parameters that rank 0 alone wants, between steps, stand
// between vj_vjepa_alone(m, true) and vj_vjepa_alone(m, false); all other ranks call vj_vjepa_follow meanwhile, which returns at the
// end of them. Where every rank has all weights, neither does anything.
vj_status vj_vjepa_alone(vj_vjepa *m, bool begins) VJ_MUST_CHECK;
vj_status vj_vjepa_follow(vj_vjepa *m) VJ_MUST_CHECK;
// What ranks send each other during a slot, a line for each use of a unit (parallel/schedule.h), of a model on the ranks of
// bound->mesh; no memory of its size is needed.
vj_status vj_vjepa_schedule_text(const vj_model_config *config, int64_t mask_tokens, const vj_slot_bound *bound, vj_dtype real,
                                 vj_str *out) VJ_MUST_CHECK;

// Forward only, for held-out figures and parity: predictions and LN0 targets of every (group, pair) as host float64
// arrays (B*P, C), in group-major, pair-minor order, concatenated; *rows their number. Buffers are the caller's, of
// `capacity` rows. `pred` or `target` may be NULL.
vj_status vj_vjepa_predict(vj_vjepa *m, const vj_slot *slot, double *pred, double *target, int64_t capacity,
                           int64_t *rows) VJ_MUST_CHECK;

// Features of every token of a slot's clips, forward only: the output of blocks layers[0] < layers[1] < ... (of 0 to
// depth - 1), each after the encoder's final norm, as the published evaluations read them (spec/evals.md); depth - 1
// alone gives the encoder's output. `network` is VJ_ENCODER or VJ_TARGET_ENCODER. `out` is the caller's host memory for
// n_layers x capacity x C float32, of which (n_layers, *rows, C) are filled densely: layer after layer, rows by group,
// clip, token. Masks of the slot are ignored (n_pairs may be 0). Training is not disturbed. Synchronises.
vj_status vj_vjepa_features(vj_vjepa *m, vj_network network, const vj_slot *slot, const int *layers, int n_layers,
                            float *out, int64_t capacity, int64_t *rows) VJ_MUST_CHECK;

// State, for checkpoints, parity and tests: layouts and per-unit flat tensors on the device.
typedef enum vj_buffer { VJ_BUF_PARAM, VJ_BUF_EXP_AVG, VJ_BUF_EXP_AVG_SQ, VJ_BUF_GRAD } vj_buffer;
const vj_layout *vj_vjepa_layout(const vj_vjepa *m, vj_network network);
// The whole unit on one rank; VJ_BUF_GRAD is the step's summed gradient (unscaled) after the last slot, before the next
// step.
vj_tensor vj_vjepa_unit(const vj_vjepa *m, vj_network network, vj_buffer buffer, int unit);
// What this rank holds of a unit, and where that begins in it: all of it, or its part of moments, with fsdp and hsdp of weights.
vj_tensor vj_vjepa_held(const vj_vjepa *m, vj_network network, vj_buffer buffer, int unit, int64_t *begin);
// What this rank is to save of a unit: what it updates, so that all ranks together save everything once. With ddp all of it.
vj_tensor vj_vjepa_owned(const vj_vjepa *m, vj_network network, vj_buffer buffer, int unit, int64_t *begin);
vj_status vj_vjepa_get_param(vj_vjepa *m, vj_network network, vj_buffer buffer, int param, double *out) VJ_MUST_CHECK;
vj_status vj_vjepa_set_param(vj_vjepa *m, vj_network network, vj_buffer buffer, int param,
                             const double *in) VJ_MUST_CHECK;
// SHA-256 over the names and shapes of all parameters: "another model's checkpoint".
void vj_vjepa_digest(const vj_vjepa *m, char hex[65]);
vj_stream *vj_vjepa_stream(const vj_vjepa *m);
const vj_memory_plan *vj_vjepa_memory(const vj_vjepa *m);
int64_t vj_model_width(const vj_vjepa *m);

#endif
