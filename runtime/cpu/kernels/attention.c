// Attention in blocks: softmax(q k' / sqrt(D)) v per (sequence, head) with a running maximum and sum, so that memory
// grows with rows and never with rows squared.
//
//   forward   a task makes QUERIES rows of one head: for each block of KEYS keys, K' and V are packed once, then every
//             BQ rows see them.
//   backward  probabilities are made again from lse. A task walks a range of keys (outer loop; dk and dv stay in
//             scratch) and a range of queries (inner loop; dq is added to the output block by block). Normally both
//             ranges are the whole sequence and a task is a head. When there are few heads and long sequences, the work
//             is split: tasks of key ranges make dk and dv, then tasks of query ranges make dq. That costs two of seven
//             products more and gives every thread work; shapes alone decide it.
//
// Easy to get wrong: keys beyond the end of the sequence must have probability 0 where a block is padded, and rows
// beyond its end must not be written.

#include <math.h>

#include "runtime/cpu/kernels/isa.h"
#include "runtime/cpu/kernels/product.h"

enum {
    BQ = 96,            // rows of a block of scores: a multiple of SIX
    KEYS = 96,          // columns of it: a multiple of SIX and of every PANEL (8, 16, 32)
    LINE = KEYS + 16,   // floats from one row of scores to the next: not a multiple of a page
    QUERIES = 384,      // rows of a forward task
    SPLIT_HEADS = 16,   // fewer tasks than this ...
    SPLIT_ROWS = 512,   // ... over sequences at least this long: backward is split
    RANGE = 2 * KEYS    // rows of a range in a split backward: a multiple of BQ and KEYS
};

static inline int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// out (n, padded D) = in (n rows of stride `stride`), times `scale`; rows up to `rows` and columns up to padded D are
// 0.
static void pack_rows(float *out, const float *in, int64_t stride, int64_t n, int64_t rows, int64_t D, float scale)
{
    const int64_t Dp = up(D, PANEL);
    for (int64_t i = 0; i < n; i++, in += stride, out += Dp) {
        int64_t d = 0;
        for (; d + W <= D; d += W) store(out + d, load(in + d) * scale);
        for (; d < D; d++) out[d] = in[d] * scale;
        for (; d < Dp; d++) out[d] = 0;
    }
    memset(out, 0, (size_t)((rows - n) * Dp) * sizeof *out);
}

// out: panels of PANEL keys, each (D, PANEL): the transpose of in (n, D); keys up to the end of the last panel are 0.
static void pack_transposed(float *out, const float *in, int64_t stride, int64_t n, int64_t D)
{
    for (int64_t j = 0; j < n; j += PANEL, out += D * PANEL)
        transpose_panel(out, in + j * stride, stride, D, least(n - j, PANEL));
}

// S (rows, keys up to a PANEL) = A (rows, D; row stride lda) times packed transposed keys; rows is a multiple of SIX.
static void scores(float *S, const float *A, int64_t lda, const float *Kt, int64_t rows, int64_t keys, int64_t D)
{
    for (int64_t j = 0; j < keys; j += PANEL, Kt += D * PANEL) {
        for (int64_t i = 0; i < rows; i += SIX)
            six_by_panel(S + i * LINE + j, LINE, A + i * lda, lda, 1, Kt, PANEL, D, false);
    }
}

// C (rows, Dp) += A (rows, K; row stride LINE) B (K, Dp); rows is a multiple of SIX.
static void add_product(float *C, const float *A, const float *B, int64_t rows, int64_t K, int64_t Dp)
{
    for (int64_t d = 0; d < Dp; d += PANEL) {
        for (int64_t i = 0; i < rows; i += SIX)
            six_by_panel(C + i * Dp + d, Dp, A + i * LINE, LINE, 1, B + d, Dp, K, true);
    }
}

// C (rows, Dp) += A' B with A (K, rows; row stride LINE), B (K, Dp); rows is a multiple of SIX.
static void add_product_transposed(float *C, const float *A, const float *B, int64_t rows, int64_t K, int64_t Dp)
{
    for (int64_t d = 0; d < Dp; d += PANEL) {
        for (int64_t i = 0; i < rows; i += SIX) six_by_panel(C + i * Dp + d, Dp, A + i, 1, LINE, B + d, Dp, K, true);
    }
}

