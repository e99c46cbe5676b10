// Manifests of checkpoints. Their checksum would stop every change, so it is made right here: what is looked at is the body.

#include "checkpoints/checkpoint.h"
#include "runtime/base/hash.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vj_str text = { 0 };
    vj_str_printf(&text, "{\"xxh64\":\"%016llx\",\"body\":", (unsigned long long)vj_xxh64(data, size));
    vj_str_add_n(&text, (const char *)data, size);
    vj_str_add(&text, "}\n");
    const char *folder = fuzz_folder("manifest.json", (const uint8_t *)text.data, text.length);
    vj_str_free(&text);
    vj_checkpoint *c = NULL;
    vj_status status = vj_checkpoint_open(&c, folder, false);
    if (status == VJ_OK) {
        char hex[65];
        status = vj_checkpoint_hash(c, hex, NULL);   // its shards are missing: must be an error, not a crash
        if (status == VJ_OK && vj_checkpoint_file(c, 0, &(int64_t){ 0 }) != NULL) abort();
    }
    vj_checkpoint_destroy(&c);
    fuzz_status(status);
    return 0;
}
