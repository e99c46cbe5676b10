// data/decode_rgb.c
//
// Frames to RGB through libswscale, with the tables of its contexts kept between frames, and turning pictures upright.
//
// Easy to get wrong: "yuvj" formats are ordinary ones with full range; the colour matrix must be the frame's own (HD
// files say BT.709, most others say nothing and mean BT.601).

#include "data/decode_impl.h"

#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <string.h>

static int plain_format(int format, int *full_range)
{
    switch (format) {
    case AV_PIX_FMT_YUVJ420P: *full_range = 1; return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P: *full_range = 1; return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P: *full_range = 1; return AV_PIX_FMT_YUV444P;
    case AV_PIX_FMT_YUVJ440P: *full_range = 1; return AV_PIX_FMT_YUV440P;
    case AV_PIX_FMT_YUVJ411P: *full_range = 1; return AV_PIX_FMT_YUV411P;
    default: return format;
    }
}

static int matrix_of(int space)
{
    switch (space) {
    case AVCOL_SPC_BT709: return SWS_CS_ITU709;
    case AVCOL_SPC_FCC: return SWS_CS_FCC;
    case AVCOL_SPC_SMPTE240M: return SWS_CS_SMPTE240M;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL: return SWS_CS_BT2020;
    default: return SWS_CS_ITU601;
    }
}

static vj_status open_converter(vj_converter *v, const vj_converter *want)
{
    sws_freeContext(v->sws);
    *v = *want;
    const char *name = av_get_pix_fmt_name(v->format);
    VJ_CHECK(sws_isSupportedInput(v->format), VJ_ERR_DATA, "pictures of format %s cannot be converted to RGB", name != NULL ? name : "?");
    const bool scales = v->width != v->to_width || v->height != v->to_height;
    v->sws = sws_getContext(v->width, v->height, v->format, v->to_width, v->to_height, v->to_format,
                            scales ? SWS_BICUBIC | SWS_ACCURATE_RND : SWS_BICUBIC, NULL, NULL, NULL);
    VJ_CHECK(v->sws != NULL, VJ_ERR_DATA, "pictures of %d x %d in format %s cannot be converted", v->width, v->height,
             name != NULL ? name : "?");
    const int *table = sws_getCoefficients(matrix_of(v->space));
    // Fails for sources without a matrix (RGB, gray), which is right: there is nothing to set.
    (void)sws_setColorspaceDetails(v->sws, table, v->full_range, table, 0, 0, 1 << 16, 1 << 16);
    return VJ_OK;
}

vj_status vj_rgb_convert(vj_converters *c, const AVFrame *frame, int to_width, int to_height, int to_format, uint8_t *const dst[4],
                     const int stride[4])
{
    const AVPixFmtDescriptor *descriptor = av_pix_fmt_desc_get(frame->format);
    const bool gray = descriptor != NULL && descriptor->nb_components <= 2 && (descriptor->flags & AV_PIX_FMT_FLAG_RGB) == 0;
    // Gray pictures use the full range unless they say otherwise (PNG and JPEG say nothing).
    int full = frame->color_range == AVCOL_RANGE_JPEG || (gray && frame->color_range == AVCOL_RANGE_UNSPECIFIED) ? 1 : 0;
    const int format = plain_format(frame->format, &full);
    vj_converter want = { .width = frame->width, .height = frame->height, .format = format, .to_width = to_width,
                          .to_height = to_height, .to_format = to_format, .space = frame->colorspace, .full_range = full };
    vj_converter *best = &c->slot[0];
    for (int i = 0; i < VJ_CONVERTERS; i++) {
        vj_converter *v = &c->slot[i];
        if (v->sws != NULL && v->width == want.width && v->height == want.height && v->format == want.format &&
            v->to_width == to_width && v->to_height == to_height && v->to_format == to_format && v->space == want.space &&
            v->full_range == full) {
            best = v;
            break;
        }
        if (v->used < best->used) best = v;
    }
    if (best->sws == NULL || best->width != want.width || best->height != want.height || best->format != want.format ||
        best->to_width != to_width || best->to_height != to_height || best->to_format != to_format ||
        best->space != want.space || best->full_range != full) {
        VJ_TRY(open_converter(best, &want));
    }
    best->used = ++c->tick;
    const int rows = sws_scale(best->sws, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height, dst, stride);
    VJ_CHECK(rows == to_height, VJ_ERR_DATA, "converting a picture gave %d rows of %d", rows, to_height);
    return VJ_OK;
}

void vj_converters_free(vj_converters *c)
{
    for (int i = 0; i < VJ_CONVERTERS; i++) sws_freeContext(c->slot[i].sws);
    *c = (vj_converters){ 0 };
}

void vj_turn_rgb(uint8_t *dst, const uint8_t *src, int width, int height, int64_t src_stride, int orientation)
{
    const int out_w = vj_turns_sideways(orientation) ? height : width, out_h = vj_turns_sideways(orientation) ? width : height;
    if (orientation == 1 || orientation == 4) {   // whole rows, top down or bottom up
        for (int y = 0; y < height; y++) {
            memcpy(dst + (int64_t)y * width * 3, src + (int64_t)(orientation == 1 ? y : height - 1 - y) * src_stride, (size_t)width * 3);
        }
        return;
    }
    for (int y = 0; y < out_h; y++) {
        uint8_t *d = dst + (int64_t)y * out_w * 3;
        for (int x = 0; x < out_w; x++, d += 3) {
            int sy = 0, sx = 0;
            switch (orientation) {
            case 2: sy = y, sx = width - 1 - x; break;                 // mirrored
            case 3: sy = height - 1 - y, sx = width - 1 - x; break;    // upside down
            case 5: sy = x, sx = y; break;                             // transposed
            case 6: sy = height - 1 - x, sx = y; break;                // shown after a quarter turn clockwise
            case 7: sy = height - 1 - x, sx = width - 1 - y; break;    // transposed along the other diagonal
            default: sy = x, sx = width - 1 - y; break;                // 8: a quarter turn counter-clockwise
            }
            memcpy(d, src + (int64_t)sy * src_stride + (int64_t)sx * 3, 3);
        }
    }
}
