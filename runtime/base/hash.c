// SHA-256 (with the CPU's SHA instructions where they are), XXH3, CRC-32C and CRC-32.

#include "runtime/base/hash.h"
#include "runtime/base/hash_impl.h"

#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>
#include <zlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static bool hardware = true;
void vj_hash_use_hardware(bool use) { hardware = use; }

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void blocks_portable(uint32_t state[8], const unsigned char *p, size_t n)
{
    for (; n > 0; n--, p += 64) {
        uint32_t w[64], s[8];
        for (int i = 0; i < 16; i++) {
            w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
        }
        for (int i = 16; i < 64; i++) {
            const uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
        }
        memcpy(s, state, sizeof s);
        for (int i = 0; i < 64; i++) {
            const uint32_t e = s[4], a = s[0];
            const uint32_t t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
            const uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            for (int k = 7; k > 0; k--) s[k] = s[k - 1];
            s[4] += t1;
            s[0] = t1 + t2;
        }
        for (int k = 0; k < 8; k++) state[k] += s[k];
    }
}

#if defined(__x86_64__)
// Intel's SHA extensions: two rounds an instruction; the state is kept as (ABEF, CDGH).
__attribute__((target("sha,sse4.1,ssse3"))) static void blocks_sha(uint32_t state[8], const unsigned char *p, size_t n)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i s1 = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);
    __m128i s0 = _mm_alignr_epi8(t, s1, 8);
    s1 = _mm_blend_epi16(s1, t, 0xF0);
    for (; n > 0; n--, p += 64) {
        const __m128i a0 = s0, a1 = s1;
        __m128i w[4];
        for (int i = 0; i < 4; i++) w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), swap);
        for (int i = 0; i < 16; i++) {
            const __m128i x = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const __m128i *)(K + 4 * i)));
            s1 = _mm_sha256rnds2_epu32(s1, s0, x);
            s0 = _mm_sha256rnds2_epu32(s0, s1, _mm_shuffle_epi32(x, 0x0E));
            if (i < 12) {   // the schedule of words 16 + 4i .. 19 + 4i
                __m128i y = _mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]);
                y = _mm_add_epi32(y, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
                w[i & 3] = _mm_sha256msg2_epu32(y, w[(i + 3) & 3]);
            }
        }
        s0 = _mm_add_epi32(s0, a0);
        s1 = _mm_add_epi32(s1, a1);
    }
    t = _mm_shuffle_epi32(s0, 0x1B);
    s1 = _mm_shuffle_epi32(s1, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(t, s1, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(s1, t, 8));
}

static bool have_sha(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;   // a CPU without leaf 7 answers for its last leaf
    return (b >> 29 & 1) && __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3");
}
#endif

static void blocks(uint32_t state[8], const unsigned char *p, size_t n)
{
#if defined(__x86_64__)
    static atomic_int known = -1;   // two threads may both ask: they hear the same
    if (known < 0) known = have_sha();
    if (known && hardware) {
        blocks_sha(state, p, n);
        return;
    }
#endif
    blocks_portable(state, p, n);
}

void vj_sha256_start(vj_sha256 *h)
{
    static const uint32_t start[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    memset(h, 0, sizeof *h);
    memcpy(h->state, start, sizeof start);
}

void vj_sha256_add(vj_sha256 *h, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    const size_t have = h->bytes % 64;
    h->bytes += bytes;
    if (have) {
        const size_t take = bytes < 64 - have ? bytes : 64 - have;
        if (take) memcpy(h->block + have, p, take);
        p += take;
        bytes -= take;
        if (have + take < 64) return;
        blocks(h->state, h->block, 1);
    }
    blocks(h->state, p, bytes / 64);
    if (bytes % 64) memcpy(h->block, p + bytes / 64 * 64, bytes % 64);
}

void vj_sha256_end(vj_sha256 *h, unsigned char out[32])
{
    const uint64_t bits = h->bytes * 8;
    const unsigned char one = 0x80, zero = 0;
    vj_sha256_add(h, &one, 1);
    while (h->bytes % 64 != 56) vj_sha256_add(h, &zero, 1);
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(bits >> (56 - 8 * i));
    vj_sha256_add(h, length, 8);
    for (int i = 0; i < 32; i++) out[i] = (unsigned char)(h->state[i / 4] >> (24 - 8 * (i % 4)));
}

void vj_hex(char *out, const unsigned char *data, size_t bytes)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digit[data[i] >> 4];
        out[2 * i + 1] = digit[data[i] & 15];
    }
    out[2 * bytes] = '\0';
}

void vj_sha256_hex(char out[65], const void *data, size_t bytes)
{
    vj_sha256 h;
    unsigned char digest[32];
    vj_sha256_start(&h);
    vj_sha256_add(&h, data, bytes);
    vj_sha256_end(&h, digest);
    vj_hex(out, digest, 32);
}

uint64_t vj_xxh64(const void *data, size_t bytes) { return XXH3_64bits(data, bytes); }

static uint32_t crc_table(uint32_t crc, const unsigned char *p, size_t bytes, uint32_t polynomial)
{
    uint32_t table[16];   // four bits at a time: small, and only for short inputs and goldens
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t c = i;
        for (int k = 0; k < 4; k++) c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
        table[i] = c;
    }
    crc = ~crc;
    for (; bytes > 0; bytes--, p++) {
        crc ^= *p;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_hardware(uint32_t crc, const unsigned char *p, size_t bytes)
{
    uint64_t c = ~crc;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    uint32_t d = (uint32_t)c;
    for (; bytes > 0; bytes--, p++) d = _mm_crc32_u8(d, *p);
    return ~d;
}
#endif

uint32_t vj_crc32c(uint32_t crc, const void *data, size_t bytes)
{
#if defined(__x86_64__)
    if (hardware && __builtin_cpu_supports("sse4.2")) return crc32c_hardware(crc, data, bytes);
#endif
    return crc_table(crc, data, bytes, 0x82F63B78u);
}

uint32_t vj_crc32(uint32_t crc, const void *data, size_t bytes) { return (uint32_t)crc32_z(crc, data, bytes); }
