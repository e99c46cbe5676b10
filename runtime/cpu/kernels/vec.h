// Vectors of VJ_VECTOR floats, written with GCC's vector extensions: every file of this folder is compiled once per
// instruction set (CMakeLists.txt), with contraction on, so a * b + c becomes one FMA where the CPU has it. Lane orders
// are written out, hence the bits of a result depend on the instruction set and on shapes, on nothing else.
#ifndef VJ_RUNTIME_CPU_KERNELS_VEC_H
#define VJ_RUNTIME_CPU_KERNELS_VEC_H

#include <stdint.h>
#include <string.h>

#if VJ_VECTOR > 4
#include <immintrin.h>
#endif

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
static inline vf vabs(vf a) { return (vf)((vi)a & 0x7fffffff); }

// The few operations where a compiler does not find the instruction by itself. A NaN in b survives vmax and vmin.
#if VJ_VECTOR == 16
static inline vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
static inline vf vmin(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
static inline vf if_negative(vf x, vf a, vf b)
{
    return (vf)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)x), (__m512)b, (__m512)a);
}
static inline vf zero_below(vf x, vf limit, vf v)
{
    return (vf)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)x, (__m512)limit, _CMP_NLT_UQ), (__m512)v);
}
#define VJ_EXCHANGE(v, h)                                                                                              \
    __builtin_shuffle(v, (vi){ 0 ^ h, 1 ^ h, 2 ^ h, 3 ^ h, 4 ^ h, 5 ^ h, 6 ^ h, 7 ^ h, 8 ^ h, 9 ^ h, 10 ^ h, 11 ^ h,   \
                               12 ^ h, 13 ^ h, 14 ^ h, 15 ^ h })
#elif VJ_VECTOR == 8
static inline vf vmax(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
static inline vf vmin(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
static inline vf if_negative(vf x, vf a, vf b) { return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)x); }
static inline vf zero_below(vf x, vf limit, vf v)
{
    return (vf)_mm256_andnot_ps(_mm256_cmp_ps((__m256)x, (__m256)limit, _CMP_LT_OQ), (__m256)v);
}
#define VJ_EXCHANGE(v, h) __builtin_shuffle(v, (vi){ 0 ^ h, 1 ^ h, 2 ^ h, 3 ^ h, 4 ^ h, 5 ^ h, 6 ^ h, 7 ^ h })
#else
static inline vf choose(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
static inline vf vmax(vf a, vf b) { return choose(a > b, a, b); }
static inline vf vmin(vf a, vf b) { return choose(a < b, a, b); }
static inline vf if_negative(vf x, vf a, vf b) { return choose((vi)x >> 31, a, b); }
static inline vf zero_below(vf x, vf limit, vf v) { return (vf)((vi)v & ~(x < limit)); }
#define VJ_EXCHANGE(v, h) __builtin_shuffle(v, (vi){ 0 ^ h, 1 ^ h, 2 ^ h, 3 ^ h })
#endif

// Lanes are added by halves: the order is fixed by the vector's width.
static inline float lanes_sum(vf v)
{
#if VJ_VECTOR >= 16
    v += VJ_EXCHANGE(v, 8);
#endif
#if VJ_VECTOR >= 8
    v += VJ_EXCHANGE(v, 4);
#endif
    v += VJ_EXCHANGE(v, 2);
    v += VJ_EXCHANGE(v, 1);
    return v[0];
}

static inline float lanes_max(vf v)
{
#if VJ_VECTOR >= 16
    v = vmax(v, VJ_EXCHANGE(v, 8));
#endif
#if VJ_VECTOR >= 8
    v = vmax(v, VJ_EXCHANGE(v, 4));
#endif
    v = vmax(v, VJ_EXCHANGE(v, 2));
    v = vmax(v, VJ_EXCHANGE(v, 1));
    return v[0];
}

// The first n < W floats, the rest 0.
static inline vf load_part(const float *p, int64_t n)
{
    float x[W] = { 0 };
    memcpy(x, p, (size_t)n * sizeof *x);
    return load(x);
}

static inline void store_part(float *p, vf v, int64_t n) { memcpy(p, &v, (size_t)n * sizeof *p); }

// exp(x), relative error about 1e-7; below -87.3 it is 0, NaN stays NaN. Above 88: not specified (on AVX-512 it becomes
// infinite, elsewhere it stays at exp(88)). exp(r) on |r| <= ln 2 / 2 is 1 + r + r^2 q(r), q fitted by us to 4e-9.
static inline vf vexp_rest(vf r)
{
    vf q = splat(1.3814583653584123e-3f);
    q = q * r + 8.368724025785923e-3f;
    q = q * r + 4.166838899254799e-2f;
    q = q * r + 1.666652113199234e-1f;
    q = q * r + 4.999999403953552e-1f;
    q = q * r + 1.0f;
    return q * r + 1.0f;
}

static inline vf vexp(vf x)
{
#if VJ_VECTOR == 16
    const vf n = (vf)_mm512_roundscale_ps((__m512)(x * 1.44269504f), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vf r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    const __mmask16 there = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-87.3f), _CMP_NLT_UQ);
    return (vf)_mm512_maskz_scalef_ps(there, (__m512)vexp_rest(r), (__m512)n);
#else
    const vf clamped = vmin(splat(88.0f), vmax(splat(-87.3f), x));
    const vf magic = splat(12582912.0f);   // 1.5 * 2^23: adding it rounds to an integer
    const vf shifted = clamped * 1.44269504f + magic;
    const vf n = shifted - magic;
    vf r = clamped - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    const vi exponent = ((vi)shifted << 23);   // the integer sits in the low bits of the shifted value
    return zero_below(x, splat(-87.3f), (vf)((vi)vexp_rest(r) + exponent));
#endif
}

// 1 / d for d in [1, 1e30], relative error below 1e-7: a guess from the bits, then three steps of Newton. A third of the time of
// a division, and the same bits on every CPU, which an instruction for approximate reciprocals does not promise.
static inline vf reciprocal(vf d)
{
    vf y = (vf)(0x7ef311c7 - (vi)d);
    y = y * (2.0f - d * y);
    y = y * (2.0f - d * y);
    return y * (2.0f - d * y);
}

// The normal distribution's cumulative function and density at x: gelu(x) = x * cdf, gelu'(x) = cdf + x * density.
// Upper tail: exp(-z^2/2) t P(t) with t = 1 / (1 + z/4), P fitted by us to |error| < 4e-9 in the tail (before
// rounding). The lower tail is not made as 1 - upper, so that gelu of a very negative x keeps its leading digits.
static inline void normal(vf x, vf *cdf, vf *density)
{
    const vf z = vmin(splat(1e4f), vabs(x)), e = vexp(x * x * -0.5f);
    const vf t = reciprocal(z * 0.25f + 1.0f);
    vf p = splat(-0.0914260670542717f);
    p = p * t + 0.3405073583126068f;
    p = p * t + -0.26424694061279297f;
    p = p * t + 0.27765876054763794f;
    p = p * t + 0.02723531983792782f;
    p = p * t + 0.11132857948541641f;
    p = p * t + 0.09894300252199173f;
    const vf tail = p * t * e;
    *cdf = if_negative(x, tail, 1.0f - tail);
    *density = e * 0.39894228f;
}

#endif
