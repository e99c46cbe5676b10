// Layer norm, GELU, rotary embedding, loss: one pass over rows, parallel over blocks of rows.
//
// Gradients of gamma and beta sum over all rows: a task owns a strip of columns and walks the rows first to last, so no
// partial sums per thread exist.

#include <math.h>

#include "runtime/cpu/kernels/isa.h"
#include "runtime/cpu/kernels/vec.h"

enum { ROWS = 32, STRIP = 64 };
static int64_t blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }
static int64_t end_of(int64_t task, int64_t size, int64_t n) { return (task + 1) * size < n ? (task + 1) * size : n; }

static inline vf at(const float *p, int64_t c, int64_t C) { return C - c >= W ? load(p + c) : load_part(p + c, C - c); }
static inline void put(float *p, vf v, int64_t c, int64_t C)
{
    if (C - c >= W)
        store(p + c, v);
    else
        store_part(p + c, v, C - c);
}
// Lanes beyond the row are 0 in sums.
static inline vf only(vf v, int64_t c, int64_t C)
{
    if (C - c >= W) return v;
    float x[W];
    memcpy(x, &v, sizeof x);
    return load_part(x, C - c);
}

static void layernorm_rows(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_layernorm_forward *a = context;
    const float *gamma = a->gamma, *beta = a->beta;
    const int64_t C = a->C;
    for (int64_t r = task * ROWS; r < end_of(task, ROWS, a->R); r++) {
        const float *x = (const float *)a->x + r * C;
        float *y = (float *)a->y + r * C;
        vf sum = { 0 }, squares = { 0 };
        for (int64_t c = 0; c < C; c += W) sum += at(x, c, C);
        const float mean = lanes_sum(sum) / (float)C;
        for (int64_t c = 0; c < C; c += W) {
            const vf d = only(at(x, c, C) - mean, c, C);
            squares += d * d;
        }
        const float rstd = 1.0f / sqrtf(lanes_sum(squares) / (float)C + (float)a->eps);
        for (int64_t c = 0; c < C; c += W) {
            vf v = (at(x, c, C) - mean) * rstd;
            if (gamma) v = v * at(gamma, c, C) + at(beta, c, C);
            put(y, v, c, C);
        }
        if (a->mean) ((float *)a->mean)[r] = mean;
        if (a->rstd) ((float *)a->rstd)[r] = rstd;
    }
}

void VJ_NAME(layernorm_forward)(const vj_exec *exec, const void *args)
{
    vj_args_layernorm_forward a = *(const vj_args_layernorm_forward *)args;
    vj_pool_run(exec->pool, blocks(a.R, ROWS), layernorm_rows, &a);
}

static void layernorm_strip(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_layernorm_backward *a = context;
    const int64_t c0 = task * STRIP, c1 = end_of(task, STRIP, a->C), C = a->C;
    const float *mean = a->mean, *rstd = a->rstd;
    for (int64_t c = c0; c < c1; c += W) {
        const int64_t end = c1;
        vf g = at((float *)a->dgamma, c, end), b = at((float *)a->dbeta, c, end);
        for (int64_t r = 0; r < a->R; r++) {
            const vf dy = at((const float *)a->dy + r * C, c, end), x = at((const float *)a->x + r * C, c, end);
            g += dy * ((x - mean[r]) * rstd[r]);
            b += dy;
        }
        put(a->dgamma, g, c, end);
        put(a->dbeta, b, c, end);
    }
}

static void layernorm_slopes(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_layernorm_backward *a = context;
    const float *gamma = a->gamma;
    const int64_t C = a->C;
    for (int64_t r = task * ROWS; r < end_of(task, ROWS, a->R); r++) {
        const float *x = (const float *)a->x + r * C, *dy = (const float *)a->dy + r * C,
                    m = ((const float *)a->mean)[r], s = ((const float *)a->rstd)[r];
        const float *residual = a->residual ? (const float *)a->residual + r * C : NULL;
        float *dx = (float *)a->dx + r * C;
        vf g_sum = { 0 }, gx_sum = { 0 };
        for (int64_t c = 0; c < C; c += W) {
            const vf g = at(gamma, c, C) * at(dy, c, C);
            g_sum += g;
            gx_sum += g * ((at(x, c, C) - m) * s);
        }
        const float g_mean = lanes_sum(g_sum) / (float)C, gx_mean = lanes_sum(gx_sum) / (float)C;
        for (int64_t c = 0; c < C; c += W) {
            const vf xhat = (at(x, c, C) - m) * s;
            vf d = (at(gamma, c, C) * at(dy, c, C) - g_mean - xhat * gx_mean) * s;
            if (residual) d += at(residual, c, C);
            put(dx, d, c, C);
        }
    }
}

