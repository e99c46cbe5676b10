// What an encoder makes of whole clips: the forward pass over all tokens, stopped after each listed block to read it.

#include "model/vjepa_impl.h"

vj_status vj_feature_pass(vj_vjepa *m, vj_ctx *ctx, vj_network network, const vj_slot_plan *p, const int *layers,
                          int n_layers, float *out)
{
    const int64_t R = p->all.rows, C = m->config.width;
    vj_store *store = network == VJ_ENCODER ? m->encoder : m->target;
    vj_blocks *blocks = network == VJ_ENCODER ? &m->encoder_blocks : &m->target_blocks;
    const vj_mark mark = vj_arena_mark(&ctx->scratch);
    vj_tensor x, h;
    VJ_SCRATCH(ctx, &x, R, C);
    VJ_TRY(vj_embed_all(m, ctx, store, p, &x));
    int64_t done = 0;
    for (int i = 0; i < n_layers; i++) {
        VJ_TRY(vj_blocks_run(ctx, blocks, &x, &p->all, done, layers[i] + 1));
        done = layers[i] + 1;
        const vj_mark inner = vj_arena_mark(&ctx->scratch);
        VJ_SCRATCH(ctx, &h, R, C);
        VJ_TRY(vj_encoder_final_norm(m, ctx, store, &h, &x));                         // h (R, C)
        VJ_RUN(ctx, vj_download(ctx->st, out + i * R * C, VJ_F32, &h));
        vj_arena_reset(&ctx->scratch, inner);
    }
    vj_arena_reset(&ctx->scratch, mark);
    return VJ_OK;
}
