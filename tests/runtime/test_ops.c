// label: slow
// Every op on every device, after ggml's test-backend-ops: values against `ref` (float64), guard bands, odd shapes,
// equal bits twice, for 1 and 2 threads and for cpu and far, every instruction set this CPU has. Whether ref's own
// gradients are right is asked by test_gradients.

#include "tests/runtime/ops_env.h"

typedef struct shape { int64_t a, b, c, d; } shape;   // meaning per case
typedef void (*case_fn)(env *e, const shape *s);
typedef struct op_case { const char *name; case_fn run; double tolerance; shape shapes[13]; } op_case;

static void linear(env *e, const shape *s)   // R, O, I
{
    const int64_t R = s->a, O = s->b, I = s->c;
    const vj_tensor x = input(e, R, I, 1), w = input(e, O, I, 0.5), b = input(e, 1, O, 1), r = input(e, R, O, 1),
                    dy = input(e, R, O, 1);
    const vj_tensor y = empty(e, R, O), pre = empty(e, R, O), g = empty(e, R, O), z = empty(e, R, O),
                    dx = empty(e, R, I), dxg = empty(e, R, I);
    const vj_tensor dw = constant(e, O, I, 0.25), db = constant(e, 1, O, 0.5), xpre = input(e, R, I, 2);
    OK(vj_linear_forward(e->st, &y, &x, &w, &b, VJ_EPI_NONE, NULL));
    OK(vj_linear_forward(e->st, &g, &x, &w, &b, VJ_EPI_GELU, &pre));
    OK(vj_linear_forward(e->st, &z, &x, &w, NULL, VJ_EPI_ADD, &r));
    OK(vj_linear_forward(e->st, &r, &x, &w, &b, VJ_EPI_ADD, &r));   // onto itself
    OK(vj_linear_backward_input(e->st, &dx, &dy, &w, NULL));
    OK(vj_linear_backward_input(e->st, &dxg, &dy, &w, &xpre));
    OK(vj_linear_backward_weight(e->st, &dw, &db, &dy, &x));
    const vj_tensor *const outputs[] = { &y, &pre, &g, &z, &r, &dx, &dxg, &dw, &db };
    for (int i = 0; i < 9; i++) record(e, outputs[i]);
}

static void layernorm(env *e, const shape *s)   // R, C
{
    const int64_t R = s->a, C = s->b;
    const vj_tensor x = input(e, R, C, 2), gamma = input(e, 1, C, 1), beta = input(e, 1, C, 1), dy = input(e, R, C, 1),
                    residual = input(e, R, C, 1);
    const vj_tensor y = empty(e, R, C), plain = empty(e, R, C), mean = empty(e, 1, R), rstd = empty(e, 1, R),
                    dx = empty(e, R, C);
    const vj_tensor dgamma = constant(e, 1, C, 0.5), dbeta = constant(e, 1, C, -0.5);
    OK(vj_layernorm_forward(e->st, &y, &mean, &rstd, &x, &gamma, &beta, 1e-6));
    OK(vj_layernorm_forward(e->st, &plain, NULL, NULL, &x, NULL, NULL, 1e-5));
    OK(vj_layernorm_backward(e->st, &dx, &dgamma, &dbeta, &dy, &x, &gamma, &mean, &rstd, NULL));
    OK(vj_layernorm_backward(e->st, &residual, &dgamma, &dbeta, &dy, &x, &gamma, &mean, &rstd, &residual)); // in place
    const vj_tensor *const outputs[] = { &y, &plain, &mean, &rstd, &dx, &dgamma, &dbeta, &residual };
    for (int i = 0; i < 8; i++) record(e, outputs[i]);
}

static void gelu(env *e, const shape *s)   // n
{
    const vj_tensor x = input(e, 1, s->a, 6), dy = input(e, 1, s->a, 1), y = empty(e, 1, s->a), dx = empty(e, 1, s->a);
    OK(vj_gelu_forward(e->st, &y, &x));
    OK(vj_gelu_backward(e->st, &dx, &dy, &x));
    record(e, &y);
    record(e, &dx);
}

