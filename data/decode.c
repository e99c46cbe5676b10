// data/decode.c
//
// Chosen frames of a video sample. Packets are fed with their number as timestamp, so a frame says which packet it comes
// from; the sample's table says which packet holds frame k. For each run of wanted frames decoding starts at the last
// keyframe that is enough, goes forward, and drains; a jump is made only when it saves packets.
//
//   seek(k): the last keyframe packet at or before k's packet whose own frame is not shown after k. A frame that is
//   shown before its keyframe (a leading picture of an open group) needs the keyframe before that one.
//
// Exact skip [cluster lab, section 5]: H.264 and HEVC packets that nobody refers to are dropped undecoded unless wanted;
// the chosen frames keep their bits.

#include "data/decode.h"

#include <libavutil/mem.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/hash.h"

enum { CONTEXTS = 8, USES_OF_A_CONTEXT = 512 };

typedef struct context_slot {
    uint64_t key, used;
    AVCodecContext *ctx;
    int uses;
} context_slot;

struct vj_decoder {
    context_slot slots[CONTEXTS];
    uint64_t tick;
    vj_converters converters;
    AVFrame *frame;
    AVPacket *packet;
    uint8_t *rgb, *row;              // output; one picture before turning
    size_t rgb_capacity, row_capacity;
    vj_clip clip;
    int32_t *rank;                   // (packets) which frame comes from a packet, -1 none
    uint8_t *wanted;                 // (packets)
    double cpu_limit;
};

vj_status vj_decoder_create(vj_decoder **out)
{
    *out = NULL;
    vj_av_start();
    vj_decoder *d = calloc(1, sizeof *d);
    VJ_CHECK(d != NULL, VJ_ERR_NOMEM, "no memory for a decoder");
    d->cpu_limit = VJ_DECODE_MAX_SECONDS;
    d->frame = av_frame_alloc();
    d->packet = av_packet_alloc();
    d->rank = malloc(VJ_CLIP_MAX_PACKETS * sizeof *d->rank);
    d->wanted = malloc(VJ_CLIP_MAX_PACKETS);
    if (d->frame == NULL || d->packet == NULL || d->rank == NULL || d->wanted == NULL) {
        vj_decoder_destroy(&d);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for a decoder");
    }
    *out = d;
    return VJ_OK;
}

void vj_decoder_destroy(vj_decoder **decoder)
{
    vj_decoder *d = *decoder;
    if (d == NULL) return;
    for (int i = 0; i < CONTEXTS; i++) avcodec_free_context(&d->slots[i].ctx);
    vj_converters_free(&d->converters);
    av_frame_free(&d->frame);
    av_packet_free(&d->packet);
    vj_clip_free(&d->clip);
    free(d->rgb);
    free(d->row);
    free(d->rank);
    free(d->wanted);
    free(d);
    *decoder = NULL;
}

void vj_decoder_cpu_limit(vj_decoder *decoder, double seconds) { decoder->cpu_limit = seconds; }
vj_converters *vj_decoder_converters(vj_decoder *decoder) { return &decoder->converters; }
AVFrame *vj_decoder_frame(vj_decoder *decoder) { return decoder->frame; }
AVPacket *vj_decoder_packet(vj_decoder *decoder) { return decoder->packet; }

static vj_status grow(uint8_t **data, size_t *capacity, size_t bytes)
{
    if (bytes <= *capacity) return VJ_OK;
    free(*data);
    *data = aligned_alloc(64, (bytes + 63) / 64 * 64);
    *capacity = *data != NULL ? bytes : 0;
    VJ_CHECK(*data != NULL, VJ_ERR_NOMEM, "no memory for %zu bytes of pictures", bytes);
    return VJ_OK;
}

vj_status vj_decoder_output(vj_decoder *d, int64_t n, int64_t height, int64_t width, uint8_t **rgb)
{
    const int64_t limit = (int64_t)VJ_DECODE_MAX_MEGABYTES << 20;
    VJ_CHECK(n >= 1 && height >= 1 && width >= 1 && height * width <= (int64_t)VJ_DECODE_MAX_MEGAPIXELS * 1000000 &&
                 n <= limit / (height * width * 3),
             VJ_ERR_DATA, "%lld pictures of %lld x %lld need more than %d MiB", (long long)n, (long long)width, (long long)height,
             VJ_DECODE_MAX_MEGABYTES);
    VJ_TRY(grow(&d->rgb, &d->rgb_capacity, (size_t)(n * height * width * 3)));
    *rgb = d->rgb;
    return VJ_OK;
}

