// Every row is filtered by "up" (the difference to the row above): cheap, and good for frames and flat drawings alike.
//
// Easy to get wrong: a chunk's checksum covers its name and data, not its length.

#include "runtime/base/png.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/base/file.h"

static void put_be32(unsigned char out[4], uint32_t v)
{
    for (int i = 0; i < 4; i++) out[i] = (unsigned char)(v >> (24 - 8 * i));
}

static void chunk(vj_str *out, const char name[4], const unsigned char *data, size_t bytes)
{
    unsigned char word[4];
    put_be32(word, (uint32_t)bytes);
    vj_str_add_n(out, (const char *)word, 4);
    vj_str_add_n(out, name, 4);
    if (bytes > 0) vj_str_add_n(out, (const char *)data, bytes);
    uLong crc = crc32(0, (const unsigned char *)name, 4);
    if (bytes > 0) crc = crc32_z(crc, data, bytes);
    put_be32(word, (uint32_t)crc);
    vj_str_add_n(out, (const char *)word, 4);
}

// Rows with their filter byte in front, as the format wants them before compression.
static void filter_up(unsigned char *to, const unsigned char *rgb, size_t row, size_t height)
{
    for (size_t y = 0; y < height; y++) {
        const unsigned char *here = rgb + y * row;
        *to++ = 2;
        for (size_t i = 0; i < row; i++) *to++ = (unsigned char)(here[i] - (y > 0 ? here[i - row] : 0));
    }
}

vj_status vj_png_encode(const unsigned char *rgb, int64_t width, int64_t height, vj_str *out)
{
    VJ_CHECK(width >= 1 && height >= 1 && width <= 65535 && height <= 65535, VJ_ERR_USAGE,
             "a picture of %lld x %lld pixels: sides of 1 to 65535 are possible", (long long)width, (long long)height);
    const size_t row = 3 * (size_t)width, raw_bytes = (row + 1) * (size_t)height;
    uLongf packed_bytes = compressBound((uLong)raw_bytes);
    unsigned char *raw = malloc(raw_bytes), *packed = malloc(packed_bytes);
    if (!raw || !packed) {
        free(raw);
        free(packed);
        VJ_FAIL(VJ_ERR_NOMEM, "a picture of %lld x %lld pixels: no memory", (long long)width, (long long)height);
    }
    filter_up(raw, rgb, row, (size_t)height);
    const int rc = compress2(packed, &packed_bytes, raw, (uLong)raw_bytes, 6);
    free(raw);
    if (rc == Z_OK) {
        unsigned char head[13] = { [8] = 8, [9] = 2 };   // 8 bits, RGB, deflate, the usual filters, not interlaced
        put_be32(head, (uint32_t)width);
        put_be32(head + 4, (uint32_t)height);
        vj_str_add_n(out, "\x89PNG\r\n\x1a\n", 8);
        chunk(out, "IHDR", head, sizeof head);
        chunk(out, "IDAT", packed, packed_bytes);
        chunk(out, "IEND", NULL, 0);
    }
    free(packed);
    VJ_CHECK(rc == Z_OK, VJ_ERR_NOMEM, "zlib could not compress a picture (%d)", rc);
    return VJ_OK;
}

vj_status vj_png_write(const char *path, const unsigned char *rgb, int64_t width, int64_t height)
{
    vj_str bytes = { 0 };
    vj_status status = vj_png_encode(rgb, width, height, &bytes);
    if (status == VJ_OK) status = vj_file_write_atomic(path, bytes.data, bytes.length);
    vj_str_free(&bytes);
    return status;
}

void vj_base64(vj_str *out, const void *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i += 3) {
        const size_t n = bytes - i < 3 ? bytes - i : 3;
        const uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
        const char four[4] = { digits[v >> 18], digits[v >> 12 & 63], n > 1 ? digits[v >> 6 & 63] : '=',
                               n > 2 ? digits[v & 63] : '=' };
        vj_str_add_n(out, four, 4);
    }
}
