// A bar on a terminal, a line every 30 s elsewhere, nothing for the first two seconds.

#include "runtime/log/progress.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/log/log.h"

enum { BAR = 24 };
static atomic_bool drawn;   // a bar stands on the terminal: threads that log ask for it
static struct { bool running, terminal; char title[64], unit[16]; int64_t total, first; bool counted; double started, last; } now;

bool vj_progress_is_terminal(void) { return atomic_load(&drawn); }

void vj_progress_start(const char *title, int64_t total, const char *unit)
{
    vj_progress_stop();   // one at a time
    memset(&now, 0, sizeof now);
    now.running = true;
    now.terminal = isatty(2) == 1;
    snprintf(now.title, sizeof now.title, "%s", title);
    snprintf(now.unit, sizeof now.unit, "%s", unit);
    now.total = total;
    now.started = now.last = vj_now();
}

void vj_progress_update(int64_t done, const char *note)
{
    if (!now.running) return;
    if (!now.counted) {   // a resumed run does not start at zero: rate and time left count from here
        now.first = done - 1 > 0 ? done - 1 : 0;
        now.counted = true;
    }
    const double t = vj_now(), elapsed = t - now.started;
    const double pause = now.terminal ? 0.2 : 30;
    if (elapsed < 2 || t - now.last < pause) return;
    now.last = t;
    const double rate = (double)(done - now.first) / elapsed;
    char left[32] = "?", line[256];
    if (rate > 0) vj_duration_text(left, (double)(now.total - done) / rate);
    if (!now.terminal) {
        vj_log(VJ_INFO, now.title, "%lld of %lld %s, %.3g a second, %s left%s%s", (long long)done, (long long)now.total, now.unit, rate, left,
               note ? ", " : "", note ? note : "");
        return;
    }
    char bar[BAR + 1];
    const int full = now.total > 0 ? (int)((double)done * BAR / (double)now.total) : 0;
    for (int i = 0; i < BAR; i++) bar[i] = i < full ? '#' : '.';
    bar[BAR] = '\0';
    const int n = snprintf(line, sizeof line, "\r\033[K%s [%s] %lld/%lld %s  %.3g/s  %s left  %s", now.title, bar, (long long)done,
                           (long long)now.total, now.unit, rate, left, note ? note : "");
    atomic_store(&drawn, true);
    if (n > 0 && write(2, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0) {
        now.running = false;
        atomic_store(&drawn, false);
    }
}

void vj_progress_stop(void)
{
    now.running = false;
    if (atomic_exchange(&drawn, false) && write(2, "\r\033[K", 4) < 0) return;   // the terminal is gone: so is the bar
}
