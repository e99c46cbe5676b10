// JSON, and lines of metrics-like objects walked through.

#include "runtime/base/json.h"
#include "tests/fuzz/fuzz.h"

static void walk(const vj_json *v, int depth)
{
    int64_t i;
    double f;
    (void)vj_json_as_text(v);
    (void)vj_json_as_i64(v, &i);
    (void)vj_json_as_f64(v, &f);
    for (int64_t k = 0; k < vj_json_count(v) && depth < 64; k++) {
        const char *key;
        walk(vj_json_is_array(v) ? vj_json_at(v, k) : vj_json_member(v, k, &key), depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vj_json_doc *doc = NULL;
    const vj_status status = vj_json_parse(&doc, (const char *)data, size, "fuzz");
    if (status == VJ_OK) walk(vj_json_root(doc), 0);
    vj_json_destroy(&doc);
    fuzz_status(status);
    return 0;
}
