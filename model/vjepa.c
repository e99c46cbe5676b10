// The model's life, the step, and access to its state. The mathematics is in passes.c and blocks.c.

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/init.h"
#include "model/vjepa_impl.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"
#include "runtime/log/timeline.h"

// ---- sizes --------------------------------------------------------------------------------------------------------
static int64_t positions_of(const vj_model_config *c, const vj_slot_bound *b)
{
    int64_t n = b->F / c->tubelet;
    n = b->height / c->patch > n ? b->height / c->patch : n;
    return b->width / c->patch > n ? b->width / c->patch : n;
}

// Runs the passes without launching anything: what they ask of the arenas is what they will need.
static vj_status measure(vj_vjepa *m)
{
    vj_slot_plan plan;
    vj_slot_plan_largest(&m->config, &m->bound, m->real, &plan);
    size_t saved = 0, scratch = 0;
    for (int training = 0; training <= (m->training ? 1 : 0); training++) {
        vj_ctx ctx = { .real = m->real, .measuring = true, .training = training == 1 };
        ctx.saved = vj_arena_measure("saved");
        ctx.scratch = vj_arena_measure("scratch");
        const vj_tensor loss = vj_tensor_1d(NULL, VJ_F64, 1);
        const int last = (int)m->config.depth - 1;
        if (m->schedule && training) vj_schedule_record(m->schedule);
        else if (m->schedule) vj_schedule_ignore(m->schedule, true);
        if (m->encoder_only) VJ_TRY(vj_feature_pass(m, &ctx, VJ_TARGET_ENCODER, &plan, &last, 1, NULL));
        else VJ_TRY(vj_slot_pass(m, &ctx, &plan, &loss));
        if (m->schedule && training) VJ_TRY(vj_schedule_compile(m->schedule));
        saved = ctx.saved.peak > saved ? ctx.saved.peak : saved;
        scratch = ctx.scratch.peak > scratch ? ctx.scratch.peak : scratch;
    }
    const vj_plan_bound n = vj_plan_bound_of(&m->config, &m->bound);
    const size_t real = vj_dtype_size(m->real);
    m->memory.saved = (int64_t)saved;
    m->memory.scratch = (int64_t)scratch;
    m->memory.input = n.ints * 4 + n.tgt * (int64_t)real + vj_count(&plan.groups[0].clips) * (int64_t)real +
                      (VJ_MAX_GROUPS + 4) * VJ_ALIGN;
    return VJ_OK;
}

static void count_state(vj_vjepa *m)
{
    const int64_t real = (int64_t)vj_dtype_size(m->real);
    m->memory.params = m->encoder_only ? 0 : (vj_store_weight_elements(m->encoder) + vj_store_weight_elements(m->predictor)) * real;
    m->memory.target = vj_store_weight_elements(m->target) * real;
    m->memory.gathered = (vj_store_gathered_elements(m->encoder) + vj_store_gathered_elements(m->target) + vj_store_gathered_elements(m->predictor)) * real;
    m->memory.moments = m->training ? 2 * (vj_store_moment_elements(m->encoder) + vj_store_moment_elements(m->predictor)) * real : 0;
    m->memory.gradients = m->training ? (vj_store_gradient_elements(m->encoder) + vj_store_gradient_elements(m->predictor)) * real : 0;
    m->memory.total = m->memory.params + m->memory.target + m->memory.gathered + m->memory.moments + m->memory.gradients +
                      m->memory.saved + m->memory.scratch + m->memory.input;
}

static vj_status make_tables(vj_vjepa *m)
{
    const int64_t Q = vj_model_quantum(&m->config);
    VJ_TRY(vj_encoder_layout(&m->encoder_layout, &m->config, "encoder", Q));
    VJ_TRY(vj_encoder_layout(&m->target_layout, &m->config, "target_encoder", Q));
    VJ_TRY(vj_predictor_layout(&m->predictor_layout, &m->config, m->mask_tokens, Q));
    m->places = vj_predictor_places_of(m->mask_tokens);
    vj_device *student = m->encoder_only ? NULL : m->device;
    // The passes have one unit of the encoder open at a time; of the predictor also the first, from its end to its start.
    vj_store_spec spec = { .real = m->real, .trained = m->training, .slots = m->bound.slots, .in_backward = m->in_backward, .any_order = m->bound.any_order,
                           .backward = m->training, .mesh = m->mesh };
    VJ_TRY(vj_store_create(&m->encoder, m->encoder_layout, student, &spec));
    spec.apart = 1;
    VJ_TRY(vj_store_create(&m->predictor, m->predictor_layout, student, &spec));
    spec = (vj_store_spec){ .real = m->real, .slots = 1, .mesh = m->mesh, .beside = m->encoder };
    VJ_TRY(vj_store_create(&m->target, m->target_layout, m->device, &spec));
    if (m->mesh) {
        VJ_TRY(vj_schedule_create(&m->schedule, m->mesh));
        vj_schedule_add(m->schedule, m->encoder);
        vj_schedule_add(m->schedule, m->target);
        vj_schedule_add(m->schedule, m->predictor);
    }
    const vj_model_config *c = &m->config;
    VJ_TRY(vj_blocks_create(&m->encoder_blocks, m->encoder, E_BLOCKS, c->depth, c->width, c->heads, c->hidden,
                            c->rope_layout, c->recompute));
    VJ_TRY(vj_blocks_create(&m->target_blocks, m->target, E_BLOCKS, c->depth, c->width, c->heads, c->hidden,
                            c->rope_layout, c->recompute));
    return vj_blocks_create(&m->predictor_blocks, m->predictor, m->places.blocks, c->pred_depth, c->pred_width,
                            c->pred_heads, 4 * c->pred_width, c->rope_layout, c->recompute);
}

