// The page, from top to bottom: what it was, did it learn, curves, warnings, pictures, where time went, bad samples,
// configuration.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checkpoint.h"
#include "jobs/report/report_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"

// ---- in plain words ---------------------------------------------------------------------------------------------------
// Warnings that began and did not end: those about what is learned, or the one about a slow rank.
static int64_t in_force(const vj_report_run *r, bool slow)
{
    int64_t n = 0;
    for (int64_t i = 0; i < r->n_warnings; i++) {
        bool over = !r->warnings[i].begins;
        for (int64_t k = i + 1; k < r->n_warnings && !over; k++) over = strcmp(r->warnings[k].name, r->warnings[i].name) == 0;
        n += !over && slow == (strcmp(r->warnings[i].name, "straggler") == 0);
    }
    return n;
}

static void verdict(vj_str *out, const vj_report_run *r)
{
    const int64_t alarms = in_force(r, false);
    if (alarms > 0) {
        vj_str_printf(out, "<p class=\"warn\"><b>Something went wrong, whatever the loss says: %lld warning%s in force at the end.</b></p>", (long long)alarms,
                      alarms == 1 ? " is" : "s are");
    }
    const double ratio = vj_report_last(r, VJ_C_RATIO), swapped = vj_report_last(r, VJ_C_SWAPPED);
    if (!isfinite(ratio)) {
        vj_str_add(out, "<p>There are no held-out figures, so nobody can say yet whether it learned: pack with <code>--hold-out 0.1</code>, or wait for the first ones "
                        "(<code>held_out.every</code>).</p>");
        return;
    }
    const char *class = ratio < 0.9 ? "good" : ratio < 1 ? "" : "warn";
    if (alarms == 0 || ratio >= 1) {
        vj_str_printf(out, "<p class=\"%s\"><b>%s</b></p>", class, ratio < 0.9 ? "It has learned." : ratio < 1 ? "It has begun to learn." : "It has not learned anything.");
    }
    vj_str_printf(out, "<p>On clips it never trained on, its predictions miss by %.2f times what the best constant misses (below 1 is better than knowing nothing).", ratio);
    if (isfinite(swapped)) {
        vj_str_printf(out, " Against the features of another clip the same predictions miss by %.2f times that: %s.", swapped,
                      swapped > 1.1 * ratio ? "they belong to the clip at hand" : "they hardly depend on the clip, which a collapse looks like");
    }
    vj_str_add(out, "</p>");
}

static void what_next(vj_str *out, const vj_report_run *r)
{
    if (r->n_warnings == 0) vj_str_add(out, "<p class=\"good\">No warning.</p>");
    else if (in_force(r, true) > 0) vj_str_add(out, "<p class=\"warn\">A rank is slow, and the others wait for it: see the warnings below.</p>");
    else if (in_force(r, false) == 0) vj_str_add(out, "<p>There were warnings, all of them are over: see below.</p>");
    if (r->recommended[0] && r->recommended_step < 0) {
        vj_str_add(out, "<p>No checkpoint is recommended to cool down from: ");
        vj_html_text(out, r->recommended);
        vj_str_add(out, ".</p>");
    } else if (r->recommended[0]) {
        vj_str_add(out, "<p>To cool down from (<code>--from ");
        vj_html_text(out, r->path);
        vj_str_add(out, "@recommended</code>): ");
        vj_html_text(out, r->recommended);
        vj_str_add(out, ".</p>");
    }
}

static void card(vj_str *out, const vj_report_run *r)
{
    char took[32], bytes[24];
    vj_str_add(out, "<div class=\"card\"><h3>");
    vj_html_text(out, r->label);
    vj_str_add(out, "</h3><p>");
    vj_html_text(out, r->phase);
    vj_str_add(out, " of ");
    vj_html_text(out, r->preset[0] ? r->preset : "a model");
    if (r->frames > 0) vj_str_printf(out, ", clips of %lld frames x %lld px", (long long)r->frames, (long long)r->crop);
    vj_str_printf(out, ": step %lld", (long long)r->step);
    if (r->steps > 0) vj_str_printf(out, " of %lld", (long long)r->steps);
    if (r->outcome[0]) {
        vj_str_add(out, ", ");
        vj_html_text(out, r->outcome);
    }
    if (r->train_seconds > 0) {
        vj_duration_text(took, r->train_seconds);
        vj_bytes_text(bytes, r->peak_rss);
        vj_str_printf(out, "; %s of training, peak memory %s", took, bytes);
    }
    vj_str_add(out, ".</p>");
    if (r->parent[0]) {
        vj_str_add(out, "<p class=\"soft\">from ");
        vj_html_text(out, r->parent);
        vj_str_add(out, "</p>");
    }
    verdict(out, r);
    what_next(out, r);
    if (r->missing.length > 0) {
        vj_str_add(out, "<p class=\"soft\">");
        vj_html_text(out, vj_str_text(&r->missing));
        vj_str_add(out, "</p>");
    }
    vj_str_add(out, "</div>\n");
}

