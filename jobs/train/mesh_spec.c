#include "jobs/train/mesh_spec.h"

vj_status vj_mesh_spec_of(const vj_run_config *c, int ranks, int64_t mask_tokens, const vj_slot_bound *bound, vj_dtype real, vj_mesh_spec *out)
{
    const vj_train_config *t = &c->train;
    *out = (vj_mesh_spec){ .mode = (vj_parallel_mode)t->parallel_mode, .shards = (int)t->parallel_shard, .prefetch = (int)t->parallel_prefetch };
    out->keep = vj_train_keep(t);
    if (out->keep >= 0) return VJ_OK;
    out->keep = VJ_KEEP_NOTHING;
    if (ranks == 1 || out->mode < VJ_FSDP) return VJ_OK;
    vj_memory_plan without, with;
    vj_mesh mesh;
    vj_slot_bound b = *bound;
    b.mesh = &mesh;
    VJ_TRY(vj_mesh_plan(&mesh, out, ranks, 0));
    VJ_TRY(vj_vjepa_plan(&c->model, mask_tokens, &b, true, real, &without));
    mesh.keep = VJ_KEEP_ALL;
    VJ_TRY(vj_vjepa_plan(&c->model, mask_tokens, &b, true, real, &with));
    if (with.total - without.total <= without.total / 10) out->keep = VJ_KEEP_ALL;
    return VJ_OK;
}
