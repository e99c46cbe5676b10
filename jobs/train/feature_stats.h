// Figures that say whether features of different clips differ. Pure functions of host matrices, row-major.
#ifndef VJ_JOBS_TRAIN_FEATURE_STATS_H
#define VJ_JOBS_TRAIN_FEATURE_STATS_H

#include "runtime/base/status.h"

// Mean over the C columns of each column's standard deviation over the n rows of x (n, C). 0 when all rows are equal.
double vj_feature_spread(const double *x, int64_t n, int64_t C);
// Mean cosine between rows of different `key` (n): 1 when they all point the same way; NAN when all keys are equal. A row
// of zeros has cosine 0 with everything.
double vj_feature_cosine(const double *x, int64_t n, int64_t C, const uint64_t *key);
// RankMe (Garrido et al. 2023): exp of the entropy of the singular values of x (n, C), from 1 to min(n, C). Rows are not
// centred: clips that all look alike have rank 1. Exact, by way of the (n, n) matrix of inner products.
vj_status vj_feature_rank(const double *x, int64_t n, int64_t C, double *out) VJ_MUST_CHECK;
// Eigenvalues of the symmetric matrix a (n, n), which is destroyed, by cyclic Jacobi rotations; out (n), unordered.
void vj_eigenvalues(double *a, int64_t n, double *out);

// Variance per channel of rows that come one by one, summed over channels: add rows, then read.
typedef struct vj_row_variance {
    int64_t C, rows;
    double *mean, *square;    // (C): running mean, sum of squared deviations
} vj_row_variance;
vj_status vj_row_variance_create(vj_row_variance *v, int64_t C) VJ_MUST_CHECK;
void vj_row_variance_free(vj_row_variance *v);
void vj_row_variance_clear(vj_row_variance *v);
void vj_row_variance_add(vj_row_variance *v, const double *row);
double vj_row_variance_mean(const vj_row_variance *v);    // mean over channels of the variance; NAN without rows

#endif
