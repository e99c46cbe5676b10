// Our own product, one tile at a time. B is packed by panels of BROAD vectors (or one less, where that leaves fewer columns
// empty), once per product: by pack_panels before the tiles begin, or by the only tile that reads it. A tile walks pieces of k; in each, the panels, and for every panel the
// rows of A by sixes: A stays in the second cache, a panel comes from it or from the third. Rows of A are read where they
// are, or copied when they lie far apart; a transposed A is packed by sixes. What follows the product (bias, GELU,
// residual) is done on each register tile.

#include "runtime/cpu/kernels/isa.h"
#include "runtime/cpu/kernels/product.h"

enum {
    DEPTH = VJ_VECTOR == 16 ? 512 : 256,   // steps of k of one piece: six rows of A, so deep, fit into the first cache
    APART = 512,  // floats from row to row of A from which on it is copied
    AHEAD = 8,    // rows fetched ahead while packing: their strides are beyond what a CPU guesses
    PAD = 16      // floats between packed pieces: strides must not be multiples of a page, or all meet in the same cache
                  // sets
};

typedef struct tile_area {
    int64_t m0, m, n0, n;
} tile_area;
typedef struct piece {
    int64_t k0, K;      // steps of k
    int64_t row, six;   // floats from one row of A to the next (1: A is packed by sixes), from one six to the next
    bool onto, last;    // add to C; do what follows the product
} piece;

// The width of panels that leaves the fewest columns empty; the wider one when they are equal.
int64_t VJ_NAME(panel_width)(int64_t N)
{
#if VJ_BROAD > 2
    enum { NARROW = PANEL - W };
    if ((N + NARROW - 1) / NARROW * NARROW < (N + PANEL - 1) / PANEL * PANEL) return NARROW;
#endif
    (void)N;
    return PANEL;
}

int64_t VJ_NAME(panel_floats)(int64_t K, int64_t width) { return K * width + PAD; }

// Steps [k0, k0 + K) of columns [n0, n0 + n) of B go into panels that hold all steps; columns beyond n become 0. Rows of B
// are read along, so that neighbouring panels share the pages and lines that are touched.
void VJ_NAME(pack_panels)(const cpu_product *p, float *panels, int64_t k0, int64_t K, int64_t n0, int64_t n)
{
    const int64_t width = p->panel, floats = VJ_NAME(panel_floats)(p->K, width);
    const float *B = p->B + k0 * p->b_k + n0 * p->b_col;
    panels += k0 * width;
    if (p->b_col != 1) {
        for (int64_t j = 0; j < n; j += width, panels += floats)
            pack_transposed_panel(panels, width, B + j * p->b_col, p->b_col, K, n - j < width ? n - j : width, 1.0f);
        return;
    }
    for (int64_t k = 0; k < K; k++, panels += width, B += p->b_k) {
        float *out = panels;
        int64_t j = 0;
        if (k + AHEAD < K) {
            for (int64_t c = 0; c < n; c += 16) __builtin_prefetch(B + AHEAD * p->b_k + c);
        }
        for (; j + width <= n; j += width, out += floats) {
            for (int64_t c = 0; c < width; c += W) store(out + c, load(B + j + c));
        }
        for (int64_t c = 0; c < width && j < n; c++) out[c] = j + c < n ? B[j + c] : 0;
    }
}

// Floats from one six of packed A to the next.
static inline int64_t six_stride(int64_t K) { return K * SIX + PAD; }

