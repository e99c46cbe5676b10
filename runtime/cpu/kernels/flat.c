// Loss, optimiser, target encoder, sums: memory-bound, parallel over spans fixed by the shape.

#include <math.h>

#include "runtime/cpu/kernels/isa.h"
#include "runtime/cpu/kernels/vec.h"

enum { SPAN = 16384, ROWS = 64 };
static int64_t blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }
static int64_t end_of(int64_t task, int64_t size, int64_t n) { return (task + 1) * size < n ? (task + 1) * size : n; }

// ---- loss: a task makes the float64 sum of a block of rows; the blocks are added in order at the end
// -------------------
typedef struct loss_job {
    const vj_args_loss *a;
    double *block;
} loss_job;

static void loss_rows(void *context, int64_t task, int worker)
{
    (void)worker;
    const loss_job *job = context;
    const vj_args_loss *a = job->a;
    double total = 0;
    for (int64_t r = task * ROWS; r < end_of(task, ROWS, a->R); r++) {
        const float *p = (const float *)a->pred + r * a->C, *t = (const float *)a->target + r * a->C,
                    weight = ((const float *)a->weight)[r];
        float *g = (float *)a->dpred + r * a->C;
        double sum = 0;
        for (int64_t c = 0; c < a->C; c++) {
            const float d = p[c] - t[c];
            sum += a->exponent == 1 ? fabs((double)d) : 0.5 * (double)d * (double)d;
            g[c] = weight * (a->exponent == 1 ? (float)((d > 0) - (d < 0)) : d);
        }
        if (isnan(sum)) g[0] = NAN;   // a sign has no NaN: let the finite check of the step see it
        if (a->row_loss) ((float *)a->row_loss)[r] = (float)sum;
        total += (double)weight * sum;
    }
    job->block[task] = total;
}

void VJ_NAME(loss)(const vj_exec *exec, const void *args)
{
    const vj_args_loss *a = args;
    const int64_t n = blocks(a->R, ROWS);
    // The sums live in the caller's scratch: tasks of this op need none.
    VJ_ASSERT((size_t)n * sizeof(double) <= exec->scratch_bytes);
    loss_job job = { a, (double *)exec->scratch[0] };
    vj_pool_run(exec->pool, n, loss_rows, &job);
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += job.block[i];
    *a->loss = total;
}

// ---- rows summed by index, a strip of columns a task, rows in order
// --------------------------------------------------------
static void sum_strip(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_rows_sum *a = context;
    float *sum = a->sum;
    for (int64_t c = task * ROWS; c < end_of(task, ROWS, a->C); c++) {
        float s = sum[c];
        for (int64_t i = 0; i < a->n; i++) s += ((const float *)a->x)[a->index[i] * a->C + c];
        sum[c] = s;
    }
}

void VJ_NAME(rows_sum)(const vj_exec *exec, const void *args)
{
    vj_args_rows_sum a = *(const vj_args_rows_sum *)args;
    vj_pool_run(exec->pool, blocks(a.C, ROWS), sum_strip, &a);
}

// ---- flat spans
// -------------------------------------------------------------------------------------------------------------
static void add_span(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_add_inplace *a = context;
    float *y = a->y;
    const float *x = a->x;
    for (int64_t i = task * SPAN; i < end_of(task, SPAN, a->n); i++) y[i] += x[i];
}

void VJ_NAME(add_inplace)(const vj_exec *exec, const void *args)
{
    vj_args_add_inplace a = *(const vj_args_add_inplace *)args;
    vj_pool_run(exec->pool, blocks(a.n, SPAN), add_span, &a);
}

typedef struct adamw_job {
    const vj_args_adamw *a;
    float scale, keep, b1, b2, rest1, rest2, rate, c2, eps;
} adamw_job;
static void adamw_span(void *context, int64_t task, int worker)
{
    (void)worker;
    const adamw_job *j = context;
    float *p = j->a->p, *m = j->a->m, *v = j->a->v;
    const float *g = j->a->g;
    for (int64_t i = task * SPAN; i < end_of(task, SPAN, j->a->n); i++) {
        const float gi = g[i] * j->scale;
        const float mi = j->b1 * m[i] + j->rest1 * gi, vi_ = j->b2 * v[i] + j->rest2 * gi * gi;
        m[i] = mi;
        v[i] = vi_;
        p[i] = p[i] * j->keep - j->rate * mi / (sqrtf(vi_) * j->c2 + j->eps);
    }
}

void VJ_NAME(adamw)(const vj_exec *exec, const void *args)
{
    const vj_args_adamw *a = args;
    const vj_adamw_spec *s = &a->spec;
    double p1 = 1, p2 = 1;   // beta^step by squaring: libm's pow changes its bits with the library
    double b1 = s->beta1, b2 = s->beta2;
    for (int64_t e = s->step; e > 0; e >>= 1, b1 *= b1, b2 *= b2) {
        if (e & 1) {
            p1 *= b1;
            p2 *= b2;
        }
    }
    adamw_job j = { a,
                    (float)s->grad_scale,
                    (float)(1 - s->lr * s->weight_decay),
                    (float)s->beta1,
                    (float)s->beta2,
                    (float)(1 - s->beta1),
                    (float)(1 - s->beta2),
                    (float)(s->lr / (1 - p1)),
                    (float)(1 / sqrt(1 - p2)),
                    (float)s->eps };
    vj_pool_run(exec->pool, blocks(a->n, SPAN), adamw_span, &j);
}

static void ema_span(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_ema *a = context;
    float *t = a->target;
    const float *x = a->online, m = (float)a->momentum, rest = (float)(1 - a->momentum);
    for (int64_t i = task * SPAN; i < end_of(task, SPAN, a->n); i++) t[i] = m * t[i] + rest * x[i];
}

void VJ_NAME(ema)(const vj_exec *exec, const void *args)
{
    vj_args_ema a = *(const vj_args_ema *)args;
    vj_pool_run(exec->pool, blocks(a.n, SPAN), ema_span, &a);
}

static void squares_of_chunk(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_square_sums *a = context;
    const float *x = (const float *)a->x + task * a->chunk;
    double lane[8] = { 0 };   // eight sums side by side, then in order
    int64_t i = 0;
    for (; i + 8 <= a->chunk; i += 8) {
        for (int k = 0; k < 8; k++) lane[k] += (double)x[i + k] * (double)x[i + k];
    }
    for (; i < a->chunk; i++) lane[0] += (double)x[i] * (double)x[i];
    double sum = 0;
    for (int k = 0; k < 8; k++) sum += lane[k];
    a->out[task] = sum;
}

void VJ_NAME(square_sums)(const vj_exec *exec, const void *args)
{
    vj_args_square_sums a = *(const vj_args_square_sums *)args;
    vj_pool_run(exec->pool, a.n / a.chunk, squares_of_chunk, &a);
}
