// Crop, mirror, resize, normalise (spec/pretrain.md 7.4, spec/data.md 1.8 and 4.5). Drawing is separate from pixels, so
// that it can be tested and printed without decoding anything.
#ifndef VJ_DATA_AUGMENT_H
#define VJ_DATA_AUGMENT_H

#include "data/data_config.h"

typedef struct vj_crop {
    int64_t top, left, height, width;
    bool flip;
    bool fallback;       // no try fitted: a centre crop
    int tries;
} vj_crop;

// One crop for all frames of sample `g`; `aux` is its substitution attempt.
void vj_crop_draw(vj_crop *out, const vj_data_config *config, uint64_t seed, uint64_t g, uint32_t aux, int64_t height,
                  int64_t width);
// The centre crop that is used when ten tries failed.
void vj_crop_fallback(vj_crop *out, const vj_data_config *config, int64_t height, int64_t width);

// Weights of one crop and row buffers; one per worker thread.
typedef struct vj_resampler vj_resampler;
vj_status vj_resampler_create(vj_resampler **out, int64_t side) VJ_MUST_CHECK;
void vj_resampler_destroy(vj_resampler **resampler);
// rgb (n, height, width, 3), 8 bits -> out (3, frames, side, side) float32: cropped, resized (bilinear, align_corners =
// false, no antialiasing), mirrored, (v - 255 mean) / (255 std). n is `frames`, or 1: a picture, copied to all frames.
void vj_resample(vj_resampler *resampler, const uint8_t *rgb, int64_t n, int64_t height, int64_t width,
                 const vj_crop *crop,
                 float *out, int64_t frames);

#endif
