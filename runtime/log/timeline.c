#include "runtime/log/timeline.h"

#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"

enum { DEEPEST = sizeof ((vj_timeline *)0)->open / sizeof ((vj_timeline *)0)->open[0] };

static _Thread_local vj_timeline *used;

vj_status vj_timeline_create(vj_timeline **out, int64_t capacity)
{
    vj_timeline *t = NULL;
    *out = NULL;
    VJ_TRY(vj_host_alloc(&t, sizeof *t, "a timeline"));
    t->capacity = capacity;
    const vj_status status = vj_host_alloc(&t->spans, (size_t)capacity * sizeof *t->spans, "a timeline");
    if (status == VJ_OK) *out = t;
    else vj_host_free(t);
    return status;
}

void vj_timeline_destroy(vj_timeline **timeline)
{
    if (!*timeline) return;
    if (used == *timeline) used = NULL;
    vj_host_free((*timeline)->spans);
    vj_host_free(*timeline);
    *timeline = NULL;
}

void vj_timeline_use(vj_timeline *t) { used = t; }

void vj_span_begin(const char *name, int64_t index)
{
    vj_timeline *t = used;
    if (t == NULL) return;
    VJ_ASSERT(t->depth < DEEPEST);
    const bool room = t->n < t->capacity;
    if (!room) t->dropped++;
    t->open[t->depth] = room ? t->n : -1;
    if (room) t->spans[t->n++] = (vj_span){ .name = name, .index = index, .depth = t->depth, .begin = vj_now() };
    t->depth++;
}

void vj_span_end(const char *name)
{
    vj_timeline *t = used;
    if (t == NULL) return;
    const double now = vj_now();
    while (t->depth > 0) {
        const int64_t place = t->open[--t->depth];
        if (place >= 0) t->spans[place].end = now;
        // A dropped span is taken for the one that ends: everything behind it was dropped too.
        if (place < 0 || strcmp(t->spans[place].name, name) == 0) return;
    }
}
