// Rows that could not be read or decoded. Adding one never changes samples that did not need it: a row in quarantine is
// replaced exactly as a row that turns out bad while it is read (spec/data.md 4.7).
#ifndef VJ_DATA_QUARANTINE_H
#define VJ_DATA_QUARANTINE_H

#include "data/catalog.h"

typedef struct vj_quarantined {
    int source;
    int64_t row;
    uint64_t key;            // of the sample; 0 when its shard could not be opened
    uint64_t g;              // the sample that met it first
    int64_t met;             // 1, 2, ... in the order of delivered samples; 0: found ahead of them
    char where[256];         // shard and row for people
    char reason[256];
} vj_quarantined;

typedef struct vj_quarantine vj_quarantine;   // safe for threads

vj_status vj_quarantine_create(vj_quarantine **out, const vj_catalog *catalog) VJ_MUST_CHECK;
void vj_quarantine_destroy(vj_quarantine **q);

bool vj_quarantine_has(vj_quarantine *q, int source, int64_t row);
// False when it was there already. *count: rows of this source in quarantine now.
bool vj_quarantine_add(vj_quarantine *q, const vj_quarantined *entry, int64_t *count);
int64_t vj_quarantine_count(vj_quarantine *q, int source);   // source -1: all
// A sample that is about to be delivered met this row, which is in the list. Returns how many rows of the source delivered
// samples have met: unlike the count above it does not depend on how far ahead the threads are.
int64_t vj_quarantine_meet(vj_quarantine *q, int source, int64_t row, uint64_t g);
int64_t vj_quarantine_met(vj_quarantine *q, int source);   // that many; source -1: of all
// Appends "  WHERE (key ...): REASON" for the first `most` rows of a source that delivered samples met.
void vj_quarantine_describe(vj_quarantine *q, int source, int most, char *out, size_t size);

// Independent of the order in which rows were found; 0 when empty.
uint64_t vj_quarantine_digest(vj_quarantine *q);
// Whether the set held exactly what `digest` says at some moment of its growth: then it is that set or a superset.
bool vj_quarantine_contains_digest(vj_quarantine *q, uint64_t digest);

// JSON in order of finding, with what was met; free() it. Adding from JSON merges; VJ_ERR_CONFIG names what does not fit the catalogue.
vj_status vj_quarantine_to_json(vj_quarantine *q, char **json) VJ_MUST_CHECK;
vj_status vj_quarantine_add_json(vj_quarantine *q, const char *json) VJ_MUST_CHECK;

#endif
