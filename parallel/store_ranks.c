// Gradients across ranks: units on their way into the accumulators, and back where everybody needs all of the sum.
//
// Easy to get wrong: a stream may still be writing what is sent. It is waited for first; operations of the communicators run in
// the order asked for, so the second of a chain may read what the first one writes.

#include "parallel/store_impl.h"
#include "runtime/ops/ops.h"

vj_status vj_store_join(vj_store *s)
{
    if (s->device == NULL) return VJ_OK;
    VJ_TRY(vj_device_alloc(s->device, &s->whole, vj_store_bytes(s, s->grads.length), "a slot's gradients"));
    if (vj_device_host_memory(s->device)) return VJ_OK;
    VJ_TRY(vj_host_alloc(&s->host_whole, vj_store_bytes(s, s->grads.length), "gradients on their way between ranks"));
    return vj_host_alloc(&s->host_parts, vj_store_bytes(s, s->level_length), "gradients on their way between ranks");
}

void vj_store_leave(vj_store *s)
{
    if (s->device) vj_device_free(s->device, s->whole);
    vj_host_free(s->host_whole);
    vj_host_free(s->host_parts);
}

// First inside the shard group, then what is left of it over the replicas: two stretches of one tree over the ranks. Slots fill
// ranks from 0 on, so those that have none in the last round are the last of the world, and of every axis.
vj_status vj_store_reduce_ask(vj_store *s, vj_stream *st, int unit, bool present)
{
    const vj_mesh *m = s->mesh;
    const int64_t left = s->step_slots - s->round * m->ranks, Q = s->layout->quantum, n = s->layout->units[unit].length;
    VJ_ASSERT(left >= 1 && present == (m->rank < left));
    const int place = s->grads.of[unit];
    const int64_t at = s->grads.start[unit];
    if (present && s->host_whole) VJ_TRY(vj_copy_to_host(st, vj_store_at(s, s->host_whole, at), vj_store_at(s, s->whole, at), vj_store_bytes(s, n)));
    if (present) VJ_TRY(vj_stream_sync(st));
    void *whole = vj_store_at(s, s->host_whole ? s->host_whole : s->whole, at);
    void *mine = vj_store_at(s, s->host_parts ? s->host_parts : s->level[s->current], s->own_start[unit]);
    int64_t begin, end;
    vj_mesh_held(m, s->layout, unit, &begin, &end);
    void *part = m->replicas > 1 ? vj_store_at(s, whole, begin) : mine;
    const int64_t first = (int64_t)m->replica * m->shards;   // of this shard group
    const int64_t here = left - first < m->shards ? left - first : m->shards, groups = (left + m->shards - 1) / m->shards;
    vj_ticket *t = &s->grads.ticket[place];
    vj_store_about(s, m->shard_comm, unit);
    if (m->replicas > 1) vj_store_about(s, m->replica_comm, unit);
    if (here > 0) VJ_TRY(vj_comm_reduce_scatter(m->shard_comm, part, present ? whole : NULL, s->real, n, Q, (int)here, t));
    if (m->replicas > 1 && end > begin)
        VJ_TRY(vj_comm_reduce_scatter(m->replica_comm, mine, here > 0 ? part : NULL, s->real, end - begin, (end - begin) / (n / Q),
                                      groups < m->replicas ? (int)groups : m->replicas, t));
    vj_store_about(s, m->shard_comm, -1);
    s->grads.holds[place] = unit;
    s->grads.arrived[place] = false;
    return VJ_OK;
}

vj_status vj_store_reduce_wait(vj_store *s, int place)
{
    if (s->grads.holds[place] < 0 || s->grads.arrived[place]) return VJ_OK;
    const vj_layout *l = s->layout;
    VJ_TRY_CTX(vj_comm_wait(s->mesh->world, s->grads.ticket[place]), "adding up the gradients of %s %s, round %lld", l->network,
               l->units[s->grads.holds[place]].name, (long long)s->round);
    s->grads.arrived[place] = true;
    return VJ_OK;
}