// out: (K, 6) for each six rows of A, whose rows are neighbours in memory (a_row = 1); missing rows are 0. Eight sixes
// at a time: three lines of each step of k are read, and few pages are written to. `sums` (rows), unless NULL, += the sum
// of each row of A over k, first to last: it costs nothing beside the copy.
static void pack_sixes(float *out, const float *A, int64_t a_k, int64_t rows, int64_t K, float *sums)
{
    const int64_t stride = six_stride(K);
    enum { EIGHT = 8 * SIX };
    for (int64_t i0 = 0; i0 < rows; i0 += EIGHT, A += EIGHT, out += 8 * stride) {
        const int64_t here = rows - i0 < EIGHT ? rows - i0 : EIGHT;
        vf s[EIGHT / W];
        for (int i = 0; i < EIGHT / W; i++) s[i] = (vf){ 0 };
        for (int64_t k = 0; k < K; k++) {
            const float *in = A + k * a_k;
            float *o = out + k * SIX;
            if (k + AHEAD < K) {
                for (int64_t i = 0; i < here; i += 16) __builtin_prefetch(in + AHEAD * a_k + i);
            }
            int64_t i = 0;
            // Eight are copied where there are eight: the next step of k, or the padding, takes the last two back.
            for (; i + 8 <= here; i += SIX, o += stride) memcpy(o, in + i, 8 * sizeof *o);
            for (; i + SIX <= here; i += SIX, o += stride) memcpy(o, in + i, SIX * sizeof *o);
            for (int64_t r = 0; r < SIX && i < here; r++) o[r] = i + r < here ? in[i + r] : 0;
            if (!sums) continue;
            if (here == EIGHT) {
#pragma GCC unroll 12
                for (int v = 0; v < EIGHT / W; v++) s[v] += load(in + v * W);
            } else {
                for (int64_t r = 0; r < here; r++) s[r / W][r % W] += in[r];
            }
        }
        for (int64_t r = 0; sums && r < here; r++) sums[i0 + r] += s[r / W][r % W];
    }
}

// One vector of a finished sum at row i, column j: what follows the product.
static inline vf finished(const cpu_product *p, vf v, int64_t i, int64_t j, int64_t lanes)
{
    const bool whole = lanes >= W;
    float *aux = p->aux ? p->aux + i * p->c_row + j : NULL;
    vf cdf, density;
    if (p->bias) v += whole ? load(p->bias + j) : load_part(p->bias + j, lanes);
    if (p->finish == CPU_FINISH_GELU) {
        if (aux && whole)
            store(aux, v);
        else if (aux)
            store_part(aux, v, lanes);
        normal(v, &cdf, &density);
        v *= cdf;
    } else if (p->finish == CPU_FINISH_ADD) {
        v += whole ? load(aux) : load_part(aux, lanes);
    } else if (p->finish == CPU_FINISH_GELU_SLOPE) {
        const vf x = whole ? load(aux) : load_part(aux, lanes);
        normal(x, &cdf, &density);
        v *= cdf + x * density;
    }
    return v;
}

// Rows of A whose stride is large fall into few cache sets: they are copied side by side.
static void copy_rows(float *out, const float *A, int64_t a_row, int64_t rows, int64_t K)
{
    for (int64_t i = 0; i < rows; i++) memcpy(out + i * (K + PAD), A + i * a_row, (size_t)K * sizeof *out);
}

// A register tile goes to rows i.., columns j..: over what is there, or onto it.
static void put_tile(const cpu_product *p, vf c[SIX][BROAD], int64_t i, int64_t j, int64_t rows, int64_t width, bool onto,
                     bool last)
{
    float *out = p->C + i * p->c_row + j;
    for (int64_t r = 0; r < rows; r++, out += p->c_row) {
        for (int64_t at = 0; at < width; at += W) {
            const int64_t lanes = width - at < W ? width - at : W;
            const bool whole = lanes == W;
            vf v = c[r][at / W];
            if (onto) v += whole ? load(out + at) : load_part(out + at, lanes);
            if (last) v = finished(p, v, i + r, j + at, lanes);
            if (whole)
                store(out + at, v);
            else
                store_part(out + at, v, lanes);
        }
    }
}