vj_status vj_decoder_store(vj_decoder *d, const AVFrame *frame, int64_t width, int64_t height, int orientation, uint8_t *out)
{
    // The converter wants padded rows; turning (or copying) packs them.
    const int w = (int)(vj_turns_sideways(orientation) ? height : width), h = (int)(vj_turns_sideways(orientation) ? width : height);
    const int stride = (w * 3 + 64 + 63) / 64 * 64;
    VJ_TRY(grow(&d->row, &d->row_capacity, (size_t)stride * (size_t)(h + 1)));
    uint8_t *const dst[4] = { d->row, NULL, NULL, NULL };
    const int strides[4] = { stride, 0, 0, 0 };
    VJ_TRY(vj_rgb_convert(&d->converters, frame, w, h, AV_PIX_FMT_RGB24, dst, strides));
    vj_turn_rgb(out, d->row, w, h, stride, orientation);
    return VJ_OK;
}

// ---- running packets through a codec -------------------------------------------------------------------------------

static uint64_t clip_key(const vj_clip *c)
{
    struct { char codec[24], pix_fmt[24]; uint64_t extradata; uint32_t v[7]; } id;
    memset(&id, 0, sizeof id);
    memcpy(id.codec, c->codec, sizeof id.codec);
    memcpy(id.pix_fmt, c->pix_fmt, sizeof id.pix_fmt);
    id.extradata = vj_xxh64(c->extradata_bytes > 0 ? c->extradata : (const unsigned char *)"", (size_t)c->extradata_bytes);
    const uint32_t v[7] = { (uint32_t)c->delay, c->codec_tag, c->bits_per_sample, (uint32_t)c->width, (uint32_t)c->height, (uint32_t)c->color_range,
                            (uint32_t)c->color_space };
    memcpy(id.v, v, sizeof v);
    return vj_xxh64(&id, sizeof id);
}

// A flushed context that fits the clip.
static vj_status take_context(vj_decoder *d, const vj_clip *clip, context_slot **out)
{
    const uint64_t key = clip_key(clip);
    context_slot *best = &d->slots[0];
    for (int i = 0; i < CONTEXTS; i++) {
        context_slot *s = &d->slots[i];
        if (s->ctx != NULL && s->key == key) {
            best = s;
            break;
        }
        if (s->used < best->used) best = s;
    }
    if (best->ctx == NULL || best->key != key || best->uses >= USES_OF_A_CONTEXT) {
        avcodec_free_context(&best->ctx);
        best->uses = 0;
        VJ_TRY(vj_av_open_decoder(&best->ctx, clip));
        best->key = key;
    }
    best->uses++;
    best->used = ++d->tick;
    *out = best;
    return VJ_OK;
}

static bool skips_exactly(const AVCodecContext *ctx)
{
    return ctx->codec_id == AV_CODEC_ID_H264 || ctx->codec_id == AV_CODEC_ID_HEVC;
}

// Hands over every frame that is ready.
static vj_status receive(vj_decoder *d, AVCodecContext *ctx, vj_clip_frame_fn fn, void *context, int64_t *broken, bool *stop)
{
    for (int errors = 0; !*stop;) {
        const int rc = avcodec_receive_frame(ctx, d->frame);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) return VJ_OK;
        if (rc == AVERROR(ENOMEM)) VJ_FAIL(VJ_ERR_NOMEM, "no memory for decoding a picture");
        if (rc < 0) {
            ++*broken;
            if (++errors > 16) return VJ_OK;   // a decoder that only complains while draining
            continue;
        }
        const AVFrame *f = d->frame;
        vj_status status = VJ_OK;
        if (f->width > 0 && f->height > 0 && (int64_t)f->width * f->height <= (int64_t)VJ_DECODE_MAX_MEGAPIXELS * 1000000) {
            status = fn(context, f->pts, f, stop);
        } else {
            ++*broken;
        }
        av_frame_unref(d->frame);
        if (status != VJ_OK) return status;
    }
    return VJ_OK;
}

static vj_status feed(vj_decoder *d, AVCodecContext *ctx, vj_clip_frame_fn fn, void *context, int64_t *broken, bool *stop,
                      const AVPacket *packet)
{
    for (int attempt = 0; attempt < 4; attempt++) {
        const int rc = avcodec_send_packet(ctx, packet);
        if (rc == AVERROR(ENOMEM)) VJ_FAIL(VJ_ERR_NOMEM, "no memory for decoding a packet");
        if (rc < 0 && rc != AVERROR(EAGAIN) && rc != AVERROR_EOF) ++*broken;
        VJ_TRY(receive(d, ctx, fn, context, broken, stop));
        if (rc != AVERROR(EAGAIN) || *stop) break;
    }
    return VJ_OK;
}

