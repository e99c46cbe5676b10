// Small pictures in rows and columns: frames of a clip as they went into the model, and colours of its tokens.
#ifndef VJ_EVALS_STRIP_H
#define VJ_EVALS_STRIP_H

#include <stdint.h>

#include "runtime/base/status.h"

typedef struct vj_strip {
    unsigned char *rgb;            // (height, width, 3), white where nothing was drawn
    int64_t cell, columns, rows, width, height;
} vj_strip;

// Cells for clips of `side` pixels: a whole multiple (or part) of it, so that patches stay square.
vj_status vj_strip_create(vj_strip *out, int64_t side, int64_t columns, int64_t rows) VJ_MUST_CHECK;
void vj_strip_free(vj_strip *s);
void vj_strip_clear(vj_strip *s);
// Frame `frame` of pixels (3, F, side, side), normalised as in training; bilinear.
void vj_strip_frame(vj_strip *s, int64_t row, int64_t column, const float *pixels, int64_t F, int64_t frame, int64_t side);
// One colour per token: colours (grid, grid, 3).
void vj_strip_tokens(vj_strip *s, int64_t row, int64_t column, const unsigned char *colours, int64_t grid);
// Blends a tint over what is there: tints (grid, grid, 4), red, green, blue and strength (255: covers).
void vj_strip_tint(vj_strip *s, int64_t row, int64_t column, const unsigned char *tints, int64_t grid);

#endif
