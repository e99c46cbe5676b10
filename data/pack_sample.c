// data/pack_sample.c
//
// From files to samples in the spool.
//
// A window of a video is cut as packets: from the keyframe that its first frames need to the last packet that shows
// something in it. The cut is decoded in full; what comes out is the sample's table of frames (copy), or goes straight
// into the encoder (recode), whose result is decoded in full again. So n_frames is always a count, never a claim.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/decode_impl.h"
#include "data/idx_images.h"
#include "data/pack_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/signals.h"
#include "runtime/base/str.h"
#include "runtime/log/log.h"

enum { MAX_SAMPLE_BYTES = 1 << 30 };

vj_status vj_spool_add(vj_spool *spool, const void *data, size_t bytes, vj_pack_row *row)
{
    VJ_TRY(vj_io_pwrite(spool->fd, data, bytes, (off_t)spool->end, spool->path));
    row->spool_fd = spool->fd;
    row->spool_offset = spool->end;
    row->info.bytes = (int64_t)bytes;
    row->crc32c = vj_crc32c(0, data, bytes);
    spool->end += (int64_t)bytes;
    return VJ_OK;
}

static vj_status add_row(vj_pack_file *file, const vj_pack_row *row, bool held_out)
{
    const int64_t n = file->n_rows;
    if ((n & (n + 1)) == 0) {   // 0, 1, 3, 7, ...: room for twice as many
        const size_t capacity = (size_t)(2 * n + 1);
        vj_pack_row *rows = realloc(file->rows, capacity * sizeof *rows);
        if (rows != NULL) file->rows = rows;
        bool *held = realloc(file->row_held_out, capacity * sizeof *held);
        if (held != NULL) file->row_held_out = held;
        VJ_CHECK(rows != NULL && held != NULL, VJ_ERR_NOMEM, "no memory for %zu samples", capacity);
    }
    file->rows[n] = *row;
    file->row_held_out[n] = held_out;
    file->n_rows++;
    return VJ_OK;
}

// The sample in packer->bytes into the spool: itself, or its record. With --link, packer->extents say where the bytes behind `head` lie.
static vj_status spool_sample(vj_packer *packer, size_t head, vj_pack_row *row)
{
    if (!packer->link) return vj_spool_add(&packer->spool, packer->bytes.data, packer->bytes.bytes, row);
    VJ_TRY(vj_link_write(&packer->record, packer->bytes.data, packer->bytes.bytes, head, &packer->extents));
    return vj_spool_add(&packer->spool, packer->record.data, packer->record.bytes, row);
}

static vj_status link_open(vj_packer *packer, const char *path)
{
    return packer->link ? vj_io_open_read(&packer->link_fd, path) : VJ_OK;
}

