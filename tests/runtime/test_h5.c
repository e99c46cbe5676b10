// tests/runtime/test_h5.c

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/h5.h"
#include "tests/support/scratch.h"

enum { ROWS = 1000, BLOB = 5000 };

static void path_of(char out[4096], void **state, const char *name) { vj_path_join(out, 4096, *state, name); }

// One file with all that the others look at; *blob says where its payload lies.
static void make(const char *path, vj_h5_range *blob)
{
    vj_h5 *f;
    uint64_t numbers[ROWS];
    float matrix[6] = { 1, 2, 3, 4, 5, 6 };
    unsigned char payload[BLOB];
    const int64_t rows = ROWS, bytes = BLOB, sizes[2] = { 2, 3 };
    for (int i = 0; i < ROWS; i++) numbers[i] = (uint64_t)i * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < BLOB; i++) payload[i] = (unsigned char)(i * 7);
    assert_ok(vj_h5_create(&f, path));
    assert_ok(vj_h5_group(f, "/idx"));
    assert_ok(vj_h5_dataset(f, "/idx/numbers", VJ_H5_U64, 1, &rows, NULL));
    assert_ok(vj_h5_write(f, "/idx/numbers", numbers));
    assert_ok(vj_h5_dataset(f, "/idx/matrix", VJ_H5_F32, 2, sizes, NULL));
    assert_ok(vj_h5_write(f, "/idx/matrix", matrix));
    assert_ok(vj_h5_dataset(f, "/blob", VJ_H5_U8, 1, &bytes, &blob->offset));
    blob->bytes = BLOB;
    assert_true(blob->offset > 0);
    assert_ok(vj_h5_put_text(f, "/", "kind", "test"));
    assert_ok(vj_h5_put_i64(f, "/", "signed", -5));
    assert_ok(vj_h5_put_u64(f, "/idx", "large", UINT64_MAX));
    assert_ok(vj_h5_put_bytes(f, "/idx/matrix", "bytes", "abcd", 4));
    assert_ok(vj_h5_close(&f));
    const int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_ok(vj_io_pwrite(fd, payload, BLOB, (off_t)blob->offset, path));
    close(fd);
}

static void check_content(vj_h5 *f, const vj_h5_range *blob)
{
    uint64_t numbers[ROWS], large;
    float matrix[6];
    unsigned char payload[BLOB], bytes[4];
    char text[16];
    int64_t value, dims[2], offset;
    vj_h5_type type;
    int rank;
    assert_ok(vj_h5_read(f, "/idx/numbers", VJ_H5_U64, ROWS, numbers));
    for (int i = 0; i < ROWS; i++) assert_true(numbers[i] == (uint64_t)i * 0x9e3779b97f4a7c15u);
    assert_ok(vj_h5_read(f, "/idx/matrix", VJ_H5_F32, 6, matrix));
    for (int i = 0; i < 6; i++) assert_true(matrix[i] == (float)(i + 1));
    assert_ok(vj_h5_info(f, "/idx/matrix", &type, &rank, dims, &offset));
    assert_true(type == VJ_H5_F32 && rank == 2 && dims[0] == 2 && dims[1] == 3);
    assert_ok(vj_h5_info(f, "/blob", &type, &rank, dims, &offset));
    assert_true(type == VJ_H5_U8 && rank == 1 && dims[0] == BLOB && offset == blob->offset);
    assert_ok(vj_h5_read(f, "/blob", VJ_H5_U8, BLOB, payload));
    for (int i = 0; i < BLOB; i++) assert_int_equal(payload[i], (unsigned char)(i * 7));
    assert_ok(vj_h5_get_text(f, "/", "kind", text, sizeof text));
    assert_string_equal(text, "test");
    assert_ok(vj_h5_get_i64(f, "/", "signed", &value));
    assert_int_equal(value, -5);
    assert_ok(vj_h5_get_u64(f, "/idx", "large", &large));
    assert_true(large == UINT64_MAX);
    assert_ok(vj_h5_get_bytes(f, "/idx/matrix", "bytes", bytes, 4));
    assert_memory_equal(bytes, "abcd", 4);
    assert_true(vj_h5_exists(f, "/idx/numbers") && vj_h5_exists(f, "/blob"));
    assert_false(vj_h5_exists(f, "/idx/none") || vj_h5_exists(f, "/none/none"));
}

static void what_is_written_is_read(void **state)
{
    char path[4096];
    vj_h5 *f;
    vj_h5_range blob;
    vj_h5_guard guard = { .payload = &blob, .n = 1 };
    path_of(path, state, "round.h5");
    make(path, &blob);
    assert_ok(vj_h5_open(&f, path, NULL));
    assert_string_equal(vj_h5_path(f), path);
    check_content(f, &blob);
    assert_ok(vj_h5_close(&f));
    assert_null(f);
    assert_ok(vj_h5_metadata_digest(path, &blob, 1, guard.digest));
    assert_ok(vj_h5_open(&f, path, &guard));
    check_content(f, &blob);
    assert_ok(vj_h5_close(&f));
}