// One row of scores: new maximum, probabilities in place, the factor that older sums are to be multiplied by.
static float soften(float *s, int64_t keys, float *top, float *sum)
{
    const int64_t whole = up(keys, W);
    for (int64_t j = keys; j < whole; j++) s[j] = -INFINITY;
    vf m0 = load(s), m1 = m0;
    int64_t j = W;
    for (; j + 2 * W <= whole; j += 2 * W) {
        m0 = vmax(m0, load(s + j));
        m1 = vmax(m1, load(s + j + W));
    }
    for (; j < whole; j += W) m0 = vmax(m0, load(s + j));
    const float highest = lanes_max(vmax(m0, m1)), now = highest > *top ? highest : *top;
    vf total = { 0 };
    for (j = 0; j < whole; j += W) {
        const vf p = vexp(load(s + j) - now);
        store(s + j, p);
        total += p;
    }
    const float factor = now == *top ? 1.0f : vexp(splat(*top - now))[0];   // 0 at first: *top is very small
    *sum = *sum * factor + lanes_sum(total);
    *top = now;
    return factor;
}

typedef struct forward_job {
    const vj_args_attention_forward *a;
    char **scratch;
    int64_t rows, per_segment;   // query rows of a task, tasks of the longest sequence's head
} forward_job;

// Writes one task's rows: o divided by the sums, lse.
static void finish_rows(const vj_args_attention_forward *a, const float *O, const float *top, const float *sum,
                        int64_t first, int64_t rows, int64_t h)
{
    const int64_t D = a->D, Dp = up(D, PANEL);
    for (int64_t i = 0; i < rows; i++) {
        const float inverse = 1.0f / sum[i];
        float *o = (float *)a->o + (first + i) * a->H * D + h * D;
        for (int64_t d = 0; d < D; d++) o[d] = O[i * Dp + d] * inverse;
        ((float *)a->lse)[(first + i) * a->H + h] = top[i] + VJ_NAME(cpu_log)(sum[i]);
    }
}

static void forward_task(void *context, int64_t task, int worker)
{
    const forward_job *job = context;
    const vj_args_attention_forward *a = job->a;
    const int64_t D = a->D, Dp = up(D, PANEL), C = a->H * D, stride = 3 * C;
    const int64_t s = task / (a->H * job->per_segment), h = task / job->per_segment % a->H;
    const int64_t first = a->seg[s], n = a->seg[s + 1] - first, q0 = task % job->per_segment * job->rows;
    if (q0 >= n) return;
    const int64_t rows = least(n - q0, job->rows), whole = up(rows, SIX);
    const float *q = (const float *)a->qkv + first * stride + h * D, *k = q + C, *v = q + 2 * C;
    float *Q = (float *)job->scratch[worker], *O = Q + QUERIES * Dp, *Kt = O + QUERIES * Dp, *V = Kt + KEYS * Dp;
    float *S = V + KEYS * Dp, *top = S + BQ * LINE, *sum = top + QUERIES;
    pack_rows(Q, q + q0 * stride, stride, rows, whole, D, 1.0f / sqrtf((float)D));
    memset(O, 0, (size_t)(whole * Dp) * sizeof *O);
    for (int64_t i = 0; i < whole; i++) {
        top[i] = -1e30f;   // not -inf: a difference of two must stay a number
        sum[i] = 0;
    }
    for (int64_t j0 = 0; j0 < n; j0 += KEYS) {
        const int64_t keys = least(n - j0, KEYS);
        pack_transposed(Kt, k + j0 * stride, stride, keys, D);
        pack_rows(V, v + j0 * stride, stride, keys, keys, D, 1.0f);
        for (int64_t i0 = 0; i0 < whole; i0 += BQ) {
            const int64_t height = least(whole - i0, BQ);
            scores(S, Q + i0 * Dp, Dp, Kt, height, keys, D);
            for (int64_t i = 0; i < height; i++) {
                const float factor = soften(S + i * LINE, keys, &top[i0 + i], &sum[i0 + i]);
                float *o = O + (i0 + i) * Dp;
                for (int64_t d = 0; d < Dp && factor != 1.0f; d += W) store(o + d, load(o + d) * factor);
            }
            add_product(O + i0 * Dp, S, V, height, keys, Dp);
        }
    }
    finish_rows(a, O, top, sum, first + q0, rows, h);
}

