#include "checkpoints/names.h"

#include <stdio.h>
#include <string.h>

#include "runtime/base/str.h"

// '#' stands for the number of a block. qkv stands for three tensors of HF's.
static const struct { const char *official, *hf; vj_hf_part part; } table[] = {
    { "encoder.patch_embed.proj", "encoder.embeddings.patch_embeddings.proj", VJ_HF_WHOLE },
    { "encoder.norm", "encoder.layernorm", VJ_HF_WHOLE },
    { "predictor.predictor_embed", "predictor.embeddings.predictor_embeddings", VJ_HF_WHOLE },
    { "predictor.predictor_norm", "predictor.layernorm", VJ_HF_WHOLE },
    { "predictor.predictor_proj", "predictor.proj", VJ_HF_WHOLE },
    { "encoder.blocks.#.norm1", "encoder.layer.#.norm1", VJ_HF_WHOLE },
    { "encoder.blocks.#.norm2", "encoder.layer.#.norm2", VJ_HF_WHOLE },
    { "encoder.blocks.#.mlp.fc1", "encoder.layer.#.mlp.fc1", VJ_HF_WHOLE },
    { "encoder.blocks.#.mlp.fc2", "encoder.layer.#.mlp.fc2", VJ_HF_WHOLE },
    { "encoder.blocks.#.attn.proj", "encoder.layer.#.attention.proj", VJ_HF_WHOLE },
    { "encoder.blocks.#.attn.qkv", "encoder.layer.#.attention.query", VJ_HF_QUERY },
    { "encoder.blocks.#.attn.qkv", "encoder.layer.#.attention.key", VJ_HF_KEY },
    { "encoder.blocks.#.attn.qkv", "encoder.layer.#.attention.value", VJ_HF_VALUE },
    { "predictor.predictor_blocks.#.norm1", "predictor.layer.#.norm1", VJ_HF_WHOLE },
    { "predictor.predictor_blocks.#.norm2", "predictor.layer.#.norm2", VJ_HF_WHOLE },
    { "predictor.predictor_blocks.#.mlp.fc1", "predictor.layer.#.mlp.fc1", VJ_HF_WHOLE },
    { "predictor.predictor_blocks.#.mlp.fc2", "predictor.layer.#.mlp.fc2", VJ_HF_WHOLE },
    { "predictor.predictor_blocks.#.attn.proj", "predictor.layer.#.attention.proj", VJ_HF_WHOLE },
    { "predictor.predictor_blocks.#.attn.qkv", "predictor.layer.#.attention.query", VJ_HF_QUERY },
    { "predictor.predictor_blocks.#.attn.qkv", "predictor.layer.#.attention.key", VJ_HF_KEY },
    { "predictor.predictor_blocks.#.attn.qkv", "predictor.layer.#.attention.value", VJ_HF_VALUE },
};
enum { TABLE = sizeof table / sizeof table[0] };

// `name` (n bytes) against a pattern; the block's number goes to *block.
static bool matches(const char *pattern, const char *name, size_t n, int64_t *block)
{
    const char *end = name + n;
    *block = -1;
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (name == end || *name++ != *pattern) return false;
            continue;
        }
        const char *digits = name;
        int64_t v = 0;
        while (name < end && *name >= '0' && *name <= '9' && name - digits < 6) v = 10 * v + (*name++ - '0');
        if (name == digits || (digits[0] == '0' && name - digits > 1)) return false;
        *block = v;
    }
    return name == end;
}

static void fill(char *out, size_t size, const char *pattern, int64_t block, const char *leaf)
{
    const char *hash = strchr(pattern, '#');
    if (hash) vj_format(out, size, "%.*s%lld%s%s", (int)(hash - pattern), pattern, (long long)block, hash + 1, leaf);
    else vj_format(out, size, "%s%s", pattern, leaf);
}

// ".weight" or ".bias" at the end of a name; NULL: neither.
static const char *leaf_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".weight") == 0 || strcmp(dot, ".bias") == 0) ? dot : NULL;
}

bool vj_hf_to_official(const char *name, char out[160], vj_hf_part *part)
{
    if (vj_str_starts(name, "vjepa2.")) name += 7;
    if (strlen(name) >= 120) return false;
    if (strcmp(name, "predictor.embeddings.mask_tokens") == 0) {
        *part = VJ_HF_TOKENS;
        vj_format(out, 160, "predictor.mask_tokens");
        return true;
    }
    const char *leaf = leaf_of(name);
    for (int i = 0; leaf && i < TABLE; i++) {
        int64_t block;
        if (!matches(table[i].hf, name, (size_t)(leaf - name), &block)) continue;
        fill(out, 160, table[i].official, block, leaf);
        *part = table[i].part;
        return true;
    }
    return false;
}

bool vj_hf_from_official(const char *official, vj_hf_part part, char out[160])
{
    if (strlen(official) >= 120) return false;
    if (part == VJ_HF_TOKENS) {
        vj_format(out, 160, "predictor.embeddings.mask_tokens");
        return strncmp(official, "predictor.mask_tokens", 21) == 0;
    }
    const char *leaf = leaf_of(official);
    for (int i = 0; leaf && i < TABLE; i++) {
        int64_t block;
        if (table[i].part != part || !matches(table[i].official, official, (size_t)(leaf - official), &block)) continue;
        fill(out, 160, table[i].hf, block, leaf);
        return true;
    }
    return false;
}
