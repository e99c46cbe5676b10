#include "parallel/mesh.h"

#include "runtime/base/str.h"

void vj_mesh_legal_shards(int ranks, char *out, size_t size)
{
    vj_str text = { 0 };
    for (int s = 2; s < ranks; s++) {
        if (ranks % s == 0) vj_str_printf(&text, "%s%d", text.length ? ", " : "", s);
    }
    vj_format(out, size, "%s", text.length ? vj_str_text(&text) : "none");
    vj_str_free(&text);
}

vj_status vj_mesh_plan(vj_mesh *m, const vj_mesh_spec *spec, int ranks, int rank)
{
    VJ_ASSERT(ranks >= 1 && rank >= 0 && rank < ranks && spec->prefetch >= 0);
    *m = (vj_mesh){ .mode = spec->mode, .ranks = ranks, .rank = rank, .shards = ranks, .prefetch = spec->prefetch, .keep = spec->keep };
    if (spec->mode == VJ_HSDP) {
        char legal[128];
        vj_mesh_legal_shards(ranks, legal, sizeof legal);
        VJ_CHECK(spec->shards >= 2 && spec->shards < ranks && ranks % spec->shards == 0, VJ_ERR_CONFIG,
                 "parallel.mode=hsdp with parallel.shard=%d on %d ranks: the shards must divide the ranks, and both shards and replicas be two or "
                 "more; possible: %s (all ranks as one shard group is parallel.mode=fsdp)",
                 spec->shards, ranks, legal);
        m->shards = spec->shards;
    }
    VJ_CHECK(spec->keep <= VJ_KEEP_ALL || m->shards % spec->keep == 0, VJ_ERR_CONFIG,
             "parallel.reshard_after_forward=%d: %d ranks hold the weights together, and it must divide them", spec->keep, m->shards);
    m->shard = rank % m->shards;
    m->replica = rank / m->shards;
    m->replicas = ranks / m->shards;
    return VJ_OK;
}

vj_status vj_mesh_open(vj_mesh *m, const vj_mesh_spec *spec, vj_comm *world)
{
    VJ_TRY(vj_mesh_plan(m, spec, vj_comm_size(world), vj_comm_rank(world)));
    m->world = m->shard_comm = world;
    vj_status status = VJ_OK;
    if (m->replicas > 1) {
        m->shard_comm = NULL;
        status = vj_comm_split(world, m->replica, &m->shard_comm);
        if (status == VJ_OK) status = vj_comm_split(world, m->shard, &m->replica_comm);
    }
    if (status == VJ_OK && vj_mesh_in_parts(m) && m->keep > VJ_KEEP_ALL)
        status = m->keep == m->shards ? VJ_OK : vj_comm_split(world, m->rank / m->keep, &m->keep_comm);
    if (m->replicas > 1 && m->shard_comm) vj_comm_name(m->shard_comm, "shards");
    if (m->replica_comm) vj_comm_name(m->replica_comm, "replicas");
    if (m->keep_comm) vj_comm_name(m->keep_comm, "neighbours");
    if (status == VJ_OK && m->keep_comm == NULL) m->keep_comm = m->shard_comm;
    if (status != VJ_OK) vj_mesh_close(m);
    return status;
}

void vj_mesh_close(vj_mesh *m)
{
    if (m->keep_comm != m->shard_comm) vj_comm_destroy(&m->keep_comm);
    if (m->replica_comm) vj_comm_destroy(&m->replica_comm);
    if (m->shard_comm != m->world) vj_comm_destroy(&m->shard_comm);
    *m = (vj_mesh){ 0 };
}

bool vj_mesh_in_parts(const vj_mesh *m) { return m && m->mode >= VJ_FSDP; }
bool vj_mesh_shares(const vj_mesh *m) { return m && m->mode != VJ_DDP; }

void vj_mesh_held(const vj_mesh *m, const vj_layout *l, int unit, int64_t *begin, int64_t *end)
{
    const bool parts = vj_mesh_in_parts(m);
    vj_layout_owned(l, unit, parts ? m->shard : 0, parts ? m->shards : 1, begin, end);
}

void vj_mesh_owned(const vj_mesh *m, const vj_layout *l, int unit, int64_t *begin, int64_t *end)
{
    const int64_t chunk = l->units[unit].length / l->quantum;
    int64_t first, last;
    vj_layout_owned(l, unit, m ? m->shard : 0, m ? m->shards : 1, &first, &last);
    const int64_t c = (last - first) / chunk, i = m ? m->replica : 0, R = m ? m->replicas : 1;
    *begin = first + i * c / R * chunk;
    *end = first + (i + 1) * c / R * chunk;
}

void vj_mesh_kept(const vj_mesh *m, const vj_layout *l, int unit, int64_t *begin, int64_t *end)
{
    vj_layout_owned(l, unit, m->shard % m->keep, m->keep, begin, end);
}
