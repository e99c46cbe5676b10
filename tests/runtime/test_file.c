// Files: atomic replacement, exact reads, maps, directories, names, and what is said when something is wrong.

#include "runtime/base/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/scratch.h"

static void at(char out[4200], void **state, const char *name) { vj_path_join(out, 4200, *state, name); }

static void atomic_writes_replace(void **state)
{
    char path[4200], *text = NULL;
    size_t bytes = 0;
    at(path, state, "a.txt");
    assert_ok(vj_file_write_atomic(path, "first, long", 11));
    assert_ok(vj_file_write_atomic(path, "second", 6));
    assert_ok(vj_file_read(path, &text, &bytes, 0));
    assert_int_equal(bytes, 6);
    assert_string_equal(text, "second");
    free(text);
    assert_ok(vj_file_write_atomic(path, NULL, 0));
    assert_ok(vj_file_read(path, &text, &bytes, 0));
    assert_int_equal(bytes, 0);
    assert_string_equal(text, "");
    free(text);
    char **names;
    int64_t count;
    assert_ok(vj_dir_list(*state, &names, &count));
    assert_int_equal(count, 1);   // no temporary file is left
    vj_names_free(&names, count);
    assert_ok(vj_dir_remove(path));
}

static void atomic_writes_fail_whole(void **state)
{
    char path[4200], inner[4400];
    at(path, state, "missing/a.txt");
    assert_fails(vj_file_write_atomic(path, "x", 1), VJ_ERR_IO, "No such file");
    at(path, state, "folder");
    vj_path_join(inner, sizeof inner, path, "kept");
    assert_ok(vj_dir_create(inner));
    assert_fails(vj_file_write_atomic(path, "x", 1), VJ_ERR_IO, "folder");   // a directory is not replaced
    assert_true(vj_path_is_dir(inner));
    char **names;
    int64_t count;
    assert_ok(vj_dir_list(*state, &names, &count));
    assert_int_equal(count, 1);
    vj_names_free(&names, count);
    assert_ok(vj_dir_remove(path));
}

static void reads_are_exact(void **state)
{
    char path[4200], *text = NULL, buffer[16];
    size_t bytes = 0;
    at(path, state, "ten");
    assert_ok(vj_file_write_atomic(path, "0123456789", 10));
    assert_fails(vj_file_read(path, &text, &bytes, 9), VJ_ERR_IO, "larger than 9");
    int fd;
    assert_ok(vj_io_open_read(&fd, path));
    assert_ok(vj_io_pread(fd, buffer, 4, 6, path));
    assert_memory_equal(buffer, "6789", 4);
    assert_fails(vj_io_pread(fd, buffer, 5, 6, path), VJ_ERR_IO, "truncated");
    vj_io_close(&fd);
    assert_int_equal(fd, -1);
    vj_io_close(&fd);
    const void *map;
    assert_ok(vj_file_map(path, &map, &bytes));
    assert_int_equal(bytes, 10);
    assert_memory_equal(map, "0123456789", 10);
    vj_file_unmap(map, bytes);
    assert_ok(vj_file_write_atomic(path, "", 0));
    assert_ok(vj_file_map(path, &map, &bytes));
    assert_true(map == NULL && bytes == 0);
    vj_file_unmap(map, bytes);
    assert_ok(vj_dir_remove(path));
}

// A FIFO would block, a directory cannot be read: both are said, nothing hangs.
static void odd_files_are_refused(void **state)
{
    char path[4200], *text = NULL;
    size_t bytes;
    at(path, state, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(vj_file_read(path, &text, &bytes, 0), VJ_ERR_IO, "not a regular file");
    assert_ok(vj_dir_remove(path));
    assert_fails(vj_file_read(*state, &text, &bytes, 0), VJ_ERR_IO, "not a regular file");
    assert_fails(vj_file_read(path, &text, &bytes, 0), VJ_ERR_IO, path);
}

static void creating_does_not_overwrite(void **state)
{
    char path[4200];
    int fd;
    at(path, state, "new");
    assert_ok(vj_io_create(&fd, path));
    assert_ok(vj_io_pwrite(fd, "abc", 3, 2, path));
    assert_ok(vj_io_fsync(fd, path));
    vj_io_close(&fd);
    assert_fails(vj_io_create(&fd, path), VJ_ERR_IO, "exists");
    assert_int_equal(fd, -1);
    assert_ok(vj_io_fsync_dir(*state));
    assert_ok(vj_dir_remove(path));
}

static void a_full_disk_says_what_to_do(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0) skip();
    assert_fails(vj_io_pwrite(fd, "x", 1, 0, "the file"), VJ_ERR_IO, "the file: cannot write: No space left on device; free some space");
    close(fd);
}

