// The pool: workers spin for a few microseconds after a loop, since training is made of many short loops, then sleep.
//
// Easy to get wrong: a worker may still be on its way out of one loop when the next begins. `generation` counts loops and
// `busy` the workers that have not left the current one; the caller starts a new loop only when busy is 0.

#include "runtime/base/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"

// Spinning pays for short gaps only: a core that spins is a core that no loader thread decodes on.
#define WORKER_SPIN 50e-6    // seconds that a worker waits for the next loop before it sleeps
#define CALLER_SPIN 200e-6   // and the caller for the last tasks: waking it costs every loop, a worker only one core

struct vj_pool {
    int threads;
    void (*thread_start)(void);
    pthread_t *handles;
    pthread_mutex_t mutex;
    pthread_cond_t work, idle;
    atomic_int_fast64_t generation, next;
    atomic_int busy, sleeping;
    bool caller_sleeps;
    atomic_bool stop;
    vj_task_fn fn;
    void *context;
    int64_t count;
};

typedef struct worker_start { vj_pool *pool; int index; } worker_start;

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void take_tasks(vj_pool *p, int worker)
{
    for (;;) {
        const int64_t task = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (task >= p->count) return;
        p->fn(p->context, task, worker);
    }
}

// Spins while `condition` holds, for `seconds` at most. A pause takes 10 to 150 cycles, depending on the CPU, so the clock
// bounds it; reading the clock costs as much as a pause or two and is done every 16th time.
#define SPIN_WHILE(condition, seconds)                                                                                 \
    do {                                                                                                               \
        const double from_ = vj_now();                                                                                 \
        for (int i_ = 1; (condition) && (i_ % 16 != 0 || vj_now() - from_ < (seconds)); i_++) pause_cpu();             \
    } while (0)

// Waits for a generation other than `seen`; false when the pool is being destroyed.
static bool next_generation(vj_pool *p, int_fast64_t seen)
{
    SPIN_WHILE(atomic_load_explicit(&p->generation, memory_order_acquire) == seen, WORKER_SPIN);
    if (atomic_load_explicit(&p->generation, memory_order_acquire) != seen) return !atomic_load(&p->stop);
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleeping, 1);
    while (atomic_load(&p->generation) == seen) pthread_cond_wait(&p->work, &p->mutex);
    atomic_fetch_sub(&p->sleeping, 1);
    pthread_mutex_unlock(&p->mutex);
    return !atomic_load(&p->stop);
}

static void *worker_main(void *arg)
{
    worker_start start = *(worker_start *)arg;
    free(arg);
    vj_pool *p = start.pool;
    if (p->thread_start) p->thread_start();
    int_fast64_t seen = 0;
    while (next_generation(p, seen)) {
        seen++;
        take_tasks(p, start.index);
        if (atomic_fetch_sub_explicit(&p->busy, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&p->mutex);
            if (p->caller_sleeps) pthread_cond_signal(&p->idle);
            pthread_mutex_unlock(&p->mutex);
        }
    }
    return NULL;
}

static void announce(vj_pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->sleeping) > 0) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->mutex);
    }
}

vj_status vj_pool_create(vj_pool **out, int threads, void (*thread_start)(void))
{
    *out = NULL;
    VJ_CHECK(threads >= 1 && threads <= 1024, VJ_ERR_USAGE, "threads = %d: 1 to 1024 are possible", threads);
    vj_pool *p = NULL;
    VJ_TRY(vj_host_alloc(&p, sizeof *p, "a thread pool"));
    p->threads = 1;
    p->thread_start = thread_start;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->idle, NULL);
    vj_status status = vj_host_alloc(&p->handles, (size_t)threads * sizeof *p->handles, "a thread pool");
    for (int i = 1; i < threads && status == VJ_OK; i++) {
        worker_start *start = malloc(sizeof *start);
        if (start) *start = (worker_start){ p, i };
        const int error = start ? pthread_create(&p->handles[i], NULL, worker_main, start) : -1;
        if (error != 0) {
            free(start);
            status = vj_fail(VJ_ERR_NOMEM, "cannot start thread %d of %d: %s", i, threads, strerror(error > 0 ? error : 12));
        } else {
            p->threads = i + 1;
        }
    }
    if (status != VJ_OK) {
        vj_pool_destroy(&p);
        return status;
    }
    if (thread_start) thread_start();
    *out = p;
    return VJ_OK;
}

