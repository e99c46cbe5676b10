// The page of `vjepa watch`.

#include "jobs/watch/page.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/clock.h"

enum { LABEL = 16, VALUE = 10, RANGE = 24, TEXT_MAX = 2048 };

// ---- lines of limited width ----------------------------------------------------------------------------------------------
typedef struct page {
    vj_str *out;
    const vj_page_style *style;
    int width, lines, most;   // most: lines that may still be written in all
} page;

// Appends at most `columns` characters, made harmless, and returns how many. A character counts as one column.
static int put_clean(vj_str *out, const char *text, int columns)
{
    int used = 0;
    for (size_t n; *text && used < columns; text += n ? n : 1, used++) {
        n = vj_utf8_length(text);
        const unsigned char c = (unsigned char)*text;
        const bool control = c < 0x20 || c == 0x7f || (n == 2 && c == 0xc2 && (unsigned char)text[1] < 0xa0);
        if (n == 0 || control) vj_str_add(out, "?");
        else vj_str_add_n(out, text, n);
    }
    return used;
}

// One line. `mark`: an escape sequence before it ("" for none).
static void put_line(page *p, const char *mark, const char *text)
{
    if (p->lines >= p->most) return;
    const bool marked = mark[0] && p->style->colour;
    if (marked) vj_str_add(p->out, mark);
    put_clean(p->out, text, p->width);
    if (marked) vj_str_add(p->out, "\033[0m");
    vj_str_add(p->out, "\n");
    p->lines++;
}

static void line(page *p, const char *mark, const char *fmt, ...) VJ_PRINTF(3, 4);
static void line(page *p, const char *mark, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    put_line(p, mark, text);
}

// A line that is worth reading to its end: where the page is as high as it likes, it goes on below, indented; else it is cut.
static void put_wrapped(page *p, const char *mark, const char *text)
{
    enum { INDENT = LABEL + 1 };
    char row[TEXT_MAX];
    for (bool first = true; *text; first = false) {
        const int indent = first ? 0 : INDENT, room = p->width - indent;
        size_t end = 0, space = 0;   // bytes that fit, and up to the last space in them
        int columns = 0;
        while (text[end] && columns < room) {
            if (text[end] == ' ' && columns > INDENT) space = end;
            const size_t n = vj_utf8_length(text + end);
            end += n ? n : 1;
            columns++;
        }
        if (p->style->height > 0 || room <= INDENT) end = strlen(text);
        else if (text[end] && text[end] != ' ' && space > 0) end = space;
        vj_format(row, sizeof row, "%*s%.*s", indent, "", (int)end, text);
        put_line(p, mark, row);
        text += end;
        text += strspn(text, " ");
    }
}

static const char bold[] = "\033[1m", red[] = "\033[1;31m", plain[] = "";

// ---- pieces ----------------------------------------------------------------------------------------------------------------
void vj_sparkline(vj_str *out, const double *values, int64_t n, int columns, bool unicode)
{
    static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }, *const ascii[] = { "_", ".", "-", "~", "=", "+", "*", "#" };
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        low = fmin(low, values[i]);
        high = fmax(high, values[i]);
    }
    if (n < columns) columns = (int)n;
    for (int c = 0; c < columns; c++) {
        const int64_t from = n * c / columns, to = n * (c + 1) / columns;
        double mean = 0;
        for (int64_t i = from; i < to; i++) mean += values[i] / (double)(to - from);
        const double at = high > low ? (mean / 2 - low / 2) / (high / 2 - low / 2) : 0.5;   // halves: the span may overflow
        int level = isfinite(at) ? (int)(at * 8) : 0;
        level = level < 0 ? 0 : level > 7 ? 7 : level;
        vj_str_add(out, unicode ? blocks[level] : ascii[level]);
    }
}

