// What can be seen of a run from its files alone, so from another machine too, while it trains or afterwards.
#ifndef VJ_JOBS_WATCH_SNAPSHOT_H
#define VJ_JOBS_WATCH_SNAPSHOT_H

#include "jobs/train/record.h"
#include "jobs/watch/follow.h"
#include "runtime/base/json.h"

typedef enum vj_watch_state {
    VJ_WATCH_MISSING,    // no such directory yet, or no run in it
    VJ_WATCH_STARTING,   // a run without a line
    VJ_WATCH_RUNNING,
    VJ_WATCH_QUIET,      // no line for much longer than usual
    VJ_WATCH_ENDED,      // there is a summary.json (not while steps are made), of the last step; `outcome` says which end
    VJ_WATCH_GONE        // it was there: moved or removed
} vj_watch_state;
const char *vj_watch_state_name(vj_watch_state state);

enum { VJ_SERIES = 10, VJ_WATCH_WARNINGS = 16 };
typedef struct vj_series {
    int64_t n, capacity;
    double *step, *value;        // steps ascend; values are finite
} vj_series;
// The series in the order of the page: name of the member, label for people. NULL behind the last.
const char *vj_series_name(int index, const char **label);

typedef struct vj_watch_warning { char name[64], text[400]; int64_t step; } vj_watch_warning;

typedef struct vj_watch {
    char path[512];
    vj_watch_state state;
    char run_id[40], phase[16], schedule[16], model[64], outcome[32];
    int64_t step, steps, batch;  // of the last line; of the whole run, of a step: 0 when not known
    double rate, eta;            // steps a second of training, seconds left; NAN when not known
    double age;                  // seconds since metrics.jsonl changed; NAN
    int64_t lines, odd_lines;    // of metrics.jsonl: read, not understood
    vj_series series[VJ_SERIES];
    vj_series clock;             // train_seconds by step
    vj_record last, kept;        // the newest line; members of objects as they were last said
    int n_warnings;              // in force
    vj_watch_warning warnings[VJ_WATCH_WARNINGS];
    int64_t checkpoint_step, checkpoints;   // newest complete one, -1: none; how many
    int64_t recommended_step;    // -1: none
    char recommended_why[400];

    vj_follow metrics, warning_file;
    int64_t summary_step;
    int n_heard;                 // the newest line of warnings.jsonl of each name
    vj_watch_warning heard[VJ_WATCH_WARNINGS];
    bool was_there;
    vj_status status;            // of what happened inside a callback
} vj_watch;

// VJ_ERR_USAGE: the path is too long. Nothing is read yet.
vj_status vj_watch_open(vj_watch *w, const char *run) VJ_MUST_CHECK;
// Looks at all files again; `now`: seconds since 1970. Files that are missing, torn or of any content are no error.
// *changed: something but the age is different. VJ_ERR_NOMEM.
vj_status vj_watch_poll(vj_watch *w, double now, bool *changed) VJ_MUST_CHECK;
void vj_watch_close(vj_watch *w);

// The whole snapshot as members of one object.
void vj_watch_put_json(const vj_watch *w, vj_json_writer *out);

#endif
