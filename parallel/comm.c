// Asking for operations and waiting for them; the thread that carries them out.

#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "parallel/comm_impl.h"
#include "parallel/tree.h"
#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/str.h"
#include "runtime/log/timeline.h"

static _Thread_local double waited;   // seconds, for tickets

int vj_comm_peer_code(const vj_comm *c) { return c && c->engine ? c->engine->peer_code : -1; }

int vj_comm_rank(const vj_comm *c) { return c->rank; }
int vj_comm_size(const vj_comm *c) { return c->size; }
int vj_comm_local_size(const vj_comm *c) { return c->local_size; }

const char *vj_comm_carrier(const vj_comm *c) { return !c->engine ? "self" : c->node ? "shared memory" : c->engine->transport.api->library; }

const vj_mpi_api *vj_comm_mpi(const vj_comm *c) { return c->engine ? c->engine->transport.api : NULL; }

void vj_comm_delay(vj_comm *world, double latency_seconds, double bytes_per_second)
{
    vj_comm_engine *e = world->engine;
    if (e == NULL) return;
    pthread_mutex_lock(&e->mutex);   // the thread reads them behind it
    VJ_ASSERT(e->asked == e->done && world->node == NULL);
    e->transport.latency = latency_seconds;
    e->transport.seconds_per_byte = bytes_per_second > 0 ? 1 / bytes_per_second : 0;
    pthread_mutex_unlock(&e->mutex);
}

void vj_comm_traffic(const vj_comm *world, int64_t *exchanges, int64_t *bytes)
{
    *exchanges = world->engine ? world->engine->transport.exchanges : 0;
    *bytes = world->engine ? world->engine->transport.bytes : 0;
}

void vj_comm_part(const vj_comm *c, int64_t n, int64_t quantum, int rank, int64_t *begin, int64_t *end)
{
    const int64_t chunk = n / quantum;
    VJ_ASSERT(quantum > 0 && chunk * quantum == n);
    *begin = rank * quantum / c->size * chunk;
    *end = (rank + 1) * quantum / c->size * chunk;
}

void vj_fold(double *out, const void *const *leaf, int n_leaves, int64_t n, vj_reduction how)
{
    if (how == VJ_SUM) {
        vj_tree_sum(out, leaf, n_leaves, VJ_F64, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        double v = ((const double *)leaf[0])[i];
        for (int r = 1; r < n_leaves; r++) {
            const double w = ((const double *)leaf[r])[i];
            v = how == VJ_MIN ? fmin(v, w) : fmax(v, w);
        }
        out[i] = v;
    }
}

// ---- watching ---------------------------------------------------------------------------------------------------------------
void vj_comm_observe(vj_comm *world, vj_comm_observer f, void *context)
{
    vj_comm_engine *e = world->engine;
    if (e == NULL) return;
    pthread_mutex_lock(&e->observing);
    VJ_ASSERT(e->watchers < VJ_COMM_OBSERVERS);
    e->watcher[e->watchers++] = (vj_comm_watcher){ f, context };
    pthread_mutex_unlock(&e->observing);
}

void vj_comm_unobserve(vj_comm *world, vj_comm_observer f, void *context)
{
    vj_comm_engine *e = world->engine;
    if (e == NULL) return;
    pthread_mutex_lock(&e->observing);
    int n = 0;
    for (int i = 0; i < e->watchers; i++) {
        if (e->watcher[i].f != f || e->watcher[i].context != context) e->watcher[n++] = e->watcher[i];
    }
    e->watchers = n;
    pthread_mutex_unlock(&e->observing);
}

void vj_comm_about(vj_comm *c, const char *what, int unit)
{
    c->what = what;
    c->unit = unit;
}

void vj_comm_name(vj_comm *c, const char *name) { c->name = name; }

static void tell(vj_comm_engine *e, const vj_comm_event *event)
{
    pthread_mutex_lock(&e->observing);
    for (int i = 0; i < e->watchers; i++) e->watcher[i].f(e->watcher[i].context, event);
    pthread_mutex_unlock(&e->observing);
}

static vj_comm_event event_of(const vj_comm_op *op, uint64_t seq)
{
    static const char *const kinds[] = { "all-gather", "reduce-scatter", "all-reduce", "broadcast", "barrier" };
    const bool typed = op->kind == VJ_ALL_GATHER || op->kind == VJ_REDUCE_SCATTER;
    const size_t size = typed ? vj_dtype_size(op->type) : op->kind == VJ_ALL_REDUCE ? sizeof(double) : 1;
    return (vj_comm_event){ .seq = seq, .op = kinds[op->kind], .what = op->what, .unit = op->what ? op->unit : -1,
                            .bytes = op->n * (int64_t)size, .comm = op->comm->name, .size = op->comm->size, .asked = op->asked,
                            .began = vj_now() };
}

// ---- the thread -------------------------------------------------------------------------------------------------------------
static vj_status carry_out(const vj_comm_op *op) { return op->comm->node ? vj_node_run(op->comm->node, op->comm, op) : vj_messages_run(op->comm, op); }

static void *run(void *context)
{
    vj_comm_engine *e = context;
    prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);   // naps between looks at messages are 20 us: not 70, as threads have it
    // Requests to stop are for the first thread.
    sigset_t requests;
    sigemptyset(&requests);
    static const int all[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 };
    for (int i = 0; i < 5; i++) sigaddset(&requests, all[i]);
    pthread_sigmask(SIG_BLOCK, &requests, NULL);
    pthread_mutex_lock(&e->mutex);
    for (;;) {
        while (e->done == e->asked && !e->closing) pthread_cond_wait(&e->work, &e->mutex);
        if (e->done == e->asked) break;
        const vj_comm_op op = e->ring[e->done % VJ_COMM_QUEUE];
        const uint64_t seq = e->done + 1;
        pthread_mutex_unlock(&e->mutex);
        vj_comm_event event = event_of(&op, seq);
        tell(e, &event);
        const vj_status status = carry_out(&op);
        event.ended = vj_now();
        event.failed = status != VJ_OK;
        tell(e, &event);
        pthread_mutex_lock(&e->mutex);
        if (status != VJ_OK) {
            e->status = status;
            vj_format(e->text, sizeof e->text, "%s", vj_error_text());
            pthread_cond_broadcast(&e->done_one);
            break;
        }
        e->done++;
        pthread_cond_broadcast(&e->done_one);
    }
    pthread_mutex_unlock(&e->mutex);
    return NULL;
}

