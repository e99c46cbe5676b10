// The loader: batches as a pure function of (seed, catalogue, configuration, quarantine, global sample index).
// Neither ranks, threads, queue depth nor time change a sample (spec/data.md 4.1).
#ifndef VJ_DATA_LOADER_H
#define VJ_DATA_LOADER_H

#include "data/data_config.h"
#include "runtime/tensor/clip_batch.h"

typedef struct vj_loader vj_loader;

// The stage of a run that this loader serves. Ranks are numbers here, there is no MPI.
typedef struct vj_loader_stage {
    uint64_t seed;
    int64_t batch;                // G: samples of a step over all ranks
    int64_t slot;                 // mask.group: samples of a slot; divides batch
    int64_t crop;                 // pixels
    int64_t tubelet, patch;
    vj_int_list fpc;              // frames per clip: one for all sources, or one per source
    double fps;
    int rank, world;              // this rank delivers its own slots only: rank, rank + world, rank + 2 world, ...
    int threads;                  // decoding threads; 0 or less: one per CPU
    bool held_out;                // serve the held-out windows of video sources in a fixed order, over and over with
                                  // fresh draws; neighbours come from different files where possible
} vj_loader_stage;

typedef struct vj_loader_state {
    uint64_t cursor;              // next global sample index, of consumed batches
    int64_t step;                 // next step (0-based): keys the mask sizes
    uint64_t plan_digest, catalog_digest, quarantine_digest;
    uint64_t skip;                // opening: samples after `cursor` that are left out; a multiple of the batch
} vj_loader_state;

typedef struct vj_batch {
    int64_t step;                 // 0-based
    uint64_t first;               // global index of the step's first sample
    int64_t samples;              // delivered on this rank
    int n_slots;
    vj_slot *slots;
    double wait_seconds;          // how long the consumer waited for it
} vj_batch;

typedef struct vj_loader_stats {
    int64_t samples, substituted, bad, padded_clips, frames_decoded, frames_used;
    int64_t retried, stalled, hedged;   // reads: tried again after an error, longer than data.io_warn_s, made again elsewhere
    double decode_seconds;        // CPU time in loader threads
    double wait_seconds;          // consumer
} vj_loader_stats;

// `state` NULL: from the start. A digest that differs is VJ_ERR_CONFIG (what differs, what to do); the quarantine may
// have grown. `quarantine_json` NULL: none. The shards' catalogue is read from config->dir.
vj_status vj_loader_open(vj_loader **out, const vj_data_config *config, const vj_mask_config *masks,
                         const vj_loader_stage *stage, const vj_loader_state *state, const char *quarantine_json)
    VJ_MUST_CHECK;
// Joins its threads. One that is stuck in a read for 5 s more is left alone with its memory: nothing can end it.
void vj_loader_close(vj_loader **loader);
// Waits for the next step's batch. Too many bad samples: VJ_ERR_DATA naming source, shard, keys and reasons. A read without
// an answer for data.io_fatal_s: VJ_ERR_HANG.
vj_status vj_loader_next(vj_loader *loader, const vj_batch **batch) VJ_MUST_CHECK;
void vj_loader_release(vj_loader *loader, const vj_batch *batch);
void vj_loader_state_get(const vj_loader *loader, vj_loader_state *out);
// The quarantine set as JSON text (keys, shards, rows, reasons), to be kept in checkpoints; free() it.
vj_status vj_loader_quarantine(const vj_loader *loader, char **json) VJ_MUST_CHECK;
// What other ranks found bad, added to this loader's.
vj_status vj_loader_quarantine_add(vj_loader *loader, const char *json) VJ_MUST_CHECK;
// Bad samples that delivered ones met so far, those of other ranks included once they were added.
int64_t vj_loader_met(const vj_loader *loader);
// After such an addition: too many bad samples of a source, VJ_ERR_DATA as from vj_loader_next.
vj_status vj_loader_judge(const vj_loader *loader) VJ_MUST_CHECK;
void vj_loader_stats_get(const vj_loader *loader, vj_loader_stats *out);

// Where a delivered sample came from: valid until the batch is released. Index counts this rank's samples in slot order.
typedef struct vj_sample_origin {
    uint64_t g, key;
    int source;
    int64_t row;
    const char *source_name;
    const char *file;             // original video's path or id: figures that swap targets need different files
    int substitution;             // 0: the first choice
    bool image;
} vj_sample_origin;
vj_status vj_loader_origin(const vj_loader *loader, const vj_batch *batch, int64_t index,
                           vj_sample_origin *out) VJ_MUST_CHECK;

// Host memory of the batches that the loader keeps ready, for `config check`.
int64_t vj_loader_bytes(const vj_data_config *config, const vj_mask_config *masks, const vj_loader_stage *stage);

// What a data directory holds, for summaries and checks.
typedef struct vj_data_summary {
    int sources;
    int64_t windows, held_out, held_out_files, images, bytes;   // windows, images: to train on; held_out: video windows
    char digest[65];
} vj_data_summary;
vj_status vj_data_summary_read(const char *dir, vj_data_summary *out) VJ_MUST_CHECK;

#endif
