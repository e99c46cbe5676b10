// Time: monotonic for measuring, wall for people.
#ifndef VJ_RUNTIME_BASE_CLOCK_H
#define VJ_RUNTIME_BASE_CLOCK_H

#include "runtime/base/status.h"

double vj_now(void);             // seconds, monotonic
double vj_wall(void);            // seconds since 1970, UTC
double vj_thread_seconds(void);  // CPU time of the calling thread
void vj_wall_text(char out[32]);        // "2026-03-01T12:00:00Z"
void vj_wall_compact(char out[20]);     // "20260301-120000"
void vj_duration_text(char out[32], double seconds);   // "3 min 12 s", "41.2 s", "2 h 05 min"
int64_t vj_peak_rss_bytes(void);

#endif
