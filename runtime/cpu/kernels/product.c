// Our own product for shapes that are small for a library: B is packed by panels of two vectors, six rows of A at a time.

#include "runtime/cpu/kernels/isa.h"
#include "runtime/cpu/kernels/product.h"

void VJ_NAME(product_tile)(const cpu_product *p, int64_t m0, int64_t m, int64_t n0, int64_t n, float *scratch)
{
    for (int64_t j = 0; j < n; j += PANEL) {
        const int64_t width = n - j < PANEL ? n - j : PANEL;
        pack_panel(scratch, p->B + (n0 + j) * p->b_col, p->K, p->b_k, p->b_col, width);
        for (int64_t i = 0; i < m; i += 6) {
            float *c = p->C + (m0 + i) * p->N + n0 + j;
            micro_kernel(c, p->N, p->A + (m0 + i) * p->a_row, p->a_row, p->a_k, scratch, PANEL, p->K, m - i < 6 ? m - i : 6, width,
                         p->accumulate);
        }
    }
}

void VJ_NAME(finish_tile)(const cpu_product *p, int64_t m0, int64_t m, int64_t n0, int64_t n)
{
    for (int64_t i = m0; i < m0 + m; i++) {
        for (int64_t j = n0; j < n0 + n; j += W) {
            const int64_t part = n0 + n - j;   // lanes that exist
            float *c = p->C + i * p->N + j, *aux = p->aux ? p->aux + i * p->N + j : NULL;
            const bool whole = part >= W;
            vf v = whole ? load(c) : load_part(c, part), cdf, density;
            if (p->bias) v += whole ? load(p->bias + j) : load_part(p->bias + j, part);
            if (p->finish == CPU_FINISH_GELU) {
                if (aux && whole) store(aux, v);
                else if (aux) store_part(aux, v, part);
                normal(v, &cdf, &density);
                v *= cdf;
            } else if (p->finish == CPU_FINISH_ADD) {
                v += whole ? load(aux) : load_part(aux, part);
            } else if (p->finish == CPU_FINISH_GELU_SLOPE) {
                const vf x = whole ? load(aux) : load_part(aux, part);
                normal(x, &cdf, &density);
                v *= cdf + x * density;
            }
            if (whole) store(c, v);
            else store_part(c, v, part);
        }
    }
}

void VJ_NAME(column_sums)(float *out, const float *x, int64_t R, int64_t stride, int64_t n)
{
    int64_t j = 0;
    for (; j + 4 * W <= n; j += 4 * W) {
        vf s0 = load(out + j), s1 = load(out + j + W), s2 = load(out + j + 2 * W), s3 = load(out + j + 3 * W);
        for (int64_t r = 0; r < R; r++) {
            const float *row = x + r * stride + j;
            s0 += load(row);
            s1 += load(row + W);
            s2 += load(row + 2 * W);
            s3 += load(row + 3 * W);
        }
        store(out + j, s0);
        store(out + j + W, s1);
        store(out + j + 2 * W, s2);
        store(out + j + 3 * W, s3);
    }
    for (; j < n; j++) {
        float s = out[j];
        for (int64_t r = 0; r < R; r++) s += x[r * stride + j];
        out[j] = s;
    }
}
