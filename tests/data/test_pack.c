// tests/data/test_pack.c

#include <string.h>
#include <sys/stat.h>

#include "data/decode.h"
#include "data/pack_impl.h"
#include "data/shard.h"
#include "data/verify.h"
#include "runtime/base/hash.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

static char *join(const char *dir, const char *name)
{
    char *path = malloc(4096);
    vj_path_join(path, 4096, dir, name);
    return path;
}

static char *fresh(void **state, const char *name)
{
    char *dir = join(*state, name);
    assert_ok(vj_dir_create(dir));
    return dir;
}

static void add_video(const char *dir, const char *name, int frames, uint64_t seed)
{
    char *path = join(dir, name);
    assert_ok(vj_tiny_video(path, 64, 48, frames, 10, 1, seed));
    free(path);
}

static void add_bytes(const char *dir, const char *name, const void *data, size_t bytes)
{
    char *path = join(dir, name);
    assert_ok(vj_file_write_atomic(path, data, bytes));
    free(path);
}

static void add_text(const char *dir, const char *name, const char *text) { add_bytes(dir, name, text, strlen(text)); }

static vj_pack_request request_for(const char *out, const vj_pack_source *source)
{
    vj_pack_request r;
    vj_pack_defaults(&r);
    r.out = out;
    r.sources = source;
    r.n_sources = 1;
    r.window = 4;
    r.recode = 48;
    return r;
}

// ---- rules without files -------------------------------------------------------------------------------------------

static void windows_are_cut_by_the_rule(void **state)
{
    (void)state;
    const struct { double duration, window; int64_t n; double last; } rules[] = {
        { 12.0, 4, 3, 4.0 }, { 13.9, 4, 3, 5.9 }, { 14.0, 4, 4, 2.0 }, { 15.5, 4, 4, 3.5 }, { 3.0, 4, 1, 3.0 },
        { 4.0, 4, 1, 4.0 }, { 5.9, 4, 1, 5.9 }, { 6.0, 4, 2, 2.0 }, { 100.0, 0, 1, 100.0 },
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        vj_window *w;
        int64_t n;
        const int64_t duration = (int64_t)(rules[i].duration * 1e6 + 0.5);
        assert_ok(vj_windows_cut(&w, &n, duration, rules[i].window));
        assert_int_equal(n, rules[i].n);
        assert_int_equal(w[0].t0_us, 0);
        for (int64_t k = 1; k < n; k++) assert_true(w[k].t0_us == w[k - 1].t1_us);
        assert_int_equal(w[n - 1].t1_us, duration);
        assert_int_equal(w[n - 1].t1_us - w[n - 1].t0_us, (int64_t)(rules[i].last * 1e6 + 0.5));
        free(w);
    }
}

typedef struct choice { int64_t windows, files; } choice;

static choice choose(const int *counts, int n, double fraction, uint64_t seed, bool held[64])
{
    vj_pack_file files[16] = { 0 };
    char names[16][8];
    for (int i = 0; i < n; i++) {
        vj_format(names[i], sizeof names[i], "f%d", i);
        files[i].name = names[i];
        files[i].n_windows = counts[i];
        files[i].windows = calloc((size_t)counts[i] + 1, sizeof(vj_window));
        for (int k = 0; k < counts[i]; k++) files[i].windows[k].t0_us = k * 4000000;
        files[i].bad = counts[i] == 0;
    }
    choice c = { vj_hold_out_choose(files, n, "s", fraction, seed), 0 };
    int64_t total = 0, at = 0;
    for (int i = 0; i < n; i++) {
        int64_t in_file = 0;
        for (int k = 0; k < counts[i]; k++) {
            in_file += files[i].windows[k].held_out ? 1 : 0;
            if (held != NULL) held[at++] = files[i].windows[k].held_out;
        }
        assert_true(counts[i] < 2 || in_file < counts[i]);   // a file with several windows keeps one for training
        total += in_file;
        c.files += in_file > 0 ? 1 : 0;
        free(files[i].windows);
    }
    assert_int_equal(total, c.windows);
    return c;
}

