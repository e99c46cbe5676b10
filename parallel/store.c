#include "parallel/store_impl.h"

#include "runtime/ops/ops.h"

int64_t vj_store_levels(int64_t slots)
{
    int64_t levels = 1;
    while (((int64_t)1 << (levels - 1)) < slots) levels++;
    return levels;
}

vj_tensor vj_store_span(const vj_store *s, void *buffer, int64_t first, int64_t n)
{
    return vj_tensor_1d((void *)((uintptr_t)buffer + (size_t)first * vj_dtype_size(s->real)), s->real, n);
}

// Where each unit's gradient lies: units from `shared` on in one place, as long as the longest of them.
static void place_gradients(vj_store *s)
{
    int64_t longest = 0;
    for (int u = 0; u < s->layout->n_units; u++) {
        const int64_t n = s->layout->units[u].length;
        s->grad_start[u] = s->grad_length;
        if (u < s->shared) s->grad_length += n;
        else longest = n > longest ? n : longest;
    }
    s->grad_length += longest;
}

vj_status vj_store_create(vj_store **out, const vj_layout *layout, vj_device *device, vj_dtype real, bool trained, int64_t slots,
                          int shared, vj_comm *comm, vj_parallel_mode mode)
{
    VJ_ASSERT(shared >= layout->n_units || slots == 1);
    if (comm && (vj_comm_size(comm) == 1 || !trained)) comm = NULL;
    *out = NULL;
    vj_store *s = NULL;
    VJ_TRY(vj_host_alloc(&s, sizeof *s, "a parameter store"));
    s->layout = layout;
    s->device = device;
    s->real = real;
    const size_t units = (size_t)layout->n_units;
    vj_status status = vj_host_alloc(&s->start, units * sizeof *s->start, "a parameter store");
    if (status == VJ_OK) status = vj_host_alloc(&s->grad_start, units * sizeof *s->grad_start, "a parameter store");
    if (status == VJ_OK) status = vj_host_alloc(&s->held, units * sizeof *s->held, "a parameter store");
    for (int u = 0; u < layout->n_units && status == VJ_OK; u++) {
        s->start[u] = s->length;
        s->length += layout->units[u].length;
    }
    s->shared = shared;
    if (status == VJ_OK) place_gradients(s);
    s->level_length = s->grad_length;
    if (trained) {
        const int64_t G = comm ? vj_comm_size(comm) : 1;
        s->levels = (int)vj_store_levels((slots + G - 1) / G);
        VJ_ASSERT(s->levels <= VJ_MAX_LEVELS);
    }
    if (comm && status == VJ_OK) status = vj_store_join(s, comm, mode);
    static const char *const what[] = { "weights", "Adam's first moments", "Adam's second moments" };
    for (int k = 0; device && k < (trained ? VJ_STORE_KINDS : 1) && status == VJ_OK; k++) {
        const int64_t n = k == VJ_STORE_PARAM ? s->length : vj_store_moment_elements(s);
        status = vj_device_alloc(device, &s->kind[k], (size_t)n * vj_dtype_size(real), what[k]);
    }
    for (int i = 0; device && i < s->levels && status == VJ_OK; i++)
        status = vj_device_alloc(device, &s->level[i], (size_t)s->level_length * vj_dtype_size(real), "gradients");
    if (status != VJ_OK) {
        vj_store_destroy(&s);
        return status;
    }
    *out = s;
    return VJ_OK;
}

void vj_store_destroy(vj_store **store)
{
    vj_store *s = *store;
    if (!s) return;
    for (int k = 0; s->device && k < VJ_STORE_KINDS; k++) vj_device_free(s->device, s->kind[k]);
    for (int i = 0; s->device && i < s->levels; i++) vj_device_free(s->device, s->level[i]);
    if (s->comm) vj_store_leave(s);
    vj_host_free(s->start);
    vj_host_free(s->grad_start);
    vj_host_free(s->held);
    vj_host_free(s->part_start);
    vj_host_free(s);
    *store = NULL;
}

vj_tensor vj_store_unit(const vj_store *s, vj_store_kind kind, int unit)
{
    VJ_ASSERT(s->kind[kind] != NULL && (s->mode == VJ_DDP || kind == VJ_STORE_PARAM));
    return vj_store_span(s, s->kind[kind], s->start[unit], s->layout->units[unit].length);
}

vj_tensor vj_store_param(const vj_store *s, vj_store_kind kind, int param)
{
    const vj_param *p = &s->layout->params[param];
    VJ_ASSERT(s->mode == VJ_DDP || kind == VJ_STORE_PARAM);
    return vj_store_span(s, s->kind[kind], s->start[p->unit] + p->offset, p->count);
}

int64_t vj_store_gradient_elements(const vj_store *s) { return s->levels * s->level_length + (s->comm ? s->grad_length : 0); }

int64_t vj_store_moment_elements(const vj_store *s) { return s->mode == VJ_DDP ? s->length : s->level_length; }

void vj_store_own(const vj_store *s, int unit, int64_t *begin, int64_t *end)
{
    *begin = 0;
    *end = s->layout->units[unit].length;
    if (s->mode != VJ_DDP) vj_layout_owned(s->layout, unit, vj_comm_rank(s->comm), vj_comm_size(s->comm), begin, end);
}

// In a buffer of parts, or in one of everything.
static vj_tensor slice(const vj_store *s, void *buffer, bool parts, int64_t start, int unit, int64_t first, int64_t n)
{
    int64_t begin, end;
    vj_store_own(s, unit, &begin, &end);
    VJ_ASSERT(n >= 0 && first >= begin && first + n <= end);
    return parts ? vj_store_span(s, buffer, s->part_start[unit] + first - begin, n) : vj_store_span(s, buffer, start + first, n);
}

