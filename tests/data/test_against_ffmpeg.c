// label: slow
// What training sees against what the ffmpeg program shows: the same frames in the same order, upright, of the same size, at the
// same times, and the same colours (mean difference of at most two levels; of several video streams the one that ffmpeg takes). For every file of ../shared/data, and for videos
// that the test makes in each codec this libavcodec can encode.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode.h"
#include "data/pack.h"
#include "data/shard.h"
#include "tests/support/scratch.h"

enum { FRAMES_MAX = 48 };   // of a file: enough to see reordering, short enough for hundreds of files

typedef struct tally { int files, frames, wrong; double worst; char worst_file[256]; } tally;

static void complain(tally *t, const char *file, const char *what, double a, double b)
{
    t->wrong++;
    fprintf(stderr, "%s: %s (%g here, %g there)\n", file, what, a, b);
}

// Frames of one row against ffmpeg's pipe.
static void compare(tally *t, const char *path, const char *file, vj_decoder *d, const vj_sample_info *info, const vj_bytes *bytes)
{
    const int64_t fit = ((int64_t)VJ_DECODE_MAX_MEGABYTES << 20) / (3 * info->width * info->height);   // of one call
    int64_t n = info->n_frames < FRAMES_MAX ? info->n_frames : FRAMES_MAX;
    if (n > fit) n = fit;
    int64_t index[FRAMES_MAX];
    vj_frames f;
    for (int64_t i = 0; i < n; i++) index[i] = i;
    if (vj_decode_frames(d, info, bytes->data, bytes->bytes, index, n, &f) != VJ_OK) {
        complain(t, file, vj_error_text(), 0, 0);
        return;
    }
    char command[9000];
    snprintf(command, sizeof command, "ffmpeg -nostdin -v quiet -threads 1 -i '%s' -an -frames:v %d -fps_mode passthrough -f rawvideo -pix_fmt rgb24 -sws_flags bicubic -", path,
             (int)n + 1);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const size_t picture = (size_t)(3 * f.width * f.height);
    unsigned char *theirs = malloc(picture + 1);
    assert_non_null(theirs);
    double file_worst = 0;
    int64_t got = 0;
    for (; got < n; got++) {
        const size_t have = fread(theirs, 1, picture, pipe);
        if (have < picture) break;
        double sum = 0;
        const uint8_t *ours = f.rgb + (size_t)got * picture;
        for (size_t i = 0; i < picture; i++) sum += abs(ours[i] - theirs[i]);
        const double mean = sum / (double)picture;
        if (mean > file_worst) file_worst = mean;
    }
    const size_t more = fread(theirs, 1, picture + 1, pipe);
    pclose(pipe);
    free(theirs);
    if (got < n) complain(t, file, "frames are missing there", (double)n, (double)got);
    else if (n == info->n_frames && more == picture) complain(t, file, "a frame more there", (double)n, (double)n + 1);
    else if (more != 0 && more < picture) complain(t, file, "sizes differ", (double)picture, (double)more);
    if (file_worst > 2) complain(t, file, "colours differ: mean levels", file_worst, 2);
    if (file_worst > t->worst) {
        t->worst = file_worst;
        snprintf(t->worst_file, sizeof t->worst_file, "%s", file);
    }
    t->files++;
    t->frames += (int)got;
}

static void compare_folder(tally *t, const char *scratch, const char *dir, const char *name)
{
    char out[4200];
    vj_path_join(out, sizeof out, scratch, name);
    const vj_pack_source source = { .name = "all", .path = dir, .weight = -1 };
    vj_pack_request r;
    vj_pack_report report;
    vj_catalog *c;
    vj_shards *s;
    vj_decoder *d;
    vj_bytes bytes = { 0 };
    vj_pack_defaults(&r);
    r.out = out;
    r.sources = &source;
    r.n_sources = 1;
    r.window = 0;
    r.threads = 2;
    assert_ok(vj_pack(&r, &report));
    assert_ok(vj_catalog_read(&c, out));
    assert_ok(vj_shards_open(&s, c, 0));
    assert_ok(vj_decoder_create(&d));
    for (int64_t row = 0; row < c->sources[0].train.rows; row++) {
        vj_sample_info info;
        char file[256], path[4600];
        assert_ok(vj_shards_read(s, 0, false, row, &info, &bytes));
        assert_ok(vj_shards_file(s, 0, false, row, file, sizeof file));
        vj_path_join(path, sizeof path, dir, file);
        compare(t, path, file, d, &info, &bytes);
    }
    vj_bytes_free(&bytes);
    vj_decoder_destroy(&d);
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
}

