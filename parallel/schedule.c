#include "parallel/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "parallel/store_impl.h"
#include "runtime/base/arena.h"

typedef enum op_kind { OP_GATHER, OP_GATHER_KEPT, OP_WAIT, OP_KEEP, OP_FREE, OP_REDUCE, OP_REDUCE_WAIT } op_kind;

typedef struct use {
    vj_use_kind kind;
    vj_store *store;
    int unit;
    int first;                 // its operations: first .. the next use's first - 1
    bool from_kept;            // a gather for the backward pass whose weights were kept in part
    bool last;                 // a release after which the unit comes again in the backward pass
} use;

typedef struct operation {
    op_kind kind;
    vj_store *store;
    int unit;
    int at;                    // use
    int order;                 // among those of one use
} operation;

typedef enum state { IDLE, IGNORING, RECORDING, RUNNING, ALONE } state;

enum { STORES = 3 };
struct vj_schedule {
    const vj_mesh *mesh;
    vj_store *store[STORES];
    int n_stores;
    state state;
    use *uses;
    int n_uses, room;
    operation *ops;
    int n_ops;
    int at;                    // the next use
};

vj_status vj_schedule_create(vj_schedule **out, const vj_mesh *mesh)
{
    VJ_TRY(vj_host_alloc(out, sizeof **out, "a schedule"));
    (*out)->mesh = mesh;
    return VJ_OK;
}

void vj_schedule_destroy(vj_schedule **q)
{
    if (!*q) return;
    vj_host_free((*q)->uses);
    vj_host_free((*q)->ops);
    vj_host_free(*q);
    *q = NULL;
}

void vj_schedule_add(vj_schedule *q, vj_store *s)
{
    VJ_ASSERT(q->n_stores < STORES);
    q->store[q->n_stores++] = s;
    s->schedule = q;
}

void vj_schedule_record(vj_schedule *q)
{
    q->n_uses = 0;
    q->state = RECORDING;
}

void vj_schedule_ignore(vj_schedule *q, bool ignored) { q->state = ignored ? IGNORING : IDLE; }

static vj_status write_down(vj_schedule *q, vj_use_kind kind, vj_store *s, int unit)
{
    if (q->n_uses == q->room) {
        use *more = NULL;
        const int room = q->room ? 2 * q->room : 256;
        VJ_TRY(vj_host_alloc(&more, (size_t)room * sizeof *more, "a schedule"));
        if (q->n_uses > 0) memcpy(more, q->uses, (size_t)q->n_uses * sizeof *more);
        vj_host_free(q->uses);
        q->uses = more;
        q->room = room;
    }
    q->uses[q->n_uses++] = (use){ .kind = kind, .store = s, .unit = unit };
    return VJ_OK;
}

// ---- from uses to operations ----------------------------------------------------------------------------------------------------
static void attach(vj_schedule *q, int at, op_kind kind, vj_store *s, int unit, int order)
{
    q->ops[q->n_ops++] = (operation){ .kind = kind, .store = s, .unit = unit, .at = at, .order = order };
}

// The next use of a unit after `from`, or -1.
static int next_use(const vj_schedule *q, const vj_store *s, int unit, vj_use_kind kind, int from)
{
    for (int i = from; i < q->n_uses; i++) {
        if (q->uses[i].store == s && q->uses[i].unit == unit && q->uses[i].kind == kind) return i;
    }
    return -1;
}

// The end of the last use before gather `g` of another unit in the buffer that g needs, or -1.
static int buffer_free_after(const vj_schedule *q, int g)
{
    const use *want = &q->uses[g];
    const vj_places *p = want->store->weights;
    for (int i = g - 1; i >= 0; i--) {
        const use *u = &q->uses[i];
        const bool ends = u->kind == VJ_USE_RELEASE || u->kind == VJ_USE_REDUCE;
        const bool same = u->store == want->store && u->unit == want->unit;
        if (u->store->weights == p && ends && !same && p->of[u->unit] == p->of[want->unit]) return i;
    }
    return -1;
}

static void plan_gathers(vj_schedule *q)
{
    const int depth = q->mesh->prefetch;
    int window[4];             // the uses of the last depth + 1 gathers
    int n = 0;
    for (int i = 0; i < q->n_uses; i++) {
        use *u = &q->uses[i];
        if (u->kind != VJ_USE_GATHER) continue;
        window[n++ % (depth + 1)] = i;
        const int early = n > depth ? window[(n - 1 - depth) % (depth + 1)] : window[0], free_after = buffer_free_after(q, i);
        const int at = early > free_after ? early : free_after;
        attach(q, at, u->from_kept ? OP_GATHER_KEPT : OP_GATHER, u->store, u->unit, i);
        attach(q, i, OP_WAIT, u->store, u->unit, q->n_uses);
    }
}

