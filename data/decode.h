// Samples to pixels. One decoder per worker thread; it keeps codec contexts and converters between samples.
// data/decode_*.c and data/recode.c are the only files of the project that include libav headers.
#ifndef VJ_DATA_DECODE_H
#define VJ_DATA_DECODE_H

#include "data/shard.h"

// Above these a sample is bad, with a reason (spec/data.md 4.6). Hostile bytes end there, never in a crash or a hang.
enum { VJ_DECODE_MAX_PACKETS = 16384, VJ_DECODE_MAX_MEGAPIXELS = 64, VJ_DECODE_MAX_MEGABYTES = 256 };
#define VJ_DECODE_MAX_SECONDS 5.0       // CPU of the calling thread, per sample
#define VJ_DECODE_FRAME_TOLERANCE 0.1   // wanted frames that may be missing; they repeat the one before

typedef struct vj_decoder vj_decoder;

// Frames of one sample: (n, height, width, 3) RGB, 8 bits, upright. Owned by the decoder until its next call.
typedef struct vj_frames {
    const uint8_t *rgb;
    int64_t n, height, width;
    int64_t decoded;            // frames the decoder had to decode for them
    int64_t repeated;           // wanted frames that were missing and repeat their predecessor
} vj_frames;

vj_status vj_decoder_create(vj_decoder **out) VJ_MUST_CHECK;
void vj_decoder_destroy(vj_decoder **decoder);

// The frames `index[0..n)` (not descending, each in [0, info->n_frames); equal ones are decoded once) of a sample, in
// that order. `data` must be followed by 64 readable bytes, as vj_shards_read gives. Images: every index must be 0.
// Bad content is VJ_ERR_DATA with the reason.
vj_status vj_decode_frames(vj_decoder *decoder, const vj_sample_info *info, const void *data, size_t bytes,
                           const int64_t *index, int64_t n, vj_frames *out) VJ_MUST_CHECK;
// For each time (seconds from the sample's first frame, not descending) the index of the frame displayed then: the last
// one with time <= t, the first one when there is none.
vj_status vj_decode_index_at(const vj_sample_info *info, const void *data, size_t bytes, const double *seconds, int64_t n,
                             int64_t *index) VJ_MUST_CHECK;
// An image: out->n is 1.
vj_status vj_decode_image(vj_decoder *decoder, const vj_sample_info *info, const void *data, size_t bytes, vj_frames *out)
    VJ_MUST_CHECK;

// What libav wanted to print since the program started; nothing of it ever reaches stderr.
typedef struct vj_libav_log { int64_t warnings, errors; } vj_libav_log;
void vj_libav_log_get(vj_libav_log *out);

#endif
