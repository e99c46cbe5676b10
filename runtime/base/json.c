// JSON: jansson for reading, a streaming writer.

#include "runtime/base/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"

struct vj_json_doc { json_t *root; };

// A vj_json is a json_t seen from outside.
static json_t *in(const vj_json *v) { return (json_t *)(uintptr_t)v; }
static const vj_json *out_of(const json_t *v) { return (const vj_json *)v; }

vj_status vj_json_parse(vj_json_doc **out, const char *text, size_t bytes, const char *origin)
{
    *out = NULL;
    json_error_t error;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    VJ_CHECK(root != NULL, VJ_ERR_CONFIG, "%s:%d:%d: not valid JSON: %s", origin, error.line, error.column, error.text);
    vj_json_doc *doc = malloc(sizeof *doc);
    if (!doc) {
        json_decref(root);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory to read %s", origin);
    }
    doc->root = root;
    *out = doc;
    return VJ_OK;
}

vj_status vj_json_read(vj_json_doc **out, const char *path)
{
    *out = NULL;
    char *text = NULL;
    size_t bytes = 0;
    VJ_TRY(vj_file_read(path, &text, &bytes, 0));
    vj_status status = vj_json_parse(out, text, bytes, path);
    free(text);
    return status;
}

void vj_json_destroy(vj_json_doc **doc)
{
    if (!*doc) return;
    json_decref((*doc)->root);
    free(*doc);
    *doc = NULL;
}

const vj_json *vj_json_root(const vj_json_doc *doc) { return out_of(doc->root); }
bool vj_json_is_object(const vj_json *v) { return v && json_is_object(in(v)); }
bool vj_json_is_array(const vj_json *v) { return v && json_is_array(in(v)); }
const vj_json *vj_json_get(const vj_json *object, const char *key) { return vj_json_is_object(object) ? out_of(json_object_get(in(object), key)) : NULL; }

int64_t vj_json_count(const vj_json *v)
{
    if (vj_json_is_array(v)) return (int64_t)json_array_size(in(v));
    return vj_json_is_object(v) ? (int64_t)json_object_size(in(v)) : 0;
}

const vj_json *vj_json_at(const vj_json *array, int64_t index)
{
    return vj_json_is_array(array) && index >= 0 ? out_of(json_array_get(in(array), (size_t)index)) : NULL;
}

const vj_json *vj_json_member(const vj_json *object, int64_t index, const char **key)
{
    if (!vj_json_is_object(object)) return NULL;
    void *it = json_object_iter(in(object));
    for (int64_t i = 0; it && i < index; i++) it = json_object_iter_next(in(object), it);
    if (!it) return NULL;
    *key = json_object_iter_key(it);
    return out_of(json_object_iter_value(it));
}

const char *vj_json_as_text(const vj_json *v) { return v && json_is_string(in(v)) ? json_string_value(in(v)) : NULL; }

bool vj_json_as_i64(const vj_json *v, int64_t *out)
{
    if (!v || !json_is_integer(in(v))) return false;
    *out = json_integer_value(in(v));
    return true;
}

bool vj_json_as_f64(const vj_json *v, double *out)
{
    if (!v || !json_is_number(in(v))) return false;
    *out = json_number_value(in(v));
    return true;
}

bool vj_json_as_bool(const vj_json *v, bool *out)
{
    if (!v || !json_is_boolean(in(v))) return false;
    *out = json_is_true(in(v));
    return true;
}

static vj_status wrong(const vj_json *v, const char *key, const char *expected)
{
    return vj_fail(VJ_ERR_CONFIG, v ? "\"%s\" should be %s" : "\"%s\" is missing, %s was expected", key, expected);
}

vj_status vj_json_i64(const vj_json *object, const char *key, int64_t *out)
{
    const vj_json *v = vj_json_get(object, key);
    return vj_json_as_i64(v, out) ? VJ_OK : wrong(v, key, "a whole number");
}

vj_status vj_json_f64(const vj_json *object, const char *key, double *out)
{
    const vj_json *v = vj_json_get(object, key);
    return vj_json_as_f64(v, out) ? VJ_OK : wrong(v, key, "a number");
}

vj_status vj_json_bool(const vj_json *object, const char *key, bool *out)
{
    const vj_json *v = vj_json_get(object, key);
    if (!v || !json_is_boolean(in(v))) return wrong(v, key, "true or false");
    *out = json_is_true(in(v));
    return VJ_OK;
}

vj_status vj_json_text(const vj_json *object, const char *key, const char **out)
{
    const vj_json *v = vj_json_get(object, key);
    *out = vj_json_as_text(v);
    return *out ? VJ_OK : wrong(v, key, "a text");
}

vj_status vj_json_u64_hex(const vj_json *object, const char *key, uint64_t *out)
{
    const vj_json *v = vj_json_get(object, key);
    const char *text = vj_json_as_text(v);
    if (!text || !*text || strlen(text) > 16 || strspn(text, "0123456789abcdef") != strlen(text)) return wrong(v, key, "up to 16 hex digits as text");
    *out = strtoull(text, NULL, 16);
    return VJ_OK;
}

