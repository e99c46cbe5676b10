#include "parallel/store_impl.h"

#include "runtime/base/str.h"
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

size_t vj_store_bytes(const vj_store *s, int64_t elements) { return (size_t)elements * vj_dtype_size(s->real); }
void *vj_store_at(const vj_store *s, void *buffer, int64_t elements) { return (char *)buffer + vj_store_bytes(s, elements); }

// ---- places -----------------------------------------------------------------------------------------------------------------
vj_status vj_places_make(vj_places *p, const vj_layout *layout, int apart, int turns)
{
    const int n = layout->n_units;
    const size_t units = (size_t)n;
    apart = apart < n ? apart : n;
    turns = turns < n - apart ? turns : n - apart;
    *p = (vj_places){ .n = apart + turns, .apart = turns == n - apart ? n : apart };
    VJ_TRY(vj_host_alloc(&p->of, units * sizeof *p->of, "a parameter store"));
    VJ_TRY(vj_host_alloc(&p->start, units * sizeof *p->start, "a parameter store"));
    VJ_TRY(vj_host_alloc(&p->holds, units * sizeof *p->holds, "a parameter store"));
    VJ_TRY(vj_host_alloc(&p->ticket, units * sizeof *p->ticket, "a parameter store"));
    VJ_TRY(vj_host_alloc(&p->arrived, units * sizeof *p->arrived, "a parameter store"));
    int64_t longest = 0;
    for (int u = 0; u < n; u++) {
        p->holds[u] = -1;
        const int64_t length = layout->units[u].length;
        if (u >= apart) {
            longest = length > longest ? length : longest;
            continue;
        }
        p->of[u] = u;
        p->start[u] = p->length;
        p->length += length;
    }
    for (int u = apart; u < n; u++) {
        const int turn = (u - apart) % turns;
        p->of[u] = apart + turn;
        p->start[u] = p->length + turn * longest;
    }
    if (turns < n - apart) p->length += turns * longest;
    for (int u = apart; u < n && turns == n - apart; u++) {   // each its own, and no longer than it is
        p->start[u] = p->length;
        p->length += layout->units[u].length;
    }
    return VJ_OK;
}

void vj_places_free(vj_places *p)
{
    vj_host_free(p->of);
    vj_host_free(p->start);
    vj_host_free(p->holds);
    vj_host_free(p->ticket);
    vj_host_free(p->arrived);
    *p = (vj_places){ 0 };
}

// ---- life --------------------------------------------------------------------------------------------------------------------
static vj_status tables(vj_store *s)
{
    const int n = s->layout->n_units;
    int64_t **starts[] = { &s->start, &s->own_start, &s->held_start, &s->kept_start };
    for (int i = 0; i < 4; i++) VJ_TRY(vj_host_alloc(starts[i], (size_t)n * sizeof(int64_t), "a parameter store"));
    VJ_TRY(vj_host_alloc(&s->held, (size_t)n * sizeof *s->held, "a parameter store"));
    if (s->mesh) VJ_TRY(vj_host_alloc(&s->label, (size_t)n * sizeof *s->label, "a parameter store"));
    for (int u = 0; u < n; u++) {
        int64_t begin, end;
        if (s->mesh) vj_format(s->label[u], sizeof s->label[u], "%s %s", s->layout->network, s->layout->units[u].name);
        s->start[u] = s->length;
        s->length += s->layout->units[u].length;
        vj_mesh_owned(s->mesh, s->layout, u, &begin, &end);
        s->own_start[u] = s->own_length;
        s->own_length += end - begin;
        vj_mesh_held(s->mesh, s->layout, u, &begin, &end);
        s->held_start[u] = s->held_length;
        s->held_length += end - begin;
    }
    return VJ_OK;
}

