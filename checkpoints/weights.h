// One door to weights in any format: our own checkpoints, Hugging Face folders, safetensors files, and the published
// .pt files. Tensors go by their official names with the network in front ("encoder.blocks.0.attn.qkv.weight"); what a
// format stores otherwise (query, key and value apart; mask tokens stacked) is put together while reading.
#ifndef VJ_CHECKPOINTS_WEIGHTS_H
#define VJ_CHECKPOINTS_WEIGHTS_H

#include "checkpoints/checkpoint.h"

typedef struct vj_weights vj_weights;

typedef struct vj_weight {
    char name[120];
    int rank;
    int64_t shape[VJ_MAX_RANK], count;
} vj_weight;

// What the format says about the model; 0 when it does not.
typedef struct vj_weights_facts {
    char format[24];                   // "checkpoint", "hf", "safetensors", "official"
    char path[512];                    // the file or directory that was read
    int64_t heads, pred_heads, crop, frames;
    int64_t step, adam_step;           // adam_step: of moments, when there are any
    int64_t batch, group;              // samples of a step, and those that share masks
    double lr;
    bool moments;                      // exp_avg and exp_avg_sq of encoder and predictor
    bool one_encoder;                  // encoder and target encoder are the same tensors: the file has only one
} vj_weights_facts;

// `ref`: RUN, RUN@STEP, RUN@recommended, a checkpoint directory, a folder with config.json and model.safetensors, a
// .safetensors file, a .pt/.pth/.pth.tar/.bin file. With `strict`, tensors that no V-JEPA 2 model has are an error
// (named); pos_embed of old files is passed over always. A file with one encoder serves as both (contracts 5).
// VJ_ERR_CONFIG: nothing there, or a format that is not understood; VJ_ERR_CHECKPOINT: damaged.
vj_status vj_weights_open(vj_weights **out, const char *ref, bool strict) VJ_MUST_CHECK;
void vj_weights_close(vj_weights **w);
const vj_weights_facts *vj_weights_facts_of(const vj_weights *w);
int64_t vj_weights_count(const vj_weights *w);
const vj_weight *vj_weights_at(const vj_weights *w, int64_t index);      // by name
const vj_weight *vj_weights_find(const vj_weights *w, const char *name); // NULL when absent
// The number of mask tokens (0: the file has no predictor).
int64_t vj_weights_mask_tokens(const vj_weights *w);
// A whole tensor as float32. `kind`: VJ_STATE_EXP_AVG and VJ_STATE_EXP_AVG_SQ only when facts.moments; a tensor that
// has none in the file reads as zeros.
vj_status vj_weights_read(vj_weights *w, const char *name, vj_state_kind kind, float *out, int64_t count) VJ_MUST_CHECK;
// Shapes and names against the layouts of a model: the first missing or mis-shaped tensor is VJ_ERR_CONFIG, with what
// is there and what was expected. `layout` of "encoder", "predictor" or "target_encoder".
vj_status vj_weights_fit(const vj_weights *w, const char *network, const vj_layout *layout) VJ_MUST_CHECK;
// SHA-256 over names, shapes and bytes of all parameters: what a run was initialised from.
vj_status vj_weights_digest(vj_weights *w, char hex[65]) VJ_MUST_CHECK;

#endif
