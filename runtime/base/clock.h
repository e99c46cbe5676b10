// Time: monotonic for measuring, wall for people; and memory of this process.
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
// Memory that a process can have more without pushing others out, within the limits of its cgroups; 0: not known.
int64_t vj_memory_available(void);

#endif
