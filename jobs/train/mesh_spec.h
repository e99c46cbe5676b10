// From parallel.* to a mesh.
#ifndef VJ_JOBS_TRAIN_MESH_SPEC_H
#define VJ_JOBS_TRAIN_MESH_SPEC_H

#include "configs/run_config.h"
#include "model/vjepa.h"

// What `ranks` ranks share how. parallel.reshard_after_forward=auto keeps whole weights between forward and backward where that adds at
// most a tenth to a rank's memory, counted from `bound` (its mesh is not looked at), so that all ranks decide alike.
vj_status vj_mesh_spec_of(const vj_run_config *c, int ranks, int64_t mask_tokens, const vj_slot_bound *bound, vj_dtype real,
                          vj_mesh_spec *out) VJ_MUST_CHECK;

#endif
