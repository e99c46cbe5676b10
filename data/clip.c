// data/clip.c

#include "data/clip.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER = 128, FRAME_ROW = 12 };

static void put32(unsigned char *p, uint32_t v) { memcpy(p, &v, 4); }
static void put64(unsigned char *p, int64_t v) { memcpy(p, &v, 8); }

vj_status vj_clip_reserve(vj_clip *clip, int64_t packets, int64_t frames)
{
    if (packets > clip->packet_capacity) {
        vj_clip_packet *p = realloc(clip->packets, (size_t)packets * sizeof *p);
        VJ_CHECK(p != NULL, VJ_ERR_NOMEM, "no memory for a table of %lld packets", (long long)packets);
        clip->packets = p;
        clip->packet_capacity = packets;
    }
    if (frames > clip->frame_capacity) {
        vj_clip_frame *f = realloc(clip->frames, (size_t)frames * sizeof *f);
        VJ_CHECK(f != NULL, VJ_ERR_NOMEM, "no memory for a table of %lld frames", (long long)frames);
        clip->frames = f;
        clip->frame_capacity = frames;
    }
    return VJ_OK;
}

// Header: magic 0, version 4, codec 8, pix_fmt 32, tag 56, bits 60, width 64, height 68, orientation 72, range 76,
// space 80, extradata 84, packets 88, frames 92, payload 96 (i64), delay 104,
// zeros up to 128.
static vj_status parse_header(vj_clip *clip, const unsigned char *p, size_t bytes)
{
    VJ_CHECK(bytes >= HEADER, VJ_ERR_DATA, "%zu bytes are too few for a video sample", bytes);
    VJ_CHECK(memcmp(p, "VJC1", 4) == 0 && vj_bytes_get32(p + 4) == 1, VJ_ERR_DATA, "these bytes are not a video sample of version 1");
    memcpy(clip->codec, p + 8, sizeof clip->codec);
    memcpy(clip->pix_fmt, p + 32, sizeof clip->pix_fmt);
    VJ_CHECK(clip->codec[sizeof clip->codec - 1] == '\0' && clip->pix_fmt[sizeof clip->pix_fmt - 1] == '\0', VJ_ERR_DATA,
             "the sample's codec name does not end");
    clip->codec_tag = vj_bytes_get32(p + 56);
    clip->bits_per_sample = vj_bytes_get32(p + 60);
    clip->width = (int32_t)vj_bytes_get32(p + 64);
    clip->height = (int32_t)vj_bytes_get32(p + 68);
    clip->orientation = (int32_t)vj_bytes_get32(p + 72);
    clip->color_range = (int32_t)vj_bytes_get32(p + 76);
    clip->color_space = (int32_t)vj_bytes_get32(p + 80);
    clip->extradata_bytes = (int64_t)vj_bytes_get32(p + 84);
    clip->n_packets = (int64_t)vj_bytes_get32(p + 88);
    clip->n_frames = (int64_t)vj_bytes_get32(p + 92);
    clip->payload_bytes = vj_bytes_get64(p + 96);
    clip->delay = (int32_t)vj_bytes_get32(p + 104);
    VJ_CHECK(clip->delay >= 0 && clip->delay <= 16, VJ_ERR_DATA, "a decoder's delay of %d pictures", (int)clip->delay);
    VJ_CHECK(clip->width >= 0 && clip->width <= 65535 && clip->height >= 0 && clip->height <= 65535, VJ_ERR_DATA,
             "the sample says %d x %d pixels", (int)clip->width, (int)clip->height);
    VJ_CHECK(clip->orientation >= 1 && clip->orientation <= 8, VJ_ERR_DATA, "orientation %d is none of 1..8", (int)clip->orientation);
    VJ_CHECK(clip->n_packets >= 1 && clip->n_packets <= VJ_CLIP_MAX_PACKETS, VJ_ERR_DATA,
             "the sample says %lld packets, the limit is %d", (long long)clip->n_packets, VJ_CLIP_MAX_PACKETS);
    VJ_CHECK(clip->n_frames >= 1 && clip->n_frames <= VJ_CLIP_MAX_PACKETS, VJ_ERR_DATA,
             "the sample says %lld frames, the limit is %d", (long long)clip->n_frames, VJ_CLIP_MAX_PACKETS);
    VJ_CHECK(clip->extradata_bytes <= VJ_CLIP_MAX_EXTRADATA, VJ_ERR_DATA, "the sample says %lld bytes of codec data",
             (long long)clip->extradata_bytes);
    const int64_t tables = HEADER + clip->extradata_bytes + 4 * clip->n_packets + FRAME_ROW * clip->n_frames;
    VJ_CHECK(clip->payload_bytes >= 0 && clip->payload_bytes <= (int64_t)bytes && tables <= (int64_t)bytes &&
                 tables + clip->payload_bytes == (int64_t)bytes,
             VJ_ERR_DATA, "the sample's parts add up to %lld + %lld bytes, there are %zu", (long long)tables,
             (long long)clip->payload_bytes, bytes);
    return VJ_OK;
}

