// What the files of packing share.
#ifndef VJ_DATA_PACK_IMPL_H
#define VJ_DATA_PACK_IMPL_H

#include "data/decode.h"
#include "data/link.h"
#include "data/pack.h"
#include "data/probe.h"
#include "data/recode.h"
#include "data/shard_write.h"

// A window of a video: [t0, t1) microseconds from its first shown frame.
typedef struct vj_window {
    int64_t t0_us, t1_us;
    bool held_out;
} vj_window;

// One file of a source.
typedef struct vj_pack_file {
    char *name;                  // relative to the source's folder: what shards remember
    char *path;
    int64_t bytes, mtime_ns;     // of the file when it was listed
    int32_t label;               // of a list; -1: none
    vj_scan scan;                // videos; packets are dropped and read again when many files are packed
    vj_window *windows;
    int64_t n_windows;
    int64_t cut_bytes;           // of all windows as packets; groups of pictures that reach over a cut count twice
    int64_t images, image_bytes; // of an IDX file: how many are packed, and what they take together
    bool bad, done;              // done: its samples lie in a spool
    // Made by the workers:
    vj_pack_row *rows;           // in window order; file is `name`
    bool *row_held_out;
    int64_t n_rows, bad_rows;
} vj_pack_file;

typedef struct vj_pack_files {
    vj_pack_file *v;
    int64_t n, ignored, other_kind;   // ignored: extensions that mean nothing here; other_kind: images among videos
} vj_pack_files;

// --- pack_list.c ---
// Regular files below `path` whose names look like videos (or images), sorted by relative path. Links to folders are
// followed, circles are not. A regular file that is no IDX file (of images: no picture) is a list (pack_csv.c).
vj_status vj_pack_list(vj_pack_files *out, const char *path, bool image) VJ_MUST_CHECK;
void vj_pack_files_free(vj_pack_files *files);
// `name` and `path` are copied; `st` is what the system says of the file.
struct stat;
vj_status vj_pack_files_add(vj_pack_files *files, int64_t *capacity, const char *name, const char *path, const struct stat *st, int32_t label)
    VJ_MUST_CHECK;

// --- pack_csv.c ---
// The files that a list names, one a line: "PATH LABEL" or "PATH::LABEL" as published, "PATH,LABEL" with or without a header
// ("path,label"), or a path alone. Blanks may be in paths; quotes around a path are taken off. Paths are relative to the
// list's folder. VJ_ERR_CONFIG names the list and the line: no path, a label that is no whole number, a path twice.
bool vj_pack_is_list(const char *path);
vj_status vj_pack_csv(vj_pack_files *out, const char *list) VJ_MUST_CHECK;

// --- pack_windows.c ---
// Cuts [0, duration) into windows; a rest shorter than half a window joins the last one.
vj_status vj_windows_cut(vj_window **out, int64_t *n, int64_t duration_us, double seconds) VJ_MUST_CHECK;
// Marks about `fraction` of all windows as held out; see pack_windows.c for the rule. Returns how many.
int64_t vj_hold_out_choose(vj_pack_file *files, int64_t n_files, const char *source, double fraction, uint64_t seed);

// --- pack_sample.c ---
typedef struct vj_spool {
    int fd;
    int64_t end;
    char path[4096];
} vj_spool;

typedef struct vj_packer {       // one worker
    vj_decoder *decoder;
    vj_spool spool;
    vj_bytes bytes;
    // With --link:
    bool link;
    int link_fd;                 // of the file that is being packed
    vj_link_extents extents;
    vj_bytes record;
    int64_t copied, copied_bytes;   // samples that do not lie in one piece in their file
    char copied_example[200];
} vj_packer;

uint64_t vj_sample_key(const char *source, const char *file, int64_t start_us);
vj_status vj_spool_add(vj_spool *spool, const void *data, size_t bytes, vj_pack_row *row) VJ_MUST_CHECK;
// What the windows take as packets.
vj_status vj_cut_bytes(int64_t *bytes, const vj_scan *scan, const vj_window *windows, int64_t n) VJ_MUST_CHECK;
// All windows of one video into the spool; a window that gives no sample is named in a warning. VJ_ERR_DATA: nothing
// usable in the file. Other errors end the packing; VJ_ERR_STOPPED between two windows when it was asked to stop.
vj_status vj_pack_video(vj_packer *packer, vj_pack_file *file, const char *source, const vj_recode_config *recode) VJ_MUST_CHECK;
vj_status vj_pack_image(vj_packer *packer, vj_pack_file *file, const char *source) VJ_MUST_CHECK;
vj_status vj_pack_idx(vj_packer *packer, vj_pack_file *file, const char *source) VJ_MUST_CHECK;

#endif