static vj_status allocate(vj_store *s, const vj_store_spec *spec)
{
    static const char *const what[] = { "weights", "Adam's first moments", "Adam's second moments" };
    const int units = s->layout->n_units;
    const bool parts = vj_mesh_in_parts(s->mesh);
    VJ_TRY(tables(s));
    // What is sent while the next unit is computed has a place of its own.
    const int turns = spec->in_backward ? 1 : s->mesh ? s->mesh->prefetch + 1 : 1;
    VJ_TRY(vj_places_make(&s->grads, s->layout, spec->in_backward || parts ? spec->apart : units, turns));
    s->level_length = s->mesh ? s->own_length : s->grads.length;
    if (spec->trained) {
        const int64_t G = s->mesh ? s->mesh->ranks : 1;
        s->levels = s->any_order ? 1 : (int)vj_store_levels((spec->slots + G - 1) / G);
        VJ_ASSERT(s->levels <= VJ_MAX_LEVELS);
    }
    if (parts) {
        const bool all = spec->backward && s->mesh->keep == VJ_KEEP_ALL;
        if (spec->beside && s->mesh->prefetch <= 1 && spec->beside->weights->apart < units) {
            s->weights = spec->beside->weights;
            s->first_id = units;
            s->gathered = spec->beside->gathered;
            s->host_gathered = spec->beside->host_gathered;
        } else {
            s->weights = &s->own_weights;
            VJ_TRY(vj_places_make(s->weights, s->layout, all ? units : spec->apart, s->mesh->prefetch + 1));
        }
        VJ_TRY(vj_store_hold(s, spec->backward));
    }
    if (s->mesh && spec->trained) VJ_TRY(vj_store_join(s));
    for (int k = 0; s->device && k < (spec->trained ? VJ_STORE_KINDS : 1); k++) {
        const int64_t n = k == VJ_STORE_PARAM ? vj_store_weight_elements(s) : vj_store_moment_elements(s);
        VJ_TRY(vj_device_alloc(s->device, &s->kind[k], vj_store_bytes(s, n), what[k]));
    }
    for (int i = 0; s->device && i < s->levels; i++)
        VJ_TRY(vj_device_alloc(s->device, &s->level[i], vj_store_bytes(s, s->level_length), "gradients"));
    return VJ_OK;
}

vj_status vj_store_create(vj_store **out, const vj_layout *layout, vj_device *device, const vj_store_spec *spec)
{
    VJ_ASSERT(!spec->in_backward || spec->slots == 1);
    *out = NULL;
    vj_store *s = NULL;
    VJ_TRY(vj_host_alloc(&s, sizeof *s, "a parameter store"));
    s->layout = layout;
    s->device = device;
    s->real = spec->real;
    s->mesh = spec->mesh && spec->mesh->ranks > 1 ? spec->mesh : NULL;
    s->any_order = spec->any_order && s->mesh == NULL;
    const vj_status status = allocate(s, spec);
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
    vj_store_leave(s);
    vj_store_let_go(s);
    vj_places_free(&s->grads);
    vj_places_free(&s->own_weights);
    vj_host_free(s->start);
    vj_host_free(s->own_start);
    vj_host_free(s->held_start);
    vj_host_free(s->kept_start);
    vj_host_free(s->label);
    vj_host_free(s->held);
    vj_host_free(s);
    *store = NULL;
}

// ---- sizes and views -----------------------------------------------------------------------------------------------------------
int64_t vj_store_weight_elements(const vj_store *s) { return vj_mesh_in_parts(s->mesh) ? s->held_length : s->length; }
int64_t vj_store_gathered_elements(const vj_store *s) { return s->own_weights.length + s->kept_length; }
int64_t vj_store_moment_elements(const vj_store *s) { return vj_mesh_shares(s->mesh) ? s->own_length : s->length; }
int64_t vj_store_gradient_elements(const vj_store *s) { return s->levels * s->level_length + (s->mesh && s->levels > 0 ? s->grads.length : 0); }

void vj_store_own(const vj_store *s, int unit, int64_t *begin, int64_t *end)
{
    *begin = 0;
    *end = s->layout->units[unit].length;
    if (vj_mesh_shares(s->mesh)) vj_mesh_owned(s->mesh, s->layout, unit, begin, end);
}

void vj_store_held(const vj_store *s, vj_store_kind kind, int unit, int64_t *begin, int64_t *end)
{
    if (kind != VJ_STORE_PARAM) {
        vj_store_own(s, unit, begin, end);
        return;
    }
    *begin = 0;
    *end = s->layout->units[unit].length;
    if (s->mesh) vj_mesh_held(s->mesh, s->layout, unit, begin, end);
}

vj_tensor vj_store_unit(const vj_store *s, vj_store_kind kind, int unit)
{
    const int64_t n = s->layout->units[unit].length;
    int64_t begin, end;
    vj_store_held(s, kind, unit, &begin, &end);
    VJ_ASSERT(s->kind[kind] != NULL && end - begin == n);
    return vj_store_span(s, s->kind[kind], s->start[unit], n);
}

vj_tensor vj_store_param(const vj_store *s, vj_store_kind kind, int param)
{
    const vj_param *p = &s->layout->params[param];
    if (kind == VJ_STORE_PARAM && vj_mesh_in_parts(s->mesh)) return vj_store_span(s, s->gathered, s->weights->start[p->unit] + p->offset, p->count);
    VJ_ASSERT(kind == VJ_STORE_PARAM || !vj_mesh_shares(s->mesh));
    return vj_store_span(s, s->kind[kind], s->start[p->unit] + p->offset, p->count);
}

