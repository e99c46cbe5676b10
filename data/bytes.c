// data/bytes.c

#include "data/bytes.h"

#include <stdlib.h>
#include <string.h>

vj_status vj_bytes_reserve(vj_bytes *b, size_t bytes)
{
    VJ_CHECK(bytes < SIZE_MAX / 4, VJ_ERR_NOMEM, "no memory for %zu bytes", bytes);
    if (bytes + VJ_BYTES_PADDING <= b->capacity) return VJ_OK;
    size_t capacity = b->capacity + b->capacity / 2;
    if (capacity < bytes + VJ_BYTES_PADDING) capacity = bytes + VJ_BYTES_PADDING;
    unsigned char *data = realloc(b->data, capacity);
    VJ_CHECK(data != NULL, VJ_ERR_NOMEM, "no memory for %zu bytes", capacity);
    b->data = data;
    b->capacity = capacity;
    return VJ_OK;
}

vj_status vj_bytes_set(vj_bytes *b, size_t bytes)
{
    VJ_TRY(vj_bytes_reserve(b, bytes));
    b->bytes = bytes;
    memset(b->data + bytes, 0, VJ_BYTES_PADDING);
    return VJ_OK;
}

vj_status vj_bytes_add(vj_bytes *b, const void *data, size_t bytes)
{
    const size_t old = b->bytes;
    VJ_TRY(vj_bytes_set(b, old + bytes));
    if (bytes > 0) memcpy(b->data + old, data, bytes);
    return VJ_OK;
}

void vj_bytes_free(vj_bytes *b)
{
    free(b->data);
    *b = (vj_bytes){ 0 };
}
