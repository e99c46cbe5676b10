// Shards that somebody broke: cut anywhere, bits flipped in every region, replaced by other things or while they are in use;
// and indices whose rows lie.

#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "data/pack.h"
#include "data/shard_impl.h"
#include "runtime/base/hash.h"
#include "runtime/base/rng.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

enum { ROWS = 12, SEEDS = 200 };

static char folder[4096], shard[4200];
static char *good;
static size_t good_bytes;
static int64_t blob_at, blob_bytes;
static uint64_t row_digest[ROWS];

static int setup(void **state)
{
    vj_catalog *c = NULL;
    vj_shards *s = NULL;
    vj_bytes bytes = { 0 };
    if (scratch_setup(state) != 0) return -1;
    vj_path_join(folder, sizeof folder, *state, "shards");
    if (vj_tiny_shards(*state, &(vj_tiny_shards_options){ .threads = 2 }) != VJ_OK || vj_catalog_read(&c, folder) != VJ_OK) return -1;
    blob_at = c->sources[0].train.v[0].blob_offset;
    blob_bytes = c->sources[0].train.v[0].blob_bytes;
    vj_path_join(shard, sizeof shard, folder, c->sources[0].train.v[0].path);
    if (c->sources[0].train.rows != ROWS || vj_shards_open(&s, c, 0) != VJ_OK || vj_file_read(shard, &good, &good_bytes, 0) != VJ_OK) return -1;
    for (int64_t row = 0; row < ROWS; row++) {
        if (vj_shards_read(s, 0, false, row, NULL, &bytes) != VJ_OK) return -1;
        row_digest[row] = vj_xxh64(bytes.data, bytes.bytes);
    }
    vj_bytes_free(&bytes);
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
    return 0;
}

static int teardown(void **state)
{
    free(good);
    return scratch_teardown(state);
}

static void put(const void *data, size_t n)
{
    FILE *f = fopen(shard, "we");
    assert_non_null(f);
    assert_true(n == 0 || fwrite(data, 1, n, f) == n);
    assert_int_equal(fclose(f), 0);
}

// Reads all rows: how many were refused (each with a message, as content), the others being exactly the right bytes. `part`:
// what the last message must say.
static int refused(const char *part)
{
    vj_catalog *c = NULL;
    vj_shards *s = NULL;
    vj_bytes bytes = { 0 };
    int n = 0;
    assert_ok(vj_catalog_read(&c, folder));
    assert_ok(vj_shards_open(&s, c, 0));
    for (int64_t row = 0; row < ROWS; row++) {
        const vj_status status = vj_shards_read(s, 0, false, row, NULL, &bytes);
        if (status == VJ_OK) {
            assert_true(vj_xxh64(bytes.data, bytes.bytes) == row_digest[row]);
            continue;
        }
        n++;
        if (status != VJ_ERR_DATA || !strstr(vj_error_text(), shard) || (part && !strstr(vj_error_text(), part))) fail_msg("%d: %s", status, vj_error_text());
    }
    vj_bytes_free(&bytes);
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
    return n;
}

static void cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t k = 0; k < 16; k++) {
        put(good, good_bytes * k / 16);
        assert_int_equal(refused("truncated"), ROWS);
    }
    // Inside the superblock, the headers before the blob, the blob, and the index behind it.
    const size_t inside[] = { 1, 8, 50, 95, (size_t)blob_at / 2, (size_t)blob_at - 1, (size_t)blob_at, (size_t)(blob_at + blob_bytes / 2),
                              (size_t)(blob_at + blob_bytes) - 1, (size_t)(blob_at + blob_bytes), good_bytes - 1 };
    for (size_t k = 0; k < sizeof inside / sizeof *inside; k++) {
        if (inside[k] >= good_bytes) continue;
        put(good, inside[k]);
        assert_int_equal(refused("truncated"), ROWS);
    }
    // The right size with zeros behind the cut, as after a crash of the machine.
    char *zeros = calloc(1, good_bytes);
    assert_non_null(zeros);
    for (size_t k = 1; k < 16; k++) {
        memcpy(zeros, good, good_bytes * k / 16);
        put(zeros, good_bytes);
        assert_true(refused(NULL) > 0);
        memset(zeros, 0, good_bytes);
    }
    free(zeros);
    put(good, good_bytes);
    assert_int_equal(refused(NULL), 0);
}

