// `vjepa report RUN ...`: one HTML file that says what was trained, whether it learned, and what went wrong. Everything is in
// the file: curves are SVG, pictures are PNG in base64; no network, no script is needed to read it. The same input gives the
// same bytes.
#ifndef VJ_JOBS_REPORT_REPORT_H
#define VJ_JOBS_REPORT_REPORT_H

#include "runtime/base/json.h"

typedef struct vj_report_request {
    const char *const *runs;
    int n_runs;
    const char *out;          // file
    int64_t clips;            // of held-out video in pictures; 0: no pictures
    int64_t checkpoints;      // looked at for pictures of features
    int threads;
} vj_report_request;

// Writes the file. What a run lacks (data, checkpoints, metrics) is left out and named in the page.
// VJ_ERR_CONFIG: a directory that is no run.
vj_status vj_report_write(const vj_report_request *request) VJ_MUST_CHECK;
// The figures of the summary alone, as members of an open object.
vj_status vj_report_json(const vj_report_request *request, vj_json_writer *w) VJ_MUST_CHECK;

#endif
