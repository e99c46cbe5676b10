// Files and directories. Everything that others may read is written under a temporary name, synced, then renamed.
// All writes of the program that must survive a crash go through the vj_io_* calls: the fault shim counts and can stop
// the process at any of them (VJ_FAULT, see runtime/base/fault.h).
#ifndef VJ_RUNTIME_BASE_FILE_H
#define VJ_RUNTIME_BASE_FILE_H

#include <sys/types.h>

#include "runtime/base/status.h"

// --- checked system calls, each a named point for the fault shim; messages name the path and the reason ---
vj_status vj_io_create(int *fd, const char *path) VJ_MUST_CHECK;       // O_CREAT|O_EXCL|O_CLOEXEC, mode 0666 & ~umask
vj_status vj_io_open_read(int *fd, const char *path) VJ_MUST_CHECK;
vj_status vj_io_pwrite(int fd, const void *data, size_t bytes, off_t offset, const char *path) VJ_MUST_CHECK;
vj_status vj_io_pread(int fd, void *data, size_t bytes, off_t offset, const char *path) VJ_MUST_CHECK;   // all or error
vj_status vj_io_fsync(int fd, const char *path) VJ_MUST_CHECK;
vj_status vj_io_fsync_dir(const char *path) VJ_MUST_CHECK;
vj_status vj_io_rename(const char *from, const char *to) VJ_MUST_CHECK;
void vj_io_close(int *fd);                                             // sets -1

// --- whole files ---
// Writes PATH.tmp-PID, syncs, renames over PATH, syncs the directory.
vj_status vj_file_write_atomic(const char *path, const void *data, size_t bytes) VJ_MUST_CHECK;
// The whole file, NUL-terminated (the NUL is not counted); free() it. `limit` bounds the size (0: 1 GiB).
vj_status vj_file_read(const char *path, char **data, size_t *bytes, size_t limit) VJ_MUST_CHECK;
// Read-only map; an empty file gives *data = NULL, *bytes = 0.
vj_status vj_file_map(const char *path, const void **data, size_t *bytes) VJ_MUST_CHECK;
void vj_file_unmap(const void *data, size_t bytes);

// --- directories and names ---
bool vj_path_exists(const char *path);
bool vj_path_is_dir(const char *path);
vj_status vj_dir_create(const char *path) VJ_MUST_CHECK;                // with parents; existing is fine
// Names in a directory without "." and "..", sorted bytewise; free with vj_names_free.
vj_status vj_dir_list(const char *path, char ***names, int64_t *count) VJ_MUST_CHECK;
void vj_names_free(char ***names, int64_t count);
vj_status vj_dir_remove(const char *path) VJ_MUST_CHECK;                // recursive; a missing one is fine
void vj_path_join(char *out, size_t size, const char *dir, const char *name);
const char *vj_path_base(const char *path);                             // after the last slash
vj_status vj_disk_free(const char *path, int64_t *bytes) VJ_MUST_CHECK; // of the file system that holds path (or its parent)

#endif
