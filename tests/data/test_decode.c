// tests/data/test_decode.c
//
// Frames are told apart by the brightness of their top left corner (tests/support/tiny_shards.h).

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <string.h>

#include "data/clip.h"
#include "data/decode.h"
#include "data/decode_impl.h"
#include "data/pack.h"
#include "data/shard.h"
#include "runtime/base/rng.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

// ---- making and packing videos -------------------------------------------------------------------------------------

typedef struct video_options {
    int width, height, frames, gop, b_frames;
    bool open_gop, full_range;
    double rotation;           // display matrix, degrees clockwise
    const char *codec;
    int64_t (*time)(int frame);   // in units of 1/1000 s; NULL: 25 frames a second
} video_options;

static void draw(AVFrame *f, int k)
{
    for (int y = 0; y < f->height; y++) {
        for (int x = 0; x < f->width; x++) f->data[0][y * f->linesize[0] + x] = (uint8_t)(60 + (x + 2 * y + 3 * k) % 120);
    }
    for (int y = 0; y < 8; y++) memset(f->data[0] + y * f->linesize[0], vj_tiny_frame_level(k), 8);
    for (int p = 1; p < 3; p++) {
        for (int y = 0; y < (f->height + 1) / 2; y++) memset(f->data[p] + y * f->linesize[p], 128, (size_t)(f->width + 1) / 2);
    }
}

static void drain_encoder(AVCodecContext *e, AVFormatContext *out, AVPacket *packet)
{
    while (avcodec_receive_packet(e, packet) == 0) {
        av_packet_rescale_ts(packet, e->time_base, out->streams[0]->time_base);
        packet->stream_index = 0;
        if (packet->duration == 0) packet->duration = av_rescale_q(1, e->time_base, out->streams[0]->time_base);
        assert_true(av_interleaved_write_frame(out, packet) >= 0);
    }
}

// A file made by libavformat (the extension of `path` says which kind).
static void make_video(const char *path, const video_options *o)
{
    AVFormatContext *out = NULL;
    vj_av_start();
    assert_true(avformat_alloc_output_context2(&out, NULL, NULL, path) >= 0);
    const AVCodec *codec = avcodec_find_encoder_by_name(o->codec != NULL ? o->codec : "libx264");
    assert_non_null(codec);
    AVCodecContext *e = avcodec_alloc_context3(codec);
    e->width = o->width;
    e->height = o->height;
    e->pix_fmt = o->full_range ? AV_PIX_FMT_YUVJ420P : AV_PIX_FMT_YUV420P;
    e->color_range = o->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    e->time_base = o->time != NULL ? (AVRational){ 1, 1000 } : (AVRational){ 1, 25 };
    e->gop_size = o->gop;
    e->keyint_min = o->gop;
    e->max_b_frames = o->b_frames;
    e->thread_count = 1;
    if (out->oformat->flags & AVFMT_GLOBALHEADER) e->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (o->codec == NULL) {
        av_opt_set(e->priv_data, "crf", "10", 0);
        av_opt_set(e->priv_data, "x264-params", o->open_gop ? "scenecut=0:open-gop=1:b-adapt=0:b-pyramid=2" : "scenecut=0:b-adapt=0:b-pyramid=2", 0);
    } else {
        e->global_quality = 2 * FF_QP2LAMBDA;
        e->flags |= AV_CODEC_FLAG_QSCALE;
    }
    assert_true(avcodec_open2(e, codec, NULL) >= 0);
    AVStream *stream = avformat_new_stream(out, NULL);
    assert_true(avcodec_parameters_from_context(stream->codecpar, e) >= 0);
    stream->time_base = e->time_base;
    if (o->rotation != 0) {
        int32_t *matrix = (int32_t *)av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, 36);
        av_display_rotation_set(matrix, o->rotation);
    }
    assert_true(avio_open(&out->pb, path, AVIO_FLAG_WRITE) >= 0);
    assert_true(avformat_write_header(out, NULL) >= 0);
    AVFrame *f = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    f->width = o->width;
    f->height = o->height;
    f->format = e->pix_fmt;
    assert_true(av_frame_get_buffer(f, 0) >= 0);
    for (int k = 0; k < o->frames; k++) {
        assert_true(av_frame_make_writable(f) >= 0);
        draw(f, k);
        f->pts = o->time != NULL ? o->time(k) : k;
        f->quality = e->global_quality;
        assert_true(avcodec_send_frame(e, f) >= 0);
        drain_encoder(e, out, packet);
    }
    assert_true(avcodec_send_frame(e, NULL) >= 0);
    drain_encoder(e, out, packet);
    assert_true(av_write_trailer(out) >= 0);
    av_packet_free(&packet);
    av_frame_free(&f);
    avcodec_free_context(&e);
    avio_closep(&out->pb);
    avformat_free_context(out);
}

