// tests/data/test_shard.c

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "data/decode.h"
#include "data/pack.h"
#include "data/shard.h"
#include "data/verify.h"
#include "runtime/base/hash.h"
#include "runtime/base/rng.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

// 4 videos of 12 s in windows of 4 s, 3 held out, 40 images; many small shards.
static void make(char shards[4096], void **state, const char *name)
{
    char dir[4096];
    vj_path_join(dir, sizeof dir, *state, name);
    assert_ok(vj_dir_create(dir));
    assert_ok(vj_tiny_shards(dir, &(vj_tiny_shards_options){ .images = 40, .hold_out = 0.25 }));
    vj_path_join(shards, 4096, dir, "shards");
}

static void rows_are_read_and_described(void **state)
{
    char shards[4096], file[64], where[128];
    vj_catalog *catalog;
    vj_shards *s;
    vj_sample_info info, again;
    vj_bytes bytes = { 0 };
    make(shards, state, "rows");
    assert_ok(vj_catalog_read(&catalog, shards));
    assert_int_equal(catalog->n_sources, 2);
    const vj_source *tiny = &catalog->sources[0], *pictures = &catalog->sources[1];
    assert_true(tiny->train.rows == 9 && tiny->held_out.rows == 3 && pictures->train.rows == 40 && pictures->held_out.rows == 0);
    assert_true(tiny->weight == 9 && pictures->weight == 40);
    assert_int_equal(tiny->held_out.files, 3);
    assert_ok(vj_shards_open(&s, catalog, 0));
    int windows[4] = { 0 };
    for (int held = 0; held < 2; held++) {
        for (int64_t row = 0; row < (held ? 3 : 9); row++) {
            assert_ok(vj_shards_read(s, 0, held, row, &info, &bytes));
            assert_ok(vj_shards_info(s, 0, held, row, &again));
            assert_memory_equal(&info, &again, sizeof info);
            assert_true(info.n_frames == 40 && info.width == 64 && info.height == 48 && info.media == VJ_MEDIA_CLIP);
            assert_true(info.fps_num == 10 * info.fps_den && (info.flags & VJ_SAMPLE_RECODED) && info.label == -1 && info.orientation == 1);
            assert_int_equal(info.bytes, bytes.bytes);
            assert_int_equal(info.t1_us - info.t0_us, 4000000);
            assert_ok(vj_shards_file(s, 0, held, row, file, sizeof file));
            int video;
            assert_int_equal(sscanf(file, "video-%d.y4m", &video), 1);
            windows[video] |= 1 << (info.t0_us / 4000000);
            char id[128];
            unsigned char digest[32];
            vj_sha256 h;
            vj_format(id, sizeof id, "tiny|%s|%lld", file, (long long)info.t0_us);
            vj_sha256_start(&h);
            vj_sha256_add(&h, id, strlen(id));
            vj_sha256_end(&h, digest);
            for (int i = 0; i < 8; i++) assert_int_equal(digest[i], (info.key >> (56 - 8 * i)) & 0xff);
        }
    }
    for (int v = 0; v < 4; v++) assert_int_equal(windows[v], 7);   // each window of each video exactly once
    assert_ok(vj_shards_read(s, 1, false, 17, &info, &bytes));
    assert_true(info.media == VJ_MEDIA_GRAY8 && info.width == 28 && info.height == 28 && info.n_frames == 1 && bytes.bytes == 784);
    assert_ok(vj_shards_file(s, 1, false, 17, file, sizeof file));
    assert_string_equal(file, "tiny-images-idx3-ubyte:17");
    vj_shards_where(s, 1, false, 17, where, sizeof where);
    assert_string_equal(where, "pictures-00000.h5 row 17");
    vj_bytes_free(&bytes);
    vj_shards_close(&s);
    vj_catalog_destroy(&catalog);
}

typedef struct reader {
    vj_shards *s;
    int64_t rows;
    uint64_t seed, sum;
    vj_status status;
} reader;

static void *read_many(void *context)
{
    reader *r = context;
    vj_bytes bytes = { 0 };
    for (int i = 0; i < 300 && r->status == VJ_OK; i++) {
        vj_sample_info info;
        r->status = vj_shards_read(r->s, 0, false, (int64_t)vj_rng_below(r->seed, (uint64_t)i, 0x7f000, 0, 0, (uint64_t)r->rows), &info, &bytes);
        r->sum += info.key;
    }
    vj_bytes_free(&bytes);
    return NULL;
}

