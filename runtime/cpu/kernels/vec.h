// Vectors of VJ_VECTOR floats, written with GCC's vector extensions: every file of this folder is compiled once per
// instruction set (CMakeLists.txt), with contraction on, so a * b + c becomes one FMA where the CPU has it. Lane orders are
// written out, hence the bits of a result depend on the instruction set and on shapes, on nothing else.
#ifndef VJ_RUNTIME_CPU_KERNELS_VEC_H
#define VJ_RUNTIME_CPU_KERNELS_VEC_H

#include <stdint.h>
#include <string.h>

#include "runtime/cpu/cpu_kernels.h"

enum { W = VJ_VECTOR };
typedef float vf __attribute__((vector_size(4 * VJ_VECTOR)));
typedef int32_t vi __attribute__((vector_size(4 * VJ_VECTOR)));
typedef float vfu __attribute__((vector_size(4 * VJ_VECTOR), aligned(4)));

#define VJ_PASTE2(a, b) a##_##b
#define VJ_PASTE(a, b) VJ_PASTE2(a, b)
#define VJ_NAME(name) VJ_PASTE(name, VJ_ISA)

static inline vf load(const float *p) { return *(const vfu *)p; }
static inline void store(float *p, vf v) { *(vfu *)p = v; }
static inline vf splat(float x) { return x - (vf){ 0 }; }
static inline vf choose(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
static inline vf vmax(vf a, vf b) { return choose(a > b, a, b); }
static inline vf vmin(vf a, vf b) { return choose(a < b, a, b); }
static inline vf vabs(vf a) { return (vf)((vi)a & 0x7fffffff); }

// Lanes are added by halves: the order is fixed by the vector's width.
static inline float lanes_sum(vf v)
{
    float x[W];
    memcpy(x, &v, sizeof x);
    for (int h = W / 2; h > 0; h /= 2) {
        for (int i = 0; i < h; i++) x[i] += x[i + h];
    }
    return x[0];
}

static inline float lanes_max(vf v)
{
    float x[W], top;
    memcpy(x, &v, sizeof x);
    top = x[0];
    for (int i = 1; i < W; i++) top = x[i] > top ? x[i] : top;
    return top;
}

// The first n < W floats, the rest 0.
static inline vf load_part(const float *p, int64_t n)
{
    float x[W] = { 0 };
    memcpy(x, p, (size_t)n * sizeof *x);
    return load(x);
}

static inline void store_part(float *p, vf v, int64_t n) { memcpy(p, &v, (size_t)n * sizeof *p); }

// exp(x) for x <= 88 (relative error about 1e-7); below -87 the result is 0.
static inline vf vexp(vf x)
{
    const vf clamped = vmax(vmin(x, splat(88.0f)), splat(-87.3f));
    const vf magic = splat(12582912.0f);   // 1.5 * 2^23: adding it rounds to an integer
    const vf shifted = clamped * 1.44269504f + magic;
    const vf n = shifted - magic;
    vf r = clamped - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vf p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const vi exponent = ((vi)shifted << 23);   // the integer sits in the low bits of the shifted value
    const vf scaled = (vf)((vi)p + exponent);
    return choose(x < splat(-87.3f), splat(0.0f), scaled);
}

// The normal distribution's cumulative function and density at x: gelu(x) = x * cdf, gelu'(x) = cdf + x * density.
// Abramowitz and Stegun 7.1.26 for the tail, so that small tails keep their relative accuracy.
static inline void normal(vf x, vf *cdf, vf *density)
{
    const vf z = vabs(x), e = vexp(x * x * -0.5f);
    const vf t = 1.0f / (z * (0.3275911f * 0.70710678f) + 1.0f);
    vf p = splat(1.061405429f);
    p = p * t + -1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t + -0.284496736f;
    p = p * t + 0.254829592f;
    const vf tail = p * t * e * 0.5f;
    *cdf = choose(x < splat(0.0f), tail, 1.0f - tail);
    *density = e * 0.39894228f;
}

#endif
