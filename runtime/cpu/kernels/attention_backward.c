// Attention backwards: probabilities are made again from lse. A task takes a range of keys and a range of queries of one
// head; keys are the outer loop, by blocks (dk and dv stay side by side), queries the inner one, by groups of panels (dq of
// the whole range stays in scratch, transposed). Normally both ranges are the whole sequence and a task is a head. When
// there are few heads and long sequences, the work is split: tasks of key ranges make dk and dv, then tasks of query ranges
// make dq. That costs two of seven products more and gives every thread work; shapes alone decide it.
//
//   S' = K q'   dP' = V g'   P' = exp(S' - lse)   dS' = P' (dP' - delta)      (keys, lanes of queries)
//   dv += P' g  dk += dS' q  dq' += K' dS'
//
// Easy to get wrong: lanes beyond the end of the range have probability 0 (their lse is very large), and what stands in
// rows of S' beyond the last key is never used. Rows before `from` are no queries: whole groups of them are left out (sums
// over queries keep their order), and those that share a group with queries are treated like lanes beyond the end.

#include <math.h>

#include "runtime/cpu/kernels/attention.h"
#include "runtime/cpu/kernels/isa.h"

enum {
    GROUP = 64 / PANEL,         // panels of a group: 64 queries
    GROUPED = GROUP * PANEL,
    SPLIT_HEADS = 12,           // fewer tasks than this ...
    SPLIT_ROWS = 512,           // ... over sequences at least this long: split
    RANGE = 192                 // rows of a range when split: a multiple of KEYS and of GROUPED
};

typedef struct backward_job {
    const vj_args_attention_backward *a;
    char **scratch;
    size_t scratch_bytes;
    int64_t per_segment;   // ranges of the longest sequence's head
    bool want_q, want_kv;
} backward_job;

// One head of one sequence, with this worker's scratch.
typedef struct head {
    const float *q, *k, *v, *g, *o, *lse;   // first row, this head
    float *dq, *dk, *dv;
    int64_t n, from, D, Dw, H, C;
    // of a block of keys
    float *K, *V;     // (KEYS, D)
    float *dK, *dV;   // (KEYS, Dw)
    // of a group of queries and a block of keys, panel behind panel: (KEYS, PANEL) each
    float *P, *dS;
    // of all queries of a chunk: panels (D, PANEL), rows (Dw), and a number each
    float *Qt, *Gt, *dQt, *Q, *G, *row_lse, *delta;
} head;

static size_t block_floats(int64_t D) { return (size_t)(2 * KEYS * D + 2 * KEYS * up(D, W) + 2 * KEYS * GROUPED); }
static size_t query_floats(int64_t D) { return (size_t)(3 * D + 2 * up(D, W) + 2); }

// Queries whose data the scratch holds: the inner loop takes so many at once.
static int64_t chunk_rows(size_t scratch_bytes, int64_t D)
{
    const size_t floats = scratch_bytes / sizeof(float);
    return floats <= block_floats(D) ? 0 : (int64_t)((floats - block_floats(D)) / query_floats(D)) / GROUPED * GROUPED;
}

static head head_of(const vj_args_attention_backward *a, int64_t s, int64_t h, float *scratch, int64_t chunk)
{
    const int64_t D = a->D, Dw = up(D, W), C = a->H * D, first = a->seg[s];
    const float *q = (const float *)a->qkv + first * 3 * C + h * D;
    float *dq = (float *)a->dqkv + first * 3 * C + h * D;
    head x = { .q = q, .k = q + C, .v = q + 2 * C, .dq = dq, .dk = dq + C, .dv = dq + 2 * C, .D = D, .Dw = Dw, .H = a->H, .C = C };
    x.n = a->seg[s + 1] - first;
    x.from = a->from ? a->from[s] : 0;
    x.g = (const float *)a->do_ + first * C + h * D;
    x.o = (const float *)a->o + first * C + h * D;
    x.lse = (const float *)a->lse + first * a->H + h;
    const struct { float **at; int64_t floats; } parts[] = {
        { &x.K, KEYS * D }, { &x.V, KEYS * D }, { &x.dK, KEYS * Dw }, { &x.dV, KEYS * Dw }, { &x.P, KEYS * GROUPED },
        { &x.dS, KEYS * GROUPED }, { &x.Qt, chunk * D }, { &x.Gt, chunk * D }, { &x.dQt, chunk * D }, { &x.Q, chunk * Dw },
        { &x.G, chunk * Dw }, { &x.row_lse, chunk }, { &x.delta, chunk },
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        *parts[i].at = scratch;
        scratch += parts[i].floats;
    }
    return x;
}