// ---- curves -----------------------------------------------------------------------------------------------------------
static void curves(vj_str *out, const vj_report_run *runs, int n)
{
    static const struct { const char *heading; vj_chart charts[6]; int n; } groups[] = {
        { "Did it learn?", {
            { "Held-out loss over the best constant", "lower is better; dashed: the same predictions against another clip", { VJ_C_RATIO, VJ_C_SWAPPED },
              { "own clip", "another clip" }, 2, false, 1.0, "the best constant" },
            { "Training loss", "mean absolute error of predicted features; alone it does not tell learning from collapse", { VJ_C_LOSS }, { "loss" }, 1, false, NAN, NULL },
        }, 2 },
        { "Monitors: features of fixed clips", {
            { "Rank", "how many directions the pooled features of different clips use (RankMe); a collapse goes to 1", { VJ_C_RANK }, { "rank" }, 1, false, NAN, NULL },
            { "Spread", "standard deviation of features over clips; a collapse goes to 0", { VJ_C_SPREAD }, { "spread" }, 1, false, NAN, NULL },
            { "Cosine between different clips", "near 1: all clips look the same to the model", { VJ_C_COSINE }, { "cosine" }, 1, false, NAN, NULL },
            { "Variance of predictions over that of targets", "near 0: it predicts a constant", { VJ_C_VARIANCE }, { "ratio" }, 1, false, NAN, NULL },
            { "Gradient norm", "logarithmic", { VJ_C_GRAD, VJ_C_GRAD_ENCODER, VJ_C_GRAD_PREDICTOR }, { "all", "encoder", "predictor" }, 3, true, NAN, NULL },
        }, 5 },
        { "Schedules", {
            { "Learning rate", NULL, { VJ_C_LR }, { "learning rate" }, 1, false, NAN, NULL },
            { "Weight decay", NULL, { VJ_C_WD }, { "weight decay" }, 1, false, NAN, NULL },
            { "Momentum of the target encoder", NULL, { VJ_C_MOMENTUM }, { "momentum" }, 1, false, NAN, NULL },
        }, 3 },
        { "Speed", {
            { "Clips a second", "held-out figures included", { VJ_C_CLIPS }, { "clips/s" }, 1, false, NAN, NULL },
            { "Seconds of a step", "computing, and waiting for data", { VJ_C_STEP, VJ_C_WAIT }, { "computing", "waiting" }, 2, false, NAN, NULL },
            { "Share of the measured roof (MFU)", "model FLOP/s over what a large product of matrices reaches here", { VJ_C_MFU }, { "share" }, 1, false, NAN, NULL },
        }, 3 },
    };
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        vj_str part = { 0 };
        bool any = false;
        for (int i = 0; i < groups[g].n; i++) any = vj_chart_draw(&part, &groups[g].charts[i], runs, n) || any;
        if (any) vj_str_printf(out, "<h2>%s</h2><div class=\"grid\">\n%s</div>\n", groups[g].heading, vj_str_text(&part));
        vj_str_free(&part);
    }
}

static void warnings(vj_str *out, const vj_report_run *r)
{
    if (r->n_warnings == 0) return;
    vj_str_add(out, "<h2>Warnings: ");
    vj_html_text(out, r->label);
    vj_str_add(out, "</h2><div class=\"scroll\"><table class=\"told\"><tr><th>step</th><th></th><th>warning</th><th>what it says</th></tr>\n");
    for (int64_t i = 0; i < r->n_warnings; i++) {
        const vj_warning_line *w = &r->warnings[i];
        vj_str_printf(out, "<tr><td class=\"n\">%lld</td><td>%s</td><td>", (long long)w->step, w->begins ? "begins" : "ends");
        vj_html_text(out, w->name);
        vj_str_add(out, "</td><td>");
        vj_html_text(out, w->text);
        vj_str_add(out, "</td></tr>\n");
    }
    vj_str_add(out, "</table></div>\n");
}

