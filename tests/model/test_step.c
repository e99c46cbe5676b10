// The step as a machine: equal bits for any number of threads and on far, the tree over slots, what happens to numbers
// that are not finite, memory that is planned and never asked for again, slots that do not fit.

#include <errno.h>
#include <malloc.h>

#include "tests/model/small_model.h"

// Private to runtime/: every queued item of the far device waits this long first.
void vj_far_delay(vj_device *device, int microseconds);

// ---- a model with enough rows for several tiles of everything -----------------------------------------------------
typedef struct wide { vj_device *device; vj_vjepa *m; float *clips; int32_t *ids; vj_slot slot; } wide;
enum { WIDE_TOKENS = 2 * 12 * 12, WIDE_VALUES = 3 * 3 * 4 * 96 * 96 };

static void wide_open(wide *w, const char *device, int threads)
{
    vj_model_config c = { .width = 96,
                          .depth = 2,
                          .heads = 3,
                          .hidden = 384,
                          .patch = 8,
                          .tubelet = 2,
                          .pred_width = 60,
                          .pred_depth = 2,
                          .pred_heads = 3,
                          .loss_exponent = 1,
                          .shard_quantum = 8 };
    strcpy(c.preset, "custom");
    const vj_slot_bound bound = { .clips = 3, .F = 4, .height = 96, .width = 96, .n_pairs = 2, .slots = 1 };
    *w = (wide){ .clips = malloc(WIDE_VALUES * sizeof(float)), .ids = malloc(4 * 3 * WIDE_TOKENS * sizeof(int32_t)) };
    OK(vj_device_open(&w->device, device, threads));
    OK(vj_vjepa_create(&w->m, &c, 2, w->device, &bound, true));
    OK(vj_vjepa_init(w->m, 5));
    for (int i = 0; i < WIDE_VALUES; i++) w->clips[i] = (float)noise((uint64_t)i);
    w->slot = (vj_slot){ .n_groups = 1 };
    w->slot.groups[0] =
        (vj_clip_group){ .B = 3, .F = 4, .height = 96, .width = 96, .clips = w->clips, .dtype = VJ_F32, .n_pairs = 2 };
    static const int64_t K[2] = { 97, 31 }, P[2] = { 151, 211 };
    int32_t *at = w->ids;
    for (int k = 0; k < 2; k++) {   // a stride without a common factor with 288 walks over distinct tokens
        w->slot.groups[0].pairs[k] = (vj_mask_pair){ .K = K[k], .P = P[k], .ctx = at, .tgt = at + 3 * K[k] };
        for (int b = 0; b < 3; b++) {
            for (int i = 0; i < K[k]; i++) at[b * K[k] + i] = (int32_t)((b * 17 + i * 5) % WIDE_TOKENS);
            for (int i = 0; i < P[k]; i++)
                at[3 * K[k] + b * P[k] + i] = (int32_t)((b * 17 + (i + K[k]) * 5) % WIDE_TOKENS);
        }
        at += 3 * (K[k] + P[k]);
    }
}

static vj_step_result wide_step(wide *w, int64_t step)
{
    vj_step_result r;
    const vj_step_options o = golden_options(step);
    OK(vj_vjepa_step_begin(w->m, 1));
    OK(vj_vjepa_slot(w->m, &w->slot));
    OK(vj_vjepa_update(w->m, &o, &r));
    return r;
}

static void wide_close(wide *w)
{
    vj_vjepa_destroy(&w->m);
    assert_int_equal(vj_device_bytes(w->device), 0);
    vj_device_close(&w->device);
    free(w->clips);
    free(w->ids);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    static const char *const devices[] = { "cpu", "ref" };
    for (int d = 0; d < 2; d++) {
        wide a, b;
        wide_open(&a, devices[d], 1);
        wide_open(&b, devices[d], 2);
        for (int64_t step = 1; step <= (d ? 1 : 3); step++) {
            const vj_step_result x = wide_step(&a, step), y = wide_step(&b, step);
            assert_true(x.loss == y.loss && x.grad_norm == y.grad_norm && isfinite(x.loss) && x.loss > 0);
        }
        assert_same_state(a.m, b.m);
        wide_close(&a);
        wide_close(&b);
    }
}

