// Pictures: the first byte chooses the kind that the row claims.

#include "data/decode.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static vj_decoder *decoder;
    static const vj_media kinds[] = { VJ_MEDIA_JPEG, VJ_MEDIA_PNG, VJ_MEDIA_GRAY8, VJ_MEDIA_OTHER_IMAGE };
    if (!decoder && vj_decoder_create(&decoder) != VJ_OK) abort();
    if (size < 1 || size > 1 << 20) return 0;
    uint8_t *padded = calloc(1, size + 64);
    if (!padded) abort();
    memcpy(padded, data + 1, size - 1);
    const vj_sample_info info = { .bytes = (int64_t)size - 1, .n_frames = 1, .width = 32, .height = 24, .orientation = 1, .media = kinds[data[0] % 4] };
    vj_frames frames;
    const vj_status status = vj_decode_image(decoder, &info, padded, size - 1, &frames);
    free(padded);
    fuzz_status(status);
    return 0;
}
