// Backward of every differentiable op against finite differences of its forward, in float64 on `ref` (the other devices
// are compared with ref by test_ops). Then the test of the test: mistakes that people make in backward passes are put
// in place of the kernels, and each must be seen.

#include <math.h>
#include <string.h>

#include "runtime/base/rng.h"
#include "runtime/ops/ops.h"
#include "runtime/ref/ref.h"
#include "runtime/tensor/device_impl.h"
#include "tests/support/scratch.h"

// L(inputs) = sum of <d out_k, out_k> over outputs, with d out drawn at random: then d L / d in is what backward makes.
enum { MANY = 6, BEGIN_X1000 = 250 };   // gradients of parameters start at 0.25 and must have been added to
typedef struct scene {
    vj_device *device;
    vj_stream *st;
    vj_tensor in[MANY], grad[MANY], out[MANY], dout[MANY], work[MANY], table, pos, seg, index[3];
    bool accumulates[MANY];   // grad[i] is added to, not overwritten
    int n_in, n_out, n_work;
    void *memory[64];
    int n_memory;
} scene;

static vj_tensor make(scene *s, vj_dtype type, int64_t n0, int64_t n1, const void *values)
{
    void *address = NULL;
    const vj_tensor shape = vj_tensor_2d(NULL, type, n0, n1);
    assert_ok(vj_device_alloc(s->device, &address, vj_tensor_bytes(&shape), "a gradient check"));
    s->memory[s->n_memory++] = address;
    const vj_tensor t = vj_tensor_2d(address, type, n0, n1);
    if (values) assert_ok(vj_upload(s->st, &t, values, type));
    return t;
}

static double noise(uint64_t which, int64_t i)
{
    return 2 * vj_rng_uniform(11, (uint64_t)i, 0x39990 + (uint32_t)which, 0, 0) - 1;
}

static vj_tensor drawn(scene *s, uint64_t which, int64_t n0, int64_t n1, double scale)
{
    double *v = malloc((size_t)(n0 * n1 + 1) * sizeof *v);
    for (int64_t i = 0; i < n0 * n1; i++) v[i] = scale * noise(which, i);
    const vj_tensor t = make(s, VJ_F64, n0, n1, v);
    free(v);
    return t;
}

static void add_input(scene *s, int64_t n0, int64_t n1, double scale, bool accumulates)
{
    const int i = s->n_in++;
    s->in[i] = drawn(s, (uint64_t)i, n0, n1, scale);
    s->grad[i] = make(s, VJ_F64, n0, n1, NULL);
    s->accumulates[i] = accumulates;
}

static void add_output(scene *s, int64_t n0, int64_t n1)
{
    const int i = s->n_out++;
    s->out[i] = make(s, VJ_F64, n0, n1, NULL);
    s->dout[i] = drawn(s, 50 + (uint64_t)i, n0, n1, 1);
}

static vj_tensor *add_work(scene *s, int64_t n0, int64_t n1)
{
    s->work[s->n_work] = make(s, VJ_F64, n0, n1, NULL);
    return &s->work[s->n_work++];
}

// ---- the cases: build makes the tensors, forward and backward call the ops ----------------------------------------
typedef struct gradient_case {
    const char *name;
    void (*build)(scene *), (*forward)(scene *), (*backward)(scene *);
} gradient_case;