// Host code that touched device memory would fault; host code that did not wait would read stale bytes, so items are
// slow. The ids of a slot may be overwritten once vj_vjepa_slot has returned; its clips once the step is done.
static void far_gives_the_bits_of_cpu(void **state)
{
    (void)state;
    wide a, b;
    wide_open(&a, "cpu", 1);
    wide_open(&b, "far", 1);
    vj_far_delay(b.device, 300);
    int32_t kept[4 * 3 * WIDE_TOKENS];
    memcpy(kept, b.ids, sizeof kept);
    for (int64_t step = 1; step <= 2; step++) {
        const vj_step_result x = wide_step(&a, step);
        vj_step_result y;
        const vj_step_options o = golden_options(step);
        OK(vj_vjepa_step_begin(b.m, 1));
        OK(vj_vjepa_slot(b.m, &b.slot));
        memset(b.ids, 0, sizeof kept);
        OK(vj_vjepa_update(b.m, &o, &y));
        memcpy(b.ids, kept, sizeof kept);
        assert_true(x.loss == y.loss && x.grad_norm == y.grad_norm);
    }
    vj_far_delay(b.device, 0);
    assert_same_state(a.m, b.m);
    wide_close(&a);
    wide_close(&b);
}

// ---- several slots ------------------------------------------------------------------------------------------------
enum { SLOTS = 5 };

// (((0 + 1) + (2 + 3)) + 4): the sum that the model must have made, in float32.
static float tree_of(const double *const v[SLOTS], int64_t i)
{
    const float a = (float)v[0][i] + (float)v[1][i], b = (float)v[2][i] + (float)v[3][i];
    return (a + b) + (float)v[4][i];
}

static void slots_sum_in_a_tree(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model alone, together[SLOTS];
    small_open(&alone, "cpu", 1, &c, 1);
    double *each[2][SLOTS], losses[SLOTS];
    int64_t n[2];
    const vj_step_options still = {
        .lr = 0, .weight_decay = 0, .momentum = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .adam_step = 1
    };
    vj_step_result r;
    for (int v = 0; v < SLOTS; v++) {
        small_slot(&alone, 100 + (uint64_t)v);
        OK(vj_vjepa_step_begin(alone.m, 1));
        OK(vj_vjepa_slot(alone.m, &alone.slot));
        OK(vj_vjepa_update(alone.m, &still, &r));
        losses[v] = r.loss;
        for (int k = 0; k < 2; k++) each[k][v] = all_of(alone.m, k ? VJ_PREDICTOR : VJ_ENCODER, VJ_BUF_GRAD, &n[k]);
    }
    small_close(&alone);

    for (int step = 0; step < 4; step++) {   // every second step finds accumulators that the one before it left
        if (step % 2 == 0) {
            if (step == 2) small_close(&together[0]);
            small_open(&together[0], step ? "far" : "cpu", 1, &c, SLOTS);
            if (step == 2) vj_far_delay(together[0].device, 100);
        }
        vj_vjepa *m = together[0].m;
        OK(vj_vjepa_step_begin(m, SLOTS));
        for (int v = 0; v < SLOTS; v++) {
            small_slot(&together[v], 100 + (uint64_t)v);
            OK(vj_vjepa_slot(m, &together[v].slot));
        }
        OK(vj_vjepa_update(m, &still, &r));
        assert_true(r.loss == ((losses[0] + losses[1]) + (losses[2] + losses[3]) + losses[4]) * (1.0 / SLOTS));
        int64_t in_a_row_differs = 0;
        double squares = 0;
        for (int k = 0; k < 2; k++) {
            double *sum = all_of(m, k ? VJ_PREDICTOR : VJ_ENCODER, VJ_BUF_GRAD, &n[k]);
            for (int64_t i = 0; i < n[k]; i++) {
                assert_true((float)sum[i] == tree_of((const double *const *)each[k], i));
                float row = 0;
                for (int v = 0; v < SLOTS; v++) row += (float)each[k][v][i];
                in_a_row_differs += row != (float)sum[i];
                squares += sum[i] * sum[i];
            }
            free(sum);
        }
        assert_true(in_a_row_differs > 100);
        assert_true(fabs(r.grad_norm / (sqrt(squares) / SLOTS) - 1) < 1e-12);   // after the division by V
        double units = 0, norms[64];   // and unit by unit
        for (int network = VJ_ENCODER; network <= VJ_PREDICTOR; network++) {
            vj_vjepa_unit_norms(m, (vj_network)network, norms);
            for (int u = 0; u < vj_vjepa_layout(m, (vj_network)network)->n_units; u++) {
                const vj_tensor g = vj_vjepa_unit(m, (vj_network)network, VJ_BUF_GRAD, u);
                double *v = malloc((size_t)vj_count(&g) * sizeof *v), square = 0;
                OK(vj_download(vj_vjepa_stream(m), v, VJ_F64, &g));
                for (int64_t i = 0; i < vj_count(&g); i++) square += v[i] * v[i];
                assert_true(fabs(norms[u] - sqrt(square) / SLOTS) <= 1e-6 * norms[u]);
                units += norms[u] * norms[u];
                free(v);
            }
        }
        assert_true(fabs(sqrt(units) / r.grad_norm - 1) < 1e-12);
    }
    for (int k = 0; k < 2; k++) {
        for (int v = 0; v < SLOTS; v++) free(each[k][v]);
    }
    small_close(&together[0]);
}

