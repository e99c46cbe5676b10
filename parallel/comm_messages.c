// Collectives by messages: everybody sends everybody its part. Sums are made where they are owned, in tree order.

#include <string.h>

#include "parallel/comm_impl.h"
#include "parallel/tree.h"
#include "runtime/base/arena.h"

enum { SCRATCH = 8 << 20 };

static vj_mpi_message to(const vj_comm *c, int rank, const void *data, int64_t bytes)
{
    return (vj_mpi_message){ .data = (void *)(uintptr_t)data, .bytes = (size_t)bytes, .peer = c->world_rank[rank], .tag = c->id };
}

static vj_mpi_message from(const vj_comm *c, int rank, void *data, int64_t bytes)
{
    return (vj_mpi_message){ .data = data, .bytes = (size_t)bytes, .peer = c->world_rank[rank], .tag = c->id, .incoming = 1 };
}

static vj_status exchange(vj_comm *c, int n) { return n == 0 ? VJ_OK : vj_transport_exchange(&c->engine->transport, c->messages, n, &c->engine->stop); }

static vj_status scratch(vj_comm *c, size_t bytes, char **out)
{
    vj_comm_engine *e = c->engine;
    if (e->scratch_bytes < bytes) {
        vj_host_free(e->scratch);
        e->scratch = NULL;
        e->scratch_bytes = 0;
        VJ_TRY(vj_host_alloc(&e->scratch, bytes, "messages between ranks"));
        e->scratch_bytes = bytes;
    }
    *out = e->scratch;
    return VJ_OK;
}

static vj_status all_gather(vj_comm *c, const vj_comm_op *op)
{
    const int64_t size = (int64_t)vj_dtype_size(op->type);
    int64_t begin, end;
    int n = 0;
    vj_comm_part(c, op->n, op->quantum, c->rank, &begin, &end);
    if (op->in) memcpy((char *)op->out + begin * size, op->in, (size_t)((end - begin) * size));
    for (int step = 1; step < c->size; step++) {
        const int source = (c->rank + step) % c->size, target = (c->rank + c->size - step) % c->size;
        vj_comm_part(c, op->n, op->quantum, source, &begin, &end);
        if (end > begin) c->messages[n++] = from(c, source, (char *)op->out + begin * size, (end - begin) * size);
        vj_comm_part(c, op->n, op->quantum, c->rank, &begin, &end);
        if (end > begin) c->messages[n++] = to(c, target, (char *)op->out + begin * size, (end - begin) * size);
    }
    return exchange(c, n);
}

// Round by round, as much of each part as the scratch memory holds from everybody.
static vj_status reduce_scatter(vj_comm *c, const vj_comm_op *op)
{
    const int64_t size = (int64_t)vj_dtype_size(op->type), room = SCRATCH / size / c->size;
    int64_t begin, end, my_begin, my_end, longest = 0;
    char *rows;
    VJ_TRY(scratch(c, SCRATCH, &rows));
    for (int r = 0; r < c->size; r++) {
        vj_comm_part(c, op->n, op->quantum, r, &begin, &end);
        longest = end - begin > longest ? end - begin : longest;
    }
    vj_comm_part(c, op->n, op->quantum, c->rank, &my_begin, &my_end);
    for (int64_t at = 0; at < longest; at += room) {
        const int64_t mine = my_end - my_begin - at < room ? my_end - my_begin - at : room;
        int n = 0;
        for (int step = 1; step < c->size; step++) {
            const int source = (c->rank + step) % c->size, target = (c->rank + c->size - step) % c->size;
            if (source < op->present && mine > 0) c->messages[n++] = from(c, source, rows + source * room * size, mine * size);
            vj_comm_part(c, op->n, op->quantum, target, &begin, &end);
            const int64_t theirs = end - begin - at < room ? end - begin - at : room;
            if (c->rank < op->present && theirs > 0)
                c->messages[n++] = to(c, target, (const char *)op->in + (begin + at) * size, theirs * size);
        }
        VJ_TRY(exchange(c, n));
        if (mine <= 0) continue;
        for (int r = 0; r < op->present; r++)
            c->leaf[r] = r == c->rank ? (const char *)op->in + (my_begin + at) * size : rows + r * room * size;
        vj_tree_sum((char *)op->out + at * size, c->leaf, op->present, op->type, mine);
    }
    return VJ_OK;
}

static vj_status all_reduce(vj_comm *c, const vj_comm_op *op)
{
    const int64_t bytes = op->n * (int64_t)sizeof(double);
    char *rows;
    VJ_TRY(scratch(c, (size_t)(bytes * c->size), &rows));
    int n = 0;
    for (int r = 0; r < c->size; r++) {
        c->leaf[r] = r == c->rank ? op->out : rows + r * bytes;
        if (r == c->rank) continue;
        c->messages[n++] = from(c, r, rows + r * bytes, bytes);
        c->messages[n++] = to(c, r, op->out, bytes);
    }
    VJ_TRY(exchange(c, n));
    vj_fold(op->out, c->leaf, c->size, op->n, op->how);
    return VJ_OK;
}

static vj_status broadcast(vj_comm *c, const vj_comm_op *op)
{
    int n = 0;
    if (c->rank != op->root) c->messages[n++] = from(c, op->root, op->out, op->n);
    for (int r = 0; r < c->size && c->rank == op->root; r++) {
        if (r != op->root) c->messages[n++] = to(c, r, op->out, op->n);
    }
    return exchange(c, n);
}

vj_status vj_messages_run(vj_comm *c, const vj_comm_op *op)
{
    switch (op->kind) {
    case VJ_ALL_GATHER: return all_gather(c, op);
    case VJ_REDUCE_SCATTER: return reduce_scatter(c, op);
    case VJ_ALL_REDUCE: return all_reduce(c, op);
    case VJ_BROADCAST: return op->n > 0 ? broadcast(c, op) : VJ_OK;
    default: {
        double zero = 0;
        const vj_comm_op empty = { .kind = VJ_ALL_REDUCE, .out = &zero, .n = 1, .how = VJ_MAX };
        return all_reduce(c, &empty);
    }
    }
}
