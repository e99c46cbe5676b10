// Layer norm in float64.

#include <math.h>

#include "runtime/ref/ref.h"

void ref_layernorm_forward(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_layernorm_forward *a = args;
    const double *gamma = a->gamma, *beta = a->beta;
    for (int64_t r = 0; r < a->R; r++) {
        const double *x = (const double *)a->x + r * a->C;
        double *y = (double *)a->y + r * a->C, mean = 0, variance = 0;
        for (int64_t c = 0; c < a->C; c++) mean += x[c];
        mean /= (double)a->C;
        for (int64_t c = 0; c < a->C; c++) variance += (x[c] - mean) * (x[c] - mean);
        const double rstd = 1 / sqrt(variance / (double)a->C + a->eps);
        for (int64_t c = 0; c < a->C; c++) {
            const double xhat = (x[c] - mean) * rstd;
            y[c] = gamma ? xhat * gamma[c] + beta[c] : xhat;
        }
        if (a->mean) ((double *)a->mean)[r] = mean;
        if (a->rstd) ((double *)a->rstd)[r] = rstd;
    }
}

void ref_layernorm_backward(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_layernorm_backward *a = args;
    const double *gamma = a->gamma;
    double *dgamma = a->dgamma, *dbeta = a->dbeta;
    for (int64_t r = 0; r < a->R; r++) {
        const double *x = (const double *)a->x + r * a->C, *dy = (const double *)a->dy + r * a->C;
        const double *residual = a->residual ? (const double *)a->residual + r * a->C : NULL;
        const double m = ((const double *)a->mean)[r], s = ((const double *)a->rstd)[r];
        double *dx = (double *)a->dx + r * a->C, g_mean = 0, gx_mean = 0;
        for (int64_t c = 0; c < a->C; c++) {
            const double xhat = (x[c] - m) * s, g = gamma[c] * dy[c];
            g_mean += g;
            gx_mean += g * xhat;
            dgamma[c] += dy[c] * xhat;
            dbeta[c] += dy[c];
        }
        g_mean /= (double)a->C;
        gx_mean /= (double)a->C;
        for (int64_t c = 0; c < a->C; c++) {
            const double xhat = (x[c] - m) * s, d = s * (gamma[c] * dy[c] - g_mean - xhat * gx_mean);
            dx[c] = (residual ? residual[c] : 0) + d;
        }
    }
}