// Twice the same slot is the step of one: sums double exactly, and the mean halves them.
static void the_mean_over_slots_is_the_gradient(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model one, two;
    small_open(&one, "cpu", 1, &c, 1);
    small_open(&two, "cpu", 1, &c, 2);
    const vj_step_result x = small_step(&one, 1);
    vj_step_result y;
    const vj_step_options o = golden_options(1);
    OK(vj_vjepa_step_begin(two.m, 2));
    OK(vj_vjepa_slot(two.m, &two.slot));
    OK(vj_vjepa_slot(two.m, &two.slot));
    OK(vj_vjepa_update(two.m, &o, &y));
    assert_true(x.loss == y.loss && x.grad_norm == y.grad_norm);
    for (int n = VJ_ENCODER; n <= VJ_TARGET_ENCODER; n++) {
        int64_t count;
        double *a = all_of(one.m, (vj_network)n, VJ_BUF_PARAM, &count),
               *b = all_of(two.m, (vj_network)n, VJ_BUF_PARAM, &count);
        assert_memory_equal(a, b, (size_t)count * sizeof *a);
        free(a);
        free(b);
    }
    small_close(&one);
    small_close(&two);
}

// ---- numbers that are not finite ----------------------------------------------------------------------------------
static void nothing_changes_when_a_number_is_not_finite(void **state)
{
    (void)state;
    static const char *const devices[] = { "ref", "cpu", "far" };
    const double poison[] = { NAN, INFINITY };
    for (int d = 0; d < 3; d++) {
        for (int k = 0; k < 2; k++) {
            const vj_model_config c = small_config();
            small_model a, b;
            small_open(&a, devices[d], 1, &c, 1);
            small_open(&b, devices[d], 1, &c, 1);
            (void)small_step(&a, 1);
            (void)small_step(&b, 1);
            b.clips[17] = poison[k];
            const vj_step_result r = small_step(&b, 2);
            assert_int_equal(r.update, VJ_UPDATE_NONFINITE);
            small_slot(&b, 1);
            (void)small_step(&a, 2);
            assert_int_equal(small_step(&b, 2).update, VJ_UPDATED);   // as if the bad step had never been
            assert_same_state(a.m, b.m);
            small_close(&a);
            small_close(&b);
        }
    }
}

// A gradient alone: one weight is not finite and no loss shows it (the patch embedding's gradient is looked at too).
static void one_bad_gradient_is_enough(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model s;
    small_open(&s, "cpu", 1, &c, 1);
    vj_step_result r;
    const vj_step_options o = golden_options(1);
    const vj_layout *l = vj_vjepa_layout(s.m, VJ_ENCODER);
    for (int p = 0; p < l->n_params; p += 5) {
        OK(vj_vjepa_step_begin(s.m, 1));
        OK(vj_vjepa_slot(s.m, &s.slot));
        double *g = malloc((size_t)l->params[p].count * sizeof *g);
        OK(vj_vjepa_get_param(s.m, VJ_ENCODER, VJ_BUF_GRAD, p, g));
        g[l->params[p].count - 1] = INFINITY;
        OK(vj_vjepa_set_param(s.m, VJ_ENCODER, VJ_BUF_GRAD, p, g));
        OK(vj_vjepa_update(s.m, &o, &r));
        assert_int_equal(r.update, VJ_UPDATE_NONFINITE);
        assert_true(isfinite(r.loss));
        free(g);
    }
    small_close(&s);
}

// ---- memory -------------------------------------------------------------------------------------------------------
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Calls of the allocator by the program itself, and by the libraries it uses (the GEMM library takes packing buffers).
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
extern char __executable_start, etext;
static _Atomic int64_t ours, theirs;