// A file that is being written to would be linked as something that it no longer is.
static vj_status link_close(vj_packer *packer, const vj_pack_file *file)
{
    struct stat st;
    if (!packer->link) return VJ_OK;
    const bool same = fstat(packer->link_fd, &st) == 0 && (int64_t)st.st_size == file->bytes &&
                      (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == file->mtime_ns;
    vj_io_close(&packer->link_fd);
    VJ_CHECK(same, VJ_ERR_DATA, "it changed while it was linked");
    return VJ_OK;
}

// ---- the packets of a window ---------------------------------------------------------------------------------------

typedef struct cut {             // [first, last] packets of the file
    int64_t first, last;
    int64_t shown;               // packets shown in the window
    int64_t earliest;            // time of its first frame
} cut;

// Easy to get wrong: leading pictures of an open group are shown before their keyframe, so the keyframe that starts the
// cut must be shown no later than the window's first frame.
static void cut_windows(cut *cuts, const vj_scan *scan, const vj_window *windows, int64_t n)
{
    const int64_t step = n > 1 ? windows[0].t1_us : INT64_MAX;   // windows are even but for the last
    for (int64_t k = 0; k < n; k++) cuts[k] = (cut){ -1, -1, 0, INT64_MAX };
    for (int64_t i = 0; i < scan->n_packets; i++) {
        const vj_scan_packet *p = &scan->packets[i];
        if (p->hidden || p->time_us < 0) continue;
        const int64_t k = p->time_us / step < n ? p->time_us / step : n - 1;
        cut *c = &cuts[k];
        if (c->first < 0) c->first = i;
        c->last = i;
        c->shown++;
        if (p->time_us < c->earliest) c->earliest = p->time_us;
    }
    for (int64_t k = 0; k < n; k++) {
        cut *c = &cuts[k];
        while (c->first > 0 && !(scan->packets[c->first].key && scan->packets[c->first].time_us <= c->earliest)) c->first--;
    }
}

vj_status vj_cut_bytes(int64_t *bytes, const vj_scan *scan, const vj_window *windows, int64_t n)
{
    cut *cuts = calloc((size_t)n + 1, sizeof *cuts);
    int64_t *before = calloc((size_t)scan->n_packets + 1, sizeof *before);   // bytes of the packets before one
    *bytes = 0;
    if (cuts != NULL && before != NULL) {
        cut_windows(cuts, scan, windows, n);
        for (int64_t i = 0; i < scan->n_packets; i++) before[i + 1] = before[i] + scan->packets[i].bytes;
        for (int64_t k = 0; k < n; k++) *bytes += cuts[k].first >= 0 ? before[cuts[k].last + 1] - before[cuts[k].first] : 0;
    }
    const bool whole = cuts != NULL && before != NULL;
    free(cuts);
    free(before);
    VJ_CHECK(whole, VJ_ERR_NOMEM, "no memory for %lld windows", (long long)n);
    return VJ_OK;
}

// Packets [first, last] of the file that are in memory.
typedef struct stock {
    AVPacket **v;
    int64_t first, n, capacity;
} stock;

static void stock_drop(stock *s, int64_t before)
{
    int64_t drop = before - s->first;
    if (drop > s->n) drop = s->n;
    if (drop <= 0) return;
    for (int64_t i = 0; i < drop; i++) av_packet_free(&s->v[i]);
    memmove(s->v, s->v + drop, (size_t)(s->n - drop) * sizeof *s->v);
    s->first += drop;
    s->n -= drop;
}

static vj_status stock_read(stock *s, vj_reader *reader, int64_t keep_from, int64_t last)
{
    stock_drop(s, keep_from);
    while (s->first + s->n <= last) {
        AVPacket *packet = av_packet_alloc();
        VJ_CHECK(packet != NULL, VJ_ERR_NOMEM, "no memory for a packet");
        if (!vj_reader_next(reader, packet)) {
            av_packet_free(&packet);
            VJ_FAIL(VJ_ERR_DATA, "the file ends before packet %lld: it changed while it was packed", (long long)last);
        }
        if (s->n == 0 && s->first < keep_from) {   // before everything that is needed
            av_packet_free(&packet);
            s->first++;
            continue;
        }
        if (s->n == s->capacity) {
            const int64_t capacity = s->capacity == 0 ? 256 : 2 * s->capacity;
            AVPacket **v = realloc(s->v, (size_t)capacity * sizeof(AVPacket *));
            if (v == NULL) av_packet_free(&packet);
            VJ_CHECK(v != NULL, VJ_ERR_NOMEM, "no memory for packets");
            s->v = v;
            s->capacity = capacity;
        }
        s->v[s->n++] = packet;
    }
    return VJ_OK;
}

static void stock_free(stock *s)
{
    stock_drop(s, s->first + s->n);
    free(s->v);
}

// The cut as a clip without frames; payload gathers in `bytes`.
static vj_status build_clip(vj_clip *clip, vj_bytes *bytes, const vj_scan *scan, const stock *s, const cut *c)
{
    const int64_t n = c->last - c->first + 1;
    VJ_CHECK(n <= VJ_CLIP_MAX_PACKETS, VJ_ERR_DATA, "it needs %lld packets, the limit is %d: cut the videos with a smaller --window",
             (long long)n, VJ_CLIP_MAX_PACKETS);
    VJ_TRY(vj_clip_reserve(clip, n, n));
    vj_clip_packet *packets = clip->packets;
    vj_clip_frame *frames = clip->frames;
    const int64_t packet_capacity = clip->packet_capacity, frame_capacity = clip->frame_capacity;
    *clip = scan->stream;
    clip->packets = packets;
    clip->frames = frames;
    clip->packet_capacity = packet_capacity;
    clip->frame_capacity = frame_capacity;
    clip->n_packets = n;
    clip->n_frames = 0;
    bytes->bytes = 0;
    for (int64_t i = 0; i < n; i++) {
        const AVPacket *p = s->v[c->first + i - s->first];
        VJ_CHECK(bytes->bytes + (size_t)p->size <= MAX_SAMPLE_BYTES, VJ_ERR_DATA, "it needs more than %d MiB: cut the videos with a smaller --window",
                 MAX_SAMPLE_BYTES >> 20);
        clip->packets[i] = (vj_clip_packet){ .offset = (int64_t)bytes->bytes, .bytes = (uint32_t)p->size,
                                             .key = scan->packets[c->first + i].key };
        VJ_TRY(vj_bytes_add(bytes, p->data, (size_t)p->size));
    }
    clip->payload = bytes->data;
    clip->payload_bytes = (int64_t)bytes->bytes;
    return VJ_OK;
}

// ---- decoding a cut ------------------------------------------------------------------------------------------------

typedef struct cut_decode {
    const vj_scan *scan;
    const vj_window *window;
    vj_clip *clip;
    int64_t first;                // packet of the file that is packet 0 of the clip
    const int64_t *sorted;        // times for files without presentation times, else NULL
    int64_t n_sorted, given;
    int64_t start_us, last_us;    // of the window's first frame; of the last one
    int width, height;            // of the first frame, before turning
    vj_recoder *recoder;          // NULL: the table is made
    uint8_t *seen;                // (n_packets) a second frame of one packet cannot be addressed
} cut_decode;

static vj_status take_frame(void *context, int64_t packet, const AVFrame *frame, bool *stop)
{
    cut_decode *d = context;
    (void)stop;
    if (packet < 0 || packet >= d->clip->n_packets || d->seen[packet]) return VJ_OK;
    d->seen[packet] = 1;
    const vj_scan_packet *p = &d->scan->packets[d->first + packet];
    int64_t time = p->time_us;
    if (d->sorted != NULL && d->given < d->n_sorted) time = d->sorted[d->given++];
    if (p->hidden || time < d->window->t0_us || time >= d->window->t1_us) return VJ_OK;
    vj_clip *clip = d->clip;
    if (clip->n_frames == 0) {
        d->start_us = d->last_us = time;
        d->width = frame->width;
        d->height = frame->height;
    }
    if (time < d->last_us) time = d->last_us;
    d->last_us = time;
    clip->frames[clip->n_frames++] = (vj_clip_frame){ .packet = (uint32_t)packet, .time_us = time - d->start_us };
    if (d->recoder != NULL) return vj_recoder_frame(d->recoder, frame, time - d->window->t0_us);
    return VJ_OK;
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static vj_status decode_cut(vj_packer *packer, cut_decode *d, int64_t *broken)
{
    const int64_t n = d->clip->n_packets;
    vj_status status = VJ_OK;
    int64_t *sorted = NULL;
    d->seen = calloc((size_t)n, 1);
    VJ_CHECK(d->seen != NULL, VJ_ERR_NOMEM, "no memory for decoding");
    if (d->scan->guessed_times) {
        sorted = malloc((size_t)n * sizeof *sorted);
        for (int64_t i = 0; sorted != NULL && i < n; i++) sorted[i] = d->scan->packets[d->first + i].time_us;
        if (sorted != NULL) qsort(sorted, (size_t)n, sizeof *sorted, by_value);
        d->sorted = sorted;
        d->n_sorted = sorted != NULL ? n : 0;
    }
    // Packing may take its time, training may not: the window must decode within the sample's limit or a little more.
    vj_decoder_cpu_limit(packer->decoder, VJ_DECODE_MAX_SECONDS + 0.25 * (double)n);
    status = vj_decoder_run(packer->decoder, d->clip, 0, n - 1, NULL, take_frame, d, broken);
    free(d->seen);
    free(sorted);
    VJ_TRY(status);
    VJ_CHECK(d->clip->n_frames > 0, VJ_ERR_DATA, "no frame can be decoded: %s",
             *broken > 0 ? vj_av_text(AVERROR_INVALIDDATA) : "the decoder gives nothing");
    return VJ_OK;
}

static vj_status count_frame(void *context, int64_t packet, const AVFrame *frame, bool *stop)
{
    (void)packet, (void)frame, (void)stop;
    ++*(int64_t *)context;
    return VJ_OK;
}

// ---- one window ----------------------------------------------------------------------------------------------------

static void fill_row(vj_pack_row *row, const vj_pack_file *file, const char *source, const vj_window *w, const vj_clip *clip,
                     int width, int height)
{
    const vj_scan *scan = &file->scan;
    const bool sideways = vj_turns_sideways(clip->orientation);
    bool all_intra = true;
    for (int64_t i = 0; i < clip->n_packets; i++) all_intra = all_intra && clip->packets[i].key;
    *row = (vj_pack_row){ .file = file->name, .file_bytes = file->bytes, .file_mtime_ns = file->mtime_ns, .sar_num = scan->sar_num,
                          .sar_den = scan->sar_den };
    row->info = (vj_sample_info){
        .key = vj_sample_key(source, file->name, w->t0_us), .n_frames = clip->n_frames, .t0_us = w->t0_us, .t1_us = w->t1_us,
        .fps_num = scan->fps_num, .fps_den = scan->fps_den, .width = sideways ? height : width, .height = sideways ? width : height,
        .orientation = clip->orientation, .label = file->label, .media = VJ_MEDIA_CLIP,
        .flags = (scan->has_audio ? VJ_SAMPLE_HAS_AUDIO : 0u) | (all_intra ? VJ_SAMPLE_ALL_INTRA : 0u) | (scan->vfr ? VJ_SAMPLE_VFR : 0u),
    };
}

// Re-encodes the decoded window; the new clip replaces the old one in the row and in packer->bytes.
static vj_status pack_recoded(vj_packer *packer, vj_pack_row *row, cut_decode *d, const vj_pack_file *file, const char *source)
{
    vj_clip clip = { 0 };
    int32_t fps_num, fps_den;
    VJ_TRY(vj_recoder_finish(d->recoder, &clip, &fps_num, &fps_den));
    clip.orientation = d->clip->orientation;   // pixels are stored as found, turned when decoded
    int64_t count = 0, broken = 0;
    VJ_TRY(vj_decoder_run(packer->decoder, &clip, 0, clip.n_packets - 1, NULL, count_frame, &count, &broken));
    VJ_CHECK(count == clip.n_frames && broken == 0, VJ_ERR_BUG, "a re-encoded window gives %lld frames of %lld", (long long)count,
             (long long)clip.n_frames);
    fill_row(row, file, source, d->window, &clip, clip.width, clip.height);
    row->info.fps_num = fps_num;
    row->info.fps_den = fps_den;
    row->info.flags = (row->info.flags & ~(uint32_t)VJ_SAMPLE_VFR) | VJ_SAMPLE_RECODED;
    return vj_clip_write(&clip, &packer->bytes);
}

// Where the packets of the clip lie in the file. What is not there in one piece (transport streams, compressed headers) is copied.
static vj_status link_clip(vj_packer *packer, const vj_pack_file *file, const stock *s, const cut *c, size_t *head)
{
    packer->extents.n = 0;
    for (int64_t i = c->first; i <= c->last; i++) {
        const AVPacket *p = s->v[i - s->first];
        const int64_t at = vj_link_find(packer->link_fd, p->pos, p->data, (size_t)p->size);
        if (at >= 0) {
            VJ_TRY(vj_link_add(&packer->extents, at, p->size));
            continue;
        }
        packer->extents.n = 0;
        packer->copied++;
        packer->copied_bytes += (int64_t)packer->bytes.bytes;
        vj_format(packer->copied_example, sizeof packer->copied_example, "%.190s", file->name);
        *head = packer->bytes.bytes;
        return VJ_OK;
    }
    return VJ_OK;
}

static vj_status pack_window(vj_packer *packer, vj_pack_file *file, const char *source, const vj_recode_config *recode,
                             const stock *s, const cut *c, const vj_window *w)
{
    vj_status status = VJ_OK;
    vj_clip clip = { 0 };
    vj_bytes payload = { 0 };
    vj_pack_row row;
    int64_t broken = 0;
    cut_decode d = { .scan = &file->scan, .window = w, .clip = &clip, .first = c->first };

    VJ_TRY_GOTO(build_clip(&clip, &payload, &file->scan, s, c), done);
    if (recode != NULL) {
        VJ_TRY_GOTO(vj_recoder_create(&d.recoder, recode, file->scan.fps_num, file->scan.fps_den, w->t1_us - w->t0_us), done);
    }
    VJ_TRY_GOTO(decode_cut(packer, &d, &broken), done);
    if (recode != NULL) {
        VJ_TRY_GOTO(pack_recoded(packer, &row, &d, file, source), done);
    } else {
        fill_row(&row, file, source, w, &clip, d.width, d.height);
        VJ_TRY_GOTO(vj_clip_write(&clip, &packer->bytes), done);
    }
    if (broken > 0 || clip.n_frames < c->shown) row.info.flags |= VJ_SAMPLE_DECODE_WARNINGS;
    size_t head = packer->bytes.bytes - (size_t)clip.payload_bytes;
    if (packer->link) VJ_TRY_GOTO(link_clip(packer, file, s, c, &head), done);
    VJ_TRY_GOTO(spool_sample(packer, head, &row), done);
    status = add_row(file, &row, w->held_out);
done:
    vj_recoder_destroy(&d.recoder);
    vj_bytes_free(&payload);
    vj_clip_free(&clip);
    return status;
}

// Bad content of one window is not the end; everything else is.
static bool is_content(vj_status status) { return status == VJ_ERR_DATA; }

vj_status vj_pack_video(vj_packer *packer, vj_pack_file *file, const char *source, const vj_recode_config *recode)
{
    vj_status status = VJ_OK;
    vj_reader *reader = NULL;
    stock s = { 0 };
    char reason[300] = "nothing in it is shown";
    cut *cuts = calloc((size_t)file->n_windows + 1, sizeof *cuts);
    int64_t *keep = calloc((size_t)file->n_windows + 1, sizeof *keep);

    if (cuts == NULL || keep == NULL) {
        status = vj_fail(VJ_ERR_NOMEM, "no memory for %lld windows", (long long)file->n_windows);
        goto done;
    }
    if (file->scan.packets == NULL) VJ_TRY_GOTO(vj_scan_file(&file->scan, file->path), done);
    keep[file->n_windows] = INT64_MAX;
    cut_windows(cuts, &file->scan, file->windows, file->n_windows);
    for (int64_t i = file->n_windows - 1; i >= 0; i--) {   // what this and all later windows need
        keep[i] = cuts[i].first >= 0 && cuts[i].first < keep[i + 1] ? cuts[i].first : keep[i + 1];
    }
    VJ_TRY_GOTO(vj_reader_open(&reader, file->path), done);
    VJ_TRY_GOTO(link_open(packer, file->path), done);
    for (int64_t i = 0; i < file->n_windows; i++) {
        const vj_window *w = &file->windows[i];
        if (cuts[i].first < 0) continue;   // a gap in the video
        if (vj_stop_requested()) {         // a long video is not waited for
            status = vj_fail(VJ_ERR_STOPPED, "packing was stopped");
            goto done;
        }
        status = stock_read(&s, reader, keep[i], cuts[i].last);
        if (status == VJ_OK) status = pack_window(packer, file, source, recode, &s, &cuts[i], w);
        if (status == VJ_OK) continue;
        if (!is_content(status)) goto done;
        vj_format(reason, sizeof reason, "%.280s", vj_error_text());
        if (file->n_windows == 1) break;   // the whole file: named once, by the caller
        file->bad_rows++;
        vj_log(VJ_WARN, "data", "%s/%s, %.1f to %.1f s: left out: %s", source, file->name, (double)w->t0_us * 1e-6, (double)w->t1_us * 1e-6, reason);
        status = VJ_OK;
    }
    if (file->n_rows == 0) status = vj_fail(VJ_ERR_DATA, "%s", reason);
    else status = link_close(packer, file);
done:
    if (status != VJ_OK) file->n_rows = 0;
    vj_io_close(&packer->link_fd);
    stock_free(&s);
    vj_reader_close(&reader);
    vj_scan_free(&file->scan);
    free(cuts);
    free(keep);
    return status;
}

// ---- images --------------------------------------------------------------------------------------------------------

static vj_media media_of(const char *data, size_t bytes)
{
    if (bytes >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0) return VJ_MEDIA_JPEG;
    if (bytes >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0) return VJ_MEDIA_PNG;
    return VJ_MEDIA_OTHER_IMAGE;
}

vj_status vj_pack_image(vj_packer *packer, vj_pack_file *file, const char *source)
{
    char *data = NULL;
    size_t bytes;
    const AVFrame *frame;
    int orientation;
    vj_status status = vj_file_read(file->path, &data, &bytes, (size_t)VJ_DECODE_MAX_MEGABYTES << 20);
    if (status == VJ_OK) {
        packer->bytes.bytes = 0;
        status = vj_bytes_add(&packer->bytes, data, bytes);   // with the padding that a codec wants
    }
    free(data);
    VJ_TRY(status);
    VJ_CHECK(bytes > 0, VJ_ERR_DATA, "it is empty");
    const vj_media media = media_of((const char *)packer->bytes.data, bytes);
    VJ_TRY(vj_decoder_picture(packer->decoder, media, packer->bytes.data, bytes, &frame, &orientation));
    const bool sideways = vj_turns_sideways(orientation);
    const int width = sideways ? frame->height : frame->width, height = sideways ? frame->width : frame->height;
    vj_pack_row row = { .file = file->name, .file_bytes = file->bytes, .file_mtime_ns = file->mtime_ns, .sar_num = 1, .sar_den = 1 };
    row.info = (vj_sample_info){ .key = vj_sample_key(source, file->name, 0), .n_frames = 1, .fps_num = 0, .fps_den = 1, .width = width,
                                 .height = height, .orientation = orientation, .label = file->label, .flags = VJ_SAMPLE_ALL_INTRA, .media = media };
    VJ_CHECK(width >= 1 && height >= 1 && width <= 65535 && height <= 65535, VJ_ERR_DATA, "it is %d x %d pixels", width, height);
    // The whole way to RGB, so that training meets no surprise.
    vj_frames rgb;
    VJ_TRY(vj_decode_image(packer->decoder, &row.info, packer->bytes.data, bytes, &rgb));
    packer->extents.n = 0;
    if (packer->link) {
        VJ_TRY(link_open(packer, file->path));
        VJ_TRY(link_close(packer, file));
        VJ_TRY(vj_link_add(&packer->extents, 0, (int64_t)bytes));
    }
    VJ_TRY(spool_sample(packer, 0, &row));
    return add_row(file, &row, false);
}

vj_status vj_pack_idx(vj_packer *packer, vj_pack_file *file, const char *source)
{
    vj_idx *idx;
    int width, height;
    VJ_CHECK(!packer->link, VJ_ERR_DATA, "an IDX file cannot be linked: pack it without --link");
    VJ_TRY(vj_idx_open(&idx, file->path));
    vj_status status = VJ_OK;
    vj_idx_size(idx, &width, &height);
    const size_t bytes = (size_t)width * (size_t)height;
    const int64_t n = file->images < vj_idx_count(idx) ? file->images : vj_idx_count(idx);
    status = vj_bytes_set(&packer->bytes, bytes);
    for (int64_t i = 0; status == VJ_OK && i < n; i++) {
        vj_pack_row row = { .file = file->name, .sar_num = 1, .sar_den = 1 };
        row.info = (vj_sample_info){ .key = vj_sample_key(source, file->name, i), .n_frames = 1, .t0_us = i, .t1_us = i + 1, .fps_num = 0,
                                     .fps_den = 1, .width = width, .height = height, .orientation = 1,
                                     .flags = VJ_SAMPLE_ALL_INTRA, .media = VJ_MEDIA_GRAY8 };
        status = vj_idx_next(idx, packer->bytes.data, &row.info.label);
        if (status == VJ_OK) status = vj_spool_add(&packer->spool, packer->bytes.data, bytes, &row);
        if (status == VJ_OK) status = add_row(file, &row, false);
    }
    vj_idx_close(&idx);
    // What was read before a file broke off is good.
    if (is_content(status) && file->n_rows > 0) {
        vj_log(VJ_WARN, "data", "%s/%s: %s", source, file->name, vj_error_text());
        file->bad_rows++;
        status = VJ_OK;
    }
    return status;
}