static void destroy_tables(vj_vjepa *m)
{
    vj_blocks_destroy(&m->encoder_blocks);
    vj_blocks_destroy(&m->target_blocks);
    vj_blocks_destroy(&m->predictor_blocks);
    vj_schedule_destroy(&m->schedule);
    vj_store_destroy(&m->target);   // before the encoder, beside which it stands
    vj_store_destroy(&m->encoder);
    vj_store_destroy(&m->predictor);
    vj_layout_destroy(&m->encoder_layout);
    vj_layout_destroy(&m->target_layout);
    vj_layout_destroy(&m->predictor_layout);
}

static vj_status begin(vj_vjepa *m, const vj_model_config *config, int64_t mask_tokens, const vj_slot_bound *bound,
                       bool training, vj_dtype real)
{
    m->config = *config;
    m->mask_tokens = mask_tokens;
    m->bound = *bound;
    m->training = training;
    m->in_backward = training && bound->in_backward;
    m->mesh = training && bound->mesh && bound->mesh->ranks > 1 ? bound->mesh : NULL;
    m->rank = m->mesh ? m->mesh->rank : 0;
    m->ranks = m->mesh ? m->mesh->ranks : 1;
    VJ_CHECK(!m->mesh || !m->in_backward, VJ_ERR_CONFIG, "optim.in_backward on several ranks is not there yet; use optim.in_backward=false");
    m->real = real;
    VJ_TRY(vj_model_resolve(&m->config));
    VJ_CHECK(mask_tokens >= 1 && mask_tokens <= 64, VJ_ERR_CONFIG, "%lld mask tokens: 1 to 64 are possible",
             (long long)mask_tokens);
    VJ_CHECK(bound->clips >= 1 && bound->slots >= 1 && bound->F >= m->config.tubelet &&
                 bound->height >= m->config.patch && bound->width >= m->config.patch &&
                 bound->n_pairs >= (m->encoder_only ? 0 : 1),
             VJ_ERR_CONFIG, "clips of %lld frames, %lld x %lld pixels hold no patch of %lld x %lld x %lld",
             (long long)bound->F, (long long)bound->height, (long long)bound->width, (long long)m->config.tubelet,
             (long long)m->config.patch, (long long)m->config.patch);
    VJ_CHECK(!m->in_backward || bound->slots == 1, VJ_ERR_BUG, "updates in the backward pass with %lld slots", (long long)bound->slots);
    VJ_TRY(make_tables(m));
    VJ_TRY(measure(m));
    count_state(m);
    return VJ_OK;
}

vj_status vj_vjepa_plan(const vj_model_config *config, int64_t mask_tokens, const vj_slot_bound *bound, bool training,
                        vj_dtype real, vj_memory_plan *out)
{
    vj_vjepa m = { 0 };
    vj_status status = begin(&m, config, mask_tokens, bound, training, real);
    *out = m.memory;
    destroy_tables(&m);
    return status;
}

vj_status vj_vjepa_schedule_text(const vj_model_config *config, int64_t mask_tokens, const vj_slot_bound *bound, vj_dtype real, vj_str *out)
{
    vj_vjepa m = { 0 };
    vj_status status = begin(&m, config, mask_tokens, bound, true, real);
    if (status == VJ_OK && m.schedule) vj_schedule_text(m.schedule, out);
    destroy_tables(&m);
    return status;
}

vj_status vj_vjepa_alone(vj_vjepa *m, bool begins) { return m->schedule ? vj_schedule_alone(m->schedule, begins) : VJ_OK; }
vj_status vj_vjepa_follow(vj_vjepa *m) { return m->schedule ? vj_schedule_follow(m->schedule, m->ctx.st) : VJ_OK; }

// ---- life ---------------------------------------------------------------------------------------------------------
static int64_t chunks_of(const vj_layout *l) { return (int64_t)l->n_units * l->quantum; }

