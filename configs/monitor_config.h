// Configuration of what watches a run: keys monitor.*. They change no bit of the training, so all may change.
#ifndef VJ_CONFIGS_MONITOR_CONFIG_H
#define VJ_CONFIGS_MONITOR_CONFIG_H

#include "runtime/config/config.h"

typedef struct vj_monitor_config {
    int64_t every;            // monitor.every: steps between figures, 0: never, -1: as often as log.every
    int64_t clips;            // monitor.clips: fixed clips behind them, decoded once and kept
} vj_monitor_config;

extern const vj_field vj_monitor_fields[];

#endif
