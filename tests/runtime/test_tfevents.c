// TensorBoard event files: the bytes that TensorBoard's own classes write, names that sort, what is left out.

#include "runtime/log/tfevents.h"

#include <math.h>
#include <string.h>

#include "tests/support/scratch.h"

static void bytes_of_another_writer(void **state)
{
    char dir[4200], *got = NULL, *want = NULL, lengthy[201];
    size_t got_bytes = 0, want_bytes = 0;
    vj_path_join(dir, sizeof dir, *state, "golden/tb");
    memset(lengthy, 't', 200);
    lengthy[200] = '\0';
    vj_tfevents *e = NULL;
    assert_ok(vj_tfevents_open(&e, dir, 1700000000.25, 21));
    assert_ok(vj_tfevents_put(e, 1700000001.5, 30, (const vj_scalar[]){ { "train/loss", 0.75 }, { "nothing", NAN }, { "held_out/ratio", -1.0 / 3.0 },
                                                                       { "endless", INFINITY }, { "zero", 0 } }, 5));
    assert_ok(vj_tfevents_put(e, 1700000001.5, 31, (const vj_scalar[]){ { "nothing", NAN } }, 1));   // no event at all
    assert_ok(vj_tfevents_put(e, 1700000002.0, INT64_C(1) << 40, (const vj_scalar[]){ { "train/loss", 1e-30 }, { lengthy, 65504 } }, 2));
    assert_ok(vj_tfevents_put(e, 1700000003.0, 0, (const vj_scalar[]){ { "train/loss", 2 } }, 1));
    assert_ok(vj_file_read(vj_tfevents_path(e), &got, &got_bytes, 0));   // written at once, not at closing
    vj_tfevents_close(&e);
    assert_null(e);
    vj_tfevents_close(&e);
    assert_ok(vj_file_read("tests/golden/tfevents.bin", &want, &want_bytes, 0));
    assert_int_equal(got_bytes, want_bytes);
    assert_memory_equal(got, want, want_bytes);
    free(got);
    free(want);
}

// A restart in the same second, and after the clock went back, still comes behind what is there.
static void names_sort_by_birth(void **state)
{
    char dir[4200];
    vj_path_join(dir, sizeof dir, *state, "names");
    assert_ok(vj_dir_create(dir));
    static const double walls[] = { 1700000000, 1700000000.9, 1600000000, 1700000010, NAN, -5 };
    char before[900] = "";
    for (size_t i = 0; i < sizeof walls / sizeof walls[0]; i++) {
        vj_tfevents *e = NULL;
        assert_ok(vj_tfevents_open(&e, dir, walls[i], -1));
        const char *name = vj_path_base(vj_tfevents_path(e));
        assert_true(vj_str_starts(name, "events.out.tfevents."));
        assert_true(strcmp(name, before) > 0);
        vj_format(before, sizeof before, "%s", name);
        vj_tfevents_close(&e);
    }
    char **names = NULL;
    int64_t count = 0;
    assert_ok(vj_dir_list(dir, &names, &count));
    assert_int_equal(count, 6);
    vj_names_free(&names, count);
}

static void without_a_restart_only_the_version(void **state)
{
    char dir[4200], *got = NULL;
    size_t bytes = 0;
    vj_path_join(dir, sizeof dir, *state, "plain");
    vj_tfevents *e = NULL;
    assert_ok(vj_tfevents_open(&e, dir, 1700000000, -1));
    assert_ok(vj_file_read(vj_tfevents_path(e), &got, &bytes, 0));
    assert_int_equal(bytes, 8 + 4 + 24 + 4);   // one record: 9 bytes of time, 15 of the version
    free(got);
    vj_tfevents_close(&e);
}

// Steps 0, 21, 30, 2^40, 0 of the golden file, cut; every torn length and every damaged byte of it.
static void cutting(void **state)
{
    char dir[4200], path[4300], *want = NULL, *got = NULL;
    size_t bytes = 0, left = 0;
    vj_path_join(dir, sizeof dir, *state, "cut");
    assert_ok(vj_tfevents_cut(dir, 5));   // not there: nothing to cut
    assert_ok(vj_dir_create(dir));
    vj_path_join(path, sizeof path, dir, "events.out.tfevents.1.x.1.0");
    assert_ok(vj_file_read("tests/golden/tfevents.bin", &want, &bytes, 0));
    size_t border[6] = { 0 };   // where records begin
    for (int i = 1; i < 6; i++) {
        uint32_t n;
        memcpy(&n, want + border[i - 1], sizeof n);
        border[i] = border[i - 1] + 16 + n;
    }
    assert_int_equal(border[5], bytes);
    static const struct { int64_t step; int records; } cases[] = { { INT64_MAX, 5 }, { INT64_C(1) << 40, 5 }, { 1000, 3 }, { 29, 2 }, { 21, 2 }, { 20, 1 }, { 0, 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(vj_file_write_atomic(path, want, bytes));
        assert_ok(vj_tfevents_cut(dir, cases[i].step));
        assert_ok(vj_file_read(path, &got, &left, 0));
        assert_int_equal(left, border[cases[i].records]);
        assert_memory_equal(got, want, left);
        free(got);
    }
    for (size_t n = 0; n < bytes; n += 7) {
        int whole = 0;
        while (border[whole + 1] <= n && whole < 5) whole++;
        assert_ok(vj_file_write_atomic(path, want, n));
        assert_ok(vj_tfevents_cut(dir, INT64_MAX));
        assert_ok(vj_file_read(path, &got, &left, 0));
        assert_int_equal(left, border[whole]);
        free(got);
        want[n] ^= 0x40;   // a bit of record `whole`
        assert_ok(vj_file_write_atomic(path, want, bytes));
        assert_ok(vj_tfevents_cut(dir, INT64_MAX));
        assert_ok(vj_file_read(path, &got, &left, 0));
        assert_int_equal(left, border[whole]);
        free(got);
        want[n] ^= 0x40;
    }
    free(want);
}

static void places_that_cannot_be_written(void **state)
{
    char path[4200];
    vj_tfevents *e = NULL;
    vj_path_join(path, sizeof path, *state, "file");
    assert_ok(vj_file_write_atomic(path, "x", 1));
    assert_int_equal(vj_tfevents_open(&e, path, 1, -1), VJ_ERR_IO);
    assert_null(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_another_writer),
        cmocka_unit_test(names_sort_by_birth),
        cmocka_unit_test(without_a_restart_only_the_version),
        cmocka_unit_test(cutting),
        cmocka_unit_test(places_that_cannot_be_written),
    };
    return cmocka_run_group_tests_name("runtime/tfevents", tests, scratch_setup, scratch_teardown);
}