// ---- time -------------------------------------------------------------------------------------------------------------
typedef struct op_time { const char *name; double seconds, flop; } op_time;
static int by_seconds(const void *a, const void *b)
{
    const double x = ((const op_time *)a)->seconds, y = ((const op_time *)b)->seconds;
    return (x < y) - (x > y);
}

static void time_table(vj_str *out, const vj_report_run *r)
{
    const vj_json *list = r->summary ? vj_json_get(vj_json_root(r->summary), "ops") : NULL;
    op_time ops[64];
    int n = 0;
    double total = 0;
    for (int64_t i = 0; i < vj_json_count(list) && n < 64; i++) {
        const vj_json *v = vj_json_at(list, i);
        op_time o = { .name = vj_json_as_text(vj_json_get(v, "op")) };
        (void)vj_json_as_f64(vj_json_get(v, "seconds"), &o.seconds);
        (void)vj_json_as_f64(vj_json_get(v, "flop"), &o.flop);
        if (!o.name || !(o.seconds > 0)) continue;
        ops[n++] = o;
        total += o.seconds;
    }
    if (n == 0) return;
    qsort(ops, (size_t)n, sizeof *ops, by_seconds);
    vj_str_add(out, "<h2>Where time went: ");
    vj_html_text(out, r->label);
    vj_str_add(out, "</h2><p class=\"soft\">Operations of the last process of this run.</p><div class=\"scroll\"><table><tr><th>operation</th><th>share</th><th class=\"b\"></th><th>seconds</th>"
                    "<th>GFLOP/s</th></tr>\n");
    for (int i = 0; i < n; i++) {
        if (ops[i].seconds < 0.002 * total) continue;
        vj_str_add(out, "<tr><td>");
        vj_html_text(out, ops[i].name);
        vj_str_printf(out, "</td><td class=\"n\">%.1f %%</td><td class=\"b\"><div class=\"bar\" style=\"width:%.1f%%\"></div></td><td class=\"n\">%.1f</td><td class=\"n\">",
                      100 * ops[i].seconds / total, 100 * ops[i].seconds / ops[0].seconds, ops[i].seconds);
        if (ops[i].flop > 0) vj_str_printf(out, "%.0f", 1e-9 * ops[i].flop / ops[i].seconds);
        vj_str_add(out, "</td></tr>\n");
    }
    vj_str_add(out, "</table></div>\n");
}

// ---- bad samples ------------------------------------------------------------------------------------------------------
static void bad_samples(vj_str *out, vj_report_run *r)
{
    vj_checkpoint *c = NULL;
    vj_json_doc *doc = NULL;
    if (vj_checkpoint_open(&c, r->path, false) == VJ_OK && vj_checkpoint_state(c)->quarantine_json) {
        const char *text = vj_checkpoint_state(c)->quarantine_json;
        (void)(vj_json_parse(&doc, text, strlen(text), "quarantine") == VJ_OK);
    }
    vj_error_clear();
    const vj_json *list = doc ? vj_json_root(doc) : NULL;
    if (list && !vj_json_is_array(list)) {   // an object with one list in it
        const char *key;
        for (int64_t i = 0; i < vj_json_count(list); i++) {
            const vj_json *v = vj_json_member(list, i, &key);
            if (vj_json_is_array(v)) {
                list = v;
                break;
            }
        }
    }
    if (list && vj_json_is_array(list) && vj_json_count(list) > 0) {
        vj_str_add(out, "<h2>Bad samples: ");
        vj_html_text(out, r->label);
        vj_str_add(out, "</h2><p class=\"soft\">Left out and replaced by others; as of the newest checkpoint.</p><div class=\"scroll\"><table><tr><th>where</th><th>why</th></tr>\n");
        for (int64_t i = 0; i < vj_json_count(list) && i < 200; i++) {
            const char *where = vj_json_as_text(vj_json_get(vj_json_at(list, i), "where")), *why = vj_json_as_text(vj_json_get(vj_json_at(list, i), "reason"));
            vj_str_add(out, "<tr><td>");
            vj_html_text(out, where ? where : "?");
            vj_str_add(out, "</td><td class=\"t\">");
            vj_html_text(out, why ? why : "?");
            vj_str_add(out, "</td></tr>\n");
        }
        vj_str_add(out, "</table></div>\n");
    }
    vj_json_destroy(&doc);
    vj_checkpoint_destroy(&c);
}

