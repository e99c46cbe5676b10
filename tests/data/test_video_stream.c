// Clips straight from files: which frames at which times, windows and crops, damage. Videos come from the ffmpeg program;
// frame n of the counting video is gray of 16 + 4 n (of 25 a second).

#include "data/video_stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"

typedef struct seen { int clips; int64_t count; double start[64], end[64], gray[64][16]; int64_t repeated[64]; float first[3]; const vj_stream_config *config; } seen;

static double gray_of(float v, int channel)
{
    static const double mean[] = { 0.485, 0.456, 0.406 }, deviation[] = { 0.229, 0.224, 0.225 };
    return 255 * ((double)v * deviation[channel] + mean[channel]);
}

static vj_status see(void *context, const vj_stream_clip *clip)
{
    seen *s = context;
    const vj_stream_config *c = s->config;
    const int64_t plane = c->side * c->side;
    assert_true(s->clips < 64);
    assert_int_equal(clip->index, s->clips);
    s->start[s->clips] = clip->start;
    s->end[s->clips] = clip->end;
    s->repeated[s->clips] = clip->repeated;
    for (int64_t f = 0; f < c->frames && f < 16; f++) s->gray[s->clips][f] = gray_of(clip->pixels[f * plane + plane / 2], 0);
    s->count = clip->count;
    s->clips++;
    return VJ_OK;
}

static void make(char *path, size_t size, const char *dir, const char *name, const char *arguments)
{
    char command[6000];
    vj_path_join(path, size, dir, name);
    snprintf(command, sizeof command, "ffmpeg -v error -y %s '%s'", arguments, path);
    assert_int_equal(system(command), 0);
}

// Two seconds of counting: 50 frames.
#define COUNTING "-f lavfi -i \"color=black:size=64x48:rate=25:duration=2,format=yuv420p,geq=lum='16+4*N':cb=128:cr=128\" -c:v libx264 -qp 0 -bf 2 -g 12"

static double expected(double seconds) { return (16 + 4 * floor(seconds * 25 + 1e-6) - 16) * 255 / 219; }

static void expect_times(const seen *s, const vj_stream_config *c, double length)
{
    for (int i = 0; i < s->clips; i++) {
        assert_true(fabs(s->end[i] - s->start[i] - (double)c->frames / c->fps) < 1e-6);
        for (int64_t f = 0; f < c->frames; f++) {
            double at = s->start[i] + (double)f / c->fps;
            if (at > length - 0.04) at = length - 0.04;   // the last frame again
            if (fabs(s->gray[i][f] - expected(at)) > 2.5)
                fail_msg("clip %d, frame %d at %.3f s: %.1f, %.1f expected", i, (int)f, at, s->gray[i][f], expected(at));
        }
    }
}

static void frames_are_those_shown_at_their_times(void **state)
{
    char path[4200];
    make(path, sizeof path, *state, "count.mkv", COUNTING);
    const struct { vj_stream_config config; int clips; int64_t repeated; } cases[] = {
        { { .frames = 4, .side = 16, .fps = 4, .crops = 1 }, 2, 0 },              // side by side
        { { .frames = 8, .side = 16, .fps = 12.5, .crops = 3 }, 3, 0 },           // 0.64 s each: a rest of 0.08 s is left out
        { { .frames = 8, .side = 16, .fps = 4, .crops = 1, .clips = 1 }, 1, 0 },
        { { .frames = 8, .side = 16, .fps = 10, .crops = 1, .clips = 5 }, 5, 0 }, // overlapping
        { { .frames = 16, .side = 16, .fps = 4, .crops = 1 }, 1, 8 },             // longer than the video
        { { .frames = 1, .side = 16, .fps = 25, .crops = 1 }, 50, 0 },            // every frame
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        seen s = { .config = &cases[k].config };
        vj_stream_info info;
        OK(vj_video_stream(path, &cases[k].config, see, &s, &info));
        assert_int_equal(s.clips, cases[k].clips);
        assert_int_equal(s.count, cases[k].clips);
        assert_int_equal(info.clips, cases[k].clips);
        assert_int_equal(info.width, 64);
        assert_int_equal(info.height, 48);
        assert_true(fabs(info.seconds - 2) < 0.05 && info.broken_packets == 0);
        assert_int_equal(s.repeated[s.clips - 1], cases[k].repeated);
        expect_times(&s, &cases[k].config, 2);
    }
    // Spread evenly: the first begins at 0, the last ends with the video.
    const vj_stream_config spread = { .frames = 4, .side = 16, .fps = 8, .crops = 1, .clips = 4 };
    seen s = { .config = &spread };
    OK(vj_video_stream(path, &spread, see, &s, NULL));
    assert_true(s.start[0] == 0 && fabs(s.end[3] - 2) < 0.05 && fabs((s.start[2] - s.start[1]) - (s.start[1] - s.start[0])) < 1e-5);
}

