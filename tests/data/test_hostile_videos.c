// Videos and pictures that somebody broke: they pack and then decode with the frames that they claim, or have a reason.

#include <stdlib.h>
#include <string.h>

#include "data/decode.h"
#include "data/pack.h"
#include "data/shard.h"
#include "runtime/base/rng.h"
#include "tests/support/scratch.h"

static void put(const char *dir, const char *name, const char *data, size_t n)
{
    char path[4400];
    vj_path_join(path, sizeof path, dir, name);
    assert_ok(vj_file_write_atomic(path, data, n));
}

// Where a box of an MP4 file begins, by its name; its size is in front.
static size_t box(const char *data, size_t n, const char *name)
{
    const char *at = memmem(data, n, name, 4);
    assert_non_null(at);
    return (size_t)(at - data) - 4;
}

// Packs a folder and looks at three frames of each row. Returns the number of files that were left out.
static int64_t pack_and_look(void **state, const char *dir, const char *name, int64_t files)
{
    char out[4400];
    vj_path_join(out, sizeof out, *state, name);
    const vj_pack_source source = { .name = "bad", .path = dir, .weight = -1 };
    vj_pack_request r;
    vj_pack_report report;
    vj_catalog *c = NULL;
    vj_shards *s = NULL;
    vj_decoder *d = NULL;
    vj_bytes bytes = { 0 };
    vj_pack_defaults(&r);
    r.out = out;
    r.sources = &source;
    r.n_sources = 1;
    r.window = 0;
    assert_ok(vj_pack(&r, &report));
    assert_int_equal(report.files, files);
    assert_ok(vj_catalog_read(&c, out));
    assert_int_equal(c->sources[0].train.rows, files - report.bad_files);
    assert_ok(vj_shards_open(&s, c, 0));
    assert_ok(vj_decoder_create(&d));
    for (int64_t row = 0; row < c->sources[0].train.rows; row++) {
        vj_sample_info info;
        vj_frames f;
        assert_ok(vj_shards_read(s, 0, false, row, &info, &bytes));
        const int64_t index[3] = { 0, info.n_frames / 2, info.n_frames - 1 };
        const vj_status status = vj_decode_frames(d, &info, bytes.data, bytes.bytes, index, 3, &f);
        if (status == VJ_OK) assert_true(f.width == info.width && f.height == info.height);
        else assert_true(status == VJ_ERR_DATA && vj_error_text()[0]);
    }
    vj_bytes_free(&bytes);
    vj_decoder_destroy(&d);
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
    return report.bad_files;
}

static void damaged_files_decode_or_have_a_reason(void **state)
{
    char dir[4200], made[4300], command[9000], *good = NULL, name[64];
    size_t n;
    vj_path_join(dir, sizeof dir, *state, "damaged");
    vj_path_join(made, sizeof made, *state, "made.mp4");
    assert_ok(vj_dir_create(dir));
    snprintf(command, sizeof command, "ffmpeg -nostdin -v quiet -y -f lavfi -i testsrc2=size=96x64:rate=12 -t 2 -c:v libx264 -bf 2 -g 8 -pix_fmt yuv420p '%s'", made);
    assert_int_equal(system(command), 0);
    assert_ok(vj_file_read(made, &good, &n, 0));
    const size_t mdat = box(good, n, "mdat"), moov = box(good, n, "moov");
    assert_true(mdat < moov);
    char *bad = malloc(n);
    assert_non_null(bad);
    static const int flips[] = { 1, 10, 1000 };
    int64_t files = 0;
    for (int k = 0; k < 3; k++) {   // of the pictures alone
        for (uint64_t seed = 0; seed < 10; seed++, files++) {
            memcpy(bad, good, n);
            for (int i = 0; i < flips[k]; i++)
                bad[mdat + 8 + vj_rng_below(seed, (uint64_t)k, 0x7f020, (uint32_t)i, 0, moov - mdat - 8)] ^= (char)(1 << vj_rng_below(seed, (uint64_t)k, 0x7f021, (uint32_t)i, 0, 8));
            vj_format(name, sizeof name, "flips-%d-%d.mp4", flips[k], (int)seed);
            put(dir, name, bad, n);
        }
    }
    put(dir, "good.mp4", good, n);
    put(dir, "no-moov.mp4", good, moov);
    put(dir, "cut-moov.mp4", good, n - 40);
    put(dir, "no-mdat.mp4", good + moov, n - moov);
    memcpy(bad, good, n);
    memset(bad + mdat + 8 + (moov - mdat) / 2, 0, moov - mdat - 8 - (moov - mdat) / 2);   // the second half was never written
    put(dir, "half-mdat.mp4", bad, n);
    files += 5;
    const int64_t left_out = pack_and_look(state, dir, "damaged-shards", files);
    assert_true(left_out >= 2 && left_out < files / 2);   // without an index, or without pictures, there is nothing
    free(good);
    free(bad);
}

