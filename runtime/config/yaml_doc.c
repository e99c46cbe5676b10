// YAML through libyaml's documents, whose nodes know their line and column. Nesting, size and the number of visited nodes are
// bounded, so aliases can neither loop nor explode.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "runtime/config/config_impl.h"

enum { DEPTH_MAX = 12, VISITS_MAX = 4000, NAMES_MAX = 256 };

typedef struct walk {
    vj_config *config;
    yaml_document_t *doc;
    const char *file;
    bool from_file;      // positions make sense
    int visits;
} walk;

static void where_of(const walk *w, const yaml_node_t *n, char out[340])
{
    if (w->from_file) snprintf(out, 340, "%.290s:%zu:%zu", w->file, n->start_mark.line + 1, n->start_mark.column + 1);
    else snprintf(out, 340, "%.330s", w->file);
}

static const char *text_of(const yaml_node_t *n) { return (const char *)n->data.scalar.value; }

static void accepted(const walk *w, vj_entry *e, const yaml_node_t *n)
{
    e->given = true;
    if (w->from_file) snprintf(e->origin, sizeof e->origin, "%.290s:%zu", w->file, n->start_mark.line + 1);
    else snprintf(e->origin, sizeof e->origin, "%.310s", w->file);
}

static void set_sequence(const walk *w, vj_entry *e, const yaml_node_t *n, char why[200], bool *good)
{
    const char *items[VJ_LIST_MAX + 1];
    int64_t count = 0;
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top && *good; i++) {
        const yaml_node_t *item = yaml_document_get_node(w->doc, *i);
        if (item->type != YAML_SCALAR_NODE || count > VJ_LIST_MAX - 1) {
            snprintf(why, 200, item->type != YAML_SCALAR_NODE ? "a list of plain values was expected" : "more than 16 items");
            *good = false;
            return;
        }
        items[count++] = text_of(item);
    }
    *good = vj_value_list(e, items, count, why);
}

static void set_weights(const walk *w, vj_entry *e, const yaml_node_t *n, char why[200], bool *good)
{
    memset(e->at, 0, sizeof(vj_weight_list));
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top && *good; p++) {
        const yaml_node_t *k = yaml_document_get_node(w->doc, p->key), *v = yaml_document_get_node(w->doc, p->value);
        if (k->type != YAML_SCALAR_NODE || v->type != YAML_SCALAR_NODE) {
            snprintf(why, 200, "a mapping of names to numbers was expected");
            *good = false;
            return;
        }
        const int64_t before = ((const vj_weight_list *)(const void *)e->at)->n;
        *good = vj_value_weight(e, text_of(k), text_of(v), why);
        if (*good && ((const vj_weight_list *)(const void *)e->at)->n == before) {
            snprintf(why, 200, "'%.60s' is given twice", text_of(k));
            *good = false;
        }
    }
}

static void set(const walk *w, vj_entry *e, const yaml_node_t *n)
{
    char why[200] = "", where[340];
    bool good = true;
    if (n->type == YAML_SCALAR_NODE) {
        const bool quoted = n->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE || n->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
        if (strlen(text_of(n)) != n->data.scalar.length) {
            snprintf(why, sizeof why, "a text with a NUL byte");
            good = false;
        } else good = vj_value_scalar(e, text_of(n), quoted, why);
    } else if (n->type == YAML_SEQUENCE_NODE) set_sequence(w, e, n, why, &good);
    else if (e->field->kind == VJ_FIELD_WEIGHTS) set_weights(w, e, n, why, &good);
    else {
        snprintf(why, sizeof why, "a mapping was not expected here");
        good = false;
    }
    if (good) accepted(w, e, n);
    else {
        where_of(w, n, where);
        vj_problem_at(w->config, where, e->field->key, "%s", why);
    }
}

