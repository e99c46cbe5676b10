// Clips straight from a user's video file, one after another, whatever its length: memory is that of the clips that are open
// at a time. The same decoder, colours and resampling as training; evaluation crops (spec/evals.md: one view or three).
#ifndef VJ_DATA_VIDEO_STREAM_H
#define VJ_DATA_VIDEO_STREAM_H

#include <stdint.h>

#include "runtime/base/status.h"

typedef struct vj_stream_config {
    int64_t frames, side;   // of a clip; side in pixels
    double fps;             // frames are those shown at start + j / fps
    int64_t clips;          // 0: windows one behind the other over the whole video, a rest shorter than half a window left
                            // out (but at least one window); n: n windows spread evenly, overlapping when they must
    int crops;              // 1: the centre, short side resized to side * 256 / 224; 3: squares along the long side
} vj_stream_config;

typedef struct vj_stream_clip {
    int64_t index, count;          // of this window, and how many there are
    double start, end;             // seconds from the first shown frame
    const float *pixels;           // (crops, 3, frames, side, side) normalised; valid during the call
    int64_t repeated;              // frames behind the end of the video: its last one again
} vj_stream_clip;

typedef struct vj_stream_info {
    double seconds, fps;           // of the file
    int64_t width, height, clips, broken_packets;
} vj_stream_info;

// Calls `fn` for every window in order; its failure ends the streaming. VJ_ERR_DATA: no video that can be decoded (the
// reason). `info` may be NULL.
typedef vj_status (*vj_stream_fn)(void *context, const vj_stream_clip *clip);
vj_status vj_video_stream(const char *path, const vj_stream_config *config, vj_stream_fn fn, void *context,
                          vj_stream_info *info) VJ_MUST_CHECK;

#endif