// Rows [i0, i0 + rows) of q (scaled) and do in both layouts, their lse and delta = do . o.
static void load_queries(const head *x, int64_t i0, int64_t rows, float scale)
{
    const int64_t whole = up(rows, GROUPED), D = x->D, Dw = x->Dw;
    const float *q = x->q + i0 * 3 * x->C, *g = x->g + i0 * x->C, *o = x->o + i0 * x->C;
    copy_rows_of(x->Q, q, 3 * x->C, rows, D, Dw, scale, 0);
    copy_rows_of(x->G, g, x->C, rows, D, Dw, 1.0f, 0);
    memset(x->Q + rows * Dw, 0, (size_t)((whole - rows) * Dw) * sizeof(float));
    memset(x->G + rows * Dw, 0, (size_t)((whole - rows) * Dw) * sizeof(float));
    for (int64_t i = 0; i < whole; i += PANEL) {
        pack_transposed_panel(x->Qt + i * D, PANEL, x->Q + i * Dw, Dw, D, PANEL, 1.0f);
        pack_transposed_panel(x->Gt + i * D, PANEL, x->G + i * Dw, Dw, D, PANEL, 1.0f);
    }
    for (int64_t i = 0; i < whole; i++) {
        const bool asks = i < rows && i0 + i >= x->from;
        x->row_lse[i] = asks ? x->lse[(i0 + i) * x->H] : 1e30f;   // probability 0
        x->delta[i] = 0;
        if (!asks) continue;
        vf sum = { 0 };
        int64_t d = 0;
        for (; d + W <= D; d += W) sum += load(o + i * x->C + d) * load(x->G + i * Dw + d);
        if (d < D) sum += load_part(o + i * x->C + d, D - d) * load(x->G + i * Dw + d);
        x->delta[i] = lanes_sum(sum);
    }
}

// P' and dS' of one panel, six keys at a time: dP' goes from registers straight into dS'.
VJ_INLINE void slopes(const head *x, int64_t keys, int64_t panel, float *P, float *dS, int vectors)
{
    const int64_t D = x->D, at = panel * PANEL;
    const float *Q = x->Qt + at * D, *G = x->Gt + at * D;
    // Not kept in registers: where there are sixteen, the tile needs them all.
    const float *lse = x->row_lse + at, *delta = x->delta + at;
    for (int64_t i = 0; i < keys; i += SIX) {
        const float *a[SIX];
        vf c[SIX][BROAD];
        float *p = P + i * PANEL, *s = dS + i * PANEL;
        rows_from(a, x->K + i * D, D, keys - i);
        tile_clear(c);
        tile_sums(c, SIX, vectors, a, 1, Q, PANEL, D, NULL);
#pragma GCC unroll 6
        for (int r = 0; r < SIX; r++) {
#pragma GCC unroll 4
            for (int j = 0; j < BROAD; j++)
                if (j < vectors) store(p + r * PANEL + j * W, c[r][j] - load(lse + j * W));
        }
        rows_from(a, x->V + i * D, D, keys - i);
        tile_clear(c);
        tile_sums(c, SIX, vectors, a, 1, G, PANEL, D, NULL);
#pragma GCC unroll 6
        for (int r = 0; r < SIX; r++) {
#pragma GCC unroll 4
            for (int j = 0; j < BROAD; j++)
                if (j < vectors) store(s + r * PANEL + j * W, c[r][j] - load(delta + j * W));
        }
        for (int64_t r = 0; r < SIX; r++) {
#pragma GCC unroll 4
            for (int j = 0; j < BROAD; j++) {
                if (j >= vectors) continue;
                const int64_t e = r * PANEL + j * W;
                const vf exponential = vexp(load(p + e));
                store(p + e, exponential);
                store(s + e, load(s + e) * exponential);
            }
        }
    }
}

