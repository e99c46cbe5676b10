// A run seen from its files.

#include "jobs/watch/snapshot.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/file.h"

enum { RATE_LINES = 8, SMALL_FILE = 1 << 20 };

static const struct { const char *name, *label; } series_table[VJ_SERIES] = {
    { "loss", "loss" },
    { "held_out/ratio", "held-out ratio" },
    { "held_out/swapped_ratio", "swapped ratio" },
    { "monitor/rank", "feature rank" },
    { "monitor/spread", "feature spread" },
    { "monitor/cosine", "clip cosine" },
    { "monitor/variance_ratio", "variance ratio" },
    { "grad_norm", "gradient norm" },
    { "samples_per_second", "clips a second" },
    { "lr", "learning rate" },
};

const char *vj_series_name(int index, const char **label)
{
    if (index < 0 || index >= VJ_SERIES) return NULL;
    *label = series_table[index].label;
    return series_table[index].name;
}

const char *vj_watch_state_name(vj_watch_state state)
{
    static const char *const names[] = { "missing", "starting", "running", "quiet", "ended", "gone" };
    return names[state];
}

// ---- metrics.jsonl -----------------------------------------------------------------------------------------------------
static vj_status append(vj_series *s, double step, double value)
{
    if (!isfinite(value)) return VJ_OK;
    while (s->n > 0 && s->step[s->n - 1] >= step) s->n--;   // a resumed run says steps again
    if (s->n == s->capacity) {
        const int64_t capacity = s->capacity ? 2 * s->capacity : 256;
        double *steps = realloc(s->step, (size_t)capacity * sizeof *steps);
        if (steps) s->step = steps;
        double *values = realloc(s->value, (size_t)capacity * sizeof *values);
        if (values) s->value = values;
        VJ_CHECK(steps && values, VJ_ERR_NOMEM, "no memory for %lld points", (long long)capacity);
        s->capacity = capacity;
    }
    s->step[s->n] = step;
    s->value[s->n++] = value;
    return VJ_OK;
}

static void copy_text(char *out, size_t size, const vj_json *object, const char *key)
{
    const char *text = vj_json_as_text(vj_json_get(object, key));
    if (text) vj_format(out, size, "%.*s", (int)size - 1, text);
}

static vj_status take_line(vj_watch *w, const char *line, size_t bytes)
{
    vj_json_doc *doc = NULL;
    VJ_TRY(vj_json_parse(&doc, line, bytes, "metrics.jsonl"));
    copy_text(w->phase, sizeof w->phase, vj_json_root(doc), "phase");
    copy_text(w->schedule, sizeof w->schedule, vj_json_root(doc), "schedule");
    vj_json_destroy(&doc);
    VJ_TRY(vj_record_read(&w->last, line, bytes, 0));
    VJ_TRY(vj_record_keep(&w->kept, &w->last));
    w->step = w->last.step;
    const double step = (double)w->step;
    for (int i = 0; i < VJ_SERIES; i++) VJ_TRY(append(&w->series[i], step, vj_record_get(&w->last, series_table[i].name)));
    return append(&w->clock, step, vj_record_get(&w->last, "train_seconds"));
}

static void on_line(void *context, const char *line, size_t bytes)
{
    vj_watch *w = context;
    const vj_status status = take_line(w, line, bytes);
    if (status == VJ_ERR_NOMEM) w->status = status;
    else if (status != VJ_OK) vj_error_clear();
    if (status == VJ_OK) w->lines++;
    else w->odd_lines++;
}

static void on_again(void *context)
{
    vj_watch *w = context;
    for (int i = 0; i < VJ_SERIES; i++) w->series[i].n = 0;
    w->clock.n = 0;
    w->last.n = w->kept.n = 0;
    w->step = w->lines = w->odd_lines = 0;
}

// Steps a second over the last lines, and what that means for the rest.
static void estimate(vj_watch *w)
{
    const vj_series *c = &w->clock;
    w->rate = w->eta = NAN;
    if (c->n >= 2) {
        const int64_t last = c->n - 1, first = last > RATE_LINES ? last - RATE_LINES : 0;
        const double seconds = c->value[last] - c->value[first];
        if (seconds > 0) w->rate = (c->step[last] - c->step[first]) / seconds;
    } else if (c->n == 1) {
        const double seconds = vj_record_get(&w->last, "step_seconds") + vj_record_get(&w->last, "data_wait_seconds");
        if (seconds > 0) w->rate = 1 / seconds;
    }
    if (w->rate > 0 && w->steps >= w->step) w->eta = (double)(w->steps - w->step) / w->rate;
}

