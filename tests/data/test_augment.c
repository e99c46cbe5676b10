// tests/data/test_augment.c: crops and pixels (spec/pretrain.md 7.4, spec/data.md 5.1 T12)

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/augment.h"
#include "runtime/base/rng.h"

static vj_data_config paper(void)
{
    return (vj_data_config){ .crop_scale_low = 0.3, .crop_scale_high = 1, .crop_ratio_low = 0.75,
                             .crop_ratio_high = 1.35, .flip = true };
}

// The first try of a sample, written out from its four draws.
static void first_try_follows_the_formula(void **state)
{
    (void)state;
    const vj_data_config config = paper();
    int checked = 0;
    for (uint64_t g = 0; g < 500; g++) {
        vj_crop crop;
        vj_crop_draw(&crop, &config, 239, g, 2, 240, 320);
        const double area = (0.3 + 0.7 * vj_rng_uniform(239, g, VJ_TAG_CROP, 0, 2)) * 240 * 320;
        const double ratio = exp(log(0.75) + (log(1.35) - log(0.75)) * vj_rng_uniform(239, g, VJ_TAG_CROP, 1, 2));
        const int64_t w = (int64_t)rint(sqrt(area * ratio)), h = (int64_t)rint(sqrt(area / ratio));
        assert_true(crop.flip == (vj_rng_uniform(239, g, VJ_TAG_FLIP, 0, 2) < 0.5));
        if (w > 320 || h > 240) {
            assert_true(crop.tries > 1);
            continue;
        }
        checked++;
        assert_int_equal(crop.tries, 1);
        assert_int_equal(crop.width, w);
        assert_int_equal(crop.height, h);
        assert_int_equal(crop.top, vj_rng_below(239, g, VJ_TAG_CROP, 2, 2, (uint64_t)(240 - h + 1)));
        assert_int_equal(crop.left, vj_rng_below(239, g, VJ_TAG_CROP, 3, 2, (uint64_t)(320 - w + 1)));
    }
    assert_true(checked > 250);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// Kolmogorov-Smirnov against the uniform distribution on [0, 1], times sqrt(n): above 1.95 with probability 0.001.
static double ks(double *v, int n)
{
    double worst = 0;
    qsort(v, (size_t)n, sizeof *v, ascending);
    for (int i = 0; i < n; i++) worst = fmax(worst, fmax(v[i] - (double)i / n, (double)(i + 1) / n - v[i]));
    return worst * sqrt(n);
}

static void areas_and_ratios_are_uniform(void **state)
{
    (void)state;
    vj_data_config config = paper();
    config.crop_scale_high = 0.7;   // so that every first try fits into a square and nothing is censored
    enum { N = 4000 };
    static double area[N], ratio[N];
    const double side = 100000;
    for (uint64_t g = 0; g < N; g++) {
        vj_crop crop;
        vj_crop_draw(&crop, &config, 5, g, 0, (int64_t)side, (int64_t)side);
        assert_int_equal(crop.tries, 1);
        area[g] = ((double)crop.width * (double)crop.height / (side * side) - 0.3) / 0.4;
        ratio[g] = (log((double)crop.width / (double)crop.height) - log(0.75)) / (log(1.35) - log(0.75));
    }
    assert_true(ks(area, N) < 1.95);
    assert_true(ks(ratio, N) < 1.95);
}

static void boxes_are_inside(void **state)
{
    (void)state;
    const vj_data_config config = paper();
    static const int64_t sizes[][2] =
        { { 240, 320 }, { 320, 180 }, { 1, 1 }, { 1, 500 }, { 500, 1 }, { 2, 3 }, { 1080, 1920 } };
    int flips = 0, fallbacks[7] = { 0 };
    for (size_t k = 0; k < 7; k++) {
        for (uint64_t g = 0; g < 2000; g++) {
            vj_crop c;
            vj_crop_draw(&c, &config, 9, g, 0, sizes[k][0], sizes[k][1]);
            assert_true(c.height >= 1 && c.width >= 1 && c.top >= 0 && c.left >= 0);
            assert_true(c.top + c.height <= sizes[k][0] && c.left + c.width <= sizes[k][1]);
            flips += c.flip;
            fallbacks[k] += c.fallback;
        }
    }
    assert_in_range(flips, 6600, 7400);   // 7000 +- 7 sigma
    assert_true(fallbacks[0] < 20);
    assert_int_equal(fallbacks[3], 2000); // one row: no crop of that ratio exists
}

// The released robot configuration: 16:9 frames never fit, so the box is fixed.
static void impossible_scale_gives_the_fixed_box(void **state)
{
    (void)state;
    vj_data_config config = paper();
    config.crop_scale_low = config.crop_scale_high = 1.777;
    for (uint64_t g = 0; g < 100; g++) {
        vj_crop c;
        vj_crop_draw(&c, &config, 1, g, 0, 180, 320);
        assert_true(c.fallback);
        assert_int_equal(c.height, 180);
        assert_int_equal(c.width, 243);
        assert_int_equal(c.left, 38);
        assert_int_equal(c.top, 0);
    }
    vj_crop c;
    vj_crop_draw(&c, &config, 1, 0, 0, 320, 180);   // portrait: full width, height 180 / 0.75
    assert_int_equal(c.width, 180);
    assert_int_equal(c.height, 240);
    assert_int_equal(c.top, 40);
    config.flip = false;
    for (uint64_t g = 0; g < 50; g++) {
        vj_crop_draw(&c, &config, 1, g, 0, 320, 180);
        assert_false(c.flip);
    }
}

// ---- pixels -------------------------------------------------------------------------------------------------------

static uint8_t *noise(int64_t bytes, uint64_t seed)
{
    uint8_t *rgb = malloc((size_t)bytes);
    for (int64_t i = 0; i < bytes; i++) rgb[i] = (uint8_t)vj_rng_u64(seed, (uint64_t)i, 60, 0, 0);
    return rgb;
}

// One value, in double, straight from the definition.
static double oracle(const uint8_t *frame, int64_t width, const vj_crop *crop, int64_t side, int channel, int64_t y,
                     int64_t x)
{
    static const double mean[3] = { 0.485, 0.456, 0.406 }, std[3] = { 0.229, 0.224, 0.225 };
    if (crop->flip) x = side - 1 - x;
    const double sy = fmax(0, ((double)y + 0.5) * (double)crop->height / (double)side - 0.5);
    const double sx = fmax(0, ((double)x + 0.5) * (double)crop->width / (double)side - 0.5);
    const int64_t y0 = (int64_t)sy, x0 = (int64_t)sx;
    const int64_t y1 = y0 + 1 < crop->height ? y0 + 1 : y0, x1 = x0 + 1 < crop->width ? x0 + 1 : x0;
    const double wy = sy - (double)y0, wx = sx - (double)x0;
#define PIXEL(r, c) (double)frame[((crop->top + (r)) * width + crop->left + (c)) * 3 + channel]
    const double v = (1 - wy) * ((1 - wx) * PIXEL(y0,
                                                  x0) + wx * PIXEL(y0,
                                                                   x1)) + wy * ((1 - wx) * PIXEL(y1,
                                                                                                 x0) + wx * PIXEL(y1,
                                                                                                                  x1));
#undef PIXEL
    return (v - 255 * mean[channel]) / (255 * std[channel]);
}

static void pixels_match_the_definition(void **state)
{
    (void)state;
    static const struct { int64_t h, w, side; vj_crop crop; } cases[] = {
        { 48, 64, 32, { .top = 3, .left = 5, .height = 40, .width = 50 } },
        { 48, 64, 32, { .top = 3, .left = 5, .height = 40, .width = 50, .flip = true } },
        { 20, 17, 64, { .top = 0, .left = 0, .height = 20, .width = 17, .flip = true } },   // larger than the source
        { 9, 9, 16, { .top = 8, .left = 8, .height = 1, .width = 1 } },
        { 200, 300, 8, { .top = 10, .left = 20, .height = 189,
                         .width = 277 } },            // far smaller: no antialiasing
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const int64_t h = cases[k].h, w = cases[k].w, S = cases[k].side, F = 3;
        uint8_t *rgb = noise(F * h * w * 3, k);
        float *out = malloc((size_t)(3 * F * S * S) * sizeof *out);
        vj_resampler *r = NULL;
        assert_int_equal(vj_resampler_create(&r, S), VJ_OK);
        vj_resample(r, rgb, F, h, w, &cases[k].crop, out, F);
        for (int c = 0; c < 3; c++) {
            for (int64_t f = 0; f < F; f++) {
                for (int64_t i = 0; i < S * S; i++) {
                    const double want = oracle(rgb + f * h * w * 3, w, &cases[k].crop, S, c, i / S, i % S);
                    assert_true(fabs(out[(c * F + f) * S * S + i] - want) < 2e-5);
                }
            }
        }
        vj_resampler_destroy(&r);
        free(out);
        free(rgb);
    }
}

static void equal_size_keeps_every_value(void **state)
{
    (void)state;
    const int64_t S = 16;
    uint8_t *rgb = noise(S * S * 3, 4);
    float out[3 * 16 * 16];
    vj_resampler *r = NULL;
    assert_int_equal(vj_resampler_create(&r, S), VJ_OK);
    vj_resample(r, rgb, 1, S, S, &(vj_crop){ .height = S, .width = S }, out, 1);
    static const float mean[3] = { 0.485f * 255, 0.456f * 255, 0.406f * 255 }, factor[3] =
        { 1 / (0.229f * 255), 1 / (0.224f * 255), 1 / (0.225f * 255) };
    for (int c = 0; c < 3; c++) {
        for (int64_t i = 0; i < S * S; i++)
            assert_true(out[c * S * S + i] == ((float)rgb[3 * i + c] - mean[c]) * factor[c]);
    }
    vj_resampler_destroy(&r);
    free(rgb);
}

static void pictures_fill_all_frames(void **state)
{
    (void)state;
    const int64_t S = 24, F = 4, plane = S * S;
    uint8_t *rgb = noise(30 * 40 * 3, 8), *video = malloc(4 * 30 * 40 * 3);
    for (int f = 0; f < 4; f++) memcpy(video + f * 30 * 40 * 3, rgb, 30 * 40 * 3);
    float *one = malloc((size_t)(3 * F * plane) * sizeof *one), *many = malloc((size_t)(3 * F * plane) * sizeof *many);
    vj_resampler *r = NULL;
    assert_int_equal(vj_resampler_create(&r, S), VJ_OK);
    const vj_crop crop = { .top = 2, .left = 1, .height = 25, .width = 33, .flip = true };
    vj_resample(r, rgb, 1, 30, 40, &crop, one, F);
    vj_resample(r, video, F, 30, 40, &crop, many, F);
    assert_memory_equal(one, many, (size_t)(3 * F * plane) * sizeof *one);
    vj_resampler_destroy(&r);
    free(one);
    free(many);
    free(rgb);
    free(video);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_try_follows_the_formula),
        cmocka_unit_test(areas_and_ratios_are_uniform),
        cmocka_unit_test(boxes_are_inside),
        cmocka_unit_test(impossible_scale_gives_the_fixed_box),
        cmocka_unit_test(pixels_match_the_definition),
        cmocka_unit_test(equal_size_keeps_every_value),
        cmocka_unit_test(pictures_fill_all_frames),
    };
    return cmocka_run_group_tests_name("data/augment", tests, NULL, NULL);
}