// What depends on the bound: activations, inputs, tables, sums.
static vj_status allocate_buffers(vj_vjepa *m)
{
    const vj_plan_bound n = vj_plan_bound_of(&m->config, &m->bound);
    VJ_TRY(vj_device_alloc(m->device, &m->saved_memory, (size_t)m->memory.saved, "saved activations"));
    VJ_TRY(vj_device_alloc(m->device, &m->scratch_memory, (size_t)m->memory.scratch, "scratch"));
    VJ_TRY(vj_device_alloc(m->device, &m->input_memory, (size_t)m->memory.input, "clips and token ids"));
    m->ctx.saved = vj_arena_over("saved", m->saved_memory, (size_t)m->memory.saved);
    m->ctx.scratch = vj_arena_over("scratch", m->scratch_memory, (size_t)m->memory.scratch);
    m->input = vj_arena_over("input", m->input_memory, (size_t)m->memory.input);
    m->staging_capacity = n.ints;
    VJ_TRY(vj_host_alloc(&m->staging, (size_t)n.ints * sizeof *m->staging, "token ids"));
    VJ_TRY(vj_host_alloc(&m->weight_staging, (size_t)n.tgt * sizeof(double), "row weights"));

    const int64_t positions = positions_of(&m->config, &m->bound);
    const size_t e = vj_rope_table_bytes(&m->encoder_blocks, positions, m->real),
                 r = vj_rope_table_bytes(&m->predictor_blocks, positions, m->real);
    VJ_TRY(vj_device_alloc(m->device, &m->table_memory, e + r, "rotary tables"));
    VJ_TRY(vj_rope_table_fill(&m->encoder_blocks, m->table_memory, positions, m->ctx.st));
    m->target_blocks.table = m->encoder_blocks.table;
    VJ_TRY(vj_rope_table_fill(&m->predictor_blocks, (void *)((uintptr_t)m->table_memory + e), positions, m->ctx.st));

    const int64_t chunks = chunks_of(m->encoder_layout) + chunks_of(m->predictor_layout),
                  sums = m->bound.slots + chunks;
    VJ_TRY(vj_device_alloc(m->device, &m->sums_memory, (size_t)sums * sizeof(double), "sums"));
    VJ_TRY(vj_host_alloc(&m->host_sums, (size_t)sums * sizeof(double), "sums"));
    if (m->mesh) VJ_TRY(vj_host_alloc(&m->shared, (size_t)(sums + 64 + VJ_STEP_SHARED) * sizeof(double), "sums of all ranks"));
    m->losses = vj_tensor_1d(m->sums_memory, VJ_F64, m->bound.slots);
    m->square_sums =
        vj_tensor_1d((void *)((uintptr_t)m->sums_memory + (size_t)m->bound.slots * sizeof(double)), VJ_F64, chunks);
    return VJ_OK;
}

static void free_buffers(vj_vjepa *m)
{
    void **memory[] = { &m->saved_memory, &m->scratch_memory, &m->input_memory, &m->table_memory, &m->sums_memory };
    for (int i = 0; i < 5; i++) {
        vj_device_free(m->device, *memory[i]);
        *memory[i] = NULL;
    }
    vj_host_free(m->staging);
    vj_host_free(m->weight_staging);
    vj_host_free(m->clip_staging);
    vj_host_free(m->host_sums);
    vj_host_free(m->shared);
    m->shared = NULL;
    m->staging = NULL;
    m->weight_staging = m->clip_staging = NULL;
    m->host_sums = NULL;
}

static vj_status allocate(vj_vjepa *m)
{
    VJ_TRY(vj_stream_create(m->device, &m->ctx.st));
    VJ_TRY(vj_event_create(m->device, &m->uploaded));
    m->ctx.real = m->real;
    return allocate_buffers(m);
}

vj_status vj_vjepa_resize(vj_vjepa *m, const vj_slot_bound *bound)
{
    VJ_CHECK(bound->slots <= m->bound.slots, VJ_ERR_BUG, "a step of %lld slots, the model was made for %lld",
             (long long)bound->slots, (long long)m->bound.slots);
    VJ_TRY(vj_stream_sync(m->ctx.st));
    free_buffers(m);
    const int64_t slots = m->bound.slots;   // the gradient tree keeps its height
    m->bound = *bound;
    m->bound.slots = slots;
    VJ_TRY(measure(m));
    count_state(m);
    return allocate_buffers(m);
}

// A sixteenth more than asked for: the next slot that is larger still is not much larger.
static int64_t more(int64_t have, int64_t need) { return need > have ? need + need / 16 : have; }

vj_status vj_vjepa_room(vj_vjepa *m, const vj_slot *slots, int n_slots, bool *grew)
{
    const vj_plan_bound have = vj_plan_bound_of(&m->config, &m->bound);
    int64_t most_ctx = 0, most_tgt = 0, most_rows = 0;
    for (int i = 0; i < n_slots; i++) {
        int64_t ctx = 0, tgt = 0;
        for (int k = 0; k < slots[i].n_groups; k++) {
            const vj_clip_group *g = &slots[i].groups[k];
            for (int p = 0; p < g->n_pairs; p++) {
                ctx += g->B * g->pairs[p].K;
                tgt += g->B * g->pairs[p].P;
            }
        }
        most_ctx = ctx > most_ctx ? ctx : most_ctx;
        most_tgt = tgt > most_tgt ? tgt : most_tgt;
        most_rows = ctx + tgt > most_rows ? ctx + tgt : most_rows;
    }
    const bool grows = most_ctx > have.ctx || most_tgt > have.tgt || most_rows > have.pred;
    if (grew) *grew = grows;
    if (!grows) return VJ_OK;
    vj_slot_bound bound = m->bound;
    bound.ctx_rows = more(have.ctx, most_ctx);
    bound.tgt_rows = more(have.tgt, most_tgt);
    bound.rows = more(have.pred, most_rows);
    return vj_vjepa_resize(m, &bound);
}

static vj_status create(vj_vjepa **out, const vj_model_config *config, int64_t mask_tokens, vj_device *device,
                        const vj_slot_bound *bound, bool training, bool encoder_only)
{
    *out = NULL;
    vj_vjepa *m = NULL;
    VJ_TRY(vj_host_alloc(&m, sizeof *m, "a model"));
    m->device = device;
    m->encoder_only = encoder_only;
    vj_status status = begin(m, config, mask_tokens, bound, training, vj_device_real(device));
    if (status == VJ_OK) status = allocate(m);
    if (status != VJ_OK) {
        vj_vjepa_destroy(&m);
        return status;
    }
    *out = m;
    return VJ_OK;
}