// ---- configuration ----------------------------------------------------------------------------------------------------
// Lines of config.yaml that are `key: value  # origin`, with the section in front of the key.
typedef struct setting { char key[96], value[200], origin[160]; } setting;

static int64_t read_settings(const char *text, setting **out)
{
    int64_t n = 0, lines = 1;
    char section[64] = "";
    for (const char *p = text; p && *p; p++) lines += *p == '\n';
    *out = calloc((size_t)lines + 1, sizeof **out);
    while (*out && text && *text) {
        const size_t length = strcspn(text, "\n");
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)(length < 500 ? length : 500), text);
        text += length + (text[length] == '\n');
        char *comment = strstr(line, "  # ");
        const char *origin = "";
        if (comment) {
            *comment = '\0';
            origin = comment + 4;
        }
        const bool inner = line[0] == ' ';
        char *start = line + strspn(line, " "), *colon = strchr(start, ':');
        if (!colon || *start == '#') continue;
        *colon = '\0';
        const char *value = colon + 1 + strspn(colon + 1, " ");
        if (!inner && !*value) {
            snprintf(section, sizeof section, "%.60s.", start);
            continue;
        }
        setting *s = &(*out)[n++];
        snprintf(s->key, sizeof s->key, "%s%.30s", inner ? section : "", start);
        snprintf(s->value, sizeof s->value, "%.199s", value);
        snprintf(s->origin, sizeof s->origin, "%.159s", origin);
    }
    return n;
}

static const setting *find_setting(const setting *list, int64_t n, const char *key)
{
    for (int64_t i = 0; i < n; i++) {
        if (strcmp(list[i].key, key) == 0) return &list[i];
    }
    return NULL;
}

static void configuration(vj_str *out, const vj_report_run *runs, int n)
{
    setting *lists[VJ_REPORT_RUNS] = { 0 };
    int64_t count[VJ_REPORT_RUNS] = { 0 };
    for (int r = 0; r < n; r++) count[r] = read_settings(runs[r].config, &lists[r]);
    vj_str_add(out, "<h2>Configuration</h2>");
    if (n > 1) vj_str_add(out, "<p class=\"soft\">Shaded: keys that differ between the runs.</p>");
    vj_str_printf(out, "<div class=\"scroll\"><table%s><tr><th>key</th>", n == 1 ? " class=\"conf\"" : "");
    for (int r = 0; r < n; r++) {
        vj_str_add(out, "<th>");
        vj_html_text(out, n > 1 ? runs[r].label : "value");
        vj_str_add(out, "</th>");
    }
    vj_str_add(out, n == 1 ? "<th>where it comes from</th></tr>\n" : "</tr>\n");
    for (int64_t i = 0; i < count[0]; i++) {
        const setting *s = &lists[0][i];
        bool differs = false;
        for (int r = 1; r < n; r++) {
            const setting *other = find_setting(lists[r], count[r], s->key);
            differs = differs || !other || strcmp(other->value, s->value) != 0;
        }
        vj_str_printf(out, "<tr%s><td><code>", differs ? " class=\"d\"" : "");
        vj_html_text(out, s->key);
        vj_str_add(out, "</code></td>");
        for (int r = 0; r < n; r++) {
            const setting *other = find_setting(lists[r], count[r], s->key);
            vj_str_add(out, "<td>");
            vj_html_text(out, other ? other->value : "");
            vj_str_add(out, "</td>");
        }
        if (n == 1) {
            vj_str_add(out, "<td class=\"soft\">");
            vj_html_text(out, s->origin);
            vj_str_add(out, "</td>");
        }
        vj_str_add(out, "</tr>\n");
    }
    vj_str_add(out, "</table></div>\n");
    for (int r = 0; r < n; r++) free(lists[r]);
}

// ---- the whole --------------------------------------------------------------------------------------------------------
static vj_status read_runs(const vj_report_request *q, vj_report_run runs[VJ_REPORT_RUNS], int *n)
{
    VJ_CHECK(q->n_runs >= 1 && q->n_runs <= VJ_REPORT_RUNS, VJ_ERR_USAGE, "1 to %d runs fit side by side", VJ_REPORT_RUNS);
    for (; *n < q->n_runs; (*n)++) VJ_TRY(vj_report_run_read(&runs[*n], q->runs[*n]));
    for (int i = 0; i < *n; i++) {   // labels tell runs apart
        for (int k = 0; k < i; k++) {
            if (strcmp(runs[i].label, runs[k].label) == 0) snprintf(runs[i].label, sizeof runs[i].label, "%.50s (%d)", vj_path_base(runs[i].path), i + 1);
        }
    }
    return VJ_OK;
}

