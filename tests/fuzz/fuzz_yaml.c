// Configuration files: a whole run's YAML.

#include "configs/run_config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vj_run_config config;
    vj_config *origins = NULL;
    const vj_status status = vj_run_config_load(&config, &origins, fuzz_file(data, size), NULL, 0);
    if (status == VJ_OK) {   // what loads must resolve to a text that loads
        vj_str text = { 0 };
        vj_config_resolved(origins, false, &text);
        vj_config_destroy(&origins);
        if (vj_run_config_load(&config, &origins, fuzz_file((const uint8_t *)vj_str_text(&text), text.length), NULL, 0) != VJ_OK) abort();
        vj_str_free(&text);
    }
    vj_config_destroy(&origins);
    fuzz_status(status);
    return 0;
}
