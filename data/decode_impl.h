// What the files that use libav share. Private to data/decode_*.c, data/recode.c, data/probe.c and data/pack_*.c.
#ifndef VJ_DATA_DECODE_IMPL_H
#define VJ_DATA_DECODE_IMPL_H

#include <libavcodec/avcodec.h>
#include <libavutil/frame.h>

#include "data/clip.h"
#include "data/decode.h"

struct SwsContext;

// --- decode_av.c: libav's odds and ends ---
void vj_av_start(void);               // once per process: silence; cheap afterwards
// Words for a libav error: its name and the last thing libav wanted to print on this thread.
const char *vj_av_text(int error);
void vj_av_text_clear(void);
// A decoder for the packets of `clip`, single-threaded, with our limits.
vj_status vj_av_open_decoder(AVCodecContext **out, const vj_clip *clip) VJ_MUST_CHECK;
// Orientation 1..8 of a display matrix (9 x int32, as side data carries it).
int vj_av_orientation(const uint8_t *matrix, size_t bytes);

// --- decode_rgb.c: frames to RGB ---
enum { VJ_CONVERTERS = 8 };
typedef struct vj_converter {
    int width, height, format, to_width, to_height, to_format, space, full_range;
    uint64_t used;
    struct SwsContext *sws;
} vj_converter;
typedef struct vj_converters {
    vj_converter slot[VJ_CONVERTERS];
    uint64_t tick;
} vj_converters;
// Scales and converts to a picture of to_width x to_height in `to_format` at dst/stride (planes as libav wants them; rows
// of RGB need up to 64 bytes of slack). Unspecified colour spaces are BT.601, as libswscale has it.
vj_status vj_rgb_convert(vj_converters *c, const AVFrame *frame, int to_width, int to_height, int to_format, uint8_t *const dst[4],
                     const int stride[4]) VJ_MUST_CHECK;
void vj_converters_free(vj_converters *c);
// Turns a picture upright: src (height, width, 3) with rows of src_stride bytes -> dst, packed, (width, height, 3) for
// orientations above 4 and (height, width, 3) else.
void vj_turn_rgb(uint8_t *dst, const uint8_t *src, int width, int height, int64_t src_stride, int orientation);
static inline bool vj_turns_sideways(int orientation) { return orientation >= 5; }

// --- decode.c ---
// Called for every frame the decoder gives, in presentation order, with the number of the packet it comes from. Set
// *stop to end early.
typedef vj_status (*vj_clip_frame_fn)(void *context, int64_t packet, const AVFrame *frame, bool *stop);
// Feeds packets [first, last] of a parsed clip and drains. `wanted` (n_packets) or NULL: frames of other packets may be
// skipped when nothing depends on them. Broken packets are counted in *broken and passed over.
vj_status vj_decoder_run(vj_decoder *decoder, const vj_clip *clip, int64_t first, int64_t last, const uint8_t *wanted,
                         vj_clip_frame_fn fn, void *context, int64_t *broken) VJ_MUST_CHECK;
void vj_decoder_cpu_limit(vj_decoder *decoder, double seconds);   // for the next calls
vj_converters *vj_decoder_converters(vj_decoder *decoder);

// --- decode_image.c ---
// Decodes one picture file; *frame stays valid until the decoder's next call.
vj_status vj_decoder_picture(vj_decoder *decoder, vj_media media, const void *data, size_t bytes, const AVFrame **frame,
                             int *orientation) VJ_MUST_CHECK;
AVFrame *vj_decoder_frame(vj_decoder *decoder);
AVPacket *vj_decoder_packet(vj_decoder *decoder);
// (n, height, width, 3) bytes for the output, within the limit; the slack for one row follows.
vj_status vj_decoder_output(vj_decoder *decoder, int64_t n, int64_t height, int64_t width, uint8_t **rgb) VJ_MUST_CHECK;
// Writes `frame` as picture `out` (upright, packed).
vj_status vj_decoder_store(vj_decoder *decoder, const AVFrame *frame, int64_t width, int64_t height, int orientation,
                           uint8_t *out) VJ_MUST_CHECK;

#endif
