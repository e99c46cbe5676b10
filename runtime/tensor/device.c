// Devices: memory, streams, events, copies. On ref and cpu an item runs at once; on far it is queued.

#include "runtime/tensor/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/str.h"
#include "runtime/tensor/device_impl.h"

const char *vj_device_name(const vj_device *d) { return d->name; }
const char *vj_device_isa(const vj_device *d) { return d->isa; }
vj_dtype vj_device_real(const vj_device *d) { return d->real; }
int vj_device_threads(const vj_device *d) { return vj_pool_threads(d->exec.pool); }
const char *vj_device_gemm(const vj_device *d) { return d->gemm; }
int64_t vj_device_bytes(const vj_device *d) { return atomic_load(&d->bytes); }
bool vj_device_host_memory(const vj_device *d) { return strcmp(vj_device_name(d), "far") != 0; }

// ---- memory: pages of their own, with the size kept in front so that free needs only the address ------------------
enum { PAGE = 4096 };

static double memory_of_machine(void) { return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE); }

vj_status vj_device_alloc(vj_device *d, void **address, size_t bytes, const char *what)
{
    *address = NULL;
    // The kernel would promise more than there is, and kill the process when it is touched: refuse here.
    const size_t total = (bytes + PAGE - 1) / PAGE * PAGE + PAGE;
    char *p = total > bytes && (double)total <= memory_of_machine()
                  ? mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                  : MAP_FAILED;
    if (p == MAP_FAILED) {
        char wanted[24], has[24], given[24];
        vj_bytes_text(wanted, (double)bytes);
        vj_bytes_text(has, memory_of_machine());
        vj_bytes_text(given, (double)vj_device_bytes(d));
        VJ_FAIL(VJ_ERR_NOMEM,
                "device %s: no memory for %s (%s): the machine has %s, %s are given out; use a smaller mask.group, or "
                "model.recompute=block",
                d->name, what, wanted, has, given);
    }
    if (total > ((size_t)4 << 20)) madvise(p, total, MADV_HUGEPAGE);
    memcpy(p, &total, sizeof total);
    atomic_fetch_add(&d->bytes, (int64_t)(total - PAGE));
    *address = (void *)((uintptr_t)p + PAGE + d->offset);
    return VJ_OK;
}

void vj_device_free(vj_device *d, void *address)
{
    if (!address) return;
    char *p = (char *)((uintptr_t)address - d->offset) - PAGE;
    size_t total;
    memcpy(&total, p, sizeof total);
    atomic_fetch_sub(&d->bytes, (int64_t)(total - PAGE));
    munmap(p, total);
}

// ---- items --------------------------------------------------------------------------------------------------------
static void run_op(vj_device *d, vj_op op, const void *args)
{
    pthread_mutex_lock(&d->kernels);
    const double started = d->stats ? vj_now() : 0;
    d->table.run[op](&d->exec, args);
    if (d->stats) {
        d->stat[op].calls++;
        d->stat[op].seconds += vj_now() - started;
        d->stat[op].flop += vj_op_flop(op, args);
    }
    pthread_mutex_unlock(&d->kernels);
}

void vj_item_run(vj_device *d, const vj_item *item)
{
    switch (item->kind) {
    case VJ_ITEM_OP: run_op(d, item->op, item->args); break;
    case VJ_ITEM_COPY: memmove(item->dst, item->src, item->bytes); break;
    case VJ_ITEM_ZERO: memset(item->dst, 0, item->bytes); break;
    case VJ_ITEM_RECORD:
        pthread_mutex_lock(&item->event->mutex);
        if (item->ticket > item->event->reached) item->event->reached = item->ticket;
        pthread_cond_broadcast(&item->event->changed);
        pthread_mutex_unlock(&item->event->mutex);
        break;
    case VJ_ITEM_WAIT:
        pthread_mutex_lock(&item->event->mutex);
        while (item->event->reached < item->ticket) pthread_cond_wait(&item->event->changed, &item->event->mutex);
        pthread_mutex_unlock(&item->event->mutex);
        break;
    }
}

