// Who trains in a run directory: RUN/lock, one line of JSON.
//
//   {"host":"n17","pid":4711,"started":"8123456","system":"...","token":"32 hex digits","since":"2026-03-01T12:00:00Z",
//    "state":"held"}
//
// Nothing is asked of the file system but what NFS and the parallel ones give: link and rename are atomic, times are the
// server's. flock is not used. Every life has a token of its own.
//
// A lock is free when there is none, when its state is "released", when its process is gone from this machine, or when it is
// another machine's, or unreadable, and was not renewed for VJ_RUN_LOCK_STALE_S. The holder renews it (its modification time) every VJ_RUN_LOCK_BEAT_S in a thread. A process of this
// machine counts as alive while it exists, stopped or not; its pid, start time, boot and pid namespace are compared.
//
// Easy to get wrong: two may find the same lock stale. The right to follow the life with token T is the name RUN/lock.after-T,
// which only one can make (link). So the holder is the last of the chain lock, lock.after-(its token), ...; whoever made a
// name looks at the chain again before it believes that it holds the lock. Renaming over `lock`, and removing the
// names, is then only tidying up; a crash anywhere leaves a chain that the next one follows.
#ifndef VJ_JOBS_TRAIN_RUN_LOCK_H
#define VJ_JOBS_TRAIN_RUN_LOCK_H

#include "runtime/base/status.h"

#define VJ_RUN_LOCK_BEAT_S 2
#define VJ_RUN_LOCK_STALE_S 30

typedef struct vj_run_lock vj_run_lock;

// VJ_ERR_CONFIG: somebody else holds it (who, since when, what to do). VJ_ERR_IO: the directory cannot be written.
vj_status vj_run_lock_take(vj_run_lock **out, const char *dir) VJ_MUST_CHECK;
// VJ_ERR_IO: the lock is another's by now, or gone: nothing may be written any more. `look`: reads the file; else it is read
// only when the thread has not done so lately. NULL: VJ_OK.
vj_status vj_run_lock_check(vj_run_lock *lock, bool look) VJ_MUST_CHECK;
// The file stays, as released. NULL is fine.
void vj_run_lock_release(vj_run_lock **lock);

#endif