static void rope_with(env *e, const shape *s, vj_rope_layout layout)   // R, H, D
{
    const int64_t R = s->a, H = s->b, D = s->c, axis = D / 3 / 2 * 2, M = 7;
    int32_t *pos = malloc((size_t)(3 * R + 1) * sizeof *pos);
    for (int64_t i = 0; i < 3 * R; i++) pos[i] = (int32_t)((i * 5 + i / 3) % M);
    double *angles = malloc((size_t)(2 * M * (axis / 2) + 1) * sizeof *angles);
    for (int64_t p = 0; p < M; p++) {
        for (int64_t j = 0; j < axis / 2; j++) {
            const double angle = (double)p * pow(10000, -(double)j / (double)(axis / 2));
            angles[p * (axis / 2) + j] = (double)(float)cos(angle);
            angles[(M + p) * (axis / 2) + j] = (double)(float)sin(angle);
        }
    }
    vj_tensor table = tensor(e, e->real, 2 * M, axis / 2, angles);
    table.rank = 3;
    table.shape[0] = 2;
    table.shape[1] = M;
    table.shape[2] = axis / 2;
    const vj_tensor qkv = input(e, R, 3 * H * D, 1), dqkv = input(e, R, 3 * H * D, 1), positions = ints(e, R, 3, pos);
    const vj_rope_spec spec = { .heads = H, .head_dim = D, .axis = axis, .layout = layout };
    OK(vj_rope_forward(e->st, &qkv, &positions, &table, &spec));
    OK(vj_rope_backward(e->st, &dqkv, &positions, &table, &spec));
    record(e, &qkv);
    record(e, &dqkv);
    free(pos);
    free(angles);
}

static void rope_tiled(env *e, const shape *s) { rope_with(e, s, VJ_ROPE_TILED); }
static void rope_interleaved(env *e, const shape *s) { rope_with(e, s, VJ_ROPE_INTERLEAVED); }

static void attention(env *e, const shape *s)   // sequences of a, 1 and b rows; heads c; head size d
{
    const int32_t seg[4] = { 0, (int32_t)s->a, (int32_t)s->a + 1, (int32_t)(s->a + 1 + s->b) };
    const int64_t R = seg[3], H = s->c, D = s->d, C = H * D;
    const vj_tensor qkv = input(e, R, 3 * C, 1.5), g = input(e, R, C, 1), segments = ints(e, 4, 1, seg);
    const vj_tensor o = empty(e, R, C), lse = empty(e, R, H), dqkv = empty(e, R, 3 * C);
    const int64_t longest = s->a > s->b ? s->a : s->b;   // never less than the sequence of one row
    const vj_attention_spec spec = { .heads = H, .head_dim = D, .segments = 3, .longest = longest };
    OK(vj_attention_forward(e->st, &o, &lse, &qkv, &segments, &spec));
    OK(vj_attention_backward(e->st, &dqkv, &g, &o, &lse, &qkv, &segments, &spec));
    record(e, &o);
    record(e, &lse);
    record(e, &dqkv);
}

static void rows(env *e, const shape *s)   // R rows of x, C, and n picked
{
    const int64_t R = s->a, C = s->b, n = s->c;
    int32_t *mixed = malloc((size_t)(n + 1) * sizeof *mixed), *distinct = malloc((size_t)(n + 1) * sizeof *distinct);
    for (int64_t i = 0; i < n; i++) {
        mixed[i] = i % 3 == 2 ? -1 - (int32_t)(i % 2) : (int32_t)((i * 7) % R);
        distinct[i] = (int32_t)(i * 2 % (2 * n));   // places among 2n rows
    }
    const vj_tensor x = input(e, R, C, 1), table = input(e, 2, C, 1), index = ints(e, n, 1, mixed),
                    places = ints(e, n, 1, distinct);
    const vj_tensor y = empty(e, n, C), sum = constant(e, 1, C, 1), wide = empty(e, 2 * n, C);
    OK(vj_rows_gather(e->st, &y, &x, &table, &index));
    OK(vj_rows_scatter(e->st, &wide, &y, &places));
    OK(vj_rows_sum(e->st, &sum, &wide, &places));
    record(e, &y);
    record(e, &wide);
    record(e, &sum);
    free(mixed);
    free(distinct);
}

