// The engine: tables, sources in order, origins, resolved text, differences.

#include "runtime/config/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/file.h"
#include "runtime/config/config_impl.h"

enum { BASES_MAX = 8, FILE_MAX = 1 << 20 };
static const char *(*builtin)(const char *name);

static const char *folder;

void vj_config_builtin(const char *(*find)(const char *name)) { builtin = find; }
void vj_config_folder(const char *dir) { folder = dir; }

vj_entry *vj_entry_find(const vj_config *c, const char *key)
{
    for (int i = 0; i < c->n_entries; i++) {
        if (strcmp(c->entries[i].field->key, key) == 0) return &c->entries[i];
    }
    return NULL;
}

void vj_problem_at(vj_config *c, const char *where, const char *key, const char *fmt, ...)
{
    if (++c->n_problems > VJ_PROBLEMS_MAX) return;
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    vj_str_printf(&c->problems, "\n  %s: %s%s%s", where, key, *key ? ": " : "", text);
}

void vj_config_problem(vj_config *c, const char *key, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    vj_problem_at(c, vj_config_origin(c, key), key, "%s", text);
}

vj_status vj_config_problems(vj_config *c)
{
    if (c->n_problems == 0) return VJ_OK;
    vj_status status = vj_fail(VJ_ERR_CONFIG, "%d problem%s in the configuration, nothing was started:%s%s", c->n_problems,
                               c->n_problems == 1 ? "" : "s", vj_str_text(&c->problems), c->n_problems > VJ_PROBLEMS_MAX ? "\n  (more were left out)" : "");
    vj_str_clear(&c->problems);
    c->n_problems = 0;
    return status;
}

static size_t field_bytes(const vj_field *f)
{
    switch (f->kind) {
    case VJ_FIELD_INT: return sizeof(int64_t);
    case VJ_FIELD_FLOAT: return sizeof(double);
    case VJ_FIELD_BOOL: return sizeof(bool);
    case VJ_FIELD_ENUM: return sizeof(int);
    case VJ_FIELD_TEXT: return vj_text_size(f);
    case VJ_FIELD_INT_LIST: return sizeof(vj_int_list);
    case VJ_FIELD_FLOAT_LIST: return sizeof(vj_float_list);
    default: return sizeof(vj_weight_list);
    }
}

static vj_status create(vj_config **out, void *root, const vj_config_part *parts, int n_parts)
{
    vj_config *c = calloc(1, sizeof *c);
    VJ_CHECK(c != NULL, VJ_ERR_NOMEM, "no memory for the configuration");
    c->root = root;
    c->parts = parts;
    c->n_parts = n_parts;
    int n = 0;
    for (int p = 0; p < n_parts; p++) {
        for (const vj_field *f = parts[p].fields; f->kind != VJ_FIELD_END; f++) n++;
    }
    c->entries = calloc((size_t)n + 1, sizeof *c->entries);
    if (!c->entries) {
        free(c);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for the configuration");
    }
    for (int p = 0; p < n_parts; p++) {
        for (const vj_field *f = parts[p].fields; f->kind != VJ_FIELD_END; f++) {
            vj_entry *e = &c->entries[c->n_entries++];
            *e = (vj_entry){ .field = f, .at = c->root + parts[p].offset + f->offset, .origin = "default" };
            VJ_ASSERT(vj_entry_find(c, f->key) == e);   // a key stands in one table only
            const size_t end = parts[p].offset + f->offset + field_bytes(f);
            if (end > c->root_bytes) c->root_bytes = end;
            vj_value_default(e);
        }
    }
    *out = c;
    return VJ_OK;
}

void vj_config_destroy(vj_config **config)
{
    if (!*config) return;
    vj_str_free(&(*config)->problems);
    free((*config)->entries);
    free(*config);
    *config = NULL;
}

// "a/b/../c" -> "a/c", without a leading "configs/" and without ".yaml": the name of a built-in file.
static void builtin_name(char out[300], const char *path)
{
    char copy[300], *parts[32];
    int n = 0;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *save = NULL, *word = strtok_r(copy, "/", &save); word && n < 32; word = strtok_r(NULL, "/", &save)) {
        if (strcmp(word, ".") == 0) continue;
        if (strcmp(word, "..") == 0 && n > 0) n--;
        else parts[n++] = word;
    }
    int first = 0;
    for (int i = 0; i < n; i++) first = strcmp(parts[i], "configs") == 0 ? i + 1 : first;
    out[0] = '\0';
    for (int i = first; i < n; i++) {
        const size_t used = strlen(out);
        snprintf(out + used, 300 - used, "%s%s", i > first ? "/" : "", parts[i]);
    }
    const size_t length = strlen(out);
    if (length > 5 && strcmp(out + length - 5, ".yaml") == 0) out[length - 5] = '\0';
}

