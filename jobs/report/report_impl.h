#ifndef VJ_JOBS_REPORT_REPORT_IMPL_H
#define VJ_JOBS_REPORT_REPORT_IMPL_H

#include "jobs/report/report.h"

enum { VJ_REPORT_RUNS = 6 };

// The curves that are kept of a run's metrics, by the names of runtime/README.md.
typedef enum vj_curve {
    VJ_C_LOSS, VJ_C_RATIO, VJ_C_SWAPPED, VJ_C_SPREAD, VJ_C_RANK, VJ_C_COSINE, VJ_C_VARIANCE, VJ_C_GRAD, VJ_C_GRAD_ENCODER,
    VJ_C_GRAD_PREDICTOR, VJ_C_LR, VJ_C_WD, VJ_C_MOMENTUM, VJ_C_CLIPS, VJ_C_TOKENS, VJ_C_STEP, VJ_C_WAIT, VJ_C_MFU, VJ_CURVES
} vj_curve;

typedef struct vj_warning_line { int64_t step; char name[40], text[400]; double value, limit; bool begins; } vj_warning_line;

typedef struct vj_report_run {
    char path[512], label[64], phase[16], parent[512], outcome[32], preset[40], isa[24], recommended[400];
    int64_t step, steps, crop, frames, recommended_step;
    double train_seconds, peak_rss;
    int64_t n, capacity;            // lines of metrics
    int64_t *at;                    // their steps
    double *value[VJ_CURVES];       // NAN where a line has none
    int64_t broken_lines, bad_samples;
    vj_warning_line *warnings;
    int64_t n_warnings;
    vj_json_doc *summary;           // NULL when it is not there
    char *config;                   // text of config.yaml, or NULL
    vj_str missing;                 // what was left out, one sentence a line
} vj_report_run;

// run_data.c
vj_status vj_report_run_read(vj_report_run *out, const char *path) VJ_MUST_CHECK;
void vj_report_run_free(vj_report_run *r);
double vj_report_last(const vj_report_run *r, vj_curve curve);   // the last value there is, or NAN

// html.c
void vj_html_text(vj_str *out, const char *text);                // escaped
void vj_html_bytes(vj_str *out, const char *text, size_t bytes);
void vj_html_number(vj_str *out, double v);                      // four digits, or a dash
extern const char vj_html_head[];

// chart.c: one line per (run, curve); colours tell runs apart when there are several, curves otherwise; dashes the other.
typedef struct vj_chart {
    const char *title, *note;
    vj_curve curves[4];
    const char *names[4];
    int n;
    bool log_scale;
    double guide;                   // a horizontal line, NAN: none
    const char *guide_name;
} vj_chart;
// False when no run has any point: nothing was drawn.
bool vj_chart_draw(vj_str *out, const vj_chart *c, const vj_report_run *runs, int n_runs);

// pictures.c: masks over frames and features of held-out clips, of one run, as a section.
vj_status vj_report_pictures(vj_str *out, vj_report_run *run, const vj_report_request *request) VJ_MUST_CHECK;

#endif