static void report(const char *what, const tally *t)
{
    print_message("%s: %d files, %d frames, worst mean difference %.3f levels (%s)\n", what, t->files, t->frames, t->worst, t->worst_file);
    assert_int_equal(t->wrong, 0);
}

static void given_files(void **state)
{
    static const char *const folders[] = { "edge_cases", "actions", "gestures", "pool" };
    tally t = { 0 };
    if (!vj_path_is_dir("../shared/data")) {
        fprintf(stderr, "SKIPPED: ../shared/data is missing: given videos are not compared\n");
        skip();
    }
    for (int i = 0; i < 4; i++) {
        char dir[64];
        vj_format(dir, sizeof dir, "../shared/data/%s", folders[i]);
        if (vj_path_is_dir(dir)) compare_folder(&t, *state, dir, folders[i]);
    }
    assert_true(t.files > 80);
    report("given", &t);
}

static void made_files(void **state)
{
    static const struct { const char *encoder, *name, *arguments; } codecs[] = {
        { "libx264", "h264.mp4", "-c:v libx264 -bf 3 -pix_fmt yuv420p" },
        { "libx264", "h264-444.mkv", "-c:v libx264 -pix_fmt yuv444p" },
        { "libx264", "h264-10bit.mkv", "-c:v libx264 -pix_fmt yuv420p10le" },
        { "libx264", "h264-full.mp4", "-c:v libx264 -pix_fmt yuvj420p -color_range pc" },
        { "libx264", "h264-709.mp4", "-c:v libx264 -pix_fmt yuv420p -colorspace bt709 -color_primaries bt709 -color_trc bt709" },
        { "libx264", "interlaced.mkv", "-c:v libx264 -pix_fmt yuv420p -flags +ildct+ilme -x264opts tff=1" },
        { "libx264", "open-gop.mkv", "-c:v libx264 -pix_fmt yuv420p -x264opts open-gop=1:keyint=6:bframes=3" },
        { "libx265", "hevc.mp4", "-c:v libx265 -pix_fmt yuv420p -x265-params log-level=none" },
        { "libvpx", "vp8.webm", "-c:v libvpx -pix_fmt yuv420p" },
        { "libvpx-vp9", "vp9.webm", "-c:v libvpx-vp9 -pix_fmt yuv420p" },
        { "mpeg4", "mpeg4.avi", "-c:v mpeg4 -bf 2 -pix_fmt yuv420p" },
        { "mpeg2video", "mpeg2.mpg", "-c:v mpeg2video -bf 2 -r 25 -pix_fmt yuv420p" },
        { "mjpeg", "mjpeg.avi", "-c:v mjpeg -pix_fmt yuvj420p" },
        { "prores_ks", "prores.mov", "-c:v prores_ks -pix_fmt yuv422p10le" },
        { "ffv1", "ffv1-gray.mkv", "-c:v ffv1 -pix_fmt gray" },
        { "ffv1", "ffv1-alpha.mkv", "-c:v ffv1 -pix_fmt bgra" },
        { "png", "png.mov", "-c:v png -pix_fmt rgb24" },
        { "huffyuv", "huffyuv.avi", "-c:v huffyuv -pix_fmt yuv422p" },
        { "flv", "flv1.flv", "-c:v flv -pix_fmt yuv420p" },
    };
    static const char *const shapes[] = { "96x64", "66x50", "64x96" };
    char dir[4200], path[4400], command[9200];
    int made = 0;
    vj_path_join(dir, sizeof dir, *state, "made");
    assert_ok(vj_dir_create(dir));
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        vj_path_join(path, sizeof path, dir, codecs[i].name);
        snprintf(command, sizeof command, "ffmpeg -nostdin -v quiet -y -f lavfi -i testsrc2=size=%s:rate=12 -t 2 %s '%s'", shapes[i % 3], codecs[i].arguments, path);
        if (system(command) == 0) made++;
        else fprintf(stderr, "%s cannot be made by this ffmpeg: left out\n", codecs[i].name);
    }
    // Lengths, rates, sizes and ways to begin.
    static const struct { const char *name, *size, *rate, *arguments; } odd[] = {
        { "frames-1.mp4", "96x64", "12", "-frames:v 1 -c:v libx264 -pix_fmt yuv420p" }, { "frames-2.mp4", "96x64", "12", "-frames:v 2 -c:v libx264 -pix_fmt yuv420p" },
        { "rate-5.mp4", "96x64", "5", "-t 2 -c:v libx264 -pix_fmt yuv420p" }, { "rate-120.mp4", "96x64", "120", "-t 1 -c:v libx264 -pix_fmt yuv420p" },
        { "rate-23.976.mkv", "96x64", "24000/1001", "-t 1 -c:v libx264 -pix_fmt yuv420p" },
        { "321x241.avi", "321x241", "12", "-t 1 -c:v mjpeg -pix_fmt yuvj420p" }, { "121x81.mkv", "121x81", "12", "-t 1 -c:v libx264 -pix_fmt yuv444p" },
        { "64x64.mp4", "64x64", "12", "-t 1 -c:v libx264 -pix_fmt yuv420p" }, { "1x1.mov", "96x64", "12", "-t 1 -vf scale=1:1 -c:v png -pix_fmt rgb24" },
        { "8192x64.avi", "8192x64", "12", "-frames:v 3 -c:v mjpeg -pix_fmt yuvj420p" }, { "sar.mp4", "96x64", "12", "-t 1 -vf setsar=2 -c:v libx264 -pix_fmt yuv420p" },
        { "moov-first.mp4", "96x64", "12", "-t 1 -c:v libx264 -pix_fmt yuv420p -movflags +faststart" },
        { "late-start.mkv", "96x64", "12", "-t 1 -output_ts_offset 3 -c:v libx264 -pix_fmt yuv420p" },
        { "negative-dts.mp4", "96x64", "12", "-t 1 -c:v libx264 -bf 3 -pix_fmt yuv420p -movflags +negative_cts_offsets" },
        { "edit-list.mp4", "96x64", "12", "-t 2 -c:v libx264 -bf 3 -pix_fmt yuv420p -use_editlist 1" },
        { "fragments.mp4", "96x64", "12", "-t 2 -c:v libx264 -pix_fmt yuv420p -movflags +frag_keyframe+empty_moov" },
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++, made++) {
        snprintf(command, sizeof command, "ffmpeg -nostdin -v quiet -y -f lavfi -i testsrc2=size=%s:rate=%s %s '%s/%s'", odd[i].size, odd[i].rate, odd[i].arguments, dir, odd[i].name);
        if (system(command) != 0) fail_msg("%s cannot be made", odd[i].name);
    }
    // Rotations, and times that are not regular.
    for (int turn = 90; turn < 360; turn += 90, made++) {
        snprintf(command, sizeof command, "ffmpeg -nostdin -v quiet -y -i '%s/h264.mp4' -c copy -metadata:s:v:0 rotate=%d '%s/turned-%d.mp4'", dir, turn, dir, turn);
        assert_int_equal(system(command), 0);
    }
    snprintf(command, sizeof command, "ffmpeg -nostdin -v quiet -y -f lavfi -i testsrc2=size=96x64:rate=30 -t 2 -vf \"select='not(mod(n,3))+eq(mod(n,7),1)'\" -fps_mode vfr -c:v libx264 '%s/vfr.mp4'", dir);
    assert_int_equal(system(command), 0);
    made++;
    assert_true(made >= 15);
    tally t = { 0 };
    compare_folder(&t, *state, dir, "made-shards");
    assert_int_equal(t.files, made);
    report("made", &t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_files),
        cmocka_unit_test(given_files),
    };
    return cmocka_run_group_tests_name("data/against_ffmpeg", tests, scratch_setup, scratch_teardown);
}
