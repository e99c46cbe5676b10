// A run directory belongs to one run: the same command continues it, another one is refused, --fresh moves the old
// content aside (contracts section 4).
//
//   RUN/run.json        identity: run id, phase, parent; written once, but for `recommended`: which checkpoint to cool
//                       down from, and why
//   RUN/config.yaml     the resolved configuration the run was born with
//   RUN/metrics.jsonl   one line per logged step (runtime/README.md)
//   RUN/warnings.jsonl  one line per warning that begins or ends (runtime/README.md)
//   RUN/log.txt         what was said, dated
//   RUN/summary.json    the last figures, written at every stop; not there while steps are made
//   RUN/ckpt/           checkpoints (checkpoints/README.md)
//   RUN/rollbacks.jsonl which samples the run leaves out since it went back to a checkpoint (rollback.c)
//   RUN/lock            who trains here (run_lock.h)
#ifndef VJ_JOBS_TRAIN_RUN_DIR_H
#define VJ_JOBS_TRAIN_RUN_DIR_H

#include "configs/run_config.h"

typedef struct vj_run_dir {
    char path[512];
    char run_id[40];
    char phase[16];        // "pretrain" | "cooldown"
    char parent[320];      // checkpoint directory a cooldown came from, else ""
    int64_t parent_step;   // its step; -1 without parent
    char init_from[512];   // what init.from named when the run began (RUN: the checkpoint), else ""
    char init[65];         // digest of those weights, else ""
    bool resumed;          // the run existed before this start
    struct vj_run_lock *lock;   // NULL: not held (run_lock.h)
} vj_run_dir;

// Opens or makes the directory for a run of `phase`. `parent` (a checkpoint directory) and `parent_step` are those of a
// new cooldown, "" and -1 otherwise; when the run exists already, its own are returned and a different one is refused.
// `init_from` and `init`: of what init.from names, "" without; of a run that exists its own are returned, which may be
// others: a file may have changed, a run may have gone on, since.
// A run that came neither to a line of metrics nor to a checkpoint has nothing to lose: another one takes its place.
// VJ_ERR_CONFIG: the directory belongs to another run (what differs is listed), holds something that is no run, or
// another process trains in it.
vj_status vj_run_dir_open(vj_run_dir *out, const char *path, const char *phase, const char *parent, int64_t parent_step,
                          const char *init_from, const char *init, const vj_config *config, bool fresh) VJ_MUST_CHECK;
void vj_run_dir_close(vj_run_dir *run);
// VJ_ERR_IO: another process took the lock meanwhile, nothing may be written (run_lock.h). VJ_OK where it was never held.
vj_status vj_run_dir_held(vj_run_dir *run, bool look) VJ_MUST_CHECK;
// The identity of an existing run, without locking; VJ_ERR_CONFIG when there is none.
vj_status vj_run_dir_read(vj_run_dir *out, const char *path) VJ_MUST_CHECK;
bool vj_run_dir_exists(const char *path);
struct vj_recommendation;
// Writes `recommended` into run.json, whose other members stay; nothing is written when it is there already.
vj_status vj_run_dir_recommend(const vj_run_dir *run, const struct vj_recommendation *r) VJ_MUST_CHECK;

#endif