static vj_status ask(const vj_comm_op *op, vj_ticket *t)
{
    vj_comm_engine *e = op->comm->engine;
    *t = 0;
    if (e == NULL) return VJ_OK;
    pthread_mutex_lock(&e->mutex);
    while (e->asked - e->done == VJ_COMM_QUEUE && e->status == VJ_OK) pthread_cond_wait(&e->done_one, &e->mutex);
    const vj_status status = e->status;
    if (status == VJ_OK) {
        vj_comm_op *mine = &e->ring[e->asked % VJ_COMM_QUEUE];
        *mine = *op;
        mine->what = op->comm->what;
        mine->unit = op->comm->unit;
        mine->asked = vj_now();
        *t = ++e->asked;
        pthread_cond_signal(&e->work);
    }
    pthread_mutex_unlock(&e->mutex);
    return status == VJ_OK ? VJ_OK : vj_fail_text(status, e->text);
}

vj_status vj_comm_wait(vj_comm *c, vj_ticket t)
{
    vj_comm_engine *e = c->engine;
    if (e == NULL) return VJ_OK;
    pthread_mutex_lock(&e->mutex);
    if (e->done < t && e->status == VJ_OK) {
        vj_span_begin("wait for ranks", -1);
        const double began = vj_now();
        while (e->done < t && e->status == VJ_OK) pthread_cond_wait(&e->done_one, &e->mutex);
        waited += vj_now() - began;
        vj_span_end("wait for ranks");
    }
    const bool done = e->done >= t;
    pthread_mutex_unlock(&e->mutex);
    return done ? VJ_OK : vj_fail_text(e->status, e->text);
}

double vj_comm_waited(void) { return waited; }

// ---- operations ---------------------------------------------------------------------------------------------------------------
vj_status vj_comm_all_gather(vj_comm *c, void *all, const void *mine, vj_dtype type, int64_t n, int64_t quantum, vj_ticket *t)
{
    const vj_comm_op op = { .kind = VJ_ALL_GATHER, .comm = c, .out = all, .in = mine, .type = type, .n = n, .quantum = quantum };
    if (c->engine == NULL && mine) memcpy(all, mine, (size_t)n * vj_dtype_size(type));
    return ask(&op, t);
}

