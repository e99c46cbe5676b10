// What is left when a bug ends the program: a report with the reason, the command, a backtrace and the last message.
#ifndef VJ_RUNTIME_BASE_CRASH_H
#define VJ_RUNTIME_BASE_CRASH_H

#include "runtime/base/status.h"

// Once, at the start: keeps the command line and loads what a backtrace needs (a handler must not load libraries).
void vj_crash_prepare(int argc, char **argv, const char *version);
// Where reports go from now on: a run's directory; NULL: the current one again.
void vj_crash_dir(const char *dir);
// Writes DIR/crash-PID.txt and names it on stderr, once vj_crash_prepare was called (so tests of libraries leave nothing);
// safe in a signal handler. Does not end the program. Only the first call writes: a crash while reporting must not report
// itself.
void vj_crash_report(const char *reason);

#endif