// What is between a unit's forward and its backward: a release, after which it is gathered once more and reduced.
static void find_backward(vj_schedule *q)
{
    for (int i = 0; i < q->n_uses; i++) {
        use *u = &q->uses[i];
        if (u->kind != VJ_USE_RELEASE || u->store->kept_length == 0) continue;
        const int again = next_use(q, u->store, u->unit, VJ_USE_GATHER, i);
        if (again < 0 || next_use(q, u->store, u->unit, VJ_USE_REDUCE, again) < 0) continue;
        u->last = q->uses[again].from_kept = true;
    }
}

static int in_order(const void *a, const void *b)
{
    const operation *x = a, *y = b;
    return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : (x->order > y->order) - (x->order < y->order);
}

void vj_schedule_forget(vj_schedule *q)
{
    for (int i = 0; i < q->n_stores; i++) vj_store_forget(q->store[i]);
}

// Gathers of units that the buffer still holds from earlier in the slot, whatever it held before.
static void drop_what_is_there(vj_schedule *q)
{
    int kept = 0;
    for (int i = 0; i < q->n_ops; i++) {
        const operation op = q->ops[i];
        const bool gather = op.kind == OP_GATHER || op.kind == OP_GATHER_KEPT;
        vj_places *p = op.store->weights;
        const int id = op.store->first_id + op.unit;
        if (gather && p->holds[p->of[op.unit]] == id) continue;
        if (gather) p->holds[p->of[op.unit]] = id;
        q->ops[kept++] = op;
    }
    q->n_ops = kept;
    vj_schedule_forget(q);
}

vj_status vj_schedule_compile(vj_schedule *q)
{
    q->state = IDLE;
    vj_host_free(q->ops);
    q->ops = NULL;
    q->n_ops = 0;
    VJ_TRY(vj_host_alloc(&q->ops, (size_t)(2 * q->n_uses + 1) * sizeof *q->ops, "a schedule"));
    if (vj_mesh_in_parts(q->mesh)) {
        find_backward(q);
        plan_gathers(q);
    }
    for (int i = 0; i < q->n_uses; i++) {
        const use *u = &q->uses[i];
        // Keeping comes before anything may overwrite the buffer, a reduction after the gathers.
        if (u->last) attach(q, i, OP_KEEP, u->store, u->unit, -1);
        if (u->kind == VJ_USE_GRADIENT) attach(q, i, OP_FREE, u->store, u->unit, q->n_uses);
        if (u->kind == VJ_USE_REDUCE) attach(q, i, q->mesh->prefetch == 0 ? OP_REDUCE_WAIT : OP_REDUCE, u->store, u->unit, q->n_uses);
    }
    qsort(q->ops, (size_t)q->n_ops, sizeof *q->ops, in_order);
    drop_what_is_there(q);
    int op = 0;
    for (int i = 0; i < q->n_uses; i++) {
        while (op < q->n_ops && q->ops[op].at < i) op++;
        q->uses[i].first = op;
    }
    return VJ_OK;
}

// ---- carrying out ---------------------------------------------------------------------------------------------------------------------
static vj_status carry_out(const operation *op, vj_stream *st, bool present)
{
    vj_store *s = op->store;
    const vj_tensor gradient = s->levels > 0 ? vj_store_grad_unit(s, op->unit) : (vj_tensor){ 0 };
    switch (op->kind) {
    case OP_GATHER:
    case OP_GATHER_KEPT: return vj_store_gather_ask(s, st, op->unit, op->kind == OP_GATHER_KEPT);
    case OP_WAIT: return vj_store_gather_wait(s, st, op->unit);
    case OP_KEEP: return vj_store_keep(s, st, op->unit);
    case OP_FREE:
        VJ_TRY(vj_store_reduce_wait(s, s->grads.of[op->unit]));
        // Where every unit has a place of its own, all of them were zeroed when the slot began.
        return present && s->grads.apart < s->layout->n_units ? vj_zero(st, gradient.data, vj_tensor_bytes(&gradient)) : VJ_OK;
    default:
        VJ_TRY(vj_store_reduce_ask(s, st, op->unit, present));
        return op->kind == OP_REDUCE_WAIT ? vj_store_reduce_wait(s, s->grads.of[op->unit]) : VJ_OK;
    }
}

static vj_status carry_out_use(vj_schedule *q, vj_stream *st, bool present)
{
    const int i = q->at++, end = q->at < q->n_uses ? q->uses[q->at].first : q->n_ops;
    for (int k = q->uses[i].first; k < end; k++) VJ_TRY(carry_out(&q->ops[k], st, present));
    return VJ_OK;
}

void vj_schedule_begin(vj_schedule *q)
{
    q->at = 0;
    q->state = RUNNING;
}

