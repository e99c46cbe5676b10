// Lists of files: the published form, commas, headers, blanks in paths; what is wrong is named with its line.

#include <string.h>

#include "data/pack_impl.h"
#include "data/shard.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_shards.h"

static const char *dir;

static const char *list(const char *text)
{
    static char path[4200];
    vj_path_join(path, sizeof path, dir, "list.csv");
    OK(vj_file_write_atomic(path, text, strlen(text)));
    return path;
}

static void lines_become_files(void **state)
{
    dir = *state;
    static const struct { const char *text; int n; struct { const char *name; int label; } want[3]; } cases[] = {
        { "a.mp4 3\nb c.mp4 0\n/x/d.mp4 12", 3, { { "/x/d.mp4", 12 }, { "a.mp4", 3 }, { "b c.mp4", 0 } } },
        { "path,label\na.mp4,3\n\"b, c.mp4\",7\r\n\nd.mp4,\n", 3, { { "a.mp4", 3 }, { "b, c.mp4", 7 }, { "d.mp4", -1 } } },
        { "a 1.mp4::4\nb.mp4::5\n", 2, { { "a 1.mp4", 4 }, { "b.mp4", 5 } } },
        { "path\nz.mp4\ny y.mp4\n", 2, { { "y y.mp4", -1 }, { "z.mp4", -1 } } },
        { "a.mp4,2\n", 1, { { "a.mp4", 2 } } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vj_pack_files f;
        OK(vj_pack_list(&f, list(cases[i].text), false));
        assert_int_equal(f.n, cases[i].n);
        for (int k = 0; k < cases[i].n; k++) {
            char full[4200];
            assert_string_equal(f.v[k].name, cases[i].want[k].name);
            assert_int_equal(f.v[k].label, cases[i].want[k].label);
            vj_path_join(full, sizeof full, dir, f.v[k].name);
            assert_string_equal(f.v[k].path, f.v[k].name[0] == '/' ? f.v[k].name : full);
        }
        vj_pack_files_free(&f);
    }
}

static void what_is_wrong_has_a_line(void **state)
{
    dir = *state;
    vj_pack_files f;
    assert_fails(vj_pack_list(&f, list("a.mp4 1\nb.mp4::x\n"), false), VJ_ERR_CONFIG, "list.csv:2: the label is no whole number");
    assert_fails(vj_pack_list(&f, list("path,label\na.mp4,one\n"), false), VJ_ERR_CONFIG, "list.csv:2: the label");
    assert_fails(vj_pack_list(&f, list("path,label\n\"\",1\n"), false), VJ_ERR_CONFIG, "list.csv:2: a path was expected");
    assert_fails(vj_pack_list(&f, list("a.mp4 1\na.mp4 2\n"), false), VJ_ERR_CONFIG, "names 'a.mp4' twice");
    assert_fails(vj_pack_list(&f, list("\n \n"), false), VJ_ERR_CONFIG, "names no file");
    char path[4200];
    vj_path_join(path, sizeof path, dir, "zero.csv");
    OK(vj_file_write_atomic(path, "a.mp4\0b", 7));
    assert_fails(vj_pack_list(&f, path, false), VJ_ERR_CONFIG, "no text");
    assert_int_equal(f.n, 0);
}

// Packed from a list: the files it names and no other, with their labels; what is missing is left out and counted.
static void a_list_packs(void **state)
{
    dir = *state;
    char a[4200], b[4200], out[4200];
    vj_path_join(a, sizeof a, dir, "one two.y4m");
    vj_path_join(b, sizeof b, dir, "not named.y4m");
    OK(vj_tiny_video(a, 64, 48, 20, 10, 1, 1));
    OK(vj_tiny_video(b, 64, 48, 20, 10, 1, 2));
    vj_path_join(out, sizeof out, dir, "shards");
    const vj_pack_source source = { .name = "listed", .path = list("one two.y4m 41\ngone.mp4 2\n"), .weight = -1 };
    vj_pack_request r;
    vj_pack_report report;
    vj_pack_defaults(&r);
    r.out = out;
    r.sources = &source;
    r.n_sources = 1;
    r.threads = 1;
    OK(vj_pack(&r, &report));
    assert_int_equal(report.rows, 1);
    assert_int_equal(report.bad_files, 1);
    vj_catalog *c;
    vj_shards *s;
    vj_bytes bytes = { 0 };
    vj_sample_info info;
    OK(vj_catalog_read(&c, out));
    OK(vj_shards_open(&s, c, 0));
    OK(vj_shards_read(s, 0, false, 0, &info, &bytes));
    assert_int_equal(info.label, 41);
    vj_bytes_free(&bytes);
    vj_shards_close(&s);
    vj_catalog_destroy(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_files),
        cmocka_unit_test(what_is_wrong_has_a_line),
        cmocka_unit_test(a_list_packs),
    };
    return cmocka_run_group_tests_name("data/pack_csv", tests, scratch_setup, scratch_teardown);
}
