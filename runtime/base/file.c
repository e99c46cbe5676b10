// Checked file work. Every message names the path and the system's reason; a full or read-only disk also says what to do.

#include "runtime/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "runtime/base/fault.h"
#include "runtime/base/str.h"

static vj_status io_error(const char *verb, const char *path, int error)
{
    const char *advice = "";
    if (error == ENOSPC || error == EDQUOT) advice = "; free some space and start again, nothing that was saved is lost";
    if (error == EROFS || error == EACCES || error == EPERM) advice = "; choose a place that may be written";
    if (error == EMFILE || error == ENFILE) advice = "; raise the limit of open files (ulimit -n)";
    return vj_fail(VJ_ERR_IO, "%s: cannot %s: %s%s", path, verb, strerror(error), advice);
}

vj_status vj_io_create(int *fd, const char *path)
{
    *fd = -1;
    if (vj_fault_point("create", path)) return io_error("create", path, ENOSPC);
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return *fd >= 0 ? VJ_OK : io_error("create", path, errno);
}

vj_status vj_io_open_read(int *fd, const char *path)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return io_error("read", path, errno);
    struct stat st;
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        vj_io_close(fd);
        VJ_FAIL(VJ_ERR_IO, "%s: cannot read: it is not a regular file", path);
    }
    return VJ_OK;
}

vj_status vj_io_pwrite(int fd, const void *data, size_t bytes, off_t offset, const char *path)
{
    const size_t all = bytes;
    const bool full = vj_fault_point("pwrite", path);
    if (full) bytes = vj_fault_short() ? bytes / 2 : 0;
    const char *p = data;
    while (bytes > 0) {
        const size_t part = bytes < ((size_t)1 << 30) ? bytes : (size_t)1 << 30;
        const ssize_t n = pwrite(fd, p, part, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return io_error("write", path, n < 0 ? errno : EIO);
        p += n;
        offset += n;
        bytes -= (size_t)n;
    }
    if (full) return io_error("write", path, ENOSPC);
    vj_fault_written(all);
    return VJ_OK;
}

vj_status vj_io_pread(int fd, void *data, size_t bytes, off_t offset, const char *path)
{
    char *p = data;
    while (bytes > 0) {
        const size_t part = bytes < ((size_t)1 << 30) ? bytes : (size_t)1 << 30;
        const ssize_t n = vj_fault_pread(fd, p, part, offset, path);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_error("read", path, errno);
        VJ_CHECK(n > 0, VJ_ERR_IO, "%s: ends at byte %lld, %zu more were expected: the file is truncated", path,
                 (long long)offset, bytes);
        p += n;
        offset += n;
        bytes -= (size_t)n;
    }
    return VJ_OK;
}

vj_status vj_io_fsync(int fd, const char *path)
{
    if (vj_fault_point("fsync", path)) return io_error("sync", path, ENOSPC);
    return fsync(fd) == 0 ? VJ_OK : io_error("sync", path, errno);
}

vj_status vj_io_fsync_dir(const char *path)
{
    if (vj_fault_point("fsync_dir", path)) return io_error("sync", path, ENOSPC);
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return io_error("open", path, errno);
    const int result = fsync(fd), error = errno;
    close(fd);
    // Some file systems cannot sync a directory and say EINVAL: there is nothing more to do there.
    return result == 0 || error == EINVAL ? VJ_OK : io_error("sync", path, error);
}

vj_status vj_io_rename(const char *from, const char *to)
{
    if (vj_fault_point("rename", to)) return io_error("rename to it", to, ENOSPC);
    return rename(from, to) == 0 ? VJ_OK : io_error("rename to it", to, errno);
}

void vj_io_close(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void parent_of(char *out, size_t size, const char *path)
{
    vj_format(out, size, "%s", path);
    char *slash = strrchr(out, '/');
    if (!slash) vj_format(out, size, ".");
    else if (slash == out) out[1] = '\0';
    else *slash = '\0';
}

vj_status vj_file_write_atomic(const char *path, const void *data, size_t bytes)
{
    char temporary[1100], parent[1100];
    VJ_CHECK(strlen(path) < 1024, VJ_ERR_IO, "%.80s...: the path is too long", path);
    vj_format(temporary, sizeof temporary, "%s.tmp-%d", path, (int)getpid());
    parent_of(parent, sizeof parent, path);
    unlink(temporary);   // of an earlier process with our number
    int fd = -1;
    vj_status status = VJ_OK;
    VJ_TRY_GOTO(vj_io_create(&fd, temporary), fail);
    VJ_TRY_GOTO(vj_io_pwrite(fd, data, bytes, 0, temporary), fail);
    VJ_TRY_GOTO(vj_io_fsync(fd, temporary), fail);
    vj_io_close(&fd);
    VJ_TRY_GOTO(vj_io_rename(temporary, path), fail);
    return vj_io_fsync_dir(parent);
fail:
    vj_io_close(&fd);
    unlink(temporary);
    return status;
}

vj_status vj_file_read(const char *path, char **data, size_t *bytes, size_t limit)
{
    if (limit == 0) limit = (size_t)1 << 30;
    int fd = -1;
    VJ_TRY(vj_io_open_read(&fd, path));
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size < 0 || (uint64_t)st.st_size > limit) {
        vj_io_close(&fd);
        VJ_FAIL(VJ_ERR_IO, "%s: is larger than %zu bytes, too large for what it should hold", path, limit);
    }
    char *p = malloc((size_t)st.st_size + 1);
    vj_status status = p ? vj_io_pread(fd, p, (size_t)st.st_size, 0, path) : vj_fail(VJ_ERR_NOMEM, "no memory to read %s", path);
    vj_io_close(&fd);
    if (status != VJ_OK) {
        free(p);
        return status;
    }
    p[st.st_size] = '\0';
    *data = p;
    if (bytes) *bytes = (size_t)st.st_size;
    return VJ_OK;
}

vj_status vj_file_map(const char *path, const void **data, size_t *bytes)
{
    *data = NULL;
    *bytes = 0;
    int fd = -1;
    VJ_TRY(vj_io_open_read(&fd, path));
    struct stat st;
    vj_status status = fstat(fd, &st) == 0 ? VJ_OK : io_error("read", path, errno);
    if (status == VJ_OK && st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) status = io_error("map", path, errno);
        else {
            *data = p;
            *bytes = (size_t)st.st_size;
        }
    }
    vj_io_close(&fd);
    return status;
}