static void held_out_windows_are_chosen_by_the_rule(void **state)
{
    (void)state;
    const struct { int counts[8]; int n; double fraction; int64_t windows, files; } rules[] = {
        { { 20, 2, 3, 4, 2 }, 5, 0.1, 3, 3 },     // spread over different files
        { { 20, 1, 1, 1 }, 4, 0.1, 2, 1 },        // only one file has several
        { { 3, 3 }, 2, 0.01, 2, 2 },              // two files at least
        { { 3, 1 }, 2, 0.01, 1, 1 },
        { { 1, 1, 1, 1, 1, 1, 1, 1 }, 8, 0.25, 2, 2 },   // whole files
        { { 1, 1 }, 2, 0.9, 1, 1 },               // never the last one
        { { 1 }, 1, 0.5, 0, 0 }, { { 5, 5 }, 2, 0, 0, 0 }, { { 2, 2 }, 2, 0.9, 2, 2 }, { { 4, 0, 4 }, 3, 0.5, 4, 2 },
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            const choice c = choose(rules[i].counts, rules[i].n, rules[i].fraction, seed, NULL);
            if (c.windows != rules[i].windows || c.files != rules[i].files) {
                fail_msg("rule %d: %d windows of %d files", (int)i, (int)c.windows, (int)c.files);
            }
        }
    }
    bool a[64], b[64], other[64];
    const int counts[4] = { 10, 10, 10, 10 };
    choose(counts, 4, 0.2, 1, a);
    choose(counts, 4, 0.2, 1, b);
    choose(counts, 4, 0.2, 2, other);
    assert_memory_equal(a, b, 40);
    assert_memory_not_equal(a, other, 40);
}

// ---- whole packings ------------------------------------------------------------------------------------------------

static void threads_do_not_change_the_result(void **state)
{
    char *videos = fresh(state, "threads"), digest[65] = "";
    const vj_pack_source source = { .name = "v", .path = videos, .weight = -1 };
    for (int i = 0; i < 5; i++) {
        char name[32];
        vj_format(name, sizeof name, "v%d.y4m", i);
        add_video(videos, name, 60 + 37 * i, (uint64_t)i);
    }
    for (int threads = 1; threads <= 3; threads++) {
        char name[32];
        vj_format(name, sizeof name, "threads-out-%d", threads);
        char *out = join(*state, name);
        vj_pack_request r = request_for(out, &source);
        vj_pack_report report;
        vj_catalog *c;
        r.threads = threads;
        r.hold_out = 0.2;
        r.max_shard_bytes = 1 << 16;
        assert_ok(vj_pack(&r, &report));
        assert_true(report.files == 5 && report.bad_files == 0 && report.rows == 16 && report.held_out == 3 && report.held_out_files == 3);
        assert_ok(vj_catalog_read(&c, out));
        if (threads == 1) vj_format(digest, sizeof digest, "%s", c->digest);
        assert_string_equal(digest, c->digest);
        vj_catalog_destroy(&c);
        free(out);
    }
    free(videos);
}

static void broken_files_are_named_and_left_out(void **state)
{
    char *videos = fresh(state, "broken"), *below = fresh(state, "broken/deep/er"), *out = join(*state, "broken-out");
    char *good = join(videos, "a.y4m"), *data;
    size_t n;
    add_video(videos, "a.y4m", 80, 1);
    add_video(below, "b.Y4M", 80, 2);
    assert_ok(vj_file_read(good, &data, &n, 0));
    add_text(videos, "empty.mp4", "");
    add_text(videos, "text.mp4", "this is no video at all, and never was");
    add_bytes(videos, "header.y4m", data, 40);
    add_text(videos, "playlist.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.y4m\n#EXT-X-ENDLIST\n");
    add_text(videos, "concat.mp4", "ffconcat version 1.0\nfile a.y4m\n");
    add_text(videos, "notes.txt", "nothing");
    add_text(videos, ".hidden.mp4", "nothing");
    char *pipe = join(videos, "pipe.mp4"), *dangling = join(videos, "dangling.mp4"), *circle = join(videos, "circle");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(symlink("nowhere", dangling), 0);
    assert_int_equal(symlink(".", circle), 0);
    add_bytes(videos, "cut.y4m", data, n * 3 / 4 + 100);   // ends within a frame: what is whole is packed
    const vj_pack_source source = { .name = "v", .path = videos, .weight = -1 };
    vj_pack_request r = request_for(out, &source);
    vj_pack_report report;
    assert_ok(vj_pack(&r, &report));
    assert_int_equal(report.bad_files, 5);
    assert_int_equal(report.files - report.bad_files, 3);
    assert_int_equal(report.ignored_files, 4);   // notes, the hidden file, the pipe, the dangling link
    assert_int_equal(report.rows, 6);
    vj_catalog *c;
    vj_shards *s;
    char file[64];
    assert_ok(vj_catalog_read(&c, out));
    assert_ok(vj_shards_open(&s, c, 0));
    const char *const expected[6] = { "a.y4m", "a.y4m", "cut.y4m", "cut.y4m", "deep/er/b.Y4M", "deep/er/b.Y4M" };
    for (int64_t row = 0; row < 6; row++) {
        assert_ok(vj_shards_file(s, 0, false, row, file, sizeof file));
        assert_string_equal(file, expected[row]);
    }
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
    char *const all[] = { videos, below, out, good, data, pipe, dangling, circle };
    for (int i = 0; i < 8; i++) free(all[i]);
}

