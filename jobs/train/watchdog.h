// A thread that ends the run with exit code 86 when it does not get on: neither this rank nor any other, for as long as the phase
// may take without a sign of progress. It writes RUN/ranks/report.txt once, which names the rank that the others wait for.
//
// A rank that waits for another one that works (held-out figures of the lead, for example) is not stuck: it looks at the records of all.
#ifndef VJ_JOBS_TRAIN_WATCHDOG_H
#define VJ_JOBS_TRAIN_WATCHDOG_H

#include "jobs/train/flight.h"

typedef struct vj_watchdog vj_watchdog;
typedef struct vj_watchdog_limits { double start, step, save; } vj_watchdog_limits;   // seconds, 0: never

// Failing must not stop a training: what cannot be is said as a warning. *out may stay NULL, which all below take.
void vj_watchdog_open(vj_watchdog **out, const char *run, vj_comm *world, const vj_watchdog_limits *limits);
// This rank gets on. step -1: as it was; slot -1: none.
void vj_watchdog_at(vj_watchdog *w, vj_life phase, int64_t step, int slot);
// Another rank is gone or has failed, as this rank's error says: written to the report, unless there is one.
void vj_watchdog_report(vj_watchdog *w, const char *text);
void vj_watchdog_close(vj_watchdog **w, bool well);
// report.txt of a run; free() it. NULL: none.
char *vj_watchdog_read_report(const char *run);

#endif
