// Progress of long work: a bar with rate and time left on a terminal, else one plain line every 30 s; nothing for work
// under 2 s. One at a time; calls from one thread.
#ifndef VJ_RUNTIME_LOG_PROGRESS_H
#define VJ_RUNTIME_LOG_PROGRESS_H

#include "runtime/base/status.h"

void vj_progress_start(const char *title, int64_t total, const char *unit);   // unit: "steps", "files", "MB"
// `note` is shown behind the bar ("loss 0.512"), NULL for none.
void vj_progress_update(int64_t done, const char *note);
void vj_progress_stop(void);
bool vj_progress_is_terminal(void);

#endif
