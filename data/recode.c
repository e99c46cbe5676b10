// data/recode.c
//
// libx264 on one thread: yuv420p, constant rate, fixed groups of pictures, no B-frames, headers in front of every
// keyframe (so that a decoder may start there with nothing else). The same window gives the same bytes.
//
// Picture j of the new video shows what the old one showed at (j + 1/2) / fps: for constant rates that is frame j itself
// whatever the rounding of its timestamp.

#include "data/recode.h"

#include <libavutil/opt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode_impl.h"

enum { MAX_FPS_TERM = 1000000 };

struct vj_recoder {
    vj_recode_config config;
    AVRational fps;
    int64_t wanted, sent;         // pictures
    AVCodecContext *encoder;
    AVFrame *current, *scaled;    // what is shown now; the encoder's input
    bool have_current, scaled_is_current;
    AVPacket *packet;
    vj_converters converters;
    vj_bytes payload;
    vj_clip clip;                 // packets of the result
};

vj_status vj_recode_check(void)
{
    VJ_CHECK(avcodec_find_encoder_by_name("libx264") != NULL, VJ_ERR_CONFIG,
             "this libavcodec has no libx264, which re-encoding needs; install Debian's libavcodec or leave out --recode");
    return VJ_OK;
}

vj_status vj_recoder_create(vj_recoder **out, const vj_recode_config *config, int32_t fps_num, int32_t fps_den, int64_t duration_us)
{
    *out = NULL;
    vj_av_start();
    vj_recoder *r = calloc(1, sizeof *r);
    VJ_CHECK(r != NULL, VJ_ERR_NOMEM, "no memory for an encoder");
    r->config = *config;
    r->current = av_frame_alloc();
    r->scaled = av_frame_alloc();
    r->packet = av_packet_alloc();
    AVRational fps = { fps_num, fps_den };
    if (av_q2d(fps) > config->max_fps) fps = av_d2q(config->max_fps, MAX_FPS_TERM);
    av_reduce(&r->fps.num, &r->fps.den, fps.num, fps.den, MAX_FPS_TERM);   // MPEG time bases have small terms
    r->wanted = llround((double)duration_us * 1e-6 * av_q2d(r->fps));
    if (r->wanted < 1) r->wanted = 1;
    if (r->current == NULL || r->scaled == NULL || r->packet == NULL) {
        vj_recoder_destroy(&r);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for an encoder");
    }
    if (r->wanted > VJ_CLIP_MAX_PACKETS) {
        const long long wanted = (long long)r->wanted;
        vj_recoder_destroy(&r);
        VJ_FAIL(VJ_ERR_DATA, "a sample would have %lld frames, the limit is %d: cut the videos with --window", wanted, VJ_CLIP_MAX_PACKETS);
    }
    *out = r;
    return VJ_OK;
}

// Even sizes with the wanted short side.
static void target_size(const vj_recode_config *config, int width, int height, int *w, int *h)
{
    const int shorter = width < height ? width : height;
    const double scale = shorter > config->side ? (double)config->side / shorter : 1.0;
    *w = scale < 1.0 ? 2 * (int)lround(width * scale / 2) : width & ~1;
    *h = scale < 1.0 ? 2 * (int)lround(height * scale / 2) : height & ~1;
    if (*w < 2) *w = 2;
    if (*h < 2) *h = 2;
}

static vj_status open_encoder(vj_recoder *r, const AVFrame *frame)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    VJ_TRY(vj_recode_check());
    AVCodecContext *e = avcodec_alloc_context3(codec);
    VJ_CHECK(e != NULL, VJ_ERR_NOMEM, "no memory for an encoder");
    r->encoder = e;
    target_size(&r->config, frame->width, frame->height, &e->width, &e->height);
    e->pix_fmt = AV_PIX_FMT_YUV420P;
    e->time_base = av_inv_q(r->fps);
    e->framerate = r->fps;
    e->gop_size = r->config.gop;
    e->keyint_min = r->config.gop;
    e->max_b_frames = 0;
    e->thread_count = 1;
    e->colorspace = frame->colorspace == AVCOL_SPC_BT709 ? AVCOL_SPC_BT709 : AVCOL_SPC_UNSPECIFIED;
    e->color_range = AVCOL_RANGE_MPEG;
    av_opt_set(e->priv_data, "preset", "medium", 0);
    av_opt_set(e->priv_data, "tune", "fastdecode", 0);   // no CABAC, no loop filter: half the decoding time, 10 % more bytes
    av_opt_set_double(e->priv_data, "crf", r->config.crf, 0);
    av_opt_set(e->priv_data, "x264-params", "scenecut=0:open-gop=0:force-cfr=1", 0);
    vj_av_text_clear();
    const int rc = avcodec_open2(e, codec, NULL);
    VJ_CHECK(rc >= 0, VJ_ERR_DATA, "the encoder does not take %d x %d pictures: %s", e->width, e->height, vj_av_text(rc));
    r->scaled->format = e->pix_fmt;
    r->scaled->width = e->width;
    r->scaled->height = e->height;
    VJ_CHECK(av_frame_get_buffer(r->scaled, 0) >= 0, VJ_ERR_NOMEM, "no memory for an encoder");
    return VJ_OK;
}

