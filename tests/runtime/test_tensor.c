// Element types, conversions and views: host arithmetic only.

#include <math.h>
#include <string.h>
#include <sys/wait.h>

#include "runtime/base/rng.h"
#include "runtime/tensor/tensor.h"
#include "tests/support/scratch.h"

static void types_have_names_and_sizes(void **state)
{
    (void)state;
    static const struct {
        vj_dtype t;
        const char *name;
        size_t size;
        bool real;
    } want[] = {
        { VJ_F32, "float32", 4, true }, { VJ_F64, "float64", 8, true }, { VJ_BF16, "bfloat16", 2, true },
        { VJ_F16, "float16", 2, true }, { VJ_I32, "int32", 4, false },  { VJ_I64, "int64", 8, false },
        { VJ_U8, "uint8", 1, false },
    };
    for (int i = 0; i < 7; i++) {
        assert_string_equal(vj_dtype_name(want[i].t), want[i].name);
        assert_int_equal(vj_dtype_size(want[i].t), want[i].size);
        assert_int_equal(vj_dtype_is_float(want[i].t), want[i].real);
    }
}

// ---- half types: values by their definition, rounding by looking at the neighbours --------------------------------
typedef struct half_type {
    vj_dtype t;
    int fraction_bits, bias, special;
} half_type;   // special: the exponent of inf and NaN
static const half_type halves[] = { { VJ_F16, 10, 15, 31 }, { VJ_BF16, 7, 127, 255 } };

// The value of a pattern; infinity counts as the next power of two would (that is how rounding to it works).
static double value_of(const half_type *h, uint16_t bits)
{
    const int fraction = bits & ((1 << h->fraction_bits) - 1), exponent = (bits & 0x7fff) >> h->fraction_bits;
    const double sign = bits & 0x8000 ? -1 : 1, unit = ldexp(1, -h->fraction_bits);
    return exponent == 0 ? sign * ldexp(fraction * unit, 1 - h->bias)
                         : sign * ldexp(1 + fraction * unit, exponent - h->bias);
}

static void every_half_pattern_survives_both_ways(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const half_type *h = &halves[k];
        for (uint32_t p = 0; p < 65536; p++) {
            const uint16_t bits = (uint16_t)p;
            const int exponent = (bits & 0x7fff) >> h->fraction_bits, fraction = bits & ((1 << h->fraction_bits) - 1);
            double wide;
            float narrow;
            uint16_t back, back32;
            assert_ok(vj_convert(&wide, VJ_F64, &bits, h->t, 1));
            assert_ok(vj_convert(&narrow, VJ_F32, &bits, h->t, 1));
            assert_ok(vj_convert(&back, h->t, &wide, VJ_F64, 1));
            assert_ok(vj_convert(&back32, h->t, &narrow, VJ_F32, 1));
            if (exponent == h->special && fraction != 0) {
                assert_true(isnan(wide) && isnan(narrow));
                assert_true((back & 0x7fff) >> h->fraction_bits == h->special &&
                            (back & ((1 << h->fraction_bits) - 1)) != 0);
                continue;
            }
            if (exponent == h->special) assert_true(isinf(wide) && (wide < 0) == (bits >> 15));
            else
                assert_true(wide == value_of(h, bits) && (double)narrow == wide &&
                            signbit(wide) == signbit(value_of(h, bits)));
            assert_int_equal(back, bits);
            assert_int_equal(back32, bits);
        }
    }
}

// The pattern must be the nearest one; of two equally near ones the even one.
static void check_rounding(const half_type *h, double v)
{
    uint16_t got;
    assert_ok(vj_convert(&got, h->t, &v, VJ_F64, 1));
    const uint16_t magnitude = got & 0x7fff;
    const bool even = magnitude % 2 == 0, infinite = magnitude >> h->fraction_bits == h->special;
    const double error = fabs(fabs(v) - value_of(h, magnitude));
    const double above = infinite ? INFINITY : fabs(fabs(v) - value_of(h, (uint16_t)(magnitude + 1)));
    const double below = magnitude == 0 ? INFINITY : fabs(fabs(v) - value_of(h, (uint16_t)(magnitude - 1)));
    const bool nearest = (error < above || (error == above && even)) && (error < below || (error == below && even));
    if (!nearest || (got >> 15) != (signbit(v) != 0)) {
        fail_msg("%s: %.17g became %04x = %.17g", vj_dtype_name(h->t), v, got, value_of(h, got));
    }
}

static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const half_type *h = &halves[k];
        const uint16_t largest = (uint16_t)((h->special << h->fraction_bits) - 1);
        for (uint32_t p = 0; p <= largest; p++) {
            // Half way to the next one, and as near to that as float64 can be: rounding by way of float32 fails here.
            const double middle = 0.5 * (value_of(h, (uint16_t)p) + value_of(h, (uint16_t)(p + 1)));
            for (int sign = -1; sign <= 1; sign += 2) {
                check_rounding(h, sign * middle);
                check_rounding(h, sign * nextafter(middle, INFINITY));
                check_rounding(h, sign * nextafter(middle, 0));
            }
        }
        for (uint64_t i = 0; i < 20000; i++) {
            const double u = 2 * vj_rng_uniform(3, i, 0x39999, 0, 0) - 1;
            check_rounding(h, ldexp(u, (int)vj_rng_below(3, i, 0x39999, 1, 0, 50) - 30));
        }
    }
}

