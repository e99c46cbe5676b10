// jobs/train/room.c

#include "jobs/train/room.h"

#include <string.h>

// Steps that are drawn ahead. With `global` each has all slots, and they differ less.
enum { DRAWN = 240, DRAWN_GLOBAL = 24 };

vj_slot_bound vj_room_any(const vj_run_config *c)
{
    int64_t frames = 0;
    for (int64_t i = 0; i < c->data.fpc.n; i++) frames = c->data.fpc.v[i] > frames ? c->data.fpc.v[i] : frames;
    return (vj_slot_bound){ .clips = c->mask.group, .F = frames, .height = c->data.crop, .width = c->data.crop,
                            .n_pairs = c->mask.n, .slots = c->train.batch / c->mask.group, .in_backward = c->train.in_backward };
}

vj_status vj_room_expected(const vj_run_config *c, vj_slot_bound *out, vj_mask_counts *counts)
{
    *out = vj_room_any(c);
    vj_mask_counts drawn[VJ_MAX_MASKS];
    const int64_t side = c->data.crop / c->model.patch, steps = c->mask.truncate == VJ_TRUNCATE_GLOBAL ? DRAWN_GLOBAL : DRAWN;
    const vj_token_grid grid = { out->F / c->model.tubelet, side, side };
    VJ_TRY(vj_masks_simulate(&c->mask, (uint64_t)c->train.seed, grid, c->mask.group, out->slots, steps, drawn));
    for (int64_t i = 0; i < c->mask.n; i++) {
        out->ctx_rows += drawn[i].max_K * c->mask.group;
        out->tgt_rows += drawn[i].max_P * c->mask.group;
    }
    // Held-out figures ask for every token of clips from one of context.
    const int64_t every = c->mask.group * (grid.t * grid.h * grid.w + 1);
    if (out->tgt_rows < every) out->tgt_rows = every;
    out->rows = out->ctx_rows + out->tgt_rows;
    if (counts) memcpy(counts, drawn, sizeof drawn);
    return VJ_OK;
}
