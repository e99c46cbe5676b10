// Growable string and small text helpers.

#include "runtime/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void out_of_memory(void)
{
    fprintf(stderr, "vjepa: error: no memory for a text\n");
    _exit(71);
}

static void reserve(vj_str *s, size_t more)
{
    const size_t need = s->length + more + 1;
    if (need <= s->capacity) return;
    size_t capacity = s->capacity ? s->capacity : 64;
    while (capacity < need) capacity *= 2;
    char *data = realloc(s->data, capacity);
    if (!data) out_of_memory();
    s->data = data;
    s->capacity = capacity;
}

void vj_str_add_n(vj_str *s, const char *text, size_t length)
{
    reserve(s, length);
    if (length) memcpy(s->data + s->length, text, length);
    s->length += length;
    s->data[s->length] = '\0';
}

void vj_str_add(vj_str *s, const char *text) { vj_str_add_n(s, text, strlen(text)); }

void vj_str_printf(vj_str *s, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    VJ_ASSERT(n >= 0);
    reserve(s, (size_t)n);
    vsnprintf(s->data + s->length, (size_t)n + 1, fmt, again);
    va_end(again);
    s->length += (size_t)n;
}

void vj_str_clear(vj_str *s)
{
    s->length = 0;
    if (s->data) s->data[0] = '\0';
}

void vj_str_free(vj_str *s)
{
    free(s->data);
    *s = (vj_str){ 0 };
}

const char *vj_str_text(const vj_str *s) { return s->data ? s->data : ""; }

char *vj_strdup(const char *text)
{
    char *copy = strdup(text);
    if (!copy) out_of_memory();
    return copy;
}

bool vj_str_starts(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

bool vj_str_ends(const char *text, const char *suffix)
{
    const size_t n = strlen(text), k = strlen(suffix);
    return k <= n && memcmp(text + n - k, suffix, k) == 0;
}

void vj_format(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(out, size, fmt, args);
    va_end(args);
    VJ_ASSERT(n >= 0 && (size_t)n < size);
}

bool vj_parse_i64(const char *text, int64_t *out)
{
    if (!(isdigit((unsigned char)text[0]) || ((text[0] == '-' || text[0] == '+') && isdigit((unsigned char)text[1])))) return false;
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (errno || *end) return false;
    *out = v;
    return true;
}

bool vj_parse_u64(const char *text, uint64_t *out)
{
    if (!isdigit((unsigned char)text[0])) return false;
    char *end;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (errno || *end) return false;
    *out = v;
    return true;
}

bool vj_parse_f64(const char *text, double *out)
{
    const char *p = text + (*text == '-' || *text == '+');
    if (!(isdigit((unsigned char)p[0]) || (p[0] == '.' && isdigit((unsigned char)p[1])))) return false;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) return false;
    char *end;
    const double v = strtod(text, &end);
    if (*end || !isfinite(v)) return false;
    *out = v;
    return true;
}

size_t vj_utf8_length(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) return 1;
    const size_t n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;   // the closing NUL ends the search too
    }
    if (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))) return 0;   // too long; surrogates
    if (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))) return 0;   // too long; too large
    return n;
}

// Edit distance with transpositions, bounded: words longer than 63 bytes are never near.
static int edit_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    const size_t n = strlen(a), m = strlen(b);
    if (n >= MAX || m >= MAX) return INT_MAX;
    int row[3][MAX + 1];
    int *before = row[0], *last = row[1], *now = row[2];
    for (size_t j = 0; j <= m; j++) last[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            now[j] = best;
        }
        int *turn = before;
        before = last;
        last = now;
        now = turn;
    }
    return last[m];
}

const char *vj_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    int distance = (int)strlen(word) / 3 + 1;
    for (; *names; names++) {
        const int d = edit_distance(word, *names);
        if (d < distance || (d == distance && !best)) {
            best = *names;
            distance = d;
        }
    }
    return best;
}

void vj_bytes_text(char out[24], double bytes)
{
    static const char *const unit[] = { "bytes", "KB", "MB", "GB", "TB", "PB" };
    int u = 0;
    while (bytes >= 999.5 && u < 5) {
        bytes /= 1000;
        u++;
    }
    snprintf(out, 24, u == 0 || bytes >= 99.5 ? "%.0f %s" : "%.1f %s", bytes, unit[u]);
}
