// catalog.json: what a folder of shards holds. It is written last, so its presence means that packing was finished.
#ifndef VJ_DATA_CATALOG_H
#define VJ_DATA_CATALOG_H

#include "runtime/base/status.h"

#define VJ_CATALOG_NAME "catalog.json"
enum { VJ_SOURCE_NAME_MAX = 64, VJ_MAX_SOURCES = 256 };

typedef enum vj_source_kind { VJ_SOURCE_VIDEO, VJ_SOURCE_IMAGE } vj_source_kind;

typedef struct vj_shard_entry {
    char *path;                          // relative to the catalogue's folder
    int64_t n;                           // rows
    int64_t first;                       // rows of the same list in earlier shards
    int64_t file_bytes;
    int64_t blob_offset, blob_bytes;     // the payload range of the file
    unsigned char metadata_digest[32];   // SHA-256 over all bytes outside the payload range: guards the opening
    unsigned char blob_digest[32];       // SHA-256 of the payload
    unsigned char index_digest[32];      // SHA-256 over the index arrays in name order
} vj_shard_entry;

// A list of shards is one row space: row r lies in the shard with first <= r < first + n.
typedef struct vj_shard_list {
    int n;
    vj_shard_entry *v;
    int64_t rows;
    int64_t files;                       // different original files (videos or images)
    int64_t frames;
    int64_t blob_bytes;
} vj_shard_list;

typedef struct vj_source {
    char name[VJ_SOURCE_NAME_MAX];
    vj_source_kind kind;
    bool linked;                         // its shards refer to original files outside the folder (data/link.h)
    double weight;                       // default mixing weight; the number of training rows unless packed with --weight
    vj_shard_list train, held_out;       // held-out windows never appear in `train`
} vj_source;

typedef struct vj_catalog {
    char *dir;
    int n_sources;
    vj_source *sources;                  // in the order of packing
    char digest[65];                     // SHA-256 (hex) over the canonical text of everything above but `dir`
} vj_catalog;

// Reads DIR/catalog.json. A folder that does not exist or has no catalogue: VJ_ERR_CONFIG with what to do; a damaged
// catalogue (its digest is checked): VJ_ERR_DATA.
vj_status vj_catalog_read(vj_catalog **out, const char *dir) VJ_MUST_CHECK;
// Fills `digest` and the prefix sums, and writes DIR/catalog.json atomically.
vj_status vj_catalog_write(vj_catalog *catalog, const char *dir) VJ_MUST_CHECK;
void vj_catalog_destroy(vj_catalog **catalog);
void vj_shard_list_free(vj_shard_list *list);

// NULL when there is no such source.
const vj_source *vj_catalog_find(const vj_catalog *catalog, const char *name);
static inline const char *vj_source_kind_name(vj_source_kind kind) { return kind == VJ_SOURCE_VIDEO ? "video" : "image"; }
// Which shard of the list holds `row`, and where in it; row must be in [0, rows).
int vj_shard_list_locate(const vj_shard_list *list, int64_t row, int64_t *row_in_shard);

#endif