static vj_status read_text(const char *path, char **text, size_t *bytes, char shown[300])
{
    snprintf(shown, 300, "%.290s", path);
    char name[300];
    builtin_name(name, path);
    const char *found = builtin ? builtin(name) : NULL;
    struct stat st;
    if (stat(path, &st) == 0 && !(S_ISDIR(st.st_mode) && found)) {   // a run directory may be called like a built-in file
        VJ_CHECK(S_ISREG(st.st_mode), VJ_ERR_CONFIG, "%s: is no file, a configuration was expected", path);
        VJ_CHECK(st.st_size <= FILE_MAX, VJ_ERR_CONFIG, "%s: is larger than %d bytes, no configuration is", path, FILE_MAX);
        return vj_file_read(path, text, bytes, FILE_MAX);
    }
    char installed[300];
    if (folder && snprintf(installed, sizeof installed, "%s/%s.yaml", folder, name) < 300 && stat(installed, &st) == 0 && S_ISREG(st.st_mode)) {
        snprintf(shown, 300, "%s", installed);
        VJ_CHECK(st.st_size <= FILE_MAX, VJ_ERR_CONFIG, "%s: is larger than %d bytes, no configuration is", installed, FILE_MAX);
        return vj_file_read(installed, text, bytes, FILE_MAX);
    }
    VJ_CHECK(found != NULL, VJ_ERR_CONFIG, "%s: no such file, and none of that name is built in", path);
    snprintf(shown, 300, "configs/%.280s.yaml", name);
    *text = vj_strdup(found);
    *bytes = strlen(found);
    return VJ_OK;
}

static vj_status apply_file(vj_config *c, const char *path, int depth)
{
    VJ_CHECK(depth < BASES_MAX, VJ_ERR_CONFIG, "%s: more than %d files are based on one another", path, BASES_MAX);
    char *text = NULL, shown[300], base[300];
    size_t bytes = 0;
    VJ_TRY(read_text(path, &text, &bytes, shown));
    vj_status status = vj_yaml_base(text, bytes, shown, base);
    if (status == VJ_OK && base[0]) {
        char next[640];
        const char *slash = strrchr(shown, '/');
        if (base[0] == '/' || !slash) snprintf(next, sizeof next, "%s", base);
        else snprintf(next, sizeof next, "%.*s/%s", (int)(slash - shown), shown, base);
        status = apply_file(c, next, depth + 1);
        if (status != VJ_OK) vj_context("reading the base of %s", shown);
    }
    if (status == VJ_OK) status = vj_yaml_apply(c, text, bytes, shown);
    free(text);
    return status;
}

static vj_status apply_overrides(vj_config *c, const char *const *overrides, int n)
{
    for (int i = 0; i < n; i++) {
        const char *equals = strchr(overrides[i], '=');
        char key[160];
        if (!equals || equals == overrides[i] || (size_t)(equals - overrides[i]) >= sizeof key) {
            vj_problem_at(c, "command line", overrides[i], "key=value was expected");
            continue;
        }
        snprintf(key, sizeof key, "%.*s", (int)(equals - overrides[i]), overrides[i]);
        VJ_TRY(vj_yaml_apply_one(c, key, equals + 1, "command line"));
    }
    return VJ_OK;
}

vj_status vj_config_load(vj_config **out, void *root, const vj_config_part *parts, int n_parts, const char *path,
                         const char *const *overrides, int n_overrides)
{
    *out = NULL;
    vj_config *c = NULL;
    VJ_TRY(create(&c, root, parts, n_parts));
    vj_status status = path ? apply_file(c, path, 0) : VJ_OK;
    if (status == VJ_OK) status = apply_overrides(c, overrides, n_overrides);
    for (int i = 0; status == VJ_OK && i < c->n_entries; i++) {
        if ((c->entries[i].field->flags & VJ_FIELD_REQUIRED) && !c->entries[i].given) {
            vj_problem_at(c, path ? path : "command line", c->entries[i].field->key, "is missing");
        }
    }
    if (status == VJ_OK) status = vj_config_problems(c);
    if (status != VJ_OK) {
        vj_config_destroy(&c);
        return status;
    }
    *out = c;
    return VJ_OK;
}

bool vj_config_given(const vj_config *c, const char *key)
{
    const vj_entry *e = vj_entry_find(c, key);
    return e && e->given;
}

const char *vj_config_origin(const vj_config *c, const char *key)
{
    const vj_entry *e = vj_entry_find(c, key);
    return e ? e->origin : "configuration";
}