static void submit(vj_stream *st, const vj_item *item)
{
    if (st->queue) vj_far_push(st, item);
    else vj_item_run(st->device, item);
}

static void *real(const vj_device *d, const void *address) { return (void *)((uintptr_t)address - d->offset); }

vj_status vj_stream_run(vj_stream *st, vj_op op, const void *args)
{
    if (!st->queue) {
        run_op(st->device, op, args);
        return VJ_OK;
    }
    vj_item item = { .kind = VJ_ITEM_OP, .op = op };
    const size_t bytes = vj_op_args_size(op);
    VJ_ASSERT(bytes <= sizeof item.args);
    memcpy(item.args, args, bytes);
    for (int i = 0; i < vj_op_pointers(op); i++) {
        uintptr_t p;
        memcpy(&p, item.args + (size_t)i * sizeof p, sizeof p);
        if (p) p -= st->device->offset;
        memcpy(item.args + (size_t)i * sizeof p, &p, sizeof p);
    }
    vj_far_push(st, &item);
    return VJ_OK;
}

// ---- streams and events -------------------------------------------------------------------------------------------
vj_status vj_stream_create(vj_device *d, vj_stream **out)
{
    *out = NULL;
    vj_stream *st = NULL;
    VJ_TRY(vj_host_alloc(&st, sizeof *st, "a stream"));
    st->device = d;
    if (d->queued) {
        vj_status status = vj_far_stream_start(st);
        if (status != VJ_OK) {
            vj_host_free(st);
            return status;
        }
    }
    *out = st;
    return VJ_OK;
}

void vj_stream_destroy(vj_stream **stream)
{
    if (!*stream) return;
    if ((*stream)->queue) vj_far_stream_stop(*stream);
    vj_host_free(*stream);
    *stream = NULL;
}

vj_device *vj_stream_device(const vj_stream *st) { return st->device; }

vj_status vj_stream_sync(vj_stream *st)
{
    if (st->queue) vj_far_drain(st);
    return VJ_OK;
}

vj_status vj_event_create(vj_device *d, vj_event **out)
{
    *out = NULL;
    vj_event *e = NULL;
    VJ_TRY(vj_host_alloc(&e, sizeof *e, "an event"));
    e->device = d;
    pthread_mutex_init(&e->mutex, NULL);
    pthread_cond_init(&e->changed, NULL);
    *out = e;
    return VJ_OK;
}

void vj_event_destroy(vj_event **event)
{
    if (!*event) return;
    pthread_cond_destroy(&(*event)->changed);
    pthread_mutex_destroy(&(*event)->mutex);
    vj_host_free(*event);
    *event = NULL;
}

vj_status vj_event_record(vj_event *e, vj_stream *st)
{
    pthread_mutex_lock(&e->mutex);
    const int64_t ticket = ++e->recorded;
    pthread_mutex_unlock(&e->mutex);
    submit(st, &(vj_item){ .kind = VJ_ITEM_RECORD, .event = e, .ticket = ticket });
    return VJ_OK;
}

vj_status vj_event_wait(vj_stream *st, vj_event *e)
{
    pthread_mutex_lock(&e->mutex);
    const int64_t ticket = e->recorded;
    pthread_mutex_unlock(&e->mutex);
    submit(st, &(vj_item){ .kind = VJ_ITEM_WAIT, .event = e, .ticket = ticket });
    return VJ_OK;
}

vj_status vj_event_sync(vj_event *e)
{
    pthread_mutex_lock(&e->mutex);
    while (e->reached < e->recorded) pthread_cond_wait(&e->changed, &e->mutex);
    pthread_mutex_unlock(&e->mutex);
    return VJ_OK;
}