vj_status vj_vjepa_create(vj_vjepa **out, const vj_model_config *config, int64_t mask_tokens, vj_device *device,
                          const vj_slot_bound *bound, bool training)
{
    return create(out, config, mask_tokens, device, bound, training, false);
}

vj_status vj_vjepa_create_encoder(vj_vjepa **out, const vj_model_config *config, vj_device *device,
                                  const vj_slot_bound *bound)
{
    const vj_slot_bound one = { .clips = bound->clips, .F = bound->F, .height = bound->height, .width = bound->width,
                                .slots = 1 };
    return create(out, config, 1, device, &one, false, true);
}

void vj_vjepa_destroy(vj_vjepa **model)
{
    vj_vjepa *m = *model;
    if (!m) return;
    vj_stream_destroy(&m->ctx.st);   // first: waits for work that uses what follows
    vj_event_destroy(&m->uploaded);
    free_buffers(m);
    destroy_tables(m);
    vj_host_free(m);
    *model = NULL;
}

// ---- state --------------------------------------------------------------------------------------------------------
static vj_store *store_of(const vj_vjepa *m, vj_network network)
{
    return network == VJ_ENCODER ? m->encoder : network == VJ_PREDICTOR ? m->predictor : m->target;
}

const vj_layout *vj_vjepa_layout(const vj_vjepa *m, vj_network network) { return store_of(m, network)->layout; }
vj_stream *vj_vjepa_stream(const vj_vjepa *m) { return m->ctx.st; }
const vj_memory_plan *vj_vjepa_memory(const vj_vjepa *m) { return &m->memory; }
int64_t vj_model_width(const vj_vjepa *m) { return m->config.width; }

vj_tensor vj_vjepa_held(const vj_vjepa *m, vj_network network, vj_buffer buffer, int unit, int64_t *begin)
{
    const vj_store *s = store_of(m, network);
    VJ_ASSERT(buffer != VJ_BUF_GRAD);
    int64_t end;
    vj_store_held(s, (vj_store_kind)buffer, unit, begin, &end);
    return vj_store_slice(s, (vj_store_kind)buffer, unit, *begin, end - *begin);
}

vj_tensor vj_vjepa_owned(const vj_vjepa *m, vj_network network, vj_buffer buffer, int unit, int64_t *begin)
{
    const vj_store *s = store_of(m, network);
    int64_t end;
    vj_store_own(s, unit, begin, &end);   // the target encoder is shared out as the encoder is
    return vj_store_slice(s, (vj_store_kind)buffer, unit, *begin, end - *begin);
}

vj_tensor vj_vjepa_unit(const vj_vjepa *m, vj_network network, vj_buffer buffer, int unit)
{
    const vj_store *s = store_of(m, network);
    return buffer == VJ_BUF_GRAD ? vj_store_grad_unit(s, unit) : vj_store_unit(s, (vj_store_kind)buffer, unit);
}

static vj_tensor param_of(const vj_vjepa *m, vj_network network, vj_buffer buffer, int param)
{
    const vj_store *s = store_of(m, network);
    return buffer == VJ_BUF_GRAD ? vj_store_grad(s, param) : vj_store_param(s, (vj_store_kind)buffer, param);
}

vj_status vj_vjepa_get_param(vj_vjepa *m, vj_network network, vj_buffer buffer, int param, double *out)
{
    VJ_CHECK(!m->encoder_only || network == VJ_TARGET_ENCODER, VJ_ERR_BUG, "an encoder alone has no other network");
    vj_store *s = store_of(m, network);
    const vj_tensor t = param_of(m, network, buffer, param);
    if (buffer != VJ_BUF_PARAM) return vj_download(m->ctx.st, out, VJ_F64, &t);
    const int unit = s->layout->params[param].unit;
    VJ_TRY(vj_unit_gather(s, m->ctx.st, unit));
    VJ_TRY(vj_download(m->ctx.st, out, VJ_F64, &t));
    return vj_unit_release(s, m->ctx.st, unit);
}

vj_status vj_vjepa_set_param(vj_vjepa *m, vj_network network, vj_buffer buffer, int param, const double *in)
{
    VJ_CHECK(!m->encoder_only || network == VJ_TARGET_ENCODER, VJ_ERR_BUG, "an encoder alone has no other network");
    const vj_store *s = store_of(m, network);
    const vj_param *p = &s->layout->params[param];
    if (buffer == VJ_BUF_GRAD) {
        const vj_tensor t = vj_store_grad(s, param);
        return vj_upload(m->ctx.st, &t, in, VJ_F64);
    }
    int64_t begin, end;
    vj_store_held(s, (vj_store_kind)buffer, p->unit, &begin, &end);
    const int64_t low = p->offset > begin ? p->offset : begin, high = p->offset + p->count < end ? p->offset + p->count : end;
    if (low >= high) return VJ_OK;
    const vj_tensor t = vj_store_slice(s, (vj_store_kind)buffer, p->unit, low, high - low);
    return vj_upload(m->ctx.st, &t, in + (low - p->offset), VJ_F64);
}

static vj_status init_network(vj_vjepa *m, vj_network network, uint64_t seed, double *values)
{
    const vj_layout *l = vj_vjepa_layout(m, network);
    for (int p = 0; p < l->n_params; p++) {
        VJ_TRY(vj_init_param(l, p, seed, m->real, vj_device_threads(m->device), values));
        VJ_TRY(vj_vjepa_set_param(m, network, VJ_BUF_PARAM, p, values));
        if (network == VJ_ENCODER) VJ_TRY(vj_vjepa_set_param(m, VJ_TARGET_ENCODER, VJ_BUF_PARAM, p, values));
    }
    return VJ_OK;
}

