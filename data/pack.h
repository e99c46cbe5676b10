// Packing: folders of videos and images become a folder of shards with a catalogue.
//
// The result depends on the files, the options and the seed, never on the number of threads: rows are ordered by source,
// path and window. Nothing is visible under its final name before everything is written; the catalogue comes last.
//
// A packing that was stopped (VJ_ERR_STOPPED), killed, or failed by the machine (VJ_ERR_IO, VJ_ERR_NOMEM) leaves OUT/.tmp-pack, and
// the same request goes on from there, with any number of threads, to the bytes that an uninterrupted one makes.
#ifndef VJ_DATA_PACK_H
#define VJ_DATA_PACK_H

#include "data/catalog.h"

typedef struct vj_pack_source {
    const char *name;        // letters, digits, '_', '-', '.'
    const char *path;        // folder, or a list of files (.csv, .txt); for images also one file (an IDX file)
    bool image;
    double weight;           // negative: the number of training rows
} vj_pack_source;

typedef struct vj_pack_request {
    const char *out;
    const vj_pack_source *sources;
    int n_sources;
    double window;           // seconds; 0: every video is one sample
    double hold_out;         // fraction of the windows of each video source
    int recode;              // short side in pixels; 0: packets are kept as they are
    int gop, crf;
    int threads;
    uint64_t seed;
    int64_t max_shard_bytes;
    bool link;               // index only: samples stay in the original files (data/link.h); not with recode
    int64_t limit;           // most images of an image source, 0: all
    bool force;              // an existing catalogue moves aside with its shards; another request's .tmp-pack is removed
} vj_pack_request;

typedef struct vj_pack_report {
    int64_t files, bad_files, rows, held_out, held_out_files, frames, bad_windows, ignored_files, bytes, shards;
    double seconds;
} vj_pack_report;

void vj_pack_defaults(vj_pack_request *request);
// Broken files are named in warnings and counted. VJ_ERR_USAGE: missing folder, options; VJ_ERR_DATA: a source without
// one usable file; VJ_ERR_CONFIG: OUT is in use, or `force` is not set and it holds a catalogue or another request's beginning.
vj_status vj_pack(const vj_pack_request *request, vj_pack_report *report) VJ_MUST_CHECK;

#endif
