// Configuration of data and masks. The tables are in data/data_config.c; keys are `data.*` and `mask.*`.
#ifndef VJ_DATA_DATA_CONFIG_H
#define VJ_DATA_DATA_CONFIG_H

#include "runtime/config/config.h"

typedef enum vj_temporal { VJ_TEMPORAL_PAPER_CODE, VJ_TEMPORAL_PTS } vj_temporal;
typedef enum vj_mask_rng { VJ_MASK_PHILOX, VJ_MASK_OFFICIAL } vj_mask_rng;
typedef enum vj_mask_truncate { VJ_TRUNCATE_SLOT, VJ_TRUNCATE_GLOBAL, VJ_TRUNCATE_FIXED,
                                VJ_TRUNCATE_RANK } vj_mask_truncate;

typedef struct vj_data_config {
    char dir[VJ_TEXT_MAX];           // data.dir: shards made by `vjepa data pack`
    vj_weight_list weights;          // data.weights: source -> weight; empty: the catalogue's
    char mix[VJ_TEXT_MAX];           // data.mix: later weights, "STEP: a=1 b=3; STEP: a=0"
    vj_int_list fpc;                 // data.fpc: frames per clip, one for all sources or one per source
    double fps;                      // data.fps
    int64_t crop;                    // data.crop: pixels
    int temporal;                    // data.temporal: vj_temporal
    double crop_scale_low, crop_scale_high;   // data.crop_scale_low/high: 0.3, 1.0
    double crop_ratio_low, crop_ratio_high;   // data.crop_ratio_low/high: 0.75, 1.35
    bool flip;                       // data.flip
    bool batch_exact;                // data.batch_exact: quotas exact in every batch (block = batch)
    int64_t threads;                 // data.threads: decoding threads, auto = CPUs
    int64_t prefetch;                // data.prefetch: batches in flight
    double max_bad;                  // data.max_bad: ceiling of bad samples per source, a fraction (and at least 3 samples)
    double io_warn, io_hedge, io_fatal;       // data.io_warn_s, data.io_hedge_s, data.io_fatal_s: seconds; 0: never
} vj_data_config;

typedef struct vj_mask_config {
    int64_t group;                   // mask.group: samples of a slot
    int rng, truncate;               // mask.rng, mask.truncate
    int64_t n;                       // number of mask configurations = length of the lists below
    vj_int_list blocks;              // mask.blocks: [8, 2]
    vj_float_list spatial_low, spatial_high;     // mask.spatial_low/high: [0.15, 0.7]
    vj_float_list temporal_low, temporal_high;   // mask.temporal_low/high: [1.0, 1.0]
    vj_float_list aspect_low, aspect_high;       // mask.aspect_low/high: [0.75, 0.75], [1.5, 1.5]
    vj_float_list max_temporal_keep;             // mask.max_temporal_keep: [1.0, 1.0]
    vj_int_list max_keep;                        // mask.max_keep: [0, 0]; 0 = no limit
} vj_mask_config;

// One change of data.mix.
typedef struct vj_mix_change { int64_t step; vj_weight_list weights; } vj_mix_change;
// Up to VJ_LIST_MAX changes in ascending order of steps. VJ_ERR_CONFIG says what is wrong with the text.
vj_status vj_mix_parse(const char *text, vj_mix_change out[VJ_LIST_MAX], int *n) VJ_MUST_CHECK;

extern const vj_field vj_data_fields[];
extern const vj_field vj_mask_fields[];
// Cross-field rules, reported on `config`.
void vj_data_config_check(vj_config *config, const vj_data_config *data, vj_mask_config *masks);

#endif
