// Looking into video files: which stream, which packets, when. Used by packing; training never opens a container.
#ifndef VJ_DATA_PROBE_H
#define VJ_DATA_PROBE_H

#include "data/clip.h"

typedef struct vj_scan_packet {
    int64_t time_us;       // presentation, since the first shown frame of the file
    uint32_t bytes;
    bool key, hidden;      // hidden: decoded, never shown (edit lists)
} vj_scan_packet;

// What a full pass over a file's packets tells. Zero it before first use, free it afterwards.
typedef struct vj_scan {
    vj_clip stream;                  // codec, sizes, orientation, extradata (owned); no tables
    unsigned char *extradata;
    vj_scan_packet *packets;         // (n_packets) in file order
    int64_t n_packets, shown, bytes; // bytes of the stream's packets
    int64_t duration_us;             // from the first shown frame to the end of the last
    int64_t step_us;                 // average time between frames
    int32_t fps_num, fps_den;
    uint16_t sar_num, sar_den;
    bool has_audio, vfr;
    bool guessed_times;              // some packets have no presentation time: frames take the sorted times
} vj_scan;

// VJ_ERR_DATA with a reason for everything that holds no decodable video stream.
vj_status vj_scan_file(vj_scan *scan, const char *path) VJ_MUST_CHECK;
void vj_scan_free(vj_scan *scan);

// The packets of the same stream again, one by one, in the same order.
typedef struct vj_reader vj_reader;
struct AVPacket;
vj_status vj_reader_open(vj_reader **out, const char *path) VJ_MUST_CHECK;
// False at the end (also an end by damage, which is where the scan ended too).
bool vj_reader_next(vj_reader *reader, struct AVPacket *packet);
void vj_reader_close(vj_reader **reader);

#endif
