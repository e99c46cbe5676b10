// Checkpoints: a directory step-%08d/ with HDF5 shards and manifest.json written last; LATEST beside them
// (design: checkpoints/README.md). A directory is complete exactly when its manifest is there and true.
//
//   RUN/ckpt/step-00000500/shard-00000-of-00001.h5
//                          manifest.json
//   RUN/ckpt/LATEST
#ifndef VJ_CHECKPOINTS_CHECKPOINT_H
#define VJ_CHECKPOINTS_CHECKPOINT_H

#include "parallel/comm.h"
#include "parallel/layout.h"
#include "runtime/base/json.h"
#include "runtime/tensor/device.h"

typedef enum vj_state_kind { VJ_STATE_PARAM, VJ_STATE_EXP_AVG, VJ_STATE_EXP_AVG_SQ, VJ_STATE_KINDS } vj_state_kind;

// One network's state as the training program holds it: per unit, the flat interval this rank owns, on the device.
typedef struct vj_state_part {
    const char *network;          // "encoder", "predictor", "target_encoder"
    vj_state_kind kind;
    const vj_layout *layout;
    const vj_tensor *shards;      // n_units flat tensors
    const int64_t *begin;         // n_units: where each shard starts in its unit
    // NULL, or where the elements come from instead of the shards' memory (the shards then only say how many, and of which
    // type): writes [first, first + count) of unit `unit` to `out`. For states that are never whole in memory.
    vj_status (*fill)(void *context, const struct vj_state_part *part, int unit, int64_t first, int64_t count,
                      void *out);
    void *fill_context;
} vj_state_part;

// What is not a tensor.
typedef struct vj_run_state {
    char run_id[40];              // made at the run's birth
    char phase[16];               // "pretrain", "cooldown"
    char schedule_phase[16];      // "warmup", "constant", "decay": what `RUN` means for a cooldown
    int64_t step;                 // optimiser steps of this run
    int64_t adam_step;            // t of the bias corrections (carried over by a cooldown)
    uint64_t cursor;              // next global sample index
    uint64_t seed;
    uint64_t plan_digest, catalog_digest, quarantine_digest;
    char parent[VJ_MAX_RANK * 64];   // reference of the checkpoint a cooldown came from, or ""
    char model_digest[65];        // SHA-256 of the model's parameter table: another model's checkpoint is refused
    char isa[16], gemm[48];
    const char *config_yaml;      // resolved configuration; when loading: owned by the vj_checkpoint
    const char *quarantine_json;  // the loader's quarantine set as JSON text; may be NULL
    double wall_seconds;          // training time so far
} vj_run_state;

// Saves under RUN/ckpt, commits (shard synced, manifest, rename, LATEST), then prunes to the newest `keep` checkpoints
// plus every multiple of `keep_every` steps (0: none), the last of the constant phase, the recommended one and pinned
// ones. Disk need is checked first. Synchronises the stream.
vj_status vj_checkpoint_save(const char *run_dir, const vj_state_part *parts, int n_parts, const vj_run_state *state,
                             vj_stream *st, int64_t keep, int64_t keep_every) VJ_MUST_CHECK;

// The same by all ranks of `comm` together: each gives the intervals that it owns, everything once over all ranks, and writes a shard of
// its own. `run_dir` is one place for all. The status is the same on all ranks; the message is where it failed.
vj_status vj_checkpoint_save_ranks(vj_comm *comm, const char *run_dir, const vj_state_part *parts, int n_parts, const vj_run_state *state,
                                   vj_stream *st, int64_t keep, int64_t keep_every) VJ_MUST_CHECK;

typedef struct vj_checkpoint vj_checkpoint;   // an opened, validated manifest