vj_status vj_schedule_end(vj_schedule *q)
{
    VJ_CHECK(q->at == q->n_uses, VJ_ERR_BUG, "a slot used units %d times, its schedule has %d", q->at, q->n_uses);
    q->state = IDLE;
    return VJ_OK;
}

vj_status vj_schedule_walk(vj_schedule *q, vj_stream *st)
{
    for (q->at = 0; q->at < q->n_uses;) VJ_TRY(carry_out_use(q, st, false));
    return VJ_OK;
}

// ---- passes of one rank ---------------------------------------------------------------------------------------------------------------
enum { NOBODY = -1 };
typedef struct call { int32_t store, unit; } call;

static vj_status gather_now(vj_store *s, vj_stream *st, int unit)
{
    VJ_TRY(vj_store_gather_ask(s, st, unit, false));
    return vj_store_gather_wait(s, st, unit);
}

static vj_status gather_alone(vj_schedule *q, vj_stream *st, vj_store *s, int unit)
{
    const int place = s->weights->of[unit];
    if (s->weights->holds[place] == s->first_id + unit) return vj_store_gather_wait(s, st, unit);
    call c = { .unit = unit };
    while (q->store[c.store] != s) c.store++;
    vj_comm_about(q->mesh->world, "which unit the lead needs next", -1);
    VJ_TRY(vj_comm_broadcast_now(q->mesh->world, 0, &c, sizeof c));
    return gather_now(s, st, unit);
}

vj_status vj_schedule_alone(vj_schedule *q, bool begins)
{
    if (!vj_mesh_in_parts(q->mesh)) return VJ_OK;
    vj_schedule_forget(q);
    q->state = begins ? ALONE : IDLE;
    call c = { NOBODY, NOBODY };
    return begins ? VJ_OK : vj_comm_broadcast_now(q->mesh->world, 0, &c, sizeof c);
}

vj_status vj_schedule_follow(vj_schedule *q, vj_stream *st)
{
    vj_schedule_forget(q);
    while (vj_mesh_in_parts(q->mesh)) {
        call c = { NOBODY, NOBODY };
        VJ_TRY(vj_comm_broadcast_now(q->mesh->world, 0, &c, sizeof c));
        if (c.store == NOBODY) break;
        VJ_TRY(gather_now(q->store[c.store], st, c.unit));
    }
    return VJ_OK;
}

vj_status vj_schedule_use(vj_schedule *q, vj_stream *st, vj_use_kind kind, vj_store *s, int unit)
{
    switch (q->state) {
    case RECORDING: return write_down(q, kind, s, unit);
    case RUNNING: {
        const use *u = q->at < q->n_uses ? &q->uses[q->at] : NULL;
        VJ_CHECK(u && u->kind == kind && u->store == s && u->unit == unit, VJ_ERR_BUG, "%s %s is used out of turn (use %d of %d)",
                 s->layout->network, s->layout->units[unit].name, q->at, q->n_uses);
        return carry_out_use(q, st, true);
    }
    case ALONE: return kind == VJ_USE_GATHER ? gather_alone(q, st, s, unit) : VJ_OK;
    case IDLE:
        VJ_CHECK(kind != VJ_USE_GATHER || !vj_mesh_in_parts(q->mesh), VJ_ERR_BUG, "%s %s is used where the other ranks do not know of it",
                 s->layout->network, s->layout->units[unit].name);
        return VJ_OK;
    default: return VJ_OK;
    }
}

// ---- to read ------------------------------------------------------------------------------------------------------------------------------
void vj_schedule_text(const vj_schedule *q, vj_str *out)
{
    static const char *const uses[] = { "gather", "release", "gradient", "reduce" };
    static const char *const ops[] = { "all-gather", "all-gather kept", "wait for", "keep a part of", "wait for the place of", "reduce-scatter",
                                       "reduce-scatter, wait:" };
    for (int i = 0; i < q->n_uses; i++) {
        const use *u = &q->uses[i];
        vj_str_printf(out, "%4d  %-8s  %-14s %-20s", i, uses[u->kind], u->store->layout->network, u->store->layout->units[u->unit].name);
        const int end = i + 1 < q->n_uses ? q->uses[i + 1].first : q->n_ops;
        for (int k = u->first; k < end; k++) {
            const operation *op = &q->ops[k];
            vj_str_printf(out, "%s%s %s %s", k > u->first ? "; " : " ", ops[op->kind], op->store->layout->network, op->store->layout->units[op->unit].name);
            if (op->kind == OP_GATHER || op->kind == OP_GATHER_KEPT || op->kind == OP_REDUCE || op->kind == OP_REDUCE_WAIT) {
                char bytes[24];
                vj_bytes_text(bytes, (double)vj_store_bytes(op->store, op->store->layout->units[op->unit].length));
                vj_str_printf(out, " (%s)", bytes);
            }
        }
        vj_str_add(out, "\n");
    }
}
