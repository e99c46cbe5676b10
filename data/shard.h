// Reading shards: index rows and sample bytes of all sources of a catalogue, from any number of threads.
//
// A row space is (source, held_out): the rows of all its shards in catalogue order. Shards are opened when first needed
// and kept in an LRU list; the bytes of a sample are read by pread outside every lock and checked against the row's CRC-32C.
// Linked samples (link.h) come out as the same bytes; an original file that changed or is gone makes its rows VJ_ERR_DATA.
#ifndef VJ_DATA_SHARD_H
#define VJ_DATA_SHARD_H

#include "data/bytes.h"
#include "data/catalog.h"

// What the bytes of a sample are.
typedef enum vj_media {
    VJ_MEDIA_CLIP = 1,      // encoded video packets with their table (data/clip.h)
    VJ_MEDIA_JPEG = 2,      // an image file as found
    VJ_MEDIA_PNG = 3,
    VJ_MEDIA_GRAY8 = 4,     // height * width bytes
    VJ_MEDIA_OTHER_IMAGE = 5   // an image file whose codec is probed (webp, bmp)
} vj_media;

// Bits of vj_sample_info.flags.
enum {
    VJ_SAMPLE_HAS_AUDIO = 1,        // the original had audio (it is never kept)
    VJ_SAMPLE_ALL_INTRA = 2,
    VJ_SAMPLE_RECODED = 4,          // re-encoded at pack time; fps and size are those of the new video
    VJ_SAMPLE_DECODE_WARNINGS = 8,  // the decoder complained while packing
    VJ_SAMPLE_VFR = 32              // times between frames differ by more than 10 %
};

typedef struct vj_sample_info {
    uint64_t key;               // first 8 bytes of SHA-256("source|file|start in microseconds")
    uint64_t file_key;          // equal for the windows of one original file
    int64_t bytes;              // encoded size; of a linked sample that was not read, what the shard keeps of it
    int64_t n_frames;           // decodable frames in presentation order, counted when packing; 1 for images
    int64_t t0_us, t1_us;       // the window in the original file
    int32_t fps_num, fps_den;   // average rate of the sample's frames; 0/1 for images
    int32_t width, height;      // as delivered by the decoder: after rotation
    int32_t orientation;        // 1..8 as in EXIF: how the decoder turns the stored picture
    int32_t label;              // -1: none
    uint32_t flags;
    vj_media media;
} vj_sample_info;

typedef struct vj_shards vj_shards;

// The catalogue must outlive the shards. `max_open`: shards kept open (0: 256).
vj_status vj_shards_open(vj_shards **out, const vj_catalog *catalog, int max_open) VJ_MUST_CHECK;
void vj_shards_close(vj_shards **shards);

// Opening problems (missing, truncated, damaged metadata) are VJ_ERR_DATA with the shard's path; read errors of the
// system are VJ_ERR_IO (worth a retry). A shard that failed to open is tried again at the next call.
vj_status vj_shards_info(vj_shards *shards, int source, bool held_out, int64_t row, vj_sample_info *out) VJ_MUST_CHECK;
// The sample's bytes, checked. A checksum that does not match is read again once past the page cache, then VJ_ERR_DATA.
vj_status vj_shards_read(vj_shards *shards, int source, bool held_out, int64_t row, vj_sample_info *info, vj_bytes *out)
    VJ_MUST_CHECK;
// The original file of a row, relative to its source folder (images of IDX files: "train-images-idx3-ubyte.gz:17").
vj_status vj_shards_file(vj_shards *shards, int source, bool held_out, int64_t row, char *out, size_t size) VJ_MUST_CHECK;
// Where the original file of a linked row is looked for; "" when the shard holds the sample itself.
vj_status vj_shards_link(vj_shards *shards, int source, bool held_out, int64_t row, char *out, size_t size) VJ_MUST_CHECK;
// "SHARD row N" for messages.
void vj_shards_where(const vj_shards *shards, int source, bool held_out, int64_t row, char *out, size_t size);

#endif
