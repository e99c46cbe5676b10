// tests/data/test_link.c: linked samples are the copied ones, as long as the original files are what they were

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "data/link.h"
#include "data/loader.h"
#include "data/pack_impl.h"
#include "data/shard.h"
#include "data/verify.h"
#include "runtime/base/fault.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/base/png.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

enum { VIDEOS = 4, PICTURES = 5, STEPS = 4, BATCH = 4 };

typedef struct folders { char videos[4096], pictures[4096], copied[4096], linked[4096]; } folders;

static void pack(const folders *f, const char *out, bool link)
{
    const vj_pack_source sources[2] = { { .name = "v", .path = f->videos, .weight = 3 },
                                        { .name = "p", .path = f->pictures, .image = true, .weight = 1 } };
    vj_pack_request r;
    vj_pack_report report;
    vj_pack_defaults(&r);
    r.out = out;
    r.sources = sources;
    r.n_sources = 2;
    r.window = 4;
    r.hold_out = 0.2;
    r.threads = 2;
    r.link = link;
    assert_ok(vj_pack(&r, &report));
    assert_int_equal(report.bad_files, 0);
}

// Videos and pictures, packed both ways below a fresh folder.
static void make(void **state, const char *name, folders *f)
{
    char base[2048], path[4200];
    vj_path_join(base, sizeof base, *state, name);
    vj_path_join(f->videos, sizeof f->videos, base, "videos");
    vj_path_join(f->pictures, sizeof f->pictures, base, "pictures");
    vj_path_join(f->copied, sizeof f->copied, base, "copied");
    vj_path_join(f->linked, sizeof f->linked, base, "linked");
    assert_ok(vj_dir_create(f->videos));
    assert_ok(vj_dir_create(f->pictures));
    for (int i = 0; i < VIDEOS; i++) {
        vj_format(path, sizeof path, "%s/v%d.y4m", f->videos, i);
        assert_ok(vj_tiny_video(path, 64, 48, 90 + 30 * i, 10, 1, (uint64_t)i));
    }
    for (int i = 0; i < PICTURES; i++) {
        unsigned char rgb[32 * 24 * 3];
        for (size_t k = 0; k < sizeof rgb; k++) rgb[k] = (unsigned char)(k * (size_t)(3 + i) / 7);
        vj_format(path, sizeof path, "%s/p%d.png", f->pictures, i);
        assert_ok(vj_png_write(path, rgb, 32, 24));
    }
    pack(f, f->copied, false);
    pack(f, f->linked, true);
}

typedef struct opened { vj_catalog *c; vj_shards *s; } opened;

static opened open_shards(const char *dir)
{
    opened o;
    assert_ok(vj_catalog_read(&o.c, dir));
    assert_ok(vj_shards_open(&o.s, o.c, 0));
    return o;
}

static void close_shards(opened *o)
{
    vj_shards_close(&o->s);
    vj_catalog_destroy(&o->c);
}

// ---- the same --------------------------------------------------------------------------------------------------------

static void samples_are_the_same_bytes(void **state)
{
    folders f;
    make(state, "same", &f);
    opened a = open_shards(f.copied), b = open_shards(f.linked);
    vj_bytes x = { 0 }, y = { 0 };
    vj_sample_info i, j;
    char file[256], path[4096];
    int64_t total = 0;
    assert_false(a.c->sources[0].linked);
    assert_true(b.c->sources[0].linked && b.c->sources[1].linked);
    for (int source = 0; source < 2; source++) {
        for (int held = 0; held < 2; held++) {
            const int64_t rows = held ? a.c->sources[source].held_out.rows : a.c->sources[source].train.rows;
            assert_int_equal(rows, held ? b.c->sources[source].held_out.rows : b.c->sources[source].train.rows);
            for (int64_t row = 0; row < rows; row++) {
                assert_ok(vj_shards_read(a.s, source, held, row, &i, &x));
                assert_ok(vj_shards_read(b.s, source, held, row, &j, &y));
                assert_int_equal(x.bytes, y.bytes);
                assert_memory_equal(x.data, y.data, x.bytes + VJ_BYTES_PADDING);
                assert_memory_equal(&i, &j, sizeof i);
                assert_ok(vj_shards_file(b.s, source, held, row, file, sizeof file));
                assert_ok(vj_shards_link(b.s, source, held, row, path, sizeof path));
                assert_true(path[0] == '/' && vj_str_ends(path, file));
                assert_ok(vj_shards_link(a.s, source, held, row, path, sizeof path));
                assert_string_equal(path, "");
                total += (int64_t)x.bytes;
            }
        }
    }
    assert_true(total > 100000);
    assert_true(b.c->sources[0].train.blob_bytes * 20 < a.c->sources[0].train.blob_bytes);   // tables, not packets
    vj_bytes_free(&x);
    vj_bytes_free(&y);
    close_shards(&a);
    close_shards(&b);
}

