#include "checkpoints/official.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct walker {
    void (*fn)(void *context, int64_t index, const char *name);
    void *context;
    bool decayed;
    int64_t next;
} walker;

// Decayed: not of one dimension, and no "bias" in the name; norms are of one dimension.
static void visit(walker *k, const char *name)
{
    const bool flat = strstr(name, "norm") != NULL, decayed = !flat && !strstr(name, "bias");
    if (decayed != k->decayed) return;
    if (k->fn) k->fn(k->context, k->next, name);
    k->next++;
}

static void pair(walker *k, const char *stem)
{
    char name[120];
    snprintf(name, sizeof name, "%s.weight", stem);
    visit(k, name);
    snprintf(name, sizeof name, "%s.bias", stem);
    visit(k, name);
}

static void blocks(walker *k, const char *list, int64_t n)
{
    static const char *const parts[] = { "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2" };
    for (int64_t i = 0; i < n; i++) {
        for (int p = 0; p < 6; p++) {
            char stem[100];
            snprintf(stem, sizeof stem, "%s.%lld.%s", list, (long long)i, parts[p]);
            pair(k, stem);
        }
    }
}

static void encoder(walker *k, const vj_official_sizes *s)
{
    pair(k, "encoder.patch_embed.proj");
    blocks(k, "encoder.blocks", s->depth);
    pair(k, "encoder.norm");
}

static void predictor(walker *k, const vj_official_sizes *s)
{
    pair(k, "predictor.predictor_embed");
    for (int64_t i = 0; i < s->mask_tokens; i++) {
        char name[64];
        snprintf(name, sizeof name, "predictor.mask_tokens.%lld", (long long)i);
        visit(k, name);
    }
    blocks(k, "predictor.predictor_blocks", s->pred_depth);
    pair(k, "predictor.predictor_norm");
    pair(k, "predictor.predictor_proj");
}

static int64_t walk(const vj_official_sizes *s, walker *k, int64_t first[VJ_OFFICIAL_GROUPS + 1])
{
    for (int group = 0; group < VJ_OFFICIAL_GROUPS; group++) {
        first[group] = k->next;
        k->decayed = group < 2;
        if (group % 2 == 0) encoder(k, s);
        else predictor(k, s);
    }
    first[VJ_OFFICIAL_GROUPS] = k->next;
    return k->next;
}

int64_t vj_official_order(const vj_official_sizes *s, void (*fn)(void *context, int64_t index, const char *name),
                          void *context)
{
    int64_t first[VJ_OFFICIAL_GROUPS + 1];
    walker k = { .fn = fn, .context = context };
    return walk(s, &k, first);
}

void vj_official_groups(const vj_official_sizes *s, int64_t first[VJ_OFFICIAL_GROUPS + 1])
{
    walker k = { 0 };
    (void)walk(s, &k, first);
}
