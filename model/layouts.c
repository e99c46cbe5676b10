#include "model/layouts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/hash.h"
#include "runtime/base/str.h"

int64_t vj_model_encoder_params(const vj_model_config *m)
{
    const int64_t d = m->width, brick = 3 * m->tubelet * m->patch * m->patch;
    return brick * d + d + m->depth * (4 * d * d + 2 * d * m->hidden + 9 * d + m->hidden) + 2 * d;
}

int64_t vj_model_predictor_params(const vj_model_config *m, int64_t mask_tokens)
{
    const int64_t d = m->width, q = m->pred_width, hidden = 4 * q;
    return d * q + q + q * mask_tokens + m->pred_depth * (4 * q * q + 2 * q * hidden + 9 * q + hidden) + 2 * q + q * d +
           d;
}

int64_t vj_model_quantum(const vj_model_config *m)
{
    if (m->shard_quantum > 0) return m->shard_quantum;
    return vj_model_encoder_params(m) < 30000000 ? 8 : 1024;
}

typedef struct maker { vj_layout *l; vj_status status; } maker;

static void unit(maker *k, const char *name)
{
    if (k->status == VJ_OK) k->status = vj_layout_unit(k->l, name);
}

static void param(maker *k, const char *prefix, const char *name, int rank, const int64_t *shape, vj_init init,
                  double divisor)
{
    vj_param p = { .rank = rank, .init = init, .init_std = 0.02, .init_divisor = divisor };
    vj_format(p.name, sizeof p.name, "%s%s", prefix, name);
    memcpy(p.shape, shape, (size_t)rank * sizeof *shape);
    if (k->status == VJ_OK) k->status = vj_layout_param(k->l, &p);
}

static void vector(maker *k, const char *prefix, const char *name, int64_t n, vj_init init)
{
    param(k, prefix, name, 1, &n, init, 1);
}

static void matrix(maker *k, const char *prefix, const char *name, int64_t out, int64_t in, double divisor)
{
    param(k, prefix, name, 2, (const int64_t[]){ out, in }, VJ_INIT_NORMAL, divisor);
}

// Output projections of block number `index` (from 0) are divided by sqrt(2 (index + 1)).
static void block(maker *k, const char *list, int64_t index, int64_t d, int64_t hidden)
{
    char at[48];
    vj_format(at, sizeof at, "%s.%lld.", list, (long long)index);
    const double divisor = sqrt(2.0 * (double)(index + 1));
    vector(k, at, "norm1.weight", d, VJ_INIT_ONE);
    vector(k, at, "norm1.bias", d, VJ_INIT_ZERO);
    matrix(k, at, "attn.qkv.weight", 3 * d, d, 1);
    vector(k, at, "attn.qkv.bias", 3 * d, VJ_INIT_ZERO);
    matrix(k, at, "attn.proj.weight", d, d, divisor);
    vector(k, at, "attn.proj.bias", d, VJ_INIT_ZERO);
    vector(k, at, "norm2.weight", d, VJ_INIT_ONE);
    vector(k, at, "norm2.bias", d, VJ_INIT_ZERO);
    matrix(k, at, "mlp.fc1.weight", hidden, d, 1);
    vector(k, at, "mlp.fc1.bias", hidden, VJ_INIT_ZERO);
    matrix(k, at, "mlp.fc2.weight", d, hidden, divisor);
    vector(k, at, "mlp.fc2.bias", d, VJ_INIT_ZERO);
}

static vj_status finish(maker *k, vj_layout **out)
{
    if (k->status != VJ_OK) vj_layout_destroy(&k->l);
    *out = k->l;
    return k->status;
}

vj_status vj_encoder_layout(vj_layout **out, const vj_model_config *m, const char *network, int64_t quantum)
{
    *out = NULL;
    maker k = { 0 };
    VJ_TRY(vj_layout_create(&k.l, network, quantum));
    unit(&k, "patch_embed");
    param(&k, "", "patch_embed.proj.weight", 5, (const int64_t[]){ m->width, 3, m->tubelet, m->patch, m->patch },
          VJ_INIT_NORMAL, 1);
    vector(&k, "", "patch_embed.proj.bias", m->width, VJ_INIT_ZERO);
    for (int64_t i = 0; i < m->depth; i++) {
        char name[40];
        vj_format(name, sizeof name, "blocks.%lld", (long long)i);
        unit(&k, name);
        block(&k, "blocks", i, m->width, m->hidden);
    }
    unit(&k, "norm");
    vector(&k, "", "norm.weight", m->width, VJ_INIT_ONE);
    vector(&k, "", "norm.bias", m->width, VJ_INIT_ZERO);
    return finish(&k, out);
}

vj_predictor_places vj_predictor_places_of(int64_t mask_tokens)
{
    const int after = R_TOKENS + (int)mask_tokens;
    return (vj_predictor_places){
        .norm_w = after, .norm_b = after + 1, .proj_w = after + 2, .proj_b = after + 3, .blocks = after + 4
    };
}

vj_status vj_predictor_layout(vj_layout **out, const vj_model_config *m, int64_t mask_tokens, int64_t quantum)
{
    *out = NULL;
    const int64_t q = m->pred_width;
    maker k = { 0 };
    VJ_TRY(vj_layout_create(&k.l, "predictor", quantum));
    unit(&k, "predictor");
    matrix(&k, "", "predictor_embed.weight", q, m->width, 1);
    vector(&k, "", "predictor_embed.bias", q, VJ_INIT_ZERO);
    for (int64_t i = 0; i < mask_tokens; i++) {
        char name[32];
        vj_format(name, sizeof name, "mask_tokens.%lld", (long long)i);
        param(&k, "", name, 3, (const int64_t[]){ 1, 1, q }, VJ_INIT_ZERO, 1);
    }
    vector(&k, "", "predictor_norm.weight", q, VJ_INIT_ONE);
    vector(&k, "", "predictor_norm.bias", q, VJ_INIT_ZERO);
    matrix(&k, "", "predictor_proj.weight", m->width, q, 1);
    vector(&k, "", "predictor_proj.bias", m->width, VJ_INIT_ZERO);
    for (int64_t i = 0; i < m->pred_depth; i++) {
        if (i % 4 == 0) {
            char name[40];
            const int64_t last = i + 3 < m->pred_depth ? i + 3 : m->pred_depth - 1;
            vj_format(name, sizeof name, "predictor_blocks.%lld-%lld", (long long)i, (long long)last);
            unit(&k, name);
        }
        block(&k, "predictor_blocks", i, q, 4 * q);
    }
    return finish(&k, out);
}

void vj_model_digest(const vj_layout *encoder, const vj_layout *predictor, char hex[65])
{
    const vj_layout *const layouts[] = { encoder, predictor };
    vj_sha256 h;
    unsigned char digest[32];
    vj_sha256_start(&h);
    for (int n = 0; n < 2; n++) {
        const vj_layout *l = layouts[n];
        for (int p = 0; p < l->n_params; p++) {
            char line[256];
            int at = snprintf(line, sizeof line, "%s.%s", l->network, l->params[p].name);
            for (int i = 0; i < l->params[p].rank; i++)
                at += snprintf(line + at, sizeof line - (size_t)at, " %lld", (long long)l->params[p].shape[i]);
            vj_sha256_add(&h, line, (size_t)at + 1);
        }
    }
    vj_sha256_end(&h, digest);
    vj_hex(hex, digest, 32);
}
