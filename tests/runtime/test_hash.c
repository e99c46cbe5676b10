// Digests against published vectors, in one piece and in every split; all of it once more with the portable code.

#include "runtime/base/hash.h"
#include "runtime/base/hash_impl.h"

#include <string.h>

#include "tests/support/scratch.h"

// Bit by bit, straight from the definition.
static uint32_t crc_slow(uint32_t polynomial, const unsigned char *p, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++) crc = (crc >> 1) ^ ((crc & 1) ? polynomial : 0);
    }
    return ~crc;
}

static void sha256_known_answers(void **state)
{
    (void)state;
    static const struct { const char *text, *want; } known[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    char hex[65];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        vj_sha256_hex(hex, known[i].text, strlen(known[i].text));
        assert_string_equal(hex, known[i].want);
    }
    vj_sha256 h;
    unsigned char digest[32], thousand[1000];
    memset(thousand, 'a', sizeof thousand);
    vj_sha256_start(&h);
    for (int i = 0; i < 1000; i++) vj_sha256_add(&h, thousand, sizeof thousand);
    vj_sha256_end(&h, digest);
    vj_hex(hex, digest, 32);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void sha256_does_not_see_pieces(void **state)
{
    (void)state;
    unsigned char data[300];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 37 + 11);
    for (size_t n = 0; n <= sizeof data; n++) {
        char whole[65], parts[65];
        vj_sha256_hex(whole, data, n);
        vj_sha256 h;
        unsigned char digest[32];
        vj_sha256_start(&h);
        for (size_t at = 0, step = 1; at < n; at += step, step = step * 3 % 71 + 1) vj_sha256_add(&h, data + at, at + step < n ? step : n - at);
        vj_sha256_end(&h, digest);
        vj_hex(parts, digest, 32);
        assert_string_equal(whole, parts);
    }
}

static void crc_known_answers(void **state)
{
    (void)state;
    assert_true(vj_crc32(0, "123456789", 9) == 0xCBF43926u);
    assert_true(vj_crc32c(0, "123456789", 9) == 0xE3069283u);
    assert_true(vj_crc32(0, "", 0) == 0 && vj_crc32c(0, "", 0) == 0);
    // iSCSI's vectors (RFC 3720 B.4).
    unsigned char bytes[32] = { 0 };
    assert_true(vj_crc32c(0, bytes, 32) == 0x8A9136AAu);
    memset(bytes, 0xff, 32);
    assert_true(vj_crc32c(0, bytes, 32) == 0x62A8AB43u);
    for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
    assert_true(vj_crc32c(0, bytes, 32) == 0x46DD794Eu);
}

// All lengths and starts: the hardware path has its own code for heads and tails.
static void crc_of_all_lengths_and_pieces(void **state)
{
    (void)state;
    unsigned char data[4096 + 64];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)((i * i + 7 * i) >> 3);
    for (size_t n = 0; n < 300; n++) {
        const unsigned char *p = data + n % 17;
        assert_true(vj_crc32c(0, p, n) == crc_slow(0x82F63B78u, p, n));
        assert_true(vj_crc32(0, p, n) == crc_slow(0xEDB88320u, p, n));
        assert_true(vj_crc32c(vj_crc32c(0, p, n / 3), p + n / 3, n - n / 3) == vj_crc32c(0, p, n));
        assert_true(vj_crc32(vj_crc32(0, p, n / 3), p + n / 3, n - n / 3) == vj_crc32(0, p, n));
    }
    assert_true(vj_crc32c(0, data + 3, 4096) == crc_slow(0x82F63B78u, data + 3, 4096));
}

static void xxh3_known_answers(void **state)
{
    (void)state;
    assert_true(vj_xxh64("", 0) == 0x2D06800538D394C2u);   // XXH3, 64 bits, seed 0
    char a[256] = { 0 }, b[256] = { 0 };
    b[200] = 1;
    assert_true(vj_xxh64(a, 256) != vj_xxh64(b, 256));
    assert_true(vj_xxh64(a, 255) != vj_xxh64(a, 256));
}

static int portable(void **state)
{
    (void)state;
    vj_hash_use_hardware(false);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_known_answers),
        cmocka_unit_test(sha256_does_not_see_pieces),
        cmocka_unit_test(crc_known_answers),
        cmocka_unit_test(crc_of_all_lengths_and_pieces),
        cmocka_unit_test(xxh3_known_answers),
    };
    const int failed = cmocka_run_group_tests_name("runtime/hash", tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("runtime/hash portable", tests, portable, NULL);
}
