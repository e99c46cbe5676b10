// data/quarantine.c
//
// A list in order of finding (so that growth can be recognised) and an open-addressing table over it (so that asking is
// quick: every sample asks once).

#include "data/quarantine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/hash.h"
#include "runtime/base/json.h"

struct vj_quarantine {
    const vj_catalog *catalog;
    pthread_mutex_t mutex;
    vj_quarantined *list;
    int64_t n, capacity;
    int64_t *table;          // (slots) index into list + 1, 0 empty
    int64_t slots;           // a power of two, more than twice n
    int64_t per_source[VJ_MAX_SOURCES];
    int64_t met, met_per_source[VJ_MAX_SOURCES];
};

static uint64_t entry_hash(int source, int64_t row)
{
    const uint64_t text[2] = { (uint64_t)source, (uint64_t)row };
    return vj_xxh64(text, sizeof text);
}

vj_status vj_quarantine_create(vj_quarantine **out, const vj_catalog *catalog)
{
    *out = NULL;
    vj_quarantine *q = calloc(1, sizeof *q);
    VJ_CHECK(q != NULL, VJ_ERR_NOMEM, "no memory for the quarantine list");
    pthread_mutex_init(&q->mutex, NULL);
    q->catalog = catalog;
    *out = q;
    return VJ_OK;
}

void vj_quarantine_destroy(vj_quarantine **pointer)
{
    vj_quarantine *q = *pointer;
    if (q == NULL) return;
    pthread_mutex_destroy(&q->mutex);
    free(q->list);
    free(q->table);
    free(q);
    *pointer = NULL;
}

// The table slot of (source, row), or the empty one where it belongs; under the mutex.
static int64_t find(const vj_quarantine *q, int source, int64_t row)
{
    int64_t at = (int64_t)(entry_hash(source, row) & (uint64_t)(q->slots - 1));
    while (q->table[at] != 0) {
        const vj_quarantined *e = &q->list[q->table[at] - 1];
        if (e->source == source && e->row == row) break;
        at = (at + 1) & (q->slots - 1);
    }
    return at;
}

static bool has(const vj_quarantine *q, int source, int64_t row)
{
    return q->n > 0 && q->table[find(q, source, row)] != 0;
}

bool vj_quarantine_has(vj_quarantine *q, int source, int64_t row)
{
    pthread_mutex_lock(&q->mutex);
    const bool yes = has(q, source, row);
    pthread_mutex_unlock(&q->mutex);
    return yes;
}

static void grow(vj_quarantine *q)
{
    if (q->n < q->capacity) return;
    q->capacity = q->capacity ? 2 * q->capacity : 64;
    q->slots = 4 * q->capacity;
    q->list = realloc(q->list, (size_t)q->capacity * sizeof *q->list);
    free(q->table);
    q->table = calloc((size_t)q->slots, sizeof *q->table);
    VJ_ASSERT(q->list != NULL && q->table != NULL);
    for (int64_t i = 0; i < q->n; i++) q->table[find(q, q->list[i].source, q->list[i].row)] = i + 1;
}

bool vj_quarantine_add(vj_quarantine *q, const vj_quarantined *entry, int64_t *count)
{
    VJ_ASSERT(entry->source >= 0 && entry->source < q->catalog->n_sources);
    pthread_mutex_lock(&q->mutex);
    const bool fresh = !has(q, entry->source, entry->row);
    if (fresh) {
        grow(q);
        const int64_t at = find(q, entry->source, entry->row);
        q->list[q->n] = *entry;
        q->list[q->n++].met = 0;
        q->table[at] = q->n;
        q->per_source[entry->source]++;
    }
    if (count) *count = q->per_source[entry->source];
    pthread_mutex_unlock(&q->mutex);
    return fresh;
}

int64_t vj_quarantine_count(vj_quarantine *q, int source)
{
    pthread_mutex_lock(&q->mutex);
    const int64_t n = source < 0 ? q->n : q->per_source[source];
    pthread_mutex_unlock(&q->mutex);
    return n;
}

int64_t vj_quarantine_meet(vj_quarantine *q, int source, int64_t row, uint64_t g)
{
    pthread_mutex_lock(&q->mutex);
    VJ_ASSERT(has(q, source, row));
    vj_quarantined *e = &q->list[q->table[find(q, source, row)] - 1];
    if (e->met == 0) {
        e->met = ++q->met;
        e->g = g;
        q->met_per_source[source]++;
    }
    const int64_t count = q->met_per_source[source];
    pthread_mutex_unlock(&q->mutex);
    return count;
}

int64_t vj_quarantine_met(vj_quarantine *q, int source)
{
    pthread_mutex_lock(&q->mutex);
    const int64_t n = source < 0 ? q->met : q->met_per_source[source];
    pthread_mutex_unlock(&q->mutex);
    return n;
}

// The row of a source that was met first after the `after`-th; under the mutex.
static const vj_quarantined *met_after(const vj_quarantine *q, int source, int64_t after)
{
    const vj_quarantined *best = NULL;
    for (int64_t i = 0; i < q->n; i++) {
        const vj_quarantined *e = &q->list[i];
        if (e->source == source && e->met > after && (best == NULL || e->met < best->met)) best = e;
    }
    return best;
}