static void directories(void **state)
{
    char path[4200], inner[4300], outside[4200];
    at(path, state, "a//b/c/");
    assert_ok(vj_dir_create(path));
    assert_ok(vj_dir_create(path));
    at(path, state, "a");
    assert_true(vj_path_exists(path) && vj_path_is_dir(path));
    static const char *const names_made[] = { "z", "B", "a2", "a10" };
    for (int i = 0; i < 4; i++) {
        vj_path_join(inner, sizeof inner, path, names_made[i]);
        assert_ok(vj_file_write_atomic(inner, "x", 1));
        assert_true(vj_path_exists(inner) && !vj_path_is_dir(inner));
    }
    assert_fails(vj_dir_create(inner), VJ_ERR_IO, "a10");   // a file is in the way
    char **names;
    int64_t count;
    assert_ok(vj_dir_list(path, &names, &count));
    assert_int_equal(count, 5);
    static const char *const sorted[] = { "B", "a10", "a2", "b", "z" };
    for (int i = 0; i < 5; i++) assert_string_equal(names[i], sorted[i]);
    vj_names_free(&names, count);
    assert_null(names);
    // Removing does not follow links.
    at(outside, state, "outside");
    assert_ok(vj_file_write_atomic(outside, "kept", 4));
    vj_path_join(inner, sizeof inner, path, "link");
    assert_int_equal(symlink(*state, inner), 0);
    assert_ok(vj_dir_remove(path));
    assert_false(vj_path_exists(path));
    assert_true(vj_path_exists(outside));
    assert_ok(vj_dir_remove(path));   // a missing one is fine
    assert_fails(vj_dir_list(path, &names, &count), VJ_ERR_IO, path);
    assert_ok(vj_dir_remove(outside));
}

static void deep_trees_are_removed(void **state)
{
    char path[4200], name[201];
    memset(name, 'd', 200);
    name[200] = '\0';
    at(path, state, "deep");
    for (int i = 0; i < 12; i++) {
        assert_int_equal(mkdir(path, 0777), 0);
        const size_t n = strlen(path);
        vj_format(path + n, sizeof path - n, "/%s", name);
    }
    at(path, state, "deep");
    assert_ok(vj_dir_remove(path));
    assert_false(vj_path_exists(path));
}

static void names_of_paths(void **state)
{
    char out[64];
    vj_path_join(out, sizeof out, "a", "b");
    assert_string_equal(out, "a/b");
    vj_path_join(out, sizeof out, "a/", "b");
    assert_string_equal(out, "a/b");
    assert_string_equal(vj_path_base("a/b/c.h5"), "c.h5");
    assert_string_equal(vj_path_base("c.h5"), "c.h5");
    char path[4200];
    int64_t here = 0, there = 0;
    assert_ok(vj_disk_free(*state, &here));
    at(path, state, "not/yet/there");
    assert_ok(vj_disk_free(path, &there));
    assert_true(here > 0 && there > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(atomic_writes_replace),
        cmocka_unit_test(atomic_writes_fail_whole),
        cmocka_unit_test(reads_are_exact),
        cmocka_unit_test(odd_files_are_refused),
        cmocka_unit_test(creating_does_not_overwrite),
        cmocka_unit_test(a_full_disk_says_what_to_do),
        cmocka_unit_test(directories),
        cmocka_unit_test(deep_trees_are_removed),
        cmocka_unit_test(names_of_paths),
    };
    return cmocka_run_group_tests_name("runtime/file", tests, scratch_setup, scratch_teardown);
}