vj_status vj_decoder_run(vj_decoder *d, const vj_clip *clip, int64_t first, int64_t last, const uint8_t *wanted,
                         vj_clip_frame_fn fn, void *context, int64_t *broken)
{
    context_slot *slot;
    VJ_TRY(take_context(d, clip, &slot));
    AVCodecContext *ctx = slot->ctx;
    vj_status status = VJ_OK;
    bool stop = false;
    const double end = vj_thread_seconds() + d->cpu_limit;
    const bool skips = wanted != NULL && skips_exactly(ctx);
    vj_av_text_clear();
    for (int64_t i = first; i <= last && !stop; i++) {
        const vj_clip_packet *p = &clip->packets[i];
        if (p->bytes == 0) continue;   // libav would take it for the end
        AVPacket *packet = d->packet;
        packet->data = (uint8_t *)(uintptr_t)(clip->payload + p->offset);   // not counted: libav copies it, padded
        packet->size = (int)p->bytes;
        packet->pts = i;
        packet->dts = AV_NOPTS_VALUE;
        packet->flags = p->key ? AV_PKT_FLAG_KEY : 0;
        ctx->skip_frame = skips && !wanted[i] ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
        status = feed(d, ctx, fn, context, broken, &stop, packet);
        packet->data = NULL;
        packet->size = 0;
        if (status != VJ_OK) break;
        if (vj_thread_seconds() > end) {
            status = vj_fail(VJ_ERR_DATA, "decoding took more than %.0f s of CPU time", d->cpu_limit);
            break;
        }
    }
    if (status == VJ_OK && !stop) status = feed(d, ctx, fn, context, broken, &stop, NULL);
    avcodec_flush_buffers(ctx);
    if (status != VJ_OK || *broken > 0) slot->uses = USES_OF_A_CONTEXT;   // a context that met damage is not used again
    return status;
}

// ---- chosen frames -------------------------------------------------------------------------------------------------

typedef struct selection {
    vj_decoder *d;
    const vj_sample_info *info;
    const int64_t *index;
    int64_t n;
    uint8_t *rgb;
    int64_t picture;        // bytes of one
    int64_t begin, end;     // the part of `index` that is being served
    int64_t served;         // in [begin, end]: everything before is there
    int64_t decoded;
    uint8_t *have;          // (n)
} selection;

static vj_status take_frame(void *context, int64_t packet, const AVFrame *frame, bool *stop)
{
    selection *s = context;
    s->decoded++;
    if (packet < 0 || packet >= s->d->clip.n_packets) return VJ_OK;
    const int64_t k = s->d->rank[packet];
    if (k < 0 || !s->d->wanted[packet]) return VJ_OK;
    for (int64_t i = s->begin; i < s->end; i++) {
        if (s->index[i] != k || s->have[i]) continue;
        VJ_TRY(vj_decoder_store(s->d, frame, s->info->width, s->info->height, s->info->orientation, s->rgb + i * s->picture));
        s->have[i] = 1;
        for (int64_t j = i + 1; j < s->end && s->index[j] == k; j++) {
            memcpy(s->rgb + j * s->picture, s->rgb + i * s->picture, (size_t)s->picture);
            s->have[j] = 1;
        }
        break;
    }
    while (s->served < s->end && s->have[s->served]) s->served++;
    *stop = s->served == s->end;
    return VJ_OK;
}

static int64_t seek_packet(const vj_decoder *d, int64_t k)
{
    for (int64_t p = d->clip.frames[k].packet; p > 0; p--) {
        if (d->clip.packets[p].key && d->rank[p] <= k) return p;
    }
    return 0;
}

// Serves index[begin..): the run of wanted frames for which going on is not longer than jumping. Returns its end.
static vj_status serve_run(selection *s, int64_t begin, int64_t *end, int64_t *broken)
{
    const vj_clip *clip = &s->d->clip;
    int64_t first = seek_packet(s->d, s->index[begin]), last = clip->frames[s->index[begin]].packet, i = begin + 1;
    for (; i < s->n; i++) {
        const int64_t seek = seek_packet(s->d, s->index[i]), packet = clip->frames[s->index[i]].packet;
        if (seek > last + 1) break;
        if (seek < first) first = seek;
        if (packet > last) last = packet;
    }
    s->begin = s->served = begin;
    s->end = *end = i;
    VJ_TRY(vj_decoder_run(s->d, clip, first, last, s->d->wanted, take_frame, s, broken));
    if (s->served == s->end) return VJ_OK;
    // The table says that decoding everything gives these frames: damaged or odd streams get the long way.
    return vj_decoder_run(s->d, clip, 0, clip->n_packets - 1, NULL, take_frame, s, broken);
}

