// Bump arenas. An arena is arithmetic over an address range that somebody else owns: host memory, or memory of a
// device that the host may not touch. In measure mode it has no memory, never fails, and records the size that a dry
// run of the same code needs; this is how every buffer of a training step is sized before the first step.
#ifndef VJ_RUNTIME_BASE_ARENA_H
#define VJ_RUNTIME_BASE_ARENA_H

#include "runtime/base/status.h"

enum { VJ_ALIGN = 64 };   // bytes; every arena allocation starts on a multiple of it

typedef struct vj_arena {
    const char *name;   // appears in messages: "saved", "scratch", ...
    char *base;         // first byte, NULL in measure mode
    size_t size;        // bytes available; SIZE_MAX in measure mode
    size_t used;        // bytes given out now
    size_t peak;        // largest `used` since the arena was made
} vj_arena;

typedef size_t vj_mark;

vj_arena vj_arena_over(const char *name, void *base, size_t size);
// Measure mode: addresses handed out are fake (never touch them), only `peak` matters.
vj_arena vj_arena_measure(const char *name);
bool vj_arena_measuring(const vj_arena *a);

// `bytes` rounded up to VJ_ALIGN. VJ_ERR_NOMEM names the arena, what was asked and what is left.
vj_status vj_arena_alloc(vj_arena *a, void **out, size_t bytes) VJ_MUST_CHECK;
vj_mark vj_arena_mark(const vj_arena *a);
void vj_arena_reset(vj_arena *a, vj_mark mark);   // gives back everything after `mark`

// Host memory, zeroed, aligned to VJ_ALIGN; counted (see vj_host_bytes). Free with vj_host_free (NULL is fine).
vj_status vj_host_alloc(void *out_pointer, size_t bytes, const char *what) VJ_MUST_CHECK;
void vj_host_free(void *pointer);
int64_t vj_host_alloc_calls(void);   // number of vj_host_alloc calls so far: a step must not change it

#endif