void VJ_NAME(layernorm_backward)(const vj_exec *exec, const void *args)
{
    vj_args_layernorm_backward a = *(const vj_args_layernorm_backward *)args;
    vj_pool_run(exec->pool, blocks(a.C, STRIP), layernorm_strip,
                &a);   // first: dx may be dy's or the residual's memory
    vj_pool_run(exec->pool, blocks(a.R, ROWS), layernorm_slopes, &a);
}

enum { SPAN = 4096 };
static void gelu_span(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_gelu_forward *a = context;
    for (int64_t i = task * SPAN; i < end_of(task, SPAN, a->n); i += W) {
        vf cdf, density;
        const vf x = at(a->x, i, a->n);
        normal(x, &cdf, &density);
        put(a->y, x * cdf, i, a->n);
    }
}

void VJ_NAME(gelu_forward)(const vj_exec *exec, const void *args)
{
    vj_args_gelu_forward a = *(const vj_args_gelu_forward *)args;
    vj_pool_run(exec->pool, blocks(a.n, SPAN), gelu_span, &a);
}

static void gelu_slope_span(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_gelu_backward *a = context;
    for (int64_t i = task * SPAN; i < end_of(task, SPAN, a->n); i += W) {
        vf cdf, density;
        const vf x = at(a->x, i, a->n);
        normal(x, &cdf, &density);
        put(a->dx, at(a->dy, i, a->n) * (cdf + x * density), i, a->n);
    }
}

void VJ_NAME(gelu_backward)(const vj_exec *exec, const void *args)
{
    vj_args_gelu_backward a = *(const vj_args_gelu_backward *)args;
    vj_pool_run(exec->pool, blocks(a.n, SPAN), gelu_slope_span, &a);
}

enum { ROPE_MAX = 128 };   // channels of a head that are turned: 3 axes of up to 42
typedef struct rope_job {
    const vj_args_rope *a;
    bool backward;
} rope_job;
// y = x * co + (x with neighbours exchanged) * ss, ss with the signs: for a row the same in every head, of q and of k.
static void rope_rows(void *context, int64_t task, int worker)
{
    (void)worker;
    const rope_job *job = context;
    const vj_args_rope *a = job->a;
    const int64_t half = a->axis / 2, C = a->H * a->D, turned = 3 * a->axis, tiled = a->layout == VJ_ROPE_TILED;
    const float *cosine = a->table, *sine = cosine + a->M * half;
    float co[ROPE_MAX + W], ss[ROPE_MAX + W];   // of one row; what is not turned stays as it is
    int32_t axis[ROPE_MAX], place[ROPE_MAX];
    for (int64_t n = 0; n < turned; n++) {
        const int64_t i = n % a->axis;
        axis[n] = (int32_t)(n / a->axis);
        place[n] = (int32_t)(tiled ? i % half : i / 2);
    }
    for (int64_t n = 0; n < ROPE_MAX + W; n++) {
        co[n] = 1;
        ss[n] = 0;
    }
    for (int64_t r = task * ROWS; r < end_of(task, ROWS, a->R); r++) {
        for (int64_t n = 0; n < turned; n++) {
            const int64_t at = a->pos[r * 3 + axis[n]] * half + place[n];
            co[n] = cosine[at];
            ss[job->backward ? n ^ 1 : n] = (n & 1) == 0 ? -sine[at] : sine[at];
        }
        for (int64_t part = 0; part < 2 * a->H; part++) {
            float *x = (float *)a->qkv + r * 3 * C + part * a->D;
            for (int64_t n = 0; n < turned; n += W) {
                const bool whole = n + W <= a->D;
                const int64_t lanes = whole ? W : a->D - n;
                const vf v = whole ? load(x + n) : load_part(x + n, lanes);
                const vf y = v * load(co + n) + VJ_EXCHANGE(v, 1) * load(ss + n);
                if (whole) store(x + n, y);
                else store_part(x + n, y, lanes);
            }
        }
    }
}

static void rope(const vj_exec *exec, const void *args, bool backward)
{
    rope_job job = { args, backward };
    VJ_ASSERT(3 * job.a->axis <= ROPE_MAX);
    vj_pool_run(exec->pool, blocks(job.a->R, ROWS), rope_rows, &job);
}

void VJ_NAME(rope_forward)(const vj_exec *exec, const void *args) { rope(exec, args, false); }
void VJ_NAME(rope_backward)(const vj_exec *exec, const void *args) { rope(exec, args, true); }
