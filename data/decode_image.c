// data/decode_image.c
//
// Pictures. The whole file is one packet of its codec; no demuxer is involved. Orientation comes from EXIF (JPEG).

#include "data/decode.h"

#include <libavutil/dict.h>
#include <string.h>

#include "data/decode_impl.h"
#include "runtime/base/str.h"

static const char *codec_of(vj_media media, const unsigned char *p, size_t bytes)
{
    if (media == VJ_MEDIA_JPEG) return "mjpeg";
    if (media == VJ_MEDIA_PNG) return "png";
    if (bytes >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0) return "webp";
    if (bytes >= 2 && memcmp(p, "BM", 2) == 0) return "bmp";
    return NULL;
}

// EXIF orientation; the JPEG decoder gives it as text, a PNG or WebP decoder as a display matrix.
static int orientation_of(const AVFrame *frame)
{
    const AVDictionaryEntry *entry = av_dict_get(frame->metadata, "Orientation", NULL, 0);
    if (entry != NULL) {
        const char *text = entry->value;
        while (*text == ' ') text++;
        if (text[0] >= '1' && text[0] <= '8' && (text[1] == '\0' || text[1] == ' ' || text[1] == '\n')) return text[0] - '0';
    }
    const AVFrameSideData *side = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    return side != NULL ? vj_av_orientation(side->data, side->size) : 1;
}

vj_status vj_decoder_picture(vj_decoder *decoder, vj_media media, const void *data, size_t bytes, const AVFrame **frame,
                             int *orientation)
{
    const char *name = codec_of(media, data, bytes);
    VJ_CHECK(name != NULL, VJ_ERR_DATA, "these bytes are no picture that can be decoded (JPEG, PNG, WebP, BMP)");
    VJ_CHECK(bytes >= 8 && bytes <= (size_t)VJ_DECODE_MAX_MEGABYTES << 20, VJ_ERR_DATA, "a picture of %zu bytes", bytes);
    vj_clip clip = { .orientation = 1, .color_space = AVCOL_SPC_UNSPECIFIED };
    vj_format(clip.codec, sizeof clip.codec, "%s", name);
    AVCodecContext *ctx = NULL;
    VJ_TRY(vj_av_open_decoder(&ctx, &clip));   // cheap for pictures, and no state is carried over
    AVFrame *f = vj_decoder_frame(decoder);
    AVPacket *packet = vj_decoder_packet(decoder);
    av_frame_unref(f);
    packet->data = (uint8_t *)(uintptr_t)data;
    packet->size = (int)bytes;
    packet->pts = packet->dts = 0;
    packet->flags = AV_PKT_FLAG_KEY;
    int rc = avcodec_send_packet(ctx, packet);
    packet->data = NULL;
    packet->size = 0;
    if (rc >= 0) rc = avcodec_receive_frame(ctx, f);
    if (rc == AVERROR(EAGAIN)) {
        (void)avcodec_send_packet(ctx, NULL);
        rc = avcodec_receive_frame(ctx, f);
    }
    avcodec_free_context(&ctx);
    if (rc < 0) {
        av_frame_unref(f);
        VJ_FAIL(rc == AVERROR(ENOMEM) ? VJ_ERR_NOMEM : VJ_ERR_DATA, "the picture cannot be decoded: %s", vj_av_text(rc));
    }
    *orientation = orientation_of(f);
    *frame = f;
    return VJ_OK;
}

static vj_status decode_gray(vj_decoder *decoder, const vj_sample_info *info, const unsigned char *gray, size_t bytes, vj_frames *out)
{
    uint8_t *rgb;
    const int64_t pixels = (int64_t)info->width * info->height;
    VJ_CHECK((int64_t)bytes == pixels, VJ_ERR_DATA, "%zu bytes for a gray picture of %d x %d", bytes, (int)info->width, (int)info->height);
    VJ_TRY(vj_decoder_output(decoder, 1, info->height, info->width, &rgb));
    for (int64_t i = 0; i < pixels; i++) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = gray[i];
    *out = (vj_frames){ .rgb = rgb, .n = 1, .height = info->height, .width = info->width, .decoded = 1 };
    return VJ_OK;
}

vj_status vj_decode_image(vj_decoder *decoder, const vj_sample_info *info, const void *data, size_t bytes, vj_frames *out)
{
    *out = (vj_frames){ 0 };
    VJ_CHECK(info->width >= 1 && info->height >= 1, VJ_ERR_DATA, "a picture of %d x %d pixels", (int)info->width, (int)info->height);
    if (info->media == VJ_MEDIA_GRAY8) return decode_gray(decoder, info, data, bytes, out);
    const AVFrame *frame;
    int orientation;
    uint8_t *rgb;
    VJ_TRY(vj_decoder_picture(decoder, info->media, data, bytes, &frame, &orientation));
    VJ_TRY(vj_decoder_output(decoder, 1, info->height, info->width, &rgb));
    VJ_TRY(vj_decoder_store(decoder, frame, info->width, info->height, info->orientation, rgb));
    av_frame_unref(vj_decoder_frame(decoder));
    *out = (vj_frames){ .rgb = rgb, .n = 1, .height = info->height, .width = info->width, .decoded = 1 };
    return VJ_OK;
}
