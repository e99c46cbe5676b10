// The one file that knows all devices: opens them by name.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/base/str.h"
#include "runtime/tensor/device_impl.h"

static void nothing(void) {}

// Pages of their own: only what a kernel touches is ever made real. Large ones, where the system gives them: packed panels are
// walked from end to end again and again.
static vj_status own_pages(char **out, size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    VJ_CHECK(p != MAP_FAILED, VJ_ERR_NOMEM, "no memory for %zu MB of kernel scratch", bytes >> 20);
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    *out = p;
    return VJ_OK;
}

static vj_status make_exec(vj_device *d, int threads)
{
    VJ_TRY(vj_pool_create(&d->exec.pool, threads, d->real == VJ_F32 ? vj_cpu_thread_start : nothing));
    VJ_TRY(vj_host_alloc(&d->exec.scratch, (size_t)threads * sizeof *d->exec.scratch, "kernel scratch"));
    for (int i = 0; i < threads; i++) VJ_TRY(own_pages(&d->exec.scratch[i], VJ_SCRATCH_BYTES));
    d->exec.scratch_bytes = VJ_SCRATCH_BYTES;
    VJ_TRY(own_pages(&d->exec.shared, VJ_SHARED_BYTES));
    d->exec.shared_bytes = VJ_SHARED_BYTES;
    return VJ_OK;
}

static vj_status choose(vj_device *d, const char *name)
{
    if (strcmp(name, "ref") == 0) {
        d->real = VJ_F64;
        d->isa = "c";
        d->gemm = "own loops";
        vj_ref_kernels(&d->table);
        return VJ_OK;
    }
    const bool far = strcmp(name, "far") == 0;
    if (!far && strcmp(name, "cpu") != 0) {
        const char *near = vj_nearest(name, (const char *const[]){ "cpu", "ref", "far", NULL });
        VJ_FAIL(VJ_ERR_USAGE, "device '%s': unknown%s%s%s; there are cpu, ref and far", name,
                near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    }
    d->real = VJ_F32;
    d->isa = vj_cpu_kernels(&d->table);
    if (!d->isa) return VJ_ERR_USAGE;   // VJ_CPU is wrong, the message is made
    d->gemm = vj_cpu_gemm_name();
    // Adding this makes every address non-canonical on x86-64 (bit 62 set, bit 63 clear): touching it faults.
    if (far) d->offset = (uintptr_t)1 << 62;
    d->queued = far;
    return VJ_OK;
}

vj_status vj_device_open(vj_device **out, const char *name, int threads)
{
    *out = NULL;
    vj_device *d = NULL;
    VJ_TRY(vj_host_alloc(&d, sizeof *d, "a device"));
    pthread_mutex_init(&d->kernels, NULL);
    vj_status status = choose(d, name);
    if (status == VJ_OK) {
        vj_format(d->name, sizeof d->name, "%s", name);
        status = make_exec(d, threads);
    }
    for (int op = 0; status == VJ_OK && op < VJ_OP_COUNT; op++) VJ_ASSERT(d->table.run[op] != NULL);
    if (status != VJ_OK) {
        vj_device_close(&d);
        return status;
    }
    *out = d;
    return VJ_OK;
}

void vj_device_close(vj_device **device)
{
    vj_device *d = *device;
    if (!d) return;
    const int threads = d->exec.pool ? vj_pool_threads(d->exec.pool) : 0;
    for (int i = 0; i < threads && d->exec.scratch; i++) {
        if (d->exec.scratch[i]) munmap(d->exec.scratch[i], VJ_SCRATCH_BYTES);
    }
    vj_host_free(d->exec.scratch);
    if (d->exec.shared) munmap(d->exec.shared, VJ_SHARED_BYTES);
    vj_pool_destroy(&d->exec.pool);
    pthread_mutex_destroy(&d->kernels);
    vj_host_free(d);
    *device = NULL;
}
