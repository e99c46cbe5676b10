// One list of parts for saving and loading: what is saved is what is loaded.

#include "jobs/train/parts.h"

#include "runtime/base/arena.h"

static const struct {
    const char *name;
    vj_network network;
    vj_buffer buffer;
    vj_state_kind kind;
} part_table[] = {
    { "encoder", VJ_ENCODER, VJ_BUF_PARAM, VJ_STATE_PARAM },
    { "encoder", VJ_ENCODER, VJ_BUF_EXP_AVG, VJ_STATE_EXP_AVG },
    { "encoder", VJ_ENCODER, VJ_BUF_EXP_AVG_SQ, VJ_STATE_EXP_AVG_SQ },
    { "predictor", VJ_PREDICTOR, VJ_BUF_PARAM, VJ_STATE_PARAM },
    { "predictor", VJ_PREDICTOR, VJ_BUF_EXP_AVG, VJ_STATE_EXP_AVG },
    { "predictor", VJ_PREDICTOR, VJ_BUF_EXP_AVG_SQ, VJ_STATE_EXP_AVG_SQ },
    { "target_encoder", VJ_TARGET_ENCODER, VJ_BUF_PARAM, VJ_STATE_PARAM },
};
enum { PARTS = sizeof part_table / sizeof part_table[0] };

void vj_parts_free(vj_parts *l)
{
    vj_host_free(l->shards);
    vj_host_free(l->begin);
    *l = (vj_parts){ 0 };
}

vj_status vj_parts_make(vj_parts *l, const vj_vjepa *model, bool saving)
{
    *l = (vj_parts){ .n = PARTS };
    int units = 0;
    for (int i = 0; i < PARTS; i++) units += vj_vjepa_layout(model, part_table[i].network)->n_units;
    VJ_TRY(vj_host_alloc(&l->shards, (size_t)units * sizeof *l->shards, "a list of units"));
    vj_status status = vj_host_alloc(&l->begin, (size_t)units * sizeof *l->begin, "a list of units");
    if (status != VJ_OK) {
        vj_parts_free(l);
        return status;
    }
    int at = 0;
    for (int i = 0; i < PARTS; i++) {
        const vj_layout *layout = vj_vjepa_layout(model, part_table[i].network);
        l->parts[i] = (vj_state_part){ .network = part_table[i].name, .kind = part_table[i].kind, .layout = layout,
                                       .shards = l->shards + at, .begin = l->begin + at };
        for (int u = 0; u < layout->n_units; u++, at++) {
            l->shards[at] = (saving ? vj_vjepa_owned : vj_vjepa_held)(model, part_table[i].network, part_table[i].buffer, u, &l->begin[at]);
        }
    }
    return VJ_OK;
}

bool vj_parts_have_moments(const vj_checkpoint *from)
{
    for (int i = 0; i < PARTS; i++) {
        if (!vj_checkpoint_has(from, part_table[i].name, part_table[i].kind)) return false;
    }
    return true;
}
