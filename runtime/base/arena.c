// Bump arenas and counted host memory.

#include "runtime/base/arena.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int64_t host_calls;

vj_arena vj_arena_over(const char *name, void *base, size_t size)
{
    return (vj_arena){ .name = name, .base = base, .size = size };
}

// Fake addresses start at a page that is never mapped, so that a measuring run that touches memory faults.
vj_arena vj_arena_measure(const char *name) { return (vj_arena){ .name = name, .base = NULL, .size = SIZE_MAX }; }
bool vj_arena_measuring(const vj_arena *a) { return a->size == SIZE_MAX; }

vj_status vj_arena_alloc(vj_arena *a, void **out, size_t bytes)
{
    const size_t rounded = (bytes + VJ_ALIGN - 1) / VJ_ALIGN * VJ_ALIGN;
    VJ_CHECK(rounded >= bytes && rounded <= a->size - a->used, VJ_ERR_NOMEM,
             "arena %s: %zu bytes wanted, %zu of %zu left", a->name, bytes, a->size - a->used, a->size);
    *out = (char *)((uintptr_t)a->base + a->used + (a->base ? 0 : VJ_ALIGN));
    a->used += rounded;
    if (a->used > a->peak) a->peak = a->used;
    return VJ_OK;
}

vj_mark vj_arena_mark(const vj_arena *a) { return a->used; }

void vj_arena_reset(vj_arena *a, vj_mark mark)
{
    VJ_ASSERT(mark <= a->used);
    a->used = mark;
}

vj_status vj_host_alloc(void *out_pointer, size_t bytes, const char *what)
{
    host_calls++;
    const size_t rounded = (bytes + VJ_ALIGN - 1) / VJ_ALIGN * VJ_ALIGN;
    void *p = rounded >= bytes ? aligned_alloc(VJ_ALIGN, rounded ? rounded : VJ_ALIGN) : NULL;
    VJ_CHECK(p != NULL, VJ_ERR_NOMEM, "no memory for %s (%.1f MB)", what, (double)bytes / 1e6);
    memset(p, 0, rounded);
    memcpy(out_pointer, &p, sizeof p);
    return VJ_OK;
}

void vj_host_free(void *pointer) { free(pointer); }
int64_t vj_host_alloc_calls(void) { return host_calls; }
