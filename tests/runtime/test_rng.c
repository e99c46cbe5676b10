// Random numbers: known answers (spec/data.md 4.2, spec/pretrain.md 3.5), addressing, ranges, the inverse normal.

#include "runtime/base/rng.h"

#include <math.h>
#include <string.h>

#include "tests/support/scratch.h"

static void philox_known_answers(void **state)
{
    (void)state;
    static const struct { uint32_t counter[4], key[2], want[4]; } known[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t out[4];
        vj_philox(out, known[i].counter, known[i].key);
        assert_memory_equal(out, known[i].want, sizeof out);
    }
}

// Where each argument goes: the draw is that of the counter put together by hand.
static void draws_have_their_addresses(void **state)
{
    (void)state;
    const uint64_t seed = 0x1122334455667788, id = 0x99aabbccddeeff00;
    uint32_t out[4];
    vj_philox(out, (const uint32_t[]){ 0xddeeff00, 0x99aabbcc, (0x20001u << 8) | 7, 3 }, (const uint32_t[]){ 0x55667788, 0x11223344 });
    const uint64_t u = vj_rng_u64(seed, id, 0x20001, 7, 3);
    assert_true(u == (out[0] | (uint64_t)out[1] << 32));
    assert_true(vj_rng_uniform(seed, id, 0x20001, 7, 3) == (double)(u >> 11) / 9007199254740992.0);
    assert_true(vj_rng_below(seed, id, 0x20001, 7, 3, 10) == (uint64_t)(((unsigned __int128)u * 10) >> 64));
    assert_true(u != vj_rng_u64(seed + 1, id, 0x20001, 7, 3));
    assert_true(u != vj_rng_u64(seed, id + 1, 0x20001, 7, 3));
    assert_true(u != vj_rng_u64(seed, id, 0x20002, 7, 3));
    assert_true(u != vj_rng_u64(seed, id, 0x20001, 8, 3));
    assert_true(u != vj_rng_u64(seed, id, 0x20001, 7, 4));
}

static void units_and_bounds(void **state)
{
    (void)state;
    assert_true(vj_u64_to_unit(0) == 0);
    assert_true(vj_u64_to_unit(UINT64_MAX) == 1 - 0x1p-53);
    assert_true(vj_mulhi64(UINT64_MAX, UINT64_MAX) == UINT64_MAX - 1);
    int seen[7] = { 0 };
    double sum = 0;
    for (uint64_t id = 0; id < 7000; id++) {
        const uint64_t b = vj_rng_below(239, id, 1, 0, 0, 7);
        assert_true(b < 7);
        seen[b]++;
        assert_int_equal(vj_rng_below(239, id, 1, 0, 0, 1), 0);
        sum += vj_rng_uniform(239, id, 2, 0, 0);
    }
    // Six standard deviations around the mean, in both cases.
    for (int i = 0; i < 7; i++) assert_in_range(seen[i], 1000 - 176, 1000 + 176);
    assert_true(fabs(sum / 7000 - 0.5) < 6 * sqrt(1.0 / 12 / 7000));
}

static void mt19937_known_answers(void **state)
{
    (void)state;
    vj_mt19937 mt;
    vj_mt19937_seed(&mt, 0);
    assert_true(vj_mt19937_next(&mt) == 2357136044u);
    assert_true(vj_mt19937_next(&mt) == 2546248239u);
    assert_true(vj_mt19937_next(&mt) == 3071714933u);
    // The three draws behind the sizes of masks, seeds 0 to 5.
    static const double want[6][3] = {
        { .496256590, .768221796, .088477433 }, { .757631600, .279310882, .403069258 }, { .614695072, .381012857, .637114346 },
        { .004263520, .105569363, .285842478 }, { .559638619, .559092402, .091456831 }, { .830251873, .126110911, .907469690 },
    };
    for (uint32_t seed = 0; seed < 6; seed++) {
        vj_mt19937_seed(&mt, seed);
        for (int i = 0; i < 3; i++) assert_true(fabs((vj_mt19937_next(&mt) & 0xFFFFFF) / 16777216.0 - want[seed][i]) < 6e-9);
    }
    // The standard's check value: the 10000th output of seed 5489.
    vj_mt19937_seed(&mt, 5489);
    for (int i = 1; i < 10000; i++) vj_mt19937_next(&mt);
    assert_true(vj_mt19937_next(&mt) == 4123659995u);
}

static void inverse_normal(void **state)
{
    (void)state;
    assert_true(vj_normal_inverse(0.5) == 0);
    // Quantiles to all printed digits.
    assert_true(fabs(vj_normal_inverse(0.975) - 1.959963984540054) < 1e-14);
    assert_true(fabs(vj_normal_inverse(0.995) - 2.5758293035489004) < 1e-14);
    assert_true(fabs(vj_normal_inverse(0.8413447460685429) - 1) < 1e-14);
    assert_true(fabs(vj_normal_inverse(0.02275013194817921) + 2) < 1e-14);
    // There and back over the whole range, the tails included; and it is monotonic and odd.
    double last = -INFINITY;
    for (int i = 1; i < 4000; i++) {
        const double u = i / 4000.0, x = vj_normal_inverse(u);
        assert_true(fabs(0.5 * erfc(-x / sqrt(2)) - u) < 4e-16);
        assert_true(x > last);
        if (i <= 2000) assert_true(fabs(x + vj_normal_inverse(1 - u)) < 1e-12);
        last = x;
    }
    for (double u = 0x1p-53; u < 0.1; u *= 2) {
        assert_true(fabs(0.5 * erfc(-vj_normal_inverse(u) / sqrt(2)) / u - 1) < 1e-12);
        assert_true(isfinite(vj_normal_inverse(1 - u)));
    }
    for (double u = 0x1p-1074; u < 0x1p-53; u *= 4) {   // no draw is so small, but nothing breaks
        assert_true(vj_normal_inverse(u) < -8 && vj_normal_inverse(u) > -39);
        assert_true(vj_normal_inverse(u) < vj_normal_inverse(4 * u));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(draws_have_their_addresses),
        cmocka_unit_test(units_and_bounds),
        cmocka_unit_test(mt19937_known_answers),
        cmocka_unit_test(inverse_normal),
    };
    return cmocka_run_group_tests_name("runtime/rng", tests, NULL, NULL);
}