// REF: a run directory (latest valid; with `for_cooldown` the last whose schedule_phase is "warmup" or "constant"),
// RUN@STEP, RUN@recommended (what its run.json recommends to cool down from), or a checkpoint directory. A run
// directory whose newest checkpoint is damaged falls back to the newest valid one with a warning; one named explicitly
// that is damaged is VJ_ERR_CHECKPOINT. VJ_ERR_CONFIG when nothing is there.
vj_status vj_checkpoint_open(vj_checkpoint **out, const char *ref, bool for_cooldown) VJ_MUST_CHECK;
void vj_checkpoint_destroy(vj_checkpoint **c);
const vj_run_state *vj_checkpoint_state(const vj_checkpoint *c);
const char *vj_checkpoint_path(const vj_checkpoint *c);
const vj_layout *vj_checkpoint_layout(const vj_checkpoint *c, const char *network);   // NULL: no such network
// Whether there are moments of this kind (parameters are always there); imported weights may have none.
bool vj_checkpoint_has(const vj_checkpoint *c, const char *network, vj_state_kind kind);
// File `index` of the checkpoint besides its manifest; NULL behind the last.
const char *vj_checkpoint_file(const vj_checkpoint *c, int64_t index, int64_t *bytes);
// Reads each part's intervals (by interval intersection over the shards; at most a piece of VJ_CKPT_PIECE bytes more at either end
// of each), verifies checksums, uploads. Names, shapes
// and units must match the layouts; the first difference is named (VJ_ERR_CONFIG). Floats are converted to the device's
// real.
vj_status vj_checkpoint_load(const vj_checkpoint *c, const vj_state_part *parts, int n_parts,
                             vj_stream *st) VJ_MUST_CHECK;
int64_t vj_checkpoint_bytes_read(void);   // of payload, by all loads and checks of this process so far
// Reads one parameter (official name with its network, "encoder.blocks.0.attn.qkv.weight") as float32, host. Its bytes
// are not checked: whoever takes single parameters from a foreign place calls vj_checkpoint_verify first.
vj_status vj_checkpoint_read_param(const vj_checkpoint *c, const char *name, vj_state_kind kind, float *out,
                                   int64_t count) VJ_MUST_CHECK;
// Writes the checkpoint again as the directory `out`, which is not there yet, in the files that `ranks` ranks would have written; state
// and hash stay. All bytes of the source are checked first. Memory: a block of VJ_CKPT_BLOCK bytes and the manifest.
vj_status vj_checkpoint_reshard(const vj_checkpoint *from, const char *out, int64_t ranks) VJ_MUST_CHECK;

// `vjepa checkpoint hash` (contracts 4): the hex digest; with `lines` not NULL also the hashed lines. All bytes are
// checked first: VJ_ERR_CHECKPOINT instead of the hash of a damaged state.
vj_status vj_checkpoint_hash(const vj_checkpoint *c, char hex[65], vj_str *lines) VJ_MUST_CHECK;
// All bytes against all checksums; the first damage is the message. A run directory means its newest checkpoint,
// damaged or not: nothing older is looked at instead. VJ_ERR_MISMATCH: bytes are wrong; VJ_ERR_CHECKPOINT: a file is
// missing or cannot be read.
vj_status vj_checkpoint_verify(const char *ref) VJ_MUST_CHECK;

// The step that RUN/run.json recommends to cool down from, -1 when it recommends none; then *why (may be NULL; append)
// receives its reason, if it gives one. VJ_ERR_CONFIG: run.json is missing or is none.
vj_status vj_checkpoint_recommended(const char *run_dir, int64_t *step, vj_str *why) VJ_MUST_CHECK;

typedef struct vj_checkpoint_info {
    char path[512];
    int64_t step, bytes;
    bool valid;
    char phase[16], schedule_phase[16], written[32], problem[256];
} vj_checkpoint_info;
// All checkpoints of a run directory, by step; free() *out. Validation here is of the manifest, not of payload.
vj_status vj_checkpoint_list(const char *run_dir, vj_checkpoint_info **out, int64_t *count) VJ_MUST_CHECK;

#endif
