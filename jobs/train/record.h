// A line of metrics.jsonl as a list of numbers: what sinks and onlookers work with, so that a new member needs no new code.
#ifndef VJ_JOBS_TRAIN_RECORD_H
#define VJ_JOBS_TRAIN_RECORD_H

#include "runtime/base/status.h"

// One number of a line: members of objects are joined by '/', items of arrays have an index.
typedef struct vj_record_value {
    char name[96];       // "loss", "held_out/ratio", "grad_norm_units/encoder"
    int64_t index;       // in an array; -1: none
    char text[64];       // of an array of texts ("warnings"): the text, value being 1; else ""
    double value;        // truth is 1 and 0; null is NAN
} vj_record_value;

typedef struct vj_record {
    int64_t step;
    double wall;         // seconds since 1970
    int n, capacity;
    vj_record_value *v;  // in the order of the line, without "step"
} vj_record;

// Reads a line (of any bytes) into `r`, whose memory is used again; r->wall becomes `wall`. VJ_ERR_CONFIG: no object with a
// whole number "step". Of objects deeper than 8, names longer than 95 bytes and values behind the 8192nd nothing is kept.
vj_status vj_record_read(vj_record *r, const char *line, size_t bytes, double wall) VJ_MUST_CHECK;
// The (first) number of that name, or NAN.
double vj_record_get(const vj_record *r, const char *name);
// Copies values into `kept` (memory of its own) so that it has every object's members as the newest line with that object
// had them. VJ_ERR_NOMEM.
vj_status vj_record_keep(vj_record *kept, const vj_record *line) VJ_MUST_CHECK;
void vj_record_free(vj_record *r);

#endif
