#include "evals/strip.h"

#include <string.h>

#include "runtime/base/arena.h"

enum { CELL = 112, GAP = 3 };

vj_status vj_strip_create(vj_strip *s, int64_t side, int64_t columns, int64_t rows)
{
    *s = (vj_strip){ .cell = side, .columns = columns, .rows = rows };
    while (s->cell < CELL) s->cell += side;
    while (s->cell > 2 * CELL) s->cell /= 2;
    s->width = columns * (s->cell + GAP) - GAP;
    s->height = rows * (s->cell + GAP) - GAP;
    VJ_TRY(vj_host_alloc(&s->rgb, (size_t)(3 * s->width * s->height), "a picture"));
    vj_strip_clear(s);
    return VJ_OK;
}

void vj_strip_free(vj_strip *s)
{
    vj_host_free(s->rgb);
    s->rgb = NULL;
}

void vj_strip_clear(vj_strip *s) { memset(s->rgb, 255, (size_t)(3 * s->width * s->height)); }

static unsigned char *cell_at(const vj_strip *s, int64_t row, int64_t column, int64_t y, int64_t x)
{
    return s->rgb + 3 * ((row * (s->cell + GAP) + y) * s->width + column * (s->cell + GAP) + x);
}

// Where output `i` of `cell` looks in `side` inputs: the lower neighbour, the upper one, the weight of the upper.
static void place(int64_t i, int64_t cell, int64_t side, int64_t *low, int64_t *high, double *weight)
{
    double at = ((double)i + 0.5) * (double)side / (double)cell - 0.5;
    if (at < 0) at = 0;
    *low = (int64_t)at < side - 1 ? (int64_t)at : side - 1;
    *high = *low < side - 1 ? *low + 1 : *low;
    *weight = at - (double)*low;
    if (*weight > 1) *weight = 1;
}

void vj_strip_frame(vj_strip *s, int64_t row, int64_t column, const float *pixels, int64_t F, int64_t frame, int64_t side)
{
    static const double mean[] = { 0.485, 0.456, 0.406 }, deviation[] = { 0.229, 0.224, 0.225 };
    for (int64_t y = 0; y < s->cell; y++) {
        int64_t y0, y1, x0, x1;
        double fy, fx;
        place(y, s->cell, side, &y0, &y1, &fy);
        for (int64_t x = 0; x < s->cell; x++) {
            unsigned char *out = cell_at(s, row, column, y, x);
            place(x, s->cell, side, &x0, &x1, &fx);
            for (int k = 0; k < 3; k++) {
                const float *p = pixels + ((int64_t)k * F + frame) * side * side;
                const double v = (1 - fy) * ((1 - fx) * p[y0 * side + x0] + fx * p[y0 * side + x1]) + fy * ((1 - fx) * p[y1 * side + x0] + fx * p[y1 * side + x1]);
                const double byte = 255 * (v * deviation[k] + mean[k]) + 0.5;
                out[k] = (unsigned char)(byte < 0 ? 0 : byte > 255 ? 255 : byte);
            }
        }
    }
}

void vj_strip_tokens(vj_strip *s, int64_t row, int64_t column, const unsigned char *colours, int64_t grid)
{
    for (int64_t y = 0; y < s->cell; y++) {
        for (int64_t x = 0; x < s->cell; x++) {
            memcpy(cell_at(s, row, column, y, x), colours + 3 * (y * grid / s->cell * grid + x * grid / s->cell), 3);
        }
    }
}

void vj_strip_tint(vj_strip *s, int64_t row, int64_t column, const unsigned char *tints, int64_t grid)
{
    for (int64_t y = 0; y < s->cell; y++) {
        for (int64_t x = 0; x < s->cell; x++) {
            const unsigned char *t = tints + 4 * (y * grid / s->cell * grid + x * grid / s->cell);
            unsigned char *p = cell_at(s, row, column, y, x);
            for (int k = 0; k < 3; k++) p[k] = (unsigned char)((p[k] * (255 - t[3]) + t[k] * t[3] + 127) / 255);
        }
    }
}