static void patches(env *e, const shape *s)   // B clips, F frames, height, width; tubelet 2, patch 8 (or 5 when odd)
{
    const int64_t p = s->c % 8 == 0 ? 8 : 5, gt = s->b / 2, gh = s->c / p, gw = s->d / p, n = s->a * gt * gh * gw / 2;
    int32_t *where = malloc((size_t)(2 * n + 1) * sizeof *where);
    for (int64_t i = 0; i < n; i++) {
        where[2 * i] = (int32_t)(i % s->a);
        where[2 * i + 1] = (int32_t)(i * 3 % (gt * gh * gw));
    }
    const vj_tensor clips = input(e, s->a * 3 * s->b, s->c * s->d, 1), index = ints(e, n, 2, where),
                    bricks = empty(e, n, 3 * 2 * p * p);
    const vj_patch_spec spec = { .B = s->a, .F = s->b, .height = s->c, .width = s->d, .tubelet = 2, .patch = p };
    OK(vj_patch_gather(e->st, &bricks, &clips, &index, &spec));
    record(e, &bricks);
    free(where);
}

static void loss(env *e, const shape *s)   // R, C, exponent
{
    const vj_tensor pred = input(e, s->a, s->b, 1), target = input(e, s->a, s->b, 1), weight = input(e, 1, s->a, 0.1);
    const vj_tensor total = tensor(e, VJ_F64, 1, 1, NULL), dpred = empty(e, s->a, s->b), per_row = empty(e, 1, s->a);
    OK(vj_loss(e->st, &total, &dpred, &per_row, &pred, &target, &weight, (int)s->c));
    record(e, &total);
    record(e, &dpred);
    record(e, &per_row);
}

static void flat(env *e, const shape *s)   // n, chunk
{
    const int64_t n = s->a;
    const vj_tensor p = input(e, 1, n, 1), m = input(e, 1, n, 0.1), g = input(e, 1, n, 1), t = input(e, 1, n, 1),
                    y = input(e, 1, n, 1);
    const vj_tensor v = constant(e, 1, n, 0.01), sums = tensor(e, VJ_F64, 1, n / s->b, NULL);
    const vj_adamw_spec spec = {
        .lr = 1e-2, .weight_decay = 0.04, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .grad_scale = 0.125, .step = 7
    };
    OK(vj_square_sums(e->st, &sums, &g, s->b));
    OK(vj_adamw(e->st, &p, &m, &v, &g, &spec));
    OK(vj_ema(e->st, &t, &p, 0.99925));
    OK(vj_add_inplace(e->st, &y, &g));
    const vj_tensor *const outputs[] = { &sums, &p, &m, &v, &t, &y };
    for (int i = 0; i < 6; i++) record(e, outputs[i]);
}

static const op_case cases[] = {
    { "linear",
      linear,
      3e-6,
      { { 1, 1, 1, 0 },
        { 7, 13, 17, 0 },
        { 6, 32, 64, 0 },
        { 101, 67, 129, 0 },
        { 200, 384, 128, 0 },
        { 130, 128, 512, 0 },
        { 33, 1200, 600, 0 },
        { 390, 70, 1030, 0 },   // more rows than one tile has: weights are packed for all
        { 9000, 13, 7, 0 },     // more steps of k than are done at once
        { 5, 20, 8300, 0 },
        { 0, 8, 8, 0 },
        { 3, 0, 4, 0 },
        { 3, 4, 0, 0 } } },
    { "layernorm",
      layernorm,
      5e-6,
      { { 1, 8, 0, 0 }, { 3, 7, 0, 0 }, { 65, 96, 0, 0 }, { 33, 131, 0, 0 }, { 100, 1024, 0, 0 }, { 0, 16, 0, 0 } } },
    { "gelu", gelu, 1e-6, { { 1, 0, 0, 0 }, { 31, 0, 0, 0 }, { 10007, 0, 0, 0 }, { 0, 0, 0, 0 } } },
    { "rope tiled",
      rope_tiled,
      1e-6,
      { { 1, 1, 24, 0 }, { 5, 2, 32, 0 }, { 67, 3, 64, 0 }, { 3, 2, 80, 0 }, { 4, 2, 5, 0 }, { 0, 1, 24, 0 } } },
    { "rope interleaved",
      rope_interleaved,
      1e-6,
      { { 1, 1, 24, 0 }, { 67, 3, 64, 0 }, { 3, 2, 88, 0 }, { 0, 1, 24, 0 } } },
    { "attention",
      attention,
      5e-6,
      { { 1, 1, 1, 24 },
        { 5, 3, 2, 32 },
        { 48, 96, 1, 64 },
        { 97, 49, 2, 24 },
        { 401, 30, 1, 80 },
        { 130, 7, 3, 7 },
        { 250, 191, 2, 128 } } },
    { "rows", rows, 1e-6, { { 1, 1, 1, 0 }, { 9, 13, 31, 0 }, { 100, 96, 257, 0 }, { 5, 8, 0, 0 } } },
    { "patches", patches, 0, { { 1, 2, 16, 16 }, { 2, 4, 16, 24 }, { 3, 6, 35, 25 } } },
    { "loss", loss, 2e-6, { { 1, 1, 1, 0 }, { 131, 67, 1, 0 }, { 131, 67, 2, 0 }, { 0, 5, 1, 0 } } },
    { "flat", flat, 2e-6, { { 64, 8, 0, 0 }, { 999, 37, 0, 0 }, { 50000, 625, 0, 0 } } },
};
enum { CASES = sizeof cases / sizeof cases[0] };