// ---- copies -------------------------------------------------------------------------------------------------------
vj_status vj_copy_to_device(vj_stream *st, void *dst, const void *src, size_t bytes)
{
    if (bytes) submit(st, &(vj_item){ .kind = VJ_ITEM_COPY, .dst = real(st->device, dst), .src = src, .bytes = bytes });
    return VJ_OK;
}

vj_status vj_copy_to_host(vj_stream *st, void *dst, const void *src, size_t bytes)
{
    if (bytes) submit(st, &(vj_item){ .kind = VJ_ITEM_COPY, .dst = dst, .src = real(st->device, src), .bytes = bytes });
    return VJ_OK;
}

vj_status vj_copy(vj_stream *st, void *dst, const void *src, size_t bytes)
{
    void *const to = real(st->device, dst), *const from = real(st->device, src);
    if (bytes) submit(st, &(vj_item){ .kind = VJ_ITEM_COPY, .dst = to, .src = from, .bytes = bytes });
    return VJ_OK;
}

vj_status vj_zero(vj_stream *st, void *dst, size_t bytes)
{
    if (bytes) submit(st, &(vj_item){ .kind = VJ_ITEM_ZERO, .dst = real(st->device, dst), .bytes = bytes });
    return VJ_OK;
}

vj_status vj_upload(vj_stream *st, const vj_tensor *dst, const void *host, vj_dtype host_type)
{
    const size_t bytes = vj_tensor_bytes(dst);
    if (host_type == dst->dtype) {
        VJ_TRY(vj_copy_to_device(st, dst->data, host, bytes));
        return vj_stream_sync(st);
    }
    void *staging = NULL;
    VJ_TRY(vj_host_alloc(&staging, bytes, "a conversion"));
    vj_status status = vj_convert(staging, dst->dtype, host, host_type, vj_count(dst));
    if (status == VJ_OK) status = vj_copy_to_device(st, dst->data, staging, bytes);
    if (status == VJ_OK) status = vj_stream_sync(st);
    vj_host_free(staging);
    return status;
}

vj_status vj_download(vj_stream *st, void *host, vj_dtype host_type, const vj_tensor *src)
{
    const size_t bytes = vj_tensor_bytes(src);
    if (host_type == src->dtype) {
        VJ_TRY(vj_copy_to_host(st, host, src->data, bytes));
        return vj_stream_sync(st);
    }
    void *staging = NULL;
    VJ_TRY(vj_host_alloc(&staging, bytes, "a conversion"));
    vj_status status = vj_copy_to_host(st, staging, src->data, bytes);
    if (status == VJ_OK) status = vj_stream_sync(st);
    if (status == VJ_OK) status = vj_convert(host, host_type, staging, src->dtype, vj_count(src));
    vj_host_free(staging);
    return status;
}

// ---- statistics ---------------------------------------------------------------------------------------------------
// Under the lock of the kernels: a stream's thread may be running one.
void vj_device_stats_enable(vj_device *d, bool on)
{
    pthread_mutex_lock(&d->kernels);
    d->stats = on;
    pthread_mutex_unlock(&d->kernels);
}

int vj_device_stats(const vj_device *device, vj_op_stat *out, int capacity)
{
    vj_device *d = (vj_device *)(uintptr_t)device;   // the lock is no part of what the caller promises not to change
    int n = 0;
    pthread_mutex_lock(&d->kernels);
    for (int op = 0; op < VJ_OP_COUNT && n < capacity; op++) {
        if (d->stat[op].calls == 0) continue;
        out[n++] = (vj_op_stat){ .name = vj_op_name((vj_op)op),
                                 .calls = d->stat[op].calls,
                                 .seconds = d->stat[op].seconds,
                                 .flop = d->stat[op].flop };
    }
    pthread_mutex_unlock(&d->kernels);
    return n;
}

void vj_device_stats_reset(vj_device *d)
{
    pthread_mutex_lock(&d->kernels);
    memset(d->stat, 0, sizeof d->stat);
    pthread_mutex_unlock(&d->kernels);
}
