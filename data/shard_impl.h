// The columns of a shard's index: one table for writer, reader and verifier.
#ifndef VJ_DATA_SHARD_IMPL_H
#define VJ_DATA_SHARD_IMPL_H

#include "data/shard.h"
#include "runtime/base/h5.h"

// Version 2 is a shard of linked samples; readers of version 1 refuse it.
enum { VJ_SHARD_VERSION = 1, VJ_SHARD_VERSION_LINKED = 2, VJ_SHARD_ALIGN = 64, VJ_SHARD_MAX_ROWS = 65536 };

// One row in memory.
typedef struct vj_shard_row {
    uint64_t offset, nbytes, key;
    int64_t t0_us, t1_us;
    uint32_t crc32c, src_id, n_frames, fps_num, fps_den, flags;
    int32_t label;
    uint16_t width, height, sar_num, sar_den;
    uint8_t media, orientation;
} vj_shard_row;

typedef struct vj_shard_column {
    const char *name;      // dataset "/idx/NAME"
    vj_h5_type type;
    size_t at;             // offset in vj_shard_row
} vj_shard_column;

// Sorted by name (the index digest runs over the arrays in this order); ends with a NULL name.
extern const vj_shard_column vj_shard_columns[];

// Copies one column between an array of rows and a packed array.
void vj_shard_column_pack(const vj_shard_column *c, const vj_shard_row *rows, int64_t n, void *packed);
void vj_shard_column_unpack(const vj_shard_column *c, vj_shard_row *rows, int64_t n, const void *packed);

// What the rows and the string table of one shard are when loaded; file i is text + text_offset[i].
typedef struct vj_shard_index {
    int64_t n, n_files, blob_offset, blob_bytes, text_bytes;
    vj_shard_row *rows;
    uint64_t *text_offset;     // (n_files + 1)
    char *text;                // each file's name, one after another without NULs
    char *link_root;           // of linked samples: the folder of the original files; else NULL
    int64_t *link_bytes, *link_mtime_ns;   // (n_files) what the files were
} vj_shard_index;

// Opens with the entry's guard, checks format, source, sizes and every row, and closes again.
vj_status vj_shard_index_load(vj_shard_index *out, const char *path, const vj_shard_entry *entry, const char *source)
    VJ_MUST_CHECK;
// What the arrays of a shard claim: VJ_ERR_DATA when a row or a name lies outside the blob or the names, rows overlap, or
// values are impossible. n and n_files are at least 1.
vj_status vj_shard_index_check(const vj_shard_index *index) VJ_MUST_CHECK;
void vj_shard_index_free(vj_shard_index *index);
void vj_shard_index_file(const vj_shard_index *index, int64_t row, char *out, size_t size);
// Of a linked row: its file's place in `path`, and what the file was.
struct vj_link_file;
void vj_shard_index_link(const vj_shard_index *index, int64_t row, char *path, size_t size, struct vj_link_file *out);
// SHA-256 over the columns in name order.
vj_status vj_shard_index_digest(const vj_shard_row *rows, int64_t n, unsigned char out[32]) VJ_MUST_CHECK;

#endif
