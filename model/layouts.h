// The parameter tables of encoder and predictor (spec/pretrain.md 1, 2, 9.1).
#ifndef VJ_MODEL_LAYOUTS_H
#define VJ_MODEL_LAYOUTS_H

#include "model/model_config.h"
#include "parallel/layout.h"

// Places inside a table. A block has twelve parameters in this order.
enum {
    P_NORM1_W, P_NORM1_B, P_QKV_W, P_QKV_B, P_PROJ_W, P_PROJ_B,
    P_NORM2_W, P_NORM2_B, P_FC1_W, P_FC1_B, P_FC2_W, P_FC2_B, P_PER_BLOCK
};
// Encoder: patch embedding (weight, bias), blocks, norm (weight, bias).
enum { E_PATCH_W, E_PATCH_B, E_BLOCKS };
// Predictor: one unit of embed, mask tokens, norm, projection; then the blocks, four to a unit.
enum { R_EMBED_W, R_EMBED_B, R_TOKENS };
typedef struct vj_predictor_places { int norm_w, norm_b, proj_w, proj_b, blocks; } vj_predictor_places;
vj_predictor_places vj_predictor_places_of(int64_t mask_tokens);
static inline int vj_encoder_norm(int64_t depth) { return E_BLOCKS + (int)depth * P_PER_BLOCK; }

vj_status vj_encoder_layout(vj_layout **out, const vj_model_config *m, const char *network,
                            int64_t quantum) VJ_MUST_CHECK;
vj_status vj_predictor_layout(vj_layout **out, const vj_model_config *m, int64_t mask_tokens,
                              int64_t quantum) VJ_MUST_CHECK;
int64_t vj_model_quantum(const vj_model_config *m);   // model.shard_quantum, or its default by size
// Without making a table: spec/pretrain.md 1.9 and 2.
int64_t vj_model_encoder_params(const vj_model_config *m);
int64_t vj_model_predictor_params(const vj_model_config *m, int64_t mask_tokens);

// SHA-256 over names and shapes of all parameters: two models with equal digests can exchange checkpoints.
void vj_model_digest(const vj_layout *encoder, const vj_layout *predictor, char hex[65]);

#endif
