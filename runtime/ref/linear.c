// Linear layers in float64. One product for all three directions:
//     C (M, N) = [C +] A (M, K) B (K, N),   A and B with free strides, C row-major
// A task makes eight columns; K is summed from first to last, so bits do not depend on threads.

#include <math.h>
#include <string.h>

#include "runtime/ref/ref.h"

typedef double v4 __attribute__((vector_size(32), aligned(8)));

typedef struct product {
    double *C;
    const double *A, *B;
    int64_t M, N, K, a_row, a_k, b_k, b_col;
    bool accumulate;
    char **scratch;
} product;

enum { COLUMNS = 8, ROWS = 4 };

static void columns(void *context, int64_t task, int worker)
{
    const product *p = context;
    const int64_t n0 = task * COLUMNS, width = p->N - n0 < COLUMNS ? p->N - n0 : COLUMNS;
    double *panel = (double *)p->scratch[worker];   // (K, 8), zero-padded
    for (int64_t k = 0; k < p->K; k++) {
        for (int64_t j = 0; j < COLUMNS; j++) panel[k * COLUMNS + j] = j < width ? p->B[k * p->b_k + (n0 + j) * p->b_col] : 0;
    }
    for (int64_t m0 = 0; m0 < p->M; m0 += ROWS) {
        const int64_t height = p->M - m0 < ROWS ? p->M - m0 : ROWS;
        v4 acc[ROWS][2];
        memset(acc, 0, sizeof acc);
        for (int64_t k = 0; k < p->K; k++) {
            const v4 b0 = *(const v4 *)(panel + k * COLUMNS), b1 = *(const v4 *)(panel + k * COLUMNS + 4);
            for (int64_t i = 0; i < ROWS; i++) {
                const double a = p->A[(m0 + (i < height ? i : 0)) * p->a_row + k * p->a_k];
                acc[i][0] += a * b0;
                acc[i][1] += a * b1;
            }
        }
        for (int64_t i = 0; i < height; i++) {
            double *c = p->C + (m0 + i) * p->N + n0;
            for (int64_t j = 0; j < width; j++) c[j] = (p->accumulate ? c[j] : 0) + acc[i][j / 4][j % 4];
        }
    }
}

static void run(const vj_exec *exec, product p)
{
    VJ_ASSERT((size_t)(p.K * COLUMNS) * sizeof(double) <= exec->scratch_bytes);
    p.scratch = exec->scratch;
    vj_pool_run(exec->pool, (p.N + COLUMNS - 1) / COLUMNS, columns, &p);
}

static double gelu(double x) { return 0.5 * x * (1 + erf(x * M_SQRT1_2)); }
static double gelu_slope(double x) { return 0.5 * (1 + erf(x * M_SQRT1_2)) + x * exp(-0.5 * x * x) * 0.39894228040143267794; }

void ref_linear_forward(const vj_exec *exec, const void *args)
{
    const vj_args_linear_forward *a = args;
    double *y = a->y, *aux = a->aux;
    const double *bias = a->bias;
    // With the residual in y itself the product is added onto it; otherwise it is made first and finished below.
    const bool onto = a->epilogue == VJ_EPI_ADD && aux == y;
    run(exec, (product){ .C = y, .A = a->x, .B = a->w, .M = a->R, .N = a->O, .K = a->I, .a_row = a->I, .a_k = 1, .b_k = 1, .b_col = a->I,
                         .accumulate = onto });
    for (int64_t r = 0; r < a->R; r++) {
        for (int64_t o = 0; o < a->O; o++) {
            double v = y[r * a->O + o] + (bias ? bias[o] : 0);
            if (a->epilogue == VJ_EPI_ADD && !onto) v += aux[r * a->O + o];
            if (a->epilogue == VJ_EPI_GELU) {
                if (aux) aux[r * a->O + o] = v;
                v = gelu(v);
            }
            y[r * a->O + o] = v;
        }
    }
}

void ref_linear_backward_input(const vj_exec *exec, const void *args)
{
    const vj_args_linear_backward_input *a = args;
    double *dx = a->dx;
    const double *pre = a->gelu_pre;
    run(exec, (product){ .C = dx, .A = a->dy, .B = a->w, .M = a->R, .N = a->I, .K = a->O, .a_row = a->O, .a_k = 1, .b_k = a->I, .b_col = 1 });
    for (int64_t i = 0; pre && i < a->R * a->I; i++) dx[i] *= gelu_slope(pre[i]);
}

void ref_linear_backward_weight(const vj_exec *exec, const void *args)
{
    const vj_args_linear_backward_weight *a = args;
    const double *dy = a->dy;
    double *db = a->dbias;
    // Long sums are cut into blocks of rows that fit the panel; the order stays first to last.
    const int64_t block = (int64_t)(exec->scratch_bytes / sizeof(double)) / COLUMNS;
    for (int64_t r0 = 0; r0 < a->R; r0 += block) {
        const int64_t rows = a->R - r0 < block ? a->R - r0 : block;
        run(exec, (product){ .C = a->dw, .A = dy + r0 * a->O, .B = (const double *)a->x + r0 * a->I, .M = a->O, .N = a->I, .K = rows,
                             .a_row = 1, .a_k = a->O, .b_k = a->I, .b_col = 1, .accumulate = true });
    }
    for (int64_t r = 0; db && r < a->R; r++) {
        for (int64_t o = 0; o < a->O; o++) db[o] += dy[r * a->O + o];
    }
}

void ref_gelu_forward(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_gelu_forward *a = args;
    for (int64_t i = 0; i < a->n; i++) ((double *)a->y)[i] = gelu(((const double *)a->x)[i]);
}

void ref_gelu_backward(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_gelu_backward *a = args;
    for (int64_t i = 0; i < a->n; i++) ((double *)a->dx)[i] = ((const double *)a->dy)[i] * gelu_slope(((const double *)a->x)[i]);
}