static void nothing_usable_is_one_message(void **state)
{
    char *empty = fresh(state, "empty"), *out = join(*state, "empty-out"), *bad = fresh(state, "only-bad"), *pictures = fresh(state, "only-pictures");
    vj_pack_report report;
    vj_pack_source source = { .name = "v", .path = empty, .weight = -1 };
    vj_pack_request r = request_for(out, &source);
    assert_fails(vj_pack(&r, &report), VJ_ERR_DATA, "no video in");
    add_text(bad, "x.mp4", "nonsense");
    source.path = bad;
    assert_fails(vj_pack(&r, &report), VJ_ERR_DATA, "none of the 1 files");
    assert_non_null(strstr(vj_error_text(), "x.mp4"));
    // A source of which nothing is to be had is found before another is begun.
    vj_pack_source both[2] = { source, { .name = "w", .path = empty, .weight = -1 } };
    r.sources = both;
    r.n_sources = 2;
    assert_fails(vj_pack(&r, &report), VJ_ERR_DATA, "source w: no video in");
    r.sources = &source;
    r.n_sources = 1;
    add_text(pictures, "x.png", "nonsense");
    source.path = pictures;
    assert_fails(vj_pack(&r, &report), VJ_ERR_DATA, "--image-source v=");
    source.image = true;
    assert_fails(vj_pack(&r, &report), VJ_ERR_DATA, "none of the 1 files");
    source.image = false;
    source.path = "/no/such/folder";
    assert_fails(vj_pack(&r, &report), VJ_ERR_USAGE, "/no/such/folder does not exist");
    source.path = empty;
    source.name = "a b";
    assert_fails(vj_pack(&r, &report), VJ_ERR_USAGE, "'a b'");
    source.name = "v";
    const struct { double window, hold_out; int recode; const char *part; } options[] = {
        { -1, 0, 0, "--window" }, { 4, 1.5, 0, "--hold-out" }, { 4, 0, 7, "--recode" },
    };
    for (int i = 0; i < 3; i++) {
        r.window = options[i].window;
        r.hold_out = options[i].hold_out;
        r.recode = options[i].recode;
        assert_fails(vj_pack(&r, &report), VJ_ERR_USAGE, options[i].part);
    }
    char *catalog = join(out, VJ_CATALOG_NAME);
    assert_false(vj_path_exists(catalog));
    char **names;
    int64_t n;
    assert_ok(vj_dir_list(out, &names, &n));
    assert_int_equal(n, 0);   // nothing is left behind
    vj_names_free(&names, n);
    char *const all[] = { empty, out, bad, pictures, catalog };
    for (int i = 0; i < 5; i++) free(all[i]);
}

static void existing_shards_and_leftovers(void **state)
{
    char *videos = fresh(state, "again"), *out = join(*state, "again-out"), *foreign = fresh(state, "foreign");
    vj_pack_report report;
    const vj_pack_source source = { .name = "v", .path = videos, .weight = -1 };
    vj_pack_request r = request_for(out, &source);
    add_video(videos, "a.y4m", 50, 1);
    // What a killed packing leaves: its work folder and shards without a catalogue.
    char *work = join(out, ".tmp-12345"), *spool = join(out, ".tmp-12345/spool-0"), *stray = join(out, "v-00007.h5");
    assert_ok(vj_dir_create(work));
    assert_ok(vj_file_write_atomic(spool, "x", 1));
    assert_ok(vj_file_write_atomic(stray, "x", 1));
    assert_ok(vj_pack(&r, &report));
    assert_false(vj_path_exists(work) || vj_path_exists(stray));
    assert_fails(vj_pack(&r, &report), VJ_ERR_CONFIG, "--force");
    r.force = true;
    assert_ok(vj_pack(&r, &report));
    r.force = false;
    char **names;
    int64_t n, aside = 0;
    assert_ok(vj_dir_list(*state, &names, &n));
    for (int64_t i = 0; i < n; i++) aside += vj_str_starts(names[i], "again-out.old-") ? 1 : 0;
    assert_int_equal(aside, 1);
    vj_names_free(&names, n);
    add_text(foreign, "thesis.tex", "x");
    r.out = foreign;
    assert_fails(vj_pack(&r, &report), VJ_ERR_CONFIG, "thesis.tex");
    char *const all[] = { videos, out, foreign, work, spool, stray };
    for (int i = 0; i < 6; i++) free(all[i]);
}

