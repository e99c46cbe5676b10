// data/video_stream.c
//
// Two passes over the file: one over its packets for their times, one that decodes. A frame is shown until the next one
// comes, so a window's sample is served when a later frame (or the end) arrives.
//
// Easy to get wrong: windows overlap when more are asked for than fit side by side, so several are open at a time; and a
// frame is converted once, however many windows and crops want it.

#include "data/video_stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "data/decode_impl.h"
#include "data/probe.h"

enum { WINDOWS_MAX = 1 << 20, CLIPS_MAX = 4096, SEND_TRIES = 4, ERRORS_MAX = 16 };

typedef struct window { int64_t start_us, next; float *pixels; } window;

typedef struct stream {
    const vj_stream_config *config;
    vj_stream_fn fn;
    void *context;
    vj_scan scan;
    int64_t *shown;            // guessed times: sorted times of shown frames
    int64_t output;            // frames that came out
    window *windows;
    int64_t n, first;          // windows before `first` are done
    vj_decoder *decoder;
    vj_resampler *resampler;
    uint8_t *rgb;              // the frame before, upright
    int64_t height, width;     // upright
    AVFrame *before;
    int64_t before_us;
    bool have_before, converted;
    float *plane;              // (3, side, side)
    int64_t broken;
} stream;

static int64_t clip_floats(const vj_stream_config *c) { return c->crops * 3 * c->frames * c->side * c->side; }

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static vj_status plan(stream *s)
{
    const vj_stream_config *c = s->config;
    const double length = (double)s->scan.duration_us, span = (double)c->frames / c->fps * 1e6;
    double count = c->clips > 0 ? (double)c->clips : floor(length / span + 0.5);
    if (count < 1) count = 1;
    VJ_CHECK(count <= WINDOWS_MAX, VJ_ERR_DATA, "%.0f clips of %.3g s are too many", count, span * 1e-6);
    s->n = (int64_t)count;
    s->windows = calloc((size_t)s->n, sizeof *s->windows);
    VJ_CHECK(s->windows != NULL, VJ_ERR_NOMEM, "no memory for a list of clips");
    const double room = length > span ? length - span : 0;
    for (int64_t i = 0; i < s->n; i++) {
        double start = (double)i * span;
        if (c->clips > 0) start = s->n > 1 ? room * (double)i / (double)(s->n - 1) : room / 2;
        s->windows[i].start_us = llround(start);
    }
    if (!s->scan.guessed_times) return VJ_OK;
    s->shown = calloc((size_t)s->scan.n_packets + 1, sizeof *s->shown);
    VJ_CHECK(s->shown != NULL, VJ_ERR_NOMEM, "no memory for the times of frames");
    int64_t n = 0;
    for (int64_t i = 0; i < s->scan.n_packets; i++) {
        if (!s->scan.packets[i].hidden) s->shown[n++] = s->scan.packets[i].time_us;
    }
    qsort(s->shown, (size_t)n, sizeof *s->shown, ascending);
    s->scan.shown = n;
    return VJ_OK;
}

// ---- views ------------------------------------------------------------------------------------------------------------

// The source box behind view `v`, in whole pixels.
static vj_crop box_of(const stream *s, int v)
{
    const int64_t H = s->height, W = s->width, shorter = H < W ? H : W, longer = H < W ? W : H;
    vj_crop box = { 0 };
    if (s->config->crops == 1) {
        const int64_t resized = s->config->side * 256 / 224;
        int64_t side = llround((double)s->config->side * (double)shorter / (double)resized);
        if (side < 1) side = 1;
        if (side > shorter) side = shorter;
        box.height = box.width = side;
        box.top = (H - side) / 2;
        box.left = (W - side) / 2;
        return box;
    }
    const int64_t at = (longer - shorter) / 2 * v;
    box.height = box.width = shorter;
    if (H > W) box.top = at;
    else box.left = at;
    return box;
}

