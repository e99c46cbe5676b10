// What the lead says of all ranks: where each of them spends its time, and which one is slow.

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "jobs/train/trainer_impl.h"
#include "runtime/base/thread.h"
#include "runtime/log/log.h"

typedef struct host_list { char (*names)[64]; int next, own; } host_list;

// Texts come in the order of ranks, the own one is left out.
static vj_status take_host(void *context, const char *text)
{
    host_list *l = context;
    if (l->next == l->own) l->next++;
    snprintf(l->names[l->next++], sizeof *l->names, "%.63s", text);
    return VJ_OK;
}

vj_status vj_trainer_meet(vj_trainer *t)
{
    const int ranks = vj_comm_size(t->ranks.world), rank = vj_comm_rank(t->ranks.world);
    VJ_TRY(vj_host_alloc(&t->windows, (size_t)ranks * VJ_PHASE_FIGURES * sizeof *t->windows, "a table of ranks"));
    VJ_TRY(vj_host_alloc(&t->hosts, (size_t)ranks * sizeof *t->hosts, "a table of ranks"));
    host_list list = { .names = t->hosts, .own = rank };
    char *own = t->hosts[rank];
    if (gethostname(own, sizeof *t->hosts - 1) != 0 || own[0] == '\0') vj_format(own, sizeof *t->hosts, "?");
    VJ_TRY(vj_ranks_exchange(&t->ranks, own, take_host, &list));
    // Ranks that share CPUs get them in turns: one that had fewer of them for a while is not slow.
    double crowded = vj_comm_local_size(t->ranks.world) * vj_device_threads(t->device) > vj_cpu_count();
    VJ_TRY(vj_comm_all_reduce_now(t->ranks.world, &crowded, 1, VJ_MAX));
    const vj_monitor_config *c = &t->config.monitor;
    const double limit = crowded > 0 && c->straggler > 0 ? fmax(c->straggler, VJ_STRAGGLER_CROWDED) : c->straggler;
    t->straggler = (vj_straggler){ .slowest = -1, .named = -1 };
    return vj_stragglers_create(&t->stragglers, ranks, limit, c->patience, c->hysteresis);
}

vj_status vj_trainer_window(vj_trainer *t)
{
    const int ranks = vj_comm_size(t->ranks.world), n = ranks * VJ_PHASE_FIGURES;
    memset(t->windows, 0, (size_t)n * sizeof *t->windows);
    vj_phase_window(&t->clock, t->windows + vj_comm_rank(t->ranks.world) * VJ_PHASE_FIGURES);   // the others' are zero: a sum is exact
    for (int at = 0; at < n; at += VJ_COMM_SCALARS) {
        const int some = n - at < VJ_COMM_SCALARS ? n - at : VJ_COMM_SCALARS;
        VJ_TRY_CTX(vj_comm_all_reduce_now(t->ranks.world, t->windows + at, some, VJ_SUM), "putting the times of the ranks together");
    }
    t->window_step = t->state.step;
    vj_stragglers_add(t->stragglers, t->windows, &t->straggler);
    return VJ_OK;
}

void vj_trainer_put_ranks(vj_json_writer *w, const vj_trainer *t)
{
    if (t->window_step != t->state.step) return;
    const int ranks = vj_comm_size(t->ranks.world);
    const vj_straggler *s = &t->straggler;
    vj_json_begin_object(w, "phase_seconds");
    for (int p = 0; p < VJ_PHASES; p++) {
        double least = INFINITY, most = 0, sum = 0;
        for (int r = 0; r < ranks; r++) {
            const double v = t->windows[r * VJ_PHASE_FIGURES + p];
            least = fmin(least, v);
            most = fmax(most, v);
            sum += v;
        }
        vj_json_begin_object(w, vj_phase_names[p]);
        vj_json_put_f64(w, "min", least);
        vj_json_put_f64(w, "mean", sum / ranks);
        vj_json_put_f64(w, "max", most);
        vj_json_end_object(w);
    }
    vj_json_end_object(w);
    vj_json_begin_object(w, "ranks");
    vj_json_put_i64(w, "count", ranks);
    if (ranks > 1 && s->slowest >= 0) {
        vj_json_put_i64(w, "slowest", s->slowest);
        vj_json_put_text(w, "slowest_host", t->hosts[s->slowest]);
        vj_json_put_f64(w, "slowdown", s->slowdown);
    }
    vj_json_put_i64(w, "straggler", s->named);
    if (s->named >= 0) {
        vj_json_put_text(w, "straggler_host", t->hosts[s->named]);
        vj_json_put_f64(w, "straggler_slowdown", s->named_slowdown);
        vj_json_put_f64(w, "straggler_limit", s->limit);
    }
    vj_json_end_object(w);
}
