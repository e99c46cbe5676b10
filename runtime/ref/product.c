#include "runtime/ref/product.h"

#include <string.h>

enum { STRIP = 4, PANEL = 8 };   // the register tile: 4 rows of A times 8 columns of B
typedef double v4 __attribute__((vector_size(32), aligned(8)));

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// out: groups of `width` lines, each (depth, width), from `lines` lines that lie `line` apart; missing lines are 0.
static void pack(double *out, const double *in, int64_t lines, int64_t depth, int64_t line, int64_t k_step,
                 int64_t width)
{
    for (int64_t first = 0; first < lines; first += width, out += depth * width) {
        const int64_t there = least(lines - first, width);
        if (there < width) memset(out, 0, (size_t)(depth * width) * sizeof *out);
        const double *from = in + first * line;
        if (line == 1) {
            for (int64_t k = 0; k < depth; k++) memcpy(out + k * width, from + k * k_step, (size_t)there * sizeof *out);
        } else {
            for (int64_t i = 0; i < there; i++) {
                for (int64_t k = 0; k < depth; k++) out[k * width + i] = from[i * line + k * k_step];
            }
        }
    }
}

// sums (4, 8) += strip (depth, 4)' panel (depth, 8)
static inline __attribute__((always_inline)) void add_products(double *sums, const double *strip, const double *panel,
                                                               int64_t depth)
{
    v4 s[STRIP][2];
    memcpy(s, sums, sizeof s);
    for (int64_t k = 0; k < depth; k++, strip += STRIP, panel += PANEL) {
        const v4 b0 = *(const v4 *)panel, b1 = *(const v4 *)(panel + 4);
        s[0][0] += strip[0] * b0;
        s[0][1] += strip[0] * b1;
        s[1][0] += strip[1] * b0;
        s[1][1] += strip[1] * b1;
        s[2][0] += strip[2] * b0;
        s[2][1] += strip[2] * b1;
        s[3][0] += strip[3] * b0;
        s[3][1] += strip[3] * b1;
    }
    memcpy(sums, s, sizeof s);
}

// The same multiplications and additions twice: nothing is fused (-ffp-contract=off), so wider registers change no bit.
typedef void (*add_fn)(double *sums, const double *strip, const double *panel, int64_t depth);
static void add_plain(double *sums, const double *strip, const double *panel, int64_t depth)
{
    add_products(sums, strip, panel, depth);
}
#if defined(__x86_64__)
__attribute__((target("avx2")))
static void add_wide(double *sums, const double *strip, const double *panel, int64_t depth)
{
    add_products(sums, strip, panel, depth);
}
static add_fn fastest(void) { return __builtin_cpu_supports("avx2") ? add_wide : add_plain; }
#else
static add_fn fastest(void) { return add_plain; }
#endif

void ref_product_tile(const ref_product *p, int64_t m0, int64_t n0, double *scratch)
{
    const int64_t rows = least(p->M - m0, REF_ROWS), columns = least(p->N - n0, REF_COLUMNS);
    const int64_t strips = (rows + STRIP - 1) / STRIP, panels = (columns + PANEL - 1) / PANEL;
    double *sums = scratch, *A = sums + REF_ROWS * REF_COLUMNS, *B = A + REF_ROWS * REF_DEPTH;
    const add_fn add = fastest();
    memset(sums, 0, (size_t)(strips * panels * STRIP * PANEL) * sizeof *sums);   // (strips, panels, 4, 8)
    for (int64_t k0 = 0; k0 < p->K; k0 += REF_DEPTH) {
        const int64_t depth = least(p->K - k0, REF_DEPTH);
        pack(A, p->A.p + m0 * p->A.down + k0 * p->A.across, rows, depth, p->A.down, p->A.across, STRIP);
        pack(B, p->B.p + n0 * p->B.across + k0 * p->B.down, columns, depth, p->B.across, p->B.down, PANEL);
        for (int64_t j = 0; j < panels; j++) {
            for (int64_t i = 0; i < strips; i++) {
                add(sums + (i * panels + j) * STRIP * PANEL, A + i * depth * STRIP, B + j * depth * PANEL, depth);
            }
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        double *c = p->C + (m0 + i) * p->c_row + n0;
        for (int64_t j = 0; j < columns; j++) {
            const double sum = sums[((i / STRIP * panels + j / PANEL) * STRIP + i % STRIP) * PANEL + j % PANEL];
            c[j] = p->accumulate ? c[j] + sum : sum;
        }
    }
}

void ref_product_run(const ref_product *p, double *scratch)
{
    for (int64_t m = 0; m < p->M; m += REF_ROWS) {
        for (int64_t n = 0; n < p->N; n += REF_COLUMNS) ref_product_tile(p, m, n, scratch);
    }
}
