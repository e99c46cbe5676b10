// Weights in parts: whole units in buffers, while they are needed.
//
// Easy to get wrong: `holds` is what all ranks think alike of a buffer (schedule.h). It is set when a gather is asked for, not when it
// arrives.

#include "parallel/store_impl.h"
#include "runtime/ops/ops.h"

vj_status vj_store_hold(vj_store *s, bool backward)
{
    const vj_mesh *m = s->mesh;
    for (int u = 0; backward && m->keep > VJ_KEEP_ALL && u < s->layout->n_units; u++) {
        int64_t begin, end;
        vj_mesh_kept(m, s->layout, u, &begin, &end);
        s->kept_start[u] = s->kept_length;
        s->kept_length += end - begin;
    }
    if (s->device == NULL) return VJ_OK;
    const size_t gathered = vj_store_bytes(s, s->own_weights.length), kept = vj_store_bytes(s, s->kept_length);
    if (gathered > 0) VJ_TRY(vj_device_alloc(s->device, &s->gathered, gathered, "gathered weights"));
    if (kept > 0) VJ_TRY(vj_device_alloc(s->device, &s->kept, kept, "weights kept for the backward pass"));
    if (vj_device_host_memory(s->device)) return VJ_OK;
    if (gathered > 0) VJ_TRY(vj_host_alloc(&s->host_gathered, gathered, "weights on their way between ranks"));
    return vj_host_alloc(&s->host_kept, vj_store_bytes(s, s->held_length + s->kept_length), "weights on their way between ranks");
}

void vj_store_let_go(vj_store *s)
{
    const bool own = s->own_weights.length > 0;
    if (s->device && own) vj_device_free(s->device, s->gathered);
    if (s->device) vj_device_free(s->device, s->kept);
    if (own) vj_host_free(s->host_gathered);
    vj_host_free(s->host_kept);
}

void vj_store_forget(vj_store *s)
{
    for (int i = 0; s->weights && i < s->weights->n; i++) s->weights->holds[i] = -1;
}

// This rank's part of a unit in host memory: held[start .. + n).
static vj_status to_host(vj_store *s, vj_stream *st, void *held, int64_t start, int64_t n, int64_t staging, void **out)
{
    *out = vj_store_at(s, held, start);
    if (s->host_gathered == NULL) return VJ_OK;
    void *host = vj_store_at(s, s->host_kept, staging + start);
    VJ_TRY(vj_copy_to_host(st, host, *out, vj_store_bytes(s, n)));
    *out = host;
    return VJ_OK;
}

vj_status vj_store_gather_ask(vj_store *s, vj_stream *st, int unit, bool from_kept)
{
    const vj_mesh *m = s->mesh;
    const int place = s->weights->of[unit];
    if (s->weights->holds[place] == s->first_id + unit) return VJ_OK;
    vj_comm *among = from_kept ? m->keep_comm : m->shard_comm;
    int64_t begin, end;
    void *mine;
    if (from_kept) vj_mesh_kept(m, s->layout, unit, &begin, &end);
    else vj_mesh_held(m, s->layout, unit, &begin, &end);
    if (from_kept) VJ_TRY(to_host(s, st, s->kept, s->kept_start[unit], end - begin, s->held_length, &mine));
    else VJ_TRY(to_host(s, st, s->kind[VJ_STORE_PARAM], s->held_start[unit], end - begin, 0, &mine));
    VJ_TRY(vj_stream_sync(st));   // what the buffer held may still be in use
    void *room = vj_store_at(s, s->host_gathered ? s->host_gathered : s->gathered, s->weights->start[unit]);
    vj_store_about(s, among, unit);
    VJ_TRY(vj_comm_all_gather(among, room, mine, s->real, s->layout->units[unit].length, s->layout->quantum, &s->weights->ticket[place]));
    vj_store_about(s, among, -1);
    s->weights->holds[place] = s->first_id + unit;
    s->weights->arrived[place] = false;
    return VJ_OK;
}

vj_status vj_store_gather_wait(vj_store *s, vj_stream *st, int unit)
{
    const int place = s->weights->of[unit];
    VJ_ASSERT(s->weights->holds[place] == s->first_id + unit);
    if (s->weights->arrived[place]) return VJ_OK;
    VJ_TRY_CTX(vj_comm_wait(s->mesh->world, s->weights->ticket[place]), "gathering %s %s", s->layout->network, s->layout->units[unit].name);
    s->weights->arrived[place] = true;
    const int64_t at = s->weights->start[unit];
    return s->host_gathered ? vj_copy_to_device(st, vj_store_at(s, s->gathered, at), vj_store_at(s, s->host_gathered, at),
                                                vj_store_bytes(s, s->layout->units[unit].length))
                            : VJ_OK;
}

vj_status vj_store_keep(vj_store *s, vj_stream *st, int unit)
{
    int64_t begin, end;
    vj_mesh_kept(s->mesh, s->layout, unit, &begin, &end);
    VJ_ASSERT(s->weights->holds[s->weights->of[unit]] == s->first_id + unit);
    return vj_copy(st, vj_store_at(s, s->kept, s->kept_start[unit]), vj_store_at(s, s->gathered, s->weights->start[unit] + begin),
                   vj_store_bytes(s, end - begin));
}