// The same for a whole register tile behind which there is at most a bias and a residual.
VJ_INLINE void put_whole(const cpu_product *p, vf c[SIX][BROAD], int vectors, int64_t i, int64_t j, bool onto, bool bias, bool add)
{
    float *out = p->C + i * p->c_row + j;
    const float *aux = add ? p->aux + i * p->c_row + j : NULL;
    vf b[BROAD];
#pragma GCC unroll 4
    for (int v = 0; v < BROAD; v++) b[v] = bias && v < vectors ? load(p->bias + j + v * W) : (vf){ 0 };
#pragma GCC unroll 6
    for (int r = 0; r < SIX; r++, out += p->c_row) {
#pragma GCC unroll 4
        for (int v = 0; v < BROAD; v++) {
            if (v >= vectors) continue;
            vf s = c[r][v];
            if (onto) s += load(out + v * W);
            if (bias) s += b[v];
            if (add) s += load(aux + r * p->c_row + v * W);
            store(out + v * W, s);
        }
    }
}

// The same with GELU behind it (`aux`, unless NULL, gets what went in), or with its slope at what `aux` holds.
VJ_INLINE void put_whole_gelu(const cpu_product *p, vf c[SIX][BROAD], int vectors, int64_t i, int64_t j, bool onto, bool slope)
{
    float *out = p->C + i * p->c_row + j, *aux = p->aux ? p->aux + i * p->c_row + j : NULL;
#pragma GCC unroll 6
    for (int r = 0; r < SIX; r++, out += p->c_row) {
#pragma GCC unroll 4
        for (int v = 0; v < BROAD; v++) {
            if (v >= vectors) continue;
            vf s = c[r][v], cdf, density;
            if (onto) s += load(out + v * W);
            if (p->bias) s += load(p->bias + j + v * W);
            const vf x = slope ? load(aux + r * p->c_row + v * W) : s;
            if (!slope && aux) store(aux + r * p->c_row + v * W, s);
            normal(x, &cdf, &density);
            store(out + v * W, slope ? s * (cdf + x * density) : s * cdf);
        }
    }
}

VJ_INLINE void register_tile(const cpu_product *p, const float *const a[SIX], int64_t a_k, int vectors, const float *B, const piece *q,
                             int64_t i, int64_t j, int64_t rows, int64_t width, const float *next)
{
    vf c[SIX][BROAD];
    tile_clear(c);
    tile_sums(c, SIX, vectors, a, a_k, B, vectors * W, q->K, next);
    const bool whole = rows == SIX && width == vectors * W;
    if (whole && !q->last) put_whole(p, c, vectors, i, j, q->onto, false, false);
    else if (whole && p->bias && p->finish == CPU_FINISH_NONE) put_whole(p, c, vectors, i, j, q->onto, true, false);
    else if (whole && p->bias && p->finish == CPU_FINISH_ADD) put_whole(p, c, vectors, i, j, q->onto, true, true);
    else if (whole && p->finish == CPU_FINISH_GELU) put_whole_gelu(p, c, vectors, i, j, q->onto, false);
    else if (whole && p->finish == CPU_FINISH_GELU_SLOPE) put_whole_gelu(p, c, vectors, i, j, q->onto, true);
    else put_tile(p, c, i, j, rows, width, q->onto, q->last);
}

// One piece of k, all of whose A lies at `A` with the given strides, and B in panels.
VJ_INLINE void product_piece(const cpu_product *p, const tile_area *t, const float *A, int64_t a_k, int vectors, const piece *q,
                             const float *panels)
{
    const int64_t floats = VJ_NAME(panel_floats)(p->K, vectors * W);
    for (int64_t j = 0; j < t->n; j += vectors * W, panels += floats) {
        const int64_t width = t->n - j < vectors * W ? t->n - j : vectors * W;
        // The next panel is fetched while this one is used, a share with each six (behind the last panel: what comes then).
        const int64_t share = q->K / 8 * 16;
        const float *next = panels + floats, *end = next + q->K * vectors * W;
        for (int64_t i = 0; i < t->m; i += SIX, next = next + share < end ? next + share : panels) {
            const int64_t rows = t->m - i < SIX ? t->m - i : SIX;
            const float *a[SIX], *first = A + i / SIX * q->six;
            // Rows that do not exist are row 0 once more; put_tile leaves them out.
            for (int64_t r = 0; r < SIX; r++) a[r] = first + (r < rows ? r : 0) * q->row;
            for (int64_t r = 0; r < rows; r++) {
                const float *c = p->C + (t->m0 + i + r) * p->c_row + t->n0 + j;
                for (int v = 0; v < vectors; v++) __builtin_prefetch(c + v * W, 1);
            }
            register_tile(p, a, a_k, vectors, panels, q, t->m0 + i, t->n0 + j, rows, width, next);
        }
    }
}

