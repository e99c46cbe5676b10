// Configuration: tables of fields, YAML with positions, `key=value` overrides, an origin for every value.
//
// A room owns a typed struct and a table that describes it; configs/run_config.c composes the tables. Sources, later
// wins: defaults < `base:` files (relative to the file that names them) < the file < key=value on the command line.
// All problems are reported (up to 20) before failing, each with file:line:column, value, what was expected, and the
// nearest key for an unknown one. Duplicate keys, tabs and unknown keys are errors.
#ifndef VJ_RUNTIME_CONFIG_CONFIG_H
#define VJ_RUNTIME_CONFIG_CONFIG_H

#include "runtime/base/json.h"

typedef enum vj_field_kind {
    VJ_FIELD_INT,        // int64_t
    VJ_FIELD_FLOAT,      // double
    VJ_FIELD_BOOL,       // bool
    VJ_FIELD_TEXT,       // char[i.high], or char[VJ_TEXT_MAX] when i.high is 0
    VJ_FIELD_ENUM,       // int: index into names
    VJ_FIELD_INT_LIST,   // vj_int_list
    VJ_FIELD_FLOAT_LIST, // vj_float_list
    VJ_FIELD_WEIGHTS,    // vj_weight_list: mapping name -> number
    VJ_FIELD_END
} vj_field_kind;

enum { VJ_LIST_MAX = 16, VJ_TEXT_MAX = 256 };
typedef struct vj_int_list { int64_t n, v[VJ_LIST_MAX]; } vj_int_list;
typedef struct vj_float_list { int64_t n; double v[VJ_LIST_MAX]; } vj_float_list;
typedef struct vj_weight_list { int64_t n; char name[VJ_LIST_MAX][64]; double v[VJ_LIST_MAX]; } vj_weight_list;

enum {
    VJ_FIELD_MAY_CHANGE = 1,   // may differ when a run is resumed
    VJ_FIELD_AUTO = 2,         // the word `auto` is accepted for an INT and stored as -1
    VJ_FIELD_REQUIRED = 4      // must be given
};

typedef struct vj_field {
    const char *key;           // full dotted key: "optim.lr"
    vj_field_kind kind;
    size_t offset;             // inside the struct the table describes
    const char *help;
    struct { int64_t def, low, high; } i;
    struct { double def, low, high; } f;
    bool b;                    // BOOL default
    const char *text;          // TEXT, list and WEIGHTS default, written as in YAML ("", "[0.75, 1.5]")
    const char *const *names;  // ENUM: NULL-terminated; default is i.def
    int flags;
} vj_field;

// Part of the root struct that one table describes.
typedef struct vj_config_part {
    const vj_field *fields;    // ends with kind VJ_FIELD_END
    size_t offset;             // of the part inside the root struct
} vj_config_part;

typedef struct vj_config vj_config;   // values' origins and texts, beside the caller's root struct

// Fills `root` with defaults, then reads `path` (NULL: none) and the overrides, and checks types and ranges.
// VJ_ERR_CONFIG carries all problems, one per line, and how many.
vj_status vj_config_load(vj_config **out, void *root, const vj_config_part *parts, int n_parts, const char *path,
                         const char *const *overrides, int n_overrides) VJ_MUST_CHECK;
void vj_config_destroy(vj_config **config);
// Where a file is looked for when no such file exists: `find` returns the text behind a name ("pretrain/vitl16"), or NULL.
void vj_config_builtin(const char *(*find)(const char *name));
// A folder whose NAME.yaml wins over the built-in text of that name; kept as it is given. NULL: none.
void vj_config_folder(const char *dir);

// For cross-field rules: adds a problem at the origin of `key`. vj_config_problems then fails with all of them.
void vj_config_problem(vj_config *config, const char *key, const char *fmt, ...) VJ_PRINTF(3, 4);
vj_status vj_config_problems(vj_config *config) VJ_MUST_CHECK;

bool vj_config_given(const vj_config *config, const char *key);        // not just the default
const char *vj_config_origin(const vj_config *config, const char *key);// "configs/x.yaml:31", "command line", "default"
// Sets a value from code (a resolved `auto`, a value taken from a parent checkpoint), with its origin.
vj_status vj_config_set(vj_config *config, const char *key, const char *value, const char *origin) VJ_MUST_CHECK;

// The resolved configuration as YAML text that loads to the same values; with origins as comments when asked.
void vj_config_resolved(const vj_config *config, bool with_origins, vj_str *out);
// The same as members of the object that `w` stands in: "optim.lr": {"value": 0.001, "origin": "command line"}, in table order.
void vj_config_put_json(const vj_config *config, vj_json_writer *w);
// Keys (not marked MAY_CHANGE) whose values differ from an earlier resolved file: appended to `out`, one line each with
// both values; returns how many.
vj_status vj_config_differences(const vj_config *config, const char *resolved_path, vj_str *out, int *count) VJ_MUST_CHECK;

#endif
