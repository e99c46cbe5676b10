// How much room a stage's slots take: masks are drawn, so nobody knows the largest before it comes. Buffers are made for the largest of
// some that are drawn ahead, and grow when a slot needs more (vj_vjepa_room). `config check` counts with the same.
#ifndef VJ_JOBS_TRAIN_ROOM_H
#define VJ_JOBS_TRAIN_ROOM_H

#include "configs/run_config.h"
#include "data/masks.h"
#include "model/vjepa.h"

// Clips and slots of a stage alone: a bound for any masks.
vj_slot_bound vj_room_any(const vj_run_config *stage);
// The same with the rows of drawn masks, on every rank alike. `counts` (VJ_MAX_MASKS) may be NULL.
vj_status vj_room_expected(const vj_run_config *stage, vj_slot_bound *out, vj_mask_counts *counts) VJ_MUST_CHECK;

#endif