// Four shards may be open, four threads read from more.
static void few_open_shards_serve_many_threads(void **state)
{
    char dir[4096], shards[4096];
    vj_path_join(dir, sizeof dir, *state, "lru");
    assert_ok(vj_dir_create(dir));
    assert_ok(vj_tiny_shards(dir, NULL));
    vj_path_join(shards, sizeof shards, *state, "lru-small");
    char videos[4096];
    vj_path_join(videos, sizeof videos, dir, "videos");
    const vj_pack_source source = { .name = "tiny", .path = videos, .weight = 2.5 };
    vj_pack_request request;
    vj_pack_report report;
    vj_pack_defaults(&request);
    request.out = shards;
    request.sources = &source;
    request.n_sources = 1;
    request.window = 4;
    request.max_shard_bytes = 1 << 16;   // a window of raw video is larger: one sample a shard
    assert_ok(vj_pack(&request, &report));
    vj_catalog *catalog;
    vj_shards *s;
    assert_ok(vj_catalog_read(&catalog, shards));
    assert_true(catalog->sources[0].train.n == 12 && catalog->sources[0].train.rows == 12 && catalog->sources[0].weight == 2.5);
    assert_ok(vj_shards_open(&s, catalog, 4));
    pthread_t threads[4];
    reader readers[4];
    for (int i = 0; i < 4; i++) {
        readers[i] = (reader){ .s = s, .rows = 12, .seed = (uint64_t)(i / 2) };
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, &readers[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) assert_int_equal(readers[i].status, VJ_OK);
    assert_true(readers[0].sum == readers[1].sum && readers[2].sum == readers[3].sum && readers[0].sum != readers[2].sum);
    vj_shards_close(&s);
    vj_catalog_destroy(&catalog);
}

static vj_status read_all(const char *shards)
{
    vj_catalog *catalog;
    vj_shards *s;
    vj_bytes bytes = { 0 };
    VJ_TRY(vj_catalog_read(&catalog, shards));
    vj_status status = vj_shards_open(&s, catalog, 0);
    for (int held = 0; status == VJ_OK && held < 2; held++) {
        const int64_t rows = held ? catalog->sources[0].held_out.rows : catalog->sources[0].train.rows;
        for (int64_t row = 0; status == VJ_OK && row < rows; row++) status = vj_shards_read(s, 0, held, row, NULL, &bytes);
    }
    vj_bytes_free(&bytes);
    vj_shards_close(&s);
    vj_catalog_destroy(&catalog);
    return status;
}

// Every flipped byte is found by verify; what training reads is never silently different.
static void every_flipped_byte_is_found(void **state)
{
    char shards[4096], path[4096], *good;
    size_t n;
    vj_verify_report report;
    vj_str lines = { 0 };
    make(shards, state, "flip");
    assert_ok(vj_verify(shards, 2, &report, &lines));
    assert_true(report.shards == 3 && report.rows == 52 && report.damaged == 0 && lines.length == 0);
    assert_ok(read_all(shards));
    vj_path_join(path, sizeof path, shards, "tiny-00000.h5");
    assert_ok(vj_file_read(path, &good, &n, 0));
    int unread = 0;
    for (uint64_t i = 0; i < 200; i++) {
        const size_t at = i < 100 ? (size_t)vj_rng_below(5, i, 0x7f001, 0, 0, n) : (size_t)vj_rng_below(5, i, 0x7f001, 0, 0, 4096);
        good[at] ^= (char)(1 << (i & 7));
        assert_ok(vj_file_write_atomic(path, good, n));
        good[at] ^= (char)(1 << (i & 7));
        vj_str_clear(&lines);
        assert_int_equal(vj_verify(shards, 1, &report, &lines), VJ_ERR_MISMATCH);
        assert_int_equal(report.damaged, 1);
        assert_non_null(strstr(vj_str_text(&lines), "tiny-00000.h5: "));
        const vj_status status = read_all(shards);
        if (status == VJ_OK) unread++;   // between samples
        else assert_int_equal(status, VJ_ERR_DATA);
    }
    assert_true(unread < 20);
    for (size_t k = 0; k < 16; k++) {
        assert_ok(vj_file_write_atomic(path, good, n * k / 16 + 1));
        assert_int_equal(vj_verify(shards, 1, &report, &lines), VJ_ERR_MISMATCH);
        assert_fails(read_all(shards), VJ_ERR_DATA, "truncated");
    }
    assert_int_equal(unlink(path), 0);
    assert_fails(vj_verify(shards, 1, &report, &lines), VJ_ERR_IO, "cannot be read");
    assert_fails(read_all(shards), VJ_ERR_DATA, "No such file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(read_all(shards), VJ_ERR_DATA, "truncated or replaced");
    vj_str_free(&lines);
    free(good);
}

static void a_damaged_sample_is_named(void **state)
{
    char shards[4096], path[4096];
    vj_catalog *catalog;
    vj_shards *s;
    vj_bytes bytes = { 0 };
    make(shards, state, "named");
    assert_ok(vj_catalog_read(&catalog, shards));
    const vj_shard_entry *e = &catalog->sources[0].train.v[0];
    vj_path_join(path, sizeof path, shards, e->path);
    const int fd = open(path, O_RDWR);
    unsigned char byte;
    assert_ok(vj_io_pread(fd, &byte, 1, (off_t)e->blob_offset + 200, path));
    byte ^= 1;
    assert_ok(vj_io_pwrite(fd, &byte, 1, (off_t)e->blob_offset + 200, path));
    close(fd);
    assert_ok(vj_shards_open(&s, catalog, 0));
    assert_fails(vj_shards_read(s, 0, false, 0, NULL, &bytes), VJ_ERR_DATA, "row 0: checksum");
    assert_non_null(strstr(vj_error_text(), "tiny-00000.h5"));
    assert_ok(vj_shards_read(s, 0, false, 1, NULL, &bytes));   // the others are fine
    vj_bytes_free(&bytes);
    vj_shards_close(&s);
    vj_catalog_destroy(&catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_read_and_described),
        cmocka_unit_test(few_open_shards_serve_many_threads),
        cmocka_unit_test(every_flipped_byte_is_found),
        cmocka_unit_test(a_damaged_sample_is_named),
    };
    return cmocka_run_group_tests_name("data/shard", tests, scratch_setup, scratch_teardown);
}
