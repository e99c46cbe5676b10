// IDX files of images, plain and gzipped.

#include "data/idx_images.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vj_idx *idx = NULL;
    const vj_status status = vj_idx_open(&idx, fuzz_file(data, size));
    if (status == VJ_OK) {
        int width, height;
        vj_idx_size(idx, &width, &height);
        unsigned char *gray = malloc((size_t)width * (size_t)height + 1);
        if (!gray) abort();
        int32_t label;
        for (int i = 0; i < 64 && i < vj_idx_count(idx); i++) {
            if (vj_idx_next(idx, gray, &label) != VJ_OK) break;
        }
        free(gray);
        vj_error_clear();
    }
    vj_idx_close(&idx);
    fuzz_status(status);
    return 0;
}