static bool shape_there(const shape *s, int i) { return i == 0 || s->a || s->b || s->c || s->d; }

static env run_on(const char *device, int threads, const op_case *c, const shape *s)
{
    env e = env_open(device, threads);
    c->run(&e, s);
    env_close(&e, c->name);
    return e;
}

static void values_near(const op_case *c, const shape *s, const env *got, const env *want, const char *isa)
{
    assert_int_equal(got->n_out, want->n_out);
    for (int o = 0; o < got->n_out; o++) {
        double difference = 0, norm = 0;
        for (int64_t i = 0; i < want->out[o].n; i++) {
            const double d = got->out[o].v[i] - want->out[o].v[i];
            difference += d * d;
            norm += want->out[o].v[i] * want->out[o].v[i];
        }
        if (isfinite(difference) && sqrt(difference) <= c->tolerance * sqrt(norm) + 1e-7) continue;
        print_error("%s (%lld, %lld, %lld, %lld), output %d on %s: relative error %.3g, allowed %.3g\n", c->name,
                    (long long)s->a, (long long)s->b, (long long)s->c, (long long)s->d, o, isa, sqrt(difference / norm),
                    c->tolerance);
        fail();
    }
}

static void same_bits(const op_case *c, const env *a, const env *b, const char *what)
{
    for (int o = 0; o < a->n_out; o++) {
        if (memcmp(a->out[o].v, b->out[o].v, (size_t)a->out[o].n * sizeof(double)) == 0) continue;
        print_error("%s: output %d differs in bits: %s\n", c->name, o, what);
        fail();
    }
}

static void on_isa(const char *isa)
{
    setenv("VJ_CPU", isa, 1);
    vj_device *probe = NULL;
    OK(vj_device_open(&probe, "cpu", 1));
    const bool there = strcmp(vj_device_isa(probe), isa) == 0;
    vj_device_close(&probe);
    if (!there) {
        unsetenv("VJ_CPU");
        print_message("this CPU has no %s\n", isa);
        skip();
    }
    for (int i = 0; i < CASES; i++) {
        for (int k = 0; k < 13 && shape_there(&cases[i].shapes[k], k); k++) {
            const shape *s = &cases[i].shapes[k];
            env ref = run_on("ref", 1, &cases[i], s), one = run_on("cpu", 1, &cases[i], s),
                two = run_on("cpu", 2, &cases[i], s), far = run_on("far", 2, &cases[i], s),
                again = run_on("cpu", 2, &cases[i], s);
            values_near(&cases[i], s, &one, &ref, isa);
            same_bits(&cases[i], &one, &two, "1 and 2 threads");
            same_bits(&cases[i], &two, &again, "twice the same");
            same_bits(&cases[i], &one, &far, "cpu and far");
            env *all[] = { &ref, &one, &two, &far, &again };
            for (int j = 0; j < 5; j++) outputs_free(all[j]);
        }
    }
    unsetenv("VJ_CPU");
}