typedef struct fixture {
    vj_catalog *catalog;
    vj_shards *shards;
    vj_decoder *decoder;
    vj_bytes bytes;
    vj_sample_info info;
} fixture;

// A folder STATE/name with one video `file` made by `o`, packed with `window` seconds as packets, or re-encoded.
static fixture open_fixture(void **state, const char *name, const char *file, const video_options *o, double window, int recode)
{
    char dir[4096], videos[4096], shards[4096], path[4096];
    fixture x = { 0 };
    vj_pack_request request;
    vj_pack_report report;
    vj_path_join(dir, sizeof dir, *state, name);
    vj_path_join(videos, sizeof videos, dir, "videos");
    vj_path_join(shards, sizeof shards, dir, "shards");
    assert_ok(vj_dir_create(videos));
    vj_path_join(path, sizeof path, videos, file);
    make_video(path, o);
    const vj_pack_source source = { .name = "v", .path = videos, .weight = -1 };
    vj_pack_defaults(&request);
    request.out = shards;
    request.sources = &source;
    request.n_sources = 1;
    request.window = window;
    request.recode = recode;
    request.crf = 4;
    assert_ok(vj_pack(&request, &report));
    assert_ok(vj_catalog_read(&x.catalog, shards));
    assert_ok(vj_shards_open(&x.shards, x.catalog, 0));
    assert_ok(vj_decoder_create(&x.decoder));
    return x;
}

static void close_fixture(fixture *x)
{
    vj_decoder_destroy(&x->decoder);
    vj_shards_close(&x->shards);
    vj_catalog_destroy(&x->catalog);
    vj_bytes_free(&x->bytes);
}

static void load(fixture *x, int64_t row) { assert_ok(vj_shards_read(x->shards, 0, false, row, &x->info, &x->bytes)); }

static vj_frames decode(fixture *x, const int64_t *index, int64_t n)
{
    vj_frames f;
    assert_ok(vj_decode_frames(x->decoder, &x->info, x->bytes.data, x->bytes.bytes, index, n, &f));
    assert_int_equal(f.n, n);
    assert_int_equal(f.repeated, 0);
    return f;
}

// Which frame (mod 100) a picture is, from its corner; limited-range luma.
static int frame_of(const vj_frames *f, int64_t i)
{
    const uint8_t *p = f->rgb + i * f->height * f->width * 3;
    double green = 0;
    for (int y = 2; y < 6; y++) {
        for (int x = 2; x < 6; x++) green += p[(y * f->width + x) * 3 + 1] / 16.0;
    }
    return (int)((green * 219.0 / 255.0 + 16.0 - 16.0) / 2.0 + 0.5);
}