// Missing frames repeat the one before (the first ones the one after).
static vj_status fill_gaps(selection *s, int64_t broken, int64_t *repeated)
{
    int64_t missing = 0, first = -1;
    for (int64_t i = 0; i < s->n; i++) {
        if (!s->have[i]) missing++;
        else if (first < 0) first = i;
    }
    VJ_CHECK(first >= 0 && (double)missing <= VJ_DECODE_FRAME_TOLERANCE * (double)s->n, VJ_ERR_DATA,
             "%lld of %lld wanted frames cannot be decoded (%lld broken packets)", (long long)missing, (long long)s->n, (long long)broken);
    for (int64_t i = 0; missing > 0 && i < s->n; i++) {
        if (s->have[i]) continue;
        memcpy(s->rgb + i * s->picture, s->rgb + (i < first ? first : i - 1) * s->picture, (size_t)s->picture);
    }
    *repeated = missing;
    return VJ_OK;
}

static vj_status prepare(selection *s, const void *data, size_t bytes)
{
    vj_decoder *d = s->d;
    VJ_TRY(vj_clip_parse(&d->clip, data, bytes));
    memset(d->wanted, 0, (size_t)d->clip.n_packets);
    for (int64_t i = 0; i < d->clip.n_packets; i++) d->rank[i] = -1;
    for (int64_t k = 0; k < d->clip.n_frames; k++) d->rank[d->clip.frames[k].packet] = (int32_t)k;
    for (int64_t i = 0; i < s->n; i++) {
        VJ_CHECK(s->index[i] >= 0 && s->index[i] < d->clip.n_frames && (i == 0 || s->index[i] >= s->index[i - 1]), VJ_ERR_DATA,
                 "frame %lld is wanted, the sample has %lld", (long long)s->index[i], (long long)d->clip.n_frames);
        d->wanted[d->clip.frames[s->index[i]].packet] = 1;
    }
    return vj_decoder_output(d, s->n, s->info->height, s->info->width, &s->rgb);
}

vj_status vj_decode_frames(vj_decoder *decoder, const vj_sample_info *info, const void *data, size_t bytes,
                           const int64_t *index, int64_t n, vj_frames *out)
{
    *out = (vj_frames){ 0 };
    VJ_CHECK(n >= 1 && n <= VJ_CLIP_MAX_PACKETS, VJ_ERR_DATA, "%lld frames of a sample are wanted", (long long)n);
    if (info->media != VJ_MEDIA_CLIP) {
        VJ_CHECK(n == 1 && index[0] == 0, VJ_ERR_DATA, "an image has one frame");
        return vj_decode_image(decoder, info, data, bytes, out);
    }
    selection s = { .d = decoder, .info = info, .index = index, .n = n };
    s.picture = (int64_t)info->width * info->height * 3;
    VJ_TRY(prepare(&s, data, bytes));
    s.have = calloc((size_t)n, 1);
    VJ_CHECK(s.have != NULL, VJ_ERR_NOMEM, "no memory for decoding");
    vj_status status = VJ_OK;
    int64_t broken = 0;
    for (int64_t i = 0; status == VJ_OK && i < n;) status = serve_run(&s, i, &i, &broken);
    if (status == VJ_OK) status = fill_gaps(&s, broken, &out->repeated);
    free(s.have);
    if (status != VJ_OK) return status;
    out->rgb = s.rgb;
    out->n = n;
    out->height = info->height;
    out->width = info->width;
    out->decoded = s.decoded;
    return VJ_OK;
}

vj_status vj_decode_index_at(const vj_sample_info *info, const void *data, size_t bytes, const double *seconds, int64_t n,
                             int64_t *index)
{
    if (info->media != VJ_MEDIA_CLIP) {
        for (int64_t i = 0; i < n; i++) index[i] = 0;
        return VJ_OK;
    }
    vj_clip clip = { 0 };
    vj_status status = vj_clip_parse(&clip, data, bytes);
    int64_t k = 0;
    for (int64_t i = 0; status == VJ_OK && i < n; i++) {
        // Half a microsecond of slack: the table is in whole microseconds.
        while (k + 1 < clip.n_frames && (double)clip.frames[k + 1].time_us <= seconds[i] * 1e6 + 0.5) k++;
        index[i] = k;
    }
    vj_clip_free(&clip);
    return status;
}
