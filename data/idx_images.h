// IDX files of gray images (idx3-ubyte: MNIST, Fashion-MNIST), plain or gzip-compressed.
#ifndef VJ_DATA_IDX_IMAGES_H
#define VJ_DATA_IDX_IMAGES_H

#include "runtime/base/status.h"

typedef struct vj_idx vj_idx;

// "...idx3-ubyte" or "...idx3-ubyte.gz"
bool vj_idx_name_matches(const char *path);
// Reads and checks the header; labels come from a neighbour "...labels-idx1-ubyte[.gz]" when there is one.
vj_status vj_idx_open(vj_idx **out, const char *path) VJ_MUST_CHECK;
int64_t vj_idx_count(const vj_idx *idx);
void vj_idx_size(const vj_idx *idx, int *width, int *height);
// Images come in file order: height * width bytes into `gray`; *label is -1 without labels. A file that ends early is
// VJ_ERR_DATA.
vj_status vj_idx_next(vj_idx *idx, unsigned char *gray, int32_t *label) VJ_MUST_CHECK;
void vj_idx_close(vj_idx **idx);

#endif
