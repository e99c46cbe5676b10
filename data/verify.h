// Checking shards: every byte against its checksum.
#ifndef VJ_DATA_VERIFY_H
#define VJ_DATA_VERIFY_H

#include "data/catalog.h"
#include "runtime/base/str.h"

typedef struct vj_verify_report {
    int64_t shards, damaged, unreadable, rows, bytes;
} vj_verify_report;

// Of linked shards the original files too. One line per damaged shard (its first damage) goes to `lines`. VJ_ERR_MISMATCH: something is damaged; VJ_ERR_IO:
// something cannot be read; the message sums up.
vj_status vj_verify(const char *dir, int threads, vj_verify_report *report, vj_str *lines) VJ_MUST_CHECK;

#endif
