// tests/support/tiny_shards.c

#include "tests/support/tiny_shards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/pack.h"
#include "runtime/base/file.h"
#include "runtime/base/rng.h"
#include "runtime/base/str.h"

enum { TINY_TAG = 0x7e000 };   // streams of its own

int vj_tiny_frame_level(int frame) { return 16 + 2 * (frame % 100); }

// Luma of a background with three squares that bounce at their own speeds.
static void draw_luma(unsigned char *y, int width, int height, int frame, uint64_t seed)
{
    for (int r = 0; r < height; r++) {
        for (int c = 0; c < width; c++) y[r * width + c] = (unsigned char)(60 + 40 * (((r / 8) + (c / 8) + (int)(seed & 7)) & 1) + r);
    }
    const int side = (width < height ? width : height) / 4 + 1;
    for (uint32_t q = 0; q < 3; q++) {
        const int span_x = width - side, span_y = height - side;
        const int x0 = (int)vj_rng_below(seed, q, TINY_TAG, 0, 0, (uint64_t)span_x + 1), y0 = (int)vj_rng_below(seed, q, TINY_TAG, 1, 0, (uint64_t)span_y + 1);
        const int dx = 1 + (int)vj_rng_below(seed, q, TINY_TAG, 2, 0, 3), dy = (int)vj_rng_below(seed, q, TINY_TAG, 3, 0, 3);
        int x = (x0 + frame * dx) % (2 * span_x + 1), top = (y0 + frame * dy) % (2 * span_y + 1);
        if (x > span_x) x = 2 * span_x - x;
        if (top > span_y) top = 2 * span_y - top;
        for (int r = 0; r < side; r++) {
            for (int c = 0; c < side; c++) y[(top + r) * width + x + c] = (unsigned char)(120 + 30 * (int)q + 20 * ((r ^ c) & 1));
        }
    }
    for (int r = 0; r < 8 && r < height; r++) {
        for (int c = 0; c < 8 && c < width; c++) y[r * width + c] = (unsigned char)vj_tiny_frame_level(frame);
    }
}

vj_status vj_tiny_video(const char *path, int width, int height, int frames, int fps_num, int fps_den, uint64_t seed)
{
    VJ_ASSERT(width % 2 == 0 && height % 2 == 0 && width >= 16 && height >= 16);
    const size_t luma = (size_t)width * (size_t)height, picture = luma + luma / 2;
    vj_str file = { 0 };
    unsigned char *yuv = malloc(picture);
    VJ_CHECK(yuv != NULL, VJ_ERR_NOMEM, "no memory for a test video");
    vj_str_printf(&file, "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C420jpeg\n", width, height, fps_num, fps_den);
    for (int k = 0; k < frames; k++) {
        draw_luma(yuv, width, height, k, seed);
        memset(yuv + luma, 128 - (int)(seed % 40), luma / 4);
        memset(yuv + luma + luma / 4, 128 + (int)(seed % 30), luma / 4);
        vj_str_add(&file, "FRAME\n");
        vj_str_add_n(&file, (const char *)yuv, picture);
    }
    const vj_status status = vj_file_write_atomic(path, file.data, file.length);
    vj_str_free(&file);
    free(yuv);
    return status;
}

vj_status vj_tiny_idx(const char *path, int count, uint64_t seed)
{
    vj_str file = { 0 };
    const unsigned char header[16] = { 0, 0, 8, 3, (unsigned char)(count >> 24), (unsigned char)(count >> 16), (unsigned char)(count >> 8),
                                       (unsigned char)count, 0, 0, 0, 28, 0, 0, 0, 28 };
    vj_str_add_n(&file, (const char *)header, sizeof header);
    for (int i = 0; i < count; i++) {
        char gray[28 * 28];
        for (int j = 0; j < 28 * 28; j++) gray[j] = (char)vj_rng_below(seed, (uint64_t)i, TINY_TAG, (uint32_t)(j & 63), (uint32_t)(j >> 6), 256);
        vj_str_add_n(&file, gray, sizeof gray);
    }
    const vj_status status = vj_file_write_atomic(path, file.data, file.length);
    vj_str_free(&file);
    return status;
}

static int or_default(int value, int otherwise) { return value == 0 ? otherwise : value; }

vj_status vj_tiny_shards(const char *dir, const vj_tiny_shards_options *o)
{
    char videos[4096], images[4096], shards[4096], path[4200];
    const vj_tiny_shards_options zero = { 0 };
    if (o == NULL) o = &zero;
    vj_path_join(videos, sizeof videos, dir, "videos");
    vj_path_join(images, sizeof images, dir, "images");
    vj_path_join(shards, sizeof shards, dir, "shards");
    VJ_TRY(vj_dir_create(videos));
    for (int i = 0; i < or_default(o->videos, 4); i++) {
        vj_format(path, sizeof path, "%s/video-%02d.y4m", videos, i);
        VJ_TRY(vj_tiny_video(path, or_default(o->width, 64), or_default(o->height, 48), or_default(o->frames, 120), or_default(o->fps, 10), 1,
                             (uint64_t)(100 + i)));
    }
    const vj_pack_source sources[2] = {
        { .name = "tiny", .path = videos, .image = false, .weight = -1 },
        { .name = "pictures", .path = images, .image = true, .weight = -1 },
    };
    if (o->images > 0) {
        VJ_TRY(vj_dir_create(images));
        vj_format(path, sizeof path, "%s/tiny-images-idx3-ubyte", images);
        VJ_TRY(vj_tiny_idx(path, o->images, 7));
    }
    vj_pack_request request;
    vj_pack_report report;
    vj_pack_defaults(&request);
    request.out = shards;
    request.sources = sources;
    request.n_sources = o->images > 0 ? 2 : 1;
    request.window = o->window < 0 ? 0 : o->window > 0 ? o->window : 4;
    request.hold_out = o->hold_out;
    request.recode = o->recode < 0 ? 0 : or_default(o->recode, 48);
    request.threads = or_default(o->threads, 1);
    return vj_pack(&request, &report);
}
