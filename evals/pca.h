// Principal components of features, to look at them: three components of patch features as red, green and blue.
#ifndef VJ_EVALS_PCA_H
#define VJ_EVALS_PCA_H

#include <stdint.h>

#include "runtime/base/status.h"

typedef struct vj_pca {
    int64_t C;
    int k;                // components
    double *components;   // (k, C), orthonormal, by falling variance; of each, the largest entry is positive
    double *share;        // (k): part of the total variance
} vj_pca;

// Of features x (n, C): the mean is taken off first. Iterates a block of k + 4 vectors from fixed starting values, in
// float64: the same features give the same bits. k <= C, n >= 2. VJ_ERR_NOMEM.
vj_status vj_pca_fit(vj_pca *out, const float *x, int64_t n, int64_t C, int k) VJ_MUST_CHECK;
void vj_pca_free(vj_pca *p);
// rgb (n, 3): the first three components of x (n, C) around its own mean, each spread from its own 2nd to its 98th
// percentile over 0 to 255. p->k >= 3.
vj_status vj_pca_rgb(const vj_pca *p, const float *x, int64_t n, unsigned char *rgb) VJ_MUST_CHECK;

#endif