static vj_status put_sample(stream *s, window *w)
{
    const vj_stream_config *c = s->config;
    const int64_t plane = c->side * c->side;
    if (!s->converted) {
        VJ_TRY(vj_decoder_store(s->decoder, s->before, s->width, s->height, s->scan.stream.orientation, s->rgb));
        s->converted = true;
    }
    if (!w->pixels) {
        w->pixels = malloc((size_t)clip_floats(c) * sizeof *w->pixels);
        VJ_CHECK(w->pixels != NULL, VJ_ERR_NOMEM, "no memory for a clip");
    }
    for (int v = 0; v < c->crops; v++) {
        const vj_crop box = box_of(s, v);
        vj_resample(s->resampler, s->rgb, 1, s->height, s->width, &box, s->plane, 1);
        for (int k = 0; k < 3; k++) {
            memcpy(w->pixels + ((v * 3 + k) * c->frames + w->next) * plane, s->plane + k * plane, (size_t)plane * sizeof(float));
        }
    }
    w->next++;
    return VJ_OK;
}

static int64_t sample_time(const stream *s, const window *w, int64_t j) { return w->start_us + llround((double)j * 1e6 / s->config->fps); }

static vj_status finish_window(stream *s, window *w)
{
    const vj_stream_config *c = s->config;
    vj_stream_clip clip = { .index = w - s->windows, .count = s->n, .start = (double)w->start_us * 1e-6, .pixels = w->pixels };
    clip.end = clip.start + (double)c->frames / c->fps;
    for (int64_t j = 0; j < c->frames; j++) clip.repeated += sample_time(s, w, j) >= s->scan.duration_us && s->scan.duration_us > 0;
    const vj_status status = s->fn(s->context, &clip);
    free(w->pixels);
    w->pixels = NULL;
    return status;
}

// Serves every sample that the frame before is shown at, now that the next one comes at `until_us`.
static vj_status serve(stream *s, int64_t until_us)
{
    if (!s->have_before) return VJ_OK;
    for (int64_t i = s->first; i < s->n; i++) {
        window *w = &s->windows[i];
        if (w->start_us >= until_us) break;
        while (w->next < s->config->frames && sample_time(s, w, w->next) < until_us) VJ_TRY(put_sample(s, w));
    }
    while (s->first < s->n && s->windows[s->first].next == s->config->frames) VJ_TRY(finish_window(s, &s->windows[s->first++]));
    return VJ_OK;
}

// ---- decoding ---------------------------------------------------------------------------------------------------------

static vj_status take_frame(stream *s, const AVFrame *frame)
{
    const int64_t packet = frame->pts;
    if (packet < 0 || packet >= s->scan.n_packets || s->scan.packets[packet].hidden) return VJ_OK;
    int64_t time = s->scan.packets[packet].time_us;
    if (s->shown) time = s->output < s->scan.shown ? s->shown[s->output] : s->before_us;
    s->output++;
    if (s->have_before && time < s->before_us) time = s->before_us;   // times never descend
    VJ_TRY(serve(s, time));
    if (s->first == s->n) return VJ_OK;
    av_frame_unref(s->before);
    VJ_CHECK(av_frame_ref(s->before, frame) >= 0, VJ_ERR_NOMEM, "no memory for a frame");
    s->before_us = time;
    s->have_before = true;
    s->converted = false;
    return VJ_OK;
}

static vj_status receive(stream *s, AVCodecContext *ctx, AVFrame *frame)
{
    for (int errors = 0; s->first < s->n;) {
        const int rc = avcodec_receive_frame(ctx, frame);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) return VJ_OK;
        VJ_CHECK(rc != AVERROR(ENOMEM), VJ_ERR_NOMEM, "no memory for decoding a picture");
        if (rc < 0) {
            s->broken++;
            if (++errors > ERRORS_MAX) return VJ_OK;
            continue;
        }
        const bool fits = frame->width > 0 && frame->height > 0 && (int64_t)frame->width * frame->height <= (int64_t)VJ_DECODE_MAX_MEGAPIXELS * 1000000;
        const vj_status status = fits ? take_frame(s, frame) : VJ_OK;
        s->broken += !fits;
        av_frame_unref(frame);
        VJ_TRY(status);
    }
    return VJ_OK;
}

static vj_status feed(stream *s, AVCodecContext *ctx, AVFrame *frame, const AVPacket *packet)
{
    for (int attempt = 0; attempt < SEND_TRIES; attempt++) {
        const int rc = avcodec_send_packet(ctx, packet);
        VJ_CHECK(rc != AVERROR(ENOMEM), VJ_ERR_NOMEM, "no memory for decoding a packet");
        if (rc < 0 && rc != AVERROR(EAGAIN) && rc != AVERROR_EOF) s->broken++;
        VJ_TRY(receive(s, ctx, frame));
        if (rc != AVERROR(EAGAIN) || s->first == s->n) break;
    }
    return VJ_OK;
}

