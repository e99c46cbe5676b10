// A pool for data-parallel loops inside ops, and a bounded queue for pipelines.
#ifndef VJ_RUNTIME_BASE_THREAD_H
#define VJ_RUNTIME_BASE_THREAD_H

#include "runtime/base/status.h"

typedef struct vj_pool vj_pool;
// A task: `task` in [0, count), `worker` in [0, threads) says which per-thread scratch to use.
typedef void (*vj_task_fn)(void *context, int64_t task, int worker);

// `threads` workers counting the caller. Worker threads call `thread_start` once (may be NULL): the GEMM library needs
// omp_set_num_threads(1) on every thread that calls it.
vj_status vj_pool_create(vj_pool **out, int threads, void (*thread_start)(void)) VJ_MUST_CHECK;
void vj_pool_destroy(vj_pool **pool);
int vj_pool_threads(const vj_pool *pool);
// Runs all tasks and returns when the last has ended. Tasks are handed out one by one as threads become free, so what a
// task computes must not depend on its worker. Not reentrant: a task must not call vj_pool_run on the same pool.
void vj_pool_run(vj_pool *pool, int64_t count, vj_task_fn fn, void *context);

// CPUs this process may use: affinity mask and cgroup quota, at least 1; OMP_NUM_THREADS is obeyed when set.
int vj_cpu_count(void);

// Bounded FIFO of pointers, many producers and consumers.
typedef struct vj_queue vj_queue;
vj_status vj_queue_create(vj_queue **out, int capacity) VJ_MUST_CHECK;
void vj_queue_destroy(vj_queue **queue);
bool vj_queue_push(vj_queue *queue, void *item);    // waits while full; false once closed
bool vj_queue_pop(vj_queue *queue, void **item);    // waits while empty; false once closed and empty
void vj_queue_close(vj_queue *queue);               // wakes everybody

#endif
