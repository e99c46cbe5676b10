// Attention and rotary embedding in float64. A task is one (sequence, head); it takes the queries in blocks, so that
// memory grows with the length of a sequence and not with its square.

#include <math.h>
#include <string.h>

#include "runtime/ref/product.h"
#include "runtime/ref/ref.h"

enum { QUERIES = 32 };   // rows of scores that live in scratch at a time

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Scratch of a task: `matrices` of (QUERIES, longest), then the product's own.
static void expect_scratch(const vj_exec *exec, const char *op, int64_t matrices, int64_t longest)
{
    const size_t need = (size_t)(matrices * QUERIES * longest + REF_SCRATCH) * sizeof(double);
    if (need > exec->scratch_bytes) {
        vj_bug_at(__FILE__, __LINE__, __func__, "%s: a sequence of %lld rows needs %zu bytes of scratch, there are %zu",
                  op, (long long)longest, need, exec->scratch_bytes);
    }
}

typedef struct forward_job { const vj_args_attention_forward *a; char **scratch; } forward_job;

static void forward_head(void *context, int64_t task, int worker)
{
    const forward_job *job = context;
    const vj_args_attention_forward *a = job->a;
    const int64_t s = task / a->H, h = task % a->H, D = a->D, C = a->H * D, row = 3 * C;
    const int64_t first = a->seg[s], n = a->seg[s + 1] - first;
    const double *q = (const double *)a->qkv + first * row + h * D, *k = q + C, *v = q + 2 * C;
    const double scale = 1 / sqrt((double)D);
    double *o = (double *)a->o + first * C + h * D, *lse = (double *)a->lse + first * a->H + h;
    double *P = (double *)job->scratch[worker], *scratch = P + QUERIES * n;   // P (QUERIES, n)
    const int64_t from = a->from ? a->from[s] : 0;
    for (int64_t i = 0; i < from; i++) {
        memset(o + i * C, 0, (size_t)D * sizeof *o);
        lse[i * a->H] = 0;
    }
    for (int64_t i0 = from; i0 < n; i0 += QUERIES) {
        const int64_t m = least(n - i0, QUERIES);
        const double *qi = q + i0 * row;
        ref_product_run(&(ref_product){ P, n, ref_plain(qi, row), ref_transposed(k, row), m, n, D, false }, scratch);
        for (int64_t i = 0; i < m; i++) {
            double *p = P + i * n, top = -INFINITY, sum = 0;
            for (int64_t j = 0; j < n; j++) top = fmax(top, p[j] *= scale);
            for (int64_t j = 0; j < n; j++) sum += p[j] = exp(p[j] - top);
            for (int64_t j = 0; j < n; j++) p[j] /= sum;
            lse[(i0 + i) * a->H] = top + log(sum);
        }
        ref_product_run(&(ref_product){ o + i0 * C, C, ref_plain(P, n), ref_plain(v, row), m, D, n, false }, scratch);
    }
}

void ref_attention_forward(const vj_exec *exec, const void *args)
{
    const vj_args_attention_forward *a = args;
    expect_scratch(exec, "attention_forward", 1, a->longest);
    forward_job job = { a, exec->scratch };
    vj_pool_run(exec->pool, a->S * a->H, forward_head, &job);
}

typedef struct backward_job { const vj_args_attention_backward *a; char **scratch; } backward_job;

// P: scores -> probabilities; G: gradient of probabilities -> gradient of scores, for m queries from row `row` on, of which
// the first `skip` ask nothing.
static void score_gradients(const vj_args_attention_backward *a, double *P, double *G, int64_t row, int64_t m,
                            int64_t skip, int64_t n, int64_t h)
{
    const int64_t D = a->D, C = a->H * D;
    const double scale = 1 / sqrt((double)D);
    for (int64_t i = 0; i < skip; i++) {
        memset(P + i * n, 0, (size_t)n * sizeof *P);
        memset(G + i * n, 0, (size_t)n * sizeof *G);
    }
    for (int64_t i = skip; i < m; i++) {
        const double *o = (const double *)a->o + (row + i) * C + h * D,
                     *g = (const double *)a->do_ + (row + i) * C + h * D;
        const double lse = ((const double *)a->lse)[(row + i) * a->H + h];
        double delta = 0;
        for (int64_t d = 0; d < D; d++) delta += o[d] * g[d];
        for (int64_t j = 0; j < n; j++) {
            const double p = exp(P[i * n + j] * scale - lse);
            P[i * n + j] = p;
            G[i * n + j] = p * (G[i * n + j] - delta) * scale;
        }
    }
}

static void backward_head(void *context, int64_t task, int worker)
{
    const backward_job *job = context;
    const vj_args_attention_backward *a = job->a;
    const int64_t s = task / a->H, h = task % a->H, D = a->D, C = a->H * D, row = 3 * C;
    const int64_t first = a->seg[s], n = a->seg[s + 1] - first;
    const double *q = (const double *)a->qkv + first * row + h * D, *k = q + C, *v = q + 2 * C;
    double *dq = (double *)a->dqkv + first * row + h * D, *dk = dq + C, *dv = dq + 2 * C;
    double *P = (double *)job->scratch[worker], *G = P + QUERIES * n, *scratch = G + QUERIES * n;   // both (QUERIES, n)
    // Whole blocks of queries are left out, so that sums over queries are cut where they are without `from`.
    const int64_t from = a->from ? a->from[s] : 0, begin = n == 0 ? 0 : least(from, n - 1) / QUERIES * QUERIES;
    for (int64_t i = 0; i < begin; i++) memset(dq + i * row, 0, (size_t)D * sizeof *dq);
    for (int64_t i0 = begin; i0 < n; i0 += QUERIES) {
        const int64_t m = least(n - i0, QUERIES);
        const double *qi = q + i0 * row, *gi = (const double *)a->do_ + (first + i0) * C + h * D;
        double *dqi = dq + i0 * row;
        const bool more = i0 > begin;   // dk and dv: the first block of queries overwrites, the others add
        ref_product_run(&(ref_product){ P, n, ref_plain(qi, row), ref_transposed(k, row), m, n, D, false }, scratch);
        ref_product_run(&(ref_product){ G, n, ref_plain(gi, C), ref_transposed(v, row), m, n, D, false }, scratch);
        score_gradients(a, P, G, first + i0, m, from > i0 ? least(from - i0, m) : 0, n, h);
        ref_product_run(&(ref_product){ dv, row, ref_transposed(P, n), ref_plain(gi, C), n, D, m, more }, scratch);
        ref_product_run(&(ref_product){ dk, row, ref_transposed(G, n), ref_plain(qi, row), n, D, m, more }, scratch);
        ref_product_run(&(ref_product){ dqi, row, ref_plain(G, n), ref_plain(k, row), m, D, n, false }, scratch);
    }
}

void ref_attention_backward(const vj_exec *exec, const void *args)
{
    const vj_args_attention_backward *a = args;
    expect_scratch(exec, "attention_backward", 2, a->longest);
    backward_job job = { a, exec->scratch };
    vj_pool_run(exec->pool, a->S * a->H, backward_head, &job);
}

// cos and sin of channel n of an axis: tiled repeats the a/2 values twice while pairs are adjacent, so the two members
// of a pair turn by different angles (spec/pretrain.md 1.6); interleaved gives both the same.
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
                    const int64_t i0 = position * half + angle_index(a->layout, n, half),
                                  i1 = position * half + angle_index(a->layout, n + 1, half);
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
