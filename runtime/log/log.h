// Messages for people: "12:03:41 data WARN ...", one write(2) per line, to stderr. VJ_LOG=debug|info|warn|error.
#ifndef VJ_RUNTIME_LOG_LOG_H
#define VJ_RUNTIME_LOG_LOG_H

#include "runtime/base/status.h"

typedef enum vj_log_level { VJ_DEBUG, VJ_INFO, VJ_WARN, VJ_ERROR } vj_log_level;

void vj_log(vj_log_level level, const char *subsystem, const char *fmt, ...) VJ_PRINTF(3, 4);
void vj_log_level_set(vj_log_level level);
// Also append every line (dated, no colour) to this file from now on; NULL stops.
vj_status vj_log_file(const char *path) VJ_MUST_CHECK;
int64_t vj_log_warnings(void);   // WARN and ERROR lines so far

#endif