// y = residual + gelu(x w1' + b1) w2' + b2: every epilogue, and the product with gelu's slope
static void mlp_build(scene *s)
{
    const int64_t R = 5, I = 4, M = 7, O = 3;
    add_input(s, R, I, 1, false);      // x
    add_input(s, M, I, 0.7, true);     // w1
    add_input(s, 1, M, 0.5, true);     // b1
    add_input(s, O, M, 0.7, true);     // w2
    add_input(s, 1, O, 0.5, true);     // b2
    add_input(s, R, O, 1, false);      // residual
    add_output(s, R, O);
    add_work(s, R, M);                 // pre
    add_work(s, R, M);                 // gelu(pre)
    add_work(s, R, M);                 // d pre
}
static void mlp_forward(scene *s)
{
    assert_ok(vj_linear_forward(s->st, &s->work[1], &s->in[0], &s->in[1], &s->in[2], VJ_EPI_GELU, &s->work[0]));
    assert_ok(vj_linear_forward(s->st, &s->out[0], &s->work[1], &s->in[3], &s->in[4], VJ_EPI_ADD, &s->in[5]));
}
static void mlp_backward(scene *s)
{
    assert_ok(vj_copy(s->st, s->grad[5].data, s->dout[0].data, vj_tensor_bytes(&s->dout[0])));
    assert_ok(vj_linear_backward_weight(s->st, &s->grad[3], &s->grad[4], &s->dout[0], &s->work[1]));
    assert_ok(vj_linear_backward_input(s->st, &s->work[2], &s->dout[0], &s->in[3], &s->work[0]));
    assert_ok(vj_linear_backward_weight(s->st, &s->grad[1], &s->grad[2], &s->work[2], &s->in[0]));
    assert_ok(vj_linear_backward_input(s->st, &s->grad[0], &s->work[2], &s->in[1], NULL));
}

// out 0 = layernorm(x), out 1 = x: the gradient that comes along the residual
static void norm_build(scene *s)
{
    add_input(s, 6, 11, 2, false);
    add_input(s, 1, 11, 1, true);
    add_input(s, 1, 11, 1, true);
    add_output(s, 6, 11);
    add_output(s, 6, 11);
    add_work(s, 1, 6);
    add_work(s, 1, 6);
}
static void norm_forward(scene *s)
{
    assert_ok(vj_layernorm_forward(s->st, &s->out[0], &s->work[0], &s->work[1], &s->in[0], &s->in[1], &s->in[2], 1e-6));
    assert_ok(vj_copy(s->st, s->out[1].data, s->in[0].data, vj_tensor_bytes(&s->in[0])));
}
static void norm_backward(scene *s)
{
    assert_ok(vj_layernorm_backward(s->st, &s->grad[0], &s->grad[1], &s->grad[2], &s->dout[0], &s->in[0], &s->in[1],
                                    &s->work[0], &s->work[1], &s->dout[1]));
}

static void gelu_build(scene *s)
{
    add_input(s, 1, 41, 4, false);
    add_output(s, 1, 41);
}
static void gelu_forward(scene *s) { assert_ok(vj_gelu_forward(s->st, &s->out[0], &s->in[0])); }
static void gelu_backward(scene *s) { assert_ok(vj_gelu_backward(s->st, &s->grad[0], &s->dout[0], &s->in[0])); }

// head size 20: 6 channels an axis and two that stay
enum { ROPE_ROWS = 4, ROPE_HEADS = 2, ROPE_D = 20, ROPE_AXIS = 6, ROPE_PLACES = 9 };
static void rope_build(scene *s)
{
    double table[2 * ROPE_PLACES * ROPE_AXIS / 2];
    int32_t pos[3 * ROPE_ROWS];
    for (int p = 0; p < ROPE_PLACES; p++) {
        for (int j = 0; j < ROPE_AXIS / 2; j++) {
            const double angle = p * pow(10000, -(double)j / (ROPE_AXIS / 2));
            table[p * (ROPE_AXIS / 2) + j] = cos(angle);
            table[(ROPE_PLACES + p) * (ROPE_AXIS / 2) + j] = sin(angle);
        }
    }
    for (int i = 0; i < 3 * ROPE_ROWS; i++) pos[i] = i * 5 % ROPE_PLACES;
    add_input(s, ROPE_ROWS, 3 * ROPE_HEADS * ROPE_D, 1, false);
    add_output(s, ROPE_ROWS, 3 * ROPE_HEADS * ROPE_D);
    const vj_tensor flat = make(s, VJ_F64, 2 * ROPE_PLACES, ROPE_AXIS / 2, table);
    s->table = vj_tensor_of(flat.data, VJ_F64, 3, (const int64_t[]){ 2, ROPE_PLACES, ROPE_AXIS / 2 });
    s->pos = make(s, VJ_I32, ROPE_ROWS, 3, pos);
}
static void rope(scene *s, vj_rope_layout layout, bool backward)
{
    const vj_rope_spec spec = { .heads = ROPE_HEADS, .head_dim = ROPE_D, .axis = ROPE_AXIS, .layout = layout };
    const vj_tensor *from = backward ? &s->dout[0] : &s->in[0], *to = backward ? &s->grad[0] : &s->out[0];
    assert_ok(vj_copy(s->st, to->data, from->data, vj_tensor_bytes(to)));
    if (backward) assert_ok(vj_rope_backward(s->st, to, &s->pos, &s->table, &spec));
    else assert_ok(vj_rope_forward(s->st, to, &s->pos, &s->table, &spec));
}
static void tiled_forward(scene *s) { rope(s, VJ_ROPE_TILED, false); }
static void tiled_backward(scene *s) { rope(s, VJ_ROPE_TILED, true); }
static void interleaved_forward(scene *s) { rope(s, VJ_ROPE_INTERLEAVED, false); }
static void interleaved_backward(scene *s) { rope(s, VJ_ROPE_INTERLEAVED, true); }

