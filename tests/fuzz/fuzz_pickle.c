// The subset of pickle.

#include "checkpoints/pt_pickle.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vj_pk *p = NULL;
    const vj_status status = vj_pk_parse(&p, data, size, "fuzz");
    if (status == VJ_OK) (void)vj_pk_get(vj_pk_root(p), "encoder");
    vj_pk_destroy(&p);
    fuzz_status(status);
    return 0;
}
