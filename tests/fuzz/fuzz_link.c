// Records of linked samples, as a foreign shard may hold them: what is asked of the original file lies inside it.

#include "data/link.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { FILE_BYTES = 4096 };
    static const char *path;
    static struct stat st;
    static vj_bytes out;
    if (!path) {
        uint8_t content[FILE_BYTES];
        for (int i = 0; i < FILE_BYTES; i++) content[i] = (uint8_t)(i * 31 + (i >> 8));
        path = fuzz_file(content, sizeof content);
        if (stat(path, &st) != 0) abort();
    }
    if (size > 1 << 14) return 0;
    const vj_link_file file = { .path = path, .root = "/proc", .bytes = FILE_BYTES,
                                .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec };
    vj_status status = vj_link_read(&out, data, size, &file);
    if (status == VJ_OK && out.bytes < 1) abort();
    // Whether its checksum is right must not decide how much of it is looked at.
    if (status == VJ_ERR_DATA && size >= 24) {
        uint8_t *copy = malloc(size);
        if (!copy) abort();
        memcpy(copy, data, size);
        const char *text = strstr(vj_error_text(), "checksum ");
        uint32_t crc;
        if (text && sscanf(text, "checksum %8x", &crc) == 1) {
            memcpy(copy + 4, &crc, 4);
            status = vj_link_read(&out, copy, size, &file);
            if (status != VJ_OK) abort();
        }
        free(copy);
    }
    fuzz_status(status);
    return 0;
}
