#include "jobs/train/recommend.h"

#include <math.h>
#include <string.h>

#include "runtime/base/str.h"

// The latest held-out figure at or before `step`; false when there is none.
static bool figure_at(const vj_warnings *w, int64_t step, vj_held_out_point *out)
{
    int64_t n = 0;
    const vj_held_out_point *held_out = vj_warnings_held_out(w, &n);
    while (n > 0 && held_out[n - 1].step > step) n--;
    if (n == 0) return false;
    *out = held_out[n - 1];
    return true;
}

static bool candidate(const vj_checkpoint_info *c) { return c->valid && strcmp(c->schedule_phase, "constant") == 0; }

static void choose(vj_recommendation *out, const vj_checkpoint_info *c, const vj_warnings *w)
{
    vj_held_out_point f;
    *out = (vj_recommendation){ .step = c->step, .ratio = NAN, .ratio_step = -1 };
    if (!figure_at(w, c->step, &f)) return;
    out->ratio = f.ratio;
    out->ratio_step = f.step;
}

// The best figure of the run that was made while no warning was in force.
static vj_held_out_point best_figure(const vj_warnings *w)
{
    int64_t n = 0;
    const vj_held_out_point *held_out = vj_warnings_held_out(w, &n);
    vj_held_out_point best = { .step = -1, .ratio = INFINITY };
    for (int64_t i = 0; i < n; i++) {
        if (held_out[i].ratio < best.ratio && !vj_warnings_at(w, held_out[i].step)) best = held_out[i];
    }
    return best;
}

static void add_rank(vj_str *s, const vj_warnings *w)
{
    double highest;
    const double rank = vj_warnings_rank(w, &highest);
    if (isfinite(rank)) vj_str_printf(s, ", rank %.2f (highest %.2f)", rank, highest);
}

static void before_warning(vj_recommendation *out, vj_str *why, const vj_checkpoint_info *list, int64_t n, const vj_warnings *w,
                           vj_warning which, int64_t since)
{
    for (int64_t i = 0; i < n; i++) {
        if (candidate(&list[i]) && list[i].step < since) choose(out, &list[i], w);
    }
    if (out->step < 0) {
        vj_str_printf(why, "the warning %s is in force since step %lld, and no checkpoint of the constant phase is older",
                      vj_warning_names[which], (long long)since);
        return;
    }
    vj_str_printf(why, "step %lld is the last checkpoint of the constant phase before the warning %s began at step %lld",
                  (long long)out->step, vj_warning_names[which], (long long)since);
    if (out->ratio_step >= 0) vj_str_printf(why, "; its held-out ratio is %.3f (step %lld)", out->ratio, (long long)out->ratio_step);
}

static void without_warning(vj_recommendation *out, vj_str *why, const vj_checkpoint_info *list, int64_t n, const vj_warnings *w,
                            double noise)
{
    const vj_held_out_point best = best_figure(w);
    vj_held_out_point f;
    int64_t candidates = 0;
    bool within = false;
    for (int64_t i = 0; i < n; i++) {
        if (!candidate(&list[i]) || vj_warnings_at(w, list[i].step)) continue;
        candidates++;
        const bool known = figure_at(w, list[i].step, &f);
        const bool good = !known || !isfinite(best.ratio) || f.ratio <= best.ratio * (1 + noise);
        if (good || out->step < 0 || (!within && f.ratio < out->ratio)) choose(out, &list[i], w);
        within = within || good;
    }
    if (candidates == 0) {
        vj_str_add(why, "there is no checkpoint of the constant phase yet");
        return;
    }
    vj_str_printf(why, "step %lld is the %s of %lld checkpoints of the constant phase", (long long)out->step,
                  within ? "latest good one" : "best", (long long)candidates);
    if (out->ratio_step < 0) vj_str_add(why, "; there are no held-out figures to compare");
    else if (best.step < 0 || best.ratio >= out->ratio) vj_str_printf(why, ": its held-out ratio, %.3f, is the best", out->ratio);
    else vj_str_printf(why, ": its held-out ratio, %.3f, is %s %.0f %% of the best, %.3f at step %lld", out->ratio,
                       within ? "within" : "not within", 100 * noise, best.ratio, (long long)best.step);
    vj_str_add(why, "; no warning is in force");
    add_rank(why, w);
}

void vj_recommend(vj_recommendation *out, const vj_checkpoint_info *list, int64_t n, const vj_warnings *w, double noise)
{
    *out = (vj_recommendation){ .step = -1, .ratio = NAN, .ratio_step = -1 };
    int64_t first = -1;
    vj_warning which = VJ_WARNINGS;
    for (int i = 0; i < VJ_WARNINGS; i++) {
        int64_t since;
        if (i == VJ_WARNING_STRAGGLER || !vj_warnings_in_force(w, (vj_warning)i, &since) || (first >= 0 && since >= first)) continue;
        first = since;
        which = (vj_warning)i;
    }
    vj_str why = { 0 };
    if (first >= 0) before_warning(out, &why, list, n, w, which, first);
    else without_warning(out, &why, list, n, w, noise);
    vj_format(out->why, sizeof out->why, "%s", vj_str_text(&why));
    vj_str_free(&why);
}
