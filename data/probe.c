// data/probe.c
//
// Containers, seen from outside. A file is opened with a list of harmless demuxers and the file protocol alone, so that
// a playlist or a crafted name cannot lead to other files or to the network.

#include "data/probe.h"

#include <errno.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/decode_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/str.h"

static const char demuxers[] = "mov,matroska,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,gif,apng,mxf,yuv4mpegpipe,ivf,h264,hevc,m4v,"
                               "mjpeg,dv,nut,av1,obu";
enum { MAX_FILE_PACKETS = 16 << 20 };

struct vj_reader {
    AVFormatContext *format;
    int stream;
    double cpu_end;
    bool late;
};

static int interrupted(void *context)
{
    vj_reader *r = context;
    if (vj_thread_seconds() > r->cpu_end) r->late = true;
    return r->late ? 1 : 0;
}

static vj_status find_streams(AVFormatContext *format)
{
    const unsigned n = format->nb_streams;
    AVDictionary **options = calloc(n + 1, sizeof *options);
    VJ_CHECK(options != NULL, VJ_ERR_NOMEM, "no memory for opening a video");
    for (unsigned i = 0; i < n; i++) {
        av_dict_set(&options[i], "threads", "1", 0);
        av_dict_set_int(&options[i], "max_pixels", (int64_t)VJ_DECODE_MAX_MEGAPIXELS * 1000000, 0);
    }
    const int rc = avformat_find_stream_info(format, options);
    for (unsigned i = 0; i < n; i++) av_dict_free(&options[i]);
    free(options);
    VJ_CHECK(rc >= 0, VJ_ERR_DATA, "its streams cannot be read: %s", vj_av_text(rc));
    return VJ_OK;
}