// ln x for x >= 1, from the exponent and a series in the rest (relative error about 1e-7).
float VJ_NAME(cpu_log)(float x)
{
    if (!(x < INFINITY)) return x;
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
    const int64_t Dp = up(a->D, PANEL);
    VJ_ASSERT((size_t)(2 * QUERIES * Dp + 2 * KEYS * Dp + BQ * LINE + 2 * QUERIES) * sizeof(float) <=
              exec->scratch_bytes);
    // Shorter tasks when there are few: K and V are then packed more often.
    int64_t rows = QUERIES;
    while (rows > BQ && a->S * a->H * ((a->longest + rows - 1) / rows) < 8) rows /= 2;
    forward_job job = { a, exec->scratch, rows, (a->longest + rows - 1) / rows };
    vj_pool_run(exec->pool, a->S * a->H * job.per_segment, forward_task, &job);
}

typedef struct backward_job {
    const vj_args_attention_backward *a;
    char **scratch;
    int64_t per_segment;   // ranges of the longest sequence's head
    bool want_q, want_kv;
} backward_job;

// One head of one sequence, with this worker's scratch.
typedef struct head {
    const float *q, *k, *v, *g, *o, *lse;   // first row, this head
    float *dq, *dk, *dv;
    int64_t n, D, Dp, H, C;
    float *Kt, *Vt, *K, *dK, *dV;   // of a block of keys
    float *Q, *G, *P, *dS, *dQ;     // of a block of queries
    float *row_lse, *delta;         // (BQ) each
} head;

static size_t backward_floats(int64_t Dp) { return (size_t)(5 * KEYS * Dp + 3 * BQ * Dp + 2 * BQ * LINE + 2 * BQ); }

static head head_of(const vj_args_attention_backward *a, int64_t s, int64_t h, float *scratch)
{
    const int64_t D = a->D, Dp = up(D, PANEL), C = a->H * D, first = a->seg[s];
    const float *q = (const float *)a->qkv + first * 3 * C + h * D;
    float *dq = (float *)a->dqkv + first * 3 * C + h * D;
    head x = { .q = q,
               .k = q + C,
               .v = q + 2 * C,
               .dq = dq,
               .dk = dq + C,
               .dv = dq + 2 * C,
               .D = D,
               .Dp = Dp,
               .H = a->H,
               .C = C };
    x.n = a->seg[s + 1] - first;
    x.g = (const float *)a->do_ + first * C + h * D;
    x.o = (const float *)a->o + first * C + h * D;
    x.lse = (const float *)a->lse + first * a->H + h;
    float **const parts[] = { &x.Kt, &x.Vt, &x.K, &x.dK, &x.dV, &x.Q, &x.G, &x.dQ, &x.P, &x.dS, &x.row_lse };
    for (int i = 0; i < 11; i++) {
        *parts[i] = scratch;
        scratch += i < 5 ? KEYS * Dp : i < 8 ? BQ * Dp : i < 10 ? BQ * LINE : BQ;
    }
    x.delta = scratch;
    return x;
}

// Rows [i0, i0 + rows) of q (scaled) and do, their lse and delta = do . o; what fills up the last six changes nothing.
static void load_queries(const head *x, int64_t i0, int64_t rows, int64_t whole, float scale)
{
    pack_rows(x->Q, x->q + i0 * 3 * x->C, 3 * x->C, rows, whole, x->D, scale);
    pack_rows(x->G, x->g + i0 * x->C, x->C, rows, whole, x->D, 1.0f);
    for (int64_t i = 0; i < whole; i++) {
        x->row_lse[i] = i < rows ? x->lse[(i0 + i) * x->H] : 1e30f;   // probability 0
        x->delta[i] = 0;
        if (i >= rows) continue;
        const float *o = x->o + (i0 + i) * x->C, *g = x->G + i * x->Dp;
        vf sum = { 0 };
        int64_t d = 0;
        for (; d + W <= x->D; d += W) sum += load(o + d) * load(g + d);
        if (d < x->D) sum += load_part(o + d, x->D - d) * load(g + d);
        x->delta[i] = lanes_sum(sum);
    }
}

// P = exp(scores - lse) and dS = P (dP - delta), in place.
static void slopes(const head *x, int64_t rows, int64_t keys)
{
    const int64_t whole = up(keys, PANEL);
    for (int64_t i = 0; i < rows; i++) {
        float *p = x->P + i * LINE, *g = x->dS + i * LINE;
        for (int64_t j = keys; j < whole; j++) p[j] = -INFINITY;
        for (int64_t j = 0; j < whole; j += W) {
            const vf e = vexp(load(p + j) - x->row_lse[i]);
            store(p + j, e);
            store(g + j, e * (load(g + j) - x->delta[i]));
        }
    }
}

