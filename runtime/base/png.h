// Pictures for people: PNG files of 8-bit RGB, and base64 to put them into a page. Compression is zlib's.
#ifndef VJ_RUNTIME_BASE_PNG_H
#define VJ_RUNTIME_BASE_PNG_H

#include <stdint.h>

#include "runtime/base/str.h"

// Appends a PNG file of `rgb` (height, width, 3) to `out`; the same pixels give the same bytes. VJ_ERR_USAGE for a
// picture without pixels or with a side above 65535.
vj_status vj_png_encode(const unsigned char *rgb, int64_t width, int64_t height, vj_str *out) VJ_MUST_CHECK;
// The same into a file, which appears atomically.
vj_status vj_png_write(const char *path, const unsigned char *rgb, int64_t width, int64_t height) VJ_MUST_CHECK;
// Appends the base64 text of `bytes` bytes, padded, on one line.
void vj_base64(vj_str *out, const void *data, size_t bytes);

#endif
