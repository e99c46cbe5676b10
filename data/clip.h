// The bytes of a video sample: packets of one window as they came from the file (or from our encoder), with everything
// that a decoder must know and a table of the frames they give. No container has to be opened to decode a frame.
//
//   "VJC1" | header 128 bytes | extradata | packets: n x u32 (bytes << 1 | key) | frames: n x { u32 packet, i64 time_us }
//   | payload: the packets' bytes one after another
//
// All little-endian. Packets are in decoding order; frames are in presentation order, and `packet` says which packet a
// frame comes from. Packets without a frame are there because others need them (the start of a group of pictures that
// reaches into the window, invisible frames).
//
// Why a table instead of timestamps: the decoder is fed with the packet's number as its timestamp, so frame k is found
// exactly, even in files whose timestamps are missing, repeated or unordered.
#ifndef VJ_DATA_CLIP_H
#define VJ_DATA_CLIP_H

#include "data/bytes.h"

enum { VJ_CLIP_MAX_PACKETS = 16384, VJ_CLIP_MAX_EXTRADATA = 1 << 20 };

typedef struct vj_clip_packet {
    int64_t offset;      // in the payload
    uint32_t bytes;
    bool key;
} vj_clip_packet;

typedef struct vj_clip_frame {
    uint32_t packet;
    int64_t time_us;     // since the window's first frame; never descends
} vj_clip_frame;

// Zero it before first use; tables grow and are kept between parses.
typedef struct vj_clip {
    char codec[24], pix_fmt[24];     // libav's names; pix_fmt "" when the bitstream says it
    uint32_t codec_tag, bits_per_sample;
    int32_t width, height;           // as the container says, before cropping and rotation
    int32_t orientation;             // 1..8
    int32_t color_range, color_space;
    int32_t delay;                   // pictures that the decoder holds back for reordering; it cannot always guess this
    int64_t n_packets, n_frames, extradata_bytes, payload_bytes;
    const unsigned char *extradata, *payload;    // into the parsed bytes, or the writer's own
    vj_clip_packet *packets;
    vj_clip_frame *frames;
    int64_t packet_capacity, frame_capacity;
} vj_clip;

// Checks everything that the bytes claim; VJ_ERR_DATA with the reason.
vj_status vj_clip_parse(vj_clip *clip, const void *data, size_t bytes) VJ_MUST_CHECK;
vj_status vj_clip_reserve(vj_clip *clip, int64_t packets, int64_t frames) VJ_MUST_CHECK;
// Replaces the content of `out`.
vj_status vj_clip_write(const vj_clip *clip, vj_bytes *out) VJ_MUST_CHECK;
void vj_clip_free(vj_clip *clip);

#endif