static void state_text(const vj_watch *w, char out[160])
{
    char age[32];
    vj_duration_text(age, isnan(w->age) ? 0 : w->age);
    switch (w->state) {
    case VJ_WATCH_MISSING: vj_format(out, 160, "waiting for the run"); break;
    case VJ_WATCH_STARTING: vj_format(out, 160, "starting, no line yet"); break;
    case VJ_WATCH_RUNNING: vj_format(out, 160, "running, last line %s ago", age); break;
    case VJ_WATCH_QUIET: vj_format(out, 160, "no line for %s: is it still running?", age); break;
    case VJ_WATCH_ENDED: vj_format(out, 160, "%s", w->outcome[0] ? w->outcome : "ended"); break;
    default: vj_format(out, 160, "not there any more: moved or removed; this was seen last"); break;
    }
}

static void put_head(page *p, const vj_watch *w)
{
    char state[160];
    state_text(w, state);
    line(p, bold, "%s", w->path);
    line(p, w->state == VJ_WATCH_QUIET || w->state == VJ_WATCH_GONE ? red : plain, "%s%s%s%s%s%s%s", w->phase, w->phase[0] && w->schedule[0] ? ", " : "",
         w->schedule, w->model[0] ? ", " : "", w->model, w->phase[0] || w->model[0] ? ": " : "", state);
}

static void put_progress(page *p, const vj_watch *w)
{
    if (w->lines == 0) return;
    char rate[64] = "", left[64] = "";
    if (w->rate > 0) vj_format(rate, sizeof rate, "  %.3g steps/s", w->rate);
    if (w->eta > 0) {
        char text[32];
        vj_duration_text(text, w->eta);
        vj_format(left, sizeof left, "  %s left", text);
    }
    if (w->steps <= 0) {
        line(p, plain, "step %lld%s", (long long)w->step, rate);
        return;
    }
    const double share = fmin(1, (double)w->step / (double)w->steps);
    vj_str bar = { 0 };
    int cells = p->width - 60;
    cells = cells < 10 ? 10 : cells > 40 ? 40 : cells;
    for (int i = 0; i < cells; i++) {
        const bool full = i < (int)(share * cells);
        vj_str_add(&bar, p->style->unicode ? full ? "█" : "░" : full ? "#" : ".");
    }
    line(p, plain, "%s %lld of %lld  %.0f %%%s%s", vj_str_text(&bar), (long long)w->step, (long long)w->steps, floor(share * 100), rate, left);
    vj_str_free(&bar);
}

static void put_series(page *p, const vj_watch *w)
{
    const char *label;
    for (int i = 0; vj_series_name(i, &label) != NULL; i++) {
        const vj_series *s = &w->series[i];
        if (s->n == 0) continue;
        double low = INFINITY, high = -INFINITY;
        for (int64_t k = 0; k < s->n; k++) {
            low = fmin(low, s->value[k]);
            high = fmax(high, s->value[k]);
        }
        const int room = p->width - LABEL - VALUE - 4 - RANGE;
        vj_str bars = { 0 };
        if (room >= 8) vj_sparkline(&bars, s->value, s->n, room, p->style->unicode);
        // Bars are aligned by hand: printf counts bytes.
        const int shown = s->n < room ? (int)s->n : room;
        if (room < 8) line(p, plain, "%-*s %*.4g", LABEL, label, VALUE, s->value[s->n - 1]);
        else line(p, plain, "%-*s %*.4g  %s%*s  %.3g to %.3g", LABEL, label, VALUE, s->value[s->n - 1], vj_str_text(&bars), room - shown, "", low, high);
        vj_str_free(&bars);
    }
}

static bool has_ranks(const vj_watch *w) { return vj_record_get(&w->kept, "ranks/count") > 1; }

// Seconds a step, of the fastest and the slowest rank.
static void put_ranks(page *p, const vj_watch *w)
{
    if (!has_ranks(w)) return;
    const vj_record *k = &w->kept;
    line(p, plain, "%-*s %.0f: computing %.3g to %.3g s a step, waiting for each other %.3g to %.3g s", LABEL, "ranks", vj_record_get(k, "ranks/count"),
         vj_record_get(k, "phase_seconds/compute/min"), vj_record_get(k, "phase_seconds/compute/max"),
         vj_record_get(k, "phase_seconds/communication/min"), vj_record_get(k, "phase_seconds/communication/max"));
}

