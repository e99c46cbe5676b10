// Growable bytes of one worker: zero it before first use. At least 64 zero bytes follow the content (libav reads ahead).
#ifndef VJ_DATA_BYTES_H
#define VJ_DATA_BYTES_H

#include <stdint.h>
#include <string.h>

#include "runtime/base/status.h"

enum { VJ_BYTES_PADDING = 64 };

typedef struct vj_bytes {
    unsigned char *data;
    size_t bytes, capacity;
} vj_bytes;

vj_status vj_bytes_reserve(vj_bytes *b, size_t bytes) VJ_MUST_CHECK;   // room for `bytes` in all and the padding
vj_status vj_bytes_set(vj_bytes *b, size_t bytes) VJ_MUST_CHECK;       // reserves, sets the length, clears the padding
vj_status vj_bytes_add(vj_bytes *b, const void *data, size_t bytes) VJ_MUST_CHECK;
void vj_bytes_free(vj_bytes *b);

// Little-endian numbers, which need not be aligned.
static inline uint32_t vj_bytes_get32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline int64_t vj_bytes_get64(const unsigned char *p)
{
    int64_t v;
    memcpy(&v, p, 8);
    return v;
}

#endif