static vj_status decode_all(stream *s, vj_reader *reader)
{
    AVCodecContext *ctx = NULL;
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    vj_status status = frame && packet ? vj_av_open_decoder(&ctx, &s->scan.stream) : vj_fail(VJ_ERR_NOMEM, "no memory for a decoder");
    for (int64_t i = 0; status == VJ_OK && s->first < s->n && i < s->scan.n_packets && vj_reader_next(reader, packet); i++) {
        packet->pts = i;
        packet->dts = AV_NOPTS_VALUE;
        if (packet->size > 0) status = feed(s, ctx, frame, packet);
        av_packet_unref(packet);
    }
    if (status == VJ_OK && s->first < s->n) status = feed(s, ctx, frame, NULL);
    avcodec_free_context(&ctx);
    av_frame_free(&frame);
    av_packet_free(&packet);
    VJ_TRY(status);
    VJ_CHECK(s->have_before || s->first == s->n, VJ_ERR_DATA, "no frame of it can be decoded");
    return serve(s, INT64_MAX);
}

static vj_status open_stream(stream *s, const char *path)
{
    const vj_stream_config *c = s->config;
    VJ_CHECK(c->frames >= 1 && c->frames <= 1024 && c->side >= 1 && c->side <= 4096 && c->fps > 0 && c->clips >= 0 && c->clips <= CLIPS_MAX &&
                 (c->crops == 1 || c->crops == 3), VJ_ERR_USAGE,
             "clips of 1 to 1024 frames and 1 to 4096 pixels, a frame rate above 0, 0 to %d clips, 1 or 3 crops are possible", CLIPS_MAX);
    VJ_TRY(vj_scan_file(&s->scan, path));
    const bool sideways = vj_turns_sideways(s->scan.stream.orientation);
    s->height = sideways ? s->scan.stream.width : s->scan.stream.height;
    s->width = sideways ? s->scan.stream.height : s->scan.stream.width;
    VJ_CHECK(s->height >= 1 && s->width >= 1 && s->height * s->width <= (int64_t)VJ_DECODE_MAX_MEGAPIXELS * 1000000, VJ_ERR_DATA,
             "pictures of %lld x %lld are beyond the limit of %d megapixels", (long long)s->width, (long long)s->height, VJ_DECODE_MAX_MEGAPIXELS);
    VJ_TRY(plan(s));
    VJ_TRY(vj_decoder_create(&s->decoder));
    VJ_TRY(vj_resampler_create(&s->resampler, c->side));
    s->before = av_frame_alloc();
    s->rgb = malloc((size_t)(3 * s->height * s->width) + 64);
    s->plane = malloc((size_t)(3 * c->side * c->side) * sizeof *s->plane);
    VJ_CHECK(s->before && s->rgb && s->plane, VJ_ERR_NOMEM, "no memory for a frame");
    return VJ_OK;
}

vj_status vj_video_stream(const char *path, const vj_stream_config *config, vj_stream_fn fn, void *context, vj_stream_info *info)
{
    stream s = { .config = config, .fn = fn, .context = context };
    vj_reader *reader = NULL;
    vj_status status = open_stream(&s, path);
    if (status == VJ_OK) status = vj_reader_open(&reader, path);
    if (status == VJ_OK) status = decode_all(&s, reader);
    if (info) {
        *info = (vj_stream_info){ .seconds = (double)s.scan.duration_us * 1e-6, .width = s.width, .height = s.height, .clips = s.n, .broken_packets = s.broken };
        if (s.scan.fps_den > 0) info->fps = (double)s.scan.fps_num / (double)s.scan.fps_den;
    }
    vj_reader_close(&reader);
    for (int64_t i = 0; i < s.n && s.windows; i++) free(s.windows[i].pixels);
    free(s.windows);
    free(s.shown);
    free(s.rgb);
    free(s.plane);
    av_frame_free(&s.before);
    vj_resampler_destroy(&s.resampler);
    vj_decoder_destroy(&s.decoder);
    vj_scan_free(&s.scan);
    return status;
}
