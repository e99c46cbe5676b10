// Taking a trace, and the pieces of all ranks put together (see the header).
//
// Easy to get wrong: the communication thread writes operations while this one writes spans. Each has a list of its own, and the
// operations' is read after nobody is told any more.

#include "jobs/train/trace.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/log/log.h"
#include "runtime/log/timeline.h"

enum { SPANS = 1 << 18, OPERATIONS = 1 << 17, PINGS = 16 };
enum { COMPUTING, COMMUNICATING };   // threads of a process

typedef struct operation {
    const char *what;
    char unit[64];
    int64_t bytes;
    double asked, begin, end;
} operation;

struct vj_trace {
    vj_timeline *spans;
    operation *operations;
    int64_t n, dropped;
    double origin;             // of the times in the file, on this rank's clock
    double offset, error;      // this rank's clock - the lead's, and how wrong that may be
    vj_comm *world;
};

// ---- clocks ----------------------------------------------------------------------------------------------------------
typedef struct clocks { double best, *table, *offsets; } clocks;

static vj_status ping(vj_comm *world, clocks *c)
{
    const int ranks = vj_comm_size(world), rank = vj_comm_rank(world);
    char token = 0;
    const double asked = vj_now();
    VJ_TRY(vj_comm_broadcast_now(world, 0, &token, 1));
    memset(c->table, 0, (size_t)ranks * sizeof *c->table);
    c->table[rank] = vj_now();
    VJ_TRY(vj_comm_all_reduce_now(world, c->table, ranks, VJ_SUM));
    const double back = vj_now();
    if (rank != 0 || back - asked >= c->best) return VJ_OK;
    // Everybody looked at its clock between these two moments of the lead's.
    c->best = back - asked;
    for (int r = 0; r < ranks; r++) c->offsets[r] = r == 0 ? 0 : c->table[r] - (asked + back) / 2;
    return VJ_OK;
}

static vj_status compare_clocks(vj_trace *t)
{
    const int ranks = vj_comm_size(t->world);
    if (ranks == 1) return VJ_OK;
    clocks c = { .best = INFINITY };
    vj_status status = vj_host_alloc(&c.table, (size_t)ranks * sizeof *c.table, "a table of ranks");
    if (status == VJ_OK) status = vj_host_alloc(&c.offsets, (size_t)ranks * sizeof *c.offsets, "a table of ranks");
    for (int i = 0; i < PINGS && status == VJ_OK; i++) status = ping(t->world, &c);
    if (status == VJ_OK) status = vj_comm_broadcast_now(t->world, 0, c.offsets, (size_t)ranks * sizeof *c.offsets);
    if (status == VJ_OK) status = vj_comm_broadcast_now(t->world, 0, &c.best, sizeof c.best);
    if (status == VJ_OK) {
        t->offset = c.offsets[vj_comm_rank(t->world)];
        t->error = vj_comm_rank(t->world) == 0 ? 0 : c.best / 2;
        if (fabs(t->offset) <= t->error) t->offset = 0;
    }
    vj_host_free(c.table);
    vj_host_free(c.offsets);
    if (status != VJ_OK) vj_context("comparing the clocks of the ranks");
    return status;
}

static void on_operation(void *context, const vj_comm_event *e)
{
    vj_trace *t = context;
    if (e->ended == 0) return;
    if (t->n == OPERATIONS) {
        t->dropped++;
        return;
    }
    operation *o = &t->operations[t->n++];
    *o = (operation){ .what = e->op, .bytes = e->bytes, .asked = e->asked, .begin = e->began, .end = e->ended };
    snprintf(o->unit, sizeof o->unit, "%s", e->what ? e->what : "");
}

// ---- taking ----------------------------------------------------------------------------------------------------------
vj_status vj_trace_begin(vj_trace **out, vj_ranks *ranks)
{
    vj_trace *t = NULL;
    *out = NULL;
    vj_status status = vj_host_alloc(&t, sizeof *t, "a trace");
    if (status == VJ_OK) {
        *t = (vj_trace){ .world = ranks->world };
        status = vj_timeline_create(&t->spans, SPANS);
    }
    if (status == VJ_OK) status = vj_host_alloc(&t->operations, OPERATIONS * sizeof *t->operations, "a trace");
    status = vj_ranks_agree(ranks, status, NULL, 0);
    if (status == VJ_OK) status = compare_clocks(t);
    double origin = vj_now();
    if (status == VJ_OK) status = vj_comm_broadcast_now(ranks->world, 0, &origin, sizeof origin);
    if (status != VJ_OK) {
        vj_trace_drop(&t);
        return status;
    }
    t->origin = origin + t->offset;
    vj_timeline_use(t->spans);
    vj_comm_observe(t->world, on_operation, t);
    *out = t;
    return VJ_OK;
}

void vj_trace_drop(vj_trace **trace)
{
    vj_trace *t = *trace;
    if (!t) return;
    vj_comm_unobserve(t->world, on_operation, t);
    vj_timeline_use(NULL);
    vj_timeline_destroy(&t->spans);
    vj_host_free(t->operations);
    vj_host_free(t);
    *trace = NULL;
}

// ---- writing ---------------------------------------------------------------------------------------------------------
// Microseconds since the trace began, cut to nanoseconds: nested spans stay nested.
static double micro(const vj_trace *t, double when) { return floor((when - t->origin) * 1e9 + 0.5) / 1e3; }

