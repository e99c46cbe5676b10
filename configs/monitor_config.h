// Configuration of what watches a run: keys monitor.*. They change no bit of the training, so all may change.
#ifndef VJ_CONFIGS_MONITOR_CONFIG_H
#define VJ_CONFIGS_MONITOR_CONFIG_H

#include "runtime/config/config.h"

typedef struct vj_monitor_config {
    int64_t every;                // monitor.every: steps between figures, 0: never, -1: as often as log.every
    int64_t clips;                // monitor.clips: fixed clips behind them, decoded once and kept
    // When warnings begin (jobs/train/warnings.h says what each means); 0: that one never does.
    int64_t window;               // monitor.window: steps that monitor.rank_fall looks back, -1: half of the warm-up
    double rank_fall;             // of the highest within the window
    double rank_low, spread_low, target_variance_low;   // of the highest so far
    double cosine_high, variance_ratio_low;             // as they are
    double gradient_high, encoder_gradient_low;         // of the median of recent lines
    double loss_rise;             // of the least of recent lines
    double held_out_high;         // held-out loss / best constant
    double straggler;             // monitor.straggler: a rank's compute time per FLOP / the median rank's
    int64_t patience;             // monitor.patience: lines in a row
    double hysteresis;            // monitor.hysteresis
    double noise;                 // monitor.noise: held-out ratios this close are alike to the recommendation
} vj_monitor_config;

extern const vj_field vj_monitor_fields[];

#endif
