// The table of sinks.

#include "jobs/train/sinks_impl.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/log/log.h"

static const vj_sink_kind *const kinds[] = { &vj_sink_tensorboard, &vj_sink_csv, &vj_sink_prometheus };
enum { KINDS = sizeof kinds / sizeof kinds[0] };

struct vj_sinks {
    vj_sink_place place;
    struct { bool open; void *state; } sinks[KINDS];
    vj_record record;
};

// ---- sinks -----------------------------------------------------------------------------------------------------------
static vj_status make_place(vj_sink_place *p, const vj_run_dir *run, const vj_train_config *config, int64_t last_step)
{
    *p = (vj_sink_place){ .last_step = last_step, .epoch = config->log_epoch, .resumed = run->resumed };
    vj_format(p->run_path, sizeof p->run_path, "%s", run->path);
    vj_format(p->phase, sizeof p->phase, "%s", run->phase);
    // "runs/a/" and "." name a run badly: the real path's last name does not.
    char *real = realpath(run->path, NULL);
    vj_format(p->run_name, sizeof p->run_name, "%.255s", vj_path_base(real ? real : run->path));
    free(real);
    const char *file = config->log_prometheus;
    if (file[0] == '/') vj_format(p->prometheus, sizeof p->prometheus, "%s", file);
    else vj_path_join(p->prometheus, sizeof p->prometheus, run->path, file);
    return VJ_OK;
}

vj_status vj_sinks_open(vj_sinks **out, const vj_run_dir *run, const vj_train_config *config, int64_t last_step)
{
    *out = NULL;
    vj_sinks *s = calloc(1, sizeof *s);
    VJ_CHECK(s != NULL, VJ_ERR_NOMEM, "no memory for the run's figures");
    vj_status status = make_place(&s->place, run, config, last_step);
    for (int i = 0; i < KINDS && status == VJ_OK; i++) {
        if (kinds[i]->prepare) status = kinds[i]->prepare(&s->place);
        if (status != VJ_OK || !kinds[i]->wanted(config)) continue;
        status = kinds[i]->open(&s->sinks[i].state, &s->place);
        s->sinks[i].open = status == VJ_OK;
    }
    if (status == VJ_OK) *out = s;
    else vj_sinks_close(&s);
    return status;
}

static void close_one(vj_sinks *s, int i)
{
    if (s->sinks[i].open && kinds[i]->close) kinds[i]->close(s->sinks[i].state);
    s->sinks[i].open = false;
}

static void check(vj_sinks *s, int i, vj_status status)
{
    if (status == VJ_OK) return;
    vj_log(VJ_WARN, "log", "%s; the run goes on without %s", vj_error_text(), kinds[i]->name);
    vj_error_clear();
    close_one(s, i);
}

void vj_sinks_step(vj_sinks *s, int64_t step, double loss, double step_seconds, double compute_seconds, double wait_seconds)
{
    const vj_step_times times = { step, loss, step_seconds, compute_seconds, wait_seconds };
    for (int i = 0; i < KINDS; i++) {
        if (s->sinks[i].open && kinds[i]->step) check(s, i, kinds[i]->step(s->sinks[i].state, &times));
    }
}

void vj_sinks_line(vj_sinks *s, const char *line, size_t bytes, double wall)
{
    const vj_status status = vj_record_read(&s->record, line, bytes, wall);
    for (int i = 0; i < KINDS; i++) {
        if (!s->sinks[i].open || !kinds[i]->record) continue;
        check(s, i, status == VJ_OK ? kinds[i]->record(s->sinks[i].state, &s->record) : status);
    }
}

void vj_sinks_close(vj_sinks **sinks)
{
    if (!*sinks) return;
    for (int i = 0; i < KINDS; i++) close_one(*sinks, i);
    vj_record_free(&(*sinks)->record);
    free(*sinks);
    *sinks = NULL;
}