// Row by row: every frame alone has the same bits as in one pass over all, and is the frame that it should be.
static int64_t check_rows(fixture *x, int first_frame)
{
    int64_t given = 0;
    for (int64_t row = 0; row < x->catalog->sources[0].train.rows; row++) {
        load(x, row);
        const int64_t n = x->info.n_frames;
        int64_t *all = calloc((size_t)n, sizeof *all);
        for (int64_t k = 0; k < n; k++) all[k] = k;
        vj_frames f = decode(x, all, n);
        const size_t picture = (size_t)(f.height * f.width * 3);
        uint8_t *keep = malloc(picture * (size_t)n);
        memcpy(keep, f.rgb, picture * (size_t)n);
        for (int64_t k = 0; k < n; k++) {
            const int64_t order[3] = { (k * 37) % n, (k * 11 + 5) % n, k };   // jumps to and fro
            for (int j = 0; j < 3; j++) {
                f = decode(x, &order[j], 1);
                if (memcmp(f.rgb, keep + (size_t)order[j] * picture, picture) != 0) fail_msg("row %d frame %d differs when decoded alone", (int)row, (int)order[j]);
            }
            if (first_frame >= 0) {
                const int expected = (int)((first_frame + given + k) % 100), got = frame_of(&f, 0);
                if (got < expected - 1 || got > expected + 1) fail_msg("row %d frame %d shows %d instead of %d", (int)row, (int)k, got, expected);
            }
        }
        given += n;
        free(keep);
        free(all);
    }
    return given;
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static void frames_are_exact_with_reordering_and_open_groups(void **state)
{
    for (int open = 0; open < 2; open++) {
        for (int mkv = 0; mkv < 2; mkv++) {
            char name[32];
            vj_format(name, sizeof name, "reorder-%d-%d", open, mkv);
            const video_options o = { .width = 64, .height = 48, .frames = 90, .gop = 12, .b_frames = 3, .open_gop = open == 1 };
            fixture x = open_fixture(state, name, mkv ? "a.mkv" : "a.mp4", &o, 1.0, 0);
            assert_int_equal(x.catalog->sources[0].train.rows, 4);   // 3.6 s
            assert_int_equal(check_rows(&x, 0), 90);
            close_fixture(&x);
        }
    }
}

static void old_codecs_and_containers_are_exact(void **state)
{
    const char *const codecs[][2] = { { "mpeg4", "a.avi" }, { "mpeg2video", "a.mpg" }, { "mjpeg", "a.avi" }, { "mpeg4", "a.mkv" } };
    for (int i = 0; i < 4; i++) {
        char name[32];
        vj_format(name, sizeof name, "old-%d", i);
        const video_options o = { .width = 64, .height = 48, .frames = 60, .gop = 10, .b_frames = i == 2 ? 0 : 2, .codec = codecs[i][0],
                                  .full_range = i == 2 };
        fixture x = open_fixture(state, name, codecs[i][1], &o, 1.0, 0);
        assert_int_equal(check_rows(&x, i == 2 ? -1 : 0), 60);
        assert_true(((x.info.flags & VJ_SAMPLE_ALL_INTRA) != 0) == (i == 2));
        close_fixture(&x);
    }
}

static void recoded_frames_are_exact(void **state)
{
    const video_options o = { .width = 128, .height = 96, .frames = 90, .gop = 40, .b_frames = 3 };
    fixture x = open_fixture(state, "recoded", "a.mp4", &o, 1.0, 96);
    assert_int_equal(check_rows(&x, 0), 90);
    assert_true(x.info.width == 128 && x.info.height == 96 && x.info.fps_num == 25 && x.info.fps_den == 1);
    vj_clip clip = { 0 };
    assert_ok(vj_clip_parse(&clip, x.bytes.data, x.bytes.bytes));
    for (int64_t i = 0; i < clip.n_packets; i++) assert_true(clip.packets[i].key == (i % 8 == 0));
    vj_clip_free(&clip);
    // Eight frames from groups of eight: few are decoded in vain.
    const int64_t eight[8] = { 0, 3, 6, 9, 12, 15, 18, 21 };
    load(&x, 0);
    assert_in_range(decode(&x, eight, 8).decoded, 8, 22);
    const int64_t last_group[2] = { 17, 18 };
    assert_in_range(decode(&x, last_group, 2).decoded, 2, 3);   // starts at 16, not at 0
    close_fixture(&x);
}

static void recoding_shrinks_and_caps_the_rate(void **state)
{
    const video_options o = { .width = 160, .height = 120, .frames = 120, .gop = 12, .b_frames = 0, .time = NULL };
    fixture x = open_fixture(state, "shrink", "a.mp4", &o, 2.0, 60);
    load(&x, 0);
    assert_true(x.info.width == 80 && x.info.height == 60 && x.info.n_frames == 50);
    close_fixture(&x);
}

static int64_t sixty_fps(int k) { return (int64_t)k * 1000 / 60; }

static void fast_videos_are_slowed_to_thirty(void **state)
{
    const video_options o = { .width = 64, .height = 48, .frames = 180, .gop = 12, .time = sixty_fps };
    fixture x = open_fixture(state, "sixty", "a.mkv", &o, 1.5, 48);
    assert_int_equal(x.catalog->sources[0].train.rows, 2);
    load(&x, 0);
    assert_true(x.info.fps_num == 30 && x.info.fps_den == 1 && x.info.n_frames == 45);
    for (int64_t k = 0; k < 45; k++) {
        const vj_frames f = decode(&x, &k, 1);
        assert_in_range(frame_of(&f, 0), (2 * k) % 100 > 2 ? (2 * k) % 100 - 1 : 0, (2 * k) % 100 + 2);   // every other one
    }
    close_fixture(&x);
}

static int64_t uneven(int k) { return k < 20 ? k * 40 : 800 + (k - 20) * 200; }   // 25, then 5 frames a second

static void times_find_the_displayed_frame(void **state)
{
    const video_options o = { .width = 64, .height = 48, .frames = 40, .gop = 10, .b_frames = 2, .time = uneven };
    fixture x = open_fixture(state, "times", "a.mkv", &o, 0, 0);
    load(&x, 0);
    assert_true(x.info.n_frames == 40 && (x.info.flags & VJ_SAMPLE_VFR));
    const double at[6] = { -1.0, 0.0, 0.41, 0.79, 1.19, 100.0 };
    const int64_t expected[6] = { 0, 0, 10, 19, 21, 39 };
    int64_t index[6];
    assert_ok(vj_decode_index_at(&x.info, x.bytes.data, x.bytes.bytes, at, 6, index));
    for (int i = 0; i < 6; i++) assert_int_equal(index[i], expected[i]);
    for (int i = 0; i < 40; i++) {   // every frame at its own time
        const double t = (double)uneven(i) / 1000.0;
        assert_ok(vj_decode_index_at(&x.info, x.bytes.data, x.bytes.bytes, &t, 1, index));
        assert_int_equal(index[0], i);
    }
    close_fixture(&x);
}

static void rotation_is_applied(void **state)
{
    const double degrees[3] = { -90, 180, 90 };   // clockwise
    for (int recode = 0; recode < 2; recode++) {
        for (int i = 0; i < 3; i++) {
            char name[32];
            vj_format(name, sizeof name, "turn-%d-%d", i, recode);
            const video_options o = { .width = 64, .height = 48, .frames = 10, .gop = 5, .rotation = degrees[i] };
            fixture x = open_fixture(state, name, "a.mp4", &o, 0, recode ? 48 : 0);
            load(&x, 0);
            const bool sideways = i != 1;
            assert_true(x.info.width == (sideways ? 48 : 64) && x.info.height == (sideways ? 64 : 48));
            const int64_t zero = 0;
            const vj_frames f = decode(&x, &zero, 1);
            assert_true(f.width == x.info.width && f.height == x.info.height);
            // The dark corner of frame 0 (top left as stored) goes bottom left, bottom right, top right.
            const int64_t cy = i == 2 ? 3 : f.height - 4, cx = i == 0 ? 3 : f.width - 4;
            for (int corner = 0; corner < 4; corner++) {
                const int64_t y = corner & 1 ? 3 : f.height - 4, c = corner & 2 ? 3 : f.width - 4;
                const uint8_t green = f.rgb[(y * f.width + c) * 3 + 1];
                if ((y == cy && c == cx) != (green < 20)) {
                    fail_msg("%g degrees, recode %d: pixel (%d, %d) is %d", degrees[i], recode, (int)y, (int)c, green);
                }
            }
            close_fixture(&x);
        }
    }
}

static void all_orientations_turn_as_exif_says(void **state)
{
    (void)state;
    // 2 x 3 pixels a b / c d / e f
    const uint8_t src[18] = { 'a', 0, 0, 'b', 0, 0, 'c', 0, 0, 'd', 0, 0, 'e', 0, 0, 'f', 0, 0 };
    const char *const expected[9] = { "", "abcdef", "badcfe", "fedcba", "efcdab", "acebdf", "ecafdb", "fdbeca", "bdface" };
    for (int orientation = 1; orientation <= 8; orientation++) {
        uint8_t out[18];
        vj_turn_rgb(out, src, 2, 3, 6, orientation);
        for (int i = 0; i < 6; i++) {
            if (out[3 * i] != expected[orientation][i]) fail_msg("orientation %d, pixel %d: '%c' instead of '%c'", orientation, i, out[3 * i], expected[orientation][i]);
        }
    }
}

static void odd_sizes_keep_every_column(void **state)
{
    // MJPEG takes any size; a column or row that is not converted would stay black or be old memory.
    const int sizes[4][2] = { { 65, 49 }, { 67, 31 }, { 33, 17 }, { 121, 81 } };
    for (int i = 0; i < 4; i++) {
        char name[32];
        vj_format(name, sizeof name, "odd-%d", i);
        const video_options o = { .width = sizes[i][0], .height = sizes[i][1], .frames = 3, .gop = 1, .codec = "mjpeg", .full_range = true };
        fixture x = open_fixture(state, name, "a.avi", &o, 0, 0);
        load(&x, 0);
        assert_true(x.info.width == sizes[i][0] && x.info.height == sizes[i][1]);
        const int64_t one = 1;
        const vj_frames f = decode(&x, &one, 1);
        for (int64_t y = 0; y < f.height; y++) {
            for (int64_t c = 0; c < f.width; c++) {
                if (y < 16 && c < 16) continue;
                const int expected = 60 + (int)((c + 2 * y + 3) % 120), got = f.rgb[(y * f.width + c) * 3 + 1];
                if ((expected > 75 && expected < 165) && (got < expected - 20 || got > expected + 20)) {
                    fail_msg("%d x %d: pixel (%d, %d) is %d instead of about %d", sizes[i][0], sizes[i][1], (int)y, (int)c, got, expected);
                }
            }
        }
        close_fixture(&x);
    }
}

// Bytes changed at random: a result or a reason, never a crash, never pixels outside the buffer.
static void hostile_bytes_give_reasons(void **state)
{
    const video_options o = { .width = 64, .height = 48, .frames = 50, .gop = 12, .b_frames = 2 };
    fixture x = open_fixture(state, "hostile", "a.mp4", &o, 0, 0);
    load(&x, 0);
    vj_bytes bad = { 0 };
    int refused = 0;
    const char *profile = getenv("VJ_TEST_PROFILE");
    const uint64_t rounds = profile != NULL && strcmp(profile, "release") == 0 ? 600 : 200;
    for (uint64_t i = 0; i < rounds; i++) {
        assert_ok(vj_bytes_set(&bad, x.bytes.bytes));
        memcpy(bad.data, x.bytes.data, x.bytes.bytes);
        size_t length = bad.bytes;
        const size_t range = i % 2 == 0 ? 1400 : length;   // header and tables, or anywhere
        for (uint64_t k = 0; k < 1 + i % 9; k++) {
            bad.data[vj_rng_below(9, i, 0x7f002, (uint32_t)k, 0, range < length ? range : length)] = (unsigned char)vj_rng_u64(9, i, 0x7f003, (uint32_t)k, 0);
        }
        if (i % 7 == 6) length = (size_t)vj_rng_below(9, i, 0x7f004, 0, 0, length);
        vj_frames f;
        const int64_t index[4] = { 0, (int64_t)(i % 20), 20 + (int64_t)(i % 10), 49 };
        const vj_status status = vj_decode_frames(x.decoder, &x.info, bad.data, length, index, 4, &f);
        if (status != VJ_OK) {
            assert_int_equal(status, VJ_ERR_DATA);
            assert_true(vj_error_text()[0] != '\0');
            refused++;
        }
    }
    assert_true(refused > 20);
    const int64_t outside[3][2] = { { -1, 0 }, { 0, 50 }, { 3, 2 } };
    vj_frames f;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(vj_decode_frames(x.decoder, &x.info, x.bytes.data, x.bytes.bytes, outside[i], 2, &f), VJ_ERR_DATA);
    }
    const int64_t twice[4] = { 7, 7, 7, 8 };   // equal ones are one decode
    f = decode(&x, twice, 4);
    assert_memory_equal(f.rgb, f.rgb + 2 * 64 * 48 * 3, 64 * 48 * 3);
    vj_sample_info huge = x.info;
    huge.width = huge.height = 30000;
    const int64_t zero = 0;
    assert_int_equal(vj_decode_frames(x.decoder, &huge, x.bytes.data, x.bytes.bytes, &zero, 1, &f), VJ_ERR_DATA);
    vj_bytes_free(&bad);
    close_fixture(&x);
}