static void put_warnings(page *p, const vj_watch *w)
{
    if (w->lines > 0 && w->n_warnings == 0) line(p, plain, "%-*s none", LABEL, "warnings");
    for (int i = 0; i < w->n_warnings; i++) {
        const vj_watch_warning *v = &w->warnings[i];
        char since[48] = "";
        if (v->step >= 0) vj_format(since, sizeof since, " since step %lld", (long long)v->step);
        char text[TEXT_MAX];
        vj_format(text, sizeof text, "WARNING %s%s%s%s", v->name, since, v->text[0] ? ": " : "", v->text);
        put_wrapped(p, red, text);
    }
}

static void put_checkpoints(page *p, const vj_watch *w)
{
    if (w->checkpoint_step >= 0) line(p, plain, "%-*s step %lld (%lld kept)", LABEL, "checkpoint", (long long)w->checkpoint_step, (long long)w->checkpoints);
    else if (w->lines > 0) line(p, plain, "%-*s none yet", LABEL, "checkpoint");
    if (w->recommended_step >= 0) {
        char text[TEXT_MAX];
        vj_format(text, sizeof text, "%-*s step %lld%s%s", LABEL, "recommended", (long long)w->recommended_step, w->recommended_why[0] ? ": " : "",
                  w->recommended_why);
        put_wrapped(p, plain, text);
    }
}

static int tail_lines(const vj_watch *w)
{
    return has_ranks(w) + (w->lines > 0 && w->n_warnings == 0) + w->n_warnings + (w->checkpoint_step >= 0 || w->lines > 0) + (w->recommended_step >= 0);
}

void vj_page(vj_str *out, const vj_watch *w, const vj_page_style *style)
{
    page p = { .out = out, .style = style, .width = style->width < 20 ? 20 : style->width > TEXT_MAX / 4 ? TEXT_MAX / 4 : style->width };
    const int all = style->height > 0 ? style->height : 1000000;
    p.most = all;
    put_head(&p, w);
    put_progress(&p, w);
    p.most = all - tail_lines(w);
    if (p.lines < p.most && w->lines > 0) put_line(&p, plain, "");
    put_series(&p, w);
    p.most = all;
    put_ranks(&p, w);
    put_warnings(&p, w);
    put_checkpoints(&p, w);
}

void vj_page_line(vj_str *out, const vj_watch *w)
{
    vj_str text = { 0 };
    if (w->lines == 0) {
        char state[160];
        state_text(w, state);
        vj_str_printf(&text, "%s: %s", w->path, state);
    } else {
        vj_str_printf(&text, "step %lld", (long long)w->step);
        if (w->steps > 0) vj_str_printf(&text, " of %lld", (long long)w->steps);
        for (int i = 0; i < 4; i++) {
            const char *label = NULL;
            vj_series_name(i, &label);
            if (w->series[i].n > 0) vj_str_printf(&text, ", %s %.4g", label, w->series[i].value[w->series[i].n - 1]);
        }
        if (w->rate > 0) vj_str_printf(&text, ", %.3g steps/s", w->rate);
        char left[32];
        vj_duration_text(left, w->eta > 0 ? w->eta : 0);
        if (w->state == VJ_WATCH_RUNNING && w->eta > 0) vj_str_printf(&text, ", %s left", left);
        for (int i = 0; i < w->n_warnings; i++) vj_str_printf(&text, "%s%s", i ? ", " : ", WARNING ", w->warnings[i].name);
        if (w->state == VJ_WATCH_ENDED) vj_str_printf(&text, ", %s", w->outcome[0] ? w->outcome : "ended");
        if (w->state == VJ_WATCH_GONE) vj_str_add(&text, ", the run is not there any more");
    }
    put_clean(out, vj_str_text(&text), TEXT_MAX);
    vj_str_add(out, "\n");
    vj_str_free(&text);
}