// A picture that is red on the left, green in the middle, blue on the right.
static vj_status see_colours(void *context, const vj_stream_clip *clip)
{
    seen *s = context;
    const int64_t side = s->config->side, plane = side * side, view = 3 * s->config->frames * plane;
    for (int v = 0; v < s->config->crops; v++) {
        for (int k = 0; k < 3; k++) s->gray[v][k] = gray_of(clip->pixels[v * view + k * s->config->frames * plane + plane / 2 + side / 2], k);
    }
    s->clips++;
    return VJ_OK;
}

static void crops_are_centre_or_along_the_long_side(void **state)
{
    char path[4200];
    static const char *const sizes[] = { "192x64", "64x192" };
    for (int tall = 0; tall < 2; tall++) {
        char arguments[600];
        snprintf(arguments, sizeof arguments, "-f lavfi -i \"color=red:size=64x64:rate=5:duration=1\" -f lavfi -i \"color=lime:size=64x64:rate=5:duration=1\" "
                 "-f lavfi -i \"color=blue:size=64x64:rate=5:duration=1\" -filter_complex \"[0][1][2]%s=3,format=yuv444p\" -c:v ffv1", tall ? "vstack" : "hstack");
        make(path, sizeof path, *state, tall ? "tall.mkv" : "wide.mkv", arguments);
        for (int crops = 1; crops <= 3; crops += 2) {
            const vj_stream_config c = { .frames = 2, .side = 32, .fps = 4, .crops = crops };
            seen s = { .config = &c };
            OK(vj_video_stream(path, &c, see_colours, &s, NULL));
            for (int v = 0; v < crops; v++) {
                const int colour = crops == 1 ? 1 : v;
                for (int k = 0; k < 3; k++) {
                    if (fabs(s.gray[v][k] - (k == colour ? 255 : 0)) > 6)
                        fail_msg("%s, view %d of %d, channel %d: %.0f", sizes[tall], v, crops, k, s.gray[v][k]);
                }
            }
        }
    }
}

static void what_is_no_video_is_refused(void **state)
{
    char path[4200];
    const vj_stream_config c = { .frames = 2, .side = 16, .fps = 4, .crops = 1 };
    seen s = { .config = &c };
    vj_path_join(path, sizeof path, *state, "none.mp4");
    assert_true(vj_video_stream(path, &c, see, &s, NULL) != VJ_OK);
    OK(vj_file_write_atomic(path, "this is text and no video at all", 32));
    assert_fails(vj_video_stream(path, &c, see, &s, NULL), VJ_ERR_DATA, "");
    make(path, sizeof path, *state, "sound.mkv", "-f lavfi -i sine=duration=1 -c:a pcm_s16le");
    assert_fails(vj_video_stream(path, &c, see, &s, NULL), VJ_ERR_DATA, "video");
    assert_int_equal(s.clips, 0);
    const vj_stream_config wrong = { .frames = 2, .side = 16, .fps = 4, .crops = 2 };
    assert_fails(vj_video_stream(path, &wrong, see, &s, NULL), VJ_ERR_USAGE, "1 or 3 crops");
    // Cut in the middle: what is there is decoded, the rest repeats.
    char *bytes = NULL;
    size_t n = 0;
    make(path, sizeof path, *state, "cut.mkv", COUNTING);
    OK(vj_file_read(path, &bytes, &n, 0));
    OK(vj_file_write_atomic(path, bytes, n / 2));
    free(bytes);
    const vj_status status = vj_video_stream(path, &c, see, &s, NULL);
    assert_true(status == VJ_OK ? s.clips >= 1 : status == VJ_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_those_shown_at_their_times),
        cmocka_unit_test(crops_are_centre_or_along_the_long_side),
        cmocka_unit_test(what_is_no_video_is_refused),
    };
    return cmocka_run_group_tests_name("data/video_stream", tests, scratch_setup, scratch_teardown);
}