static void count(const void *caller)
{
    const char *p = caller;
    *(p >= &__executable_start && p < &etext ? &ours : &theirs) += 1;
}

// Visible to the libraries too; not inlined, or the caller would be the caller's caller.
#define ALLOCATOR __attribute__((visibility("default"), noinline))
ALLOCATOR void *malloc(size_t n) { return count(__builtin_return_address(0)), __libc_malloc(n); }
ALLOCATOR void *calloc(size_t a, size_t b) { return count(__builtin_return_address(0)), __libc_calloc(a, b); }
ALLOCATOR void *realloc(void *p, size_t n) { return count(__builtin_return_address(0)), __libc_realloc(p, n); }
ALLOCATOR void *aligned_alloc(size_t a, size_t n) { return count(__builtin_return_address(0)), __libc_memalign(a, n); }
ALLOCATOR void *memalign(size_t a, size_t n) { return count(__builtin_return_address(0)), __libc_memalign(a, n); }
ALLOCATOR int posix_memalign(void **out, size_t a, size_t n)
{
    count(__builtin_return_address(0));
    *out = __libc_memalign(a, n);
    return *out ? 0 : ENOMEM;
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    static const char *const devices[] = { "ref", "cpu", "far" };
    const int64_t before_any = ours;
    void *volatile something = malloc(1);   // volatile: or the compiler leaves the call out
    free(something);
    assert_int_equal(ours, before_any + 1);   // the counter counts
    for (int d = 0; d < 3; d++) {
        for (int threads = 1; threads <= 2; threads++) {
            wide w;
            wide_open(&w, devices[d], threads);
            for (int64_t step = 1; step <= (d ? 3 : 1); step++) (void)wide_step(&w, step);
            const int64_t host = vj_host_alloc_calls(), device = vj_device_bytes(w.device), program = ours,
                          libraries = theirs;
            (void)wide_step(&w, 4);
            print_message("%s, %d threads: %d allocations of the program, %d of libraries\n", devices[d], threads,
                          (int)(ours - program), (int)(theirs - libraries));
            assert_int_equal(ours - program, 0);
            assert_int_equal(vj_host_alloc_calls() - host, 0);
            assert_int_equal(vj_device_bytes(w.device) - device, 0);
            wide_close(&w);
        }
    }
}
#else
static void a_step_allocates_nothing(void **state)
{
    (void)state;
    skip();   // the sanitizer has an allocator of its own
}
#endif

// The plan is what is allocated, to the byte but for pages and the small tables beside it.
static void memory_is_as_planned(void **state)
{
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        for (int training = 0; training < 2; training++) {
            vj_model_config c = small_config();
            c.recompute = recompute;
            const vj_slot_bound bound = small_bound(4);
            vj_memory_plan plan;
            vj_device *device = NULL;
            vj_vjepa *m = NULL;
            OK(vj_device_open(&device, "cpu", 1));
            OK(vj_vjepa_plan(&c, SMALL_TOKENS, &bound, training, VJ_F32, &plan));
            OK(vj_vjepa_create(&m, &c, SMALL_TOKENS, device, &bound, training));
            assert_memory_equal(&plan, vj_vjepa_memory(m), sizeof plan);
            const int64_t real = 4 * (vj_layout_length(vj_vjepa_layout(m, VJ_ENCODER)) +
                                      vj_layout_length(vj_vjepa_layout(m, VJ_PREDICTOR)));
            assert_int_equal(plan.params, real);
            assert_int_equal(plan.moments, training ? 2 * real : 0);
            assert_int_equal(plan.gradients, training ? 3 * real : 0);   // four slots
            assert_int_equal(plan.total, plan.params + plan.moments + plan.target + plan.gradients + plan.saved +
                                             plan.scratch + plan.input);
            assert_true(vj_device_bytes(device) >= plan.total && vj_device_bytes(device) < plan.total + 32 * 4096);
            vj_vjepa_destroy(&m);
            vj_device_close(&device);
        }
    }
}

// ---- slots that are wrong -----------------------------------------------------------------------------------------
static void refused(small_model *s, vj_status want, const char *part)
{
    OK(vj_vjepa_step_begin(s->m, 1));
    const vj_status got = vj_vjepa_slot(s->m, &s->slot);
    if (got != want || strstr(vj_error_text(), part) == NULL)
        fail_msg("status %d, message '%s'; expected %d, '%s'", got, vj_error_text(), want, part);
    small_slot(s, 1);
}

