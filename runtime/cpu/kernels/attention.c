// Attention in blocks: softmax(q k' / sqrt(D)) v per (sequence, head) with a running maximum and sum, so that memory grows
// with rows and never with rows squared.
//
//   forward   a task makes QUERIES rows of one head: for each block of KEYS keys, K' and V are packed once, then every six
//             rows see them.
//   backward  a task makes one head whole: outer loop over key blocks (dk and dv stay in scratch), inner over query blocks
//             (dq of the whole sequence stays in scratch). Probabilities are made again from lse.
//
// Easy to get wrong: keys beyond the end of the sequence must have probability 0, also where a block is padded.

#include <math.h>

#include "runtime/cpu/kernels/isa.h"
#include "runtime/cpu/kernels/product.h"

enum { BQ = 48, KEYS = 96, QUERIES = 384 };   // multiples of 6 and, for KEYS, of every PANEL (8, 16, 32)

static inline int64_t padded(int64_t D) { return (D + PANEL - 1) / PANEL * PANEL; }

// out (n, padded D) = in (n rows of stride `stride`), times `scale`; rows up to `rows` and columns up to padded D are 0.
static void pack_rows(float *out, const float *in, int64_t stride, int64_t n, int64_t rows, int64_t D, float scale)
{
    const int64_t Dp = padded(D);
    memset(out, 0, (size_t)(rows * Dp) * sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t d = 0; d < D; d++) out[i * Dp + d] = in[i * stride + d] * scale;
    }
}

// out: panels of PANEL keys, each (D, PANEL): the transpose of in (n, D); keys beyond n are 0.
static void pack_transposed(float *out, const float *in, int64_t stride, int64_t n, int64_t D)
{
    for (int64_t j0 = 0; j0 < KEYS; j0 += PANEL, out += D * PANEL) {
        for (int64_t j = 0; j < PANEL; j++) {
            const float *row = in + (j0 + j) * stride;
            if (j0 + j < n) {
                for (int64_t d = 0; d < D; d++) out[d * PANEL + j] = row[d];
            } else {
                for (int64_t d = 0; d < D; d++) out[d * PANEL + j] = 0;
            }
        }
    }
}

// S (rows, KEYS) = A (rows, D; row stride lda) * packed transposed keys, six rows at a time; rows is a multiple of 6.
static void scores(float *S, const float *A, int64_t lda, const float *Kt, int64_t rows, int64_t D)
{
    for (int64_t j = 0; j < KEYS; j += PANEL, Kt += D * PANEL) {
        for (int64_t i = 0; i < rows; i += 6) micro_kernel(S + i * KEYS + j, KEYS, A + i * lda, lda, 1, Kt, PANEL, D, 6, PANEL, false);
    }
}

// C (rows, Dp) += A (rows, K) B (K, Dp), A with free strides; rows is a multiple of 6.
static void add_product(float *C, const float *A, int64_t a_row, int64_t a_k, const float *B, int64_t rows, int64_t K, int64_t Dp)
{
    for (int64_t d = 0; d < Dp; d += PANEL) {
        for (int64_t i = 0; i < rows; i += 6) micro_kernel(C + i * Dp + d, Dp, A + i * a_row, a_row, a_k, B + d, Dp, K, 6, PANEL, true);
    }
}

// One row of scores: new maximum, probabilities in place, the factor that older sums are to be multiplied by.
static float soften(float *s, int64_t n, float *top, float *sum)
{
    for (int64_t j = n; j < KEYS; j++) s[j] = -INFINITY;
    vf m = load(s);
    for (int64_t j = W; j < KEYS; j += W) m = vmax(m, load(s + j));
    const float highest = lanes_max(m), now = highest > *top ? highest : *top;
    vf total = { 0 };
    for (int64_t j = 0; j < KEYS; j += W) {
        const vf p = vexp(load(s + j) - now);
        store(s + j, p);
        total += p;
    }
    const vf old = vexp(splat(*top - now));   // *top is -inf at first: exp gives 0
    const float factor = old[0];
    *sum = *sum * factor + lanes_sum(total);
    *top = now;
    return factor;
}

typedef struct forward_job { const vj_args_attention_forward *a; char **scratch; int64_t per_segment; } forward_job;