// ---- warnings ------------------------------------------------------------------------------------------------------------
static void on_warning(void *context, const char *line, size_t bytes)
{
    vj_watch *w = context;
    vj_json_doc *doc = NULL;
    if (vj_json_parse(&doc, line, bytes, "warnings.jsonl") != VJ_OK) {
        vj_error_clear();
        return;
    }
    vj_watch_warning now = { .step = -1 };
    const vj_json *root = vj_json_root(doc);
    copy_text(now.name, sizeof now.name, root, "name");
    copy_text(now.text, sizeof now.text, root, "text");
    if (vj_json_i64(root, "step", &now.step) != VJ_OK) vj_error_clear();
    vj_json_destroy(&doc);
    int i = 0;
    while (i < w->n_heard && strcmp(w->heard[i].name, now.name) != 0) i++;
    if (now.name[0] == '\0' || i == VJ_WATCH_WARNINGS) return;
    if (i == w->n_heard) w->n_heard++;
    w->heard[i] = now;
}

static void on_warnings_again(void *context) { ((vj_watch *)context)->n_heard = 0; }

// Which are in force stands in the newest line of metrics; what they say, in warnings.jsonl.
static void list_warnings(vj_watch *w)
{
    w->n_warnings = 0;
    for (int i = 0; i < w->last.n && w->n_warnings < VJ_WATCH_WARNINGS; i++) {
        const vj_record_value *v = &w->last.v[i];
        if (strcmp(v->name, "warnings") != 0 || v->text[0] == '\0') continue;
        vj_watch_warning *to = &w->warnings[w->n_warnings++];
        *to = (vj_watch_warning){ .step = -1 };
        vj_format(to->name, sizeof to->name, "%s", v->text);
        for (int k = 0; k < w->n_heard; k++) {
            if (strcmp(w->heard[k].name, to->name) == 0) *to = w->heard[k];
        }
    }
}

// ---- the other files -----------------------------------------------------------------------------------------------------
// NULL when the file is missing, large, no regular file, or no JSON object.
static vj_json_doc *read_json(const vj_watch *w, const char *name)
{
    char path[640], *text = NULL;
    struct stat st;
    size_t bytes = 0;
    vj_json_doc *doc = NULL;
    vj_path_join(path, sizeof path, w->path, name);
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return NULL;
    if (vj_file_read(path, &text, &bytes, SMALL_FILE) != VJ_OK || vj_json_parse(&doc, text, bytes, path) != VJ_OK) vj_error_clear();
    free(text);
    if (doc && !vj_json_is_object(vj_json_root(doc))) vj_json_destroy(&doc);
    return doc;
}

static int64_t whole(const vj_json *object, const char *key, int64_t otherwise)
{
    int64_t value;
    return vj_json_as_i64(vj_json_get(object, key), &value) ? value : otherwise;
}

static bool read_identity(vj_watch *w)
{
    vj_json_doc *doc = read_json(w, "run.json");
    w->recommended_step = -1;
    w->recommended_why[0] = '\0';
    if (!doc) return false;
    const vj_json *root = vj_json_root(doc), *recommended = vj_json_get(root, "recommended");
    copy_text(w->run_id, sizeof w->run_id, root, "run_id");
    copy_text(w->phase, sizeof w->phase, root, "phase");
    w->recommended_step = whole(recommended, "step", -1);
    if (w->recommended_step >= 0) copy_text(w->recommended_why, sizeof w->recommended_why, recommended, "why");
    vj_json_destroy(&doc);
    return true;
}

static void read_summary(vj_watch *w)
{
    vj_json_doc *doc = read_json(w, "summary.json");
    w->summary_step = -1;
    if (!doc) return;
    const vj_json *root = vj_json_root(doc);
    w->summary_step = whole(root, "step", -1);
    w->steps = whole(root, "steps", w->steps);
    copy_text(w->outcome, sizeof w->outcome, root, "outcome");
    vj_json_destroy(&doc);
}

