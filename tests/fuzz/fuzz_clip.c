// Our packet format: parsed, and its frames decoded through the limits of the loader.

#include "data/clip.h"
#include "data/decode.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static vj_decoder *decoder;
    if (!decoder && vj_decoder_create(&decoder) != VJ_OK) abort();
    if (size > 1 << 20) return 0;
    uint8_t *padded = calloc(1, size + 64);
    if (!padded) abort();
    if (size > 0) memcpy(padded, data, size);
    vj_clip clip = { 0 };
    vj_status status = vj_clip_parse(&clip, padded, size);
    if (status == VJ_OK && clip.n_frames > 0) {
        const vj_sample_info info = { .bytes = (int64_t)size, .n_frames = clip.n_frames, .width = 64, .height = 48, .orientation = 1, .media = VJ_MEDIA_CLIP };
        const int64_t index[2] = { 0, clip.n_frames - 1 };
        vj_frames frames;
        status = vj_decode_frames(decoder, &info, padded, size, index, 2, &frames);
    }
    vj_clip_free(&clip);
    free(padded);
    fuzz_status(status);
    return 0;
}
