// Pinned checkpoints: RUN/pins.json names steps that no retention removes. Written atomically; when it cannot be read,
// nothing is removed at all.
#ifndef VJ_CHECKPOINTS_PINS_H
#define VJ_CHECKPOINTS_PINS_H

#include "runtime/base/status.h"

typedef struct vj_pin { int64_t step; char why[200], when[32]; } vj_pin;
typedef struct vj_pins { vj_pin *v; int64_t n; } vj_pins;

vj_status vj_pins_read(const char *run_dir, vj_pins *out) VJ_MUST_CHECK;   // none: n = 0
void vj_pins_free(vj_pins *pins);
const vj_pin *vj_pins_find(const vj_pins *pins, int64_t step);             // NULL: not pinned
// Adds or replaces; `why` may be "". The checkpoint's existence is the caller's to check.
vj_status vj_pin_set(const char *run_dir, int64_t step, const char *why) VJ_MUST_CHECK;
vj_status vj_pin_clear(const char *run_dir, int64_t step) VJ_MUST_CHECK;   // VJ_ERR_USAGE: it was not pinned

// What retention does with one checkpoint of a run.
typedef struct vj_kept {
    int64_t step, bytes;
    bool stays;
    char path[512], why[240];    // why it stays, or ""
} vj_kept;
// Which checkpoints stay: the newest `keep`, multiples of `keep_every` (0: none), the last of the constant phase,
// pinned ones, the recommended one; damaged ones are for a person to look at. free() *out.
vj_status vj_retention_plan(const char *run_dir, int64_t keep, int64_t keep_every, vj_kept **out,
                            int64_t *n) VJ_MUST_CHECK;
// Removes what the plan does not keep, oldest first; each is out of sight before it goes.
vj_status vj_retention_apply(const char *run_dir, const vj_kept *plan, int64_t n) VJ_MUST_CHECK;

#endif