static void forward_task(void *context, int64_t task, int worker)
{
    const forward_job *job = context;
    const vj_args_attention_forward *a = job->a;
    const int64_t D = a->D, Dp = padded(D), C = a->H * D, s = task / (a->H * job->per_segment), h = task / job->per_segment % a->H;
    const int64_t first = a->seg[s], n = a->seg[s + 1] - first, q0 = task % job->per_segment * QUERIES;
    if (q0 >= n) return;
    const int64_t rows = n - q0 < QUERIES ? n - q0 : QUERIES, whole = (rows + 5) / 6 * 6;
    const float *q = (const float *)a->qkv + first * 3 * C + h * D, *k = q + C, *v = q + 2 * C;
    float *Q = (float *)job->scratch[worker], *O = Q + QUERIES * Dp, *Kt = O + QUERIES * Dp, *V = Kt + KEYS * Dp, *S = V + KEYS * Dp;
    float *top = S + BQ * KEYS, *sum = top + QUERIES;
    pack_rows(Q, q + q0 * 3 * C, 3 * C, rows, whole, D, 1.0f / sqrtf((float)D));
    memset(O, 0, (size_t)(whole * Dp) * sizeof *O);
    for (int64_t i = 0; i < whole; i++) {
        top[i] = -1e30f;   // not -inf: a difference of two must stay a number
        sum[i] = 0;
    }
    for (int64_t j0 = 0; j0 < n; j0 += KEYS) {
        const int64_t keys = n - j0 < KEYS ? n - j0 : KEYS;
        pack_transposed(Kt, k + j0 * 3 * C, 3 * C, keys, D);
        pack_rows(V, v + j0 * 3 * C, 3 * C, keys, KEYS, D, 1.0f);
        for (int64_t i0 = 0; i0 < whole; i0 += BQ) {
            const int64_t height = whole - i0 < BQ ? whole - i0 : BQ;
            scores(S, Q + i0 * Dp, Dp, Kt, height, D);
            for (int64_t i = 0; i < height; i++) {
                const float factor = soften(S + i * KEYS, keys, &top[i0 + i], &sum[i0 + i]);
                float *o = O + (i0 + i) * Dp;
                for (int64_t d = 0; d < Dp; d += W) store(o + d, load(o + d) * factor);
            }
            add_product(O + i0 * Dp, S, KEYS, 1, V, height, keys, Dp);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        const float inverse = 1.0f / sum[i];
        float *o = (float *)a->o + (first + q0 + i) * C + h * D;
        for (int64_t d = 0; d < D; d++) o[d] = O[i * Dp + d] * inverse;
        ((float *)a->lse)[(first + q0 + i) * a->H + h] = top[i] + VJ_NAME(cpu_log)(sum[i]);
    }
}

// ln x for x >= 1, from the exponent and a series in the rest (relative error about 1e-7).
float VJ_NAME(cpu_log)(float x)
{
    int32_t bits;
    memcpy(&bits, &x, 4);
    int32_t e = (bits >> 23) - 127;
    bits = (bits & 0x7fffff) | 0x3f800000;
    float m;
    memcpy(&m, &bits, 4);
    if (m > 1.41421356f) {
        m *= 0.5f;
        e++;
    }
    const double t = ((double)m - 1) / ((double)m + 1), t2 = t * t;   // ln m = 2 artanh t, |t| <= 0.172
    const double series = t * (2 + t2 * (2.0 / 3 + t2 * (2.0 / 5 + t2 * (2.0 / 7 + t2 * (2.0 / 9)))));
    return (float)(series + e * 0.69314718055994531);
}

void VJ_NAME(attention_forward)(const vj_exec *exec, const void *args)
{
    const vj_args_attention_forward *a = args;
    const int64_t Dp = padded(a->D);
    VJ_ASSERT((size_t)(2 * QUERIES * Dp + 2 * KEYS * Dp + BQ * KEYS + 2 * QUERIES + 64) * sizeof(float) <= exec->scratch_bytes);
    forward_job job = { a, exec->scratch, (a->longest + QUERIES - 1) / QUERIES };
    vj_pool_run(exec->pool, a->S * a->H * job.per_segment, forward_task, &job);
}

typedef struct backward_job { const vj_args_attention_backward *a; char **scratch; } backward_job;

// P and dS of one query block against one key block, both (BQ, KEYS), from scores and dP.
static void slopes(float *P, float *dP, const float *lse, const float *delta, int64_t rows, int64_t keys, float scale)
{
    for (int64_t i = 0; i < rows; i++) {
        float *p = P + i * KEYS, *g = dP + i * KEYS;
        for (int64_t j = keys; j < KEYS; j++) p[j] = -INFINITY;
        for (int64_t j = 0; j < KEYS; j += W) {
            const vf e = vexp(load(p + j) - lse[i]);
            store(p + j, e);
            store(g + j, e * (load(g + j) - delta[i]) * scale);
        }
    }
}

static void backward_head(void *context, int64_t task, int worker)
{
    const backward_job *job = context;
    const vj_args_attention_backward *a = job->a;
    const int64_t s = task / a->H, h = task % a->H, D = a->D, Dp = padded(D), C = a->H * D, first = a->seg[s], n = a->seg[s + 1] - first;
    const int64_t blocks = (n + BQ - 1) / BQ;
    const float *q = (const float *)a->qkv + first * 3 * C + h * D, *k = q + C, *v = q + 2 * C, scale = 1.0f / sqrtf((float)D);
    float *dq = (float *)a->dqkv + first * 3 * C + h * D, *dk = dq + C, *dv = dq + 2 * C;
    float *Kt = (float *)job->scratch[worker], *Vt = Kt + KEYS * Dp, *K = Vt + KEYS * Dp, *dK = K + KEYS * Dp, *dV = dK + KEYS * Dp;
    float *Q = dV + KEYS * Dp, *Qs = Q + BQ * Dp, *G = Qs + BQ * Dp, *P = G + BQ * Dp, *dP = P + BQ * KEYS;
    float *lse = dP + BQ * KEYS, *delta = lse + BQ, *dQ = delta + BQ;
    memset(dQ, 0, (size_t)(blocks * BQ * Dp) * sizeof *dQ);
    for (int64_t j0 = 0; j0 < n; j0 += KEYS) {
        const int64_t keys = n - j0 < KEYS ? n - j0 : KEYS;
        pack_transposed(Kt, k + j0 * 3 * C, 3 * C, keys, D);
        pack_transposed(Vt, v + j0 * 3 * C, 3 * C, keys, D);
        pack_rows(K, k + j0 * 3 * C, 3 * C, keys, KEYS, D, 1.0f);
        memset(dK, 0, (size_t)(2 * KEYS * Dp) * sizeof *dK);   // dV follows
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t i0 = b * BQ, rows = n - i0 < BQ ? n - i0 : BQ;
            pack_rows(Q, q + i0 * 3 * C, 3 * C, rows, BQ, D, 1.0f);
            pack_rows(Qs, q + i0 * 3 * C, 3 * C, rows, BQ, D, scale);
            pack_rows(G, (const float *)a->do_ + (first + i0) * C + h * D, C, rows, BQ, D, 1.0f);
            for (int64_t i = 0; i < BQ; i++) {
                const float *o = (const float *)a->o + (first + i0 + i) * C + h * D;
                float dot = 0;
                for (int64_t d = 0; d < D && i < rows; d++) dot += o[d] * G[i * Dp + d];
                delta[i] = dot;
                lse[i] = i < rows ? ((const float *)a->lse)[(first + i0 + i) * a->H + h] : 1e30f;   // rows that are not there: 0
            }
            scores(P, Qs, Dp, Kt, BQ, D);
            scores(dP, G, Dp, Vt, BQ, D);
            slopes(P, dP, lse, delta, BQ, keys, scale);
            add_product(dV, P, 1, KEYS, G, KEYS, BQ, Dp);
            add_product(dK, dP, 1, KEYS, Q, KEYS, BQ, Dp);
            add_product(dQ + i0 * Dp, dP, KEYS, 1, K, BQ, keys, Dp);
        }
        for (int64_t j = 0; j < keys; j++) {
            memcpy(dk + (j0 + j) * 3 * C, dK + j * Dp, (size_t)D * sizeof *dk);
            memcpy(dv + (j0 + j) * 3 * C, dV + j * Dp, (size_t)D * sizeof *dv);
        }
    }
    for (int64_t i = 0; i < n; i++) memcpy(dq + i * 3 * C, dQ + i * Dp, (size_t)D * sizeof *dq);
}

void VJ_NAME(attention_backward)(const vj_exec *exec, const void *args)
{
    const vj_args_attention_backward *a = args;
    const int64_t Dp = padded(a->D), rows = (a->longest + BQ - 1) / BQ * BQ;
    VJ_ASSERT((size_t)(5 * KEYS * Dp + 3 * BQ * Dp + 2 * BQ * KEYS + 2 * BQ + rows * Dp + 64) * sizeof(float) <= exec->scratch_bytes);
    backward_job job = { a, exec->scratch };
    vj_pool_run(exec->pool, a->S * a->H, backward_head, &job);
}
