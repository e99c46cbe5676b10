// The queues of the device `far`: one thread a stream runs items in order. A push waits while the ring is full.

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/tensor/device_impl.h"

enum { RING = 256 };

struct vj_far_queue {
    vj_device *device;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t pushed, done;
    bool stop;
    vj_item ring[RING];
};

static void *stream_main(void *arg)
{
    struct vj_far_queue *q = arg;
    vj_cpu_thread_start();
    pthread_mutex_lock(&q->mutex);
    for (;;) {
        while (q->done == q->pushed && !q->stop) pthread_cond_wait(&q->changed, &q->mutex);
        if (q->done == q->pushed) break;
        vj_item *item = &q->ring[q->done % RING];   // stays ours until `done` passes it
        pthread_mutex_unlock(&q->mutex);
        const int delay = atomic_load(&q->device->delay_us);
        if (delay > 0) usleep((useconds_t)delay);
        vj_item_run(q->device, item);
        pthread_mutex_lock(&q->mutex);
        q->done++;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->mutex);
    return NULL;
}

vj_status vj_far_stream_start(vj_stream *st)
{
    struct vj_far_queue *q = NULL;
    VJ_TRY(vj_host_alloc(&q, sizeof *q, "a stream's queue"));
    q->device = st->device;
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->changed, NULL);
    if (pthread_create(&q->thread, NULL, stream_main, q) != 0) {
        vj_host_free(q);
        VJ_FAIL(VJ_ERR_NOMEM, "cannot start the thread of a stream");
    }
    st->queue = q;
    return VJ_OK;
}

void vj_far_stream_stop(vj_stream *st)
{
    struct vj_far_queue *q = st->queue;
    pthread_mutex_lock(&q->mutex);
    q->stop = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
    pthread_join(q->thread, NULL);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->mutex);
    vj_host_free(q);
    st->queue = NULL;
}

void vj_far_push(vj_stream *st, const vj_item *item)
{
    struct vj_far_queue *q = st->queue;
    pthread_mutex_lock(&q->mutex);
    while (q->pushed - q->done == RING) pthread_cond_wait(&q->changed, &q->mutex);
    memcpy(&q->ring[q->pushed % RING], item, sizeof *item);
    q->pushed++;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
}

void vj_far_drain(vj_stream *st)
{
    struct vj_far_queue *q = st->queue;
    pthread_mutex_lock(&q->mutex);
    const int64_t until = q->pushed;
    while (q->done < until) pthread_cond_wait(&q->changed, &q->mutex);
    pthread_mutex_unlock(&q->mutex);
}

void vj_far_delay(vj_device *device, int microseconds) { atomic_store(&device->delay_us, microseconds); }
