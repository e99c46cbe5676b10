// safetensors: headers, offsets, every tensor read.

#include "checkpoints/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vj_safetensors *f = NULL;
    const vj_status status = vj_safetensors_open(&f, fuzz_file(data, size));
    unsigned sum = 0;
    for (int64_t i = 0; status == VJ_OK && i < vj_safetensors_count(f); i++) {
        const vj_st_entry *e = vj_safetensors_at(f, i);
        for (size_t k = 0; k < e->bytes; k++) sum += ((const unsigned char *)e->data)[k];
        if (vj_safetensors_find(f, e->name) == NULL) abort();
    }
    if (status == VJ_OK) (void)vj_safetensors_meta(f, "heads");
    vj_safetensors_close(&f);
    fuzz_status(status);
    return sum == 1 ? 0 : 0;
}
