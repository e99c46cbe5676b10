// Inside of the model: shared by vjepa.c, slot_plan.c, passes.c.
#ifndef VJ_MODEL_VJEPA_IMPL_H
#define VJ_MODEL_VJEPA_IMPL_H

#include "model/blocks.h"
#include "model/vjepa.h"
#include "parallel/schedule.h"

// One group of clips of a slot, and which rows are its.
typedef struct vj_group_rows {
    vj_patch_spec patch;
    vj_tensor clips;                      // device, real
    int64_t all, ctx, tgt;                // rows
    int token;                            // mask token
} vj_group_rows;

// A slot as the networks see it. Orders: all = group, clip, token; ctx and tgt = group, pair, clip, position; pred =
// group, pair, clip: its context rows, then its target rows.
typedef struct vj_slot_plan {
    int n_groups;
    vj_group_rows groups[VJ_MAX_GROUPS];
    int64_t Rt;                           // target rows
    vj_sequences all, ctx, pred;
    vj_tensor rows_all, rows_ctx;         // (R, 2): clip in its group, token id
    vj_tensor pred_index;                 // (Rp): context row, or -1 - token
    vj_tensor pred_ctx;                   // (Rc): where they stand among the predictor's rows (target rows: pred.used_rows)
    vj_tensor tgt_all;                    // (Rt): target rows among all tokens
    vj_tensor weight;                     // (Rt) real: share of each row in the slot's loss, per channel
} vj_slot_plan;

struct vj_vjepa {
    vj_model_config config;
    int64_t mask_tokens;
    vj_slot_bound bound;
    bool training;
    bool in_backward;                     // units are updated where vj_unit_reduce leaves them
    bool encoder_only;                    // the target encoder has weights, the other networks have not
    vj_device *device;
    vj_dtype real;
    vj_layout *encoder_layout, *target_layout, *predictor_layout;
    vj_store *encoder, *target, *predictor;
    vj_blocks encoder_blocks, target_blocks, predictor_blocks;
    vj_predictor_places places;
    vj_memory_plan memory;

    vj_ctx ctx;
    void *saved_memory, *scratch_memory, *input_memory, *table_memory, *sums_memory;
    vj_arena input;
    vj_event *uploaded;                   // the staging buffers below are free once it has passed
    int32_t *staging;
    int64_t staging_used, staging_capacity;
    void *weight_staging;                 // (Rt) real
    void *clip_staging;                   // clips in another type than the device's, made on first need
    size_t clip_staging_bytes;

    // of the running step
    int64_t slots, slot;                  // V, and how many of this rank's are done
    const vj_mesh *mesh;                  // NULL: alone
    vj_schedule *schedule;                // NULL: alone
    int rank, ranks;
    double *shared;                       // (V + 64 + chunks) host: losses, used mask tokens, squares; NULL: alone
    vj_tensor losses;                     // (V) float64
    vj_tensor square_sums;                // chunks of all units, encoder then predictor, float64
    double *host_sums;                    // losses, then square sums
    bool token_used[64];
    vj_step_options early;                // in_backward: the options of this step's update
    bool early_begun, early_finite;       // a unit was looked at; everything so far was finite
};

// slot_plan.c
typedef struct vj_plan_bound { int64_t all, ctx, tgt, pred, segments, ints; } vj_plan_bound;
vj_plan_bound vj_plan_bound_of(const vj_model_config *c, const vj_slot_bound *b);
vj_status vj_slot_plan_make(vj_vjepa *m, const vj_slot *slot, vj_slot_plan *out) VJ_MUST_CHECK;
// A plan of the largest sizes, without memory, for measuring.
void vj_slot_plan_largest(const vj_model_config *c, const vj_slot_bound *b, vj_dtype real, vj_slot_plan *out);

// passes.c
vj_status vj_target_pass(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p,
                         vj_tensor *targets) VJ_MUST_CHECK;   // (Rt, C)
typedef struct vj_student_saved {
    vj_tensor x_last, mean, rstd, z;      // encoder: before and after its final norm
    vj_tensor tail, tail_mean, tail_rstd, tail_norm;   // predictor: target rows before and after its norm
    vj_tensor pred;                       // (Rt, C)
} vj_student_saved;
vj_status vj_student_forward(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, vj_student_saved *s) VJ_MUST_CHECK;
vj_status vj_student_backward(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, const vj_student_saved *s,
                              const vj_tensor *dpred) VJ_MUST_CHECK;
// x (all rows, C): tokens of all patches, embedded, before the first block.
vj_status vj_embed_all(vj_vjepa *m, vj_ctx *ctx, vj_store *store, const vj_slot_plan *p,
                       const vj_tensor *x) VJ_MUST_CHECK;
// h (rows, C) = the encoder's final norm of x.
vj_status vj_encoder_final_norm(vj_vjepa *m, vj_ctx *ctx, vj_store *store, const vj_tensor *h,
                                const vj_tensor *x) VJ_MUST_CHECK;
// features.c: the pass behind vj_vjepa_features; `out` NULL when measuring.
vj_status vj_feature_pass(vj_vjepa *m, vj_ctx *ctx, vj_network network, const vj_slot_plan *p, const int *layers,
                          int n_layers, float *out) VJ_MUST_CHECK;
// A whole slot: targets, predictions, loss into `loss` (1), backward.
vj_status vj_slot_pass(vj_vjepa *m, vj_ctx *ctx, const vj_slot_plan *p, const vj_tensor *loss) VJ_MUST_CHECK;

#endif
