// Digests. SHA-256 names things, XXH3-64 guards our own files, CRC-32C guards samples, CRC-32 (zlib's) is for zip
// archives and goldens.
#ifndef VJ_RUNTIME_BASE_HASH_H
#define VJ_RUNTIME_BASE_HASH_H

#include "runtime/base/status.h"

typedef struct vj_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
} vj_sha256;

void vj_sha256_start(vj_sha256 *h);
void vj_sha256_add(vj_sha256 *h, const void *data, size_t bytes);
void vj_sha256_end(vj_sha256 *h, unsigned char out[32]);
void vj_sha256_hex(char out[65], const void *data, size_t bytes);   // one call
void vj_hex(char *out, const unsigned char *data, size_t bytes);    // 2*bytes characters and a NUL

uint64_t vj_xxh64(const void *data, size_t bytes);                  // XXH3, 64 bits, seed 0
uint32_t vj_crc32c(uint32_t crc, const void *data, size_t bytes);   // Castagnoli; start with 0; hardware when there
uint32_t vj_crc32(uint32_t crc, const void *data, size_t bytes);    // IEEE, as zlib's crc32

#endif
