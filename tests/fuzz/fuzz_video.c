// Video files of any container and codec, through the streaming reader with all limits.

#include "data/video_stream.h"
#include "tests/fuzz/fuzz.h"

static vj_status see(void *context, const vj_stream_clip *clip)
{
    int *n = context;
    (void)clip;
    return ++*n < 4 ? VJ_OK : vj_fail(VJ_ERR_STOPPED, "enough");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const vj_stream_config c = { .frames = 2, .side = 16, .fps = 4, .crops = 1 };
    int n = 0;
    vj_stream_info info;
    const vj_status status = vj_video_stream(fuzz_file(data, size), &c, see, &n, &info);
    fuzz_status(status);
    return 0;
}