vj_status vj_reader_open(vj_reader **out, const char *path)
{
    vj_status status = VJ_OK;
    struct stat st;
    AVDictionary *options = NULL;

    *out = NULL;
    vj_av_start();
    VJ_CHECK(stat(path, &st) == 0, VJ_ERR_DATA, "it cannot be opened: %s", strerror(errno));
    VJ_CHECK(!S_ISDIR(st.st_mode), VJ_ERR_DATA, "it is a folder, a video file was expected");
    VJ_CHECK(S_ISREG(st.st_mode), VJ_ERR_DATA, "it is not a regular file");
    VJ_CHECK(st.st_size > 0, VJ_ERR_DATA, "it is empty");
    vj_reader *r = calloc(1, sizeof *r);
    VJ_CHECK(r != NULL, VJ_ERR_NOMEM, "no memory for opening a video");
    r->format = avformat_alloc_context();
    if (r->format == NULL) {
        status = vj_fail(VJ_ERR_NOMEM, "no memory for opening a video");
        goto fail;
    }
    // Demuxing is fast; what needs longer than this for its size is a trap.
    r->cpu_end = vj_thread_seconds() + 20.0 + (double)st.st_size / 5e6;
    r->format->interrupt_callback = (AVIOInterruptCB){ interrupted, r };
    r->format->flags |= AVFMT_FLAG_GENPTS;   // AVI has decoding times only; with B-frames the others follow from them
    av_dict_set(&options, "protocol_whitelist", "file", 0);
    av_dict_set(&options, "format_whitelist", demuxers, 0);
    vj_av_text_clear();
    char url[4200];
    vj_format(url, sizeof url, "file:%.4096s", path);   // a name with a colon is no protocol
    const int rc = avformat_open_input(&r->format, url, NULL, &options);
    av_dict_free(&options);
    if (rc < 0) {
        status = vj_fail(rc == AVERROR(ENOMEM) ? VJ_ERR_NOMEM : VJ_ERR_DATA, "it is no video that can be opened: %s", vj_av_text(rc));
        goto fail;
    }
    VJ_TRY_GOTO(find_streams(r->format), fail);
    r->stream = av_find_best_stream(r->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (r->stream < 0 || (r->format->streams[r->stream]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) {
        status = vj_fail(VJ_ERR_DATA, "it has no video stream");
        goto fail;
    }
    for (unsigned i = 0; i < r->format->nb_streams; i++) {
        if ((int)i != r->stream) r->format->streams[i]->discard = AVDISCARD_ALL;
    }
    *out = r;
    return VJ_OK;
fail:
    vj_reader_close(&r);
    return status;
}

bool vj_reader_next(vj_reader *reader, AVPacket *packet)
{
    for (;;) {
        av_packet_unref(packet);
        if (reader->late || av_read_frame(reader->format, packet) < 0) return false;
        if (packet->stream_index == reader->stream && packet->size > 0) return true;
    }
}

void vj_reader_close(vj_reader **reader)
{
    if (*reader == NULL) return;
    avformat_close_input(&(*reader)->format);
    free(*reader);
    *reader = NULL;
}

static vj_status describe_stream(vj_scan *scan, const vj_reader *r)
{
    const AVStream *stream = r->format->streams[r->stream];
    const AVCodecParameters *p = stream->codecpar;
    const AVCodecDescriptor *descriptor = avcodec_descriptor_get(p->codec_id);
    vj_clip *c = &scan->stream;
    VJ_CHECK(descriptor != NULL && strlen(descriptor->name) < sizeof c->codec, VJ_ERR_DATA, "its codec is unknown");
    VJ_CHECK(p->width > 0 && p->height > 0 && p->width <= 65535 && p->height <= 65535, VJ_ERR_DATA, "its pictures are %d x %d",
             p->width, p->height);
    VJ_CHECK((int64_t)p->width * p->height <= (int64_t)VJ_DECODE_MAX_MEGAPIXELS * 1000000, VJ_ERR_DATA,
             "its pictures are %d x %d, more than %d megapixels", p->width, p->height, VJ_DECODE_MAX_MEGAPIXELS);
    VJ_CHECK(avcodec_find_decoder(p->codec_id) != NULL, VJ_ERR_DATA, "this libavcodec has no decoder for %s", descriptor->name);
    VJ_CHECK(p->extradata_size >= 0 && p->extradata_size <= VJ_CLIP_MAX_EXTRADATA, VJ_ERR_DATA, "it has %d bytes of codec data",
             p->extradata_size);
    vj_format(c->codec, sizeof c->codec, "%s", descriptor->name);
    const char *pix_fmt = av_get_pix_fmt_name(p->format);
    if (pix_fmt != NULL && strlen(pix_fmt) < sizeof c->pix_fmt) vj_format(c->pix_fmt, sizeof c->pix_fmt, "%s", pix_fmt);
    c->codec_tag = p->codec_tag;
    c->bits_per_sample = (uint32_t)p->bits_per_coded_sample;
    c->width = p->width;
    c->height = p->height;
    c->color_range = p->color_range;
    c->color_space = p->color_space;
    c->delay = p->video_delay >= 0 && p->video_delay <= 16 ? p->video_delay : 0;
    c->orientation = 1;
    size_t bytes = 0;
    const uint8_t *matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
    if (matrix != NULL) c->orientation = vj_av_orientation(matrix, bytes);
    if (p->extradata_size > 0) {
        scan->extradata = malloc((size_t)p->extradata_size);
        VJ_CHECK(scan->extradata != NULL, VJ_ERR_NOMEM, "no memory for opening a video");
        memcpy(scan->extradata, p->extradata, (size_t)p->extradata_size);
        c->extradata = scan->extradata;
        c->extradata_bytes = p->extradata_size;
    }
    const AVRational sar = stream->sample_aspect_ratio.num > 0 ? stream->sample_aspect_ratio : p->sample_aspect_ratio;
    scan->sar_num = scan->sar_den = 1;
    if (sar.num > 0 && sar.den > 0 && sar.num <= 65535 && sar.den <= 65535) {
        scan->sar_num = (uint16_t)sar.num;
        scan->sar_den = (uint16_t)sar.den;
    }
    for (unsigned i = 0; i < r->format->nb_streams; i++) {
        if (r->format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO) scan->has_audio = true;
    }
    return VJ_OK;
}

static vj_status read_packets(vj_scan *scan, vj_reader *r)
{
    const AVStream *stream = r->format->streams[r->stream];
    const AVRational microseconds = { 1, 1000000 };
    int64_t capacity = 0, untimed = 0;
    vj_status status = VJ_OK;
    AVPacket *packet = av_packet_alloc();
    VJ_CHECK(packet != NULL, VJ_ERR_NOMEM, "no memory for reading a video");
    while (vj_reader_next(r, packet)) {
        if (scan->n_packets == capacity) {
            capacity = capacity == 0 ? 1024 : capacity * 2;
            vj_scan_packet *more = capacity <= MAX_FILE_PACKETS ? realloc(scan->packets, (size_t)capacity * sizeof *more) : NULL;
            if (more == NULL) {
                status = vj_fail(VJ_ERR_DATA, "it has more than %lld packets", (long long)scan->n_packets);
                break;
            }
            scan->packets = more;
        }
        vj_scan_packet *p = &scan->packets[scan->n_packets++];
        int64_t time = packet->pts;
        if (time == AV_NOPTS_VALUE) {
            scan->guessed_times = true;
            time = packet->dts;
        }
        if (time == AV_NOPTS_VALUE) untimed++;
        else time = av_rescale_q_rnd(time, stream->time_base, microseconds, AV_ROUND_NEAR_INF | AV_ROUND_PASS_MINMAX);
        *p = (vj_scan_packet){ .time_us = time, .bytes = (uint32_t)packet->size, .key = (packet->flags & AV_PKT_FLAG_KEY) != 0,
                               .hidden = (packet->flags & AV_PKT_FLAG_DISCARD) != 0 };
        scan->bytes += packet->size;
    }
    av_packet_free(&packet);
    VJ_TRY(status);
    VJ_CHECK(!r->late, VJ_ERR_DATA, "reading it takes too long for its size");
    VJ_CHECK(scan->n_packets > 0, VJ_ERR_DATA, "its video stream has no frames");
    if (untimed == 0) return VJ_OK;
    // Without any times (raw streams), or with holes: one step per packet.
    AVRational rate = stream->avg_frame_rate.num > 0 ? stream->avg_frame_rate : stream->r_frame_rate;
    if (rate.num <= 0 || rate.den <= 0) rate = (AVRational){ 25, 1 };
    for (int64_t i = 0; i < scan->n_packets; i++) {
        scan->packets[i].time_us = av_rescale(i, (int64_t)1000000 * rate.den, rate.num);
    }
    return VJ_OK;
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

// Rate, duration and whether the steps between frames are even.
static vj_status measure_times(vj_scan *scan, const AVStream *stream)
{
    int64_t *times = malloc((size_t)scan->n_packets * sizeof *times), n = 0;
    VJ_CHECK(times != NULL, VJ_ERR_NOMEM, "no memory for reading a video");
    for (int64_t i = 0; i < scan->n_packets; i++) {
        if (!scan->packets[i].hidden) times[n++] = scan->packets[i].time_us;
    }
    qsort(times, (size_t)n, sizeof *times, by_value);
    scan->shown = n;
    const int64_t first = n > 0 ? times[0] : 0, span = n > 0 ? times[n - 1] - first : 0;
    const bool sane = n > 0 && span >= 0 && span < (int64_t)1000000 * 86400 * 30 && first > -(INT64_MAX / 4);
    AVRational rate = stream->avg_frame_rate.num > 0 && stream->avg_frame_rate.den > 0 ? stream->avg_frame_rate : stream->r_frame_rate;
    const double claimed = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    const double measured = sane && n > 1 && span > 0 ? (double)(n - 1) * 1e6 / (double)span : 0;
    if (measured > 0 && (claimed <= 0 || claimed < 0.95 * measured || claimed > 1.05 * measured)) rate = av_d2q(measured, 1000000);
    if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 1000) rate = (AVRational){ 25, 1 };
    scan->fps_num = rate.num;
    scan->fps_den = rate.den;
    scan->step_us = measured > 0 ? (int64_t)((double)span / (double)(n - 1) + 0.5) : (int64_t)(1e6 / av_q2d(rate) + 0.5);
    if (scan->step_us < 1) scan->step_us = 1;
    for (int64_t i = 1; i < n && sane; i++) {
        const int64_t step = times[i] - times[i - 1];
        if (10 * step > 11 * scan->step_us + 20000 || 10 * step < 9 * scan->step_us - 20000) scan->vfr = true;
    }
    scan->duration_us = span + scan->step_us;
    for (int64_t i = 0; i < scan->n_packets; i++) scan->packets[i].time_us -= first;
    free(times);
    VJ_CHECK(n > 0, VJ_ERR_DATA, "none of its frames is shown");
    VJ_CHECK(sane, VJ_ERR_DATA, "its timestamps make no sense");
    return VJ_OK;
}

vj_status vj_scan_file(vj_scan *scan, const char *path)
{
    vj_status status = VJ_OK;
    vj_reader *r = NULL;
    vj_scan_free(scan);
    VJ_TRY_GOTO(vj_reader_open(&r, path), done);
    VJ_TRY_GOTO(describe_stream(scan, r), done);
    VJ_TRY_GOTO(read_packets(scan, r), done);
    VJ_TRY_GOTO(measure_times(scan, r->format->streams[r->stream]), done);
done:
    vj_reader_close(&r);
    if (status != VJ_OK) vj_scan_free(scan);
    return status;
}

void vj_scan_free(vj_scan *scan)
{
    free(scan->extradata);
    free(scan->packets);
    *scan = (vj_scan){ 0 };
}
