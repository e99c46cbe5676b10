// What the targets share: bytes as a file without a disk, and the entry that libFuzzer or replay.c calls.
#ifndef VJ_TESTS_FUZZ_FUZZ_H
#define VJ_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A path under which exactly these bytes are read; the next call changes them.
static inline const char *fuzz_file(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        if (fd < 0) abort();
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0 || (size > 0 && pwrite(fd, data, size, 0) != (ssize_t)size)) abort();
    return path;
}

// The same as a file NAME in a folder of this process; returns the folder.
static inline const char *fuzz_folder(const char *name, const uint8_t *data, size_t size)
{
    static char folder[64], path[160];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/dev/shm/vjepa-fuzz-XXXXXX");
        if (!mkdtemp(folder)) abort();
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    if (!f || (size > 0 && fwrite(data, 1, size, f) != size) || fclose(f) != 0) abort();
    return folder;
}

// A parser that refuses must say why, and its message must not stay for the next.
static inline void fuzz_status(vj_status status)
{
    if (status != VJ_OK && vj_error_text()[0] == '\0') abort();
    vj_error_clear();
}

#endif
