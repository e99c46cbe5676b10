// tests/data/test_recode.c
//
// The encoder alone; what comes out of whole files is in test_decode.c and test_pack.c.

#include <libavutil/frame.h>
#include <string.h>

#include "data/decode_impl.h"
#include "data/recode.h"
#include "tests/support/scratch.h"

static AVFrame *picture(int width, int height, int k)
{
    AVFrame *f = av_frame_alloc();
    f->width = width;
    f->height = height;
    f->format = AV_PIX_FMT_YUV420P;
    f->colorspace = AVCOL_SPC_UNSPECIFIED;
    assert_true(av_frame_get_buffer(f, 0) >= 0);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) f->data[0][y * f->linesize[0] + x] = (uint8_t)(40 + (x + y + 5 * k) % 150);
    }
    for (int p = 1; p < 3; p++) memset(f->data[p], 110 + 10 * p, (size_t)f->linesize[p] * (size_t)((height + 1) / 2));
    return f;
}

typedef struct window {
    int width, height;
    int32_t fps_num, fps_den;
    int64_t duration_us, step_us;
    int frames;
} window;

static vj_recoder *encode(const window *w, const vj_recode_config *config, vj_clip *clip, vj_bytes *bytes, int32_t fps[2])
{
    vj_recoder *r;
    assert_ok(vj_recoder_create(&r, config, w->fps_num, w->fps_den, w->duration_us));
    for (int k = 0; k < w->frames; k++) {
        AVFrame *f = picture(w->width, w->height, k);
        assert_ok(vj_recoder_frame(r, f, k * w->step_us));
        av_frame_free(&f);
    }
    assert_ok(vj_recoder_finish(r, clip, &fps[0], &fps[1]));
    assert_ok(vj_clip_write(clip, bytes));
    return r;
}

static void the_same_window_gives_the_same_bytes(void **state)
{
    (void)state;
    const vj_recode_config config = { .side = 64, .gop = 8, .crf = 23, .max_fps = 30 };
    const window w = { .width = 160, .height = 96, .fps_num = 10, .fps_den = 1, .duration_us = 4000000, .step_us = 100000, .frames = 40 };
    vj_clip a, b, parsed = { 0 };
    vj_bytes x = { 0 }, y = { 0 };
    int32_t fps[2];
    vj_recoder *r = encode(&w, &config, &a, &x, fps), *s = encode(&w, &config, &b, &y, fps);
    assert_int_equal(x.bytes, y.bytes);
    assert_memory_equal(x.data, y.data, x.bytes);
    assert_ok(vj_clip_parse(&parsed, x.data, x.bytes));
    assert_true(parsed.n_frames == 40 && parsed.n_packets == 40 && parsed.height == 64 && parsed.width == 106 && fps[0] == 10 && fps[1] == 1);
    for (int i = 0; i < 40; i++) {
        assert_true(parsed.packets[i].key == (i % 8 == 0) && parsed.frames[i].packet == (uint32_t)i && parsed.frames[i].time_us == i * 100000);
    }
    vj_clip_free(&parsed);
    vj_bytes_free(&x);
    vj_bytes_free(&y);
    vj_recoder_destroy(&r);
    vj_recoder_destroy(&s);
    assert_null(r);
}

static void sizes_rates_and_groups_follow_the_rule(void **state)
{
    (void)state;
    const struct { int width, height, side, w, h; int32_t num, den; int64_t frames; int gop; } rules[] = {
        { 768, 576, 96, 128, 96, 10, 1, 10, 8 },     // shrunk
        { 96, 128, 64, 64, 86, 25, 1, 25, 1 },       // portrait, every picture a keyframe
        { 64, 48, 96, 64, 48, 25, 1, 25, 8 },        // never enlarged
        { 65, 49, 96, 64, 48, 25, 1, 25, 8 },        // odd sizes lose a column
        { 64, 48, 48, 64, 48, 30000, 1001, 30, 8 },
        { 64, 48, 48, 64, 48, 60, 1, 30, 8 },        // capped at 30
        { 64, 48, 48, 64, 48, 2, 1, 2, 8 },
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const vj_recode_config config = { .side = rules[i].side, .gop = rules[i].gop, .crf = 23, .max_fps = 30 };
        const int n = (int)((rules[i].num + rules[i].den - 1) / rules[i].den);
        const window w = { .width = rules[i].width, .height = rules[i].height, .fps_num = rules[i].num, .fps_den = rules[i].den,
                           .duration_us = 1000000, .step_us = (int64_t)1000000 * rules[i].den / rules[i].num, .frames = n };
        vj_clip clip;
        vj_bytes bytes = { 0 };
        int32_t fps[2];
        vj_recoder *r = encode(&w, &config, &clip, &bytes, fps);
        if (clip.width != rules[i].w || clip.height != rules[i].h || clip.n_frames != rules[i].frames) {
            fail_msg("rule %d: %d x %d, %d frames", (int)i, clip.width, clip.height, (int)clip.n_frames);
        }
        assert_true(rules[i].gop > 1 || clip.packets[1].key);
        vj_bytes_free(&bytes);
        vj_recoder_destroy(&r);
    }
}

// Gaps repeat the picture before; a late first picture serves from the start.
static void holes_are_filled(void **state)
{
    (void)state;
    const vj_recode_config config = { .side = 48, .gop = 8, .crf = 23, .max_fps = 30 };
    vj_recoder *r;
    vj_clip clip;
    int32_t fps[2];
    assert_ok(vj_recoder_create(&r, &config, 10, 1, 2000000));
    const int64_t times[3] = { 300000, 400000, 1500000 };
    for (int k = 0; k < 3; k++) {
        AVFrame *f = picture(64, 48, 10 * k);
        assert_ok(vj_recoder_frame(r, f, times[k]));
        av_frame_free(&f);
    }
    assert_ok(vj_recoder_finish(r, &clip, &fps[0], &fps[1]));
    assert_int_equal(clip.n_frames, 20);
    vj_recoder_destroy(&r);
    assert_ok(vj_recoder_create(&r, &config, 10, 1, 2000000));
    assert_fails(vj_recoder_finish(r, &clip, &fps[0], &fps[1]), VJ_ERR_DATA, "no frame");
    vj_recoder_destroy(&r);
    assert_fails(vj_recoder_create(&r, &config, 30, 1, (int64_t)3600 * 1000000), VJ_ERR_DATA, "--window");
}

int main(void)
{
    if (vj_recode_check() != VJ_OK) {
        fprintf(stderr, "%s\n", vj_error_text());   // a missing package is a failure
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_window_gives_the_same_bytes),
        cmocka_unit_test(sizes_rates_and_groups_follow_the_rule),
        cmocka_unit_test(holes_are_filled),
    };
    return cmocka_run_group_tests_name("data/recode", tests, NULL, NULL);
}
