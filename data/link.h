// Linked samples: the shard keeps the tables and says which bytes of an original file follow; reading puts both together into
// the very bytes that a copied sample is.
//
//   "VJL1" | u32 CRC-32C of the sample | i64 its bytes | u32 head bytes | u32 extents
//   | extents: n x { i64 offset in the file, u32 bytes } | head
//
// All little-endian; sample = head, then the extents in order. Without extents the whole sample is the head: that is how samples
// are kept whose packets do not lie in one piece in the file (MPEG-TS, say).
#ifndef VJ_DATA_LINK_H
#define VJ_DATA_LINK_H

#include "data/bytes.h"

enum { VJ_LINK_MAX_SAMPLE = 1 << 30 };

typedef struct vj_link_extent {
    int64_t offset;
    uint32_t bytes;
} vj_link_extent;

// Growable list of extents: zero it before first use, free v.
typedef struct vj_link_extents {
    vj_link_extent *v;
    int64_t n, capacity;
} vj_link_extents;

// What the original file was when it was linked.
typedef struct vj_link_file {
    const char *path;
    const char *root;        // the folder below which it lies
    int64_t bytes, mtime_ns;
} vj_link_file;

// Adds bytes of a file behind the list; what follows the last extent in the file lengthens it.
vj_status vj_link_add(vj_link_extents *extents, int64_t offset, int64_t bytes) VJ_MUST_CHECK;
// Where data[bytes] lies in the file, at `near` or up to 64 bytes behind it (headers of packets); -1: not there in one piece.
int64_t vj_link_find(int fd, int64_t near, const void *data, size_t bytes);
// The record of a sample whose bytes behind `head` are those of the extents.
vj_status vj_link_write(vj_bytes *out, const void *sample, size_t bytes, size_t head, const vj_link_extents *extents) VJ_MUST_CHECK;
// The sample of a record. VJ_ERR_DATA, with the reason and the file's path: the file is gone, has another size or another time (to
// the second), or its bytes are others; the record claims nonsense. VJ_ERR_IO: the system cannot read it just now, or the whole root
// is not there or empty (not mounted, say): that is no reason to hold every sample for bad.
vj_status vj_link_read(vj_bytes *out, const void *record, size_t bytes, const vj_link_file *file) VJ_MUST_CHECK;

#endif
