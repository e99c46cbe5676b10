// What a device is made of; private to runtime/. ref and cpu run everything at once on the calling thread (and the
// pool); far (runtime/far) puts a queue and an address offset in between.
#ifndef VJ_RUNTIME_TENSOR_DEVICE_IMPL_H
#define VJ_RUNTIME_TENSOR_DEVICE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "runtime/ops/ops_impl.h"

enum { VJ_SCRATCH_BYTES = 16 << 20 };   // per worker
enum { VJ_SHARED_BYTES = 34 << 20 };    // of all workers: 1,024 columns of packed weights, 8,192 long

struct vj_device {
    char name[8];
    const char *isa, *gemm;
    vj_dtype real;
    vj_kernel_table table;
    vj_exec exec;
    uintptr_t offset;               // device address = real address + offset; 0 on ref and cpu
    bool queued;                    // work goes through a stream's thread
    pthread_mutex_t kernels;        // one kernel at a time: the pool is shared by all streams
    atomic_int_fast64_t bytes;
    atomic_int delay_us;            // far: wait before each item (tests)
    bool stats;
    struct { int64_t calls; double seconds, flop; } stat[VJ_OP_COUNT];
};

typedef enum vj_item_kind { VJ_ITEM_OP, VJ_ITEM_COPY, VJ_ITEM_ZERO, VJ_ITEM_RECORD, VJ_ITEM_WAIT } vj_item_kind;
typedef struct vj_item {
    vj_item_kind kind;
    vj_op op;
    void *dst;
    const void *src;
    size_t bytes;
    struct vj_event *event;
    int64_t ticket;
    _Alignas(16) char args[256];
} vj_item;

struct vj_event {
    vj_device *device;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t recorded, reached;      // tickets: the last one asked for, the last one passed
};

struct vj_stream {
    vj_device *device;
    struct vj_far_queue *queue;     // NULL on ref and cpu
};

// Runs one item now, on the calling thread, with real addresses.
void vj_item_run(vj_device *device, const vj_item *item);
// runtime/far/far.c
vj_status vj_far_stream_start(vj_stream *st) VJ_MUST_CHECK;
void vj_far_stream_stop(vj_stream *st);
void vj_far_push(vj_stream *st, const vj_item *item);
void vj_far_drain(vj_stream *st);
// Tests: every queued item waits this long first, so that host code that forgets to synchronise reads stale bytes.
void vj_far_delay(vj_device *device, int microseconds);

const char *vj_cpu_gemm_name(void);
void vj_cpu_thread_start(void);     // every thread that runs kernels calls it once

#endif
