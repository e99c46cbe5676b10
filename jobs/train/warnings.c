#include "jobs/train/warnings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"

enum { MEDIAN_LINES = 50, LEAST_LINES = 20, MEDIAN_NEEDS = 5, WINDOW_LINES = 5 };

const char *const vj_warning_names[VJ_WARNINGS] = {
    "rank_fall", "rank_low", "spread_low", "targets_alike", "clips_alike", "predicts_constant", "gradient_jump",
    "encoder_gradient", "loss_rise", "held_out", "straggler",
};

typedef struct state {
    bool on;
    int64_t since;       // where it began
    int64_t run;         // lines in a row that want a change
    double reference;    // what the figure was compared with when it began; of a straggler its rank
} state;

struct vj_warnings {
    vj_monitor_config config;
    int64_t warmup, window;
    state states[VJ_WARNINGS];
    int64_t stage;
    double rank, rank_highest, spread_highest, variance_highest;   // of this stage
    vj_watch_point *recent;               // of this stage: as far back as any rule looks
    int64_t n_recent, recent_capacity;
    vj_held_out_point *held_out;
    int64_t n_held_out, held_out_capacity;
    struct { int64_t from, to; } *spans;  // steps with a warning in force; to -1: still
    int64_t n_spans, spans_capacity;
};

// What a rule says of one line.
typedef struct verdict {
    bool known;          // the line has the figure, and there is something to compare it with
    double value;        // the figure
    double reference;    // 1 where a figure stands for itself
    double limit;        // share of the reference
    bool high;           // too high is bad
} verdict;

static vj_status grow(void *list, int64_t n, int64_t *capacity, size_t size)
{
    if (n < *capacity) return VJ_OK;
    const int64_t more = *capacity ? 2 * *capacity : 64;
    void *grown = realloc(*(void **)list, (size_t)more * size);
    VJ_CHECK(grown != NULL, VJ_ERR_NOMEM, "no memory for the history of figures");
    *(void **)list = grown;
    *capacity = more;
    return VJ_OK;
}

