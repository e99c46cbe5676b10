// Writing one shard: rows whose bytes wait in spool files become an HDF5 file with index, checksums and digests.
#ifndef VJ_DATA_SHARD_WRITE_H
#define VJ_DATA_SHARD_WRITE_H

#include "data/shard.h"

// A sample on its way into a shard. Its bytes are spool_bytes at spool_offset of the file spool_fd.
typedef struct vj_pack_row {
    vj_sample_info info;         // file_key is ignored
    uint32_t crc32c;
    uint16_t sar_num, sar_den;
    const char *file;            // shown by vj_shards_file; rows of one file must follow each other
    int64_t file_bytes, file_mtime_ns;   // of a linked file
    int spool_fd;
    int64_t spool_offset;
} vj_pack_row;

// Writes DIR/NAME (through a temporary name) and describes it. The result depends on nothing but the arguments.
// `link_root`: the rows are records of linked samples (link.h), their files lie in this folder; NULL: they are samples.
vj_status vj_shard_write(vj_shard_entry *out, const char *dir, const char *name, const char *source, vj_source_kind kind,
                         bool held_out, const char *link_root, const vj_pack_row *rows, int64_t n) VJ_MUST_CHECK;

#endif
