// Two sets of weights, tensor by tensor.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/formats/formats.h"
#include "runtime/base/str.h"

typedef struct comparison {
    vj_weights *a, *b;
    vj_difference *list;
    int64_t n, capacity;
    float *x, *y;
    double worst;
    bool moments;
} comparison;

static vj_status add(comparison *c, const char *name, const char *problem, double max_abs, double relative)
{
    if (c->n == c->capacity) {
        const int64_t n = c->capacity > 0 ? 2 * c->capacity : 1024;
        vj_difference *grown = realloc(c->list, (size_t)n * sizeof *grown);
        VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory for a list of differences");
        c->list = grown;
        c->capacity = n;
    }
    vj_difference *d = &c->list[c->n++];
    *d = (vj_difference){ .problem = problem, .max_abs = max_abs, .relative = relative };
    vj_format(d->name, sizeof d->name, "%s", name);
    if (!(relative <= c->worst)) c->worst = relative;
    return VJ_OK;
}

// Two NaN of the same bits are equal; a NaN against a number is an infinite difference.
static vj_status compare(comparison *c, const vj_weight *w, vj_state_kind kind)
{
    static const char *const kinds[] = { "", "/exp_avg", "/exp_avg_sq" };
    char name[160];
    VJ_TRY(vj_weights_read(c->a, w->name, kind, c->x, w->count));
    VJ_TRY(vj_weights_read(c->b, w->name, kind, c->y, w->count));
    double largest = 0, difference = 0, norm = 0;
    for (int64_t i = 0; i < w->count; i++) {
        const double x = c->x[i], y = c->y[i];
        if (memcmp(&c->x[i], &c->y[i], sizeof(float)) == 0) {
            norm += isfinite(x) ? x * x : 0;
            continue;
        }
        const double d = isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY;
        largest = d > largest ? d : largest;
        difference += d * d;
        norm += isfinite(x) ? x * x : 0;
    }
    vj_format(name, sizeof name, "%.140s%s", w->name, kinds[kind]);
    return add(c, name, NULL, largest, difference > 0 ? sqrt(difference / (norm > 1e-14 ? norm : 1e-14)) : 0);
}

static vj_status compare_all(comparison *c)
{
    const bool moments = c->moments && vj_weights_facts_of(c->a)->moments && vj_weights_facts_of(c->b)->moments;
    int64_t i = 0, k = 0;
    while (i < vj_weights_count(c->a) || k < vj_weights_count(c->b)) {
        const vj_weight *a = vj_weights_at(c->a, i), *b = vj_weights_at(c->b, k);
        const int order = !a ? 1 : !b ? -1 : strcmp(a->name, b->name);
        if (order < 0) VJ_TRY(add(c, a->name, "only in A", INFINITY, INFINITY));
        if (order > 0) VJ_TRY(add(c, b->name, "only in B", INFINITY, INFINITY));
        if (order == 0 &&
            (a->rank != b->rank || memcmp(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0]) != 0)) {
            VJ_TRY(add(c, a->name, "other shape", INFINITY, INFINITY));
        } else if (order == 0) {
            const bool trained = moments && strncmp(a->name, "target_encoder.", 15) != 0;
            for (int kind = VJ_STATE_PARAM; kind <= (trained ? VJ_STATE_EXP_AVG_SQ : VJ_STATE_PARAM); kind++)
                VJ_TRY(compare(c, a, (vj_state_kind)kind));
        }
        i += order <= 0;
        k += order >= 0;
    }
    return VJ_OK;
}

vj_status vj_diff(vj_weights *a, vj_weights *b, bool moments, vj_difference **out, int64_t *n, double *worst)
{
    comparison c = { .a = a, .b = b, .moments = moments };
    int64_t largest = 1;
    for (int64_t i = 0; i < vj_weights_count(a); i++)
        largest = vj_weights_at(a, i)->count > largest ? vj_weights_at(a, i)->count : largest;
    vj_status status = vj_host_alloc(&c.x, (size_t)largest * sizeof *c.x, "a tensor");
    if (status == VJ_OK) status = vj_host_alloc(&c.y, (size_t)largest * sizeof *c.y, "a tensor");
    if (status == VJ_OK) status = compare_all(&c);
    vj_host_free(c.x);
    vj_host_free(c.y);
    if (status != VJ_OK) {
        free(c.list);
        c.list = NULL;
    }
    *out = c.list;
    *n = c.n;
    *worst = c.worst;
    return status;
}