// ---- writing ---------------------------------------------------------------------------------------------------------------
// Names of files may hold any bytes: what is no UTF-8 becomes U+FFFD, so that what we wrote can be read.
static void text_value(vj_str *s, const char *text)
{
    vj_str_add(s, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        const size_t n = vj_utf8_length((const char *)p);
        if (n == 0) vj_str_add(s, "\\ufffd");
        else if (*p == '"' || *p == '\\') vj_str_printf(s, "\\%c", *p);
        else if (*p == '\n') vj_str_add(s, "\\n");
        else if (*p < 0x20) vj_str_printf(s, "\\u%04x", *p);
        else vj_str_add_n(s, (const char *)p, n);
        p += n ? n : 1;
    }
    vj_str_add(s, "\"");
}

static void before(vj_json_writer *w, const char *key)
{
    if (w->depth > 0) {
        if (!w->first[w->depth]) vj_str_add(&w->out, ",");
        w->first[w->depth] = false;
        if (w->pretty) vj_str_printf(&w->out, "\n%*s", 2 * w->depth, "");
    }
    if (key) {
        text_value(&w->out, key);
        vj_str_add(&w->out, w->pretty ? ": " : ":");
    }
}

static void open_level(vj_json_writer *w, const char *key, const char *bracket)
{
    before(w, key);
    vj_str_add(&w->out, bracket);
    VJ_ASSERT(w->depth + 1 < 32);
    w->first[++w->depth] = true;
}

static void close_level(vj_json_writer *w, const char *bracket)
{
    const bool empty = w->first[w->depth];
    VJ_ASSERT(w->depth > 0);
    w->depth--;
    if (w->pretty && !empty) vj_str_printf(&w->out, "\n%*s", 2 * w->depth, "");
    vj_str_add(&w->out, bracket);
}

void vj_json_begin_object(vj_json_writer *w, const char *key) { open_level(w, key, "{"); }
void vj_json_end_object(vj_json_writer *w) { close_level(w, "}"); }
void vj_json_begin_array(vj_json_writer *w, const char *key) { open_level(w, key, "["); }
void vj_json_end_array(vj_json_writer *w) { close_level(w, "]"); }

void vj_json_put_text(vj_json_writer *w, const char *key, const char *value)
{
    before(w, key);
    text_value(&w->out, value);
}

void vj_json_put_i64(vj_json_writer *w, const char *key, int64_t value)
{
    before(w, key);
    vj_str_printf(&w->out, "%lld", (long long)value);
}

void vj_json_put_hex(vj_json_writer *w, const char *key, uint64_t value)
{
    before(w, key);
    vj_str_printf(&w->out, "\"%016llx\"", (unsigned long long)value);
}

void vj_json_put_f64(vj_json_writer *w, const char *key, double value)
{
    before(w, key);
    if (!isfinite(value)) {
        vj_str_add(&w->out, "null");
        return;
    }
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {   // the shortest that reads back as the same number
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    if (!strpbrk(text, ".eE")) strcat(text, ".0");
    vj_str_add(&w->out, text);
}

void vj_json_put_bool(vj_json_writer *w, const char *key, bool value)
{
    before(w, key);
    vj_str_add(&w->out, value ? "true" : "false");
}

void vj_json_put_null(vj_json_writer *w, const char *key)
{
    before(w, key);
    vj_str_add(&w->out, "null");
}

void vj_json_put_copy(vj_json_writer *w, const char *key, const vj_json *value)
{
    const char *inner = NULL;
    switch (json_typeof(in(value))) {
    case JSON_OBJECT:
        vj_json_begin_object(w, key);
        for (int64_t i = 0; i < vj_json_count(value); i++) {
            const vj_json *v = vj_json_member(value, i, &inner);
            vj_json_put_copy(w, inner, v);
        }
        vj_json_end_object(w);
        break;
    case JSON_ARRAY:
        vj_json_begin_array(w, key);
        for (int64_t i = 0; i < vj_json_count(value); i++) vj_json_put_copy(w, NULL, vj_json_at(value, i));
        vj_json_end_array(w);
        break;
    case JSON_STRING: vj_json_put_text(w, key, json_string_value(in(value))); break;
    case JSON_INTEGER: vj_json_put_i64(w, key, json_integer_value(in(value))); break;
    case JSON_REAL: vj_json_put_f64(w, key, json_real_value(in(value))); break;
    case JSON_TRUE: case JSON_FALSE: vj_json_put_bool(w, key, json_is_true(in(value))); break;
    case JSON_NULL: vj_json_put_null(w, key); break;
    }
}

void vj_json_writer_free(vj_json_writer *w)
{
    vj_str_free(&w->out);
    *w = (vj_json_writer){ 0 };
}