// ---- pictures ------------------------------------------------------------------------------------------------------

static void encode_picture(vj_bytes *out, const char *codec_name, enum AVPixelFormat format, int width, int height)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(codec_name);
    assert_non_null(codec);
    AVCodecContext *e = avcodec_alloc_context3(codec);
    e->width = width;
    e->height = height;
    e->pix_fmt = format;
    e->color_range = AVCOL_RANGE_JPEG;
    e->time_base = (AVRational){ 1, 25 };
    e->flags |= AV_CODEC_FLAG_QSCALE;
    e->global_quality = FF_QP2LAMBDA;
    assert_true(avcodec_open2(e, codec, NULL) >= 0);
    AVFrame *f = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    f->width = width;
    f->height = height;
    f->format = format;
    f->quality = e->global_quality;
    assert_true(av_frame_get_buffer(f, 0) >= 0);
    for (int p = 0; p < 4 && f->data[p] != NULL; p++) memset(f->data[p], p == 0 ? 150 : 128, (size_t)f->linesize[p] * (size_t)(p > 0 && format == AV_PIX_FMT_YUVJ420P ? (height + 1) / 2 : height));
    assert_true(avcodec_send_frame(e, f) >= 0);
    assert_true(avcodec_send_frame(e, NULL) >= 0);
    assert_true(avcodec_receive_packet(e, packet) >= 0);
    out->bytes = 0;
    assert_ok(vj_bytes_add(out, packet->data, (size_t)packet->size));
    av_packet_free(&packet);
    av_frame_free(&f);
    avcodec_free_context(&e);
}