void vj_pool_destroy(vj_pool **pool)
{
    vj_pool *p = *pool;
    if (!p) return;
    atomic_store(&p->stop, true);
    announce(p);
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->mutex);
    for (int i = 1; i < p->threads; i++) pthread_join(p->handles[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->mutex);
    vj_host_free(p->handles);
    vj_host_free(p);
    *pool = NULL;
}

int vj_pool_threads(const vj_pool *pool) { return pool->threads; }

void vj_pool_run(vj_pool *p, int64_t count, vj_task_fn fn, void *context)
{
    if (count <= 0) return;
    if (p->threads == 1 || count == 1) {
        for (int64_t task = 0; task < count; task++) fn(context, task, 0);
        return;
    }
    p->fn = fn;
    p->context = context;
    p->count = count;
    atomic_store(&p->next, 0);
    atomic_store(&p->busy, p->threads - 1);
    announce(p);
    take_tasks(p, 0);
    SPIN_WHILE(atomic_load_explicit(&p->busy, memory_order_acquire) != 0, CALLER_SPIN);
    if (atomic_load_explicit(&p->busy, memory_order_acquire) == 0) return;
    pthread_mutex_lock(&p->mutex);
    p->caller_sleeps = true;
    while (atomic_load(&p->busy) != 0) pthread_cond_wait(&p->idle, &p->mutex);
    p->caller_sleeps = false;
    pthread_mutex_unlock(&p->mutex);
}

struct vj_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled, emptied;
    void **item;
    int capacity, first, count;
    bool closed;
};

vj_status vj_queue_create(vj_queue **out, int capacity)
{
    *out = NULL;
    VJ_ASSERT(capacity >= 1);
    vj_queue *q = NULL;
    VJ_TRY(vj_host_alloc(&q, sizeof *q, "a queue"));
    vj_status status = vj_host_alloc(&q->item, (size_t)capacity * sizeof *q->item, "a queue");
    if (status != VJ_OK) {
        vj_host_free(q);
        return status;
    }
    q->capacity = capacity;
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->filled, NULL);
    pthread_cond_init(&q->emptied, NULL);
    *out = q;
    return VJ_OK;
}

void vj_queue_destroy(vj_queue **queue)
{
    vj_queue *q = *queue;
    if (!q) return;
    pthread_cond_destroy(&q->filled);
    pthread_cond_destroy(&q->emptied);
    pthread_mutex_destroy(&q->mutex);
    vj_host_free(q->item);
    vj_host_free(q);
    *queue = NULL;
}

bool vj_queue_push(vj_queue *q, void *item)
{
    pthread_mutex_lock(&q->mutex);
    while (q->count == q->capacity && !q->closed) pthread_cond_wait(&q->emptied, &q->mutex);
    const bool open = !q->closed;
    if (open) {
        q->item[(q->first + q->count++) % q->capacity] = item;
        pthread_cond_signal(&q->filled);
    }
    pthread_mutex_unlock(&q->mutex);
    return open;
}

bool vj_queue_pop(vj_queue *q, void **item)
{
    pthread_mutex_lock(&q->mutex);
    while (q->count == 0 && !q->closed) pthread_cond_wait(&q->filled, &q->mutex);
    const bool there = q->count > 0;
    if (there) {
        *item = q->item[q->first];
        q->first = (q->first + 1) % q->capacity;
        q->count--;
        pthread_cond_signal(&q->emptied);
    }
    pthread_mutex_unlock(&q->mutex);
    return there;
}

void vj_queue_close(vj_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_cond_broadcast(&q->filled);
    pthread_cond_broadcast(&q->emptied);
    pthread_mutex_unlock(&q->mutex);
}