vj_tensor vj_store_slice(const vj_store *s, vj_store_kind kind, int unit, int64_t first, int64_t n)
{
    int64_t begin, end;
    vj_store_held(s, kind, unit, &begin, &end);
    VJ_ASSERT(s->kind[kind] != NULL && n >= 0 && first >= begin && first + n <= end);
    const bool parts = kind == VJ_STORE_PARAM ? vj_mesh_in_parts(s->mesh) : vj_mesh_shares(s->mesh);
    const int64_t start = !parts ? s->start[unit] : (kind == VJ_STORE_PARAM ? s->held_start : s->own_start)[unit] - begin;
    return vj_store_span(s, s->kind[kind], start + first, n);
}

static void *gradient(const vj_store *s) { return s->mesh ? s->whole : s->level[s->current]; }

vj_tensor vj_store_gradient_slice(const vj_store *s, int unit, int64_t first, int64_t n)
{
    int64_t begin, end;
    vj_store_own(s, unit, &begin, &end);
    VJ_ASSERT(n >= 0 && first >= begin && first + n <= end);
    return vj_mesh_shares(s->mesh) ? vj_store_span(s, s->level[s->current], s->own_start[unit] + first - begin, n)
                                   : vj_store_span(s, gradient(s), s->grads.start[unit] + first, n);
}

vj_tensor vj_store_grad_unit(const vj_store *s, int unit)
{
    return vj_store_span(s, gradient(s), s->grads.start[unit], s->layout->units[unit].length);
}

vj_tensor vj_store_grad(const vj_store *s, int param)
{
    const vj_param *p = &s->layout->params[param];
    return vj_store_span(s, gradient(s), s->grads.start[p->unit] + p->offset, p->count);
}

// ---- unit borders ----------------------------------------------------------------------------------------------------------------
static vj_status use(vj_store *s, vj_stream *st, vj_use_kind kind, int unit) { return s->schedule ? vj_schedule_use(s->schedule, st, kind, s, unit) : VJ_OK; }

vj_status vj_unit_gather(vj_store *s, vj_stream *st, int unit)
{
    VJ_ASSERT(unit >= 0 && unit < s->layout->n_units && !s->held[unit]);
    s->held[unit] = true;
    return use(s, st, VJ_USE_GATHER, unit);
}

vj_status vj_unit_release(vj_store *s, vj_stream *st, int unit)
{
    VJ_ASSERT(unit >= 0 && unit < s->layout->n_units && s->held[unit]);
    s->held[unit] = false;
    return use(s, st, VJ_USE_RELEASE, unit);
}

vj_status vj_unit_gradient(vj_store *s, vj_stream *st, int unit)
{
    VJ_ASSERT(unit >= 0 && unit < s->layout->n_units);
    return use(s, st, VJ_USE_GRADIENT, unit);
}

vj_status vj_unit_reduce(vj_store *s, vj_stream *st, int unit)
{
    VJ_ASSERT(unit >= 0 && unit < s->layout->n_units);
    s->held[unit] = false;
    VJ_TRY(use(s, st, VJ_USE_REDUCE, unit));
    if (s->reduced == NULL) return VJ_OK;
    VJ_TRY(s->reduced(s->reduced_context, s, unit));
    const vj_tensor g = vj_store_grad_unit(s, unit);
    return unit < s->grads.apart ? VJ_OK : vj_zero(st, g.data, vj_tensor_bytes(&g));
}

// ---- the tree ----------------------------------------------------------------------------------------------------------------------
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

vj_status vj_store_slot_begin(vj_store *s, vj_stream *st, bool present)
{
    if (s->any_order && s->full[0]) return VJ_OK;
    take_level(s);
    // Units that share a place find zeros when it is theirs (vj_unit_gradient, vj_unit_reduce).
    const bool own_places = s->mesh == NULL || s->grads.apart == s->layout->n_units;
    return present && own_places ? vj_zero(st, gradient(s), vj_store_bytes(s, s->grads.length)) : VJ_OK;
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
    if (s->mesh) VJ_TRY(vj_store_reduce_end(s, st));
    if (s->any_order) s->full[0] = true;
    return s->any_order ? VJ_OK : carry(s, st);
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
    return s->mesh && !vj_mesh_shares(s->mesh) ? vj_store_gather_sum(s, st) : VJ_OK;
}
