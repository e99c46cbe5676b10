// tests/data/test_idx.c

#include <string.h>
#include <zlib.h>

#include "data/idx_images.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

static void write_gz(const char *path, const void *data, size_t bytes)
{
    gzFile f = gzopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, data, (unsigned)bytes), (int)bytes);
    assert_int_equal(gzclose(f), Z_OK);
}

static void names_are_recognised(void **state)
{
    (void)state;
    assert_true(vj_idx_name_matches("a/train-images-idx3-ubyte"));
    assert_true(vj_idx_name_matches("t10k-images-idx3-ubyte.gz"));
    assert_false(vj_idx_name_matches("train-labels-idx1-ubyte.gz") || vj_idx_name_matches("x.png"));
}

static void plain_and_compressed_give_the_same(void **state)
{
    char plain[4096], packed[4096], labels[4096], *data;
    size_t n;
    vj_idx *a, *b;
    unsigned char x[784], y[784];
    int32_t label;
    int width, height;
    vj_path_join(plain, sizeof plain, *state, "train-images-idx3-ubyte");
    vj_path_join(packed, sizeof packed, *state, "train-images-idx3-ubyte.gz");
    vj_path_join(labels, sizeof labels, *state, "train-labels-idx1-ubyte.gz");
    assert_ok(vj_tiny_idx(plain, 25, 3));
    assert_ok(vj_file_read(plain, &data, &n, 0));
    assert_int_equal(n, 16 + 25 * 784);
    write_gz(packed, data, n);
    unsigned char label_file[8 + 25] = { 0, 0, 8, 1, 0, 0, 0, 25 };
    for (int i = 0; i < 25; i++) label_file[8 + i] = (unsigned char)(i % 10);
    write_gz(labels, label_file, sizeof label_file);
    assert_ok(vj_idx_open(&a, plain));
    assert_ok(vj_idx_open(&b, packed));
    vj_idx_size(b, &width, &height);
    assert_true(vj_idx_count(a) == 25 && vj_idx_count(b) == 25 && width == 28 && height == 28);
    for (int i = 0; i < 25; i++) {
        assert_ok(vj_idx_next(a, x, &label));
        assert_int_equal(label, -1);          // no plain file of labels beside it
        assert_ok(vj_idx_next(b, y, &label));
        assert_int_equal(label, i % 10);
        assert_memory_equal(x, y, 784);
        assert_memory_equal(x, data + 16 + i * 784, 784);
    }
    assert_fails(vj_idx_next(a, x, &label), VJ_ERR_DATA, "only 25 images");
    vj_idx_close(&a);
    vj_idx_close(&b);
    free(data);
}

static void bad_files_have_reasons(void **state)
{
    char path[4096], *data;
    size_t n;
    vj_idx *x;
    unsigned char gray[784];
    int32_t label;
    vj_path_join(path, sizeof path, *state, "bad-images-idx3-ubyte");
    assert_fails(vj_idx_open(&x, path), VJ_ERR_DATA, "No such file");
    assert_ok(vj_file_write_atomic(path, "", 0));
    assert_fails(vj_idx_open(&x, path), VJ_ERR_DATA, "no IDX file");
    assert_ok(vj_file_write_atomic(path, "\0\0\x08\x01\0\0\0\1\0\0\0\1\0\0\0\1", 16));
    assert_fails(vj_idx_open(&x, path), VJ_ERR_DATA, "no IDX file");
    assert_ok(vj_file_write_atomic(path, "\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\1", 16));
    assert_fails(vj_idx_open(&x, path), VJ_ERR_DATA, "images of");
    assert_ok(vj_tiny_idx(path, 3, 1));
    assert_ok(vj_file_read(path, &data, &n, 0));
    assert_ok(vj_file_write_atomic(path, data, n - 100));   // the third image is cut short
    assert_ok(vj_idx_open(&x, path));
    assert_ok(vj_idx_next(x, gray, &label));
    assert_ok(vj_idx_next(x, gray, &label));
    assert_fails(vj_idx_next(x, gray, &label), VJ_ERR_DATA, "ends after 2 of 3");
    vj_idx_close(&x);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_recognised),
        cmocka_unit_test(plain_and_compressed_give_the_same),
        cmocka_unit_test(bad_files_have_reasons),
    };
    return cmocka_run_group_tests_name("data/idx", tests, scratch_setup, scratch_teardown);
}
