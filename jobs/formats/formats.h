// Weights between tools: export to Hugging Face and to the published format, import of both, differences.
// Everything streams: never more than two tensors are in memory.
#ifndef VJ_JOBS_FORMATS_FORMATS_H
#define VJ_JOBS_FORMATS_FORMATS_H

#include "evals/model_source.h"
#include "runtime/base/json.h"

typedef struct vj_export_options {
    const char *network;        // HF: "target_encoder" or "encoder"
    bool swap_mask_token;       // HF: tokens 0 and 1 change places, since HF always predicts with 1 and training uses 0
    int64_t file_bytes;         // HF: the largest file, 0 for 5 GB, as transformers splits
} vj_export_options;

// OUT/config.json and OUT/model.safetensors (several files and an index above 5 GB), as VJEPA2Model.from_pretrained
// reads them. `dir` must not exist; it appears whole. VJ_ERR_CONFIG: the format cannot say it (rope_layout:
// interleaved).
vj_status vj_export_hf(vj_model_source *source, const char *dir, const vj_export_options *options) VJ_MUST_CHECK;
// The published .pt: networks under "module.backbone.", AdamW's state when the source has one (spec/pretrain.md 9.1).
vj_status vj_export_official(vj_model_source *source, const char *file) VJ_MUST_CHECK;
// Makes the run directory `run` with one checkpoint of what the source holds: for cooldown --from, init.from, encode,
// hash. *path: the checkpoint. The run must not exist.
vj_status vj_import(vj_model_source *source, const char *run, char path[640]) VJ_MUST_CHECK;

typedef struct vj_difference {
    char name[160];             // "encoder.norm.weight", "encoder.norm.weight/exp_avg"
    const char *problem;        // NULL, "only in A", "only in B", "other shape"
    double max_abs, relative;   // largest difference, and L2 of the difference over L2 of A
} vj_difference;
// Every tensor of both, by name, with `moments` those of AdamW where both have them; free() *out. *worst is the largest
// relative difference (infinite when one is missing).
vj_status vj_diff(vj_weights *a, vj_weights *b, bool moments, vj_difference **out, int64_t *n,
                  double *worst) VJ_MUST_CHECK;

#endif