// "batch" and "model.batch" mean train.batch; a misspelt key or group means the nearest.
static const char *near_key(const vj_config *c, const char *key, char group[64])
{
    const char *last = strrchr(key, '.'), *names[NAMES_MAX + 1];
    last = last ? last + 1 : key;
    int n = 0;
    for (; n < c->n_entries && n < NAMES_MAX; n++) {
        names[n] = c->entries[n].field->key;
        const char *end = strrchr(names[n], '.');
        if (strcmp(end ? end + 1 : names[n], last) == 0) return names[n];
    }
    names[n] = NULL;
    const char *near = vj_nearest(key, names);
    if (near) return near;
    for (int i = 0; i < n; i++) {
        const size_t length = strcspn(names[i], ".");
        if (length >= 64 || names[i][length] == '\0') continue;
        snprintf(group, 64, "%.*s", (int)length, names[i]);
        if (vj_nearest(key, (const char *const[]){ group, NULL })) return group;
    }
    return NULL;
}

static void unknown(const walk *w, const char *key, const yaml_node_t *n)
{
    char where[340], group[64];
    where_of(w, n, where);
    const char *near = near_key(w->config, key, group);
    if (near) vj_problem_at(w->config, where, key, "unknown key (did you mean '%s'?)", near);
    else vj_problem_at(w->config, where, key, "unknown key");
}

static bool is_prefix(const vj_config *c, const char *key)
{
    const size_t n = strlen(key);
    for (int i = 0; i < c->n_entries; i++) {
        if (strncmp(c->entries[i].field->key, key, n) == 0 && c->entries[i].field->key[n] == '.') return true;
    }
    return false;
}

static void mapping(walk *w, const yaml_node_t *n, const char *prefix, int depth)
{
    char where[340];
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = yaml_document_get_node(w->doc, p->key), *v = yaml_document_get_node(w->doc, p->value);
        where_of(w, k, where);
        if (++w->visits > VISITS_MAX || depth > DEPTH_MAX) {
            vj_problem_at(w->config, where, prefix, "too deep or too large");
            return;
        }
        char key[160];
        if (k->type != YAML_SCALAR_NODE || k->data.scalar.length + strlen(prefix) + 2 > sizeof key) {
            vj_problem_at(w->config, where, prefix, "a key must be a short plain word");
            continue;
        }
        snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", text_of(k));
        if (strcmp(key, "base") == 0 && w->from_file) continue;
        bool twice = false;
        for (yaml_node_pair_t *q = n->data.mapping.pairs.start; q < p && !twice; q++) {
            const yaml_node_t *other = yaml_document_get_node(w->doc, q->key);
            twice = other->type == YAML_SCALAR_NODE && strcmp(text_of(other), text_of(k)) == 0;
        }
        if (twice) {
            vj_problem_at(w->config, where, key, "given twice");
            continue;
        }
        vj_entry *e = vj_entry_find(w->config, key);
        if (e) set(w, e, v);
        else if (!is_prefix(w->config, key)) unknown(w, key, k);
        else if (v->type == YAML_MAPPING_NODE) mapping(w, v, key, depth + 1);
        else if (v->type != YAML_SCALAR_NODE || v->data.scalar.length > 0) {   // a group whose keys are all comments is empty
            where_of(w, v, where);
            vj_problem_at(w->config, where, key, "a mapping of keys was expected");
        }
    }
}

static vj_status parse(yaml_parser_t *parser, yaml_document_t *doc, const char *text, size_t bytes, const char *where)
{
    if (!yaml_parser_initialize(parser)) VJ_FAIL(VJ_ERR_NOMEM, "no memory to read %s", where);
    yaml_parser_set_input_string(parser, (const unsigned char *)text, bytes);
    if (yaml_parser_load(parser, doc)) return VJ_OK;
    vj_status status = vj_fail(VJ_ERR_CONFIG, "%s:%zu:%zu: not valid YAML: %s%s%s", where, parser->problem_mark.line + 1,
                               parser->problem_mark.column + 1, parser->problem ? parser->problem : "unreadable",
                               parser->context ? ", " : "", parser->context ? parser->context : "");
    yaml_parser_delete(parser);
    return status;
}

static const char *place(const char *file, yaml_mark_t mark, char out[340])
{
    snprintf(out, 340, "%.290s:%zu:%zu", file, mark.line + 1, mark.column + 1);
    return out;
}

