// The catalogue of shards.

#include "data/catalog.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vj_catalog *c = NULL;
    const vj_status status = vj_catalog_read(&c, fuzz_folder("catalog.json", data, size));
    vj_catalog_destroy(&c);
    fuzz_status(status);
    return 0;
}
