// Prometheus: the newest line as gauges. Figures that not every line has (held-out, monitors) keep their last value.

#include "jobs/train/sinks_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/log/prometheus.h"

typedef struct prometheus {
    char path[900], run[256], phase[16];
    vj_str text;
    vj_record kept;      // members of objects, from the last line that had the object
} prometheus;

// Members that most people look at, with what they are; the others say where they come from.
static const struct { const char *name, *help; } helps[] = {
    { "step", "Optimiser steps done" },
    { "last_line_timestamp_seconds", "When the newest line of metrics.jsonl was written, seconds since 1970" },
    { "loss", "Mean training loss since the last line" },
    { "loss_last", "Training loss of the last step" },
    { "lr", "Learning rate" },
    { "weight_decay", "Weight decay" },
    { "momentum", "Momentum of the target encoder" },
    { "grad_norm", "Norm of all gradients before the update" },
    { "step_seconds", "Mean seconds of a step without waiting for data" },
    { "data_wait_seconds", "Mean seconds per step spent waiting for data" },
    { "samples_per_second", "Samples per second of wall time" },
    { "tokens_per_second", "Tokens per second of wall time" },
    { "flop_per_second", "Model FLOP per second of computing" },
    { "mfu", "Model FLOP per second over what the devices of all ranks reach on large products" },
    { "hfu", "The same with what the backward pass computes again" },
    { "phase_seconds/data/max", "Seconds a step that the rank which waited most spent waiting for data" },
    { "phase_seconds/compute/max", "Seconds a step of forward and backward on the slowest rank" },
    { "phase_seconds/communication/max", "Seconds a step that the rank which waited most spent waiting for other ranks" },
    { "ranks/slowdown", "Compute time per FLOP of the slowest rank over the median rank's" },
    { "ranks/straggler", "The rank that is a straggler; -1: none" },
    { "skipped_steps", "Steps whose update was skipped as not finite, since the process started" },
    { "rollbacks", "Returns to a checkpoint after steps that were not finite, in the whole run" },
    { "bad_samples", "Samples found bad, since the process started" },
    { "substituted_samples", "Samples delivered in place of bad ones, since the process started" },
    { "peak_rss_bytes", "Largest resident memory of the process in bytes" },
    { "train_seconds", "Training time of the run over all its restarts" },
    { "warnings", "1 for every warning in force" },
    { "held_out/loss", "Mean loss on held-out clips" },
    { "held_out/ratio", "Held-out loss over that of the best constant; below 1 something was learned" },
    { "held_out/swapped_ratio", "Held-out loss against another clip's targets, over that of the best constant" },
    { "held_out/moved", "Distance of the target encoder from its start over the norm of the start" },
};

static bool wanted(const vj_train_config *config) { return config->log_prometheus[0] != '\0'; }

static vj_status open_prometheus(void **state, const vj_sink_place *place)
{
    char dir[900];
    vj_format(dir, sizeof dir, "%s", place->prometheus);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) *slash = '\0';
    VJ_CHECK(!slash || vj_path_is_dir(dir), VJ_ERR_CONFIG, "log.prometheus: there is no folder %s", dir);
    VJ_CHECK(!vj_path_is_dir(place->prometheus), VJ_ERR_CONFIG, "log.prometheus: %s is a folder, a file is expected", place->prometheus);
    prometheus *p = calloc(1, sizeof *p);
    VJ_CHECK(p != NULL, VJ_ERR_NOMEM, "no memory for Prometheus' file");
    vj_format(p->path, sizeof p->path, "%s", place->prometheus);
    vj_format(p->run, sizeof p->run, "%s", place->run_name);
    vj_format(p->phase, sizeof p->phase, "%s", place->phase);
    *state = p;
    return VJ_OK;
}

static const char *help_of(const char *name, char made[160])
{
    for (size_t i = 0; i < sizeof helps / sizeof helps[0]; i++) {
        if (strcmp(helps[i].name, name) == 0) return helps[i].help;
    }
    vj_format(made, 160, "Member %s of metrics.jsonl", name);
    return made;
}

// All samples of one name must stand together, and items of arrays do.
static void put_value(prometheus *p, const vj_record_value *v, const char *before)
{
    char name[128], made[160], index[24];
    vj_format(name, sizeof name, "vjepa_%s", v->name);
    if (strcmp(before, v->name) != 0) vj_prometheus_gauge(&p->text, name, help_of(v->name, made));
    vj_label labels[] = { { "run", p->run }, { "phase", p->phase }, { NULL, NULL } };
    int n = 2;
    if (v->text[0]) {
        labels[n++] = (vj_label){ "name", v->text };
    } else if (v->index >= 0) {
        vj_format(index, sizeof index, "%lld", (long long)v->index);
        labels[n++] = (vj_label){ "index", index };
    }
    vj_prometheus_sample(&p->text, name, labels, n, v->value);
}

static void put_all(prometheus *p, const vj_record *r, bool nested)
{
    const char *before = "";
    for (int i = 0; i < r->n; i++) {
        if ((strchr(r->v[i].name, '/') != NULL) != nested) continue;
        put_value(p, &r->v[i], before);
        before = r->v[i].name;
    }
}

static vj_status put(void *state, const vj_record *r)
{
    prometheus *p = state;
    VJ_TRY(vj_record_keep(&p->kept, r));
    vj_str_clear(&p->text);
    const vj_record_value step = { .name = "step", .index = -1, .value = (double)r->step };
    const vj_record_value wall = { .name = "last_line_timestamp_seconds", .index = -1, .value = r->wall };
    put_value(p, &step, "");
    put_value(p, &wall, "");
    put_all(p, r, false);
    put_all(p, &p->kept, true);
    return vj_prometheus_write(p->path, &p->text);
}

static void close_prometheus(void *state)
{
    prometheus *p = state;
    vj_str_free(&p->text);
    vj_record_free(&p->kept);
    free(p);
}

const vj_sink_kind vj_sink_prometheus = { .name = "Prometheus' file", .wanted = wanted, .open = open_prometheus, .record = put, .close = close_prometheus };
