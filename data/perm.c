// data/perm.c
//
// An additive Feistel network on Z_a x Z_b with a*b >= N just large enough, and cycle walking: a value that falls
// outside [0, N) is permuted again until it is inside. a*b < N + sqrt(N) + 1, so one pass is nearly always enough.
//
// Twelve rounds: with eight, the distribution of positions at N = 10 was visibly uneven.

#include "data/perm.h"

#include <math.h>

#include "runtime/base/rng.h"

enum { ROUNDS = 12 };

static uint64_t integer_root(uint64_t n)
{
    uint64_t r = (uint64_t)sqrt((double)n);
    while (r > 0 && (unsigned __int128)r * r > n) r--;
    while ((unsigned __int128)(r + 1) * (r + 1) <= n) r++;
    return r;
}

typedef struct sides { uint64_t a, b; } sides;

static sides sides_of(uint64_t n)
{
    VJ_ASSERT(n >= 1 && n <= (uint64_t)1 << 62);
    const uint64_t a = integer_root(n - 1) + 1;
    return (sides){ .a = a, .b = (n + a - 1) / a };
}

uint64_t vj_perm(uint64_t seed, uint64_t i, uint64_t n, uint32_t tag, uint32_t aux)
{
    VJ_ASSERT(i < n);
    if (n == 1) return 0;
    const sides s = sides_of(n);
    uint64_t x = i;
    do {
        uint64_t left = x / s.b, right = x % s.b;
        for (uint32_t round = 0; round < ROUNDS; round += 2) {
            left = (left + vj_mulhi64(vj_rng_u64(seed, right, tag, round, aux), s.a)) % s.a;
            right = (right + vj_mulhi64(vj_rng_u64(seed, left, tag, round + 1, aux), s.b)) % s.b;
        }
        x = left * s.b + right;
    } while (x >= n);
    return x;
}

uint64_t vj_perm_inverse(uint64_t seed, uint64_t value, uint64_t n, uint32_t tag, uint32_t aux)
{
    VJ_ASSERT(value < n);
    if (n == 1) return 0;
    const sides s = sides_of(n);
    uint64_t x = value;
    do {
        uint64_t left = x / s.b, right = x % s.b;
        for (uint32_t round = ROUNDS; round > 0; round -= 2) {
            right = (right + s.b - vj_mulhi64(vj_rng_u64(seed, left, tag, round - 1, aux), s.b)) % s.b;
            left = (left + s.a - vj_mulhi64(vj_rng_u64(seed, right, tag, round - 2, aux), s.a)) % s.a;
        }
        x = left * s.b + right;
    } while (x >= n);
    return x;
}