static void put_event(vj_json_writer *w, const char *name, const char *kind, int rank, int thread)
{
    vj_json_begin_object(w, NULL);
    vj_json_put_text(w, "name", name);
    vj_json_put_text(w, "ph", kind);
    vj_json_put_i64(w, "pid", rank);
    vj_json_put_i64(w, "tid", thread);
}

static void put_name(vj_json_writer *w, const char *what, int rank, int thread, const char *name)
{
    put_event(w, what, "M", rank, thread);
    vj_json_begin_object(w, "args");
    vj_json_put_text(w, "name", name);
    vj_json_end_object(w);
    vj_json_end_object(w);
}

static void put_times(vj_json_writer *w, const vj_trace *t, double begin, double end)
{
    const double from = micro(t, begin), to = micro(t, end);
    vj_json_put_f64(w, "ts", from);
    vj_json_put_f64(w, "dur", to - from);
}

static void put_rank(vj_json_writer *w, const vj_trace *t, int rank, const char *host)
{
    char text[128];
    vj_format(text, sizeof text, "rank %d on %.63s", rank, host);
    put_name(w, "process_name", rank, COMPUTING, text);
    put_name(w, "thread_name", rank, COMPUTING, "computing");
    put_name(w, "thread_name", rank, COMMUNICATING, "communicating");
    put_event(w, "process_sort_index", "M", rank, COMPUTING);
    vj_json_begin_object(w, "args");
    vj_json_put_i64(w, "sort_index", rank);
    vj_json_end_object(w);
    vj_json_end_object(w);
    put_event(w, "clock", "M", rank, COMPUTING);
    vj_json_begin_object(w, "args");
    vj_json_put_f64(w, "offset_us", t->offset * 1e6);
    vj_json_put_f64(w, "error_us", t->error * 1e6);
    vj_json_put_i64(w, "dropped_spans", t->spans->dropped);
    vj_json_put_i64(w, "dropped_operations", t->dropped);
    vj_json_end_object(w);
    vj_json_end_object(w);
}

// All events of this rank, as an array.
static void put_events(vj_json_writer *w, const vj_trace *t, int rank, const char *host, double end)
{
    char name[96];
    vj_json_begin_array(w, NULL);
    put_rank(w, t, rank, host);
    for (int64_t i = 0; i < t->spans->n; i++) {
        const vj_span *s = &t->spans->spans[i];
        if (s->index >= 0) vj_format(name, sizeof name, "%s %lld", s->name, (long long)s->index);
        else vj_format(name, sizeof name, "%s", s->name);
        put_event(w, name, "X", rank, COMPUTING);
        put_times(w, t, s->begin, s->end > 0 ? s->end : end);
        vj_json_end_object(w);
    }
    for (int64_t i = 0; i < t->n; i++) {
        const operation *o = &t->operations[i];
        vj_format(name, sizeof name, "%s%s%s", o->what, o->unit[0] ? " " : "", o->unit);
        put_event(w, name, "X", rank, COMMUNICATING);
        put_times(w, t, o->begin, o->end);
        vj_json_begin_object(w, "args");
        vj_json_put_text(w, "operation", o->what);
        vj_json_put_text(w, "unit", o->unit);
        vj_json_put_i64(w, "bytes", o->bytes);
        vj_json_put_f64(w, "asked", micro(t, o->asked));
        vj_json_end_object(w);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
}

// Another rank's array, without its brackets.
static vj_status take_piece(void *context, const char *text)
{
    vj_str *all = context;
    const size_t n = strlen(text);
    VJ_ASSERT(n >= 2 && text[0] == '[' && text[n - 1] == ']');
    vj_str_add(all, ",\n");
    vj_str_add_n(all, text + 1, n - 2);
    return VJ_OK;
}

static vj_status pass_by(void *context, const char *text)
{
    (void)context, (void)text;
    return VJ_OK;
}

static vj_status write_trace(vj_ranks *ranks, const vj_json_writer *own, const char *path)
{
    vj_str all = { 0 };
    if (ranks->lead) {
        vj_str_add(&all, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n");
        vj_str_add_n(&all, own->out.data + 1, own->out.length - 2);
    }
    const vj_status status = vj_ranks_exchange(ranks, ranks->lead ? NULL : vj_str_text(&own->out), ranks->lead ? take_piece : pass_by, &all);
    if (status == VJ_OK && ranks->lead) {
        vj_str_add(&all, "\n]}\n");
        if (vj_file_write_atomic(path, vj_str_text(&all), all.length) == VJ_OK) {
            vj_log(VJ_INFO, "trace", "%s is written (open it in chrome://tracing or ui.perfetto.dev)", path);
        } else {   // for onlookers: no run stops for it
            vj_log(VJ_WARN, "trace", "%s; the trace is lost", vj_error_text());
            vj_error_clear();
        }
    }
    vj_str_free(&all);
    return status;
}

vj_status vj_trace_end(vj_trace **trace, vj_ranks *ranks, const char *host, const char *path)
{
    vj_trace *t = *trace;
    vj_comm_unobserve(t->world, on_operation, t);
    vj_timeline_use(NULL);
    vj_json_writer w = { 0 };
    put_events(&w, t, vj_comm_rank(t->world), host, vj_now());
    const vj_status status = write_trace(ranks, &w, path);
    vj_json_writer_free(&w);
    if (t->spans->dropped + t->dropped > 0)
        vj_log(VJ_WARN, "trace", "%lld spans and operations found no room: trace fewer steps",
               (long long)(t->spans->dropped + t->dropped));
    vj_trace_drop(trace);
    return status;
}
