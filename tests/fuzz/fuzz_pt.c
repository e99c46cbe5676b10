// Whole PyTorch files: zip, pickle, storages, and what weights make of them.

#include "checkpoints/pt.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float values[4096];
    vj_pt *f = NULL;
    const vj_status status = vj_pt_open(&f, fuzz_file(data, size));
    for (int64_t i = 0; status == VJ_OK && i < vj_pt_count(f); i++) {
        const vj_pt_tensor *t = vj_pt_at(f, i);
        const int64_t n = t->count < 4096 ? t->count : 4096;
        if (vj_pt_read(f, i, t->count - n, n, values) != VJ_OK) fuzz_status(VJ_ERR_CONFIG);
    }
    double v;
    if (status == VJ_OK) (void)vj_pt_number(f, "opt/param_groups/0/lr", &v);
    vj_pt_close(&f);
    fuzz_status(status);
    return 0;
}
