// Curves as SVG. Points are those of the metrics, none averaged; above 1,200 of them every k-th is drawn.

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jobs/report/report_impl.h"

enum { W = 640, H = 254, LEFT = 62, RIGHT = 12, TOP = 10, BOTTOM = 38, POINTS = 1200 };

// Colours that stay apart for colour-blind eyes and on both backgrounds (after Okabe and Ito).
static const char *const colours[] = { "#0077bb", "#d55e00", "#009e73", "#aa5599", "#a08000", "#56859a" };
static const char *const dashes[] = { "", "6 4", "2 3", "9 3 2 3" };

typedef struct frame { double x0, x1, y0, y1; bool log; } frame;

static double px(const frame *f, double x) { return LEFT + (x - f->x0) / (f->x1 - f->x0) * (W - LEFT - RIGHT); }
static double py(const frame *f, double y)
{
    const double v = f->log ? log10(y) : y;
    return H - BOTTOM - (v - f->y0) / (f->y1 - f->y0) * (H - TOP - BOTTOM);
}

static bool usable(double v, bool log_scale) { return isfinite(v) && (!log_scale || v > 0); }

static bool fit(frame *f, const vj_chart *c, const vj_report_run *runs, int n_runs)
{
    *f = (frame){ .x0 = 0, .x1 = 1, .y0 = INFINITY, .y1 = -INFINITY, .log = c->log_scale };
    for (int r = 0; r < n_runs; r++) {
        for (int k = 0; k < c->n; k++) {
            for (int64_t i = 0; i < runs[r].n; i++) {
                const double v = runs[r].value[c->curves[k]][i];
                if (!usable(v, f->log)) continue;
                const double y = f->log ? log10(v) : v;
                f->y0 = y < f->y0 ? y : f->y0;
                f->y1 = y > f->y1 ? y : f->y1;
                f->x1 = (double)runs[r].at[i] > f->x1 ? (double)runs[r].at[i] : f->x1;
            }
        }
    }
    if (!(f->y1 >= f->y0)) return false;
    if (isfinite(c->guide) && !f->log) {
        f->y0 = c->guide < f->y0 ? c->guide : f->y0;
        f->y1 = c->guide > f->y1 ? c->guide : f->y1;
    }
    const double room = f->y1 > f->y0 ? 0.06 * (f->y1 - f->y0) : fabs(f->y0) > 0 ? 0.1 * fabs(f->y0) : 1;
    if (f->y0 >= 0 && f->y0 - room < 0 && !f->log) f->y0 = 0;
    else f->y0 -= room;
    f->y1 += room;
    return true;
}

static double nice_step(double span, int most)
{
    const double raw = span / most, power = pow(10, floor(log10(raw))), unit = raw / power;
    return (unit <= 1 ? 1 : unit <= 2 ? 2 : unit <= 5 ? 5 : 10) * power;
}

static void tick_text(char out[32], double v)
{
    if (fabs(v) >= 1e6 || (v != 0 && fabs(v) < 1e-3)) snprintf(out, 32, "%.3g", v);
    else if (fabs(v) >= 10000) snprintf(out, 32, "%.4gk", v / 1000);
    else snprintf(out, 32, "%.4g", v);
}

static void y_tick(vj_str *out, const frame *f, double v)
{
    char text[32];
    const double y = py(f, v);
    tick_text(text, v);
    vj_str_printf(out, "<line class=\"g\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", LEFT, W - RIGHT, y, y,
                  LEFT - 6, y + 4, text);
}

static void axes(vj_str *out, const frame *f)
{
    if (f->log && f->y1 - f->y0 > 1) {
        for (double e = ceil(f->y0); e <= f->y1; e += f->y1 - f->y0 > 8 ? 2 : 1) y_tick(out, f, pow(10, e));
    } else {
        const double low = f->log ? pow(10, f->y0) : f->y0, high = f->log ? pow(10, f->y1) : f->y1, step = nice_step(high - low, 5);
        for (double v = ceil(low / step) * step; v <= high + 1e-9 * step; v += step) y_tick(out, f, fabs(v) < 1e-9 * step ? 0 : v);
    }
    const double step = nice_step(f->x1 - f->x0, 6);
    for (double v = 0; v <= f->x1 * (1 + 1e-9); v += step) {
        char text[32];
        tick_text(text, v);
        vj_str_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>", px(f, v), H - BOTTOM + 18, v == 0 ? "start" : v > 0.96 * f->x1 ? "end" : "middle", text);
    }
    vj_str_printf(out, "<line class=\"a\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>", LEFT, W - RIGHT, H - BOTTOM, H - BOTTOM);
}