static void wrong_questions_are_named(void **state)
{
    char path[4096], text[3];
    vj_h5 *f;
    vj_h5_range blob;
    uint64_t numbers[ROWS];
    int64_t value;
    path_of(path, state, "questions.h5");
    make(path, &blob);
    assert_ok(vj_h5_open(&f, path, NULL));
    assert_fails(vj_h5_read(f, "/idx/none", VJ_H5_U64, 1, numbers), VJ_ERR_DATA, "/idx/none");
    assert_fails(vj_h5_read(f, "/idx/numbers", VJ_H5_I64, ROWS, numbers), VJ_ERR_DATA, "element type");
    assert_fails(vj_h5_read(f, "/idx/numbers", VJ_H5_U64, ROWS - 1, numbers), VJ_ERR_DATA, "1000 elements, expected 999");
    assert_fails(vj_h5_get_i64(f, "/", "none", &value), VJ_ERR_DATA, "missing");
    assert_fails(vj_h5_get_i64(f, "/", "kind", &value), VJ_ERR_DATA, "not one integer");
    assert_fails(vj_h5_get_text(f, "/", "kind", text, sizeof text), VJ_ERR_DATA, "too long");
    assert_fails(vj_h5_get_text(f, "/", "signed", text, sizeof text), VJ_ERR_DATA, "not a text");
    assert_ok(vj_h5_close(&f));
    assert_fails(vj_h5_create(&f, path), VJ_ERR_IO, path);   // never over an existing file
    path_of(path, state, "no-such-folder/x.h5");
    assert_fails(vj_h5_create(&f, path), VJ_ERR_IO, path);
    assert_fails(vj_h5_open(&f, path, NULL), VJ_ERR_IO, path);
    assert_fails(vj_h5_open(&f, *state, NULL), VJ_ERR_DATA, "not a regular file");
    path_of(path, state, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(vj_h5_open(&f, path, NULL), VJ_ERR_DATA, "not a regular file");   // and does not wait for a writer
}

static void the_same_content_gives_the_same_bytes(void **state)
{
    char a[4096], b[4096], *x, *y;
    size_t n, m;
    vj_h5_range blob;
    path_of(a, state, "same-a.h5");
    path_of(b, state, "same-b.h5");
    make(a, &blob);
    sleep(1);   // times must not be in it
    make(b, &blob);
    assert_ok(vj_file_read(a, &x, &n, 0));
    assert_ok(vj_file_read(b, &y, &m, 0));
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

// A changed byte of the metadata is refused by the guard; one of the payload is not its business.
static void the_guard_sees_every_metadata_byte(void **state)
{
    char path[4096], *good;
    size_t n;
    vj_h5 *f;
    vj_h5_range blob;
    vj_h5_guard guard = { .payload = &blob, .n = 1 };
    path_of(path, state, "guard.h5");
    make(path, &blob);
    assert_ok(vj_h5_metadata_digest(path, &blob, 1, guard.digest));
    assert_ok(vj_file_read(path, &good, &n, 0));
    int refused = 0, tried = 0;
    for (size_t at = 0; at < n; at += 97) {
        const bool payload = (int64_t)at >= blob.offset && (int64_t)at < blob.offset + blob.bytes;
        good[at] ^= 0x10;
        assert_ok(vj_file_write_atomic(path, good, n));
        good[at] ^= 0x10;
        const vj_status status = vj_h5_open(&f, path, &guard);
        if (payload) {
            assert_int_equal(status, VJ_OK);
            assert_ok(vj_h5_close(&f));
        } else {
            assert_int_equal(status, VJ_ERR_DATA);
            refused++;
        }
        tried++;
    }
    assert_true(refused > 10 && refused < tried);
    for (int i = 0; i < 16; i++) {   // truncated at every sixteenth
        assert_ok(vj_file_write_atomic(path, good, n * (size_t)i / 16));
        assert_int_equal(vj_h5_open(&f, path, &guard), VJ_ERR_DATA);
    }
    free(good);
}

// Without a guard the file is opened in a child first: whatever the bytes, the answer is a status.
static void damaged_files_without_a_guard_do_no_harm(void **state)
{
    char path[4096], *good;
    size_t n;
    vj_h5 *f;
    vj_h5_range blob;
    path_of(path, state, "child.h5");
    make(path, &blob);
    assert_ok(vj_file_read(path, &good, &n, 0));
    int refused = 0;
    for (int i = 0; i < 60; i++) {
        char *bad = malloc(n);
        memcpy(bad, good, n);
        for (int k = 0; k < 1 + i % 7; k++) {
            const size_t at = (size_t)(i * 2654435761u + (unsigned)k * 40503u) % (size_t)blob.offset;
            bad[at] = (char)(bad[at] + 1 + k);
        }
        assert_ok(vj_file_write_atomic(path, bad, i % 10 == 9 ? n / 2 : n));
        free(bad);
        const vj_status status = vj_h5_open(&f, path, NULL);
        if (status == VJ_OK) assert_ok(vj_h5_close(&f));   // the change hit something without a meaning
        else assert_int_equal(status, VJ_ERR_DATA);
        refused += status != VJ_OK ? 1 : 0;
    }
    assert_true(refused > 10);
    assert_ok(vj_file_write_atomic(path, "no HDF5 at all", 14));
    assert_fails(vj_h5_open(&f, path, NULL), VJ_ERR_DATA, "not a readable HDF5 file");
    assert_ok(vj_file_write_atomic(path, "", 0));
    assert_fails(vj_h5_open(&f, path, NULL), VJ_ERR_DATA, "not a readable HDF5 file");
    free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(wrong_questions_are_named),
        cmocka_unit_test(the_same_content_gives_the_same_bytes),
        cmocka_unit_test(the_guard_sees_every_metadata_byte),
        cmocka_unit_test(damaged_files_without_a_guard_do_no_harm),
    };
    return cmocka_run_group_tests_name("runtime/h5", tests, scratch_setup, scratch_teardown);
}