static void windows_kept_as_packets_show_the_same_frames(void **state)
{
    char *videos = fresh(state, "copy"), *cut = join(*state, "copy-cut"), *whole = join(*state, "copy-whole");
    vj_pack_report report;
    const vj_pack_source source = { .name = "v", .path = videos, .weight = -1 };
    add_video(videos, "a.y4m", 97, 5);   // 9.7 s: two windows, the second 5.7 s
    vj_pack_request r = request_for(cut, &source);
    r.recode = 0;
    assert_ok(vj_pack(&r, &report));
    assert_true(report.rows == 2 && report.frames == 97);
    r.out = whole;
    r.window = 0;
    assert_ok(vj_pack(&r, &report));
    assert_true(report.rows == 1 && report.frames == 97);
    vj_catalog *a, *b;
    vj_shards *x, *y;
    vj_decoder *d, *e;
    vj_bytes p = { 0 }, q = { 0 };
    vj_sample_info in, all;
    vj_frames f, g;
    assert_ok(vj_catalog_read(&a, cut));
    assert_ok(vj_catalog_read(&b, whole));
    assert_ok(vj_shards_open(&x, a, 0));
    assert_ok(vj_shards_open(&y, b, 0));
    assert_ok(vj_decoder_create(&d));
    assert_ok(vj_decoder_create(&e));
    assert_ok(vj_shards_read(y, 0, false, 0, &all, &q));
    for (int64_t k = 0; k < 97; k += 3) {
        const int64_t row = k < 40 ? 0 : 1, index = k < 40 ? k : k - 40;
        assert_ok(vj_shards_read(x, 0, false, row, &in, &p));
        assert_int_equal(in.n_frames, row == 0 ? 40 : 57);
        assert_ok(vj_decode_frames(d, &in, p.data, p.bytes, &index, 1, &f));
        assert_ok(vj_decode_frames(e, &all, q.data, q.bytes, &k, 1, &g));
        assert_memory_equal(f.rgb, g.rgb, 64 * 48 * 3);
    }
    vj_bytes_free(&p);
    vj_bytes_free(&q);
    vj_decoder_destroy(&d);
    vj_decoder_destroy(&e);
    vj_shards_close(&x);
    vj_shards_close(&y);
    vj_catalog_destroy(&a);
    vj_catalog_destroy(&b);
    free(videos);
    free(cut);
    free(whole);
}

static void image_limits_hold(void **state)
{
    char *images = fresh(state, "images"), *out = join(*state, "images-out"), *idx = join(images, "x-images-idx3-ubyte");
    vj_pack_report report;
    char *second = join(images, "y-images-idx3-ubyte");
    assert_ok(vj_tiny_idx(idx, 30, 2));
    assert_ok(vj_tiny_idx(second, 30, 3));
    vj_pack_source source = { .name = "i", .path = idx, .image = true, .weight = 3 };   // one file instead of a folder
    vj_pack_request r = request_for(out, &source);
    r.limit = 12;
    r.hold_out = 0.5;   // of videos only
    assert_ok(vj_pack(&r, &report));
    assert_true(report.rows == 12 && report.held_out == 0);
    vj_catalog *c;
    assert_ok(vj_catalog_read(&c, out));
    assert_true(c->sources[0].kind == VJ_SOURCE_IMAGE && c->sources[0].weight == 3 && c->sources[0].train.rows == 12);
    vj_catalog_destroy(&c);
    source.path = images;   // both files: 30 of the first, 5 of the second
    r.limit = 35;
    r.force = true;
    assert_ok(vj_pack(&r, &report));
    assert_true(report.rows == 35 && report.files == 2);
    r.limit = 30;
    assert_ok(vj_pack(&r, &report));
    assert_true(report.rows == 30 && report.files == 1);
    free(images);
    free(out);
    free(idx);
    free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_cut_by_the_rule),
        cmocka_unit_test(held_out_windows_are_chosen_by_the_rule),
        cmocka_unit_test(threads_do_not_change_the_result),
        cmocka_unit_test(broken_files_are_named_and_left_out),
        cmocka_unit_test(nothing_usable_is_one_message),
        cmocka_unit_test(existing_shards_and_leftovers),
        cmocka_unit_test(windows_kept_as_packets_show_the_same_frames),
        cmocka_unit_test(image_limits_hold),
    };
    return cmocka_run_group_tests_name("data/pack", tests, scratch_setup, scratch_teardown);
}