static vj_status make_page(vj_str *out, const vj_report_request *q, vj_report_run *runs, int n)
{
    vj_str pictures = { 0 };
    vj_status status = VJ_OK;
    if (q->clips > 0) status = vj_report_pictures(&pictures, &runs[n - 1], q);   // of the last run named; first, since it says what is missing
    if (status != VJ_OK) {
        vj_str_free(&pictures);
        return status;
    }
    vj_str_add(out, vj_html_head);
    vj_str_add(out, "<title>");
    for (int r = 0; r < n; r++) {
        if (r > 0) vj_str_add(out, ", ");
        vj_html_text(out, runs[r].label);
    }
    vj_str_add(out, "</title></head><body>\n<h1>vjepa: ");
    for (int r = 0; r < n; r++) {
        if (r > 0) vj_str_add(out, ", ");
        vj_html_text(out, runs[r].label);
    }
    vj_str_add(out, "</h1>\n<div class=\"cards\">\n");
    for (int r = 0; r < n; r++) card(out, &runs[r]);
    vj_str_printf(out, "</div>\n<p class=\"soft\">In the curves, a %s mark at the top is a warning that begins, a triangle at the bottom the recommended "
                       "checkpoint%s; bold figures are the last ones.</p>\n", n > 1 ? "hanging" : "red", n > 1 ? ", both in the colour of their run" : "");
    curves(out, runs, n);
    for (int r = 0; r < n; r++) warnings(out, &runs[r]);
    vj_str_add_n(out, vj_str_text(&pictures), pictures.length);
    vj_str_free(&pictures);
    for (int r = 0; r < n; r++) time_table(out, &runs[r]);
    for (int r = 0; r < n; r++) bad_samples(out, &runs[r]);
    configuration(out, runs, n);
    vj_str_add(out, "</body></html>\n");
    return VJ_OK;
}

vj_status vj_report_write(const vj_report_request *q)
{
    vj_report_run runs[VJ_REPORT_RUNS] = { 0 };
    int n = 0;
    vj_str page = { 0 };
    vj_status status = read_runs(q, runs, &n);
    if (status == VJ_OK) status = make_page(&page, q, runs, n);
    if (status == VJ_OK) status = vj_file_write_atomic(q->out, vj_str_text(&page), page.length);
    vj_str_free(&page);
    for (int i = 0; i < q->n_runs && i < VJ_REPORT_RUNS; i++) vj_report_run_free(&runs[i]);
    return status;
}

vj_status vj_report_json(const vj_report_request *q, vj_json_writer *w)
{
    vj_report_run runs[VJ_REPORT_RUNS] = { 0 };
    int n = 0;
    const vj_status status = read_runs(q, runs, &n);
    vj_json_begin_array(w, "runs");
    for (int i = 0; i < n && status == VJ_OK; i++) {
        const vj_report_run *r = &runs[i];
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "run", r->path);
        vj_json_put_text(w, "phase", r->phase);
        vj_json_put_text(w, "outcome", r->outcome);
        vj_json_put_i64(w, "step", r->step);
        vj_json_put_i64(w, "steps", r->steps);
        vj_json_put_f64(w, "loss", vj_report_last(r, VJ_C_LOSS));
        vj_json_put_f64(w, "held_out_ratio", vj_report_last(r, VJ_C_RATIO));
        vj_json_put_f64(w, "swapped_ratio", vj_report_last(r, VJ_C_SWAPPED));
        vj_json_put_f64(w, "rank", vj_report_last(r, VJ_C_RANK));
        vj_json_put_f64(w, "samples_per_second", vj_report_last(r, VJ_C_CLIPS));
        vj_json_put_i64(w, "warning_lines", r->n_warnings);
        vj_json_put_i64(w, "recommended_step", r->recommended_step);
        vj_json_put_text(w, "recommended", r->recommended);
        vj_json_put_i64(w, "bad_samples", r->bad_samples);
        vj_json_put_i64(w, "broken_lines", r->broken_lines);
        vj_json_put_text(w, "missing", vj_str_text(&r->missing));
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    for (int i = 0; i < q->n_runs && i < VJ_REPORT_RUNS; i++) vj_report_run_free(&runs[i]);
    return status;
}