static vj_loader *open_loader(const char *dir)
{
    vj_data_config c = { .fps = 4, .crop = 32, .crop_scale_low = 0.3, .crop_scale_high = 1, .crop_ratio_low = 0.75,
                         .crop_ratio_high = 1.35, .flip = true, .prefetch = 2, .max_bad = 0.001 };
    const vj_mask_config m = {
        .group = 2, .n = 1, .blocks = { .n = 1, .v = { 2 } },
        .spatial_low = { .n = 1, .v = { 0.2 } }, .spatial_high = { .n = 1, .v = { 0.5 } },
        .temporal_low = { .n = 1, .v = { 1 } }, .temporal_high = { .n = 1, .v = { 1 } }, .aspect_low = { .n = 1, .v = { 0.75 } },
        .aspect_high = { .n = 1, .v = { 1.5 } }, .max_temporal_keep = { .n = 1, .v = { 1 } }, .max_keep = { .n = 1, .v = { 0 } },
    };
    const vj_loader_stage s = { .seed = 5, .batch = BATCH, .slot = 2, .crop = 32, .tubelet = 2, .patch = 8,
                                .fpc = { .n = 1, .v = { 4 } }, .fps = 4, .world = 1, .threads = 2 };
    vj_format(c.dir, sizeof c.dir, "%s", dir);
    vj_loader *l = NULL;
    assert_ok(vj_loader_open(&l, &c, &m, &s, NULL, NULL));
    return l;
}

static void digest_batch(const vj_batch *batch, unsigned char out[32])
{
    vj_sha256 h;
    vj_sha256_start(&h);
    for (int s = 0; s < batch->n_slots; s++) {
        for (int i = 0; i < batch->slots[s].n_groups; i++) {
            const vj_clip_group *g = &batch->slots[s].groups[i];
            vj_sha256_add(&h, g->g, (size_t)g->B * sizeof *g->g);
            vj_sha256_add(&h, g->clips, (size_t)(g->B * 3 * g->F * g->height * g->width) * sizeof(float));
        }
    }
    vj_sha256_end(&h, out);
}

static void batches_are_the_same_bits(void **state)
{
    folders f;
    unsigned char digests[2][STEPS][32];
    make(state, "batches", &f);
    for (int k = 0; k < 2; k++) {
        vj_loader *l = open_loader(k == 0 ? f.copied : f.linked);
        for (int step = 0; step < STEPS; step++) {
            const vj_batch *batch = NULL;
            assert_ok(vj_loader_next(l, &batch));
            digest_batch(batch, digests[k][step]);
            vj_loader_release(l, batch);
        }
        vj_loader_close(&l);
    }
    assert_memory_equal(digests[0], digests[1], sizeof digests[0]);
    assert_memory_not_equal(digests[0][0], digests[0][1], 32);
}

// ---- files that change -----------------------------------------------------------------------------------------------

static void set_time(const char *path, time_t t)
{
    const struct utimbuf times = { t, t };
    assert_int_equal(utime(path, &times), 0);
}

static void write_at(const char *path, long offset, const char *text)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static vj_status read_row(const char *dir, int64_t row)
{
    opened o = open_shards(dir);
    vj_bytes bytes = { 0 };
    const vj_status status = vj_shards_read(o.s, 0, false, row, NULL, &bytes);
    vj_bytes_free(&bytes);
    close_shards(&o);
    return status;
}