vj_status vj_vjepa_init(vj_vjepa *m, uint64_t seed)
{
    int64_t largest = 0;
    for (int n = VJ_ENCODER; n <= VJ_PREDICTOR; n++) {
        const vj_layout *l = vj_vjepa_layout(m, (vj_network)n);
        for (int p = 0; p < l->n_params; p++) largest = l->params[p].count > largest ? l->params[p].count : largest;
    }
    double *values = NULL;
    VJ_TRY(vj_host_alloc(&values, (size_t)largest * sizeof *values, "initial values"));
    vj_status status = init_network(m, VJ_ENCODER, seed, values);
    if (status == VJ_OK) status = init_network(m, VJ_PREDICTOR, seed, values);
    vj_host_free(values);
    return status;
}

void vj_vjepa_digest(const vj_vjepa *m, char hex[65]) { vj_model_digest(m->encoder_layout, m->predictor_layout, hex); }

// ---- a step -------------------------------------------------------------------------------------------------------
static vj_status begin_step(vj_vjepa *m, int64_t n_slots)
{
    VJ_CHECK(m->training && n_slots >= m->ranks && n_slots <= m->bound.slots, VJ_ERR_BUG,
             "a step of %lld slots on %d ranks, at most %lld were announced", (long long)n_slots, m->ranks, (long long)m->bound.slots);
    m->slots = n_slots;
    m->slot = 0;
    memset(m->token_used, 0, sizeof m->token_used);
    if (m->schedule) vj_schedule_forget(m->schedule);
    vj_store_step_begin(m->encoder, n_slots);
    vj_store_step_begin(m->predictor, n_slots);
    return VJ_OK;
}

vj_status vj_vjepa_step_begin(vj_vjepa *m, int64_t n_slots)
{
    VJ_CHECK(!m->in_backward, VJ_ERR_BUG, "a model made for updates in the backward pass begins its steps otherwise");
    return begin_step(m, n_slots);
}

// Place of this rank's i-th slot among all of the step.
static int64_t place(const vj_vjepa *m, int64_t i) { return i * m->ranks + m->rank; }

vj_status vj_vjepa_slot(vj_vjepa *m, const vj_slot *slot)
{
    VJ_CHECK(place(m, m->slot) < m->slots, VJ_ERR_BUG, "more slots than the step announced");
    vj_slot_plan plan;
    VJ_TRY(vj_slot_plan_make(m, slot, &plan));
    VJ_TRY(vj_store_slot_begin(m->encoder, m->ctx.st, true));
    VJ_TRY(vj_store_slot_begin(m->predictor, m->ctx.st, true));
    m->ctx.training = true;
    const vj_tensor loss = vj_rows(&m->losses, place(m, m->slot), 1);
    vj_span_begin("slot", place(m, m->slot));
    if (m->schedule) vj_schedule_begin(m->schedule);
    VJ_TRY(vj_slot_pass(m, &m->ctx, &plan, &loss));
    if (m->schedule) VJ_TRY(vj_schedule_end(m->schedule));
    vj_span_begin("sum of slots", -1);
    VJ_TRY(vj_store_slot_end(m->encoder, m->ctx.st));
    VJ_TRY(vj_store_slot_end(m->predictor, m->ctx.st));
    vj_span_end("sum of slots");
    vj_span_end("slot");
    m->slot++;
    return VJ_OK;
}

// The same tree as the gradients': neighbours first, a missing leaf is skipped. v is overwritten.
static double tree_sum(double *v, int64_t n)
{
    while (n > 1) {
        for (int64_t i = 0; i < (n + 1) / 2; i++) v[i] = 2 * i + 1 < n ? v[2 * i] + v[2 * i + 1] : v[2 * i];
        n = (n + 1) / 2;
    }
    return v[0];
}

// Sums of squares of a unit's gradient, one for each chunk of what this rank updates; *first: the place of the unit's first among
// those of the step.
static vj_status square_sums(vj_vjepa *m, const vj_store *s, int unit, int64_t *first)
{
    const int64_t Q = s->layout->quantum, chunk = s->layout->units[unit].length / Q;
    int64_t begin, end;
    vj_store_own(s, unit, &begin, &end);
    *first = unit * Q + (s == m->predictor ? chunks_of(m->encoder_layout) : 0);
    if (begin == end) return VJ_OK;   // more ranks than chunks
    const vj_tensor g = vj_store_gradient_slice(s, unit, begin, end - begin),
                    out = vj_rows(&m->square_sums, *first + begin / chunk, (end - begin) / chunk);
    return vj_square_sums(m->ctx.st, &out, &g, chunk);
}

