// label: slow
// Many samples, one in a hundred broken, through the loader: memory does not grow and no descriptor stays open. 2,000 samples
// here; VJ_TEST_SOAK=20000 for the long one (spec/data.md 5.3).

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/loader.h"
#include "runtime/base/h5.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

enum { VIDEOS = 400, BATCH = 20, SLOT = 2 };

static char shards[4096];

static int setup(void **state)
{
    if (scratch_setup(state) != 0) return -1;
    const vj_tiny_shards_options options = { .videos = VIDEOS, .frames = 24, .window = -1, .threads = 2 };
    vj_path_join(shards, sizeof shards, *state, "shards");
    if (vj_tiny_shards(*state, &options) == VJ_OK) return 0;
    fprintf(stderr, "%s\n", vj_error_text());
    return -1;
}

// Every hundredth row of every shard: one byte in its middle is another.
static int break_rows(void)
{
    char **names = NULL, path[4400];
    int64_t n = 0, blob = 0, dims[2];
    int broken = 0, rank;
    vj_h5_type type;
    assert_ok(vj_dir_list(shards, &names, &n));
    for (int64_t k = 0; k < n; k++) {
        if (!vj_str_ends(names[k], ".h5")) continue;
        vj_h5 *f = NULL;
        vj_path_join(path, sizeof path, shards, names[k]);
        assert_ok(vj_h5_open(&f, path, NULL));
        assert_ok(vj_h5_info(f, "/blob", &type, &rank, dims, &blob));
        assert_ok(vj_h5_info(f, "/idx/offset", &type, &rank, dims, NULL));
        const int64_t rows = dims[0];
        uint64_t *offset = calloc((size_t)rows, sizeof *offset), *bytes = calloc((size_t)rows, sizeof *bytes);
        assert_ok(vj_h5_read(f, "/idx/offset", type, rows, offset));
        assert_ok(vj_h5_info(f, "/idx/nbytes", &type, &rank, dims, NULL));
        assert_int_equal(type, VJ_H5_U64);
        assert_ok(vj_h5_read(f, "/idx/nbytes", type, rows, bytes));
        assert_ok(vj_h5_close(&f));
        const int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        for (int64_t r = 50; r < rows; r += 100, broken++) {
            unsigned char byte;
            const off_t at = (off_t)(blob + (int64_t)(offset[r] + bytes[r] / 2));
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte ^= 0x55;
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        close(fd);
        free(offset);
        free(bytes);
    }
    vj_names_free(&names, n);
    return broken;
}

static int64_t resident_kb(void)
{
    long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return (int64_t)resident * (int64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static int descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static void memory_and_descriptors_stay(void **state)
{
    (void)state;
    const char *asked = getenv("VJ_TEST_SOAK");
    const int64_t samples = asked ? strtoll(asked, NULL, 10) : 2000;
    const int broken = break_rows();
    assert_true(broken >= VIDEOS / 100);
    vj_data_config c = { .fps = 4, .crop = 32, .crop_scale_low = 0.3, .crop_scale_high = 1, .crop_ratio_low = 0.75, .crop_ratio_high = 1.35, .flip = true,
                         .prefetch = 2, .max_bad = 0.05 };
    vj_format(c.dir, sizeof c.dir, "%s", shards);
    const vj_mask_config masks = { .group = SLOT, .n = 1, .blocks = { .n = 1, .v = { 2 } }, .spatial_low = { .n = 1, .v = { 0.3 } }, .spatial_high = { .n = 1, .v = { 0.3 } },
                                   .temporal_low = { .n = 1, .v = { 1 } }, .temporal_high = { .n = 1, .v = { 1 } }, .aspect_low = { .n = 1, .v = { 0.75 } },
                                   .aspect_high = { .n = 1, .v = { 1.5 } }, .max_temporal_keep = { .n = 1, .v = { 1 } }, .max_keep = { .n = 1, .v = { 0 } } };
    const vj_loader_stage stage = { .seed = 239, .batch = BATCH, .slot = SLOT, .crop = 32, .tubelet = 2, .patch = 8, .fpc = { .n = 1, .v = { 8 } }, .fps = 4,
                                    .world = 1, .threads = 2 };
    vj_loader *l = NULL;
    assert_ok(vj_loader_open(&l, &c, &masks, &stage, NULL, NULL));
    int64_t at_first = 0;
    int open_at_first = 0;
    const int64_t warm = VIDEOS + BATCH;   // every row was read once: caches and the list of bad rows are full
    for (int64_t done = 0; done < samples + warm; done += BATCH) {
        const vj_batch *batch = NULL;
        assert_ok(vj_loader_next(l, &batch));
        vj_loader_release(l, batch);
        if (done + BATCH >= warm && at_first == 0) {
            at_first = resident_kb();
            open_at_first = descriptors();
        }
    }
    vj_loader_stats stats;
    vj_loader_stats_get(l, &stats);
    const int64_t grown = resident_kb() - at_first;
    print_message("%d samples behind %d, %d rows broken, %d substituted: %d KB more (%d KB resident), %d descriptors\n", (int)samples, (int)warm, (int)stats.bad,
                  (int)stats.substituted, (int)grown, (int)(at_first + grown), descriptors());
    assert_int_equal(stats.bad, broken);
    assert_true(stats.substituted >= samples / 200);
    assert_int_equal(descriptors(), open_at_first);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(grown < 1024 * samples / 1000);
#endif
    vj_loader_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(memory_and_descriptors_stay) };
    return cmocka_run_group_tests_name("data/soak", tests, setup, scratch_teardown);
}
