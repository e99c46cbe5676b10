// The gradient tree across ranks.
//
// Easy to get wrong: a stream may still be writing what is sent. It is waited for first; operations of the communicator run in
// the order asked for, so the last one's ticket stands for all.

#include "parallel/store_impl.h"
#include "runtime/ops/ops.h"

static size_t bytes_of(const vj_store *s, int64_t elements) { return (size_t)elements * vj_dtype_size(s->real); }
static char *at(const vj_store *s, void *buffer, int64_t elements) { return (char *)buffer + bytes_of(s, elements); }

static void part_of(const vj_store *s, int unit, int64_t *begin, int64_t *end)
{
    vj_layout_owned(s->layout, unit, vj_comm_rank(s->comm), vj_comm_size(s->comm), begin, end);
}

vj_status vj_store_join(vj_store *s, vj_comm *comm, vj_parallel_mode mode)
{
    int64_t begin, end;
    s->comm = comm;
    s->mode = mode;
    s->level_length = 0;
    VJ_TRY(vj_host_alloc(&s->part_start, (size_t)s->layout->n_units * sizeof *s->part_start, "a parameter store"));
    for (int u = 0; u < s->layout->n_units; u++) {
        part_of(s, u, &begin, &end);
        s->part_start[u] = s->level_length;
        s->level_length += end - begin;
    }
    if (s->device == NULL) return VJ_OK;
    VJ_TRY(vj_device_alloc(s->device, &s->whole, bytes_of(s, s->grad_length), "a slot's gradients"));
    if (vj_device_host_memory(s->device)) return VJ_OK;
    VJ_TRY(vj_host_alloc(&s->host_whole, bytes_of(s, s->grad_length), "gradients on their way between ranks"));
    return vj_host_alloc(&s->host_parts, bytes_of(s, s->level_length), "gradients on their way between ranks");
}

void vj_store_leave(vj_store *s)
{
    if (s->device) vj_device_free(s->device, s->whole);
    vj_host_free(s->host_whole);
    vj_host_free(s->host_parts);
}

vj_status vj_store_reduce_round(vj_store *s, vj_stream *st, bool present)
{
    const int G = vj_comm_size(s->comm);
    const int64_t left = s->step_slots - s->round * G;
    VJ_ASSERT(left >= 1 && present == (vj_comm_rank(s->comm) < left));
    if (s->host_whole && present) VJ_TRY(vj_copy_to_host(st, s->host_whole, s->whole, bytes_of(s, s->grad_length)));
    VJ_TRY(vj_stream_sync(st));
    void *whole = s->host_whole ? s->host_whole : s->whole, *parts = s->host_parts ? s->host_parts : s->level[s->current];
    vj_ticket last = 0;
    for (int u = 0; u < s->layout->n_units; u++) {
        const int64_t n = s->layout->units[u].length;
        VJ_TRY(vj_comm_reduce_scatter(s->comm, at(s, parts, s->part_start[u]), present ? at(s, whole, s->grad_start[u]) : NULL, s->real, n, s->layout->quantum,
                                      left < G ? (int)left : G, &last));
    }
    VJ_TRY_CTX(vj_comm_wait(s->comm, last), "adding up the gradients of round %lld", (long long)s->round);
    s->round++;
    return s->host_parts ? vj_copy_to_device(st, s->level[s->current], s->host_parts, bytes_of(s, s->level_length)) : VJ_OK;
}

// All parts of a flat buffer of everything, in host memory; no unit shares its place here, so gradients lie as weights do.
static vj_status gather_units(vj_store *s, void *buffer)
{
    vj_ticket last = 0;
    for (int u = 0; u < s->layout->n_units; u++)
        VJ_TRY(vj_comm_all_gather(s->comm, at(s, buffer, s->start[u]), s->real, s->layout->units[u].length, s->layout->quantum, &last));
    return vj_comm_wait(s->comm, last);
}

vj_status vj_store_gather_sum(vj_store *s, vj_stream *st)
{
    void *whole = s->host_whole ? s->host_whole : s->whole;
    int64_t begin, end;
    for (int u = 0; u < s->layout->n_units; u++) {
        part_of(s, u, &begin, &end);
        char *to = at(s, whole, s->grad_start[u] + begin);
        const char *from = at(s, s->level[s->current], s->part_start[u]);
        if (s->host_whole) VJ_TRY(vj_copy_to_host(st, to, from, bytes_of(s, end - begin)));
        else VJ_TRY(vj_copy(st, to, from, bytes_of(s, end - begin)));
    }
    VJ_TRY(vj_stream_sync(st));
    VJ_TRY_CTX(gather_units(s, whole), "gathering the step's gradients");
    return s->host_whole ? vj_copy_to_device(st, s->whole, s->host_whole, bytes_of(s, s->grad_length)) : VJ_OK;
}

vj_status vj_store_gather_weights(vj_store *s, vj_stream *st)
{
    if (s->mode == VJ_DDP) return VJ_OK;
    void *weights = s->kind[VJ_STORE_PARAM];
    if (s->host_whole) VJ_TRY(vj_copy_to_host(st, s->host_whole, weights, bytes_of(s, s->length)));
    VJ_TRY(vj_stream_sync(st));
    VJ_TRY_CTX(gather_units(s, s->host_whole ? s->host_whole : weights), "gathering the updated weights");
    return s->host_whole ? vj_copy_to_device(st, weights, s->host_whole, bytes_of(s, s->length)) : VJ_OK;
}