static void other_conversions(void **state)
{
    (void)state;
    const double in[3] = { 1.0 / 3, -1e300, 5e-324 };
    float out[3];
    assert_ok(vj_convert(out, VJ_F32, in, VJ_F64, 3));
    assert_true(out[0] == (float)(1.0 / 3) && isinf(out[1]) && out[1] < 0 && out[2] == 0);
    const int32_t whole[2] = { 7, -9 };
    int32_t copy[2] = { 0 };
    assert_ok(vj_convert(copy, VJ_I32, whole, VJ_I32, 2));
    assert_memory_equal(copy, whole, sizeof whole);
    assert_ok(vj_convert(NULL, VJ_F32, NULL, VJ_F64, 0));
    assert_fails(vj_convert(copy, VJ_I32, in, VJ_F64, 1), VJ_ERR_BUG, "no conversion from float64 to int32");
}

// ---- views --------------------------------------------------------------------------------------------------------
static void views_are_arithmetic(void **state)
{
    (void)state;
    float data[60];
    const vj_tensor t = vj_tensor_of(data, VJ_F32, 3, (const int64_t[]){ 5, 3, 4 });
    assert_int_equal(vj_count(&t), 60);
    assert_int_equal(vj_tensor_bytes(&t), 240);
    assert_int_equal(t.shape[3], 1);
    assert_int_equal(t.shape[4], 1);
    const vj_tensor r = vj_rows(&t, 2, 2);
    assert_ptr_equal(r.data, data + 24);
    assert_int_equal(r.shape[0], 2);
    assert_int_equal(vj_count(&r), 24);
    const vj_tensor end = vj_rows(&t, 5, 0), flat = vj_reshape_2d(&t, 15, 4), same = vj_tensor_2d(NULL, VJ_F64, 15, 4);
    assert_ptr_equal(end.data, data + 60);
    assert_int_equal(vj_count(&end), 0);
    assert_true(vj_same_shape(&flat, &same));   // shapes alone: type and memory do not matter
    assert_false(vj_same_shape(&flat, &t));
    const vj_tensor none = vj_tensor_2d(NULL, VJ_F32, 0, 7);
    assert_int_equal(vj_tensor_bytes(&none), 0);
}

static void shapes_as_text(void **state)
{
    (void)state;
    char text[96];
    vj_shape_text(text, &(vj_tensor){ .dtype = VJ_F32, .rank = 3, .shape = { 8, 256, 1024 } });
    assert_string_equal(text, "float32 (8, 256, 1024)");
    vj_shape_text(text, &(vj_tensor){ .dtype = VJ_U8, .rank = 1, .shape = { 0 } });
    assert_string_equal(text, "uint8 (0)");
    // The longest that a shape can be is cut, not written beyond the end.
    struct { char text[96], after[8]; } guarded;
    memset(&guarded, 'x', sizeof guarded);
    const int64_t big = INT64_MAX;
    vj_shape_text(guarded.text, &(vj_tensor){ .dtype = VJ_BF16, .rank = 5, .shape = { big, big, big, big, big } });
    assert_true(memchr(guarded.text, 0, sizeof guarded.text) != NULL);
    assert_memory_equal(guarded.after, "xxxxxxxx", 8);
}

static void tensors_from_arenas(void **state)
{
    (void)state;
    _Alignas(64) char memory[1024];
    vj_arena a = vj_arena_over("test", memory, sizeof memory), dry = vj_arena_measure("dry");
    for (int pass = 0; pass < 2; pass++) {
        vj_arena *arena = pass ? &a : &dry;
        vj_tensor x, y, z;
        assert_ok(vj_tensor_alloc_2d(arena, &x, VJ_F32, 3, 5));    // 60 bytes: 64
        assert_ok(vj_tensor_alloc_1d(arena, &y, VJ_F64, 9));       // 72: 128
        assert_ok(vj_tensor_alloc(arena, &z, VJ_I32, 3, (const int64_t[]){ 2, 3, 4 }));   // 96: 128
        assert_int_equal(arena->used, 64 + 128 + 128);
        assert_int_equal((char *)y.data - (char *)x.data, 64);
        assert_int_equal((char *)z.data - (char *)y.data, 128);
    }
    vj_tensor big;
    assert_fails(vj_tensor_alloc_1d(&a, &big, VJ_F64, 1000), VJ_ERR_NOMEM, "arena test");
}

// ---- our own mistakes end the program with 70 ---------------------------------------------------------------------
static void more_rows_than_there_are(void) { (void)vj_rows(&(vj_tensor){ .rank = 1, .shape = { 4 } }, 3, 2); }
static void another_count(void) { (void)vj_reshape_2d(&(vj_tensor){ .rank = 1, .shape = { 4 } }, 3, 2); }
static void rank_zero(void) { (void)vj_tensor_of(NULL, VJ_F32, 0, NULL); }
static void negative_size(void) { (void)vj_tensor_1d(NULL, VJ_F32, -1); }

static void bugs_end_with_70(void **state)
{
    (void)state;
    void (*const bugs[])(void) = { more_rows_than_there_are, another_count, rank_zero, negative_size };
    for (int i = 0; i < 4; i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            if (freopen("/dev/null", "w", stderr) == NULL) _exit(3);
            bugs[i]();
            _exit(0);
        }
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        if (!WIFEXITED(how) || WEXITSTATUS(how) != 70) fail_msg("bug %d ended with %d", i, how);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_names_and_sizes),   cmocka_unit_test(every_half_pattern_survives_both_ways),
        cmocka_unit_test(halves_round_to_nearest_even), cmocka_unit_test(other_conversions),
        cmocka_unit_test(views_are_arithmetic),         cmocka_unit_test(shapes_as_text),
        cmocka_unit_test(tensors_from_arenas),          cmocka_unit_test(bugs_end_with_70),
    };
    return cmocka_run_group_tests_name("runtime/tensor", tests, NULL, NULL);
}