// Sequences of a, 1 and b rows of which only the last ones ask: what the others do not ask for is exactly what comes of a
// gradient of zero, in the same order of sums. (By value: a sum of zeros may have either sign.)
static void attention_from(env *e, const shape *s, const int32_t from[3], bool given)
{
    const int32_t seg[4] = { 0, (int32_t)s->a, (int32_t)s->a + 1, (int32_t)(s->a + 1 + s->b) };
    const int64_t R = seg[3], H = s->c, D = s->d, C = H * D;
    const vj_tensor qkv = input(e, R, 3 * C, 1.5), g = input(e, R, C, 1), segments = ints(e, 4, 1, seg), places = ints(e, 3, 1, from);
    const vj_tensor o = empty(e, R, C), lse = empty(e, R, H), dqkv = empty(e, R, 3 * C);
    for (int k = 0; k < 3; k++) {
        const vj_tensor idle = vj_rows(&g, seg[k], from[k]);
        OK(vj_zero(e->st, idle.data, vj_tensor_bytes(&idle)));
    }
    const vj_attention_spec spec = { .heads = H, .head_dim = D, .segments = 3, .longest = s->a > s->b ? s->a : s->b,
                                     .from = given ? &places : NULL };
    OK(vj_attention_forward(e->st, &o, &lse, &qkv, &segments, &spec));
    OK(vj_attention_backward(e->st, &dqkv, &g, &o, &lse, &qkv, &segments, &spec));
    record(e, &o);
    record(e, &lse);
    record(e, &dqkv);
}

static void rows_that_ask_nothing_cost_no_bits(void **state)
{
    (void)state;
    static const struct { const char *device; int threads; shape s; int32_t from[3]; } cases_of_from[] = {
        { "ref", 2, { 97, 49, 2, 24 }, { 40, 0, 48 } },      { "cpu", 1, { 97, 49, 2, 24 }, { 96, 1, 0 } },
        { "cpu", 2, { 401, 130, 1, 80 }, { 70, 0, 129 } },   { "cpu", 2, { 130, 7, 3, 7 }, { 64, 1, 7 } },
        { "far", 2, { 700, 530, 2, 32 }, { 333, 1, 191 } },  { "cpu", 2, { 700, 200, 13, 32 }, { 65, 0, 199 } },
        { "cpu", 2, { 3000, 50, 12, 128 }, { 2000, 0, 3 } },
    };
    for (size_t i = 0; i < sizeof cases_of_from / sizeof cases_of_from[0]; i++) {
        const char *device = cases_of_from[i].device;
        const shape *s = &cases_of_from[i].s;
        const int32_t *from = cases_of_from[i].from, seg[3] = { 0, (int32_t)s->a, (int32_t)s->a + 1 };
        env all = env_open(device, cases_of_from[i].threads), some = env_open(device, cases_of_from[i].threads);
        attention_from(&all, s, from, false);
        attention_from(&some, s, from, true);
        for (int k = 0; k < 3; k++) {   // o, lse
            for (int out = 0; out < 2; out++) {
                const int64_t row = out == 0 ? s->c * s->d : s->c;
                for (int64_t n = seg[k] * row; n < (seg[k] + from[k]) * row; n++) all.out[out].v[n] = 0;
            }
        }
        for (int out = 0; out < 3; out++) {
            for (int64_t n = 0; n < all.out[out].n; n++) {
                if (!(all.out[out].v[n] == some.out[out].v[n]))
                    fail_msg("case %zu, output %d differs at %lld: %.9g, %.9g", i, out, (long long)n, all.out[out].v[n],
                             some.out[out].v[n]);
            }
        }
        env_close(&all, "attention of all rows");
        env_close(&some, "attention of some rows");
        outputs_free(&all);
        outputs_free(&some);
    }
}

static void ops_on_portable(void **state) { (void)state; on_isa("portable"); }
static void ops_on_avx2(void **state) { (void)state; on_isa("avx2"); }
static void ops_on_avx512(void **state) { (void)state; on_isa("avx512"); }

static void ref_bits_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int k = 0; k < 13 && shape_there(&cases[i].shapes[k], k); k++) {
            env one = run_on("ref", 1, &cases[i], &cases[i].shapes[k]),
                two = run_on("ref", 2, &cases[i], &cases[i].shapes[k]);
            same_bits(&cases[i], &one, &two, "ref, 1 and 2 threads");
            outputs_free(&one);
            outputs_free(&two);
        }
    }
}

