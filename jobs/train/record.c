// A line of metrics.jsonl as a list of numbers.

#include "jobs/train/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/json.h"

enum { VALUES_MAX = 8192 };

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

vj_status vj_record_read(vj_record *r, const char *line, size_t bytes, double wall)
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

static bool same_object(const char *a, const char *b)
{
    const size_t n = strcspn(a, "/");
    return n == strcspn(b, "/") && strncmp(a, b, n) == 0;
}

// What `kept` says of an object that the line has too gives way to the line's members.
vj_status vj_record_keep(vj_record *kept, const vj_record *line)
{
    int n = 0;
    for (int i = 0; i < kept->n; i++) {
        bool newer = false;
        for (int k = 0; k < line->n && !newer; k++) newer = strchr(line->v[k].name, '/') && same_object(kept->v[i].name, line->v[k].name);
        if (!newer) kept->v[n++] = kept->v[i];
    }
    kept->n = n;
    if (kept->n + line->n > kept->capacity) {
        vj_record_value *v = realloc(kept->v, (size_t)(kept->n + line->n) * sizeof *v);
        VJ_CHECK(v != NULL, VJ_ERR_NOMEM, "no memory for %d figures", kept->n + line->n);
        kept->v = v;
        kept->capacity = kept->n + line->n;
    }
    for (int k = 0; k < line->n; k++) {
        if (strchr(line->v[k].name, '/')) kept->v[kept->n++] = line->v[k];
    }
    return VJ_OK;
}

void vj_record_free(vj_record *r)
{
    free(r->v);
    *r = (vj_record){ 0 };
}