vj_status vj_comm_reduce_scatter(vj_comm *c, void *mine, const void *all, vj_dtype type, int64_t n, int64_t quantum, int present, vj_ticket *t)
{
    VJ_ASSERT(present >= 1 && present <= c->size && (all != NULL || c->rank >= present));
    const vj_comm_op op = { .kind = VJ_REDUCE_SCATTER, .comm = c, .out = mine, .in = all, .type = type, .n = n, .quantum = quantum, .present = present };
    if (c->engine == NULL && mine != all) memcpy(mine, all, (size_t)n * vj_dtype_size(type));
    return ask(&op, t);
}

vj_status vj_comm_all_reduce(vj_comm *c, double *values, int64_t n, vj_reduction how, vj_ticket *t)
{
    VJ_ASSERT(n >= 0 && n <= VJ_COMM_SCALARS);
    const vj_comm_op op = { .kind = VJ_ALL_REDUCE, .comm = c, .out = values, .n = n, .how = how };
    return ask(&op, t);
}

vj_status vj_comm_broadcast(vj_comm *c, int root, void *data, size_t bytes, vj_ticket *t)
{
    VJ_ASSERT(root >= 0 && root < c->size);
    const vj_comm_op op = { .kind = VJ_BROADCAST, .comm = c, .out = data, .n = (int64_t)bytes, .root = root };
    return ask(&op, t);
}

vj_status vj_comm_barrier(vj_comm *c, vj_ticket *t)
{
    const vj_comm_op op = { .kind = VJ_BARRIER, .comm = c };
    return ask(&op, t);
}

vj_status vj_comm_broadcast_now(vj_comm *c, int root, void *data, size_t bytes)
{
    vj_ticket t;
    VJ_TRY(vj_comm_broadcast(c, root, data, bytes, &t));
    return vj_comm_wait(c, t);
}

vj_status vj_comm_all_reduce_now(vj_comm *c, double *values, int64_t n, vj_reduction how)
{
    vj_ticket t;
    VJ_TRY(vj_comm_all_reduce(c, values, n, how, &t));
    return vj_comm_wait(c, t);
}

vj_status vj_comm_barrier_now(vj_comm *c)
{
    vj_ticket t;
    VJ_TRY(vj_comm_barrier(c, &t));
    return vj_comm_wait(c, t);
}

vj_status vj_comm_agree(vj_comm *c, vj_status status)
{
    if (c->size == 1) return status;
    double failed[2] = { status != VJ_OK, status != VJ_OK && vj_error_text()[0] ? c->rank : c->size };
    // Both in one: the greatest of the first, the least of the second.
    failed[1] = -failed[1];
    VJ_TRY_CTX(vj_comm_all_reduce_now(c, failed, 2, VJ_MAX), "agreeing with the other ranks");
    if (failed[0] == 0) return VJ_OK;
    const int first = (int)-failed[1];
    double code = first == c->size || first == c->rank ? status : 0;
    VJ_TRY(vj_comm_all_reduce_now(c, &code, 1, VJ_MAX));
    if (c->rank != first) vj_error_clear();
    return (vj_status)code;
}

// ---- communicators ---------------------------------------------------------------------------------------------------------------
static vj_status make(vj_comm **out, vj_comm_engine *engine, int rank, int size, const int *world_rank)
{
    vj_comm *c;
    *out = NULL;
    VJ_TRY(vj_host_alloc(&c, sizeof *c, "a communicator"));
    *c = (vj_comm){ .engine = engine, .rank = rank, .size = size, .local_size = engine ? engine->transport.local_size : 1,
                    .name = world_rank ? "part" : "world" };
    const size_t n = (size_t)size;
    vj_status status = vj_host_alloc(&c->world_rank, n * sizeof *c->world_rank, "a communicator");
    if (status == VJ_OK) status = vj_host_alloc(&c->leaf, n * sizeof *c->leaf, "a communicator");
    if (status == VJ_OK) status = vj_host_alloc(&c->messages, 2 * n * sizeof *c->messages, "a communicator");
    if (status != VJ_OK) {
        vj_comm_destroy(&c);
        return status;
    }
    for (int r = 0; r < size; r++) c->world_rank[r] = world_rank ? world_rank[r] : r;
    *out = c;
    return VJ_OK;
}