static void line(vj_str *out, const frame *f, const vj_report_run *r, vj_curve curve, const char *colour, const char *dash)
{
    int64_t have = 0;
    for (int64_t i = 0; i < r->n; i++) have += usable(r->value[curve][i], f->log);
    if (have == 0) return;
    const int64_t every = (have + POINTS - 1) / POINTS;
    if (have == 1) {
        for (int64_t i = 0; i < r->n; i++) {
            if (usable(r->value[curve][i], f->log))
                vj_str_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>", px(f, (double)r->at[i]), py(f, r->value[curve][i]), colour);
        }
        return;
    }
    vj_str_printf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" stroke-linejoin=\"round\"", colour);
    if (*dash) vj_str_printf(out, " stroke-dasharray=\"%s\"", dash);
    vj_str_add(out, " points=\"");
    int64_t seen = 0;
    for (int64_t i = 0; i < r->n; i++) {
        if (!usable(r->value[curve][i], f->log)) continue;
        if (seen++ % every == 0 || seen == have) vj_str_printf(out, "%.1f,%.1f ", px(f, (double)r->at[i]), py(f, r->value[curve][i]));
    }
    vj_str_add(out, "\"/>");
}

// Warnings that begin hang from the top, the recommended checkpoint stands at the bottom. `colour`: the run's, where there are
// several; NULL: warnings in the colour of warnings.
static void marks(vj_str *out, const frame *f, const vj_report_run *r, const char *colour)
{
    for (int64_t i = 0; i < r->n_warnings && i < 40; i++) {
        const vj_warning_line *w = &r->warnings[i];
        if (!w->begins || (double)w->step > f->x1) continue;
        const double x = px(f, (double)w->step);
        vj_str_printf(out, "<path ");
        if (colour) vj_str_printf(out, "fill=\"%s\"", colour);
        else vj_str_add(out, "class=\"w\"");
        vj_str_printf(out, " d=\"M%.1f %d l-5 -9 h10 z\"><title>warning at step %lld: ", x, TOP + 8, (long long)w->step);
        vj_html_text(out, w->name);
        vj_str_add(out, "</title></path>");
    }
    if (r->recommended_step >= 0 && (double)r->recommended_step <= f->x1) {
        const double x = px(f, (double)r->recommended_step);
        vj_str_printf(out, "<path fill=\"%s\" d=\"M%.1f %d l-5 8 h10 z\"><title>recommended checkpoint: step %lld</title></path>",
                      colour ? colour : colours[0], x, H - BOTTOM - 8, (long long)r->recommended_step);
    }
}

static void legend(vj_str *out, const vj_chart *c, const vj_report_run *runs, int n_runs)
{
    vj_str_add(out, "<p class=\"legend\">");
    for (int r = 0; r < n_runs; r++) {
        for (int k = 0; k < c->n; k++) {
            const double last = vj_report_last(&runs[r], c->curves[k]);
            if (!isfinite(last)) continue;
            const char *dash = dashes[k % 4];
            vj_str_printf(out, "<span><svg width=\"26\" height=\"8\" aria-hidden=\"true\"><line x1=\"0\" x2=\"26\" y1=\"4\" y2=\"4\" stroke=\"%s\" stroke-width=\"2.4\" "
                               "stroke-dasharray=\"%s\"/></svg> ", colours[(n_runs > 1 ? r : k) % 6], *dash ? dash : "none");
            if (n_runs > 1) {
                vj_html_text(out, runs[r].label);
                if (c->n > 1) vj_str_add(out, ": ");
            }
            if (c->n > 1 || n_runs == 1) vj_html_text(out, c->names[k]);
            vj_str_add(out, " <b>");
            vj_html_number(out, last);
            vj_str_add(out, "</b></span> ");
        }
    }
    vj_str_add(out, "</p>");
}

bool vj_chart_draw(vj_str *out, const vj_chart *chart, const vj_report_run *runs, int n_runs)
{
    // Three curves of each of several runs cannot be told apart: the first stands for them.
    vj_chart first = *chart;
    if (n_runs > 1 && chart->n > 2) first.n = 1;
    const vj_chart *c = &first;
    frame f;
    if (!fit(&f, c, runs, n_runs)) return false;
    vj_str_add(out, "<figure><figcaption>");
    vj_html_text(out, c->title);
    if (c->note) {
        vj_str_add(out, " <small>");
        vj_html_text(out, c->note);
        vj_str_add(out, "</small>");
    }
    vj_str_printf(out, "</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", W, H);
    vj_html_text(out, c->title);
    vj_str_add(out, "\">");
    axes(out, &f);
    if (isfinite(c->guide) && usable(c->guide, f.log)) {
        const double y = py(&f, c->guide);
        vj_str_printf(out, "<line class=\"k\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", LEFT, W - RIGHT, y, y,
                      W - RIGHT - 4, y - 5, c->guide_name);
    }
    for (int r = 0; r < n_runs; r++) {
        for (int k = 0; k < c->n; k++) line(out, &f, &runs[r], c->curves[k], colours[(n_runs > 1 ? r : k) % 6], dashes[k % 4]);
        marks(out, &f, &runs[r], n_runs > 1 ? colours[r % 6] : NULL);
    }
    vj_str_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">step</text></svg>", W - RIGHT, H - 5);
    legend(out, c, runs, n_runs);
    vj_str_add(out, "</figure>\n");
    return true;
}
