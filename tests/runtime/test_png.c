// PNG files hold the pixels they were given: chunks, checksums and rows are taken apart again by hand.

#include "runtime/base/png.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tests/support/scratch.h"

static uint32_t be32(const unsigned char *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static void pixels_come_back(void **state)
{
    (void)state;
    enum { W = 37, H = 11 };
    unsigned char rgb[W * H * 3], raw[(W * 3 + 1) * H];
    for (int i = 0; i < W * H * 3; i++) rgb[i] = (unsigned char)(i * i / 7);
    vj_str png = { 0 };
    OK(vj_png_encode(rgb, W, H, &png));
    const unsigned char *p = (const unsigned char *)png.data, *end = p + png.length;
    assert_memory_equal(p, "\x89PNG\r\n\x1a\n", 8);
    p += 8;
    const char *const names[] = { "IHDR", "IDAT", "IEND" };
    for (int k = 0; k < 3; k++) {
        const uint32_t n = be32(p);
        assert_true(p + 12 + n <= end);
        assert_memory_equal(p + 4, names[k], 4);
        assert_int_equal(be32(p + 8 + n), crc32(0, p + 4, n + 4));
        if (k == 0) {
            assert_int_equal(be32(p + 8), W);
            assert_int_equal(be32(p + 12), H);
            assert_memory_equal(p + 16, "\x08\x02\x00\x00\x00", 5);
        }
        if (k == 1) {
            uLongf bytes = sizeof raw;
            assert_int_equal(uncompress(raw, &bytes, p + 8, n), Z_OK);
            assert_int_equal(bytes, sizeof raw);
        }
        p += 12 + n;
    }
    assert_ptr_equal(p, end);
    for (int y = 0; y < H; y++) {
        const unsigned char *row = raw + y * (W * 3 + 1);
        assert_int_equal(row[0], 2);
        for (int i = 0; i < W * 3; i++) {
            const int above = y > 0 ? rgb[(y - 1) * W * 3 + i] : 0;
            assert_int_equal((unsigned char)(row[1 + i] + above), rgb[y * W * 3 + i]);
        }
    }
    vj_str_free(&png);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    vj_str png = { 0 };
    unsigned char rgb[3] = { 0 };
    assert_fails(vj_png_encode(rgb, 0, 1, &png), VJ_ERR_USAGE, "0 x 1");
    assert_fails(vj_png_encode(rgb, 1, 70000, &png), VJ_ERR_USAGE, "1 x 70000");
    assert_int_equal(png.length, 0);
}

static void base64_as_in_rfc_4648(void **state)
{
    (void)state;
    const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
                                     { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
    for (int i = 0; i < 7; i++) {
        vj_str text = { 0 };
        vj_base64(&text, pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(vj_str_text(&text), pairs[i][1]);
        vj_str_free(&text);
    }
    vj_str text = { 0 };
    vj_base64(&text, "\xfb\xff\xfe", 3);
    assert_string_equal(vj_str_text(&text), "+//+");
    vj_str_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_come_back),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(base64_as_in_rfc_4648),
    };
    return cmocka_run_group_tests_name("runtime/png", tests, NULL, NULL);
}