void vj_file_unmap(const void *data, size_t bytes)
{
    if (data) munmap((void *)(uintptr_t)data, bytes);
}

bool vj_path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool vj_path_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

vj_status vj_dir_create(const char *path)
{
    char part[1100];
    VJ_CHECK(path[0] && strlen(path) < sizeof part, VJ_ERR_IO, "%.80s: no usable name for a directory", path);
    vj_format(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0') continue;
        const char kept = *p;
        *p = '\0';
        if (mkdir(part, 0777) != 0 && !(errno == EEXIST && vj_path_is_dir(part))) return io_error("make the directory", part, errno);
        if (kept == '\0') return VJ_OK;
        *p = kept;
        while (p[1] == '/') p++;
        if (p[1] == '\0') return VJ_OK;
    }
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

vj_status vj_dir_list(const char *path, char ***names, int64_t *count)
{
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(path);
    if (!dir) return io_error("list", path, errno);
    char **list = NULL;
    int64_t n = 0, capacity = 0;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 32;
            char **grown = realloc(list, (size_t)capacity * sizeof *list);
            if (!grown) {
                vj_names_free(&list, n);
                closedir(dir);
                VJ_FAIL(VJ_ERR_NOMEM, "no memory to list %s", path);
            }
            list = grown;
        }
        list[n++] = vj_strdup(entry->d_name);
    }
    closedir(dir);
    if (n) qsort(list, (size_t)n, sizeof *list, by_name);
    *names = list;
    *count = n;
    return VJ_OK;
}

void vj_names_free(char ***names, int64_t count)
{
    for (int64_t i = 0; i < count; i++) free((*names)[i]);
    free(*names);
    *names = NULL;
}

vj_status vj_dir_remove(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0) return errno == ENOENT ? VJ_OK : io_error("remove", path, errno);
    if (!S_ISDIR(st.st_mode)) return unlink(path) == 0 ? VJ_OK : io_error("remove", path, errno);
    char **names = NULL;
    int64_t count = 0;
    VJ_TRY(vj_dir_list(path, &names, &count));
    vj_status status = VJ_OK;
    for (int64_t i = 0; i < count && status == VJ_OK; i++) {
        vj_str inner = { 0 };   // a tree may be deeper than any fixed buffer
        vj_str_printf(&inner, "%s/%s", path, names[i]);
        status = vj_dir_remove(vj_str_text(&inner));
        vj_str_free(&inner);
    }
    vj_names_free(&names, count);
    VJ_TRY(status);
    return rmdir(path) == 0 ? VJ_OK : io_error("remove", path, errno);
}

void vj_path_join(char *out, size_t size, const char *dir, const char *name)
{
    const size_t n = strlen(dir);
    vj_format(out, size, n > 0 && dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

const char *vj_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

vj_status vj_disk_free(const char *path, int64_t *bytes)
{
    char part[1100];
    vj_format(part, sizeof part, "%.1000s", path);
    struct statvfs fs;
    while (statvfs(part, &fs) != 0) {
        if (errno != ENOENT || strcmp(part, ".") == 0 || strcmp(part, "/") == 0) return io_error("ask for free space", part, errno);
        char parent[1100];
        parent_of(parent, sizeof parent, part);
        vj_format(part, sizeof part, "%s", parent);
    }
    *bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    return VJ_OK;
}
