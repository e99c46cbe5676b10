// data/augment.c
//
// Resizing is separable: a source row is squeezed to `side` columns (3 planes), two such rows give one output row. Rows
// are kept, since neighbouring output rows often need the same ones. Mirroring is free: it reverses the column table.
//
// Easy to get wrong: source coordinate (i + 1/2) * scale - 1/2, clamped at 0 below; above, only the neighbour's *index*
// is clamped. The frame is cropped first: pixels outside the box never mix in.

#include "data/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/rng.h"

enum { TRIES = 10 };

// ---- drawing ------------------------------------------------------------------------------------------------------

void vj_crop_fallback(vj_crop *out, const vj_data_config *c, int64_t height, int64_t width)
{
    const double ratio = (double)width / (double)height;
    out->fallback = true;
    out->height = height;
    out->width = width;
    if (ratio < c->crop_ratio_low) out->height = (int64_t)nearbyint((double)width / c->crop_ratio_low);
    else if (ratio > c->crop_ratio_high) out->width = (int64_t)nearbyint((double)height * c->crop_ratio_high);
    // Extreme shapes round to nothing or past the edge.
    if (out->height < 1) out->height = 1;
    if (out->width < 1) out->width = 1;
    if (out->height > height) out->height = height;
    if (out->width > width) out->width = width;
    out->top = (height - out->height) / 2;
    out->left = (width - out->width) / 2;
}

void vj_crop_draw(vj_crop *out, const vj_data_config *c, uint64_t seed, uint64_t g, uint32_t aux, int64_t height,
                  int64_t width)
{
    VJ_ASSERT(height >= 1 && width >= 1);
    const double log_low = log(c->crop_ratio_low), log_high = log(c->crop_ratio_high);
    const double pixels = (double)height * (double)width;
    *out = (vj_crop){ .flip = c->flip && vj_rng_uniform(seed, g, VJ_TAG_FLIP, 0, aux) < 0.5 };
    for (uint32_t t = 0; t < TRIES; t++) {
        const double u = vj_rng_uniform(seed, g, VJ_TAG_CROP, 4 * t, aux), v =
            vj_rng_uniform(seed, g, VJ_TAG_CROP, 4 * t + 1, aux);
        const double area = (c->crop_scale_low + u * (c->crop_scale_high - c->crop_scale_low)) * pixels;
        const double ratio = exp(log_low + v * (log_high - log_low));
        const double w = nearbyint(sqrt(area * ratio)), h = nearbyint(sqrt(area / ratio));
        out->tries = (int)t + 1;
        if (w < 1 || h < 1 || w > (double)width || h > (double)height) continue;
        out->width = (int64_t)w;
        out->height = (int64_t)h;
        out->top = (int64_t)vj_rng_below(seed, g, VJ_TAG_CROP, 4 * t + 2, aux, (uint64_t)(height - out->height + 1));
        out->left = (int64_t)vj_rng_below(seed, g, VJ_TAG_CROP, 4 * t + 3, aux, (uint64_t)(width - out->width + 1));
        return;
    }
    vj_crop_fallback(out, c, height, width);
}

// ---- pixels -------------------------------------------------------------------------------------------------------

struct vj_resampler {
    int64_t side;
    int32_t *x0, *x1, *y0, *y1;    // (side) byte offsets of columns, row numbers
    float *wx, *wy;                // (side) weight of the second neighbour
    float *rows[2];                // (3, side) squeezed source rows
    int64_t row_of[2];             // which source row a buffer holds, -1 none
};

vj_status vj_resampler_create(vj_resampler **out, int64_t side)
{
    *out = NULL;
    vj_resampler *r = calloc(1, sizeof *r);
    VJ_CHECK(r != NULL, VJ_ERR_NOMEM, "no memory for a resampler");
    const size_t n = (size_t)side;
    r->side = side;
    r->x0 = calloc(4 * n, sizeof *r->x0);
    r->wx = calloc(8 * n, sizeof *r->wx);
    if (!r->x0 || !r->wx) {
        vj_resampler_destroy(&r);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for a resampler of %lld pixels", (long long)side);
    }
    r->x1 = r->x0 + n;
    r->y0 = r->x1 + n;
    r->y1 = r->y0 + n;
    r->wy = r->wx + n;
    r->rows[0] = r->wy + n;
    r->rows[1] = r->rows[0] + 3 * n;
    *out = r;
    return VJ_OK;
}