vj_tensor vj_store_slice(const vj_store *s, vj_store_kind kind, int unit, int64_t first, int64_t n)
{
    VJ_ASSERT(s->kind[kind] != NULL);
    return slice(s, s->kind[kind], s->mode != VJ_DDP && kind != VJ_STORE_PARAM, s->start[unit], unit, first, n);
}

static void *gradient(const vj_store *s) { return s->comm ? s->whole : s->level[s->current]; }

vj_tensor vj_store_gradient_slice(const vj_store *s, int unit, int64_t first, int64_t n)
{
    const bool parts = s->mode != VJ_DDP;
    return slice(s, parts ? s->level[s->current] : gradient(s), parts, s->grad_start[unit], unit, first, n);
}

vj_tensor vj_store_grad_unit(const vj_store *s, int unit)
{
    return vj_store_span(s, gradient(s), s->grad_start[unit], s->layout->units[unit].length);
}

vj_tensor vj_store_grad(const vj_store *s, int param)
{
    const vj_param *p = &s->layout->params[param];
    return vj_store_span(s, gradient(s), s->grad_start[p->unit] + p->offset, p->count);
}

// One rank: nothing to fetch, drop or send, but every gather must have its end.
vj_status vj_unit_gather(vj_store *s, vj_stream *st, int unit)
{
    (void)st;
    VJ_ASSERT(unit >= 0 && unit < s->layout->n_units && !s->held[unit]);
    s->held[unit] = true;
    return VJ_OK;
}

vj_status vj_unit_release(vj_store *s, vj_stream *st, int unit)
{
    (void)st;
    VJ_ASSERT(unit >= 0 && unit < s->layout->n_units && s->held[unit]);
    s->held[unit] = false;
    return VJ_OK;
}

vj_status vj_unit_reduce(vj_store *s, vj_stream *st, int unit)
{
    VJ_ASSERT(unit >= 0 && unit < s->layout->n_units);
    s->held[unit] = false;
    if (s->reduced == NULL) return VJ_OK;
    VJ_TRY(s->reduced(s->reduced_context, s, unit));
    const vj_tensor g = vj_store_grad_unit(s, unit);
    return unit < s->shared ? VJ_OK : vj_zero(st, g.data, vj_tensor_bytes(&g));
}

void vj_store_step_begin(vj_store *s, int64_t slots)
{
    s->step_slots = slots;
    s->round = 0;
    for (int i = 0; i < s->levels; i++) s->full[i] = false;
    s->current = 0;
    for (int u = 0; u < s->layout->n_units; u++) VJ_ASSERT(!s->held[u]);
}

// The running slot takes a free accumulator; there always is one, since V slots fill at most ceil(log2 V) levels before
// the last one.
static void take_level(vj_store *s)
{
    int free_level = 0;
    while (free_level < s->levels && s->full[free_level]) free_level++;
    VJ_ASSERT(free_level < s->levels);
    s->current = free_level;
}

vj_status vj_store_slot_begin(vj_store *s, vj_stream *st)
{
    take_level(s);
    return vj_zero(st, gradient(s), (size_t)s->grad_length * vj_dtype_size(s->real));
}

static vj_status merge(vj_store *s, vj_stream *st, int into, int from)
{
    const vj_tensor y = vj_store_span(s, s->level[into], 0, s->level_length), x = vj_store_span(s, s->level[from], 0, s->level_length);
    VJ_TRY(vj_add_inplace(st, &y, &x));
    return VJ_OK;
}

// Level L of the counter holds 2^L slots. Buffers change places instead of being copied: `level[L]` is whatever buffer
// holds that sum.
static void swap_levels(vj_store *s, int a, int b)
{
    void *held = s->level[a];
    s->level[a] = s->level[b];
    s->level[b] = held;
}

static vj_status carry(vj_store *s, vj_stream *st)
{
    // The slot's buffer sits at position `current`, which is free; carry upwards through the full levels.
    int at = s->current, weight = 0;
    while (weight < s->levels && s->full[weight]) {
        VJ_TRY(merge(s, st, weight, at));   // older + newer: addition of two commutes bit for bit
        swap_levels(s, weight, at);         // the sum is at `at` now, position `weight` holds a free buffer
        s->full[weight] = false;
        weight++;
    }
    VJ_ASSERT(weight < s->levels);
    if (weight != at) swap_levels(s, weight, at);
    s->full[weight] = true;
    s->current = weight;
    return VJ_OK;
}

vj_status vj_store_slot_end(vj_store *s, vj_stream *st)
{
    if (s->comm) VJ_TRY(vj_store_reduce_round(s, st, true));
    return carry(s, st);
}

vj_status vj_store_slot_absent(vj_store *s, vj_stream *st)
{
    take_level(s);
    VJ_TRY(vj_store_reduce_round(s, st, false));
    return carry(s, st);
}

// What is left merges from the smallest level up: (...(small + next) + ...) as in a tree with missing leaves skipped.
vj_status vj_store_step_end(vj_store *s, vj_stream *st)
{
    int at = -1;
    for (int i = 0; i < s->levels; i++) {
        if (!s->full[i]) continue;
        if (at >= 0) {
            VJ_TRY(merge(s, st, i, at));
            s->full[at] = false;
        }
        at = i;
    }
    VJ_ASSERT(at >= 0);
    s->current = at;
    return s->comm && s->mode == VJ_DDP ? vj_store_gather_sum(s, st) : VJ_OK;
}
