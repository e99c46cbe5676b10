// The table of sinks, and a line of metrics.jsonl as a list of numbers.

#include "jobs/train/sinks_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/log/log.h"

static const vj_sink_kind *const kinds[] = { &vj_sink_tensorboard, &vj_sink_csv, &vj_sink_prometheus };
enum { KINDS = sizeof kinds / sizeof kinds[0], VALUES_MAX = 8192 };

struct vj_sinks {
    vj_sink_place place;
    struct { bool open; void *state; } sinks[KINDS];
    vj_record record;
};

// ---- a line as numbers ---------------------------------------------------------------------------------------------
static vj_record_value *next_value(vj_record *r, const char *name, int64_t index)
{
    if (r->n == VALUES_MAX) return NULL;
    if (r->n == r->capacity) {
        const int capacity = r->capacity ? 2 * r->capacity : 64;
        vj_record_value *v = realloc(r->v, (size_t)capacity * sizeof *v);
        if (!v) return NULL;
        r->v = v;
        r->capacity = capacity;
    }
    vj_record_value *v = &r->v[r->n++];
    *v = (vj_record_value){ .index = index, .value = NAN };
    vj_format(v->name, sizeof v->name, "%s", name);
    return v;
}

// Texts outside arrays (phase, schedule) are no figures.
static void add_value(vj_record *r, const char *name, int64_t index, const vj_json *value, int depth)
{
    const char *text = vj_json_as_text(value), *key = NULL;
    if (text && index < 0) return;
    if (vj_json_is_object(value)) {
        const int64_t n = vj_json_count(value);
        for (int64_t i = 0; i < n && depth < 8; i++) {
            char path[sizeof r->v->name];
            const vj_json *member = vj_json_member(value, i, &key);
            if (strlen(name) + strlen(key) + 2 > sizeof path || (depth == 0 && strcmp(key, "step") == 0)) continue;
            vj_format(path, sizeof path, "%s%s%s", name, name[0] ? "/" : "", key);
            add_value(r, path, -1, member, depth + 1);
        }
        return;
    }
    if (vj_json_is_array(value)) {
        const int64_t n = vj_json_count(value);
        for (int64_t i = 0; i < n && index < 0 && depth < 8; i++) add_value(r, name, i, vj_json_at(value, i), depth + 1);
        return;
    }
    vj_record_value *v = next_value(r, name, index);
    if (!v) return;
    if (text) {
        vj_format(v->text, sizeof v->text, "%.*s", (int)sizeof v->text - 1, text);
        v->value = 1;
    } else if (!vj_json_as_f64(value, &v->value)) {
        bool truth;
        if (vj_json_as_bool(value, &truth)) v->value = truth ? 1 : 0;
    }
}

static vj_status read_line(vj_record *r, const char *line, size_t bytes, double wall)
{
    vj_json_doc *doc = NULL;
    VJ_TRY(vj_json_parse(&doc, line, bytes, "metrics"));
    r->n = 0;
    r->wall = wall;
    vj_status status = vj_json_i64(vj_json_root(doc), "step", &r->step);
    if (status == VJ_OK) add_value(r, "", -1, vj_json_root(doc), 0);
    vj_json_destroy(&doc);
    return status;
}

double vj_record_get(const vj_record *record, const char *name)
{
    for (int i = 0; i < record->n; i++) {
        if (strcmp(record->v[i].name, name) == 0) return record->v[i].value;
    }
    return NAN;
}

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
    const vj_status status = read_line(&s->record, line, bytes, wall);
    for (int i = 0; i < KINDS; i++) {
        if (!s->sinks[i].open || !kinds[i]->record) continue;
        check(s, i, status == VJ_OK ? kinds[i]->record(s->sinks[i].state, &s->record) : status);
    }
}

void vj_sinks_close(vj_sinks **sinks)
{
    if (!*sinks) return;
    for (int i = 0; i < KINDS; i++) close_one(*sinks, i);
    free((*sinks)->record.v);
    free(*sinks);
    *sinks = NULL;
}
