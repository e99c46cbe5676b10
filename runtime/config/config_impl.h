// Inside of the configuration engine.
#ifndef VJ_RUNTIME_CONFIG_CONFIG_IMPL_H
#define VJ_RUNTIME_CONFIG_CONFIG_IMPL_H

#include "runtime/config/config.h"

enum { VJ_PROBLEMS_MAX = 20 };

typedef struct vj_entry {        // one field of one table, and where its value came from
    const vj_field *field;
    char *at;                    // inside the root struct
    bool given;
    char origin[320];
} vj_entry;

struct vj_config {
    char *root;
    size_t root_bytes;
    const vj_config_part *parts;
    int n_parts;
    vj_entry *entries;
    int n_entries;
    vj_str problems;             // one line each
    int n_problems;
    char source[300];            // the file, for the closing line
};

static inline size_t vj_text_size(const vj_field *f) { return f->i.high > 0 ? (size_t)f->i.high : VJ_TEXT_MAX; }
vj_entry *vj_entry_find(const vj_config *c, const char *key);
void vj_problem_at(vj_config *c, const char *where, const char *key, const char *fmt, ...) VJ_PRINTF(4, 5);

// values.c: text to value and back. False: `why` says what was expected.
bool vj_value_scalar(const vj_entry *e, const char *text, bool quoted, char why[200]);
bool vj_value_list(const vj_entry *e, const char *const *items, int64_t n, char why[200]);
bool vj_value_weight(const vj_entry *e, const char *name, const char *text, char why[200]);   // adds or replaces one
void vj_value_default(const vj_entry *e);
void vj_value_text(const vj_entry *e, vj_str *out);                                              // as YAML

// yaml_doc.c: sets every value that the text gives. `where` is the file's name, or "command line".
vj_status vj_yaml_apply(vj_config *c, const char *text, size_t bytes, const char *where) VJ_MUST_CHECK;
// The value of `key` from one piece of YAML ("6e-4", "[8, 16]").
vj_status vj_yaml_apply_one(vj_config *c, const char *key, const char *value, const char *where) VJ_MUST_CHECK;
// The text behind the top-level key `base`, or "" (first, so that bases are applied before the file itself).
vj_status vj_yaml_base(const char *text, size_t bytes, const char *where, char out[300]) VJ_MUST_CHECK;

#endif
