// data/idx_images.c
//
// IDX: two zero bytes, type (8 = unsigned byte), number of dimensions, the sizes as big-endian 32-bit numbers, then the
// elements. zlib reads plain files as they are.

#include "data/idx_images.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "runtime/base/str.h"

struct vj_idx {
    gzFile images, labels;
    char *path;
    int64_t count, at;
    int width, height;
};

bool vj_idx_name_matches(const char *path) { return vj_str_ends(path, "idx3-ubyte") || vj_str_ends(path, "idx3-ubyte.gz"); }

static bool read_all(gzFile file, void *out, size_t bytes)
{
    return bytes <= (1u << 30) && gzread(file, out, (unsigned)bytes) == (int)bytes;
}

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// ".../train-images-idx3-ubyte.gz" -> ".../train-labels-idx1-ubyte.gz"; no labels when it is missing or does not fit.
static void open_labels(vj_idx *x)
{
    const char *tail = strstr(x->path, "images-idx3-ubyte"), *next;
    while (tail != NULL && (next = strstr(tail + 1, "images-idx3-ubyte")) != NULL) tail = next;
    if (tail == NULL) return;
    vj_str path = { 0 };
    vj_str_add_n(&path, x->path, (size_t)(tail - x->path));
    vj_str_printf(&path, "labels-idx1-ubyte%s", tail + strlen("images-idx3-ubyte"));
    struct stat st;
    unsigned char header[8];
    if (stat(path.data, &st) == 0 && S_ISREG(st.st_mode)) x->labels = gzopen(path.data, "rbe");
    vj_str_free(&path);
    if (x->labels == NULL) return;
    if (read_all(x->labels, header, 8) && big_endian(header) == 0x801 && big_endian(header + 4) == (uint64_t)x->count) return;
    gzclose(x->labels);
    x->labels = NULL;
}

vj_status vj_idx_open(vj_idx **out, const char *path)
{
    struct stat st;
    unsigned char header[16];
    vj_status status = VJ_OK;

    *out = NULL;
    VJ_CHECK(stat(path, &st) == 0, VJ_ERR_DATA, "it cannot be opened: %s", strerror(errno));
    VJ_CHECK(S_ISREG(st.st_mode), VJ_ERR_DATA, "it is not a regular file");
    vj_idx *x = calloc(1, sizeof *x);
    VJ_CHECK(x != NULL, VJ_ERR_NOMEM, "no memory for reading images");
    x->path = vj_strdup(path);
    x->images = gzopen(path, "rbe");
    if (x->images == NULL) {
        status = vj_fail(VJ_ERR_IO, "it cannot be opened: %s", strerror(errno));
        goto fail;
    }
    gzbuffer(x->images, 1 << 17);
    if (!read_all(x->images, header, sizeof header) || big_endian(header) != 0x803) {
        status = vj_fail(VJ_ERR_DATA, "it is no IDX file of images (its first bytes should be 00 00 08 03)");
        goto fail;
    }
    x->count = big_endian(header + 4);
    const uint32_t height = big_endian(header + 8), width = big_endian(header + 12);
    if (x->count < 1 || height < 1 || width < 1 || height > 4096 || width > 4096) {
        status = vj_fail(VJ_ERR_DATA, "it says %lld images of %u x %u", (long long)x->count, width, height);
        goto fail;
    }
    x->height = (int)height;
    x->width = (int)width;
    open_labels(x);
    *out = x;
    return VJ_OK;
fail:
    vj_idx_close(&x);
    return status;
}

int64_t vj_idx_count(const vj_idx *idx) { return idx->count; }

void vj_idx_size(const vj_idx *idx, int *width, int *height)
{
    *width = idx->width;
    *height = idx->height;
}

vj_status vj_idx_next(vj_idx *x, unsigned char *gray, int32_t *label)
{
    VJ_CHECK(x->at < x->count, VJ_ERR_DATA, "it has only %lld images", (long long)x->count);
    VJ_CHECK(read_all(x->images, gray, (size_t)x->width * (size_t)x->height), VJ_ERR_DATA,
             "it ends after %lld of %lld images: truncated or damaged", (long long)x->at, (long long)x->count);
    unsigned char byte;
    *label = x->labels != NULL && read_all(x->labels, &byte, 1) ? byte : -1;
    x->at++;
    return VJ_OK;
}

void vj_idx_close(vj_idx **idx)
{
    vj_idx *x = *idx;
    if (x == NULL) return;
    if (x->images != NULL) gzclose(x->images);
    if (x->labels != NULL) gzclose(x->labels);
    free(x->path);
    free(x);
    *idx = NULL;
}