void vj_resampler_destroy(vj_resampler **resampler)
{
    vj_resampler *r = *resampler;
    if (r == NULL) return;
    free(r->x0);
    free(r->wx);
    free(r);
    *resampler = NULL;
}

// Neighbours and weight for each of `side` outputs over `size` inputs; offsets are multiplied by `stride`.
static void make_axis(int64_t side, int64_t size, bool reverse, int32_t stride, int32_t *first, int32_t *second,
                      float *weight)
{
    const double scale = (double)size / (double)side;
    for (int64_t i = 0; i < side; i++) {
        double at = ((double)i + 0.5) * scale - 0.5;
        if (at < 0) at = 0;
        int64_t low = (int64_t)at;
        if (low > size - 1) low = size - 1;
        const int64_t high = low < size - 1 ? low + 1 : low, to = reverse ? side - 1 - i : i;
        first[to] = (int32_t)low * stride;
        second[to] = (int32_t)high * stride;
        weight[to] = (float)(at - (double)low);
    }
}

// One source row of the box -> (3, side).
static void squeeze(const vj_resampler *r, const uint8_t *row, float *restrict out)
{
    const int64_t S = r->side;
    float *restrict red = out, *restrict green = out + S, *restrict blue = out + 2 * S;
    for (int64_t x = 0; x < S; x++) {
        const uint8_t *p = row + r->x0[x], *q = row + r->x1[x];
        const float w = r->wx[x];
        red[x] = (float)p[0] + w * (float)(q[0] - p[0]);
        green[x] = (float)p[1] + w * (float)(q[1] - p[1]);
        blue[x] = (float)p[2] + w * (float)(q[2] - p[2]);
    }
}

static const float *squeezed(vj_resampler *r, const uint8_t *box, int64_t pitch, int64_t y, int keep)
{
    if (r->row_of[0] == y) return r->rows[0];
    if (r->row_of[1] == y) return r->rows[1];
    const int into = keep == 0 ? 1 : 0;
    squeeze(r, box + y * pitch, r->rows[into]);
    r->row_of[into] = y;
    return r->rows[into];
}

static void blend(float *restrict out, const float *restrict a, const float *restrict b, float w, float shift,
                  float factor,
                  int64_t n)
{
    for (int64_t x = 0; x < n; x++) out[x] = (a[x] + w * (b[x] - a[x]) - shift) * factor;
}

// One frame -> its plane of each channel; channels of the output are `channel` elements apart.
static void resample_frame(vj_resampler *r, const uint8_t *box, int64_t pitch, float *out, int64_t channel)
{
    static const float mean[3] = { 0.485f * 255, 0.456f * 255, 0.406f * 255 };
    static const float factor[3] = { 1 / (0.229f * 255), 1 / (0.224f * 255), 1 / (0.225f * 255) };
    const int64_t S = r->side;
    r->row_of[0] = r->row_of[1] = -1;
    for (int64_t y = 0; y < S; y++) {
        // The first row must not throw out the second one when that is already there.
        const float *a = squeezed(r, box, pitch, r->y0[y], r->row_of[0] == r->y1[y] ? 0 : 1);
        const float *b = squeezed(r, box, pitch, r->y1[y], a == r->rows[0] ? 0 : 1);
        for (int c = 0; c < 3; c++)
            blend(out + c * channel + y * S, a + c * S, b + c * S, r->wy[y], mean[c], factor[c], S);
    }
}

void vj_resample(vj_resampler *r, const uint8_t *rgb, int64_t n, int64_t height, int64_t width, const vj_crop *crop,
                 float *out,
                 int64_t frames)
{
    VJ_ASSERT(n == frames || n == 1);
    VJ_ASSERT(crop->top >= 0 && crop->left >= 0 && crop->height >= 1 && crop->width >= 1);
    VJ_ASSERT(crop->top + crop->height <= height && crop->left + crop->width <= width);
    const int64_t plane = r->side * r->side, pitch = 3 * width;
    make_axis(r->side, crop->width, crop->flip, 3, r->x0, r->x1, r->wx);
    make_axis(r->side, crop->height, false, 1, r->y0, r->y1, r->wy);
    for (int64_t f = 0; f < n; f++) {
        const uint8_t *box = rgb + (f * height + crop->top) * pitch + 3 * crop->left;
        resample_frame(r, box, pitch, out + f * plane, frames * plane);
    }
    if (n == frames) return;
    for (int c = 0; c < 3; c++) {
        float *first = out + c * frames * plane;
        for (int64_t f = 1; f < frames; f++) memcpy(first + f * plane, first, (size_t)plane * sizeof *first);
    }
}
