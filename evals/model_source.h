// From a reference to a model that can be built: our own checkpoints know their configuration, foreign files are
// understood from the shapes of their tensors.
#ifndef VJ_EVALS_MODEL_SOURCE_H
#define VJ_EVALS_MODEL_SOURCE_H

#include "checkpoints/weights.h"
#include "model/model_config.h"

typedef struct vj_model_source {
    vj_weights *weights;
    vj_model_config model;        // resolved; preset "custom" when no preset has these sizes
    int64_t mask_tokens;          // 0: the file has no predictor
    int64_t crop, frames;         // it was trained at, 0 when unknown
    double fps;                   // 0 when unknown
    int64_t batch, group;         // of its training, 0 when unknown
    double lr;                    // 0 when unknown
} vj_model_source;

// `ref` as for vj_weights_open. `heads` and `pred_heads` (0: not given) decide where the format does not say: the
// published .pt files do not, and one shape of ViT-g exists with 16 and with 22 heads.
vj_status vj_model_source_open(vj_model_source *out, const char *ref, int64_t heads, int64_t pred_heads,
                               bool strict) VJ_MUST_CHECK;
void vj_model_source_close(vj_model_source *s);

#endif
