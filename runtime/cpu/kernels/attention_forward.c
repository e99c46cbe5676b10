// softmax(q k' / sqrt(D)) v per (sequence, head) with a running maximum and sum, so that memory grows with rows and never
// with rows squared. A task makes up to QUERIES rows of one head: their queries are transposed into panels once; for each
// block of KEYS keys, K and V are copied side by side once, then every panel sees them.
//
// Rows before `from` are no queries: tasks begin behind them.
//
// Easy to get wrong: lanes beyond the end of the sequence are computed (from zeros) and must not be written.

#include <math.h>

#include "runtime/cpu/kernels/attention.h"
#include "runtime/cpu/kernels/isa.h"

enum { QUERIES = 384 };   // rows of a task: a multiple of every PANEL (8, 16, 64)

typedef struct forward_job {
    const vj_args_attention_forward *a;
    char **scratch;
    int64_t rows, per_segment;   // query rows of a task, tasks of the longest sequence's head
} forward_job;

// What a task keeps for its panels, one behind the other.
typedef struct panels {
    float *q, *o;        // (D, PANEL) each: queries, times 1 / sqrt(D); sums of values
    float *top, *sum;    // (PANEL): highest score so far, sum of exp(score - top)
} panels;

// S (keys up to a SIX, PANEL) = K (keys, D) times a panel of queries; top: at least every score of a lane.
VJ_INLINE void scores(float *S, const float *K, int64_t keys, int64_t D, const float *Q, int vectors, vf top[BROAD])
{
    for (int64_t i = 0; i < keys; i += SIX) {
        const float *a[SIX];
        vf c[SIX][BROAD];
        rows_from(a, K + i * D, D, keys - i);
        tile_clear(c);
        tile_sums(c, SIX, vectors, a, 1, Q, PANEL, D, NULL);
#pragma GCC unroll 6
        for (int r = 0; r < SIX; r++) {
#pragma GCC unroll 4
            for (int j = 0; j < BROAD; j++) {
                if (j >= vectors) continue;
                store(S + (i + r) * PANEL + j * W, c[r][j]);
                top[j] = vmax(top[j], c[r][j]);
            }
        }
    }
}

// One panel, of which `vectors` vectors are in use, against one block of keys.
VJ_INLINE void see_block(const panels *p, const float *K, const float *V, int64_t keys, int64_t D, float *S, int vectors)
{
    vf before[BROAD], top[BROAD], factor[BROAD], sum[BROAD];
    for (int j = 0; j < BROAD; j++) before[j] = top[j] = load(p->top + j * W);
    scores(S, K, keys, D, p->q, vectors, top);
    for (int j = 0; j < BROAD; j++) {
        factor[j] = vexp(before[j] - top[j]);   // 0 at first: `before` is very small
        sum[j] = load(p->sum + j * W) * factor[j];
        store(p->top + j * W, top[j]);
    }
    for (int64_t k = 0; k < keys; k++) {
#pragma GCC unroll 4
        for (int j = 0; j < BROAD; j++) {
            if (j >= vectors) continue;
            const vf e = vexp(load(S + k * PANEL + j * W) - top[j]);
            store(S + k * PANEL + j * W, e);
            sum[j] += e;
        }
    }
    for (int j = 0; j < BROAD; j++) store(p->sum + j * W, sum[j]);
    add_columns(p->o, V, D, S, keys, vectors, factor);
}

#define VJ_SEE(n)                                                                                                      \
    static void see_keys_##n(const panels *p, const float *K, const float *V, int64_t keys, int64_t D, float *S)       \
    {                                                                                                                  \
        see_block(p, K, V, keys, D, S, n);                                                                             \
    }
VJ_SEE(1)
VJ_SEE(2)
#if VJ_BROAD > 2
VJ_SEE(3)
VJ_SEE(4)
#endif

static void see_keys(const panels *p, const float *K, const float *V, int64_t keys, int64_t D, float *S, int64_t lanes)
{
#define VJ_CALL(n) see_keys_##n(p, K, V, keys, D, S)
    VJ_BY_VECTORS(lanes, VJ_CALL);
#undef VJ_CALL
}

