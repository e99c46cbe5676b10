// PyTorch files in and out: what is written is read, archives that torch.save never makes are refused, and a pickle
// with any bytes changed is an error or a value, never a crash (the seed is printed; VJ_TEST_SEED repeats it).

#include <string.h>
#include <time.h>

#include "checkpoints/pt.h"
#include "checkpoints/pt_pickle.h"
#include "checkpoints/pt_zip.h"
#include "tests/support/scratch.h"

static const char *in(void **state, const char *name)
{
    static char path[4200];
    vj_format(path, sizeof path, "%s/%s", (char *)*state, name);
    return path;
}

static void write_example(const char *path)
{
    vj_pt_writer *w = NULL;
    const float v[6] = { 1, -2, 3.5f, 1e-30f, 5, 6 };
    OK(vj_pt_writer_create(&w, path));
    vj_pt_begin_dict(w);
    vj_pt_key(w, "small");
    vj_pt_put_int(w, 255);
    vj_pt_key(w, "negative");
    vj_pt_put_int(w, -70000);
    vj_pt_key(w, "large");
    vj_pt_put_int(w, -(INT64_C(1) << 40));
    vj_pt_key(w, "pi");
    vj_pt_put_float(w, 3.25);
    vj_pt_key(w, "nothing");
    vj_pt_put_none(w);
    vj_pt_key(w, "betas");
    vj_pt_put_floats(w, (const double[]){ 0.5, 0.25 }, 2);
    vj_pt_key(w, "state");
    vj_pt_begin_dict(w);
    vj_pt_key_int(w, 1000);
    vj_pt_begin_dict(w);
    vj_pt_key(w, "n");
    vj_pt_put_int(w, 17);
    vj_pt_key(w, "m");
    OK(vj_pt_put_tensor(w, 2, (const int64_t[]){ 2, 3 }, v));
    vj_pt_key(w, "scalar");
    OK(vj_pt_put_tensor(w, 0, NULL, v + 2));
    vj_pt_end_dict(w);
    vj_pt_end_dict(w);
    vj_pt_key(w, "list");
    vj_pt_begin_list(w);
    vj_pt_put_bool(w, true);
    OK(vj_pt_put_tensor(w, 1, (const int64_t[]){ 0 }, v));
    vj_pt_end_list(w);
    vj_pt_end_dict(w);
    OK(vj_pt_writer_finish(&w));
}

static void written_is_read(void **state)
{
    vj_pt *f = NULL;
    float v[6] = { 0 };
    double x = 0;
    write_example(in(state, "a.pt"));
    OK(vj_pt_open(&f, in(state, "a.pt")));
    assert_int_equal(vj_pt_count(f), 3);
    const int64_t m = vj_pt_find(f, "state/1000/m"), scalar = vj_pt_find(f, "state/1000/scalar");
    assert_true(m >= 0 && scalar >= 0 && vj_pt_find(f, "list/1") >= 0 && vj_pt_find(f, "state/1000") < 0);
    assert_int_equal(vj_pt_at(f, m)->rank, 2);
    assert_int_equal(vj_pt_at(f, m)->shape[1], 3);
    OK(vj_pt_read(f, m, 0, 6, v));
    assert_true(v[0] == 1 && v[3] == 1e-30f && v[5] == 6);
    OK(vj_pt_read(f, m, 4, 1, v));
    assert_true(v[0] == 5);
    OK(vj_pt_read(f, scalar, 0, 1, v));
    assert_true(v[0] == 3.5f);
    assert_fails(vj_pt_read(f, m, 4, 3, v), VJ_ERR_BUG, "beyond the end");
    const struct { const char *path; double value; } numbers[] = {
        { "small", 255 }, { "negative", -70000 }, { "large", -0x1p40 }, { "pi", 3.25 }, { "list/0", 1 },
        { "state/1000/n", 17 },
    };
    for (int i = 0; i < 6; i++) {
        assert_true(vj_pt_number(f, numbers[i].path, &x));
        assert_true(x == numbers[i].value);
    }
    assert_false(vj_pt_number(f, "nothing", &x) || vj_pt_number(f, "absent", &x) || vj_pt_number(f, "list/7", &x) || vj_pt_number(f, "state/1001/n", &x) ||
                 vj_pt_number(f, "small/0", &x));
    vj_pt_close(&f);
}

// ---- archives ------------------------------------------------------------------------------------------------------
static size_t find(const char *bytes, size_t n, const char *what, size_t length)
{
    for (size_t i = 0; i + length <= n; i++) {
        if (memcmp(bytes + i, what, length) == 0) return i;
    }
    fail_msg("the example lacks a record");
    return 0;
}

