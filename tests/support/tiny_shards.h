// Small synthetic videos and shards for tests. The implementation uses data/, so only tests of data/ and of rooms above it
// can link it.
#ifndef VJ_TESTS_SUPPORT_TINY_SHARDS_H
#define VJ_TESTS_SUPPORT_TINY_SHARDS_H

#include "runtime/base/status.h"

// A YUV4MPEG file: textured squares that move over a background; `seed` decides where. Frame k carries k in the
// brightness of its top left 8 x 8 pixels (16 + 2 * (k mod 100)), so a test can tell frames apart.
vj_status vj_tiny_video(const char *path, int width, int height, int frames, int fps_num, int fps_den, uint64_t seed) VJ_MUST_CHECK;
int vj_tiny_frame_level(int frame);   // the luma that marks frame k

// An IDX file of gray images (count, 28, 28).
vj_status vj_tiny_idx(const char *path, int count, uint64_t seed) VJ_MUST_CHECK;

typedef struct vj_tiny_shards_options {
    int videos, frames;        // 0: 4 videos of 120 frames
    int width, height, fps;    // 0: 64 x 48 at 10
    int images;                // 0: no image source; else an IDX file of so many
    double window;             // 0: 4 s; negative: no cuts
    double hold_out;
    int recode;                // 0: 48; negative: packets as they are
    int threads;               // 0: 1
} vj_tiny_shards_options;

// Makes DIR/videos, DIR/images and packs them into DIR/shards (sources "tiny" and "pictures"). DIR must exist. All zero
// options are fine.
vj_status vj_tiny_shards(const char *dir, const vj_tiny_shards_options *options) VJ_MUST_CHECK;

#endif
