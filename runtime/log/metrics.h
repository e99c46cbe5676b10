// metrics.jsonl: one JSON object per logged step, flushed per line; on resume, lines beyond the restored step are cut.
// The schema is documented in runtime/README.md.
#ifndef VJ_RUNTIME_LOG_METRICS_H
#define VJ_RUNTIME_LOG_METRICS_H

#include "runtime/base/json.h"

typedef struct vj_metrics vj_metrics;

// Opens for appending and cuts every line whose "step" is greater than `last_step` (and a torn last line).
vj_status vj_metrics_open(vj_metrics **out, const char *path, int64_t last_step) VJ_MUST_CHECK;
// Start a line, put members with vj_json_put_* on the writer, end it.
vj_json_writer *vj_metrics_begin(vj_metrics *m, int64_t step);
vj_status vj_metrics_end(vj_metrics *m) VJ_MUST_CHECK;
// The line that was ended last, with its newline; valid until the next is begun.
const char *vj_metrics_line(const vj_metrics *m, size_t *bytes);
void vj_metrics_close(vj_metrics **m);

#endif