vj_status vj_comm_self(vj_comm **out) { return make(out, NULL, 0, 1, NULL); }

// Shared memory where all its ranks are on one machine.
static vj_status share(vj_comm *c)
{
    bool together = c->shared_memory && c->size > 1;
    for (int r = 1; r < c->size; r++)
        together = together && c->engine->transport.machine[c->world_rank[r]] == c->engine->transport.machine[c->world_rank[0]];
    return together ? vj_node_create(&c->node, c) : VJ_OK;
}

static void end_engine(vj_comm_engine *e)
{
    pthread_mutex_lock(&e->mutex);
    e->closing = true;
    if (e->status != VJ_OK) e->stop = 1;
    const bool failed = e->stop != 0;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->mutex);
    pthread_join(e->thread, NULL);
    // MPI_Finalize waits for all ranks: not where one may be gone.
    if (!failed) vj_transport_close(&e->transport);
    pthread_cond_destroy(&e->work);
    pthread_cond_destroy(&e->done_one);
    pthread_mutex_destroy(&e->mutex);
    pthread_mutex_destroy(&e->observing);
    vj_host_free(e->scratch);
    vj_host_free(e);
}

void vj_comm_destroy(vj_comm **comm)
{
    vj_comm *c = *comm;
    if (!c) return;
    if (c->world && c->engine) end_engine(c->engine);
    vj_node_destroy(&c->node);
    vj_host_free(c->world_rank);
    vj_host_free(c->leaf);
    vj_host_free(c->messages);
    vj_host_free(c);
    *comm = NULL;
}

vj_status vj_world_open(vj_comm **out, const vj_world_request *request)
{
    *out = NULL;
    vj_transport t;
    VJ_TRY(vj_transport_open(&t, request->ranks));
    if (t.size == 1 && t.api == NULL) return vj_comm_self(out);
    t.latency = request->latency_seconds;
    t.seconds_per_byte = request->bytes_per_second > 0 ? 1 / request->bytes_per_second : 0;
    vj_comm_engine *e;
    VJ_TRY(vj_host_alloc(&e, sizeof *e, "a communicator"));
    *e = (vj_comm_engine){ .transport = t, .next_id = 1, .peer_code = -1 };
    pthread_mutex_init(&e->mutex, NULL);
    pthread_mutex_init(&e->observing, NULL);
    pthread_cond_init(&e->work, NULL);
    pthread_cond_init(&e->done_one, NULL);
    VJ_CHECK(pthread_create(&e->thread, NULL, run, e) == 0, VJ_ERR_NOMEM, "the communication thread cannot be started");
    vj_comm *c;
    VJ_TRY(make(&c, e, t.rank, t.size, NULL));
    c->world = true;
    c->shared_memory = request->shared_memory && t.latency <= 0 && t.seconds_per_byte <= 0;
    *out = c;
    return share(c);
}

vj_status vj_comm_split(vj_comm *c, int color, vj_comm **out)
{
    *out = NULL;
    if (c->engine == NULL) return vj_comm_self(out);
    double *colors = NULL;
    int *members = NULL;
    VJ_TRY(vj_host_alloc(&colors, (size_t)c->size * sizeof *colors, "a communicator"));
    vj_status status = vj_host_alloc(&members, (size_t)c->size * sizeof *members, "a communicator");
    colors[c->rank] = color;   // the others' are 0: their sum is each rank's color
    if (status == VJ_OK) status = vj_comm_all_reduce_now(c, colors, c->size, VJ_SUM);
    int n = 0, rank = 0;
    for (int r = 0; r < c->size && status == VJ_OK; r++) {
        if ((int)colors[r] != color) continue;
        if (r == c->rank) rank = n;
        members[n++] = c->world_rank[r];
    }
    const int id = c->engine->next_id++;   // all ranks split in the same order
    if (status == VJ_OK) status = make(out, c->engine, rank, n, members);
    vj_host_free(colors);
    vj_host_free(members);
    VJ_TRY(status);
    (*out)->id = id;
    (*out)->shared_memory = c->shared_memory;
    return share(*out);
}

void vj_comm_abort(vj_comm *c, int code)
{
    if (c == NULL || c->engine == NULL) return;
    c->engine->stop = 1;
    if (c->node) vj_node_abort(c->node, code);
    vj_transport_abort(&c->engine->transport, code);
}