// Headers that promise far more than there is. Memory is not asked for on their word.
static void bombs_are_refused(void **state)
{
    (void)state;
    static const unsigned char png[] = { 0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 8, 2, 0, 0, 0,
                                         0, 0, 0, 0, 0, 0, 0, 4, 'I', 'D', 'A', 'T', 0x78, 0x9c, 1, 0, 0, 0, 0, 0 };
    static const unsigned char jpeg[] = { 0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0xff, 0xff, 0xff, 0xff, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 0xff, 0xda, 0, 12, 3, 1, 0, 2,
                                          0, 3, 0, 0, 63, 0, 0, 0, 0xff, 0xd9 };
    const struct { const unsigned char *data; size_t n; vj_media media; } bombs[] = { { png, sizeof png, VJ_MEDIA_PNG }, { jpeg, sizeof jpeg, VJ_MEDIA_JPEG },
                                                                                    { png, sizeof png, VJ_MEDIA_OTHER_IMAGE } };
    vj_decoder *d = NULL;
    vj_frames f;
    assert_ok(vj_decoder_create(&d));
    for (int i = 0; i < 3; i++) {
        unsigned char padded[256] = { 0 };
        memcpy(padded, bombs[i].data, bombs[i].n);
        for (int honest = 0; honest < 2; honest++) {   // the row may lie as well
            const vj_sample_info info = { .bytes = (int64_t)bombs[i].n, .n_frames = 1, .width = honest ? 65535 : 64, .height = honest ? 65535 : 64,
                                          .orientation = 1, .media = bombs[i].media };
            assert_int_equal(vj_decode_image(d, &info, padded, bombs[i].n, &f), VJ_ERR_DATA);
            assert_true(vj_error_text()[0] != '\0');
        }
    }
    vj_decoder_destroy(&d);
}

// A video whose header says 65000 x 65000, among good ones.
static void a_bomb_in_a_folder_is_left_out(void **state)
{
    char dir[4200], command[9000];
    vj_path_join(dir, sizeof dir, *state, "bombs");
    assert_ok(vj_dir_create(dir));
    snprintf(command, sizeof command, "ffmpeg -nostdin -v quiet -y -f lavfi -i testsrc2=size=96x64:rate=12 -t 1 -c:v mpeg4 '%s/good.avi'", dir);
    assert_int_equal(system(command), 0);
    static const char y4m[] = "YUV4MPEG2 W65000 H65000 F25:1 Ip A1:1 C420jpeg\nFRAME\n";
    put(dir, "bomb.y4m", y4m, sizeof y4m - 1);
    assert_int_equal(pack_and_look(state, dir, "bombs-shards", 2), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_files_decode_or_have_a_reason),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(a_bomb_in_a_folder_is_left_out),
    };
    return cmocka_run_group_tests_name("data/hostile_videos", tests, scratch_setup, scratch_teardown);
}
