// Presets (spec/pretrain.md 1.9) and the table of model.* keys.

#include "model/model_config.h"

#include <string.h>

#include "runtime/base/str.h"

typedef struct preset {
    const char *name;
    int64_t width, depth, heads, hidden, pred_width, pred_depth, pred_heads;
} preset;

// vit_giant and vit_giant_xformers have the same parameter count and are different models: 16 and 22 heads. The hidden
// sizes of vit_gigantic are those that the published constructor really makes (ratio 4, not 64/13).
static const preset presets[] = {
    { "quickstart", 128, 6, 4, 512, 96, 3, 3 },
    { "tiny", 96, 3, 3, 384, 384, 12, 12 },
    { "vit_tiny", 192, 12, 3, 768, 384, 12, 12 },
    { "vit_small", 384, 12, 6, 1536, 384, 12, 12 },
    { "vit_base", 768, 12, 12, 3072, 384, 12, 12 },
    { "vit_large", 1024, 24, 16, 4096, 384, 12, 12 },
    { "vit_huge", 1280, 32, 16, 5120, 384, 12, 12 },
    { "vit_giant", 1408, 40, 16, 6144, 384, 12, 12 },
    { "vit_giant_xformers", 1408, 40, 22, 6144, 384, 12, 12 },
    { "vit_gigantic", 1664, 48, 16, 6656, 384, 12, 12 },
    { "vit_gigantic_xformers", 1664, 48, 26, 6656, 384, 12, 12 },
    { "custom", 0, 0, 0, 0, 384, 12, 12 },
};
enum { PRESETS = sizeof presets / sizeof presets[0] };

static const char *const rope_names[] = { "tiled", "interleaved", NULL };
static const char *const recompute_names[] = { "none", "block", NULL };

#define AT(member) offsetof(vj_model_config, member)
#define PLAIN_INT(key_, member, help_, low_, high_)                                                                    \
    { .key = key_, .kind = VJ_FIELD_INT, .offset = AT(member), .help = help_, .i = { 0, low_, high_ } }

const vj_field vj_model_fields[] = {
    { .key = "model.preset", .kind = VJ_FIELD_TEXT, .offset = AT(preset),
      .help = "model size by name (spec/pretrain.md 1.9), or custom", .text = "vit_large", .i = { 0, 0, 32 } },
    PLAIN_INT("model.width", width, "encoder width; 0: the preset's", 0, 16384),
    PLAIN_INT("model.depth", depth, "encoder blocks; 0: the preset's", 0, 256),
    PLAIN_INT("model.heads", heads, "encoder heads; 0: the preset's", 0, 256),
    PLAIN_INT("model.hidden", hidden, "hidden width of the encoder's MLP; 0: the preset's", 0, 65536),
    { .key = "model.patch", .kind = VJ_FIELD_INT, .offset = AT(patch),
      .help = "patch size in pixels", .i = { 16, 1, 64 } },
    { .key = "model.tubelet", .kind = VJ_FIELD_INT, .offset = AT(tubelet),
      .help = "frames of a tubelet", .i = { 2, 1, 16 } },
    PLAIN_INT("model.pred_width", pred_width, "predictor width; 0: the preset's", 0, 16384),
    PLAIN_INT("model.pred_depth", pred_depth, "predictor blocks; 0: the preset's", 0, 256),
    PLAIN_INT("model.pred_heads", pred_heads, "predictor heads; 0: the preset's", 0, 256),
    PLAIN_INT("model.mask_tokens", mask_tokens, "mask tokens; 0: mask configurations x entries of data.fpc", 0, 64),
    { .key = "model.rope_layout", .kind = VJ_FIELD_ENUM, .offset = AT(rope_layout), .names = rope_names,
      .help = "rotary embedding: tiled as published, or interleaved (V-JEPA 2.1)", .i = { VJ_ROPE_TILED, 0, 1 } },
    { .key = "model.recompute", .kind = VJ_FIELD_ENUM, .offset = AT(recompute), .names = recompute_names,
      .help = "make activations again in backward: none, or per block (less memory, same bits)",
      .i = { VJ_RECOMPUTE_NONE, 0, 1 },
      .flags = VJ_FIELD_MAY_CHANGE },
    { .key = "model.loss_exponent", .kind = VJ_FIELD_INT, .offset = AT(loss_exponent),
      .help = "1: mean absolute error as in the paper; 2: half the mean square", .i = { 1, 1, 2 } },
    PLAIN_INT("model.shard_quantum", shard_quantum, "chunks of a unit; 0: 1024, or 8 below 30M parameters", 0, 65536),
    { .key = NULL, .kind = VJ_FIELD_END },
};

const char *const *vj_model_preset_names(void)
{
    static const char *names[PRESETS + 1];
    for (int i = 0; i < PRESETS; i++) names[i] = presets[i].name;
    return names;
}

static void fill(int64_t *value, int64_t from)
{
    if (*value == 0) *value = from;
}

vj_status vj_model_resolve(vj_model_config *m)
{
    const preset *p = NULL;
    for (int i = 0; i < PRESETS && !p; i++) p = strcmp(presets[i].name, m->preset) == 0 ? &presets[i] : NULL;
    if (!p) {
        const char *near = vj_nearest(m->preset, vj_model_preset_names());
        VJ_FAIL(VJ_ERR_CONFIG,
                "model.preset: '%s' is unknown%s%s%s; there are quickstart, tiny, vit_tiny, vit_small, vit_base, "
                "vit_large, vit_huge, vit_giant, vit_giant_xformers, vit_gigantic, vit_gigantic_xformers "
                "and custom",
                m->preset, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    }
    fill(&m->width, p->width);
    fill(&m->depth, p->depth);
    fill(&m->heads, p->heads);
    fill(&m->hidden, p->hidden);
    fill(&m->pred_width, p->pred_width);
    fill(&m->pred_depth, p->pred_depth);
    fill(&m->pred_heads, p->pred_heads);
    if (m->patch == 0) m->patch = 16;
    if (m->tubelet == 0) m->tubelet = 2;
    if (m->loss_exponent == 0) m->loss_exponent = 1;
    VJ_CHECK(m->width && m->depth && m->heads && m->hidden, VJ_ERR_CONFIG,
             "model.preset=custom needs model.width, model.depth, model.heads and model.hidden");
    VJ_CHECK(m->width % m->heads == 0, VJ_ERR_CONFIG, "model.width %lld is not a multiple of model.heads %lld",
             (long long)m->width, (long long)m->heads);
    VJ_CHECK(m->pred_width % m->pred_heads == 0, VJ_ERR_CONFIG,
             "model.pred_width %lld is not a multiple of model.pred_heads %lld", (long long)m->pred_width,
             (long long)m->pred_heads);
    VJ_CHECK(m->width / m->heads <= 128 && m->pred_width / m->pred_heads <= 128, VJ_ERR_CONFIG,
             "heads wider than 128 channels are not supported");
    return VJ_OK;
}