#define VJ_PIECE(name, a_k, vectors)                                                                                   \
    static void name(const cpu_product *p, const tile_area *t, const float *A, const piece *q, const float *panels)    \
    {                                                                                                                  \
        product_piece(p, t, A, a_k, vectors, q, panels);                                                               \
    }
VJ_PIECE(piece_of_rows, 1, BROAD)
VJ_PIECE(piece_of_sixes, SIX, BROAD)
#if VJ_BROAD > 2
VJ_PIECE(narrow_piece_of_rows, 1, BROAD - 1)
VJ_PIECE(narrow_piece_of_sixes, SIX, BROAD - 1)
#else
#define narrow_piece_of_rows piece_of_rows
#define narrow_piece_of_sixes piece_of_sixes
#endif

void VJ_NAME(product_tile)(const cpu_product *p, int64_t m0, int64_t m, int64_t n0, int64_t n, const float *panels,
                           float *scratch)
{
    const int64_t pieces = p->K <= DEPTH + DEPTH / 2 ? 1 : (p->K + DEPTH - 1) / DEPTH;
    const int64_t depth = (p->K + pieces - 1) / pieces;   // even pieces of k
    const bool plain = !p->bias && p->finish == CPU_FINISH_NONE;
    const tile_area area = { m0, m, n0, n };
    const bool narrow = p->panel < PANEL;
    if (!panels) {
        VJ_NAME(pack_panels)(p, scratch, 0, p->K, n0, n);
        panels = scratch;
        scratch += (n + p->panel - 1) / p->panel * VJ_NAME(panel_floats)(p->K, p->panel);
    }
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t k0 = i * depth, K = p->K - k0 < depth ? p->K - k0 : depth;
        const float *A = p->A + m0 * p->a_row + k0 * p->a_k;
        piece q = { .k0 = k0,
                    .K = K,
                    .row = p->a_row,
                    .six = SIX * p->a_row,
                    .onto = p->accumulate || i > 0,
                    .last = !plain && i == pieces - 1 };
        if (p->a_k != 1 || p->row_sums) {
            pack_sixes(scratch, A, p->a_k, m, K, n0 == 0 && p->row_sums ? p->row_sums + m0 : NULL);
            A = scratch;
            q.row = 1;
            q.six = six_stride(K);
        } else if (p->a_row >= APART && n >= 4 * PANEL) {
            copy_rows(scratch, A, p->a_row, m, K);
            A = scratch;
            q.row = K + PAD;
            q.six = SIX * q.row;
        }
        const float *B = panels + k0 * p->panel;
        if (q.row == 1) (narrow ? narrow_piece_of_sixes : piece_of_sixes)(p, &area, A, &q, B);
        else (narrow ? narrow_piece_of_rows : piece_of_rows)(p, &area, A, &q, B);
    }
}

// For tiles that a library's product made.
void VJ_NAME(finish_tile)(const cpu_product *p, int64_t m0, int64_t m, int64_t n0, int64_t n)
{
    for (int64_t i = m0; i < m0 + m; i++) {
        for (int64_t j = n0; j < n0 + n; j += W) {
            float *c = p->C + i * p->c_row + j;
            const int64_t lanes = n0 + n - j;
            if (lanes >= W)
                store(c, finished(p, load(c), i, j, lanes));
            else
                store_part(c, finished(p, load_part(c, lanes), i, j, lanes), lanes);
        }
    }
}