// A file is one document: what stands behind a second "---" would be lost without a word.
static void expect_end(vj_config *c, yaml_parser_t *parser, const char *where)
{
    yaml_document_t more;
    char at[340];
    if (!yaml_parser_load(parser, &more)) {
        vj_problem_at(c, place(where, parser->problem_mark, at), "", "not valid YAML: %s", parser->problem ? parser->problem : "unreadable");
        return;
    }
    if (yaml_document_get_root_node(&more)) vj_problem_at(c, place(where, more.start_mark, at), "", "a second document; one was expected");
    yaml_document_delete(&more);
}

vj_status vj_yaml_apply(vj_config *c, const char *text, size_t bytes, const char *where)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    VJ_TRY(parse(&parser, &doc, text, bytes, where));
    walk w = { .config = c, .doc = &doc, .file = where, .from_file = true };
    const yaml_node_t *root = yaml_document_get_root_node(&doc);
    if (root && root->type == YAML_MAPPING_NODE) mapping(&w, root, "", 0);
    else if (root && !(root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0)) vj_problem_at(c, where, "", "a mapping of keys was expected");
    expect_end(c, &parser, where);
    yaml_document_delete(&doc);
    yaml_parser_delete(&parser);
    return VJ_OK;
}

vj_status vj_yaml_apply_one(vj_config *c, const char *key, const char *value, const char *where)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    vj_entry *e = vj_entry_find(c, key);
    if (e && e->field->kind == VJ_FIELD_TEXT && *value != '"' && *value != '\'') {   // paths are not YAML: "a #1: b"
        char why[200];
        if (!vj_value_scalar(e, value, true, why)) vj_problem_at(c, where, key, "%s", why);
        else accepted(&(walk){ .config = c, .file = where }, e, NULL);
        return VJ_OK;
    }
    if (parse(&parser, &doc, value, strlen(value), where) != VJ_OK) {
        vj_error_clear();
        vj_problem_at(c, where, key, "'%.80s' is not a value", value);
        return VJ_OK;
    }
    walk w = { .config = c, .doc = &doc, .file = where };
    const yaml_node_t *root = yaml_document_get_root_node(&doc);
    static yaml_node_t empty = { .type = YAML_SCALAR_NODE };
    static unsigned char nothing[1];
    empty.data.scalar.value = nothing;
    if (!root) root = &empty;   // "key=" is an empty text
    const char *dot = strrchr(key, '.');
    if (!e && dot) {   // data.weights.NAME=2
        char group[160];
        snprintf(group, sizeof group, "%.*s", (int)(dot - key), key);
        vj_entry *g = vj_entry_find(c, group);
        char why[200];
        if (g && g->field->kind == VJ_FIELD_WEIGHTS && root->type == YAML_SCALAR_NODE) {
            if (vj_value_weight(g, dot + 1, text_of(root), why)) accepted(&w, g, root);
            else vj_problem_at(c, where, key, "%s", why);
            goto done;
        }
    }
    if (e) set(&w, e, root);
    else unknown(&w, key, root);
    expect_end(c, &parser, where);
done:
    yaml_document_delete(&doc);
    yaml_parser_delete(&parser);
    return VJ_OK;
}

vj_status vj_yaml_base(const char *text, size_t bytes, const char *where, char out[300])
{
    out[0] = '\0';
    yaml_parser_t parser;
    yaml_document_t doc;
    VJ_TRY(parse(&parser, &doc, text, bytes, where));
    vj_status status = VJ_OK;
    yaml_node_t *root = yaml_document_get_root_node(&doc);
    if (root && root->type == YAML_MAPPING_NODE) {
        for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
            const yaml_node_t *k = yaml_document_get_node(&doc, p->key), *v = yaml_document_get_node(&doc, p->value);
            if (k->type != YAML_SCALAR_NODE || strcmp(text_of(k), "base") != 0) continue;
            if (v->type != YAML_SCALAR_NODE || v->data.scalar.length == 0 || v->data.scalar.length > 250) {
                status = vj_fail(VJ_ERR_CONFIG, "%s:%zu:%zu: base: the name of one file was expected", where, k->start_mark.line + 1, k->start_mark.column + 1);
            } else snprintf(out, 300, "%s", text_of(v));
        }
    }
    yaml_document_delete(&doc);
    yaml_parser_delete(&parser);
    return status;
}