vj_status vj_store_reduce_end(vj_store *s, vj_stream *st)
{
    for (int i = 0; i < s->grads.n; i++) {
        VJ_TRY(vj_store_reduce_wait(s, i));
        s->grads.holds[i] = -1;
    }
    s->round++;
    return s->host_parts ? vj_copy_to_device(st, s->level[s->current], s->host_parts, vj_store_bytes(s, s->level_length)) : VJ_OK;
}

// All parts of a flat buffer of whole units, in host memory.
static vj_status gather_units(vj_store *s, void *buffer)
{
    vj_ticket last = 0;
    for (int u = 0; u < s->layout->n_units; u++) {
        vj_store_about(s, s->mesh->shard_comm, u);
        VJ_TRY(vj_comm_all_gather(s->mesh->shard_comm, vj_store_at(s, buffer, s->start[u]), NULL, s->real, s->layout->units[u].length,
                                  s->layout->quantum, &last));
    }
    vj_store_about(s, s->mesh->shard_comm, -1);
    return vj_comm_wait(s->mesh->world, last);
}

vj_status vj_store_gather_sum(vj_store *s, vj_stream *st)
{
    void *whole = s->host_whole ? s->host_whole : s->whole;
    int64_t begin, end;
    for (int u = 0; u < s->layout->n_units; u++) {
        vj_mesh_owned(s->mesh, s->layout, u, &begin, &end);
        void *to = vj_store_at(s, whole, s->start[u] + begin), *from = vj_store_at(s, s->level[s->current], s->own_start[u]);
        if (s->host_whole) VJ_TRY(vj_copy_to_host(st, to, from, vj_store_bytes(s, end - begin)));
        else VJ_TRY(vj_copy(st, to, from, vj_store_bytes(s, end - begin)));
    }
    VJ_TRY(vj_stream_sync(st));
    VJ_TRY_CTX(gather_units(s, whole), "gathering the step's gradients");
    return s->host_whole ? vj_copy_to_device(st, s->whole, s->host_whole, vj_store_bytes(s, s->length)) : VJ_OK;
}

// zero2: all parts of the flat buffer of weights. hsdp: of every held part what the other replicas updated.
static vj_status share(vj_store *s, void *weights)
{
    if (!vj_mesh_in_parts(s->mesh)) return gather_units(s, weights);
    vj_ticket last = 0;
    int64_t begin, end;
    for (int u = 0; u < s->layout->n_units && s->mesh->replicas > 1; u++) {
        const int64_t chunk = s->layout->units[u].length / s->layout->quantum;
        vj_mesh_held(s->mesh, s->layout, u, &begin, &end);
        vj_store_about(s, s->mesh->replica_comm, u);
        if (end > begin)
            VJ_TRY(vj_comm_all_gather(s->mesh->replica_comm, vj_store_at(s, weights, s->held_start[u]), NULL, s->real, end - begin, (end - begin) / chunk, &last));
    }
    return last ? vj_comm_wait(s->mesh->world, last) : VJ_OK;
}

vj_status vj_store_share_weights(vj_store *s, vj_stream *st)
{
    vj_store_forget(s);
    if (!vj_mesh_shares(s->mesh) || (vj_mesh_in_parts(s->mesh) && s->mesh->replicas == 1)) return VJ_OK;
    void *weights = s->kind[VJ_STORE_PARAM], *host = s->host_whole;
    const size_t bytes = vj_store_bytes(s, vj_store_weight_elements(s));
    // The gradient's host memory is free by now and, where weights are whole, as long as they are.
    if (!vj_device_host_memory(s->device) && vj_mesh_in_parts(s->mesh)) VJ_TRY(vj_host_alloc(&host, bytes, "weights on their way between ranks"));
    vj_status status = host ? vj_copy_to_host(st, host, weights, bytes) : VJ_OK;
    if (status == VJ_OK) status = vj_stream_sync(st);
    if (status == VJ_OK) status = share(s, host ? host : weights);
    if (status != VJ_OK) vj_context("gathering the updated weights");
    if (status == VJ_OK && host) status = vj_copy_to_device(st, weights, host, bytes);
    if (host && host != s->host_whole) {
        if (status == VJ_OK) status = vj_stream_sync(st);
        vj_host_free(host);
    }
    return status;
}