// A step decides by its loss and its gradients whether it is finite, so no op may turn a NaN into a number: with one
// NaN in an input, each output that depends on it must hold something that is not finite. (Attention's lse is no output
// of a layer: o and the gradients show it.)
static void what_is_not_finite_stays_visible(void **state)
{
    (void)state;
    enum { LINEAR, LAYERNORM, GELU, TILED, INTERLEAVED, ATTENTION, ROWS, PATCHES, LOSS, FLAT };
    const int64_t C = 2 * 24;   // of the attention case: q, k and v lie C apart
    const struct {
        int on;
        shape s;
        int input;
        int64_t element;
        const char *outputs;
    } checks[] = {
        { LINEAR, { 7, 13, 17, 0 }, 0, 20, "012347" },
        { LINEAR, { 7, 13, 17, 0 }, 1, 3, "0123456" },
        { LINEAR, { 7, 13, 17, 0 }, 2, 12, "0124" },
        { LINEAR, { 7, 13, 17, 0 }, 3, 5, "34" },
        { LINEAR, { 7, 13, 17, 0 }, 4, 90, "5678" },
        { LINEAR, { 7, 13, 17, 0 }, 5, 118, "6" },
        { LINEAR, { 33, 1200, 600, 0 }, 0, 19000, "012347" },
        { LINEAR, { 33, 1200, 600, 0 }, 4, 7, "5678" },
        { LAYERNORM, { 3, 9, 0, 0 }, 0, 26, "0123457" },
        { LAYERNORM, { 3, 9, 0, 0 }, 1, 8, "047" },
        { LAYERNORM, { 3, 9, 0, 0 }, 3, 0, "4567" },
        { LAYERNORM, { 3, 9, 0, 0 }, 4, 3, "7" },
        { GELU, { 31, 0, 0, 0 }, 0, 30, "01" },
        { GELU, { 31, 0, 0, 0 }, 1, 4, "1" },
        { TILED, { 5, 2, 32, 0 }, 0, 1, "0" },
        { INTERLEAVED, { 5, 2, 32, 0 }, 1, 1, "1" },
        { ATTENTION, { 97, 49, 2, 24 }, 0, 3, "02" },
        { ATTENTION, { 97, 49, 2, 24 }, 0, 90 * 3 * C + C + 3, "02" },
        { ATTENTION, { 97, 49, 2, 24 }, 0, 2 * C, "02" },
        { ATTENTION, { 97, 49, 2, 24 }, 1, 96 * C, "2" },
        { ROWS, { 9, 13, 31, 0 }, 0, 12, "012" },
        { PATCHES, { 2, 4, 16, 24 }, 0, 0, "0" },
        { LOSS, { 131, 67, 1, 0 }, 0, 8776, "012" },
        { LOSS, { 131, 67, 1, 0 }, 1, 0, "012" },
        { LOSS, { 131, 67, 2, 0 }, 0, 100, "012" },
        { LOSS, { 131, 67, 2, 0 }, 2, 130, "01" },
        { FLAT, { 999, 37, 0, 0 }, 2, 998, "012345" },
        { FLAT, { 999, 37, 0, 0 }, 0, 16, "14" },
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        for (int d = 0; d < 2; d++) {
            const char *const device = d ? "cpu" : "ref";
            env e = env_open(device, 1);
            e.poisoned_input = checks[i].input;
            e.poisoned_element = checks[i].element;
            cases[checks[i].on].run(&e, &checks[i].s);
            for (const char *o = checks[i].outputs; *o; o++) {
                const output *out = &e.out[*o - '0'];
                bool seen = false;
                for (int64_t k = 0; k < out->n; k++) seen = seen || !isfinite(out->v[k]);
                if (!seen)
                    fail_msg("%s on %s: the NaN in input %d is gone in output %c", cases[checks[i].on].name, device,
                             checks[i].input, *o);
            }
            env_close(&e, cases[checks[i].on].name);
            outputs_free(&e);
        }
    }
}

