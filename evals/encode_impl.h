// The spool: features of one video after the other in a file that is already unlinked, then all of it into its final form.
#ifndef VJ_EVALS_ENCODE_IMPL_H
#define VJ_EVALS_ENCODE_IMPL_H

#include "evals/encode.h"

typedef struct vj_spooled { const char *path; int64_t offset, floats, clips; double *times; int64_t capacity; } vj_spooled;

typedef struct vj_features_spool {
    const vj_encode_request *request;
    const vj_encode_result *result;
    int fd;
    char path[1100];
    int64_t bytes;
    vj_spooled *videos;
    int n;
} vj_features_spool;

vj_status vj_features_spool_open(vj_features_spool *s, const vj_encode_request *request, const vj_encode_result *result) VJ_MUST_CHECK;
void vj_features_spool_close(vj_features_spool *s);
vj_status vj_features_spool_begin(vj_features_spool *s, const char *video) VJ_MUST_CHECK;
vj_status vj_features_spool_add(vj_features_spool *s, const float *values, int64_t n, double start, double end) VJ_MUST_CHECK;
int64_t vj_features_spool_clips(const vj_features_spool *s);
// The video that was begun last is forgotten.
vj_status vj_features_spool_drop(vj_features_spool *s) VJ_MUST_CHECK;
vj_status vj_features_spool_write(vj_features_spool *s) VJ_MUST_CHECK;

#endif
