// HDF5 has this one home (contracts section 4). Metadata goes through the (serial, thread-safe) library; payload is
// written and read with pwrite/pread at the offset of early-allocated contiguous datasets, outside the library's lock.
#ifndef VJ_RUNTIME_BASE_H5_H
#define VJ_RUNTIME_BASE_H5_H

#include "runtime/base/status.h"

typedef enum vj_h5_type { VJ_H5_U8, VJ_H5_U16, VJ_H5_U32, VJ_H5_U64, VJ_H5_I32, VJ_H5_I64, VJ_H5_F32, VJ_H5_F64 } vj_h5_type;
size_t vj_h5_type_size(vj_h5_type type);

typedef struct vj_h5 vj_h5;   // an open file; one thread at a time

typedef struct vj_h5_range { int64_t offset, bytes; } vj_h5_range;   // sorted and disjoint in lists
typedef struct vj_h5_guard {
    const vj_h5_range *payload;
    int64_t n;
    unsigned char digest[32];
} vj_h5_guard;

// --- writing (a new file; every dataset contiguous, allocated at once, no fill; little-endian) ---
vj_status vj_h5_create(vj_h5 **out, const char *path) VJ_MUST_CHECK;
vj_status vj_h5_group(vj_h5 *f, const char *path) VJ_MUST_CHECK;                      // "/idx"; parents must exist
// Makes a dataset of rank <= 2 and says where its bytes will lie: write them with vj_io_pwrite on vj_h5_path after
// vj_h5_close, or through vj_h5_write. *offset may be NULL.
vj_status vj_h5_dataset(vj_h5 *f, const char *path, vj_h5_type type, int rank, const int64_t *dims, int64_t *offset)
    VJ_MUST_CHECK;
vj_status vj_h5_write(vj_h5 *f, const char *path, const void *data) VJ_MUST_CHECK;    // whole dataset
// Attributes on a group or dataset ("/" is the root).
vj_status vj_h5_put_i64(vj_h5 *f, const char *object, const char *name, int64_t value) VJ_MUST_CHECK;
vj_status vj_h5_put_u64(vj_h5 *f, const char *object, const char *name, uint64_t value) VJ_MUST_CHECK;
vj_status vj_h5_put_text(vj_h5 *f, const char *object, const char *name, const char *value) VJ_MUST_CHECK;
vj_status vj_h5_put_bytes(vj_h5 *f, const char *object, const char *name, const void *data, int64_t bytes) VJ_MUST_CHECK;

// --- reading (file locking off) ---
// `guard`: the digest of the file's metadata region as kept in a catalogue or manifest, checked before the library sees
// the file. NULL: the file is opened in a child process first, since libhdf5 1.10.8 can crash on crafted files, and
// refused when the child dies or complains.
vj_status vj_h5_open(vj_h5 **out, const char *path, const vj_h5_guard *guard) VJ_MUST_CHECK;
// Type, rank and sizes of a dataset, and the byte offset of its payload in the file (-1 unless contiguous, unfiltered
// and allocated). The extent is checked against the file's size.
vj_status vj_h5_info(vj_h5 *f, const char *path, vj_h5_type *type, int *rank, int64_t dims[2], int64_t *offset) VJ_MUST_CHECK;
bool vj_h5_exists(vj_h5 *f, const char *path);
// The whole dataset, which must have exactly this type and `count` elements.
vj_status vj_h5_read(vj_h5 *f, const char *path, vj_h5_type type, int64_t count, void *data) VJ_MUST_CHECK;
vj_status vj_h5_get_i64(vj_h5 *f, const char *object, const char *name, int64_t *value) VJ_MUST_CHECK;
vj_status vj_h5_get_u64(vj_h5 *f, const char *object, const char *name, uint64_t *value) VJ_MUST_CHECK;
vj_status vj_h5_get_text(vj_h5 *f, const char *object, const char *name, char *out, size_t size) VJ_MUST_CHECK;
vj_status vj_h5_get_bytes(vj_h5 *f, const char *object, const char *name, void *out, int64_t bytes) VJ_MUST_CHECK;

const char *vj_h5_path(const vj_h5 *f);
// Flushes (writing) and closes; the first error of the whole life of a written file is reported here too.
vj_status vj_h5_close(vj_h5 **f) VJ_MUST_CHECK;
void vj_h5_abandon(vj_h5 **f);   // for error paths; NULL is fine

// SHA-256 over the file's bytes that lie outside the given payload ranges, in file order: the "metadata region" of a
// file whose payload has checksums of its own.
vj_status vj_h5_metadata_digest(const char *path, const vj_h5_range *payload, int64_t n, unsigned char out[32]) VJ_MUST_CHECK;

#endif