// spec/pretrain.md 1.6: a = 10, position 3, x = 0, .1, ..., .9; and the backward as the transpose of the (not
// orthogonal) map.
static void rope_golden(void **state)
{
    (void)state;
    static const double want[2][10] = { { -0.01411200081, 0.08890786092, 0.1768468192, 0.3023671904, 0.399052848,
                                          -0.4385482451, 0.2130189816, 0.7431846005, 0.7891943065, 0.9015126844 },
                                        { -0.01411200081, -0.09899924966, 0.04048935729, 0.3582744925, 0.3612221676,
                                          0.5286951349, 0.5915971566, 0.7071158352, 0.798294983, 0.9015126844 } };
    for (int layout = 0; layout < 2; layout++) {
        env e = env_open("ref", 1);
        double x[90] = { 0 }, g[90], table[2 * 4 * 5];
        for (int i = 0; i < 10; i++) x[i] = 0.1 * i;
        for (int i = 0; i < 90; i++) g[i] = sin(1.0 + i);
        for (int p = 0; p < 4; p++) {
            for (int j = 0; j < 5; j++) {
                table[p * 5 + j] = cos(p * pow(10000, -j / 5.0));
                table[20 + p * 5 + j] = sin(p * pow(10000, -j / 5.0));
            }
        }
        const int32_t pos[3] = { 3, 0, 0 };
        vj_tensor t = tensor(&e, VJ_F64, 8, 5, table);
        t.rank = 3;
        t.shape[0] = 2;
        t.shape[1] = 4;
        t.shape[2] = 5;
        const vj_tensor qkv = tensor(&e, VJ_F64, 1, 90, x), d = tensor(&e, VJ_F64, 1, 90, g),
                        positions = ints(&e, 1, 3, pos);
        const vj_rope_spec spec = { .heads = 1, .head_dim = 30, .axis = 10, .layout = (vj_rope_layout)layout };
        OK(vj_rope_forward(e.st, &qkv, &positions, &t, &spec));
        OK(vj_rope_backward(e.st, &d, &positions, &t, &spec));
        record(&e, &qkv);
        record(&e, &d);
        for (int i = 0; i < 10; i++) assert_true(fabs(e.out[0].v[i] - want[layout][i]) < 1e-9);
        for (int i = 10; i < 90; i++) assert_true(e.out[0].v[i] == x[i]);   // position 0 and v stay
        double forward = 0, backward = 0;   // <g, R x> = <R' g, x>
        for (int i = 0; i < 90; i++) {
            forward += g[i] * e.out[0].v[i];
            backward += e.out[1].v[i] * x[i];
        }
        assert_true(fabs(forward - backward) < 1e-12);
        env_close(&e, "rope");
        outputs_free(&e);
    }
}

// Weights too wide for one go are packed in groups of columns: the same bits as columns on their own.
static void wide_products_are_cut_without_a_trace(void **state)
{
    (void)state;
    const int64_t R = 385, I = 8192, O = 1088, first[] = { 0, 1024 };
    env e = env_open("cpu", 2);
    const vj_tensor x = input(&e, R, I, 1), w = input(&e, O, I, 0.5), b = input(&e, 1, O, 1), r = input(&e, R, O, 1), y = empty(&e, R, O);
    OK(vj_linear_forward(e.st, &y, &x, &w, &b, VJ_EPI_ADD, &r));
    record(&e, &y);
    record(&e, &r);
    for (int i = 0; i < 2; i++) {
        const vj_tensor w_part = vj_rows(&w, first[i], 64), b_row = vj_reshape_2d(&b, O, 1), b_rows = vj_rows(&b_row, first[i], 64),
                        b_part = vj_reshape_2d(&b_rows, 1, 64), part = empty(&e, R, 64);
        OK(vj_linear_forward(e.st, &part, &x, &w_part, &b_part, VJ_EPI_NONE, NULL));
        record(&e, &part);
        for (int64_t k = 0; k < R * 64; k++) {
            const int64_t at = k / 64 * O + first[i] + k % 64;
            assert_true((float)e.out[0].v[at] == (float)e.out[2 + i].v[k] + (float)e.out[1].v[at]);
        }
    }
    env_close(&e, "wide products");
    outputs_free(&e);
}

static void wrong_shapes_are_named(void **state)
{
    (void)state;
    env e = env_open("cpu", 1);
    const vj_tensor x = input(&e, 3, 4, 1), w = input(&e, 5, 4, 1), y = empty(&e, 3, 6);
    assert_int_equal(vj_linear_forward(e.st, &y, &x, &w, NULL, VJ_EPI_NONE, NULL), VJ_ERR_BUG);
    assert_non_null(strstr(vj_error_text(), "linear_forward: y is float32 (3, 6), expected float32 (3, 5)"));
    env_close(&e, "wrong shapes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_on_portable),
        cmocka_unit_test(ops_on_avx2),
        cmocka_unit_test(ops_on_avx512),
        cmocka_unit_test(rows_that_ask_nothing_cost_no_bits),
        cmocka_unit_test(ref_bits_do_not_depend_on_threads),
        cmocka_unit_test(rope_golden),
        cmocka_unit_test(what_is_not_finite_stays_visible),
        cmocka_unit_test(wide_products_are_cut_without_a_trace),
        cmocka_unit_test(wrong_shapes_are_named),
    };
    return cmocka_run_group_tests_name("runtime/ops", tests, NULL, NULL);
}
