// Linear layers and GELU in float64. A task makes one tile of the product and finishes it.

#include <math.h>

#include "runtime/ref/product.h"
#include "runtime/ref/ref.h"

static double gelu(double x) { return 0.5 * x * (1 + erf(x * M_SQRT1_2)); }
static double gelu_slope(double x)
{
    return 0.5 * (1 + erf(x * M_SQRT1_2)) + x * exp(-0.5 * x * x) * 0.39894228040143267794;
}

typedef struct tiles {
    ref_product p;
    int64_t across;           // tiles in a row of tiles
    const double *bias;       // (N) or NULL
    double *pre;              // (M, N) or NULL: where gelu's argument is kept
    const double *residual;   // (M, N) or NULL
    const double *slope_at;   // (M, N) or NULL: the product is multiplied by gelu' there
    bool gelu;
    char **scratch;
} tiles;

static void one_tile(void *context, int64_t task, int worker)
{
    const tiles *t = context;
    const int64_t m0 = task / t->across * REF_ROWS, n0 = task % t->across * REF_COLUMNS, N = t->p.N;
    ref_product_tile(&t->p, m0, n0, (double *)t->scratch[worker]);
    if (!t->bias && !t->residual && !t->slope_at && !t->gelu) return;
    for (int64_t m = m0; m < t->p.M && m < m0 + REF_ROWS; m++) {
        for (int64_t i = m * N + n0; i < (m + 1) * N && i < m * N + n0 + REF_COLUMNS; i++) {
            double v = t->p.C[i];
            if (t->bias) v += t->bias[i - m * N];
            if (t->residual) v += t->residual[i];
            if (t->pre) t->pre[i] = v;
            if (t->gelu) v = gelu(v);
            if (t->slope_at) v *= gelu_slope(t->slope_at[i]);
            t->p.C[i] = v;
        }
    }
}

static void run(const vj_exec *exec, tiles *t)
{
    VJ_ASSERT(REF_SCRATCH * sizeof(double) <= exec->scratch_bytes);
    t->across = (t->p.N + REF_COLUMNS - 1) / REF_COLUMNS;
    t->scratch = exec->scratch;
    vj_pool_run(exec->pool, (t->p.M + REF_ROWS - 1) / REF_ROWS * t->across, one_tile, t);
}

// y (R, O) = x (R, I) w' (I, O)
void ref_linear_forward(const vj_exec *exec, const void *args)
{
    const vj_args_linear_forward *a = args;
    // With the residual in y itself the product is added onto it; otherwise it is made first and finished in the tile.
    const bool add = a->epilogue == VJ_EPI_ADD, onto = add && a->aux == a->y, gelu_ = a->epilogue == VJ_EPI_GELU;
    tiles t = { .p = { a->y, a->O, ref_plain(a->x, a->I), ref_transposed(a->w, a->I), a->R, a->O, a->I, onto },
                .bias = a->bias,
                .residual = add && !onto ? a->aux : NULL,
                .pre = gelu_ ? a->aux : NULL,
                .gelu = gelu_ };
    run(exec, &t);
}

// dx (R, I) = dy (R, O) w (O, I)
void ref_linear_backward_input(const vj_exec *exec, const void *args)
{
    const vj_args_linear_backward_input *a = args;
    tiles t = { .p = { a->dx, a->I, ref_plain(a->dy, a->O), ref_plain(a->w, a->I), a->R, a->I, a->O, false },
                .slope_at = a->gelu_pre };
    run(exec, &t);
}

// dw (O, I) += dy' (O, R) x (R, I)
void ref_linear_backward_weight(const vj_exec *exec, const void *args)
{
    const vj_args_linear_backward_weight *a = args;
    const double *dy = a->dy;
    double *db = a->dbias;
    tiles t = { .p = { a->dw, a->I, ref_transposed(dy, a->O), ref_plain(a->x, a->I), a->O, a->I, a->R, true } };
    run(exec, &t);
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
    for (int64_t i = 0; i < a->n; i++)
        ((double *)a->dx)[i] = ((const double *)a->dy)[i] * gelu_slope(((const double *)a->x)[i]);
}