static void a_flipped_bit_is_found_in_every_region(void **state)
{
    (void)state;
    const struct { const char *name; int64_t from, to; bool all; } regions[] = {
        { "superblock", 0, 96, true }, { "headers", 96, blob_at, true }, { "samples", blob_at, blob_at + blob_bytes, false },
        { "index", blob_at + blob_bytes, (int64_t)good_bytes, true },
    };
    for (size_t r = 0; r < sizeof regions / sizeof *regions; r++) {
        if (regions[r].to <= regions[r].from) continue;
        int found = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            const int64_t at = regions[r].from + (int64_t)vj_rng_below(seed, r, 0x7f010, 0, 0, (uint64_t)(regions[r].to - regions[r].from));
            good[at] ^= (char)(1 << (seed % 8));
            put(good, good_bytes);
            good[at] ^= (char)(1 << (seed % 8));
            const int n = refused(NULL);   // and what is not refused is right
            if (regions[r].all && n != ROWS) fail_msg("a flipped bit of the %s at %lld was not found", regions[r].name, (long long)at);
            assert_true(regions[r].all || n <= 1);
            found += n > 0;
        }
        assert_true(found > SEEDS / 2);   // of the samples: padding between them is nobody's
    }
    put(good, good_bytes);
}

static void what_is_no_shard_is_refused(void **state)
{
    char aside[4200];
    vj_path_join(aside, sizeof aside, *state, "aside");
    assert_int_equal(rename(shard, aside), 0);
    assert_int_equal(refused("No such file"), ROWS);
    put("", 0);
    assert_int_equal(refused("truncated or replaced"), ROWS);
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(mkdir(shard, 0777), 0);
    assert_int_equal(refused("truncated or replaced"), ROWS);
    assert_int_equal(rmdir(shard), 0);
    assert_int_equal(symlink("nowhere", shard), 0);
    assert_int_equal(refused("No such file"), ROWS);
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(symlink(shard, shard), 0);
    assert_int_equal(refused("symbolic links"), ROWS);
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(mkfifo(shard, 0600), 0);
    assert_int_equal(refused("truncated or replaced"), ROWS);
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(rename(aside, shard), 0);
    assert_int_equal(refused(NULL), 0);
    // A link to the real one is fine.
    assert_int_equal(rename(shard, aside), 0);
    assert_int_equal(symlink(aside, shard), 0);
    assert_int_equal(refused(NULL), 0);
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(rename(aside, shard), 0);
}