// `clip`: see vj_step_result.
static vj_status adamw_unit(vj_vjepa *m, vj_store *s, const vj_step_options *o, double clip, int unit)
{
    const bool predictor = s == m->predictor;
    const vj_unit *u = &s->layout->units[unit];
    int64_t begin, end;
    vj_store_own(s, unit, &begin, &end);
    for (int p = u->first_param; p < u->first_param + u->n_params; p++) {
        // A mask token without a gradient in this step is left alone altogether, as the published optimiser does.
        const int token = p - R_TOKENS;
        if (predictor && token >= 0 && token < m->mask_tokens && !m->token_used[token]) continue;
        const vj_param *param = &s->layout->params[p];
        const int64_t low = param->offset > begin ? param->offset : begin,
                      high = param->offset + param->count < end ? param->offset + param->count : end;
        if (low >= high) continue;
        const vj_adamw_spec spec = { .lr = o->lr,
                                     .weight_decay = param->decay ? o->weight_decay : 0,
                                     .beta1 = o->beta1,
                                     .beta2 = o->beta2,
                                     .eps = o->eps,
                                     .grad_scale = clip / (double)m->slots,
                                     .step = o->adam_step };
        const vj_tensor w = vj_store_slice(s, VJ_STORE_PARAM, unit, low, high - low),
                        a = vj_store_slice(s, VJ_STORE_EXP_AVG, unit, low, high - low),
                        b = vj_store_slice(s, VJ_STORE_EXP_AVG_SQ, unit, low, high - low), g = vj_store_gradient_slice(s, unit, low, high - low);
        VJ_TRY(vj_adamw(m->ctx.st, &w, &a, &b, &g, &spec));
    }
    return VJ_OK;
}

// The one reduction of a step. Every loss, every mask token that was used, what the caller wants to share, and unless ddp every sum of squares, on all ranks: a rank knows its own, the others'
// are zero, and a sum with zeros is exact.
static vj_status share_sums(vj_vjepa *m, const vj_step_options *o)
{
    const int64_t V = m->slots, squares = V + 64 + VJ_STEP_SHARED, chunks = chunks_of(m->encoder_layout) + chunks_of(m->predictor_layout);
    const bool parts = vj_mesh_shares(m->mesh);
    double *sums = m->host_sums + m->bound.slots;
    memset(m->shared, 0, (size_t)(squares + chunks) * sizeof *m->shared);
    for (int64_t i = 0; i < m->slot; i++) m->shared[place(m, i)] = m->host_sums[place(m, i)];
    for (int i = 0; i < 64; i++) m->shared[V + i] = m->token_used[i] ? 1 : 0;
    for (int i = 0; i < o->n_shared; i++) m->shared[V + 64 + i] = o->shared[i];
    const vj_store *stores[] = { m->encoder, m->predictor };
    int64_t first = 0;
    for (int i = 0; i < 2 && parts; i++) {
        const int64_t Q = stores[i]->layout->quantum;
        for (int u = 0; u < stores[i]->layout->n_units; u++, first += Q) {
            int64_t begin, end;
            vj_store_own(stores[i], u, &begin, &end);
            const int64_t chunk = stores[i]->layout->units[u].length / Q;
            for (int64_t k = begin / chunk; k < end / chunk; k++) m->shared[squares + first + k] = sums[first + k];
        }
    }
    vj_comm_about(m->mesh->world, "losses and norms of the step", -1);
    for (int64_t at = 0, n = squares + (parts ? chunks : 0); at < n; at += VJ_COMM_SCALARS) {
        const int64_t some = n - at < VJ_COMM_SCALARS ? n - at : VJ_COMM_SCALARS;
        VJ_TRY_CTX(vj_comm_all_reduce_now(m->mesh->world, m->shared + at, some, VJ_SUM), "sharing the losses of the slots");
    }
    vj_comm_about(m->mesh->world, NULL, -1);
    for (int64_t i = 0; i < V; i++) m->host_sums[i] = m->shared[i];
    for (int i = 0; i < 64; i++) m->token_used[i] = m->shared[V + i] > 0;
    for (int64_t i = 0; i < chunks && parts; i++) sums[i] = m->shared[squares + i];
    for (int i = 0; i < o->n_shared; i++) o->shared[i] = m->shared[V + 64 + i];
    return VJ_OK;
}

// Loss and sums of squares of the whole step, to the host.
static vj_status sums_to_host(vj_vjepa *m, const vj_step_options *o)
{
    if (m->slot < (m->slots + m->ranks - 1) / m->ranks) {   // the last round is the others'
        VJ_TRY(vj_store_slot_begin(m->encoder, m->ctx.st, false));
        VJ_TRY(vj_store_slot_begin(m->predictor, m->ctx.st, false));
        VJ_TRY(vj_schedule_walk(m->schedule, m->ctx.st));
        VJ_TRY(vj_store_slot_end(m->encoder, m->ctx.st));
        VJ_TRY(vj_store_slot_end(m->predictor, m->ctx.st));
    }
    VJ_TRY(vj_store_step_end(m->encoder, m->ctx.st));
    VJ_TRY(vj_store_step_end(m->predictor, m->ctx.st));
    const vj_store *stores[] = { m->encoder, m->predictor };
    int64_t first;
    for (int i = 0; i < 2; i++) {
        for (int u = 0; u < stores[i]->layout->n_units; u++) VJ_TRY(square_sums(m, stores[i], u, &first));
    }
    const int64_t sums = m->bound.slots + chunks_of(m->encoder_layout) + chunks_of(m->predictor_layout);
    VJ_TRY(vj_copy_to_host(m->ctx.st, m->host_sums, m->sums_memory, (size_t)sums * sizeof(double)));
    VJ_TRY(vj_stream_sync(m->ctx.st));
    return m->mesh ? share_sums(m, o) : VJ_OK;
}