// sequences of 7, 1, 0, 37 and 5 rows (37 is more than one block of queries)
static const int32_t first_rows[] = { 0, 7, 8, 8, 45, 50 };
static const vj_attention_spec attention_spec = {
    .heads = 2, .head_dim = 6, .segments = 5, .longest = 37, .pairs = 49 + 1 + 37 * 37 + 25
};
// The same, of which rows from these on ask; the others are keys and values alone.
static const int32_t asking_from[] = { 3, 0, 0, 35, 5 };
static void attention_build(scene *s)
{
    add_input(s, 50, 3 * 12, 1.5, false);
    add_output(s, 50, 12);
    add_work(s, 50, 2);
    s->seg = make(s, VJ_I32, 1, 6, first_rows);
    s->pos = make(s, VJ_I32, 1, 5, asking_from);
}
static void attention_forward(scene *s)
{
    assert_ok(vj_attention_forward(s->st, &s->out[0], &s->work[0], &s->in[0], &s->seg, &attention_spec));
}
static void attention_backward(scene *s)
{
    assert_ok(vj_attention_backward(s->st, &s->grad[0], &s->dout[0], &s->out[0], &s->work[0], &s->in[0], &s->seg,
                                    &attention_spec));
}

static vj_attention_spec asking_spec(const scene *s)
{
    vj_attention_spec spec = attention_spec;
    spec.from = &s->pos;
    return spec;
}
static void asking_forward(scene *s)
{
    const vj_attention_spec spec = asking_spec(s);
    assert_ok(vj_attention_forward(s->st, &s->out[0], &s->work[0], &s->in[0], &s->seg, &spec));
}
static void asking_backward(scene *s)
{
    const vj_attention_spec spec = asking_spec(s);
    assert_ok(vj_attention_backward(s->st, &s->grad[0], &s->dout[0], &s->out[0], &s->work[0], &s->in[0], &s->seg, &spec));
}

// y = rows of x, and rows of the table (mask tokens) in between
static void rows_build(scene *s)
{
    static const int32_t index[7] = { 3, -1, 0, -2, -1, 4, -1 }, from_x[3] = { 0, 2, 5 }, of_x[3] = { 3, 0, 4 },
                         of_token[3] = { 1, 4, 6 };
    add_input(s, 5, 3, 1, false);
    add_input(s, 2, 3, 1, true);
    add_output(s, 7, 3);
    add_work(s, 3, 3);
    s->index[0] = make(s, VJ_I32, 1, 7, index);
    s->index[1] = make(s, VJ_I32, 1, 3, from_x);
    s->index[2] = make(s, VJ_I32, 1, 3, of_token);
    s->pos = make(s, VJ_I32, 1, 3, of_x);
    s->seg = make(s, VJ_I32, 1, 1, (const int32_t[]){ 3 });
}
static void rows_forward(scene *s) { assert_ok(vj_rows_gather(s->st, &s->out[0], &s->in[0], &s->in[1], &s->index[0])); }
static void rows_backward(scene *s)
{
    const vj_tensor token0 = vj_rows(&s->grad[1], 0, 1), token1 = vj_rows(&s->grad[1], 1, 1);
    assert_ok(vj_rows_gather(s->st, &s->work[0], &s->dout[0], NULL, &s->index[1]));
    assert_ok(vj_rows_scatter(s->st, &s->grad[0], &s->work[0], &s->pos));
    assert_ok(vj_rows_sum(s->st, &token0, &s->dout[0], &s->index[2]));
    assert_ok(vj_rows_sum(s->st, &token1, &s->dout[0], &s->seg));
}