// Run by another user where we may become one: root may read everything.
static void without_permission_is_one_message(void **state)
{
    (void)state;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        vj_catalog *c = NULL;
        vj_shards *s = NULL;
        vj_bytes bytes = { 0 };
        if (vj_catalog_read(&c, folder) != VJ_OK || vj_shards_open(&s, c, 0) != VJ_OK || chmod(shard, 0) != 0) _exit(1);
        if (geteuid() == 0 && (chmod(*state, 0755) != 0 || seteuid(65534) != 0)) _exit(77);
        const vj_status status = vj_shards_read(s, 0, false, 0, NULL, &bytes);
        _exit((status == VJ_ERR_IO || status == VJ_ERR_DATA) && strstr(vj_error_text(), "ermission denied") && strstr(vj_error_text(), shard) ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(chmod(shard, 0644), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        fprintf(stderr, "SKIPPED: root cannot become another user here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

// An open shard goes on when its name is given to another file; whoever opens the name anew sees that it is another one.
static void replaced_during_a_run(void **state)
{
    char other[4200];
    vj_catalog *c = NULL;
    vj_shards *s = NULL;
    vj_bytes bytes = { 0 };
    vj_path_join(other, sizeof other, *state, "other");
    assert_ok(vj_catalog_read(&c, folder));
    assert_ok(vj_shards_open(&s, c, 0));
    assert_ok(vj_shards_read(s, 0, false, 0, NULL, &bytes));
    good[good_bytes - 9] ^= 1;   // of the same size
    assert_ok(vj_file_write_atomic(other, good, good_bytes));
    good[good_bytes - 9] ^= 1;
    assert_int_equal(rename(other, shard), 0);
    for (int64_t row = 0; row < ROWS; row++) {
        assert_ok(vj_shards_read(s, 0, false, row, NULL, &bytes));
        assert_true(vj_xxh64(bytes.data, bytes.bytes) == row_digest[row]);
    }
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
    vj_bytes_free(&bytes);
    assert_int_equal(refused(NULL), ROWS);
    put(good, good_bytes);
}

// A file that shrinks under an open descriptor: what is gone is an error, never old memory.
static void shortened_during_a_run(void **state)
{
    (void)state;
    vj_catalog *c = NULL;
    vj_shards *s = NULL;
    vj_bytes bytes = { 0 };
    assert_ok(vj_catalog_read(&c, folder));
    assert_ok(vj_shards_open(&s, c, 0));
    assert_ok(vj_shards_read(s, 0, false, ROWS - 1, NULL, &bytes));
    assert_int_equal(truncate(shard, (off_t)blob_at + 1), 0);
    assert_fails(vj_shards_read(s, 0, false, ROWS - 1, NULL, &bytes), VJ_ERR_IO, "truncated");
    assert_fails(vj_shards_read(s, 0, false, ROWS - 1, NULL, &bytes), VJ_ERR_DATA, "truncated");   // the file is opened anew
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
    vj_bytes_free(&bytes);
    put(good, good_bytes);
}

static void rows_that_lie_are_refused(void **state)
{
    (void)state;
    uint64_t names[3] = { 0, 3, 6 };
    char text[] = "a.bc.d";
    const vj_shard_row fine = { .nbytes = 64, .n_frames = 4, .fps_num = 25, .fps_den = 1, .width = 64, .height = 48, .orientation = 1, .media = VJ_MEDIA_CLIP };
    const struct { const char *part; int row; uint64_t offset, nbytes; uint32_t src; uint64_t name; } cases[] = {
        { NULL, 1, 64, 64, 1, 3 }, { NULL, 1, 192, 64, 1, 3 }, { NULL, 1, 0, 64, 1, 3 },   // the last one shares the bytes of row 0
        { "no bytes", 1, 64, 0, 1, 3 }, { "the blob has 256 bytes", 1, 193, 64, 1, 3 }, { "the blob has 256 bytes", 1, 64, 193, 1, 3 },
        { "the blob has 256 bytes", 1, UINT64_MAX, 64, 1, 3 }, { "the blob has 256 bytes", 1, 64, UINT64_MAX, 1, 3 },
        { "the blob has 256 bytes", 1, UINT64_MAX - 63, 64, 1, 3 }, { "the blob has 256 bytes", 1, 128, UINT64_MAX - 127, 1, 3 },
        { "overlaps", 1, 63, 64, 1, 3 }, { "overlaps", 1, 0, 63, 1, 3 }, { "overlaps", 1, 0, 65, 1, 3 },
        { "file 2 of 2", 1, 64, 64, 2, 3 }, { "file 4294967295", 1, 64, 64, UINT32_MAX, 3 },
        { "outside the table", 1, 64, 64, 1, 0 }, { "outside the table", 1, 64, 64, 1, 7 }, { "outside the table", 1, 64, 64, 1, UINT64_MAX },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vj_shard_row rows[2] = { fine, fine };
        rows[1].offset = cases[i].offset;
        rows[1].nbytes = cases[i].nbytes;
        rows[1].src_id = cases[i].src;
        names[1] = cases[i].name;
        const vj_shard_index x = { .n = 2, .n_files = 2, .blob_bytes = 256, .text_bytes = 6, .rows = rows, .text_offset = names, .text = text };
        const vj_status status = vj_shard_index_check(&x);
        if (cases[i].part == NULL ? status != VJ_OK : status != VJ_ERR_DATA || !strstr(vj_error_text(), cases[i].part))
            fail_msg("case %d: %d, %s", (int)i, status, vj_error_text());
    }
}

// Descriptors run out: a message with the remedy, and all is well when there are some again.
static void no_descriptors_left(void **state)
{
    (void)state;
    vj_catalog *c = NULL;
    vj_shards *s = NULL;
    vj_bytes bytes = { 0 };
    struct rlimit before, few;
    assert_ok(vj_catalog_read(&c, folder));
    assert_ok(vj_shards_open(&s, c, 0));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    const vj_status status = vj_shards_read(s, 0, false, 0, NULL, &bytes);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, VJ_ERR_IO);
    assert_non_null(strstr(vj_error_text(), "ulimit -n"));
    assert_ok(vj_shards_read(s, 0, false, 0, NULL, &bytes));
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
    vj_bytes_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere_is_refused),
        cmocka_unit_test(a_flipped_bit_is_found_in_every_region),
        cmocka_unit_test(what_is_no_shard_is_refused),
        cmocka_unit_test(without_permission_is_one_message),
        cmocka_unit_test(replaced_during_a_run),
        cmocka_unit_test(shortened_during_a_run),
        cmocka_unit_test(rows_that_lie_are_refused),
        cmocka_unit_test(no_descriptors_left),
    };
    return cmocka_run_group_tests_name("data/hostile_shards", tests, setup, teardown);
}
