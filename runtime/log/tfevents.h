// TensorBoard event files: scalars only, made without TensorFlow or protobuf.
//
// A file is a row of records (TFRecord): length (8 bytes, little-endian), its masked CRC-32C, the bytes, their masked CRC-32C.
// The bytes are a protobuf `Event`: the first says the file's version, a restart is a `SessionLog` of status START, scalars
// are a `Summary` of (tag, float32).
#ifndef VJ_RUNTIME_LOG_TFEVENTS_H
#define VJ_RUNTIME_LOG_TFEVENTS_H

#include "runtime/base/status.h"

typedef struct vj_scalar { const char *name; double value; } vj_scalar;
typedef struct vj_tfevents vj_tfevents;

// Makes DIR (when missing) and in it events.out.tfevents.TIME.HOST.PID.0, TIME being `wall` (seconds since 1970), or later
// than that of every such file in DIR: readers take files in the order of their names. With `restart_from` >= 0 the file
// begins with a restart at that step: readers forget what earlier files say of it and of later ones. VJ_ERR_IO.
vj_status vj_tfevents_open(vj_tfevents **out, const char *dir, double wall, int64_t restart_from) VJ_MUST_CHECK;
// One event with all scalars of a step; those that are not finite are left out. Written at once. VJ_ERR_IO.
vj_status vj_tfevents_put(vj_tfevents *e, double wall, int64_t step, const vj_scalar *scalars, int n) VJ_MUST_CHECK;
// Cuts every such file of DIR (which may be missing) before its first event of a step beyond `last_step`, and before a record
// that is torn or damaged. Readers that come later then need no restart, and some heed none: TensorBoard's fast loader drops
// old steps only from the first step on that comes again. VJ_ERR_IO.
vj_status vj_tfevents_cut(const char *dir, int64_t last_step) VJ_MUST_CHECK;
const char *vj_tfevents_path(const vj_tfevents *e);
void vj_tfevents_close(vj_tfevents **e);

#endif
