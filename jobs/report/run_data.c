// What a run directory says, read without trust: a broken line is counted and passed over.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checkpoint.h"
#include "jobs/report/report_impl.h"
#include "jobs/train/record.h"
#include "jobs/train/run_dir.h"
#include "runtime/base/file.h"

static const char *const curve_names[VJ_CURVES] = {
    "loss", "held_out/ratio", "held_out/swapped_ratio", "monitor/spread", "monitor/rank", "monitor/cosine", "monitor/variance_ratio", "grad_norm",
    "grad_norm_encoder", "grad_norm_predictor", "lr", "weight_decay", "momentum", "samples_per_second", "tokens_per_second", "step_seconds",
    "data_wait_seconds", "mfu",
};

static vj_status add_line(vj_report_run *r, const vj_record *line)
{
    if (r->n == r->capacity) {
        const int64_t n = r->capacity > 0 ? 2 * r->capacity : 256;
        int64_t *at = realloc(r->at, (size_t)n * sizeof *at);
        VJ_CHECK(at != NULL, VJ_ERR_NOMEM, "no memory for the metrics of %s", r->path);
        r->at = at;
        for (int c = 0; c < VJ_CURVES; c++) {
            double *v = realloc(r->value[c], (size_t)n * sizeof *v);
            VJ_CHECK(v != NULL, VJ_ERR_NOMEM, "no memory for the metrics of %s", r->path);
            r->value[c] = v;
        }
        r->capacity = n;
    }
    r->at[r->n] = line->step;
    for (int c = 0; c < VJ_CURVES; c++) r->value[c][r->n] = vj_record_get(line, curve_names[c]);
    if (isnan(r->value[VJ_C_MFU][r->n])) r->value[VJ_C_MFU][r->n] = vj_record_get(line, "roof_share");   // its older name
    const double bad = vj_record_get(line, "bad_samples");
    if (isfinite(bad) && (int64_t)bad > r->bad_samples) r->bad_samples = (int64_t)bad;
    r->n++;
    return VJ_OK;
}

static vj_status read_metrics(vj_report_run *r)
{
    char path[640], *text = NULL;
    size_t bytes = 0;
    vj_path_join(path, sizeof path, r->path, "metrics.jsonl");
    if (vj_file_read(path, &text, &bytes, (size_t)1 << 31) != VJ_OK) {
        vj_error_clear();
        vj_str_add(&r->missing, "metrics.jsonl cannot be read: there are no curves.\n");
        return VJ_OK;
    }
    vj_record line = { 0 };
    vj_status status = VJ_OK;
    for (size_t at = 0; at < bytes && status == VJ_OK;) {
        const char *newline = memchr(text + at, '\n', bytes - at);
        const size_t length = newline ? (size_t)(newline - text) - at : bytes - at;
        const bool good = vj_record_read(&line, text + at, length, 0) == VJ_OK && (r->n == 0 || line.step > r->at[r->n - 1]);
        if (good) status = add_line(r, &line);
        else if (length > 0) r->broken_lines++;
        if (!good) vj_error_clear();
        at += length + 1;
    }
    vj_record_free(&line);
    free(text);
    if (r->broken_lines > 0) vj_str_printf(&r->missing, "%lld lines of metrics.jsonl are broken and were passed over.\n", (long long)r->broken_lines);
    return status;
}

static void copy_text(char *out, size_t size, const vj_json *object, const char *key)
{
    const char *text = vj_json_as_text(vj_json_get(object, key));
    snprintf(out, size, "%s", text ? text : "");
}

static void copy_number(int64_t *out, const vj_json *object, const char *key) { (void)vj_json_as_i64(vj_json_get(object, key), out); }

static void read_summary(vj_report_run *r)
{
    char path[640];
    vj_path_join(path, sizeof path, r->path, "summary.json");
    if (!vj_path_exists(path) || vj_json_read(&r->summary, path) != VJ_OK) {
        vj_error_clear();
        vj_str_add(&r->missing, "There is no summary.json: the run is still going on, or was killed.\n");
        return;
    }
    const vj_json *s = vj_json_root(r->summary);
    copy_text(r->outcome, sizeof r->outcome, s, "outcome");
    copy_text(r->preset, sizeof r->preset, s, "model");
    copy_text(r->isa, sizeof r->isa, s, "isa");
    copy_number(&r->step, s, "step");
    copy_number(&r->steps, s, "steps");
    copy_number(&r->crop, s, "crop");
    copy_number(&r->frames, s, "frames");
    (void)vj_json_as_f64(vj_json_get(s, "train_seconds"), &r->train_seconds);
    (void)vj_json_as_f64(vj_json_get(s, "peak_rss_bytes"), &r->peak_rss);
}

