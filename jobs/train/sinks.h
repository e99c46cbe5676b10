// Where a run's figures go besides metrics.jsonl: a table of sinks, each switched by a key of its own.
//
//   RUN/tb/events.out.tfevents.*   TensorBoard                        log.tensorboard
//   RUN/log_r0.csv                 the published code's columns       log.csv
//   RUN/metrics.prom               Prometheus (node_exporter)         log.prometheus
//
// All of them read the finished line of metrics.jsonl, so a member that is added there is in every sink. A sink that fails
// while training warns once and is left out from then on: figures for onlookers stop no run.
#ifndef VJ_JOBS_TRAIN_SINKS_H
#define VJ_JOBS_TRAIN_SINKS_H

#include "configs/train_config.h"
#include "jobs/train/run_dir.h"

typedef struct vj_sinks vj_sinks;

// `last_step` is the restored step: what sinks say of later ones is cut or withdrawn. VJ_ERR_IO: a file of an earlier
// start cannot be cut; VJ_ERR_CONFIG: log.prometheus names a place that cannot be.
vj_status vj_sinks_open(vj_sinks **out, const vj_run_dir *run, const vj_train_config *config, int64_t last_step) VJ_MUST_CHECK;
// After every step. Seconds: of the whole step, of its computing, of its waiting for data.
void vj_sinks_step(vj_sinks *sinks, int64_t step, double loss, double step_seconds, double compute_seconds, double wait_seconds);
// After every line of metrics.jsonl (with or without its newline); `wall`: seconds since 1970.
void vj_sinks_line(vj_sinks *sinks, const char *line, size_t bytes, double wall);
void vj_sinks_close(vj_sinks **sinks);

#endif