static void archives_that_torch_never_makes(void **state)
{
    char *bytes = NULL;
    size_t n = 0;
    write_example(in(state, "b.pt"));
    OK(vj_file_read(in(state, "b.pt"), &bytes, &n, 1 << 20));
    const size_t first = find(bytes, n, "PK\1\2", 4), end = find(bytes, n, "PK\5\6", 4);
    const size_t second = first + 46 + (size_t)(unsigned char)bytes[first + 28];
    const struct { size_t at; unsigned char v; const char *message; } bad[] = {
        { first + 8, 1, "is encrypted" },
        { first + 10, 8, "is compressed (method 8)" },
        { first + 24, 99, "has two sizes" },
        { first + 45, 0x7f, "begins behind the end" },
        { second + 42, 0, "overlap" },                    // the second entry is the first one's bytes
        { first + 46, 0, "holds a zero byte" },
        { end + 10, 200, "cannot be" },
        { end + 4, 1, "split over disks" },
        { end + 19, 0x7f, "cannot be" },
        { end + 20, 1, "is no zip archive that ends well" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        vj_pt *f = NULL;
        char *copy = malloc(n);
        memcpy(copy, bytes, n);
        copy[bad[i].at] = (char)bad[i].v;
        if (strcmp(bad[i].message, "overlap") == 0) memset(copy + second + 42, 0, 4);
        OK(vj_file_write_atomic(in(state, "c.pt"), copy, n));
        assert_fails(vj_pt_open(&f, in(state, "c.pt")), VJ_ERR_CONFIG, bad[i].message);
        free(copy);
    }
    // A byte of a tensor: found when it is read.
    vj_pt *f = NULL;
    float v[6];
    bytes[find(bytes, n, "\0\0\x80\x3f\0\0\0\xc0", 8)] ^= 1;
    OK(vj_file_write_atomic(in(state, "c.pt"), bytes, n));
    OK(vj_pt_open(&f, in(state, "c.pt")));
    assert_fails(vj_pt_read(f, vj_pt_find(f, "state/1000/m"), 0, 6, v), VJ_ERR_CONFIG, "do not fit their checksum");
    vj_pt_close(&f);
    free(bytes);
}

// ---- pickles -------------------------------------------------------------------------------------------------------
static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void any_bytes_are_an_error_or_a_value(void **state)
{
    (void)state;
    static const unsigned char ops[] = "\x80\x95.(NKMJ\x8aGX\x8c}])t\x85\x86\x87suaeqr\x94hjc\x93QRb";
    const char *text = getenv("VJ_TEST_SEED"), *many = getenv("VJ_TEST_TRIES");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) | 1, s = seed * 0x9e3779b97f4a7c15u | 1;
    const long tries = many ? strtol(many, NULL, 10) : 20000;
    vj_zip z;
    OK(vj_zip_open(&z, "tests/golden/formats/official.pt"));
    const vj_zip_entry *e = vj_zip_find(&z, "data.pkl");
    assert_non_null(e);
    unsigned char *whole = malloc((size_t)e->bytes), *p = malloc((size_t)e->bytes);
    OK(vj_io_pread(z.fd, whole, (size_t)e->bytes, (off_t)e->offset, z.path));
    long values = 0;
    for (long i = 0; i < tries; i++) {
        vj_pk *pk = NULL;
        // A piece from the front: most of the work is then near what was changed.
        const size_t n = 1 + next(&s) % (size_t)(next(&s) % 8 ? 900 : e->bytes);
        memcpy(p, whole, n);
        for (uint64_t k = 1 + next(&s) % 6; k > 0; k--) {
            const size_t at = next(&s) % n;
            const uint64_t how = next(&s) % 4;
            if (how == 0) p[at] = (unsigned char)next(&s);
            else if (how == 1) p[at] = ops[next(&s) % (sizeof ops - 1)];
            else if (how == 2) p[at] ^= (unsigned char)(1u << next(&s) % 8);
            else memmove(p + at, p + next(&s) % (at + 1), n - at < 40 ? n - at : 40);
        }
        p[n - 1] = '.';
        // Exactly as long as it says, so that a step too far is seen by the sanitizer.
        unsigned char *exact = malloc(n);
        memcpy(exact, p, n);
        const vj_status status = vj_pk_parse(&pk, exact, n, "p");
        if (status == VJ_OK) values++;
        else vj_error_clear();
        vj_pk_destroy(&pk);
        free(exact);
    }
    print_message("# seed %llu: %ld of %ld are values\n", (unsigned long long)seed, values, tries);
    assert_true(values > 0 && values < tries);
    free(whole);
    free(p);
    vj_zip_close(&z);
}

int main(void)
{
#define T(f) cmocka_unit_test(f)
    const struct CMUnitTest tests[] = { T(written_is_read), T(archives_that_torch_never_makes),
                                        T(any_bytes_are_an_error_or_a_value) };
    return cmocka_run_group_tests_name("checkpoints/pt", tests, scratch_setup, scratch_teardown);
}