// A unit's gradient is complete and about to go: its sums of squares are kept, and unless something was not finite it is used.
static vj_status update_unit(void *context, vj_store *s, int unit)
{
    vj_vjepa *m = context;
    const int64_t Q = s->layout->quantum;
    int64_t first;
    VJ_TRY(square_sums(m, s, unit, &first));
    const vj_tensor squares = vj_rows(&m->square_sums, first, Q);
    double *sums = m->host_sums + m->bound.slots + first;
    VJ_TRY(vj_copy_to_host(m->ctx.st, sums, squares.data, (size_t)Q * sizeof *sums));
    if (!m->early_begun) VJ_TRY(vj_copy_to_host(m->ctx.st, m->host_sums, m->losses.data, sizeof(double)));
    VJ_TRY(vj_stream_sync(m->ctx.st));
    if (!m->early_begun) m->early_finite = isfinite(m->host_sums[0]) != 0;
    m->early_begun = true;
    for (int64_t i = 0; i < Q; i++) m->early_finite = m->early_finite && isfinite(sums[i]);
    return m->early_finite ? adamw_unit(m, s, &m->early, 1, unit) : VJ_OK;
}

vj_status vj_vjepa_step_begin_in_backward(vj_vjepa *m, const vj_step_options *options)
{
    VJ_CHECK(m->in_backward, VJ_ERR_BUG, "the model was not made for updates in the backward pass");
    VJ_TRY(begin_step(m, 1));
    m->early = *options;
    m->early_begun = false;
    m->early_finite = true;
    vj_store *stores[] = { m->encoder, m->predictor };
    for (int i = 0; i < 2; i++) {
        stores[i]->reduced = update_unit;
        stores[i]->reduced_context = m;
    }
    return VJ_OK;
}

vj_status vj_vjepa_update(vj_vjepa *m, const vj_step_options *o, vj_step_result *out)
{
    VJ_CHECK(place(m, m->slot) >= m->slots, VJ_ERR_BUG, "an update after %lld slots of a step of %lld", (long long)m->slot,
             (long long)m->slots);
    vj_span_begin("update", -1);
    vj_span_begin("norms", -1);
    VJ_ASSERT(o->n_shared >= 0 && o->n_shared <= VJ_STEP_SHARED);
    if (!m->in_backward) VJ_TRY(sums_to_host(m, o));
    vj_span_end("norms");
    m->encoder->reduced = m->predictor->reduced = NULL;   // a pass that only measures reduces too
    const int64_t encoder_chunks = chunks_of(m->encoder_layout), chunks = encoder_chunks + chunks_of(m->predictor_layout);
    double encoder = 0, predictor = 0;
    for (int64_t i = 0; i < chunks; i++)
        *(i < encoder_chunks ? &encoder : &predictor) += m->host_sums[m->bound.slots + i];
    const double scale = 1.0 / (double)m->slots;
    out->loss = tree_sum(m->host_sums, m->slots) * scale;
    out->grad_norm_encoder = sqrt(encoder) * scale;
    out->grad_norm_predictor = sqrt(predictor) * scale;
    out->grad_norm = sqrt(encoder + predictor) * scale;
    // One number, from sums whose order no layout changes: clipped alike everywhere.
    out->clip_scale = o->clip_norm > 0 && out->grad_norm > o->clip_norm ? o->clip_norm / out->grad_norm : 1;
    out->update = isfinite(out->loss) && isfinite(encoder + predictor) ? VJ_UPDATED : VJ_UPDATE_NONFINITE;
    if (out->update == VJ_UPDATE_NONFINITE) vj_span_end("update");
    if (out->update == VJ_UPDATE_NONFINITE) return VJ_OK;   // unless in_backward: decided before anything is changed

    vj_store *stores[] = { m->encoder, m->predictor };
    vj_span_begin("optimiser", -1);
    for (int i = 0; i < 2 && !m->in_backward; i++) {
        for (int u = 0; u < stores[i]->layout->n_units; u++) VJ_TRY(adamw_unit(m, stores[i], o, out->clip_scale, u));
        VJ_TRY(vj_store_share_weights(stores[i], m->ctx.st));
    }
    vj_span_end("optimiser");
    vj_span_begin("EMA", -1);
    for (int u = 0; u < m->encoder_layout->n_units; u++) {   // of what this rank holds: nothing is sent
        int64_t begin, end;
        vj_store_held(m->encoder, VJ_STORE_PARAM, u, &begin, &end);
        if (begin == end) continue;
        const vj_tensor target = vj_store_slice(m->target, VJ_STORE_PARAM, u, begin, end - begin),
                        online = vj_store_slice(m->encoder, VJ_STORE_PARAM, u, begin, end - begin);
        VJ_TRY(vj_ema(m->ctx.st, &target, &online, o->momentum));
    }
    VJ_TRY(vj_stream_sync(m->ctx.st));
    vj_span_end("EMA");
    vj_span_end("update");
    return VJ_OK;
}

void vj_vjepa_unit_norms(const vj_vjepa *m, vj_network network, double *out)
{
    const vj_layout *l = vj_vjepa_layout(m, network);
    const double *sums = m->host_sums + m->bound.slots;
    if (network == VJ_PREDICTOR) sums += m->encoder_layout->n_units * m->encoder_layout->quantum;
    for (int u = 0; u < l->n_units; u++) {
        double square = 0;
        for (int64_t i = 0; i < l->quantum; i++) square += sums[u * l->quantum + i];
        out[u] = sqrt(square) / (double)m->slots;
    }
}

// Looking at clips trains nothing: which mask tokens the step used stays as it is.
static vj_status plan_without_training(vj_vjepa *m, const vj_slot *slot, vj_slot_plan *plan)
{
    bool used[64];
    memcpy(used, m->token_used, sizeof used);
    vj_status status = vj_slot_plan_make(m, slot, plan);
    memcpy(m->token_used, used, sizeof used);
    return status;
}

