// Stages: a run that changes resolution, frames or frame rate on its way, such as a progressive cooldown 256 -> 384 -> 512
// (spec/data.md 4.8). Keys stages.*; without them a run is one stage with the values of data.* and mask.group.
//
// Weights, optimiser, schedules and the order of samples go on through a border; only the shape of clips changes.
#ifndef VJ_CONFIGS_STAGES_CONFIG_H
#define VJ_CONFIGS_STAGES_CONFIG_H

#include "runtime/config/config.h"

typedef struct vj_stages_config {
    vj_int_list from;       // stages.from: first step of each stage, ascending from 0; empty: one stage
    vj_int_list crop;       // stages.crop: pixels, one per stage; empty: data.crop in all
    vj_int_list frames;     // stages.frames: frames per clip; empty: data.fpc in all
    vj_float_list fps;      // stages.fps; empty: data.fps in all
    vj_int_list group;      // stages.group: samples of a slot; empty: mask.group in all
} vj_stages_config;

extern const vj_field vj_stages_fields[];

#endif
