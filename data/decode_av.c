// data/decode_av.c
//
// libav's odds and ends: its log is counted and kept for messages instead of being printed, decoders are opened with our
// limits, display matrices become one of eight orientations.

#include "data/decode_impl.h"

#include <libavutil/avutil.h>
#include <libavutil/display.h>
#include <libavutil/log.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/str.h"

static atomic_llong log_warnings, log_errors;
static __thread char last_line[160];
static pthread_once_t started = PTHREAD_ONCE_INIT;

// Called by libav on the thread that works, which is ours: every codec has one thread.
static void take_log(void *object, int level, const char *fmt, va_list args)
{
    (void)object;
    if (level > AV_LOG_WARNING) return;
    if (level > AV_LOG_ERROR) {
        atomic_fetch_add(&log_warnings, 1);
        return;
    }
    atomic_fetch_add(&log_errors, 1);
    vsnprintf(last_line, sizeof last_line, fmt, args);
    for (char *c = last_line; *c != '\0'; c++) {
        if ((unsigned char)*c < 32 || *c == 127) *c = ' ';   // bytes of a hostile file must not reach a terminal
    }
    size_t n = strlen(last_line);
    while (n > 0 && last_line[n - 1] == ' ') last_line[--n] = '\0';
}

static void start_once(void) { av_log_set_callback(take_log); }

void vj_av_start(void) { pthread_once(&started, start_once); }

void vj_libav_log_get(vj_libav_log *out)
{
    out->warnings = atomic_load(&log_warnings);
    out->errors = atomic_load(&log_errors);
}

void vj_av_text_clear(void) { last_line[0] = '\0'; }

const char *vj_av_text(int error)
{
    static __thread char text[320];
    char name[AV_ERROR_MAX_STRING_SIZE] = "unknown error";
    av_strerror(error, name, sizeof name);
    if (last_line[0] != '\0') snprintf(text, sizeof text, "%s (%s)", name, last_line);
    else snprintf(text, sizeof text, "%s", name);
    return text;
}

static vj_status set_parameters(AVCodecContext *ctx, const vj_clip *clip)
{
    ctx->codec_tag = clip->codec_tag;
    ctx->bits_per_coded_sample = (int)clip->bits_per_sample;
    ctx->has_b_frames = clip->delay;
    ctx->width = ctx->coded_width = clip->width;
    ctx->height = ctx->coded_height = clip->height;
    ctx->color_range = (enum AVColorRange)clip->color_range;
    ctx->colorspace = (enum AVColorSpace)clip->color_space;
    if (clip->pix_fmt[0] != '\0') {
        ctx->pix_fmt = av_get_pix_fmt(clip->pix_fmt);
        VJ_CHECK(ctx->pix_fmt != AV_PIX_FMT_NONE, VJ_ERR_DATA, "unknown pixel format '%s'", clip->pix_fmt);
    }
    if (clip->extradata_bytes > 0) {
        ctx->extradata = av_mallocz((size_t)clip->extradata_bytes + AV_INPUT_BUFFER_PADDING_SIZE);
        VJ_CHECK(ctx->extradata != NULL, VJ_ERR_NOMEM, "no memory for a decoder");
        memcpy(ctx->extradata, clip->extradata, (size_t)clip->extradata_bytes);
        ctx->extradata_size = (int)clip->extradata_bytes;
    }
    return VJ_OK;
}

vj_status vj_av_open_decoder(AVCodecContext **out, const vj_clip *clip)
{
    vj_status status = VJ_OK;
    *out = NULL;
    vj_av_start();
    const AVCodecDescriptor *descriptor = avcodec_descriptor_get_by_name(clip->codec);
    VJ_CHECK(descriptor != NULL && descriptor->type == AVMEDIA_TYPE_VIDEO, VJ_ERR_DATA, "'%s' is no video codec", clip->codec);
    const AVCodec *codec = avcodec_find_decoder(descriptor->id);
    VJ_CHECK(codec != NULL, VJ_ERR_DATA, "this libavcodec has no decoder for %s", clip->codec);
    AVCodecContext *ctx = avcodec_alloc_context3(codec);
    VJ_CHECK(ctx != NULL, VJ_ERR_NOMEM, "no memory for a decoder");
    VJ_TRY_GOTO(set_parameters(ctx, clip), fail);
    ctx->thread_count = 1;
    ctx->max_pixels = (int64_t)VJ_DECODE_MAX_MEGAPIXELS * 1000000;
    ctx->pkt_timebase = (AVRational){ 1, 1 };
    vj_av_text_clear();
    const int rc = avcodec_open2(ctx, codec, NULL);
    if (rc < 0) {
        status = vj_fail(rc == AVERROR(ENOMEM) ? VJ_ERR_NOMEM : VJ_ERR_DATA, "the %s decoder cannot start: %s", clip->codec, vj_av_text(rc));
        goto fail;
    }
    *out = ctx;
    return VJ_OK;
fail:
    avcodec_free_context(&ctx);
    return status;
}

int vj_av_orientation(const uint8_t *matrix, size_t bytes)
{
    int32_t m[9];
    if (matrix == NULL || bytes < sizeof m) return 1;
    memcpy(m, matrix, sizeof m);
    const double counter_clockwise = av_display_rotation_get(m);
    if (isnan(counter_clockwise)) return 1;
    const int quarter = (int)lround(-counter_clockwise / 90.0) & 3;   // clockwise quarter turns
    static const int orientation[4] = { 1, 6, 3, 8 };
    return orientation[quarter];
}