vj_status vj_vjepa_features(vj_vjepa *m, vj_network network, const vj_slot *slot, const int *layers, int n_layers,
                            float *out, int64_t capacity, int64_t *rows)
{
    VJ_CHECK(network == VJ_TARGET_ENCODER || (network == VJ_ENCODER && !m->encoder_only), VJ_ERR_BUG,
             "features of a network that is no encoder");
    for (int i = 0; i < n_layers; i++) {
        VJ_CHECK(layers[i] >= 0 && layers[i] < m->config.depth && (i == 0 || layers[i] > layers[i - 1]), VJ_ERR_USAGE,
                 "layer %d: ascending blocks from 0 to %lld can be listed", layers[i], (long long)m->config.depth - 1);
    }
    vj_slot bare = *slot;
    for (int i = 0; i < bare.n_groups; i++) bare.groups[i].n_pairs = 0;
    vj_slot_plan plan;
    VJ_TRY(plan_without_training(m, &bare, &plan));
    VJ_CHECK(plan.all.rows <= capacity, VJ_ERR_BUG, "%lld tokens do not fit into %lld", (long long)plan.all.rows,
             (long long)capacity);
    *rows = plan.all.rows;
    m->ctx.training = false;
    return vj_feature_pass(m, &m->ctx, network, &plan, layers, n_layers, out);
}

vj_status vj_vjepa_predict(vj_vjepa *m, const vj_slot *slot, double *pred, double *target, int64_t capacity,
                           int64_t *rows)
{
    VJ_CHECK(!m->encoder_only, VJ_ERR_BUG, "an encoder alone predicts nothing");
    vj_slot_plan plan;
    VJ_TRY(plan_without_training(m, slot, &plan));
    VJ_CHECK(plan.Rt <= capacity, VJ_ERR_BUG, "%lld predicted rows do not fit into %lld", (long long)plan.Rt,
             (long long)capacity);
    *rows = plan.Rt;
    m->ctx.training = false;
    const vj_mark saved = vj_arena_mark(&m->ctx.saved), scratch = vj_arena_mark(&m->ctx.scratch);
    if (target) {
        vj_tensor t;
        VJ_TRY(vj_target_pass(m, &m->ctx, &plan, &t));
        VJ_TRY(vj_download(m->ctx.st, target, VJ_F64, &t));
    }
    if (pred) {
        vj_student_saved s;
        VJ_TRY(vj_student_forward(m, &m->ctx, &plan, &s));
        VJ_TRY(vj_download(m->ctx.st, pred, VJ_F64, &s.pred));
    }
    vj_arena_reset(&m->ctx.saved, saved);
    vj_arena_reset(&m->ctx.scratch, scratch);
    return vj_stream_sync(m->ctx.st);
}

// ---- cost ---------------------------------------------------------------------------------------------------------
// Spec/pretrain.md 12.1 for one sequence of n tokens through `depth` blocks.
static double blocks_flop(double n, double d, double hidden, double depth)
{
    return depth * (8 * n * d * d + 4 * n * d * hidden + 4 * n * n * d);
}

double vj_vjepa_slot_flop(const vj_model_config *c, const vj_slot *slot)
{
    const double d = (double)c->width, q = (double)c->pred_width,
                 brick = (double)(3 * c->tubelet * c->patch * c->patch);
    double total = 0;
    for (int i = 0; i < slot->n_groups; i++) {
        const vj_clip_group *g = &slot->groups[i];
        const double N = (double)((g->F / c->tubelet) * (g->height / c->patch) * (g->width / c->patch)),
                     B = (double)g->B;
        total += B * (blocks_flop(N, d, (double)c->hidden, (double)c->depth) + 2 * N * brick * d);
        for (int k = 0; k < g->n_pairs; k++) {
            const double K = (double)g->pairs[k].K, P = (double)g->pairs[k].P;
            total += 3 * B * (blocks_flop(K, d, (double)c->hidden, (double)c->depth) + 2 * K * brick * d);
            total += 3 * B * (blocks_flop(K + P, q, 4 * q, (double)c->pred_depth) + 2 * q * d * (K + P));
            // Context rows ask nothing in the predictor's last block and leave it there: what is not done earns nothing. (Its
            // gradients of weights are summed over all rows.)
            total -= B * (2 * 18 * K * q * q + 3 * 4 * K * (K + P) * q);
        }
    }
    return total;
}

// Blocks forward again, but for their last product.
double vj_vjepa_slot_recompute_flop(const vj_model_config *c, const vj_slot *slot)
{
    const double d = (double)c->width, hidden = (double)c->hidden, q = (double)c->pred_width;
    double total = 0;
    for (int i = 0; i < slot->n_groups && c->recompute == 1; i++) {
        const vj_clip_group *g = &slot->groups[i];
        for (int k = 0; k < g->n_pairs; k++) {
            const double B = (double)g->B, K = (double)g->pairs[k].K, n = K + (double)g->pairs[k].P;
            total += B * (double)c->depth * (8 * K * d * d + 4 * K * K * d + 2 * K * d * hidden);
            total += B * (double)c->pred_depth * (16 * n * q * q + 4 * n * n * q);
            total -= B * (10 * K * q * q + 4 * K * n * q);   // of the last block only what target rows need
        }
    }
    return total;
}
