#include "evals/pca.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"

enum { ROUNDS = 60, EXTRA = 4 };

static vj_status mean_of(const float *x, int64_t n, int64_t C, double **mean)
{
    VJ_TRY(vj_host_alloc(mean, (size_t)C * sizeof **mean, "a mean"));
    for (int64_t i = 0; i < n; i++) {
        for (int64_t c = 0; c < C; c++) (*mean)[c] += x[i * C + c];
    }
    for (int64_t c = 0; c < C; c++) (*mean)[c] /= (double)n;
    return VJ_OK;
}

// Gram-Schmidt, twice; a vector that vanishes stays zero.
static void orthonormal(double *v, int m, int64_t C)
{
    for (int a = 0; a < m; a++) {
        double *x = v + a * C, norm = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int b = 0; b < a; b++) {
                const double *y = v + b * C;
                double dot = 0;
                for (int64_t c = 0; c < C; c++) dot += x[c] * y[c];
                for (int64_t c = 0; c < C; c++) x[c] -= dot * y[c];
            }
        }
        for (int64_t c = 0; c < C; c++) norm += x[c] * x[c];
        norm = sqrt(norm);
        for (int64_t c = 0; c < C; c++) x[c] = norm > 1e-150 ? x[c] / norm : 0;
    }
}

// w (m, C) = v (m, C) S with S the covariance (C, C).
static void multiply(double *w, const double *v, int m, const double *S, int64_t C)
{
    for (int a = 0; a < m; a++) {
        double *out = w + a * C;
        for (int64_t c = 0; c < C; c++) out[c] = 0;
        for (int64_t r = 0; r < C; r++) {
            const double f = v[a * C + r];
            for (int64_t c = 0; c < C; c++) out[c] += f * S[r * C + c];
        }
    }
}

static void covariance(double *S, const float *x, int64_t n, int64_t C, const double *mean, double *row)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t c = 0; c < C; c++) row[c] = x[i * C + c] - mean[c];
        for (int64_t r = 0; r < C; r++) {
            for (int64_t c = 0; c < C; c++) S[r * C + c] += row[r] * row[c];
        }
    }
    for (int64_t i = 0; i < C * C; i++) S[i] /= (double)n;
}

static void finish(vj_pca *p, const double *v, const double *w, const double *S)
{
    double total = 0;
    for (int64_t c = 0; c < p->C; c++) total += S[c * p->C + c];
    for (int a = 0; a < p->k; a++) {
        const double *x = v + a * p->C, *y = w + a * p->C;
        double variance = 0, largest = 0;
        for (int64_t c = 0; c < p->C; c++) {
            variance += x[c] * y[c];
            if (fabs(x[c]) > fabs(largest)) largest = x[c];
        }
        p->share[a] = total > 0 ? variance / total : 0;
        for (int64_t c = 0; c < p->C; c++) p->components[a * p->C + c] = largest < 0 ? -x[c] : x[c];
    }
}

vj_status vj_pca_fit(vj_pca *p, const float *x, int64_t n, int64_t C, int k)
{
    *p = (vj_pca){ .C = C, .k = k };
    VJ_CHECK(n >= 2 && k >= 1 && k <= C, VJ_ERR_BUG, "%d components of %lld features of %lld channels", k, (long long)n, (long long)C);
    const int m = k + EXTRA < C ? k + EXTRA : (int)C;
    double *mean = NULL, *S = NULL, *v = NULL, *w = NULL;
    vj_status status = mean_of(x, n, C, &mean);
    if (status == VJ_OK) status = vj_host_alloc(&S, (size_t)(C * C) * sizeof *S, "a covariance");
    if (status == VJ_OK) status = vj_host_alloc(&v, (size_t)(m * C) * sizeof *v, "principal components");
    if (status == VJ_OK) status = vj_host_alloc(&w, (size_t)(m * C) * sizeof *w, "principal components");
    if (status == VJ_OK) status = vj_host_alloc(&p->components, (size_t)(k * C) * sizeof *p->components, "principal components");
    if (status == VJ_OK) status = vj_host_alloc(&p->share, (size_t)k * sizeof *p->share, "principal components");
    if (status == VJ_OK) {
        covariance(S, x, n, C, mean, w);
        for (int64_t i = 0; i < m * C; i++) v[i] = (double)(i * 2654435761 % 4093) / 4093 - 0.5;
        orthonormal(v, m, C);
        for (int r = 0; r < ROUNDS; r++) {
            multiply(w, v, m, S, C);
            memcpy(v, w, (size_t)(m * C) * sizeof *v);
            orthonormal(v, m, C);
        }
        multiply(w, v, m, S, C);
        finish(p, v, w, S);
    } else {
        vj_pca_free(p);
    }
    vj_host_free(mean);
    vj_host_free(S);
    vj_host_free(v);
    vj_host_free(w);
    return status;
}

void vj_pca_free(vj_pca *p)
{
    vj_host_free(p->components);
    vj_host_free(p->share);
    p->components = p->share = NULL;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

vj_status vj_pca_rgb(const vj_pca *p, const float *x, int64_t n, unsigned char *rgb)
{
    VJ_CHECK(p->k >= 3 && n >= 1, VJ_ERR_BUG, "three components are needed for colours");
    double *mean = NULL, *value = NULL, *sorted = NULL;
    vj_status status = mean_of(x, n, p->C, &mean);
    if (status == VJ_OK) status = vj_host_alloc(&value, (size_t)n * sizeof *value, "projections");
    if (status == VJ_OK) status = vj_host_alloc(&sorted, (size_t)n * sizeof *sorted, "projections");
    for (int k = 0; k < 3 && status == VJ_OK; k++) {
        for (int64_t i = 0; i < n; i++) {
            double v = 0;
            for (int64_t c = 0; c < p->C; c++) v += (x[i * p->C + c] - mean[c]) * p->components[k * p->C + c];
            value[i] = isfinite(v) ? v : 0;
        }
        memcpy(sorted, value, (size_t)n * sizeof *value);
        qsort(sorted, (size_t)n, sizeof *sorted, ascending);
        const double low = sorted[n * 2 / 100], high = sorted[n - 1 - n * 2 / 100], span = high > low ? high - low : 1;
        for (int64_t i = 0; i < n; i++) {
            const double t = (value[i] - low) / span;
            rgb[3 * i + k] = (unsigned char)(255 * (t < 0 ? 0 : t > 1 ? 1 : t) + 0.5);
        }
    }
    vj_host_free(mean);
    vj_host_free(value);
    vj_host_free(sorted);
    return status;
}