// One panel against a block of keys: P', dS' and, if asked for, what it adds to dq.
VJ_INLINE void see_block(const head *x, int64_t keys, int64_t panel, float *P, float *dS, bool want_q, int vectors)
{
    vf one[BROAD];
    for (int j = 0; j < BROAD; j++) one[j] = splat(1.0f);
    slopes(x, keys, panel, P, dS, vectors);
    if (want_q) add_columns(x->dQt + panel * PANEL * x->D, x->K, x->D, dS, keys, vectors, one);
}

#define VJ_SEE(n)                                                                                                      \
    static void see_panel_##n(const head *x, int64_t keys, int64_t panel, float *P, float *dS, bool want_q)            \
    {                                                                                                                  \
        see_block(x, keys, panel, P, dS, want_q, n);                                                                   \
    }
VJ_SEE(1)
VJ_SEE(2)
#if VJ_BROAD > 2
VJ_SEE(3)
VJ_SEE(4)
#endif

static void see_panel(const head *x, int64_t keys, int64_t panel, float *P, float *dS, bool want_q, int64_t lanes)
{
#define VJ_CALL(n) see_panel_##n(x, keys, panel, P, dS, want_q)
    VJ_BY_VECTORS(lanes, VJ_CALL);
#undef VJ_CALL
}

// C (6 rows of which `there` exist, `vectors` vectors at column d; row stride Dw) += A (rows, lanes) B (lanes, Dw), A in panels
// (KEYS, PANEL).
VJ_INLINE void add_tile(float *C, int64_t Dw, const float *A, const float *B, int64_t there, int64_t lanes, int vectors)
{
    vf c[SIX][BROAD];
    tile_clear(c);
    for (int64_t p = 0; p * PANEL < lanes; p++) {
        const float *a[SIX];
        rows_from(a, A + p * KEYS * PANEL, PANEL, there);
        tile_sums(c, SIX, vectors, a, 1, B + p * PANEL * Dw, Dw, least(lanes - p * PANEL, PANEL), NULL);
    }
#pragma GCC unroll 6
    for (int r = 0; r < SIX; r++) {
        if (r >= there) break;
#pragma GCC unroll 4
        for (int j = 0; j < BROAD; j++)
            if (j < vectors) store(C + r * Dw + j * W, load(C + r * Dw + j * W) + c[r][j]);
    }
}

// C (keys, Dw) += A (keys, lanes) B (lanes, Dw), up to GROUPED lanes
static void add_rows(float *C, const float *A, const float *B, int64_t keys, int64_t lanes, int64_t Dw)
{
    int64_t vectors = Dw / W, tiles = (vectors + BROAD - 1) / BROAD;
    for (int64_t d = 0; d < Dw; tiles--) {
        const int64_t here = (vectors + tiles - 1) / tiles;   // even widths
        for (int64_t i = 0; i < keys; i += SIX) {
            float *c = C + i * Dw + d;
            const float *a = A + i * PANEL, *b = B + d;
            if (here == 1) add_tile(c, Dw, a, b, keys - i, lanes, 1);
            else if (here == 2) add_tile(c, Dw, a, b, keys - i, lanes, 2);
            else if (here == 3) add_tile(c, Dw, a, b, keys - i, lanes, 3);
            else add_tile(c, Dw, a, b, keys - i, lanes, 4);
        }
        vectors -= here;
        d += here * W;
    }
}

// out (n rows of stride `stride`, D) = or += in (n, Dw)
static void put_rows(float *out, int64_t stride, const float *in, int64_t n, int64_t D, int64_t Dw, bool add)
{
    for (int64_t i = 0; i < n; i++, out += stride, in += Dw) {
        int64_t d = 0;
        for (; d + W <= D; d += W) store(out + d, add ? load(out + d) + load(in + d) : load(in + d));
        for (; d < D; d++) out[d] = add ? out[d] + in[d] : in[d];
    }
}

