// Prometheus' text format (version 0.0.4), as node_exporter's textfile collector reads it.
#ifndef VJ_RUNTIME_LOG_PROMETHEUS_H
#define VJ_RUNTIME_LOG_PROMETHEUS_H

#include "runtime/base/str.h"

typedef struct vj_label { const char *name, *value; } vj_label;

// The HELP and TYPE lines of a gauge; its samples must follow at once, and a name may come once only in a file. Characters
// that a name may not have become '_' here and in vj_prometheus_sample.
void vj_prometheus_gauge(vj_str *out, const char *name, const char *help);
// name{label="value",...} value. Values of labels are escaped; a value that is no number is written as NaN, +Inf, -Inf.
void vj_prometheus_sample(vj_str *out, const char *name, const vj_label *labels, int n_labels, double value);
// Renames a finished text into place: readers see the old file or the new one. Not synced: a scrape's figures need not
// survive the machine. VJ_ERR_IO.
vj_status vj_prometheus_write(const char *path, const vj_str *text) VJ_MUST_CHECK;

#endif
