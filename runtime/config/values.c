// Values of fields: from text, to text, defaults, ranges.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/config/config_impl.h"

static bool set_int(const vj_entry *e, const char *text, int64_t *out, char why[200])
{
    const vj_field *f = e->field;
    if ((f->flags & VJ_FIELD_AUTO) && strcmp(text, "auto") == 0) {
        *out = -1;
        return true;
    }
    int64_t v;
    if (!vj_parse_i64(text, &v)) {
        snprintf(why, 200, "'%.60s' is not a whole number%s", text, f->flags & VJ_FIELD_AUTO ? ", nor auto" : "");
        return false;
    }
    if (v < f->i.low || v > f->i.high) {
        snprintf(why, 200, "%lld is outside %lld to %lld", (long long)v, (long long)f->i.low, (long long)f->i.high);
        return false;
    }
    *out = v;
    return true;
}

static bool set_float(const vj_entry *e, const char *text, double *out, char why[200])
{
    double v;
    if (!vj_parse_f64(text, &v)) {
        snprintf(why, 200, "'%.60s' is not a number", text);
        return false;
    }
    const bool bounded = e->field->f.low < e->field->f.high || e->field->kind != VJ_FIELD_WEIGHTS;
    if (bounded && (v < e->field->f.low || v > e->field->f.high)) {   // a table of weights need not give a range
        snprintf(why, 200, "%g is outside %g to %g", v, e->field->f.low, e->field->f.high);
        return false;
    }
    *out = v;
    return true;
}

static bool set_enum(const vj_entry *e, const char *text, char why[200])
{
    const char *const *names = e->field->names;
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], text) == 0) {
            memcpy(e->at, &i, sizeof i);
            return true;
        }
    }
    int n = snprintf(why, 200, "'%.60s' is none of", text);
    for (int i = 0; names[i] && n < 180; i++) n += snprintf(why + n, 200 - (size_t)n, "%s %s", i ? "," : "", names[i]);
    return false;
}

bool vj_value_scalar(const vj_entry *e, const char *text, bool quoted, char why[200])
{
    switch (e->field->kind) {
    case VJ_FIELD_INT: return set_int(e, text, (int64_t *)(void *)e->at, why);
    case VJ_FIELD_FLOAT: return set_float(e, text, (double *)(void *)e->at, why);
    case VJ_FIELD_ENUM: return set_enum(e, text, why);
    case VJ_FIELD_BOOL:
        if (!quoted && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)) {
            *(bool *)e->at = text[0] == 't';
            return true;
        }
        snprintf(why, 200, "'%.60s' is neither true nor false", text);
        return false;
    case VJ_FIELD_TEXT: {
        const size_t limit = vj_text_size(e->field);
        for (const char *p = text; *p; p += vj_utf8_length(p)) {
            if (vj_utf8_length(p) != 0) continue;
            snprintf(why, 200, "the text is not UTF-8 from byte %lld on", (long long)(p - text) + 1);
            return false;
        }
        if (strlen(text) >= limit) {
            snprintf(why, 200, "the text is longer than %zu bytes", limit - 1);
            return false;
        }
        memset(e->at, 0, limit);
        memcpy(e->at, text, strlen(text));
        return true;
    }
    case VJ_FIELD_INT_LIST: case VJ_FIELD_FLOAT_LIST: return vj_value_list(e, &text, 1, why);   // one value is a list of one
    default: snprintf(why, 200, "a mapping of names to numbers was expected"); return false;
    }
}

bool vj_value_list(const vj_entry *e, const char *const *items, int64_t n, char why[200])
{
    if (e->field->kind != VJ_FIELD_INT_LIST && e->field->kind != VJ_FIELD_FLOAT_LIST) {
        snprintf(why, 200, "a list was not expected here");
        return false;
    }
    if (n > VJ_LIST_MAX) {
        snprintf(why, 200, "%lld items, at most %d are possible", (long long)n, VJ_LIST_MAX);
        return false;
    }
    vj_int_list ints = { .n = n };
    vj_float_list floats = { .n = n };
    const bool whole = e->field->kind == VJ_FIELD_INT_LIST;
    for (int64_t i = 0; i < n; i++) {
        if (whole ? !set_int(e, items[i], &ints.v[i], why) : !set_float(e, items[i], &floats.v[i], why)) return false;
    }
    if (whole) memcpy(e->at, &ints, sizeof ints);
    else memcpy(e->at, &floats, sizeof floats);
    return true;
}

bool vj_value_weight(const vj_entry *e, const char *name, const char *text, char why[200])
{
    vj_weight_list *list = (vj_weight_list *)(void *)e->at;
    double v;
    if (!set_float(e, text, &v, why)) return false;
    if (v < 0) {
        snprintf(why, 200, "'%.60s' has weight %g, which must not be negative", name, v);
        return false;
    }
    int64_t i = 0;
    while (i < list->n && strcmp(list->name[i], name) != 0) i++;
    if (i == VJ_LIST_MAX || !*name || strlen(name) >= sizeof list->name[0]) {
        snprintf(why, 200, i == VJ_LIST_MAX ? "more than 16 names" : "'%.60s' is no usable name", name);
        return false;
    }
    if (i == list->n) list->n++;
    snprintf(list->name[i], sizeof list->name[i], "%s", name);
    list->v[i] = v;
    return true;
}