// The loss is its own output; d out is drawn like any other, so it multiplies the gradient afterwards.
static void loss_build(scene *s)
{
    add_input(s, 9, 5, 1, false);
    add_output(s, 1, 1);
    *add_work(s, 9, 5) = drawn(s, 70, 9, 5, 1);
    *add_work(s, 1, 9) = drawn(s, 71, 1, 9, 1);
}
static void loss(scene *s, int exponent)
{
    assert_ok(vj_loss(s->st, &s->out[0], &s->grad[0], NULL, &s->in[0], &s->work[0], &s->work[1], exponent));
    double d, g[45];
    assert_ok(vj_download(s->st, &d, VJ_F64, &s->dout[0]));
    assert_ok(vj_download(s->st, g, VJ_F64, &s->grad[0]));
    for (int i = 0; i < 45; i++) g[i] *= d;
    assert_ok(vj_upload(s->st, &s->grad[0], g, VJ_F64));
}
static void loss_l1(scene *s) { loss(s, 1); }
static void loss_l2(scene *s) { loss(s, 2); }

static const gradient_case cases[] = {
    { "linear", mlp_build, mlp_forward, mlp_backward },
    { "layernorm", norm_build, norm_forward, norm_backward },
    { "gelu", gelu_build, gelu_forward, gelu_backward },
    { "rope tiled", rope_build, tiled_forward, tiled_backward },
    { "rope interleaved", rope_build, interleaved_forward, interleaved_backward },
    { "attention", attention_build, attention_forward, attention_backward },
    { "rows", rows_build, rows_forward, rows_backward },
    { "loss l1", loss_build, loss_l1, loss_l1 },
    { "loss l2", loss_build, loss_l2, loss_l2 },
    { "attention of some rows", attention_build, asking_forward, asking_backward },
};
enum { CASES = sizeof cases / sizeof cases[0] };

// ---- the check ----------------------------------------------------------------------------------------------------
static double weighted_outputs(scene *s, const gradient_case *c)
{
    double sum = 0;
    c->forward(s);
    for (int k = 0; k < s->n_out; k++) {
        const int64_t n = vj_count(&s->out[k]);
        double *o = malloc(2 * (size_t)n * sizeof *o);
        assert_ok(vj_download(s->st, o, VJ_F64, &s->out[k]));
        assert_ok(vj_download(s->st, o + n, VJ_F64, &s->dout[k]));
        for (int64_t i = 0; i < n; i++) sum += o[i] * o[n + i];
        free(o);
    }
    return sum;
}

