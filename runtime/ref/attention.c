// Attention and rotary embedding in float64. One task per (sequence, head); a row of probabilities lives in scratch.

#include <math.h>
#include <string.h>

#include "runtime/ref/ref.h"

typedef struct forward_job { const vj_args_attention_forward *a; char **scratch; } forward_job;

static void forward_head(void *context, int64_t task, int worker)
{
    const forward_job *job = context;
    const vj_args_attention_forward *a = job->a;
    const int64_t s = task / a->H, h = task % a->H, D = a->D, C = a->H * D, first = a->seg[s], n = a->seg[s + 1] - first;
    const double *q = (const double *)a->qkv + first * 3 * C + h * D, *k = q + C, *v = q + 2 * C, scale = 1 / sqrt((double)D);
    double *p = (double *)job->scratch[worker];
    for (int64_t i = 0; i < n; i++) {
        double top = -INFINITY, sum = 0, *o = (double *)a->o + (first + i) * C + h * D;
        for (int64_t j = 0; j < n; j++) {
            double dot = 0;
            for (int64_t d = 0; d < D; d++) dot += q[i * 3 * C + d] * k[j * 3 * C + d];
            p[j] = dot * scale;
            if (p[j] > top) top = p[j];
        }
        for (int64_t j = 0; j < n; j++) sum += p[j] = exp(p[j] - top);
        memset(o, 0, (size_t)D * sizeof *o);
        for (int64_t j = 0; j < n; j++) {
            for (int64_t d = 0; d < D; d++) o[d] += p[j] / sum * v[j * 3 * C + d];
        }
        ((double *)a->lse)[(first + i) * a->H + h] = top + log(sum);
    }
}

void ref_attention_forward(const vj_exec *exec, const void *args)
{
    const vj_args_attention_forward *a = args;
    VJ_ASSERT((size_t)a->longest * sizeof(double) <= exec->scratch_bytes);
    forward_job job = { a, exec->scratch };
    vj_pool_run(exec->pool, a->S * a->H, forward_head, &job);
}

typedef struct backward_job { const vj_args_attention_backward *a; } backward_job;

static void backward_head(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_attention_backward *a = ((const backward_job *)context)->a;
    const int64_t s = task / a->H, h = task % a->H, D = a->D, C = a->H * D, first = a->seg[s], n = a->seg[s + 1] - first;
    const double *q = (const double *)a->qkv + first * 3 * C + h * D, *k = q + C, *v = q + 2 * C, scale = 1 / sqrt((double)D);
    double *dq = (double *)a->dqkv + first * 3 * C + h * D, *dk = dq + C, *dv = dq + 2 * C;
    for (int64_t i = 0; i < n; i++) {
        memset(dq + i * 3 * C, 0, (size_t)D * sizeof *dq);
        memset(dk + i * 3 * C, 0, (size_t)D * sizeof *dq);
        memset(dv + i * 3 * C, 0, (size_t)D * sizeof *dq);
    }
    for (int64_t i = 0; i < n; i++) {
        const double *o = (const double *)a->o + (first + i) * C + h * D, *g = (const double *)a->do_ + (first + i) * C + h * D;
        const double lse = ((const double *)a->lse)[(first + i) * a->H + h];
        double delta = 0;
        for (int64_t d = 0; d < D; d++) delta += o[d] * g[d];
        for (int64_t j = 0; j < n; j++) {
            double dot = 0, dp = 0;
            for (int64_t d = 0; d < D; d++) dot += q[i * 3 * C + d] * k[j * 3 * C + d];
            for (int64_t d = 0; d < D; d++) dp += g[d] * v[j * 3 * C + d];
            const double p = exp(dot * scale - lse), ds = p * (dp - delta) * scale;
            for (int64_t d = 0; d < D; d++) {
                dv[j * 3 * C + d] += p * g[d];
                dq[i * 3 * C + d] += ds * k[j * 3 * C + d];
                dk[j * 3 * C + d] += ds * q[i * 3 * C + d];
            }
        }
    }
}

void ref_attention_backward(const vj_exec *exec, const void *args)
{
    backward_job job = { args };
    const vj_args_attention_backward *a = args;
    vj_pool_run(exec->pool, a->S * a->H, backward_head, &job);
}

// cos and sin of channel n of an axis: tiled repeats the a/2 values twice while pairs are adjacent, so the two members of
// a pair turn by different angles (spec/pretrain.md 1.6); interleaved gives both the same.
static int64_t angle_index(int layout, int64_t n, int64_t half) { return layout == VJ_ROPE_TILED ? n % half : n / 2; }

static void rotate(const vj_args_rope *a, bool backward)
{
    const int64_t half = a->axis / 2, C = a->H * a->D;
    const double *cosine = a->table, *sine = cosine + a->M * half;
    for (int64_t r = 0; r < a->R; r++) {
        for (int64_t part = 0; part < 2 * a->H; part++) {   // heads of q, then heads of k
            double *x = (double *)a->qkv + r * 3 * C + part * a->D;
            for (int axis = 0; axis < 3; axis++, x += a->axis) {
                const int64_t position = a->pos[r * 3 + axis];
                for (int64_t n = 0; n < a->axis; n += 2) {
                    const int64_t i0 = position * half + angle_index(a->layout, n, half), i1 = position * half + angle_index(a->layout, n + 1, half);
                    const double x0 = x[n], x1 = x[n + 1];
                    x[n] = backward ? x0 * cosine[i0] + x1 * sine[i1] : x0 * cosine[i0] - x1 * sine[i0];
                    x[n + 1] = backward ? x1 * cosine[i1] - x0 * sine[i0] : x1 * cosine[i1] + x0 * sine[i1];
                }
            }
        }
    }
}

void ref_rope_forward(const vj_exec *exec, const void *args)
{
    (void)exec;
    rotate(args, false);
}

void ref_rope_backward(const vj_exec *exec, const void *args)
{
    (void)exec;
    rotate(args, true);
}
