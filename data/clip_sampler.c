// data/clip_sampler.c
//
// paper-code reproduces the published index arithmetic with its oddities: fpc points are spread over fpc*step frames
// *inclusively*, so their distance is fpc*step/(fpc-1) and not step; the video's last frame is never drawn by the long
// branch; short videos repeat their last frame. Only the random number is ours (keyed by sample).

#include "data/clip_sampler.h"

#include <math.h>

#include "runtime/base/rng.h"

int64_t vj_clip_step(int64_t fps_num, int64_t fps_den, double fps)
{
    VJ_ASSERT(fps > 0);
    if (fps_num <= 0 || fps_den <= 0) return 1;
    const int64_t rate = (fps_num + fps_den - 1) / fps_den;
    const int64_t step = (int64_t)floor((double)rate / fps);
    return step < 1 ? 1 : step;
}

// n equally spaced points from a to b inclusive, as float64 gives them; n = 1 gives a.
static double point(double a, double b, int64_t n, int64_t i)
{
    if (n == 1) return a;
    if (i == n - 1) return b;
    const double delta = (b - a) / (double)(n - 1);
    return (double)i * delta + a;
}

static int64_t clipped(double x, int64_t low, int64_t high)
{
    if (x < (double)low) return low;
    if (x > (double)high) return high;
    return (int64_t)x;
}

bool vj_clip_indices_at(int64_t n_frames, int64_t step, int64_t fpc, int64_t end, int64_t *index)
{
    VJ_ASSERT(n_frames >= 1 && step >= 1 && fpc >= 1);
    const int64_t length = fpc * step;
    if (n_frames > length) {
        VJ_ASSERT(end >= length && end < n_frames);
        const int64_t start = end - length;
        for (int64_t i = 0; i < fpc; i++) index[i] = clipped(point((double)start, (double)end, fpc, i), start, end - 1);
        return false;
    }
    // Too short: n/step points over the whole video, then its last frame.
    const int64_t spread = n_frames / step < fpc ? n_frames / step : fpc;
    for (int64_t i = 0; i < fpc; i++) {
        const double x = i < spread ? point(0, (double)n_frames, spread, i) : (double)n_frames;
        index[i] = clipped(x, 0, n_frames - 1);
    }
    return true;
}

bool vj_clip_indices(int64_t n_frames, int64_t fps_num, int64_t fps_den, int64_t fpc, double fps, uint64_t u,
                     int64_t *index)
{
    const int64_t step = vj_clip_step(fps_num, fps_den, fps), length = fpc * step;
    int64_t end = length;
    if (n_frames > length) end += (int64_t)vj_mulhi64(u, (uint64_t)(n_frames - length));
    return vj_clip_indices_at(n_frames, step, fpc, end, index);
}

bool vj_clip_times(double duration, int64_t fpc, double fps, uint64_t u, double *seconds)
{
    const double length = (double)(fpc - 1) / fps, room = duration - length;
    const double start = room > 0 ? vj_u64_to_unit(u) * room : 0;
    for (int64_t i = 0; i < fpc; i++) seconds[i] = start + (double)i / fps;
    return room < 0;
}
