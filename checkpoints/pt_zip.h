// The zip archives that torch.save writes: every entry stored as it is, possibly beyond 4 GB (zip64).
#ifndef VJ_CHECKPOINTS_PT_ZIP_H
#define VJ_CHECKPOINTS_PT_ZIP_H

#include <stdint.h>

#include "runtime/base/status.h"

typedef struct vj_zip_entry {
    char *name;
    int64_t begin;             // of its own header in the file; the data follow
    int64_t offset, bytes;     // of the data: checked to lie inside, entries and the directory do not overlap
    uint32_t crc;
} vj_zip_entry;

typedef struct vj_zip {
    char path[1100];
    int fd;
    int64_t bytes;
    vj_zip_entry *entries;     // by offset
    const vj_zip_entry **names;   // the same by what follows the first slash of the name; without one: not in it
    int64_t n_names;
    int64_t n;
} vj_zip;

// VJ_ERR_CONFIG: no such archive, or one that is damaged or packed in a way torch.save never does (compressed,
// encrypted, overlapping, of several disks).
vj_status vj_zip_open(vj_zip *out, const char *path) VJ_MUST_CHECK;
void vj_zip_close(vj_zip *z);
// The entry whose name ends with "/NAME" (torch.save puts a folder of any name in front); NULL when absent.
const vj_zip_entry *vj_zip_find(const vj_zip *z, const char *name);
// All bytes of the entry against its checksum.
vj_status vj_zip_check(const vj_zip *z, const vj_zip_entry *e) VJ_MUST_CHECK;

#endif