static vj_status take_packets(vj_recoder *r)
{
    for (;;) {
        const int rc = avcodec_receive_packet(r->encoder, r->packet);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) return VJ_OK;
        VJ_CHECK(rc >= 0, VJ_ERR_DATA, "encoding failed: %s", vj_av_text(rc));
        const int64_t i = r->clip.n_packets;
        VJ_CHECK(i < r->wanted && r->packet->pts == i, VJ_ERR_BUG, "the encoder gave packet %lld with time %lld", (long long)i,
                 (long long)r->packet->pts);
        r->clip.packets[i] = (vj_clip_packet){ .offset = (int64_t)r->payload.bytes, .bytes = (uint32_t)r->packet->size,
                                               .key = (r->packet->flags & AV_PKT_FLAG_KEY) != 0 };
        r->clip.n_packets++;
        const vj_status status = vj_bytes_add(&r->payload, r->packet->data, (size_t)r->packet->size);
        av_packet_unref(r->packet);
        VJ_TRY(status);
    }
}

// Encodes the current picture once more.
static vj_status emit(vj_recoder *r)
{
    if (r->encoder == NULL) VJ_TRY(open_encoder(r, r->current));
    if (!r->scaled_is_current) {
        VJ_CHECK(av_frame_make_writable(r->scaled) >= 0, VJ_ERR_NOMEM, "no memory for an encoder");
        VJ_TRY(vj_rgb_convert(&r->converters, r->current, r->scaled->width, r->scaled->height, AV_PIX_FMT_YUV420P, r->scaled->data,
                          r->scaled->linesize));
        r->scaled_is_current = true;
    }
    r->scaled->pts = r->sent++;
    const int rc = avcodec_send_frame(r->encoder, r->scaled);
    VJ_CHECK(rc >= 0, VJ_ERR_DATA, "encoding failed: %s", vj_av_text(rc));
    return take_packets(r);
}

vj_status vj_recoder_frame(vj_recoder *r, const AVFrame *frame, int64_t time_us)
{
    if (r->clip.packets == NULL) VJ_TRY(vj_clip_reserve(&r->clip, r->wanted, r->wanted));
    while (r->have_current && r->sent < r->wanted && ((double)r->sent + 0.5) / av_q2d(r->fps) * 1e6 < (double)time_us) VJ_TRY(emit(r));
    av_frame_unref(r->current);
    VJ_CHECK(av_frame_ref(r->current, frame) >= 0, VJ_ERR_NOMEM, "no memory for an encoder");
    r->have_current = true;
    r->scaled_is_current = false;
    return VJ_OK;
}

vj_status vj_recoder_finish(vj_recoder *r, vj_clip *clip, int32_t *fps_num, int32_t *fps_den)
{
    VJ_CHECK(r->have_current, VJ_ERR_DATA, "no frame of the window can be decoded");
    while (r->sent < r->wanted) VJ_TRY(emit(r));
    const int rc = avcodec_send_frame(r->encoder, NULL);
    VJ_CHECK(rc >= 0, VJ_ERR_DATA, "encoding failed: %s", vj_av_text(rc));
    VJ_TRY(take_packets(r));
    VJ_CHECK(r->clip.n_packets == r->wanted, VJ_ERR_BUG, "the encoder gave %lld packets for %lld pictures", (long long)r->clip.n_packets,
             (long long)r->wanted);
    vj_clip *c = &r->clip;
    memcpy(c->codec, "h264", 5);
    c->width = r->encoder->width;
    c->height = r->encoder->height;
    c->color_range = AVCOL_RANGE_MPEG;
    c->color_space = r->encoder->colorspace;
    c->orientation = 1;
    c->n_frames = r->wanted;
    for (int64_t i = 0; i < r->wanted; i++) {
        c->frames[i] = (vj_clip_frame){ .packet = (uint32_t)i, .time_us = llround((double)i / av_q2d(r->fps) * 1e6) };
    }
    c->payload = r->payload.data;
    c->payload_bytes = (int64_t)r->payload.bytes;
    *clip = *c;
    *fps_num = r->fps.num;
    *fps_den = r->fps.den;
    return VJ_OK;
}

void vj_recoder_destroy(vj_recoder **recoder)
{
    vj_recoder *r = *recoder;
    if (r == NULL) return;
    avcodec_free_context(&r->encoder);
    av_frame_free(&r->current);
    av_frame_free(&r->scaled);
    av_packet_free(&r->packet);
    vj_converters_free(&r->converters);
    vj_bytes_free(&r->payload);
    vj_clip_free(&r->clip);
    free(r);
    *recoder = NULL;
}