// A list's default is written as in YAML: "[8, 2]".
static void default_list(const vj_entry *e)
{
    char copy[256], why[200];
    const char *items[VJ_LIST_MAX];
    int64_t n = 0;
    snprintf(copy, sizeof copy, "%s", e->field->text ? e->field->text : "[]");
    for (char *save = NULL, *word = strtok_r(copy, "[], ", &save); word && n < VJ_LIST_MAX; word = strtok_r(NULL, "[], ", &save)) items[n++] = word;
    VJ_ASSERT(vj_value_list(e, items, n, why));
}

void vj_value_default(const vj_entry *e)
{
    const vj_field *f = e->field;
    switch (f->kind) {
    case VJ_FIELD_INT: memcpy(e->at, &f->i.def, sizeof f->i.def); break;
    case VJ_FIELD_FLOAT: memcpy(e->at, &f->f.def, sizeof f->f.def); break;
    case VJ_FIELD_BOOL: *(bool *)e->at = f->b; break;
    case VJ_FIELD_ENUM: { const int i = (int)f->i.def; memcpy(e->at, &i, sizeof i); break; }
    case VJ_FIELD_TEXT: memset(e->at, 0, vj_text_size(f)); snprintf(e->at, vj_text_size(f), "%s", f->text ? f->text : ""); break;
    case VJ_FIELD_INT_LIST: case VJ_FIELD_FLOAT_LIST: default_list(e); break;
    default: memset(e->at, 0, sizeof(vj_weight_list)); break;
    }
}

static void float_text(double v, vj_str *out)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    vj_str_add(out, text);
}

// Double-quoted YAML. What YAML does not print, or would fold as a line's end, is escaped. Texts are UTF-8: checked above.
static void quoted_text(const char *text, vj_str *out)
{
    vj_str_add(out, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t n = vj_utf8_length((const char *)p);
        if (n == 0) n = 1;
        if (*p == '"' || *p == '\\') vj_str_printf(out, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f) vj_str_printf(out, "\\x%02x", *p);
        else if (n == 2 && *p == 0xc2 && p[1] < 0xa0) vj_str_printf(out, "\\x%02x", p[1]);
        else if (n == 3 && *p == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) vj_str_printf(out, "\\u20%02x", p[2] - 0x80);
        else if (n == 3 && *p == 0xef && p[1] == 0xbb && p[2] == 0xbf) vj_str_add(out, "\\ufeff");
        else if (n == 3 && *p == 0xef && p[1] == 0xbf && p[2] >= 0xbe) vj_str_printf(out, "\\uff%02x", p[2] + 0x40);
        else vj_str_add_n(out, (const char *)p, n);
        p += n;
    }
    vj_str_add(out, "\"");
}

static void list_text(const vj_entry *e, vj_str *out)
{
    const bool whole = e->field->kind == VJ_FIELD_INT_LIST;
    const vj_int_list *ints = (const vj_int_list *)(void *)e->at;
    const vj_float_list *floats = (const vj_float_list *)(void *)e->at;
    vj_str_add(out, "[");
    for (int64_t i = 0; i < (whole ? ints->n : floats->n); i++) {
        if (i) vj_str_add(out, ", ");
        if (whole) vj_str_printf(out, "%lld", (long long)ints->v[i]);
        else float_text(floats->v[i], out);
    }
    vj_str_add(out, "]");
}

void vj_value_text(const vj_entry *e, vj_str *out)
{
    const vj_field *f = e->field;
    switch (f->kind) {
    case VJ_FIELD_INT: {
        int64_t v;
        memcpy(&v, e->at, sizeof v);
        if (v == -1 && (f->flags & VJ_FIELD_AUTO)) vj_str_add(out, "auto");
        else vj_str_printf(out, "%lld", (long long)v);
        break;
    }
    case VJ_FIELD_FLOAT: { double v; memcpy(&v, e->at, sizeof v); float_text(v, out); break; }
    case VJ_FIELD_BOOL: vj_str_add(out, *(const bool *)e->at ? "true" : "false"); break;
    case VJ_FIELD_ENUM: { int i; memcpy(&i, e->at, sizeof i); vj_str_add(out, f->names[i]); break; }
    case VJ_FIELD_TEXT: quoted_text(e->at, out); break;
    case VJ_FIELD_INT_LIST: case VJ_FIELD_FLOAT_LIST: list_text(e, out); break;
    default: {
        const vj_weight_list *list = (const vj_weight_list *)(void *)e->at;
        vj_str_add(out, "{");
        for (int64_t i = 0; i < list->n; i++) {
            if (i) vj_str_add(out, ", ");
            quoted_text(list->name[i], out);
            vj_str_add(out, ": ");
            float_text(list->v[i], out);
        }
        vj_str_add(out, "}");
    }
    }
}
