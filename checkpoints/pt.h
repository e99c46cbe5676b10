// PyTorch files (`torch.save`, the zip format of 1.6 and later): tensors and numbers by path, and a writer of the same.
// Reading executes nothing (pt_pickle.h) and holds no tensor: bytes are read when asked for.
#ifndef VJ_CHECKPOINTS_PT_H
#define VJ_CHECKPOINTS_PT_H

#include "runtime/tensor/tensor.h"

typedef struct vj_pt vj_pt;

// Keys of dictionaries and places in lists from the root, with slashes: "encoder/module.backbone.norm.weight",
// "opt/state/17/exp_avg".
typedef struct vj_pt_tensor {
    char path[200];
    vj_dtype dtype;
    int rank;
    int64_t shape[VJ_MAX_RANK], count;
} vj_pt_tensor;

// VJ_ERR_CONFIG: no such file, or one that is refused (what and where is said).
vj_status vj_pt_open(vj_pt **out, const char *path) VJ_MUST_CHECK;
void vj_pt_close(vj_pt **f);
int64_t vj_pt_count(const vj_pt *f);
const vj_pt_tensor *vj_pt_at(const vj_pt *f, int64_t index);
int64_t vj_pt_find(const vj_pt *f, const char *path);              // index or -1
// Elements [first, first + count) of a tensor in row-major order, as float32. Its storage's checksum is checked at the
// first read. Only floating types; tensors whose elements lie one behind the other (as torch.save of parameters gives).
vj_status vj_pt_read(vj_pt *f, int64_t index, int64_t first, int64_t count, float *out) VJ_MUST_CHECK;
bool vj_pt_number(const vj_pt *f, const char *path, double *out);  // a number of the file; false when there is none

// --- writing: the file appears atomically; the same calls give the same bytes ---
// Dictionaries nest; a key is text or, with vj_pt_key_int, a number. Values go under the last key.
typedef struct vj_pt_writer vj_pt_writer;
vj_status vj_pt_writer_create(vj_pt_writer **out, const char *path) VJ_MUST_CHECK;
void vj_pt_begin_dict(vj_pt_writer *w);
void vj_pt_end_dict(vj_pt_writer *w);
void vj_pt_begin_list(vj_pt_writer *w);
void vj_pt_end_list(vj_pt_writer *w);
void vj_pt_key(vj_pt_writer *w, const char *key);
void vj_pt_key_int(vj_pt_writer *w, int64_t key);
void vj_pt_put_int(vj_pt_writer *w, int64_t v);
void vj_pt_put_float(vj_pt_writer *w, double v);
void vj_pt_put_bool(vj_pt_writer *w, bool v);
void vj_pt_put_none(vj_pt_writer *w);
void vj_pt_put_floats(vj_pt_writer *w, const double *v, int n);     // a tuple
// A float32 tensor of which the bytes follow now.
vj_status vj_pt_put_tensor(vj_pt_writer *w, int rank, const int64_t *shape, const float *data) VJ_MUST_CHECK;
vj_status vj_pt_writer_finish(vj_pt_writer **w) VJ_MUST_CHECK;
void vj_pt_writer_abandon(vj_pt_writer **w);

#endif
