// Growable string and small text helpers.
#ifndef VJ_RUNTIME_BASE_STR_H
#define VJ_RUNTIME_BASE_STR_H

#include "runtime/base/status.h"

typedef struct vj_str {
    char *data;        // always NUL-terminated once something was added; "" is never stored, use vj_str_text
    size_t length;     // bytes without the NUL
    size_t capacity;
} vj_str;

// Appending aborts (exit 71) when memory runs out: strings are small, and no caller can do better.
void vj_str_add(vj_str *s, const char *text);
void vj_str_add_n(vj_str *s, const char *text, size_t length);
void vj_str_printf(vj_str *s, const char *fmt, ...) VJ_PRINTF(2, 3);
void vj_str_clear(vj_str *s);          // keeps the memory
void vj_str_free(vj_str *s);
const char *vj_str_text(const vj_str *s);   // never NULL

char *vj_strdup(const char *text);     // free() it
bool vj_str_starts(const char *text, const char *prefix);
bool vj_str_ends(const char *text, const char *suffix);
// Bytes of the UTF-8 character that `text` starts with (1 for the closing NUL), 0 when there is none.
size_t vj_utf8_length(const char *text);
// Writes into a fixed buffer; a text that does not fit is a bug of ours (aborts).
void vj_format(char *out, size_t size, const char *fmt, ...) VJ_PRINTF(3, 4);
// Whole-text conversions: no leading blanks, nothing after the number; false leaves *out alone.
bool vj_parse_i64(const char *text, int64_t *out);
bool vj_parse_u64(const char *text, uint64_t *out);
bool vj_parse_f64(const char *text, double *out);   // finite only
// The candidate nearest to `word` by edit distance, or NULL when none is near. `names` ends with NULL.
const char *vj_nearest(const char *word, const char *const *names);
// "1.2 GB", "340 MB", "12 KB" (powers of 1000).
void vj_bytes_text(char out[24], double bytes);

#endif