// out (n rows of stride `stride`, D) = or += in (n, Dp)
static void put_rows(float *out, int64_t stride, const float *in, int64_t n, int64_t D, int64_t Dp, bool add)
{
    for (int64_t i = 0; i < n; i++, out += stride, in += Dp) {
        int64_t d = 0;
        for (; d + W <= D; d += W) store(out + d, add ? load(out + d) + load(in + d) : load(in + d));
        for (; d < D; d++) out[d] = add ? out[d] + in[d] : in[d];
    }
}

// Keys [j_begin, j_end) against queries [i_begin, i_end).
static void backward_range(const head *x, int64_t j_begin, int64_t j_end, int64_t i_begin, int64_t i_end, bool want_q,
                           bool want_kv)
{
    const int64_t stride = 3 * x->C, D = x->D, Dp = x->Dp;
    const float scale = 1.0f / sqrtf((float)D);
    for (int64_t j0 = j_begin; j0 < j_end; j0 += KEYS) {
        const int64_t keys = least(j_end - j0, KEYS), tall = up(keys, SIX);
        pack_transposed(x->Kt, x->k + j0 * stride, stride, keys, D);
        pack_transposed(x->Vt, x->v + j0 * stride, stride, keys, D);
        if (want_q) pack_rows(x->K, x->k + j0 * stride, stride, keys, keys, D, scale);
        memset(x->dK, 0, (size_t)(2 * KEYS * Dp) * sizeof *x->dK);   // dV follows
        for (int64_t i0 = i_begin; i0 < i_end; i0 += BQ) {
            const int64_t rows = least(i_end - i0, BQ), whole = up(rows, SIX);
            load_queries(x, i0, rows, whole, scale);
            scores(x->P, x->Q, Dp, x->Kt, whole, keys, D);
            scores(x->dS, x->G, Dp, x->Vt, whole, keys, D);
            slopes(x, whole, keys);
            if (want_kv) {
                add_product_transposed(x->dV, x->P, x->G, tall, rows, Dp);
                add_product_transposed(x->dK, x->dS, x->Q, tall, rows, Dp);
            }
            if (want_q) {
                memset(x->dQ, 0, (size_t)(whole * Dp) * sizeof *x->dQ);
                add_product(x->dQ, x->dS, x->K, whole, keys, Dp);
                put_rows(x->dq + i0 * stride, stride, x->dQ, rows, D, Dp, j0 > 0);
            }
        }
        if (!want_kv) continue;
        put_rows(x->dk + j0 * stride, stride, x->dK, keys, D, Dp, false);
        put_rows(x->dv + j0 * stride, stride, x->dV, keys, D, Dp, false);
    }
}

static void backward_task(void *context, int64_t task, int worker)
{
    const backward_job *job = context;
    const int64_t s = task / (job->a->H * job->per_segment), h = task / job->per_segment % job->a->H;
    const head x = head_of(job->a, s, h, (float *)job->scratch[worker]);
    if (job->want_q && job->want_kv) {
        backward_range(&x, 0, x.n, 0, x.n, true, true);
        return;
    }
    const int64_t begin = task % job->per_segment * RANGE, end = least(begin + RANGE, x.n);
    if (begin >= end) return;
    if (job->want_kv)
        backward_range(&x, begin, end, 0, x.n, false, true);
    else
        backward_range(&x, 0, x.n, begin, end, true, false);
}

void VJ_NAME(attention_backward)(const vj_exec *exec, const void *args)
{
    const vj_args_attention_backward *a = args;
    VJ_ASSERT(backward_floats(up(a->D, PANEL)) * sizeof(float) <= exec->scratch_bytes);
    const int64_t heads = a->S * a->H;
    backward_job job = { a, exec->scratch, 1, true, true };
    if (heads >= SPLIT_HEADS || a->longest < SPLIT_ROWS) {
        vj_pool_run(exec->pool, heads, backward_task, &job);
        return;
    }
    job.per_segment = (a->longest + RANGE - 1) / RANGE;
    job.want_q = false;
    vj_pool_run(exec->pool, heads * job.per_segment, backward_task, &job);
    job.want_q = true;
    job.want_kv = false;
    vj_pool_run(exec->pool, heads * job.per_segment, backward_task, &job);
}
