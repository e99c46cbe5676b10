// Element types and conversions on the host.

#include "runtime/tensor/dtype.h"

#include <string.h>

static const struct { size_t size; const char *name; bool is_float; } types[] = {
    [VJ_F32] = { 4, "float32", true }, [VJ_F64] = { 8, "float64", true }, [VJ_BF16] = { 2, "bfloat16", true },
    [VJ_F16] = { 2, "float16", true }, [VJ_I32] = { 4, "int32", false }, [VJ_I64] = { 8, "int64", false },
    [VJ_U8] = { 1, "uint8", false },
};

size_t vj_dtype_size(vj_dtype t) { return types[t].size; }
const char *vj_dtype_name(vj_dtype t) { return types[t].name; }
bool vj_dtype_is_float(vj_dtype t) { return types[t].is_float; }

static float from_bf16(uint16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40);   // NaN stays NaN, and quiet
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static float from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    uint32_t bits;
    float f;
    if (exponent == 31) bits = sign | 0x7f800000u | fraction << 13;
    else if (exponent) bits = sign | (exponent + 112) << 23 | fraction << 13;
    else {
        f = (float)fraction * 0x1p-24f;
        memcpy(&bits, &f, 4);
        bits |= sign;
    }
    memcpy(&f, &bits, 4);
    return f;
}

// Rounding is done in double, exactly: the spacing of float16 near |f| is a power of two.
static uint16_t to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00);   // 65520 and above round to infinity
    if (magnitude < 0x38800000u) {                                     // subnormal: multiples of 2^-24
        float a;
        memcpy(&a, &magnitude, 4);
        const double scaled = (double)a * 0x1p24;
        uint32_t whole = (uint32_t)scaled;
        const double rest = scaled - whole;
        if (rest > 0.5 || (rest == 0.5 && (whole & 1))) whole++;
        return (uint16_t)(sign | whole);
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

// The float next to v towards 0, with its last bit set when v lies beyond it (rounding to odd): rounding that float
// again to fewer bits gives what rounding v at once would give. Plain (float)v would round twice.
static float to_float_for_rounding(double v)
{
    float f = (float)v;
    if ((double)f == v || v != v) return f;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((f > 0 && (double)f > v) || (f < 0 && (double)f < v)) bits--;
    else if (f == 0) bits = v < 0 ? 0x80000000u : 0;
    bits |= 1;
    memcpy(&f, &bits, 4);
    return f;
}

static double load(const void *in, vj_dtype t, int64_t i)
{
    switch (t) {
    case VJ_F32: { float v; memcpy(&v, (const char *)in + 4 * i, 4); return v; }
    case VJ_F64: { double v; memcpy(&v, (const char *)in + 8 * i, 8); return v; }
    case VJ_BF16: { uint16_t v; memcpy(&v, (const char *)in + 2 * i, 2); return from_bf16(v); }
    default: { uint16_t v; memcpy(&v, (const char *)in + 2 * i, 2); return from_f16(v); }
    }
}

vj_status vj_convert(void *out, vj_dtype out_type, const void *in, vj_dtype in_type, int64_t count)
{
    if (out_type == in_type) {
        if (count > 0) memcpy(out, in, (size_t)count * types[in_type].size);
        return VJ_OK;
    }
    VJ_CHECK(types[in_type].is_float && types[out_type].is_float, VJ_ERR_BUG, "no conversion from %s to %s",
             types[in_type].name, types[out_type].name);
    for (int64_t i = 0; i < count; i++) {
        const double v = load(in, in_type, i);
        switch (out_type) {
        case VJ_F32: { const float f = (float)v; memcpy((char *)out + 4 * i, &f, 4); break; }
        case VJ_F64: memcpy((char *)out + 8 * i, &v, 8); break;
        case VJ_BF16: {
            const uint16_t h = to_bf16(to_float_for_rounding(v));
            memcpy((char *)out + 2 * i, &h, 2);
            break;
        }
        default: { const uint16_t h = to_f16(to_float_for_rounding(v)); memcpy((char *)out + 2 * i, &h, 2); break; }
        }
    }
    return VJ_OK;
}