static void pictures_are_decoded(void **state)
{
    (void)state;
    const struct { const char *codec; enum AVPixelFormat format; vj_media media; } kinds[] = {
        { "mjpeg", AV_PIX_FMT_YUVJ420P, VJ_MEDIA_JPEG }, { "png", AV_PIX_FMT_GRAY8, VJ_MEDIA_PNG }, { "png", AV_PIX_FMT_RGB24, VJ_MEDIA_PNG },
        { "png", AV_PIX_FMT_GRAY16BE, VJ_MEDIA_PNG }, { "png", AV_PIX_FMT_RGBA, VJ_MEDIA_PNG }, { "bmp", AV_PIX_FMT_BGR24, VJ_MEDIA_OTHER_IMAGE },
    };
    vj_decoder *d;
    vj_bytes bytes = { 0 };
    vj_frames f;
    assert_ok(vj_decoder_create(&d));
    for (int i = 0; i < 6; i++) {
        encode_picture(&bytes, kinds[i].codec, kinds[i].format, 37, 23);
        const vj_sample_info info = { .width = 37, .height = 23, .orientation = 1, .media = kinds[i].media, .n_frames = 1 };
        assert_ok(vj_decode_image(d, &info, bytes.data, bytes.bytes, &f));
        assert_true(f.n == 1 && f.width == 37 && f.height == 23);
        for (int64_t p = 0; p < 37 * 23 * 3; p++) {
            if (f.rgb[p] < 148 || f.rgb[p] > 152) fail_msg("picture %d, byte %d is %d", i, (int)p, f.rgb[p]);
        }
        int refused = 0;
        for (uint64_t k = 0; k < 60; k++) {   // damage
            vj_bytes bad = { 0 };
            assert_ok(vj_bytes_add(&bad, bytes.data, bytes.bytes));
            bad.data[vj_rng_below(4, k, 0x7f005, 0, 0, bad.bytes)] ^= (unsigned char)(1 + vj_rng_below(4, k, 0x7f006, 0, 0, 255));
            const vj_status status = vj_decode_image(d, &info, bad.data, k % 3 == 2 ? bad.bytes / 2 : bad.bytes, &f);
            assert_true(status == VJ_OK || status == VJ_ERR_DATA);
            refused += status != VJ_OK;
            vj_bytes_free(&bad);
        }
        assert_true(refused > 0);
    }
    const unsigned char gray[6] = { 1, 2, 3, 4, 5, 6 };
    vj_sample_info info = { .width = 2, .height = 3, .orientation = 1, .media = VJ_MEDIA_GRAY8, .n_frames = 1 };
    assert_ok(vj_decode_image(d, &info, gray, 6, &f));
    for (int p = 0; p < 18; p++) assert_int_equal(f.rgb[p], 1 + p / 3);
    assert_fails(vj_decode_image(d, &info, gray, 5, &f), VJ_ERR_DATA, "5 bytes for a gray picture of 2 x 3");
    info.media = VJ_MEDIA_OTHER_IMAGE;
    assert_fails(vj_decode_image(d, &info, "hello, I am no picture", 22, &f), VJ_ERR_DATA, "no picture");
    vj_libav_log log;
    vj_libav_log_get(&log);
    assert_true(log.errors > 0);   // counted, not printed
    vj_bytes_free(&bytes);
    vj_decoder_destroy(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_exact_with_reordering_and_open_groups),
        cmocka_unit_test(old_codecs_and_containers_are_exact),
        cmocka_unit_test(recoded_frames_are_exact),
        cmocka_unit_test(recoding_shrinks_and_caps_the_rate),
        cmocka_unit_test(fast_videos_are_slowed_to_thirty),
        cmocka_unit_test(times_find_the_displayed_frame),
        cmocka_unit_test(rotation_is_applied),
        cmocka_unit_test(all_orientations_turn_as_exif_says),
        cmocka_unit_test(odd_sizes_keep_every_column),
        cmocka_unit_test(hostile_bytes_give_reasons),
        cmocka_unit_test(pictures_are_decoded),
    };
    return cmocka_run_group_tests_name("data/decode", tests, scratch_setup, scratch_teardown);
}
