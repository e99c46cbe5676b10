// safetensors files: 8-byte little-endian header length, JSON header, raw data. Every offset is checked.
#ifndef VJ_CHECKPOINTS_SAFETENSORS_H
#define VJ_CHECKPOINTS_SAFETENSORS_H

#include "runtime/tensor/tensor.h"

typedef struct vj_safetensors vj_safetensors;

typedef struct vj_st_entry {
    const char *name;
    vj_dtype dtype;
    int rank;                     // up to VJ_MAX_RANK
    int64_t shape[VJ_MAX_RANK];
    const void *data;             // mapped, read-only; may be unaligned
    size_t bytes;
} vj_st_entry;

vj_status vj_safetensors_open(vj_safetensors **out, const char *path) VJ_MUST_CHECK;
void vj_safetensors_close(vj_safetensors **f);
int64_t vj_safetensors_count(const vj_safetensors *f);
const vj_st_entry *vj_safetensors_at(const vj_safetensors *f, int64_t index);       // in file order
const vj_st_entry *vj_safetensors_find(const vj_safetensors *f, const char *name);  // NULL when absent
const char *vj_safetensors_meta(const vj_safetensors *f, const char *key);          // __metadata__, NULL when absent
// The mapped pages of a tensor that was read may go: a streaming reader's memory stays small.
void vj_safetensors_forget(const vj_safetensors *f, const vj_st_entry *entry);
// Copies a tensor out with conversion; count must match.
vj_status vj_safetensors_copy(const vj_safetensors *f, const char *name, void *out, vj_dtype out_type,
                              int64_t count) VJ_MUST_CHECK;

// Streaming writer: declare all tensors, then append their data in the same order; the file appears atomically.
typedef struct vj_st_writer vj_st_writer;
vj_status vj_st_writer_create(vj_st_writer **out, const char *path) VJ_MUST_CHECK;
vj_status vj_st_writer_meta(vj_st_writer *w, const char *key, const char *value) VJ_MUST_CHECK;
vj_status vj_st_writer_declare(vj_st_writer *w, const char *name, vj_dtype dtype, int rank,
                               const int64_t *shape) VJ_MUST_CHECK;
vj_status vj_st_writer_data(vj_st_writer *w, const void *data, size_t bytes) VJ_MUST_CHECK;   // next declared tensor
// A piece of it; pieces add up to the whole.
vj_status vj_st_writer_part(vj_st_writer *w, const void *data, size_t bytes) VJ_MUST_CHECK;
vj_status vj_st_writer_finish(vj_st_writer **w) VJ_MUST_CHECK;
void vj_st_writer_abandon(vj_st_writer **w);

#endif
