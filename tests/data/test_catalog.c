// tests/data/test_catalog.c

#include <string.h>

#include "data/catalog.h"
#include "tests/support/scratch.h"

static vj_shard_entry entry(const char *path, int64_t n)
{
    vj_shard_entry e = { .path = vj_strdup(path), .n = n, .file_bytes = 5000 + n, .blob_offset = 4096, .blob_bytes = 640 };
    for (int i = 0; i < 32; i++) {
        e.metadata_digest[i] = (unsigned char)(i * n);
        e.blob_digest[i] = (unsigned char)(i + n);
        e.index_digest[i] = (unsigned char)(255 - i);
    }
    return e;
}

// Two sources; the first has three training shards and one held out.
static vj_catalog *make_catalog(void)
{
    vj_catalog *c = calloc(1, sizeof *c);
    c->n_sources = 2;
    c->sources = calloc(2, sizeof *c->sources);
    vj_source *video = &c->sources[0], *image = &c->sources[1];
    vj_format(video->name, sizeof video->name, "clips");
    vj_format(image->name, sizeof image->name, "pictures");
    video->kind = VJ_SOURCE_VIDEO;
    image->kind = VJ_SOURCE_IMAGE;
    video->weight = 1.5;
    image->weight = 12;
    video->train = (vj_shard_list){ .n = 3, .v = calloc(3, sizeof(vj_shard_entry)), .files = 7, .frames = 900 };
    video->train.v[0] = entry("clips-00000.h5", 10);
    video->train.v[1] = entry("clips-00001.h5", 1);
    video->train.v[2] = entry("clips-00002.h5", 5);
    video->held_out = (vj_shard_list){ .n = 1, .v = calloc(1, sizeof(vj_shard_entry)), .files = 2, .frames = 80 };
    video->held_out.v[0] = entry("clips-held-out-00000.h5", 2);
    image->train = (vj_shard_list){ .n = 1, .v = calloc(1, sizeof(vj_shard_entry)), .files = 12, .frames = 12 };
    image->train.v[0] = entry("pictures-00000.h5", 12);
    return c;
}

static void what_is_written_is_read(void **state)
{
    vj_catalog *a = make_catalog(), *b = NULL;
    assert_ok(vj_catalog_write(a, *state));
    assert_ok(vj_catalog_read(&b, *state));
    assert_string_equal(a->digest, b->digest);
    assert_int_equal(strlen(b->digest), 64);
    assert_string_equal(b->dir, (const char *)*state);
    const vj_source *s = vj_catalog_find(b, "clips");
    assert_non_null(s);
    assert_null(vj_catalog_find(b, "clip"));
    assert_true(s->kind == VJ_SOURCE_VIDEO && s->weight == 1.5 && s->train.rows == 16 && s->held_out.rows == 2);
    assert_true(s->train.files == 7 && s->train.frames == 900 && s->train.blob_bytes == 3 * 640);
    assert_string_equal(s->train.v[2].path, "clips-00002.h5");
    assert_int_equal(s->train.v[2].first, 11);
    assert_memory_equal(s->train.v[1].metadata_digest, a->sources[0].train.v[1].metadata_digest, 32);
    assert_true(vj_catalog_find(b, "pictures")->kind == VJ_SOURCE_IMAGE);
    vj_catalog_destroy(&a);
    vj_catalog_destroy(&b);
    assert_null(b);
}

static void rows_are_located(void **state)
{
    (void)state;
    vj_catalog *c = make_catalog();
    vj_shard_list *list = &c->sources[0].train;
    int64_t first = 0, at;
    for (int i = 0; i < list->n; i++) {
        list->v[i].first = first;
        first += list->v[i].n;
    }
    list->rows = first;
    for (int64_t row = 0; row < 16; row++) {
        const int shard = vj_shard_list_locate(list, row, &at);
        assert_int_equal(shard, row < 10 ? 0 : row < 11 ? 1 : 2);
        assert_int_equal(at, row < 10 ? row : row < 11 ? 0 : row - 11);
    }
    vj_catalog_destroy(&c);
}

static void every_edit_is_noticed(void **state)
{
    vj_catalog *c = make_catalog(), *read = NULL;
    char path[4096], *text;
    size_t n;
    assert_ok(vj_catalog_write(c, *state));
    vj_catalog_destroy(&c);
    vj_path_join(path, sizeof path, *state, VJ_CATALOG_NAME);
    assert_ok(vj_file_read(path, &text, &n, 0));
    int refused = 0;
    for (size_t at = 0; at < n; at++) {
        const char old = text[at];
        if (old == ' ' || old == '\n') continue;
        text[at] = old == '7' ? '8' : old >= '0' && old <= '9' ? '7' : old == 'a' ? 'b' : 'a';
        assert_ok(vj_file_write_atomic(path, text, n));
        text[at] = old;
        const vj_status status = vj_catalog_read(&read, *state);
        if (status == VJ_OK) fail_msg("changing byte %zu ('%c') was not noticed", at, old);
        assert_int_equal(status, VJ_ERR_DATA);
        assert_non_null(strstr(vj_error_text(), VJ_CATALOG_NAME));
        refused++;
    }
    assert_true(refused > 500);
    for (size_t length = 0; length < n - 2; length += 37) {
        assert_ok(vj_file_write_atomic(path, text, length));
        assert_int_equal(vj_catalog_read(&read, *state), VJ_ERR_DATA);
    }
    free(text);
}

static void missing_things_say_what_to_do(void **state)
{
    char path[4096];
    vj_catalog *c = NULL;
    vj_path_join(path, sizeof path, *state, "nothing");
    assert_fails(vj_catalog_read(&c, path), VJ_ERR_CONFIG, "vjepa data pack");
    assert_ok(vj_dir_create(path));
    assert_fails(vj_catalog_read(&c, path), VJ_ERR_CONFIG, "packing was not finished");
    vj_path_join(path, sizeof path, *state, "file");
    assert_ok(vj_file_write_atomic(path, "x", 1));
    assert_fails(vj_catalog_read(&c, path), VJ_ERR_CONFIG, "not a folder");
    assert_null(c);
}

static void paths_cannot_leave_the_folder(void **state)
{
    const char *const paths[] = { "../other.h5", "/etc/passwd", "a/../../b.h5", "" };
    for (int i = 0; i < 4; i++) {
        vj_catalog *c = make_catalog(), *read = NULL;
        free(c->sources[0].train.v[0].path);
        c->sources[0].train.v[0].path = vj_strdup(paths[i]);
        assert_ok(vj_catalog_write(c, *state));
        assert_fails(vj_catalog_read(&read, *state), VJ_ERR_DATA, "leaves the folder");
        vj_catalog_destroy(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(rows_are_located),
        cmocka_unit_test(every_edit_is_noticed),
        cmocka_unit_test(missing_things_say_what_to_do),
        cmocka_unit_test(paths_cannot_leave_the_folder),
    };
    return cmocka_run_group_tests_name("data/catalog", tests, scratch_setup, scratch_teardown);
}
