// Official names of tensors and Hugging Face's for the same (spec/pretrain.md 9.2), both ways from one table.
#ifndef VJ_CHECKPOINTS_NAMES_H
#define VJ_CHECKPOINTS_NAMES_H

#include "runtime/base/status.h"

// The part of an official tensor that one of HF's is.
typedef enum vj_hf_part { VJ_HF_WHOLE, VJ_HF_QUERY, VJ_HF_KEY, VJ_HF_VALUE, VJ_HF_TOKENS } vj_hf_part;

// `name` as HF's file has it, "encoder.layer.3.attention.key.bias" (with or without "vjepa2." in front). The official
// name goes to `out` ("encoder.blocks.3.attn.qkv.bias"; "predictor.mask_tokens" for the stack of tokens). False: not
// one of the model's tensors.
bool vj_hf_to_official(const char *name, char out[160], vj_hf_part *part);
// The other way: `official` with its network ("encoder.blocks.3.attn.qkv.bias") and the part wanted.
bool vj_hf_from_official(const char *official, vj_hf_part part, char out[160]);

#endif