static void read_recommended(vj_report_run *r)
{
    char path[640];
    vj_json_doc *doc = NULL;
    r->recommended_step = -1;
    vj_path_join(path, sizeof path, r->path, "run.json");
    if (vj_json_read(&doc, path) != VJ_OK) {
        vj_error_clear();
        return;
    }
    const vj_json *v = vj_json_get(vj_json_root(doc), "recommended");
    copy_text(r->recommended, sizeof r->recommended, v, "why");
    copy_number(&r->recommended_step, v, "step");
    vj_json_destroy(&doc);
}

static vj_status read_warnings(vj_report_run *r)
{
    char path[640], *text = NULL;
    size_t bytes = 0;
    vj_path_join(path, sizeof path, r->path, "warnings.jsonl");
    if (!vj_path_exists(path)) return VJ_OK;
    if (vj_file_read(path, &text, &bytes, 1 << 24) != VJ_OK) {
        vj_error_clear();
        vj_str_add(&r->missing, "warnings.jsonl cannot be read.\n");
        return VJ_OK;
    }
    int64_t lines = 1;
    for (size_t i = 0; i < bytes; i++) lines += text[i] == '\n';
    r->warnings = calloc((size_t)lines, sizeof *r->warnings);
    VJ_CHECK(r->warnings != NULL, VJ_ERR_NOMEM, "no memory for the warnings of %s", r->path);
    for (size_t at = 0; at < bytes;) {
        const size_t length = strcspn(text + at, "\n");
        vj_json_doc *doc = NULL;
        if (length > 0 && vj_json_parse(&doc, text + at, length, path) == VJ_OK) {
            const vj_json *v = vj_json_root(doc);
            vj_warning_line *w = &r->warnings[r->n_warnings++];
            const char *state = vj_json_as_text(vj_json_get(v, "state"));
            copy_number(&w->step, v, "step");
            copy_text(w->name, sizeof w->name, v, "name");
            copy_text(w->text, sizeof w->text, v, "text");
            w->value = w->limit = NAN;
            (void)vj_json_as_f64(vj_json_get(v, "value"), &w->value);
            (void)vj_json_as_f64(vj_json_get(v, "limit"), &w->limit);
            w->begins = !state || strcmp(state, "ends") != 0;
        }
        vj_error_clear();
        vj_json_destroy(&doc);
        at += length + 1;
    }
    free(text);
    return VJ_OK;
}

vj_status vj_report_run_read(vj_report_run *r, const char *path)
{
    *r = (vj_report_run){ .recommended_step = -1 };
    vj_run_dir there;
    VJ_TRY(vj_run_dir_read(&there, path));
    vj_format(r->path, sizeof r->path, "%s", path);
    for (size_t n = strlen(r->path); n > 1 && r->path[n - 1] == '/'; n--) r->path[n - 1] = '\0';
    snprintf(r->label, sizeof r->label, "%.60s", vj_path_base(r->path));
    vj_format(r->phase, sizeof r->phase, "%s", there.phase);
    vj_format(r->parent, sizeof r->parent, "%s", there.parent);
    VJ_TRY(read_metrics(r));
    read_summary(r);
    read_recommended(r);
    if (r->n > 0 && r->at[r->n - 1] > r->step) r->step = r->at[r->n - 1];
    VJ_TRY(read_warnings(r));
    char file[640];
    vj_path_join(file, sizeof file, r->path, "config.yaml");
    if (vj_file_read(file, &r->config, NULL, 1 << 20) != VJ_OK) {
        vj_error_clear();
        vj_str_add(&r->missing, "config.yaml cannot be read.\n");
    }
    return VJ_OK;
}

void vj_report_run_free(vj_report_run *r)
{
    free(r->at);
    for (int c = 0; c < VJ_CURVES; c++) free(r->value[c]);
    free(r->warnings);
    vj_json_destroy(&r->summary);
    free(r->config);
    vj_str_free(&r->missing);
}

double vj_report_last(const vj_report_run *r, vj_curve curve)
{
    for (int64_t i = r->n - 1; i >= 0; i--) {
        if (isfinite(r->value[curve][i])) return r->value[curve][i];
    }
    return NAN;
}
