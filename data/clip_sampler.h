// Which frames of a video make a clip (spec/pretrain.md 7.3, spec/data.md 4.5). Pure; `u` is one 64-bit draw.
#ifndef VJ_DATA_CLIP_SAMPLER_H
#define VJ_DATA_CLIP_SAMPLER_H

#include "runtime/base/status.h"

// paper-code: by frame number, as the published program does. fps_num/fps_den is the video's average rate. Writes fpc
// indices in [0, n_frames), not descending. Returns whether the video was too short and its last frame was repeated.
bool vj_clip_indices(int64_t n_frames, int64_t fps_num, int64_t fps_den, int64_t fpc, double fps, uint64_t u,
                     int64_t *index);
// The same with the clip's end chosen: `end` in [fpc*step, n_frames), used when the video is longer than fpc*step.
bool vj_clip_indices_at(int64_t n_frames, int64_t step, int64_t fpc, int64_t end, int64_t *index);
// Frames between two of a clip: floor(ceil(rate) / fps), at least 1 (the published program stops at rates below `fps`).
int64_t vj_clip_step(int64_t fps_num, int64_t fps_den, double fps);

// pts: by time. Writes fpc times in seconds from the sample's first frame. Returns whether the video is shorter than
// the clip: then times run past its end, where the last frame stays on.
bool vj_clip_times(double duration, int64_t fpc, double fps, uint64_t u, double *seconds);

#endif