// The worst |slope - <gradient, u>| over inputs and directions u, relative to the gradient's size along a typical u.
static double worst_error(const gradient_case *c, vj_op mutant, vj_kernel kernel, const char **where)
{
    scene s = { 0 };
    assert_ok(vj_device_open(&s.device, "ref", 1));
    assert_ok(vj_stream_create(s.device, &s.st));
    if (kernel) s.device->table.run[mutant] = kernel;
    c->build(&s);
    const double h = 1e-5, begin = BEGIN_X1000 / 1000.0;
    for (int i = 0; i < s.n_in; i++) {
        const int64_t n = vj_count(&s.grad[i]);
        double *v = malloc((size_t)n * sizeof *v);
        for (int64_t k = 0; k < n; k++) v[k] = s.accumulates[i] ? begin : NAN; // what is overwritten may hold anything
        assert_ok(vj_upload(s.st, &s.grad[i], v, VJ_F64));
        free(v);
    }
    c->forward(&s);
    c->backward(&s);
    double worst = 0;
    static const char *const names[MANY] = { "input 0", "input 1", "input 2", "input 3", "input 4", "input 5" };
    for (int i = 0; i < s.n_in; i++) {
        const int64_t n = vj_count(&s.in[i]);
        double *x = malloc(3 * (size_t)n * sizeof *x), *g = x + n, *moved = x + 2 * n, size = 0;
        assert_ok(vj_download(s.st, x, VJ_F64, &s.in[i]));
        assert_ok(vj_download(s.st, g, VJ_F64, &s.grad[i]));
        for (int64_t k = 0; k < n; k++) {
            g[k] -= s.accumulates[i] ? begin : 0;
            size += g[k] * g[k];
        }
        for (uint64_t direction = 0; direction < 4; direction++) {
            double slope[2], along = 0;
            for (int side = 0; side < 2; side++) {
                for (int64_t k = 0; k < n; k++) moved[k] = x[k] + (side ? h : -h) * noise(90 + direction, k);
                assert_ok(vj_upload(s.st, &s.in[i], moved, VJ_F64));
                slope[side] = weighted_outputs(&s, c);
            }
            for (int64_t k = 0; k < n; k++) along += g[k] * noise(90 + direction, k);
            const double measured = (slope[1] - slope[0]) / (2 * h),
                         error = fabs(measured - along) / (sqrt(size) + fabs(measured) + 1e-30);
            if (!(error <= worst)) {   // also when it is no number
                worst = isnan(error) ? INFINITY : error;
                *where = names[i];
            }
        }
        assert_ok(vj_upload(s.st, &s.in[i], x, VJ_F64));
        free(x);
    }
    for (int i = 0; i < s.n_memory; i++) vj_device_free(s.device, s.memory[i]);
    vj_stream_destroy(&s.st);
    vj_device_close(&s.device);
    return worst;
}

static void gradients_match_finite_differences(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        const char *where = "";
        const double error = worst_error(&cases[i], 0, NULL, &where);
        if (!(error < 1e-8)) fail_msg("%s, %s: off by %.3g", cases[i].name, where, error);
    }
}

// ---- mistakes -----------------------------------------------------------------------------------------------------
static void no_gelu_slope(const vj_exec *e, const void *args)
{
    vj_args_linear_backward_input a = *(const vj_args_linear_backward_input *)args;
    a.gelu_pre = NULL;
    ref_linear_backward_input(e, &a);
}
static void last_row_forgotten(const vj_exec *e, const void *args)
{
    vj_args_linear_backward_weight a = *(const vj_args_linear_backward_weight *)args;
    a.R--;
    ref_linear_backward_weight(e, &a);
}
static void weights_overwritten(const vj_exec *e, const void *args)
{
    const vj_args_linear_backward_weight *a = args;
    memset(a->dw, 0, (size_t)(a->O * a->I) * sizeof(double));
    ref_linear_backward_weight(e, a);
}
static void no_residual(const vj_exec *e, const void *args)
{
    vj_args_layernorm_backward a = *(const vj_args_layernorm_backward *)args;
    a.residual = NULL;
    ref_layernorm_backward(e, &a);
}
// As if the mean did not depend on x.
static void mean_held_constant(const vj_exec *e, const void *args)
{
    const vj_args_layernorm_backward *a = args;
    ref_layernorm_backward(e, a);
    for (int64_t r = 0; r < a->R; r++) {
        double mean = 0;
        for (int64_t c = 0; c < a->C; c++)
            mean += ((const double *)a->gamma)[c] * ((const double *)a->dy)[r * a->C + c] / (double)a->C;
        for (int64_t c = 0; c < a->C; c++) ((double *)a->dx)[r * a->C + c] += mean * ((const double *)a->rstd)[r];
    }
}
static void gelu_without_density(const vj_exec *e, const void *args)
{
    (void)e;
    const vj_args_gelu_backward *a = args;
    for (int64_t i = 0; i < a->n; i++) {
        ((double *)a->dx)[i] = ((const double *)a->dy)[i] * 0.5 * (1 + erf(((const double *)a->x)[i] * M_SQRT1_2));
    }
}
// Turning back by the same angles: the transpose of a rotation, and the tiled layout is none.
static void rotated_back(const vj_exec *e, const void *args)
{
    vj_args_rope a = *(const vj_args_rope *)args;
    const int64_t n = a.M * (a.axis / 2);
    double *table = malloc(2 * (size_t)n * sizeof *table);
    memcpy(table, a.table, 2 * (size_t)n * sizeof *table);
    for (int64_t i = n; i < 2 * n; i++) table[i] = -table[i];
    a.table = table;
    ref_rope_forward(e, &a);
    free(table);
}
// As if the softmax's denominator did not depend on the scores.
static void no_delta(const vj_exec *e, const void *args)
{
    vj_args_attention_backward a = *(const vj_args_attention_backward *)args;
    double *zeros = calloc((size_t)(a.R * a.H * a.D), sizeof *zeros);
    a.o = zeros;
    ref_attention_backward(e, &a);
    free(zeros);
}
static void every_row_asks(const vj_exec *e, const void *args)
{
    vj_args_attention_backward a = *(const vj_args_attention_backward *)args;
    a.from = NULL;
    ref_attention_backward(e, &a);
}
static void one_sequence_too_few(const vj_exec *e, const void *args)
{
    vj_args_attention_backward a = *(const vj_args_attention_backward *)args;
    a.S--;
    ref_attention_backward(e, &a);
}
static void one_row_of_sum_lost(const vj_exec *e, const void *args)
{
    vj_args_rows_sum a = *(const vj_args_rows_sum *)args;
    if (a.n > 1) a.n--;
    ref_rows_sum(e, &a);
}
static void one_row_of_scatter_lost(const vj_exec *e, const void *args)
{
    vj_args_rows_scatter a = *(const vj_args_rows_scatter *)args;
    a.n--;
    ref_rows_scatter(e, &a);
}
static void first_weight_for_all(const vj_exec *e, const void *args)
{
    const vj_args_loss *a = args;
    ref_loss(e, a);
    const double *w = a->weight;
    for (int64_t i = 0; i < a->R * a->C; i++) ((double *)a->dpred)[i] *= w[0] / w[i / a->C];
}