static void what_became_of_a_file_is_said(void **state)
{
    folders f;
    char path[4200], away[4200], root[4200];
    struct stat st;
    make(state, "changes", &f);
    vj_format(path, sizeof path, "%s/v0.y4m", f.videos);
    vj_format(away, sizeof away, "%s/away", f.videos);
    vj_format(root, sizeof root, "%s-away", f.videos);
    assert_int_equal(stat(path, &st), 0);
    assert_ok(read_row(f.linked, 0));

    set_time(path, st.st_mtime + 1);
    assert_fails(read_row(f.linked, 0), VJ_ERR_DATA, "written to after it was linked");
    set_time(path, st.st_mtime);   // without the fraction of a second: some file systems keep none
    assert_ok(read_row(f.linked, 0));

    assert_int_equal(rename(path, away), 0);
    assert_fails(read_row(f.linked, 0), VJ_ERR_DATA, "No such file");
    assert_non_null(strstr(vj_error_text(), "v0.y4m"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_fails(read_row(f.linked, 0), VJ_ERR_DATA, "no file any more");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(read_row(f.linked, 0), VJ_ERR_DATA, "no file any more");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(away, path), 0);

    write_at(path, 2000, "other bytes");   // same size, and the time set back: only the checksum knows
    write_at(path, 250000, "other bytes");   // one window may be held out
    set_time(path, st.st_mtime);
    assert_fails(read_row(f.linked, 0), VJ_ERR_DATA, "checksum");
    vj_verify_report report;
    vj_str lines = { 0 };
    assert_fails(vj_verify(f.linked, 2, &report, &lines), VJ_ERR_MISMATCH, "damaged");
    assert_non_null(strstr(vj_str_text(&lines), "linked samples cannot be had"));
    assert_non_null(strstr(vj_str_text(&lines), "v0.y4m"));
    vj_str_free(&lines);
    assert_ok(vj_verify(f.copied, 2, &report, &lines));
    vj_str_free(&lines);

    assert_int_equal(truncate(path, 1000), 0);
    set_time(path, st.st_mtime);
    assert_fails(read_row(f.linked, 0), VJ_ERR_DATA, "it has 1000 bytes");
    assert_int_equal(truncate(path, 0), 0);
    set_time(path, st.st_mtime);
    assert_fails(read_row(f.linked, 0), VJ_ERR_DATA, "it has 0 bytes");

    assert_int_equal(rename(f.videos, root), 0);   // all at once: not mounted, most likely
    assert_fails(read_row(f.linked, 0), VJ_ERR_IO, "folder of the original files");
    assert_int_equal(mkdir(f.videos, 0700), 0);    // a mount point
    assert_fails(read_row(f.linked, 0), VJ_ERR_IO, "empty");
    assert_int_equal(rmdir(f.videos), 0);
    assert_int_equal(rename(root, f.videos), 0);
    vj_fault_set("eio@read[.y4m]:1");
    assert_fails(read_row(f.linked, 3), VJ_ERR_IO, ".y4m");
    vj_fault_set(NULL);
    assert_ok(read_row(f.linked, 3));
}

static void a_changed_file_is_a_bad_sample(void **state)
{
    folders f;
    char path[4200], *json = NULL;
    make(state, "bad", &f);
    vj_format(path, sizeof path, "%s/v2.y4m", f.videos);
    assert_int_equal(unlink(path), 0);
    vj_loader *l = open_loader(f.linked);
    vj_loader_stats stats;
    int64_t seen = 0;
    vj_status status = VJ_OK;
    for (int step = 0; step < 2 && status == VJ_OK; step++) {   // at most three rows of a source may be bad, v2 has three
        const vj_batch *batch = NULL;
        status = vj_loader_next(l, &batch);
        if (status != VJ_OK) break;
        for (int64_t k = 0; k < batch->samples; k++) {
            vj_sample_origin origin;
            assert_ok(vj_loader_origin(l, batch, k, &origin));
            assert_true(strcmp(origin.file, "v2.y4m") != 0);
            seen++;
        }
        vj_loader_release(l, batch);
    }
    assert_ok(status);
    assert_int_equal(seen, 2 * BATCH);
    vj_loader_stats_get(l, &stats);
    assert_true(stats.bad >= 1 && stats.substituted >= 1);
    assert_ok(vj_loader_quarantine(l, &json));
    assert_non_null(strstr(json, "the original file cannot be opened"));
    assert_non_null(strstr(json, "v2.y4m"));
    free(json);
    vj_loader_close(&l);
}

// ---- records ---------------------------------------------------------------------------------------------------------

static void records_are_not_believed(void **state)
{
    char path[4200];
    const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz", sample[] = "HEADdefgh234";
    vj_link_extents x = { 0 };
    vj_bytes record = { 0 }, out = { 0 };
    struct stat st;
    vj_path_join(path, sizeof path, *state, "record");
    assert_ok(vj_file_write_atomic(path, text, 36));
    assert_int_equal(stat(path, &st), 0);
    const vj_link_file file = { .path = path, .root = *state, .bytes = 36, .mtime_ns = (int64_t)st.st_mtime * 1000000000 };
    assert_ok(vj_link_add(&x, 13, 2));
    assert_ok(vj_link_add(&x, 15, 3));   // goes on: one extent
    assert_ok(vj_link_add(&x, 2, 3));
    assert_int_equal(x.n, 2);
    assert_ok(vj_link_write(&record, sample, 12, 4, &x));
    assert_ok(vj_link_read(&out, record.data, record.bytes, &file));
    assert_int_equal(out.bytes, 12);
    assert_memory_equal(out.data, sample, 12);
    for (size_t i = 0; i < record.bytes; i++) {   // no byte can be another one, none can be missing
        for (int bit = 0; bit < 8; bit++) {
            record.data[i] ^= (unsigned char)(1 << bit);
            assert_fails(vj_link_read(&out, record.data, record.bytes, &file), VJ_ERR_DATA, "");
            record.data[i] ^= (unsigned char)(1 << bit);
        }
        assert_fails(vj_link_read(&out, record.data, i, &file), VJ_ERR_DATA, "");
    }
    const int fd = fileno(fopen(path, "rb"));
    assert_int_equal(vj_link_find(fd, 10, "abc", 3), 10);
    assert_int_equal(vj_link_find(fd, 2, "xyz", 3), 33);
    assert_int_equal(vj_link_find(fd, 34, "xyz", 3), -1);   // only behind the place
    assert_int_equal(vj_link_find(fd, -1, "abc", 3), -1);
    assert_int_equal(vj_link_find(fd, 0, "none of it", 10), -1);
    close(fd);
    vj_bytes_free(&record);
    vj_bytes_free(&out);
    free(x.v);
}

static void what_cannot_be_linked_is_said(void **state)
{
    folders f;
    char out[4200], path[4200];
    make(state, "refused", &f);
    vj_format(out, sizeof out, "%s-x", f.linked);
    vj_pack_source source = { .name = "v", .path = f.videos, .weight = -1 };
    vj_pack_request r;
    vj_pack_report report;
    vj_pack_defaults(&r);
    r.out = out;
    r.sources = &source;
    r.n_sources = 1;
    r.recode = 48;
    r.link = true;
    assert_fails(vj_pack(&r, &report), VJ_ERR_USAGE, "--recode");
    r.recode = 0;
    vj_format(path, sizeof path, "%s/train-images-idx3-ubyte", f.pictures);
    assert_ok(vj_tiny_idx(path, 3, 1));
    source.path = path;
    source.image = true;
    assert_fails(vj_pack(&r, &report), VJ_ERR_DATA, "an IDX file cannot be linked");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_the_same_bytes),
        cmocka_unit_test(batches_are_the_same_bits),
        cmocka_unit_test(what_became_of_a_file_is_said),
        cmocka_unit_test(a_changed_file_is_a_bad_sample),
        cmocka_unit_test(records_are_not_believed),
        cmocka_unit_test(what_cannot_be_linked_is_said),
    };
    return cmocka_run_group_tests_name("data/link", tests, scratch_setup, scratch_teardown);
}
