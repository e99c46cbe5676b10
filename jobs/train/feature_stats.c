#include "jobs/train/feature_stats.h"

#include <math.h>
#include <string.h>

#include "runtime/base/arena.h"

double vj_feature_spread(const double *x, int64_t n, int64_t C)
{
    double sum = 0;
    for (int64_t c = 0; c < C; c++) {
        double mean = 0, square = 0;
        for (int64_t i = 0; i < n; i++) mean += x[i * C + c] / (double)n;
        for (int64_t i = 0; i < n; i++) square += (x[i * C + c] - mean) * (x[i * C + c] - mean);
        sum += sqrt(square / (double)n);
    }
    return sum / (double)C;
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

double vj_feature_cosine(const double *x, int64_t n, int64_t C, const uint64_t *key)
{
    double sum = 0;
    int64_t pairs = 0;
    for (int64_t i = 0; i < n; i++) {
        const double own = dot(x + i * C, x + i * C, C);
        for (int64_t j = i + 1; j < n; j++) {
            if (key[i] == key[j]) continue;
            const double norms = sqrt(own * dot(x + j * C, x + j * C, C));
            sum += norms > 0 ? dot(x + i * C, x + j * C, C) / norms : 0;
            pairs++;
        }
    }
    return pairs > 0 ? sum / (double)pairs : NAN;
}

// One rotation that makes a[p][q] zero (Golub and Van Loan 8.5).
static void rotate(double *a, int64_t n, int64_t p, int64_t q)
{
    const double apq = a[p * n + q];
    if (apq == 0) return;
    const double tau = (a[q * n + q] - a[p * n + p]) / (2 * apq);
    const double t = (tau >= 0 ? 1 : -1) / (fabs(tau) + sqrt(1 + tau * tau)), c = 1 / sqrt(1 + t * t), s = t * c;
    for (int64_t k = 0; k < n; k++) {
        const double kp = a[k * n + p], kq = a[k * n + q];
        a[k * n + p] = c * kp - s * kq;
        a[k * n + q] = s * kp + c * kq;
    }
    for (int64_t k = 0; k < n; k++) {
        const double pk = a[p * n + k], qk = a[q * n + k];
        a[p * n + k] = c * pk - s * qk;
        a[q * n + k] = s * pk + c * qk;
    }
}

void vj_eigenvalues(double *a, int64_t n, double *out)
{
    double whole = 0;
    for (int64_t i = 0; i < n * n; i++) whole += a[i] * a[i];
    for (int sweep = 0; sweep < 60; sweep++) {   // convergence is quadratic: about ten are needed
        double off = 0;
        for (int64_t p = 0; p < n; p++) {
            for (int64_t q = p + 1; q < n; q++) off += 2 * a[p * n + q] * a[p * n + q];
        }
        if (!(off > 1e-30 * whole)) break;       // also when it is not a number
        for (int64_t p = 0; p < n; p++) {
            for (int64_t q = p + 1; q < n; q++) rotate(a, n, p, q);
        }
    }
    for (int64_t i = 0; i < n; i++) out[i] = a[i * n + i];
}

vj_status vj_feature_rank(const double *x, int64_t n, int64_t C, double *out)
{
    *out = NAN;
    double *gram = NULL;
    VJ_TRY(vj_host_alloc(&gram, (size_t)(n * n + n) * sizeof *gram, "inner products of features"));
    double *values = gram + n * n, sum = 0, entropy = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = i; j < n; j++) gram[i * n + j] = gram[j * n + i] = dot(x + i * C, x + j * C, C);
    }
    vj_eigenvalues(gram, n, values);
    for (int64_t i = 0; i < n; i++) {
        values[i] = values[i] > 0 ? sqrt(values[i]) : isnan(values[i]) ? NAN : 0;   // singular values of x
        sum += values[i];
    }
    for (int64_t i = 0; i < n; i++) {
        const double share = values[i] / sum;
        if (!(share <= 0)) entropy -= share * log(share);
    }
    if (sum > 0) *out = exp(entropy);
    vj_host_free(gram);
    return VJ_OK;
}

vj_status vj_row_variance_create(vj_row_variance *v, int64_t C)
{
    *v = (vj_row_variance){ .C = C };
    VJ_TRY(vj_host_alloc(&v->mean, (size_t)(2 * C) * sizeof *v->mean, "means of channels"));
    v->square = v->mean + C;
    vj_row_variance_clear(v);
    return VJ_OK;
}

void vj_row_variance_free(vj_row_variance *v)
{
    vj_host_free(v->mean);
    *v = (vj_row_variance){ 0 };
}

void vj_row_variance_clear(vj_row_variance *v)
{
    v->rows = 0;
    memset(v->mean, 0, (size_t)(2 * v->C) * sizeof *v->mean);
}

// Welford's update: no large squares are subtracted, so that a tiny variance around a large mean is seen.
void vj_row_variance_add(vj_row_variance *v, const double *row)
{
    v->rows++;
    for (int64_t c = 0; c < v->C; c++) {
        const double before = row[c] - v->mean[c];
        v->mean[c] += before / (double)v->rows;
        v->square[c] += before * (row[c] - v->mean[c]);
    }
}

double vj_row_variance_mean(const vj_row_variance *v)
{
    double sum = 0;
    for (int64_t c = 0; c < v->C; c++) sum += v->square[c];
    return v->rows > 0 ? sum / (double)v->rows / (double)v->C : NAN;
}
