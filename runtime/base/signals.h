// Stop requests. USR2, TERM and INT ask the program to stop at its next safe point (exit 75); a second INT leaves at
// once with 130.
#ifndef VJ_RUNTIME_BASE_SIGNALS_H
#define VJ_RUNTIME_BASE_SIGNALS_H

#include "runtime/base/status.h"

vj_status vj_signals_install(void) VJ_MUST_CHECK;   // also SEGV, BUS, FPE, ABRT: one line, a report (crash.h), exit code 70
bool vj_stop_requested(void);
const char *vj_stop_reason(void);                   // "SIGTERM", ... or ""
void vj_stop_request(const char *reason);           // tests, stop file

#endif
