// safetensors: round trip, and headers that lie.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "checkpoints/safetensors.h"
#include "runtime/base/file.h"
#include "tests/support/scratch.h"

static char path[64];

static int scratch(void **state)
{
    (void)state;
    strcpy(path, "/tmp/vj-safetensors-XXXXXX");
    const int fd = mkstemp(path);
    if (fd < 0) return -1;
    close(fd);
    return 0;
}

static int scratch_away(void **state)
{
    (void)state;
    return unlink(path);
}

static void round_trip(void **state)
{
    (void)state;
    const float a[6] = { 1, 2, 3, 4, 5, 6 };
    const int32_t b[2] = { -7, 8 };
    vj_st_writer *w = NULL;
    OK(vj_st_writer_create(&w, path));
    OK(vj_st_writer_meta(w, "heads", "3"));
    OK(vj_st_writer_declare(w, "a", VJ_F32, 2, (const int64_t[]){ 2, 3 }));
    OK(vj_st_writer_declare(w, "none", VJ_F32, 2, (const int64_t[]){ 0, 3 }));
    OK(vj_st_writer_declare(w, "b", VJ_I32, 1, (const int64_t[]){ 2 }));
    OK(vj_st_writer_data(w, a, sizeof a));
    OK(vj_st_writer_data(w, NULL, 0));
    OK(vj_st_writer_data(w, b, sizeof b));
    OK(vj_st_writer_finish(&w));
    vj_safetensors *f = NULL;
    OK(vj_safetensors_open(&f, path));
    assert_int_equal(vj_safetensors_count(f), 3);
    assert_string_equal(vj_safetensors_meta(f, "heads"), "3");
    assert_null(vj_safetensors_meta(f, "depth"));
    double got[6];
    OK(vj_safetensors_copy(f, "a", got, VJ_F64, 6));
    for (int i = 0; i < 6; i++) assert_true(got[i] == a[i]);
    assert_int_equal(vj_safetensors_copy(f, "a", got, VJ_F64, 5), VJ_ERR_CONFIG);
    assert_int_equal(vj_safetensors_copy(f, "c", got, VJ_F64, 5), VJ_ERR_CONFIG);
    assert_int_equal(vj_safetensors_find(f, "b")->dtype, VJ_I32);
    assert_memory_equal(vj_safetensors_find(f, "b")->data, b, sizeof b);
    vj_safetensors_close(&f);
}

static void put(const char *file, const void *data, size_t bytes)
{
    unlink(file);   // a new file each time: file systems sync one that is cut and written again
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static vj_status open_with(const char *header, uint64_t length, size_t data)
{
    const size_t n = strlen(header), bytes = 8 + n + data;
    unsigned char *all = calloc(1, bytes);
    for (int i = 0; i < 8; i++) all[i] = (unsigned char)(length >> (8 * i));
    memcpy(all + 8, header, n);
    put(path, all, bytes);
    free(all);
    vj_safetensors *f = NULL;
    const vj_status status = vj_safetensors_open(&f, path);
    vj_safetensors_close(&f);
    return status;
}

static void lies_are_refused(void **state)
{
    (void)state;
    static const struct { const char *header; size_t data; } bad[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"b\":{\"dtype\":\"F32\",\"shape\":[4],"
         "\"data_offsets\":[8,24]}}",
         24},                                                                       // overlap
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 15 },  // beyond the end
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", 16 },  // backwards
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-4,12]}}", 16 }, // negative
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,16]}}", 16 },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,16]}}",
         16},                                                                      // sizes overflow
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", 16 }, // shape and bytes disagree
        { "{\"a\":{\"dtype\":\"Q7\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16 },
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"a\":{\"dtype\":\"F32\",\"shape\":[0],"
         "\"data_offsets\":[0,0]}}",
         16}, // twice
        { "{\"a\":7}", 0 },
        { "[1,2]", 0 },
        { "{\"a\":", 0 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4 },
        { "{\"\xff\xfe\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4 }, // no UTF-8
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const vj_status status = open_with(bad[i].header, strlen(bad[i].header), bad[i].data);
        if (status != VJ_ERR_CONFIG) {
            print_error("accepted: %s\n", bad[i].header);
            fail();
        }
        assert_non_null(strstr(vj_error_text(), path));
    }
    assert_int_equal(open_with("{}", UINT64_MAX, 0), VJ_ERR_CONFIG);
    assert_int_equal(open_with("{}", 1000, 0), VJ_ERR_CONFIG);
    assert_int_equal(open_with("{}", 2, 0), VJ_OK);
    OK(vj_file_write_atomic(path, "short", 5));
    vj_safetensors *f = NULL;
    assert_int_equal(vj_safetensors_open(&f, path), VJ_ERR_CONFIG);
    OK(vj_file_write_atomic(path, "", 0));
    assert_int_equal(vj_safetensors_open(&f, path), VJ_ERR_CONFIG);
    assert_int_equal(vj_safetensors_open(&f, "/tmp"), VJ_ERR_IO);
}

// A header of 7 mod 8 bytes: the data lies at odd addresses.
static void unaligned_data_is_read(void **state)
{
    (void)state;
    char header[128];
    int n = snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[1,17]}}");
    while (n % 8 != 7) header[n++] = ' ';
    unsigned char file[256] = { (unsigned char)n };
    const double values[2] = { 0.5, -3.0 };
    memcpy(file + 8, header, (size_t)n);
    memcpy(file + 8 + n + 1, values, sizeof values);
    OK(vj_file_write_atomic(path, file, (size_t)n + 8 + 1 + sizeof values));
    vj_safetensors *f = NULL;
    OK(vj_safetensors_open(&f, path));
    float got[2];
    double same[2];
    OK(vj_safetensors_copy(f, "a", got, VJ_F32, 2));
    OK(vj_safetensors_copy(f, "a", same, VJ_F64, 2));
    assert_true(got[0] == 0.5f && got[1] == -3.0f);
    assert_memory_equal(same, values, sizeof values);
    vj_safetensors_close(&f);
}

static void random_bytes_never_crash(void **state)
{
    (void)state;
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},\"b\":{\"dtype\":"
                                 "\"I32\",\"shape\":[1],\"data_offsets\":[16,20]}}";
    uint32_t noise = 7;
    for (int k = 0; k < 3000; k++) {
        char copy[sizeof header];
        memcpy(copy, header, sizeof header);
        for (int j = 0; j < 1 + k % 3; j++) {
            noise = noise * 1664525u + 1013904223u;
            copy[(noise >> 8) % (sizeof header - 1)] = (char)(32 + (noise >> 24) % 95);
        }
        if (open_with(copy, strlen(copy), 20) != VJ_OK) vj_error_clear();
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch, scratch_away)
    const struct CMUnitTest tests[] = { T(round_trip), T(lies_are_refused), T(unaligned_data_is_read),
                                       T(random_bytes_never_crash) };
    return cmocka_run_group_tests_name("checkpoints/safetensors", tests, NULL, NULL);
}