void vj_quarantine_describe(vj_quarantine *q, int source, int most, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    pthread_mutex_lock(&q->mutex);
    const vj_quarantined *e = met_after(q, source, 0);
    for (; e != NULL && most > 0 && used + 1 < size; e = met_after(q, source, e->met)) {
        const int wrote = snprintf(out + used, size - used, "\n  %s (key %016llx): %s", e->where,
                                   (unsigned long long)e->key, e->reason);
        if (wrote > 0) used += (size_t)wrote;
        most--;
    }
    pthread_mutex_unlock(&q->mutex);
}

// ---- digests ------------------------------------------------------------------------------------------------------

// A sum over rows: any order of finding gives the same, and the sums on the way tell every set this list has been.
uint64_t vj_quarantine_digest(vj_quarantine *q)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&q->mutex);
    for (int64_t i = 0; i < q->n; i++) sum += entry_hash(q->list[i].source, q->list[i].row);
    pthread_mutex_unlock(&q->mutex);
    return sum;
}

bool vj_quarantine_contains_digest(vj_quarantine *q, uint64_t digest)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&q->mutex);
    bool found = digest == 0;
    for (int64_t i = 0; i < q->n && !found; i++) {
        sum += entry_hash(q->list[i].source, q->list[i].row);
        found = sum == digest;
    }
    pthread_mutex_unlock(&q->mutex);
    return found;
}

// ---- JSON ---------------------------------------------------------------------------------------------------------

vj_status vj_quarantine_to_json(vj_quarantine *q, char **json)
{
    vj_json_writer w = { 0 };
    vj_json_begin_object(&w, NULL);
    vj_json_put_i64(&w, "version", 1);
    vj_json_begin_array(&w, "samples");
    pthread_mutex_lock(&q->mutex);
    for (int64_t i = 0; i < q->n; i++) {
        const vj_quarantined *e = &q->list[i];
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "source", q->catalog->sources[e->source].name);
        vj_json_put_i64(&w, "row", e->row);
        vj_json_put_hex(&w, "key", e->key);
        vj_json_put_hex(&w, "g", e->g);
        vj_json_put_text(&w, "where", e->where);
        vj_json_put_text(&w, "reason", e->reason);
        vj_json_put_bool(&w, "met", e->met > 0);
        vj_json_end_object(&w);
    }
    pthread_mutex_unlock(&q->mutex);
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    *json = vj_strdup(vj_str_text(&w.out));
    vj_json_writer_free(&w);
    return VJ_OK;
}

static vj_status add_json_entry(vj_quarantine *q, const vj_json *v)
{
    vj_quarantined e = { .source = -1 };
    const char *source, *where, *reason;
    VJ_TRY(vj_json_text(v, "source", &source));
    VJ_TRY(vj_json_i64(v, "row", &e.row));
    VJ_TRY(vj_json_u64_hex(v, "key", &e.key));
    VJ_TRY(vj_json_u64_hex(v, "g", &e.g));
    VJ_TRY(vj_json_text(v, "where", &where));
    VJ_TRY(vj_json_text(v, "reason", &reason));
    for (int s = 0; s < q->catalog->n_sources; s++) {
        if (strcmp(q->catalog->sources[s].name, source) == 0) e.source = s;
    }
    VJ_CHECK(e.source >= 0, VJ_ERR_CONFIG, "%s has no source '%s'", q->catalog->dir, source);
    const int64_t rows = q->catalog->sources[e.source].train.rows;
    VJ_CHECK(e.row >= 0 && e.row < rows, VJ_ERR_CONFIG, "source %s has %lld rows, not row %lld", source,
             (long long)rows,
             (long long)e.row);
    snprintf(e.where, sizeof e.where, "%s", where);
    snprintf(e.reason, sizeof e.reason, "%s", reason);
    vj_quarantine_add(q, &e, NULL);
    // What threads only found ahead counts when a delivered sample meets it. Older lists do not say so.
    bool met = true;
    if (vj_json_get(v, "met")) VJ_TRY(vj_json_bool(v, "met", &met));
    if (met) vj_quarantine_meet(q, e.source, e.row, e.g);
    return VJ_OK;
}

vj_status vj_quarantine_add_json(vj_quarantine *q, const char *json)
{
    vj_json_doc *doc = NULL;
    VJ_TRY(vj_json_parse(&doc, json, strlen(json), "quarantine list"));
    vj_status status = VJ_OK;
    int64_t version = 0;
    const vj_json *root = vj_json_root(doc), *samples = vj_json_get(root, "samples");
    VJ_TRY_GOTO(vj_json_i64(root, "version", &version), done);
    if (version != 1 || !vj_json_is_array(samples)) {
        status = vj_fail(VJ_ERR_CONFIG,
                         "quarantine list: version %lld or no 'samples': expected version 1 with an array",
                         (long long)version);
        goto done;
    }
    for (int64_t i = 0; i < vj_json_count(samples) && status == VJ_OK; i++) {
        status = add_json_entry(q, vj_json_at(samples, i));
        if (status != VJ_OK) vj_context("reading entry %lld of the quarantine list", (long long)i);
    }
done:
    vj_json_destroy(&doc);
    return status;
}
