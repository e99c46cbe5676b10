// Lists of files to pack. What is taken must be usable: names that are not empty and differ, labels from -1.

#include "data/pack_impl.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vj_pack_files files;
    const vj_status status = vj_pack_csv(&files, fuzz_file(data, size));
    for (int64_t i = 0; status == VJ_OK && i < files.n; i++) {
        if (files.v[i].name[0] == '\0' || files.v[i].label < -1) abort();
        if (i > 0 && strcmp(files.v[i].name, files.v[i - 1].name) == 0) abort();
    }
    vj_pack_files_free(&files);
    fuzz_status(status);
    return 0;
}
