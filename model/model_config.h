// Configuration of encoder and predictor: keys `model.*`. Presets by the names of spec/pretrain.md 1.9 plus
// `quickstart`.
#ifndef VJ_MODEL_MODEL_CONFIG_H
#define VJ_MODEL_MODEL_CONFIG_H

#include "runtime/config/config.h"
#include "runtime/ops/ops.h"

typedef enum vj_recompute { VJ_RECOMPUTE_NONE, VJ_RECOMPUTE_BLOCK } vj_recompute;

typedef struct vj_model_config {
    char preset[32];               // model.preset: "vit_large", ..., or "custom" (then width, depth, heads, hidden)
    int64_t width, depth, heads, hidden;             // model.width ...; 0: the preset's
    int64_t patch, tubelet;                          // model.patch, model.tubelet
    int64_t pred_width, pred_depth, pred_heads;      // model.pred_width ...; 0: the preset's (384, 12, 12)
    int64_t mask_tokens;                             // model.mask_tokens: 0 = mask configs x entries of data.fpc
    int rope_layout;                                 // model.rope_layout: tiled | interleaved
    int recompute;                                   // model.recompute: none | block
    int64_t loss_exponent;                           // model.loss_exponent: 1 | 2
    int64_t shard_quantum;                           // model.shard_quantum: 0 = 1024, or 8 below 30M parameters
} vj_model_config;

extern const vj_field vj_model_fields[];
// Replaces zeros by the preset's values; VJ_ERR_CONFIG names an unknown preset and what exists, or sizes that do not
// fit (width not a multiple of heads, ...). After it every member is concrete, except mask_tokens and shard_quantum.
vj_status vj_model_resolve(vj_model_config *m) VJ_MUST_CHECK;
const char *const *vj_model_preset_names(void);

#endif
