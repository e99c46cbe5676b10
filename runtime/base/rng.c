// Philox4x32-10, MT19937 and the inverse normal distribution.

#include "runtime/base/rng.h"

#include <math.h>

void vj_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint64_t vj_rng_u64(uint64_t seed, uint64_t id, uint32_t tag, uint32_t draw, uint32_t aux)
{
    const uint32_t counter[4] = { (uint32_t)id, (uint32_t)(id >> 32), (tag << 8) | draw, aux };
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t out[4];
    vj_philox(out, counter, key);
    return out[0] | (uint64_t)out[1] << 32;
}

double vj_rng_uniform(uint64_t seed, uint64_t id, uint32_t tag, uint32_t draw, uint32_t aux)
{
    return vj_u64_to_unit(vj_rng_u64(seed, id, tag, draw, aux));
}

uint64_t vj_rng_below(uint64_t seed, uint64_t id, uint32_t tag, uint32_t draw, uint32_t aux, uint64_t n)
{
    return vj_mulhi64(vj_rng_u64(seed, id, tag, draw, aux), n);
}

void vj_mt19937_seed(vj_mt19937 *mt, uint32_t seed)
{
    mt->state[0] = seed;
    for (int i = 1; i < 624; i++) {
        mt->state[i] = 1812433253u * (mt->state[i - 1] ^ (mt->state[i - 1] >> 30)) + (uint32_t)i;
    }
    mt->index = 624;
}

static void mt_refill(vj_mt19937 *mt)
{
    uint32_t *s = mt->state;
    for (int i = 0; i < 624; i++) {
        const uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % 624] & 0x7fffffffu);
        s[i] = s[(i + 397) % 624] ^ (y >> 1) ^ ((y & 1) ? 0x9908b0dfu : 0);
    }
    mt->index = 0;
}

uint32_t vj_mt19937_next(vj_mt19937 *mt)
{
    if (mt->index >= 624) mt_refill(mt);
    uint32_t y = mt->state[mt->index++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

// Acklam's rational approximation, then one step of Halley's method against erfc: full double accuracy.
double vj_normal_inverse(double u)
{
    static const double a[] = { -3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02,
                                1.383577518672690e+02, -3.066479806614716e+01, 2.506628277459239e+00 };
    static const double b[] = { -5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                                6.680131188771972e+01, -1.328068155288572e+01 };
    static const double c[] = { -7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                                -2.549732539343734e+00, 4.374664141464968e+00, 2.938163982698783e+00 };
    static const double d[] = { 7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00 };
    if (!(u > 0)) return -INFINITY;
    if (!(u < 1)) return INFINITY;
    double x;
    if (u < 0.02425 || u > 1 - 0.02425) {
        const double q = sqrt(-2 * log(u < 0.5 ? u : 1 - u));
        x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) / ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
        if (u > 0.5) x = -x;
    } else {
        const double q = u - 0.5, r = q * q;
        x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
            (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
    }
    if (u < 1e-300) return x;   // exp(x*x/2) would overflow; nine digits are enough so far out
    const double e = 0.5 * erfc(-x / sqrt(2)) - u;
    const double w = e * sqrt(2 * 3.14159265358979323846) * exp(x * x / 2);
    return x - w / (1 + x * w / 2);
}
