#include "jobs/train/phases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"

const char *const vj_phase_names[VJ_PHASES] = { "data", "compute", "update", "communication", "save", "report" };

void vj_phase_start(vj_phase_clock *c)
{
    *c = (vj_phase_clock){ .last = vj_now(), .waited = vj_comm_waited() };
}

double vj_phase_lap(vj_phase_clock *c, vj_phase phase)
{
    const double now = vj_now(), waited = vj_comm_waited(), waiting = waited - c->waited, own = now - c->last - waiting;
    c->seconds[VJ_PHASE_COMMUNICATION] += waiting;
    c->seconds[phase] += own;
    c->last = now;
    c->waited = waited;
    return own;
}

void vj_phase_step(vj_phase_clock *c, double compute, double flop)
{
    c->pace[c->steps % VJ_PACE_STEPS] = flop > 0 ? compute / flop : 0;
    c->steps++;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// Of an even number the lower one: of two ranks the faster is the measure, or the slow one would be half of it. Sorts.
static double low_median(double *v, int64_t n)
{
    if (n == 0) return 0;
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[(n - 1) / 2];
}

void vj_phase_window(vj_phase_clock *c, double *out)
{
    const double steps = c->steps > 0 ? (double)c->steps : 1;
    for (int i = 0; i < VJ_PHASES; i++) out[i] = c->seconds[i] / steps;
    out[VJ_PHASES] = low_median(c->pace, c->steps < VJ_PACE_STEPS ? c->steps : VJ_PACE_STEPS);
    memset(c->seconds, 0, sizeof c->seconds);
    c->steps = 0;
}

// ---- stragglers ------------------------------------------------------------------------------------------------------
struct vj_stragglers {
    int ranks, named;
    double limit, hysteresis;
    int64_t patience;
    double *pace, *sorted;            // (ranks)
    int64_t *beyond, *back;           // (ranks): windows in a row beyond the limit; below it by the margin
};

vj_status vj_stragglers_create(vj_stragglers **out, int ranks, double limit, int64_t patience, double hysteresis)
{
    vj_stragglers *s = NULL;
    *out = NULL;
    VJ_TRY(vj_host_alloc(&s, sizeof *s, "a table of ranks"));
    *s = (vj_stragglers){ .ranks = ranks, .named = -1, .limit = limit, .patience = patience, .hysteresis = hysteresis };
    const size_t n = (size_t)ranks;
    vj_status status = vj_host_alloc(&s->pace, n * sizeof *s->pace, "a table of ranks");
    if (status == VJ_OK) status = vj_host_alloc(&s->sorted, n * sizeof *s->sorted, "a table of ranks");
    if (status == VJ_OK) status = vj_host_alloc(&s->beyond, n * sizeof *s->beyond, "a table of ranks");
    if (status == VJ_OK) status = vj_host_alloc(&s->back, n * sizeof *s->back, "a table of ranks");
    if (status == VJ_OK) *out = s;
    else vj_stragglers_destroy(&s);
    return status;
}

void vj_stragglers_destroy(vj_stragglers **pointer)
{
    vj_stragglers *s = *pointer;
    if (!s) return;
    vj_host_free(s->pace);
    vj_host_free(s->sorted);
    vj_host_free(s->beyond);
    vj_host_free(s->back);
    vj_host_free(s);
    *pointer = NULL;
}

void vj_stragglers_add(vj_stragglers *s, const double *figures, vj_straggler *out)
{
    int known = 0;
    for (int r = 0; r < s->ranks; r++) {
        s->pace[r] = figures[r * VJ_PHASE_FIGURES + VJ_PHASES];
        if (s->pace[r] > 0) s->sorted[known++] = s->pace[r];
    }
    const double median = low_median(s->sorted, known), end = 1 + (s->limit - 1) / (1 + s->hysteresis);
    *out = (vj_straggler){ .slowest = -1, .named = -1, .named_slowdown = NAN, .limit = s->limit };
    if (median <= 0) return;
    for (int r = 0; r < s->ranks; r++) {
        const double slowdown = s->pace[r] / median;
        s->beyond[r] = s->limit > 0 && slowdown > s->limit ? s->beyond[r] + 1 : 0;
        s->back[r] = slowdown < end ? s->back[r] + 1 : 0;
        if (slowdown > out->slowdown) {
            out->slowdown = slowdown;
            out->slowest = r;
        }
    }
    if (s->named >= 0 && s->back[s->named] >= s->patience) s->named = -1;
    for (int r = 0; r < s->ranks && s->named < 0; r++) {
        if (s->beyond[r] < s->patience) continue;
        int slowest = r;
        for (int k = r; k < s->ranks; k++) slowest = s->beyond[k] >= s->patience && s->pace[k] > s->pace[slowest] ? k : slowest;
        s->named = slowest;
    }
    out->named = s->named;
    if (s->named >= 0) out->named_slowdown = s->pace[s->named] / median;
}
