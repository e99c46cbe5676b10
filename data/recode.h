// Re-encoding a window: small, constant rate, short groups of pictures, so that training decodes few frames per clip.
#ifndef VJ_DATA_RECODE_H
#define VJ_DATA_RECODE_H

#include "data/clip.h"

typedef struct vj_recode_config {
    int side;          // short side in pixels; smaller videos keep their size
    int gop, crf;
    double max_fps;    // 30
} vj_recode_config;

typedef struct vj_recoder vj_recoder;
struct AVFrame;

// VJ_ERR_CONFIG when this libavcodec has no libx264.
vj_status vj_recode_check(void) VJ_MUST_CHECK;
// One window of `duration_us`; frames come at `fps` or less. The encoder starts with the first frame.
vj_status vj_recoder_create(vj_recoder **out, const vj_recode_config *config, int32_t fps_num, int32_t fps_den,
                            int64_t duration_us) VJ_MUST_CHECK;
// The next decoded frame, shown at time_us of the window; times never descend.
vj_status vj_recoder_frame(vj_recoder *recoder, const struct AVFrame *frame, int64_t time_us) VJ_MUST_CHECK;
// Ends the window. `clip` is a view into the recoder's memory, valid until it is destroyed.
vj_status vj_recoder_finish(vj_recoder *recoder, vj_clip *clip, int32_t *fps_num, int32_t *fps_den) VJ_MUST_CHECK;
void vj_recoder_destroy(vj_recoder **recoder);

#endif
