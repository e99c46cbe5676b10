// Keys of the monitors. The limits come from runs that collapse and runs that do not (jobs/README.md, "Warnings").

#include "configs/monitor_config.h"

#define AT(member) offsetof(vj_monitor_config, member)
#define INT(key_, member, def_, low_, high_, flags_, help_)                                                            \
    { .key = key_, .kind = VJ_FIELD_INT, .offset = AT(member), .help = help_, .i = { def_, low_, high_ },              \
      .flags = flags_ | VJ_FIELD_MAY_CHANGE }
#define FLOAT(key_, member, def_, high_, help_)                                                                        \
    { .key = key_, .kind = VJ_FIELD_FLOAT, .offset = AT(member), .help = help_, .f = { def_, 0, high_ },               \
      .flags = VJ_FIELD_MAY_CHANGE }

const vj_field vj_monitor_fields[] = {
    INT("monitor.every", every, -1, 0, INT64_C(1) << 40, VJ_FIELD_AUTO,
        "steps between monitor figures; auto: as log.every; 0: never"),
    INT("monitor.clips", clips, 32, 2, 256, 0, "fixed clips behind monitor figures, kept decoded in memory"),
    INT("monitor.window", window, -1, 1, INT64_C(1) << 40, VJ_FIELD_AUTO,
        "steps that monitor.rank_fall looks back; auto: half of optim.warmup, at least 5 lines"),
    FLOAT("monitor.rank_fall", rank_fall, 0.55, 1, "warn when the rank is below this share of the highest in the window; 0: never"),
    FLOAT("monitor.rank_low", rank_low, 0.2, 1, "warn when the rank is below this share of the highest so far; 0: never"),
    FLOAT("monitor.spread_low", spread_low, 0.5, 1, "the same for the spread of features; 0: never"),
    FLOAT("monitor.target_variance_low", target_variance_low, 0.15, 1, "the same for the variance of targets; 0: never"),
    FLOAT("monitor.cosine_high", cosine_high, 0.95, 1, "warn when clips' features have a mean cosine above this; 0: never"),
    FLOAT("monitor.variance_ratio_low", variance_ratio_low, 0.02, 1,
          "warn when predictions vary less than this share of their targets, after warm-up; 0: never"),
    FLOAT("monitor.gradient_high", gradient_high, 20, 1e9, "warn when the gradient's norm is this many times its recent median; 0: never"),
    FLOAT("monitor.encoder_gradient_low", encoder_gradient_low, 0.1, 1,
          "warn when the encoder's gradient is below this share of its recent median; 0: never"),
    FLOAT("monitor.loss_rise", loss_rise, 1.3, 1e9, "warn when the loss is this many times the least of recent lines; 0: never"),
    FLOAT("monitor.held_out_high", held_out_high, 0.97, 1e9,
          "warn when the held-out loss is above this share of the best constant's, after twice the warm-up; 0: never"),
    FLOAT("monitor.straggler", straggler, 1.2, 1e9,
          "warn when a rank computes this many times as long per FLOP as the median rank (2 where ranks share CPUs); 0: never"),
    INT("monitor.patience", patience, 3, 1, 1000, 0, "lines in a row behind a warning's begin and end"),
    FLOAT("monitor.hysteresis", hysteresis, 0.25, 10, "how far back beyond its limit a figure must be for a warning to end"),
    FLOAT("monitor.noise", noise, 0.03, 1, "held-out ratios this close (relative) are alike when a checkpoint is recommended"),
    { .key = NULL, .kind = VJ_FIELD_END },
};