// ---- history ---------------------------------------------------------------------------------------------------------
static double member(const vj_watch_point *p, size_t offset) { return *(const double *)((const char *)p + offset); }

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// Median of the figure at `offset` over the last lines, not counting the newest; NAN when there are too few.
static double recent_median(const vj_warnings *w, size_t offset)
{
    double values[MEDIAN_LINES];
    int n = 0;
    for (int64_t i = w->n_recent - 2; i >= 0 && n < MEDIAN_LINES; i--) {
        const double v = member(&w->recent[i], offset);
        if (isfinite(v)) values[n++] = v;
    }
    if (n < MEDIAN_NEEDS) return NAN;
    qsort(values, (size_t)n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double recent_least_loss(const vj_warnings *w)
{
    double least = NAN;
    for (int64_t i = w->n_recent - 2, n = 0; i >= 0 && n < LEAST_LINES; i--, n++) least = fmin(least, w->recent[i].loss);
    return least;
}

static double window_rank(const vj_warnings *w, int64_t step)
{
    double highest = NAN;
    for (int64_t i = w->n_recent - 1; i >= 0 && w->recent[i].step >= step - w->window; i--) highest = fmax(highest, w->recent[i].rank);
    return highest;
}

static void forget_old(vj_warnings *w, int64_t step)
{
    int64_t old = 0;
    while (w->n_recent - old > MEDIAN_LINES + 1 && w->recent[old].step < step - w->window) old++;
    if (old < 64) return;   // move seldom
    memmove(w->recent, w->recent + old, (size_t)(w->n_recent - old) * sizeof *w->recent);
    w->n_recent -= old;
}

static vj_status remember(vj_warnings *w, const vj_watch_point *p)
{
    if (p->stage != w->stage) {
        w->stage = p->stage;
        w->n_recent = 0;
        w->rank_highest = w->spread_highest = w->variance_highest = NAN;
    }
    VJ_TRY(grow(&w->recent, w->n_recent, &w->recent_capacity, sizeof *w->recent));
    w->recent[w->n_recent++] = *p;
    forget_old(w, p->step);
    if (isfinite(p->rank)) w->rank = p->rank;
    w->rank_highest = fmax(w->rank_highest, p->rank);
    w->spread_highest = fmax(w->spread_highest, p->spread);
    w->variance_highest = fmax(w->variance_highest, p->target_variance);
    if (isnan(p->held_out_ratio)) return VJ_OK;
    VJ_TRY(grow(&w->held_out, w->n_held_out, &w->held_out_capacity, sizeof *w->held_out));
    w->held_out[w->n_held_out++] = (vj_held_out_point){ .step = p->step, .ratio = p->held_out_ratio };
    return VJ_OK;
}

// ---- rules -----------------------------------------------------------------------------------------------------------
static verdict judge(const vj_warnings *w, vj_warning which, const vj_watch_point *p)
{
    const vj_monitor_config *c = &w->config;
    verdict v = { .reference = 1 };
    switch (which) {
    case VJ_WARNING_RANK_FALL: v.value = p->rank, v.reference = window_rank(w, p->step), v.limit = c->rank_fall; break;
    case VJ_WARNING_RANK_LOW: v.value = p->rank, v.reference = w->rank_highest, v.limit = c->rank_low; break;
    case VJ_WARNING_SPREAD_LOW: v.value = p->spread, v.reference = w->spread_highest, v.limit = c->spread_low; break;
    case VJ_WARNING_TARGETS_ALIKE:
        v.value = p->target_variance, v.reference = w->variance_highest, v.limit = c->target_variance_low;
        break;
    case VJ_WARNING_CLIPS_ALIKE: v.value = p->cosine, v.limit = c->cosine_high, v.high = true; break;
    case VJ_WARNING_PREDICTS_CONSTANT:
        v.value = p->step > w->warmup ? p->variance_ratio : NAN, v.limit = c->variance_ratio_low;
        break;
    case VJ_WARNING_GRADIENT_JUMP:
        v.value = p->grad_norm, v.limit = c->gradient_high, v.high = true;
        v.reference = recent_median(w, offsetof(vj_watch_point, grad_norm));
        break;
    case VJ_WARNING_ENCODER_GRADIENT:
        v.value = p->grad_norm_encoder, v.limit = c->encoder_gradient_low;
        v.reference = recent_median(w, offsetof(vj_watch_point, grad_norm_encoder));
        break;
    case VJ_WARNING_LOSS_RISE: v.value = p->loss, v.reference = recent_least_loss(w), v.limit = c->loss_rise, v.high = true; break;
    case VJ_WARNING_HELD_OUT:
        v.value = p->step >= 2 * w->warmup ? p->held_out_ratio : NAN, v.limit = c->held_out_high, v.high = true;
        break;
    case VJ_WARNING_STRAGGLER: case VJ_WARNINGS: break;   // has a rule of its own
    }
    v.known = v.limit > 0 && isfinite(v.value) && isfinite(v.reference);
    return v;
}

// Where a figure must be back for the warning to end, as a share of the reference.
static double release(const vj_warnings *w, vj_warning which, double limit)
{
    const double h = w->config.hysteresis;
    if (which == VJ_WARNING_RANK_FALL) return (1 + limit) / 2;
    if (which == VJ_WARNING_CLIPS_ALIKE || which == VJ_WARNING_HELD_OUT) return 1 - (1 - limit) * (1 + h);
    if (which == VJ_WARNING_LOSS_RISE) return 1 + (limit - 1) / (1 + h);
    return which == VJ_WARNING_GRADIENT_JUMP ? limit / (1 + h) : limit * (1 + h);
}

static int64_t patience(const vj_warnings *w, vj_warning which, bool on)
{
    if (which == VJ_WARNING_HELD_OUT) return 2;
    return which == VJ_WARNING_RANK_FALL && !on ? 1 : w->config.patience;
}

static void describe(const vj_warnings *w, vj_warning_event *e, double reference)
{
    const char *advice = "lower optim.lr, lengthen optim.warmup or raise optim.ema_start";
    switch (e->warning) {
    case VJ_WARNING_RANK_FALL:
        vj_format(e->text, sizeof e->text, "within %lld steps the rank of target features fell from %.2f to %.2f (limit %.2f): clips become alike; %s",
                  (long long)w->window, reference, e->value, e->limit, advice);
        return;
    case VJ_WARNING_RANK_LOW:
        vj_format(e->text, sizeof e->text, "the rank of target features is %.2f, it was %.2f (limit %.2f): few directions are left; %s",
                  e->value, reference, e->limit, advice);
        return;
    case VJ_WARNING_SPREAD_LOW:
        vj_format(e->text, sizeof e->text, "target features of different clips spread by %.4f, it was %.4f (limit %.4f); %s", e->value,
                  reference, e->limit, advice);
        return;
    case VJ_WARNING_TARGETS_ALIKE:
        vj_format(e->text, sizeof e->text, "the variance of targets is %.4f, it was %.4f (limit %.4f): all tokens become alike; %s",
                  e->value, reference, e->limit, advice);
        return;
    case VJ_WARNING_CLIPS_ALIKE:
        vj_format(e->text, sizeof e->text, "features of different clips have a mean cosine of %.4f (limit %.4f): clips look alike; %s",
                  e->value, e->limit, advice);
        return;
    case VJ_WARNING_PREDICTS_CONSTANT:
        vj_format(e->text, sizeof e->text, "predictions vary by %.4f of what their targets do (limit %.4f): a constant is predicted; %s",
                  e->value, e->limit, advice);
        return;
    case VJ_WARNING_GRADIENT_JUMP:
        vj_format(e->text, sizeof e->text, "the gradient's norm is %.3g, its recent median %.3g (limit %.3g); lower optim.lr or lengthen optim.warmup",
                  e->value, reference, e->limit);
        return;
    case VJ_WARNING_ENCODER_GRADIENT:
        vj_format(e->text, sizeof e->text, "the encoder's gradient is %.3g, its recent median %.3g (limit %.3g): it learns no more; %s",
                  e->value, reference, e->limit, advice);
        return;
    case VJ_WARNING_LOSS_RISE:
        vj_format(e->text, sizeof e->text, "the loss is %.4f, it was %.4f not long ago (limit %.4f); lower optim.lr", e->value, reference,
                  e->limit);
        return;
    case VJ_WARNING_HELD_OUT:
        vj_format(e->text, sizeof e->text, "the held-out loss is %.3f of the best constant's (limit %.3f): nothing is predicted; %s",
                  e->value, e->limit, advice);
        return;
    case VJ_WARNING_STRAGGLER: case VJ_WARNINGS: return;
    }
}

// Whether the rule's warning begins or ends with this line.
static bool step_rule(vj_warnings *w, vj_warning which, const vj_watch_point *p, vj_warning_event *e)
{
    state *s = &w->states[which];
    const verdict v = judge(w, which, p);
    if (!v.known) return false;
    const double reference = s->on ? s->reference : v.reference;
    const double limit = (s->on ? release(w, which, v.limit) : v.limit) * reference;
    // On: is it back? Off: is it beyond?
    const bool change = s->on == v.high ? v.value < limit : v.value > limit;
    s->run = change ? s->run + 1 : 0;
    if (s->run < patience(w, which, s->on)) return false;
    *e = (vj_warning_event){ .step = p->step, .warning = which, .begins = !s->on, .value = v.value, .limit = limit };
    if (e->begins) describe(w, e, reference);
    else vj_format(e->text, sizeof e->text, "back at %.4g, beyond %.4g", v.value, limit);
    *s = (state){ .on = !s->on, .since = p->step, .reference = reference };
    return true;
}

// Who is a straggler was decided where the ranks' times are; here it only begins and ends.
static bool step_straggler(vj_warnings *w, const vj_watch_point *p, vj_warning_event *e)
{
    state *s = &w->states[VJ_WARNING_STRAGGLER];
    if (!p->has_ranks || (s->on ? (double)p->straggler == s->reference : p->straggler < 0)) return false;
    *e = (vj_warning_event){ .step = p->step, .warning = VJ_WARNING_STRAGGLER, .begins = !s->on, .value = p->straggler_slowdown,
                             .limit = p->straggler_limit };
    if (e->begins) {
        vj_format(e->text, sizeof e->text, "rank %lld on %s computes %.2f times as long per FLOP as the median rank (limit %.2f), and the "
                  "others wait for it: look at that machine's load, clock and temperature, or leave it out",
                  (long long)p->straggler, p->straggler_host, p->straggler_slowdown, p->straggler_limit);
    } else {
        vj_format(e->text, sizeof e->text, "rank %.0f is no straggler any more", s->reference);
    }
    *s = (state){ .on = !s->on, .since = p->step, .reference = (double)p->straggler };
    return true;
}

static vj_status span(vj_warnings *w, bool was, int64_t step)
{
    bool is = false;
    for (int i = 0; i < VJ_WARNINGS; i++) is = is || (w->states[i].on && i != VJ_WARNING_STRAGGLER);
    if (was && !is) w->spans[w->n_spans - 1].to = step;
    if (was || !is) return VJ_OK;
    VJ_TRY(grow(&w->spans, w->n_spans, &w->spans_capacity, sizeof *w->spans));
    w->spans[w->n_spans].from = step;
    w->spans[w->n_spans++].to = -1;
    return VJ_OK;
}

vj_status vj_warnings_add(vj_warnings *w, const vj_watch_point *p, vj_warning_event *events, int *n)
{
    *n = 0;
    const bool was = w->n_spans > 0 && w->spans[w->n_spans - 1].to < 0;
    VJ_TRY(remember(w, p));
    for (int i = 0; i < VJ_WARNINGS; i++)
        *n += i == VJ_WARNING_STRAGGLER ? step_straggler(w, p, &events[*n]) : step_rule(w, (vj_warning)i, p, &events[*n]);
    return span(w, was, p->step);
}

// ---- reading lines again ---------------------------------------------------------------------------------------------
static double number(const vj_json *object, const char *key)
{
    double v = NAN;
    return vj_json_as_f64(vj_json_get(object, key), &v) ? v : NAN;
}

void vj_watch_point_read(vj_watch_point *out, const vj_json *line)
{
    const vj_json *m = vj_json_get(line, "monitor"), *h = vj_json_get(line, "held_out");
    *out = (vj_watch_point){ .step = -1, .stage = 1 };
    vj_json_as_i64(vj_json_get(line, "step"), &out->step);
    vj_json_as_i64(vj_json_get(line, "stage"), &out->stage);
    out->loss = number(line, "loss");
    out->grad_norm = number(line, "grad_norm");
    out->grad_norm_encoder = number(line, "grad_norm_encoder");
    out->rank = number(m, "rank");
    out->spread = number(m, "spread");
    out->cosine = number(m, "cosine");
    out->variance_ratio = number(m, "variance_ratio");
    out->target_variance = number(m, "target_variance");
    out->held_out_ratio = number(h, "ratio");
    const vj_json *ranks = vj_json_get(line, "ranks");
    const char *host = vj_json_as_text(vj_json_get(ranks, "straggler_host"));
    out->straggler = -1;
    out->has_ranks = vj_json_as_i64(vj_json_get(ranks, "straggler"), &out->straggler);
    out->straggler_slowdown = number(ranks, "straggler_slowdown");
    out->straggler_limit = number(ranks, "straggler_limit");
    vj_format(out->straggler_host, sizeof out->straggler_host, "%.63s", host ? host : "?");
}

vj_status vj_warnings_replay(vj_warnings *w, const char *path, int64_t last_step)
{
    if (!vj_path_exists(path)) return VJ_OK;
    char *text = NULL;
    size_t bytes = 0;
    VJ_TRY(vj_file_read(path, &text, &bytes, 0));
    vj_status status = VJ_OK;
    for (char *line = text; status == VJ_OK && *line;) {
        char *end = strchr(line, '\n');
        const size_t length = end ? (size_t)(end - line) : strlen(line);
        vj_json_doc *doc = NULL;
        vj_watch_point point = { .step = -1 };
        vj_warning_event events[VJ_WARNINGS];
        int n = 0;
        status = vj_json_parse(&doc, line, length, path);
        if (status == VJ_OK) vj_watch_point_read(&point, vj_json_root(doc));
        if (status == VJ_OK && point.step >= 0 && point.step <= last_step) status = vj_warnings_add(w, &point, events, &n);
        vj_json_destroy(&doc);
        if (!end) break;
        line = end + 1;
    }
    free(text);
    return status;
}

// ---- life and questions ----------------------------------------------------------------------------------------------
vj_status vj_warnings_create(vj_warnings **out, const vj_monitor_config *config, int64_t warmup, int64_t every)
{
    vj_warnings *w = calloc(1, sizeof *w);
    *out = w;
    VJ_CHECK(w != NULL, VJ_ERR_NOMEM, "no memory for warnings");
    w->config = *config;
    w->warmup = warmup;
    w->window = config->window;
    if (w->window < 0) w->window = warmup / 2 > WINDOW_LINES * every ? warmup / 2 : WINDOW_LINES * every;
    w->rank = w->rank_highest = w->spread_highest = w->variance_highest = NAN;
    return VJ_OK;
}

void vj_warnings_destroy(vj_warnings **pointer)
{
    vj_warnings *w = *pointer;
    if (!w) return;
    free(w->recent);
    free(w->held_out);
    free(w->spans);
    free(w);
    *pointer = NULL;
}

bool vj_warnings_in_force(const vj_warnings *w, vj_warning which, int64_t *since)
{
    if (w->states[which].on) *since = w->states[which].since;
    return w->states[which].on;
}

bool vj_warnings_at(const vj_warnings *w, int64_t step)
{
    for (int64_t i = 0; i < w->n_spans; i++) {
        if (step >= w->spans[i].from && (w->spans[i].to < 0 || step < w->spans[i].to)) return true;
    }
    return false;
}

const vj_held_out_point *vj_warnings_held_out(const vj_warnings *w, int64_t *n)
{
    *n = w->n_held_out;
    return w->held_out;
}

double vj_warnings_rank(const vj_warnings *w, double *highest)
{
    *highest = w->rank_highest;
    return w->rank;
}