static void slots_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    small_model s;
    small_open(&s, "cpu", 1, &c, 1);
    int32_t ids[8] = { 0, 1, 2, 12, 0, 1, 2, 3 };
    s.slot.groups[0].pairs[0].ctx = ids;
    refused(&s, VJ_ERR_DATA, "context token 12 of 12");
    ids[3] = -1;
    s.slot.groups[0].pairs[1].tgt = ids;
    refused(&s, VJ_ERR_DATA, "target token -1 of 12");
    s.slot.groups[0].pairs[0].K = 0;
    refused(&s, VJ_ERR_BUG, "0 context");
    s.slot.groups[0].F = 8;
    refused(&s, VJ_ERR_BUG, "larger than the bound");
    s.slot.n_groups = 0;
    refused(&s, VJ_ERR_BUG, "0 groups");
    OK(vj_vjepa_step_begin(s.m, 1));
    OK(vj_vjepa_slot(s.m, &s.slot));
    assert_int_equal(vj_vjepa_slot(s.m, &s.slot), VJ_ERR_BUG);   // the step was announced with one
    assert_int_equal(vj_vjepa_step_begin(s.m, 2), VJ_ERR_BUG);
    small_close(&s);
}

// Two models are told apart by names and shapes, not by values.
static void digests(void **state)
{
    (void)state;
    vj_model_config c = small_config();
    char a[65], b[65];
    small_model s;
    small_open(&s, "cpu", 1, &c, 1);
    vj_vjepa_digest(s.m, a);
    (void)small_step(&s, 1);
    vj_vjepa_digest(s.m, b);
    assert_string_equal(a, b);
    small_close(&s);
    c.hidden = 44;
    small_open(&s, "cpu", 1, &c, 1);
    vj_vjepa_digest(s.m, b);
    assert_string_not_equal(a, b);
    small_close(&s);
}

// The first weights: the same on every device (float64 keeps what float32 rounds), and the target encoder a copy.
static void first_weights(void **state)
{
    (void)state;
    const vj_model_config c = small_config();
    double *v[2];
    int64_t n;
    for (int d = 0; d < 2; d++) {
        small_model s;
        small_open(&s, d ? "far" : "ref", 1, &c, 1);
        OK(vj_vjepa_init(s.m, 11));
        v[d] = all_of(s.m, VJ_ENCODER, VJ_BUF_PARAM, &n);
        double *target = all_of(s.m, VJ_TARGET_ENCODER, VJ_BUF_PARAM, &n);
        assert_memory_equal(v[d], target, (size_t)n * sizeof *target);
        free(target);
        small_close(&s);
    }
    for (int64_t i = 0; i < n; i++) assert_true((float)v[0][i] == (float)v[1][i]);
    free(v[0]);
    free(v[1]);
}

// FLOP of products and attention that ran in one step.
static double executed_flop(const vj_model_config *config, vj_slot *slot)
{
    small_model s;
    vj_op_stat stats[64];
    double flop = 0;
    small_open(&s, "cpu", 1, config, 1);
    vj_device_stats_enable(s.device, true);
    small_step(&s, 1);
    const int n = vj_device_stats(s.device, stats, 64);
    for (int i = 0; i < n; i++) flop += stats[i].flop;
    *slot = s.slot;
    small_close(&s);
    return flop;
}

static void recomputation_costs_what_is_said(void **state)
{
    (void)state;
    vj_model_config none = small_config(), block = small_config();
    vj_slot slot;
    block.recompute = 1;
    const double less = executed_flop(&none, &slot), more = executed_flop(&block, &slot), want = vj_vjepa_slot_recompute_flop(&block, &slot);
    assert_true(want > 0 && more - less == want);
    assert_true(vj_vjepa_slot_recompute_flop(&none, &slot) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(far_gives_the_bits_of_cpu),
        cmocka_unit_test(slots_sum_in_a_tree),
        cmocka_unit_test(the_mean_over_slots_is_the_gradient),
        cmocka_unit_test(nothing_changes_when_a_number_is_not_finite),
        cmocka_unit_test(one_bad_gradient_is_enough),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(memory_is_as_planned),
        cmocka_unit_test(slots_that_do_not_fit_are_refused),
        cmocka_unit_test(digests),
        cmocka_unit_test(first_weights),
        cmocka_unit_test(recomputation_costs_what_is_said),
    };
    return cmocka_run_group_tests_name("model/step", tests, NULL, NULL);
}