vj_status vj_clip_parse(vj_clip *clip, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    VJ_TRY(parse_header(clip, p, bytes));
    VJ_TRY(vj_clip_reserve(clip, clip->n_packets, clip->n_frames));
    clip->extradata = p + HEADER;
    const unsigned char *row = clip->extradata + clip->extradata_bytes;
    int64_t offset = 0;
    for (int64_t i = 0; i < clip->n_packets; i++, row += 4) {
        const uint32_t v = vj_bytes_get32(row);
        clip->packets[i] = (vj_clip_packet){ .offset = offset, .bytes = v >> 1, .key = (v & 1) != 0 };
        offset += (int64_t)(v >> 1);
    }
    VJ_CHECK(offset == clip->payload_bytes, VJ_ERR_DATA, "the sample's packets add up to %lld bytes, there are %lld",
             (long long)offset, (long long)clip->payload_bytes);
    int64_t last = 0;
    for (int64_t i = 0; i < clip->n_frames; i++, row += FRAME_ROW) {
        const vj_clip_frame f = { .packet = vj_bytes_get32(row), .time_us = vj_bytes_get64(row + 4) };
        VJ_CHECK(f.packet < (uint64_t)clip->n_packets, VJ_ERR_DATA, "frame %lld comes from packet %u of %lld", (long long)i,
                 f.packet, (long long)clip->n_packets);
        VJ_CHECK(f.time_us >= last, VJ_ERR_DATA, "the time of frame %lld goes backwards", (long long)i);
        last = f.time_us;
        clip->frames[i] = f;
    }
    clip->payload = row;
    return VJ_OK;
}

vj_status vj_clip_write(const vj_clip *clip, vj_bytes *out)
{
    VJ_ASSERT(clip->n_packets >= 1 && clip->n_packets <= VJ_CLIP_MAX_PACKETS && clip->n_frames >= 1);
    const size_t tables = (size_t)(HEADER + clip->extradata_bytes + 4 * clip->n_packets + FRAME_ROW * clip->n_frames);
    VJ_TRY(vj_bytes_set(out, tables + (size_t)clip->payload_bytes));
    unsigned char *p = out->data;
    memset(p, 0, HEADER);
    memcpy(p, "VJC1", 4);
    put32(p + 4, 1);
    memcpy(p + 8, clip->codec, sizeof clip->codec);
    memcpy(p + 32, clip->pix_fmt, sizeof clip->pix_fmt);
    const uint32_t fields[] = { clip->codec_tag, clip->bits_per_sample, (uint32_t)clip->width, (uint32_t)clip->height,
                                (uint32_t)clip->orientation, (uint32_t)clip->color_range, (uint32_t)clip->color_space,
                                (uint32_t)clip->extradata_bytes, (uint32_t)clip->n_packets, (uint32_t)clip->n_frames };
    for (int i = 0; i < 10; i++) put32(p + 56 + 4 * i, fields[i]);
    put64(p + 96, clip->payload_bytes);
    put32(p + 104, (uint32_t)clip->delay);
    p += HEADER;
    if (clip->extradata_bytes > 0) memcpy(p, clip->extradata, (size_t)clip->extradata_bytes);
    p += clip->extradata_bytes;
    for (int64_t i = 0; i < clip->n_packets; i++, p += 4) put32(p, clip->packets[i].bytes << 1 | (clip->packets[i].key ? 1u : 0u));
    for (int64_t i = 0; i < clip->n_frames; i++, p += FRAME_ROW) {
        put32(p, clip->frames[i].packet);
        put64(p + 4, clip->frames[i].time_us);
    }
    memcpy(p, clip->payload, (size_t)clip->payload_bytes);
    return VJ_OK;
}

void vj_clip_free(vj_clip *clip)
{
    free(clip->packets);
    free(clip->frames);
    *clip = (vj_clip){ 0 };
}