// The value of "GROUP:\n  KEY: value" in a resolved configuration, which the program wrote itself; false when it is not there.
static bool yaml_value(const char *text, const char *group, const char *key, char *out, size_t size)
{
    bool inside = false;
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line != '\0') {
        const size_t g = strlen(group), k = strlen(key);
        if (!isspace((unsigned char)*line)) inside = strncmp(line, group, g) == 0 && line[g] == ':';
        if (!inside || strncmp(line, "  ", 2) != 0 || strncmp(line + 2, key, k) != 0 || line[2 + k] != ':') continue;
        const char *value = line + 3 + k;
        value += strspn(value, " \"");
        vj_format(out, size, "%.*s", (int)(strcspn(value, " \"\n") < size ? strcspn(value, " \"\n") : size - 1), value);
        return true;
    }
    return false;
}

static void read_config(vj_watch *w)
{
    char path[640], value[64], *text = NULL;
    struct stat st;
    vj_path_join(path, sizeof path, w->path, "config.yaml");
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return;
    if (vj_file_read(path, &text, NULL, SMALL_FILE) != VJ_OK) {
        vj_error_clear();
        return;
    }
    int64_t number;
    if (yaml_value(text, "train", "steps", value, sizeof value) && vj_parse_i64(value, &number) && number > 0) w->steps = number;
    if (yaml_value(text, "train", "batch", value, sizeof value) && vj_parse_i64(value, &number) && number > 0) w->batch = number;
    if (yaml_value(text, "model", "preset", value, sizeof value)) vj_format(w->model, sizeof w->model, "%s", value);
    free(text);
}

static void read_checkpoints(vj_watch *w)
{
    char dir[640], file[1024], **names = NULL;
    int64_t count = 0;
    w->checkpoint_step = -1;
    w->checkpoints = 0;
    vj_path_join(dir, sizeof dir, w->path, "ckpt");
    if (!vj_path_is_dir(dir) || vj_dir_list(dir, &names, &count) != VJ_OK) {
        vj_error_clear();
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t step;
        if (!vj_str_starts(names[i], "step-") || !vj_parse_i64(names[i] + 5 + strspn(names[i] + 5, "0"), &step)) {
            if (strcmp(names[i], "step-00000000") != 0) continue;
            step = 0;
        }
        if (strlen(names[i]) > 60) continue;
        vj_format(file, sizeof file, "%s/%s/manifest.json", dir, names[i]);
        if (!vj_path_exists(file)) continue;
        w->checkpoints++;
        if (step > w->checkpoint_step) w->checkpoint_step = step;
    }
    vj_names_free(&names, count);
}

// ---- all of it -------------------------------------------------------------------------------------------------------------
vj_status vj_watch_open(vj_watch *w, const char *run)
{
    *w = (vj_watch){ .rate = NAN, .eta = NAN, .age = NAN, .checkpoint_step = -1, .recommended_step = -1, .summary_step = -1 };
    VJ_CHECK(strlen(run) + 64 < sizeof w->path, VJ_ERR_USAGE, "the run directory's path is longer than %zu bytes", sizeof w->path - 64);
    vj_format(w->path, sizeof w->path, "%s", run);
    char file[640];
    vj_path_join(file, sizeof file, run, "metrics.jsonl");
    vj_follow_start(&w->metrics, file);
    vj_path_join(file, sizeof file, run, "warnings.jsonl");
    vj_follow_start(&w->warning_file, file);
    return VJ_OK;
}

static vj_watch_state state_of(const vj_watch *w, bool is_run)
{
    if (!is_run && !w->metrics.there) return w->was_there ? VJ_WATCH_GONE : VJ_WATCH_MISSING;
    if (w->lines == 0) return VJ_WATCH_STARTING;
    if (w->summary_step >= w->step) return VJ_WATCH_ENDED;   // a stop need not fall on a step with a line
    double usual = 10;   // seconds from one line to the next
    const vj_series *c = &w->clock;
    if (c->n >= 2) usual = c->value[c->n - 1] - c->value[c->n - 2];
    return w->age > 60 + 10 * usual ? VJ_WATCH_QUIET : VJ_WATCH_RUNNING;
}

