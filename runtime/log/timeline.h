// A timeline: what one thread did when, as spans that nest, in a room of fixed size.
//
// A thread takes its spans to the timeline it uses (vj_timeline_use); with none, which is how everything starts, a span costs
// a look at a variable of the thread. So code may mark its spans without knowing who wants them.
#ifndef VJ_RUNTIME_LOG_TIMELINE_H
#define VJ_RUNTIME_LOG_TIMELINE_H

#include "runtime/base/status.h"

typedef struct vj_span {
    const char *name;        // a literal
    int64_t index;           // which one of that name: a step, a slot, a block; -1: there is one
    int depth;               // spans around it
    double begin, end;       // vj_now
} vj_span;

typedef struct vj_timeline {
    vj_span *spans;          // in the order of their beginnings
    int64_t n, capacity;
    int64_t dropped;         // that found no room
    int depth;
    int64_t open[16];        // of the spans that are open: place, -1: dropped
} vj_timeline;

vj_status vj_timeline_create(vj_timeline **out, int64_t capacity) VJ_MUST_CHECK;
void vj_timeline_destroy(vj_timeline **t);
// Of the calling thread, from now on; NULL: nothing is kept. Not owned.
void vj_timeline_use(vj_timeline *t);

// The last that began ends first. An error that leaves a function leaves its spans open: they end with the one around them.
void vj_span_begin(const char *name, int64_t index);
void vj_span_end(const char *name);

#endif