// Keys [j_begin, j_end) against queries [i0, i0 + rows), which the scratch holds. `more`: dk and dv were begun.
static void backward_chunk(const head *x, int64_t j_begin, int64_t j_end, int64_t i0, int64_t rows, bool want_q, bool want_kv, bool more)
{
    const int64_t stride = 3 * x->C, D = x->D, Dw = x->Dw, groups = up(rows, GROUPED) / GROUPED;
    const float scale = 1.0f / sqrtf((float)D);
    vf scales[BROAD];
    for (int j = 0; j < BROAD; j++) scales[j] = splat(scale);
    load_queries(x, i0, rows, scale);
    memset(x->dQt, 0, (size_t)(groups * GROUPED * D) * sizeof(float));
    for (int64_t j0 = j_begin; j0 < j_end; j0 += KEYS) {
        const int64_t keys = least(j_end - j0, KEYS);
        copy_rows_of(x->K, x->k + j0 * stride, stride, keys, D, D, 1.0f, KEYS);
        copy_rows_of(x->V, x->v + j0 * stride, stride, keys, D, D, 1.0f, KEYS);
        memset(x->dK, 0, (size_t)(2 * KEYS * Dw) * sizeof(float));   // dV follows
        for (int64_t g = 0; g < groups; g++) {
            const int64_t lanes = least(rows - g * GROUPED, GROUPED);
            for (int64_t p = 0; p * PANEL < lanes; p++) {
                see_panel(x, keys, g * GROUP + p, x->P + p * KEYS * PANEL, x->dS + p * KEYS * PANEL, want_q, lanes - p * PANEL);
            }
            if (!want_kv) continue;
            add_rows(x->dV, x->P, x->G + g * GROUPED * Dw, keys, lanes, Dw);
            add_rows(x->dK, x->dS, x->Q + g * GROUPED * Dw, keys, lanes, Dw);
        }
        if (!want_kv) continue;
        put_rows(x->dk + j0 * stride, stride, x->dK, keys, D, Dw, more);
        put_rows(x->dv + j0 * stride, stride, x->dV, keys, D, Dw, more);
    }
    if (!want_q) return;
    for (int64_t i = 0; i < rows; i += PANEL)
        put_transposed(x->dq + (i0 + i) * stride, stride, x->dQt + i * D, least(rows - i, PANEL), D, scales, false);
}

static void backward_task(void *context, int64_t task, int worker)
{
    const backward_job *job = context;
    const vj_args_attention_backward *a = job->a;
    const int64_t s = task / (a->H * job->per_segment), h = task / job->per_segment % a->H;
    const int64_t chunk = least(up(a->longest, GROUPED), chunk_rows(job->scratch_bytes, a->D));
    const head x = head_of(a, s, h, (float *)job->scratch[worker], chunk);
    const int64_t begin = task % job->per_segment * RANGE, end = least(begin + RANGE, x.n);
    const bool whole = job->want_q && job->want_kv, keys_split = !whole && job->want_kv, queries_split = !whole && job->want_q;
    if (!whole && begin >= end) return;
    const int64_t i_begin = queries_split ? begin : 0, i_end = queries_split ? end : x.n;
    // The first group with a query (the last group, where there is none), counted from i_begin as if all were queries.
    int64_t first = x.from > i_begin ? i_begin + (least(x.from, i_end - 1) - i_begin) / GROUPED * GROUPED : i_begin;
    for (int64_t i = i_begin; i < first && job->want_q; i++) memset(x.dq + i * 3 * x.C, 0, (size_t)x.D * sizeof *x.dq);
    const int64_t begun = first;
    for (int64_t next; first < i_end; first = next) {
        next = i_begin + ((first - i_begin) / chunk + 1) * chunk;
        backward_chunk(&x, keys_split ? begin : 0, keys_split ? end : x.n, first, least(i_end, next) - first, job->want_q, job->want_kv,
                       first > begun);
    }
}

void VJ_NAME(attention_backward)(const vj_exec *exec, const void *args)
{
    const vj_args_attention_backward *a = args;
    const int64_t heads = a->S * a->H;
    backward_job job = { a, exec->scratch, exec->scratch_bytes, 1, true, true };
    VJ_ASSERT(chunk_rows(exec->scratch_bytes, a->D) > 0);
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