static void mistakes_are_seen(void **state)
{
    (void)state;
    static const struct { const char *name; int on; vj_op op; vj_kernel kernel; bool right; } mistakes[] = {
        { "no gelu slope", 0, VJ_OP_linear_backward_input, no_gelu_slope, false },
        { "last row forgotten", 0, VJ_OP_linear_backward_weight, last_row_forgotten, false },
        { "weight gradients overwritten", 0, VJ_OP_linear_backward_weight, weights_overwritten, false },
        { "no residual", 1, VJ_OP_layernorm_backward, no_residual, false },
        { "mean held constant", 1, VJ_OP_layernorm_backward, mean_held_constant, false },
        { "gelu without density", 2, VJ_OP_gelu_backward, gelu_without_density, false },
        { "tiled rope rotated back", 3, VJ_OP_rope_backward, rotated_back, false },
        { "interleaved rope rotated back", 4, VJ_OP_rope_backward, rotated_back, true },   // there it is no mistake
        { "no delta", 5, VJ_OP_attention_backward, no_delta, false },
        { "one sequence too few", 5, VJ_OP_attention_backward, one_sequence_too_few, false },
        { "every row asks", 9, VJ_OP_attention_backward, every_row_asks, false },
        { "one row of a sum lost", 6, VJ_OP_rows_sum, one_row_of_sum_lost, false },
        { "one row of a scatter lost", 6, VJ_OP_rows_scatter, one_row_of_scatter_lost, false },
        { "one weight for all rows, l1", 7, VJ_OP_loss, first_weight_for_all, false },
        { "one weight for all rows, l2", 8, VJ_OP_loss, first_weight_for_all, false },
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        const char *where = "";
        const double error = worst_error(&cases[mistakes[i].on], mistakes[i].op, mistakes[i].kernel, &where);
        if (mistakes[i].right ? !(error < 1e-8) : !(error > 1e-4))
            fail_msg("%s: the check says %.3g", mistakes[i].name, error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(gradients_match_finite_differences),
                                        cmocka_unit_test(mistakes_are_seen) };
    return cmocka_run_group_tests_name("runtime/gradients", tests, NULL, NULL);
}