// Writes a panel's rows: o divided by the sums, lse.
static void finish_rows(const vj_args_attention_forward *a, const panels *p, int64_t first, int64_t rows, int64_t h)
{
    const int64_t C = a->H * a->D;
    vf inverse[BROAD];
    for (int j = 0; j < BROAD; j++) inverse[j] = 1.0f / load(p->sum + j * W);
    put_transposed((float *)a->o + first * C + h * a->D, C, p->o, rows, a->D, inverse, false);
    float *lse = (float *)a->lse + first * a->H + h;
    for (int64_t i = 0; i < rows; i++) lse[i * a->H] = p->top[i] + VJ_NAME(cpu_log)(p->sum[i]);
}

// Rows that ask nothing.
static void clear_rows(const vj_args_attention_forward *a, int64_t first, int64_t rows, int64_t h)
{
    const int64_t C = a->H * a->D;
    float *o = (float *)a->o + first * C + h * a->D, *lse = (float *)a->lse + first * a->H + h;
    for (int64_t i = 0; i < rows; i++) {
        memset(o + i * C, 0, (size_t)a->D * sizeof *o);
        lse[i * a->H] = 0;
    }
}

static size_t forward_floats(int64_t D) { return (size_t)(QUERIES * (2 * D + 2) + 2 * KEYS * D + KEYS * PANEL); }

static void forward_task(void *context, int64_t task, int worker)
{
    const forward_job *job = context;
    const vj_args_attention_forward *a = job->a;
    const int64_t D = a->D, C = a->H * D, stride = 3 * C;
    const int64_t s = task / (a->H * job->per_segment), h = task / job->per_segment % a->H;
    const int64_t first = a->seg[s], n = a->seg[s + 1] - first, from = a->from ? a->from[s] : 0;
    const int64_t q0 = from + task % job->per_segment * job->rows;
    if (q0 == from) clear_rows(a, first, from, h);
    if (q0 >= n) return;
    const int64_t rows = least(n - q0, job->rows), count = up(rows, PANEL) / PANEL;
    const float *q = (const float *)a->qkv + first * stride + h * D, *k = q + C, *v = q + 2 * C;
    float *K = (float *)job->scratch[worker], *V = K + KEYS * D, *S = V + KEYS * D, *rest = S + KEYS * PANEL;
    panels p[QUERIES / PANEL];
    for (int64_t i = 0; i < count; i++) {
        p[i] = (panels){ rest, rest + D * PANEL, rest + 2 * D * PANEL, rest + (2 * D + 1) * PANEL };
        rest += (2 * D + 2) * PANEL;
        pack_transposed_panel(p[i].q, PANEL, q + (q0 + i * PANEL) * stride, stride, D, rows - i * PANEL, 1.0f / sqrtf((float)D));
        memset(p[i].o, 0, (size_t)(D * PANEL) * sizeof(float));
        for (int j = 0; j < PANEL; j++) p[i].top[j] = -1e30f;   // not -inf: a difference of two must stay a number
        memset(p[i].sum, 0, PANEL * sizeof(float));
    }
    for (int64_t j0 = 0; j0 < n; j0 += KEYS) {
        const int64_t keys = least(n - j0, KEYS);
        copy_rows_of(K, k + j0 * stride, stride, keys, D, D, 1.0f, KEYS);
        copy_rows_of(V, v + j0 * stride, stride, keys, D, D, 1.0f, KEYS);
        for (int64_t i = 0; i < count; i++) see_keys(&p[i], K, V, keys, D, S, rows - i * PANEL);
    }
    for (int64_t i = 0; i < count; i++) finish_rows(a, &p[i], first + q0 + i * PANEL, least(rows - i * PANEL, PANEL), h);
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
    VJ_ASSERT(forward_floats(a->D) * sizeof(float) <= exec->scratch_bytes);
    // Shorter tasks when there are few: K and V are then copied more often.
    int64_t rows = QUERIES;
    while (rows > 96 && a->S * a->H * ((a->longest + rows - 1) / rows) < 8) rows /= 2;
    rows = up(rows, PANEL);
    forward_job job = { a, exec->scratch, rows, (a->longest + rows - 1) / rows };
    vj_pool_run(exec->pool, a->S * a->H * job.per_segment, forward_task, &job);
}