vj_status vj_config_set(vj_config *c, const char *key, const char *value, const char *origin)
{
    VJ_TRY(vj_yaml_apply_one(c, key, value, origin));
    return vj_config_problems(c);
}

// Keys are "group.name" or "name": groups are written together, in the order in which they first appear.
void vj_config_resolved(const vj_config *c, bool with_origins, vj_str *out)
{
    for (int i = 0; i < c->n_entries; i++) {
        const char *key = c->entries[i].field->key, *dot = strchr(key, '.');
        const size_t group = dot ? (size_t)(dot - key) + 1 : 0;
        bool written = false;
        for (int j = 0; j < i && group && !written; j++) written = strncmp(c->entries[j].field->key, key, group) == 0;
        if (written) continue;
        if (group) vj_str_printf(out, "%.*s:\n", (int)group - 1, key);
        for (int j = i; j < c->n_entries; j++) {
            const vj_entry *e = &c->entries[j];
            if (group ? strncmp(e->field->key, key, group) != 0 : j != i) continue;
            vj_str line = { 0 };
            vj_str_printf(&line, "%s%s: ", group ? "  " : "", e->field->key + group);
            vj_value_text(e, &line);
            if (with_origins) vj_str_printf(out, "%-44s  # %s\n", vj_str_text(&line), e->origin);
            else vj_str_printf(out, "%s\n", vj_str_text(&line));
            vj_str_free(&line);
        }
    }
}

static void put_value(const vj_entry *e, vj_json_writer *w)
{
    const vj_field *f = e->field;
    const vj_int_list *ints = (const void *)e->at;
    const vj_float_list *floats = (const void *)e->at;
    const vj_weight_list *weights = (const void *)e->at;
    switch (f->kind) {
    case VJ_FIELD_INT:
        if ((f->flags & VJ_FIELD_AUTO) && *(const int64_t *)(const void *)e->at == -1) vj_json_put_text(w, "value", "auto");
        else vj_json_put_i64(w, "value", *(const int64_t *)(const void *)e->at);
        break;
    case VJ_FIELD_FLOAT: vj_json_put_f64(w, "value", *(const double *)(const void *)e->at); break;
    case VJ_FIELD_BOOL: vj_json_put_bool(w, "value", *(const bool *)(const void *)e->at); break;
    case VJ_FIELD_TEXT: vj_json_put_text(w, "value", e->at); break;
    case VJ_FIELD_ENUM: vj_json_put_text(w, "value", f->names[*(const int *)(const void *)e->at]); break;
    case VJ_FIELD_INT_LIST:
        vj_json_begin_array(w, "value");
        for (int64_t i = 0; i < ints->n; i++) vj_json_put_i64(w, NULL, ints->v[i]);
        vj_json_end_array(w);
        break;
    case VJ_FIELD_FLOAT_LIST:
        vj_json_begin_array(w, "value");
        for (int64_t i = 0; i < floats->n; i++) vj_json_put_f64(w, NULL, floats->v[i]);
        vj_json_end_array(w);
        break;
    default:
        vj_json_begin_object(w, "value");
        for (int64_t i = 0; i < weights->n; i++) vj_json_put_f64(w, weights->name[i], weights->v[i]);
        vj_json_end_object(w);
    }
}

void vj_config_put_json(const vj_config *c, vj_json_writer *w)
{
    for (int i = 0; i < c->n_entries; i++) {
        vj_json_begin_object(w, c->entries[i].field->key);
        put_value(&c->entries[i], w);
        vj_json_put_text(w, "origin", c->entries[i].origin);
        vj_json_end_object(w);
    }
}

vj_status vj_config_differences(const vj_config *c, const char *resolved_path, vj_str *out, int *count)
{
    *count = 0;
    char *root = calloc(1, c->root_bytes);
    VJ_CHECK(root != NULL, VJ_ERR_NOMEM, "no memory for the configuration");
    vj_config *old = NULL;
    vj_status status = vj_config_load(&old, root, c->parts, c->n_parts, resolved_path, NULL, 0);
    for (int i = 0; status == VJ_OK && i < c->n_entries; i++) {
        if (c->entries[i].field->flags & VJ_FIELD_MAY_CHANGE) continue;
        vj_str was = { 0 }, is = { 0 };
        vj_value_text(&old->entries[i], &was);
        vj_value_text(&c->entries[i], &is);
        if (strcmp(vj_str_text(&was), vj_str_text(&is)) != 0) {
            vj_str_printf(out, "  %s: %s in the run, %s now (%s)\n", c->entries[i].field->key, vj_str_text(&was), vj_str_text(&is), c->entries[i].origin);
            ++*count;
        }
        vj_str_free(&was);
        vj_str_free(&is);
    }
    vj_config_destroy(&old);
    free(root);
    return status;
}
