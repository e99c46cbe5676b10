// JSON: jansson behind a narrow door for reading, a small streaming writer for what we print.
#ifndef VJ_RUNTIME_BASE_JSON_H
#define VJ_RUNTIME_BASE_JSON_H

#include "runtime/base/str.h"

// --- reading: a parsed document owns all its values ---
typedef struct vj_json vj_json;         // a value inside a document
typedef struct vj_json_doc vj_json_doc;

// `origin` (a path) appears in messages with line and column. Duplicate keys are refused.
vj_status vj_json_parse(vj_json_doc **out, const char *text, size_t bytes, const char *origin) VJ_MUST_CHECK;
vj_status vj_json_read(vj_json_doc **out, const char *path) VJ_MUST_CHECK;
void vj_json_destroy(vj_json_doc **doc);
const vj_json *vj_json_root(const vj_json_doc *doc);

bool vj_json_is_object(const vj_json *v);
bool vj_json_is_array(const vj_json *v);
const vj_json *vj_json_get(const vj_json *object, const char *key);   // NULL when absent or not an object
int64_t vj_json_count(const vj_json *v);                              // items of an array or object, else 0
const vj_json *vj_json_at(const vj_json *array, int64_t index);
// Object members in file order.
const vj_json *vj_json_member(const vj_json *object, int64_t index, const char **key);
// Typed access; a missing or mistyped member fails with a message that names `key`.
vj_status vj_json_i64(const vj_json *object, const char *key, int64_t *out) VJ_MUST_CHECK;
vj_status vj_json_u64_hex(const vj_json *object, const char *key, uint64_t *out) VJ_MUST_CHECK;   // "00ff..." text
vj_status vj_json_f64(const vj_json *object, const char *key, double *out) VJ_MUST_CHECK;          // accepts integers
vj_status vj_json_bool(const vj_json *object, const char *key, bool *out) VJ_MUST_CHECK;
vj_status vj_json_text(const vj_json *object, const char *key, const char **out) VJ_MUST_CHECK;    // owned by the doc
const char *vj_json_as_text(const vj_json *v);                        // NULL when not a string
bool vj_json_as_i64(const vj_json *v, int64_t *out);
bool vj_json_as_f64(const vj_json *v, double *out);
bool vj_json_as_bool(const vj_json *v, bool *out);

// --- writing: commas and nesting are kept for you; pass key = NULL inside arrays ---
typedef struct vj_json_writer {
    vj_str out;
    int depth;
    bool first[32];
    bool pretty;     // two-space indentation, for files people open
} vj_json_writer;

void vj_json_begin_object(vj_json_writer *w, const char *key);
void vj_json_end_object(vj_json_writer *w);
void vj_json_begin_array(vj_json_writer *w, const char *key);
void vj_json_end_array(vj_json_writer *w);
void vj_json_put_text(vj_json_writer *w, const char *key, const char *value);
void vj_json_put_i64(vj_json_writer *w, const char *key, int64_t value);
void vj_json_put_hex(vj_json_writer *w, const char *key, uint64_t value);     // 16 hex digits as text
void vj_json_put_f64(vj_json_writer *w, const char *key, double value);       // shortest exact; NaN and inf as null
void vj_json_put_bool(vj_json_writer *w, const char *key, bool value);
void vj_json_put_null(vj_json_writer *w, const char *key);
// A value that was read, with all that is inside it: files that are rewritten keep members they do not know.
void vj_json_put_copy(vj_json_writer *w, const char *key, const vj_json *value);
void vj_json_writer_free(vj_json_writer *w);

#endif