vj_status vj_watch_poll(vj_watch *w, double now, bool *changed)
{
    const vj_follow_sink metrics = { w, on_again, on_line }, warnings = { w, on_warnings_again, on_warning };
    const struct { vj_watch_state state; int64_t step, lines, checkpoint, recommended; int heard; } before =
        { w->state, w->step, w->lines, w->checkpoint_step, w->recommended_step, w->n_heard };
    char directory[640];
    vj_path_join(directory, sizeof directory, w->path, ".");
    w->status = VJ_OK;
    VJ_TRY(vj_follow_poll(&w->metrics, &metrics));
    VJ_TRY(vj_follow_poll(&w->warning_file, &warnings));
    VJ_TRY(w->status);
    bool is_run = w->metrics.there;
    if (vj_path_is_dir(directory)) {
        read_config(w);
        read_summary(w);
        is_run = read_identity(w) || is_run;
        read_checkpoints(w);
    } else {
        is_run = false;
    }
    if (is_run) w->was_there = true;
    w->age = w->metrics.there ? fmax(0, now - w->metrics.changed) : NAN;
    list_warnings(w);
    estimate(w);
    w->state = state_of(w, is_run);
    if (w->state == VJ_WATCH_ENDED) w->step = w->summary_step;
    *changed = before.state != w->state || before.step != w->step || before.lines != w->lines || before.checkpoint != w->checkpoint_step ||
               before.recommended != w->recommended_step || before.heard != w->n_heard;
    return VJ_OK;
}

void vj_watch_close(vj_watch *w)
{
    for (int i = 0; i < VJ_SERIES; i++) {
        free(w->series[i].step);
        free(w->series[i].value);
    }
    free(w->clock.step);
    free(w->clock.value);
    vj_record_free(&w->last);
    vj_record_free(&w->kept);
    vj_follow_end(&w->metrics);
    vj_follow_end(&w->warning_file);
}

// ---- JSON ----------------------------------------------------------------------------------------------------------------
static void put_values(vj_json_writer *out, const vj_record *r, bool nested)
{
    for (int i = 0; i < r->n; i++) {
        const vj_record_value *v = &r->v[i];
        if ((strchr(v->name, '/') != NULL) != nested || v->text[0]) continue;
        char name[128];
        if (v->index >= 0) vj_format(name, sizeof name, "%s/%lld", v->name, (long long)v->index);
        else vj_format(name, sizeof name, "%s", v->name);
        vj_json_put_f64(out, name, v->value);
    }
}

static void put_step(vj_json_writer *out, const char *key, int64_t step)
{
    if (step < 0) vj_json_put_null(out, key);
    else vj_json_put_i64(out, key, step);
}

void vj_watch_put_json(const vj_watch *w, vj_json_writer *out)
{
    vj_json_put_text(out, "run", w->path);
    vj_json_put_text(out, "run_id", w->run_id);
    vj_json_put_text(out, "state", vj_watch_state_name(w->state));
    vj_json_put_text(out, "outcome", w->state == VJ_WATCH_ENDED ? w->outcome : "");
    vj_json_put_text(out, "phase", w->phase);
    vj_json_put_text(out, "schedule", w->schedule);
    vj_json_put_text(out, "model", w->model);
    vj_json_put_i64(out, "step", w->step);
    put_step(out, "steps", w->steps > 0 ? w->steps : -1);
    vj_json_put_f64(out, "steps_per_second", w->rate);
    vj_json_put_f64(out, "seconds_left", w->eta);
    vj_json_put_f64(out, "seconds_since_last_line", w->age);
    vj_json_begin_array(out, "warnings");
    for (int i = 0; i < w->n_warnings; i++) {
        vj_json_begin_object(out, NULL);
        vj_json_put_text(out, "name", w->warnings[i].name);
        put_step(out, "step", w->warnings[i].step);
        vj_json_put_text(out, "text", w->warnings[i].text);
        vj_json_end_object(out);
    }
    vj_json_end_array(out);
    vj_json_put_i64(out, "checkpoints", w->checkpoints);
    put_step(out, "checkpoint_step", w->checkpoint_step);
    put_step(out, "recommended_step", w->recommended_step);
    vj_json_put_text(out, "recommended_why", w->recommended_why);
    vj_json_begin_object(out, "figures");
    put_values(out, &w->last, false);
    put_values(out, &w->kept, true);
    vj_json_end_object(out);
    vj_json_put_i64(out, "lines", w->lines);
    vj_json_put_i64(out, "odd_lines", w->odd_lines);
}
