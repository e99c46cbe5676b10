#include "runtime/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double vj_now(void) { return seconds_of(CLOCK_MONOTONIC); }
double vj_wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double vj_thread_seconds(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

static struct tm utc(void)
{
    const time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    return tm;
}

void vj_wall_text(char out[32])
{
    const struct tm tm = utc();
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void vj_wall_compact(char out[20])
{
    const struct tm tm = utc();
    strftime(out, 20, "%Y%m%d-%H%M%S", &tm);
}

void vj_duration_text(char out[32], double seconds)
{
    if (seconds < 60) {
        snprintf(out, 32, "%.1f s", seconds);
        return;
    }
    const long long s = (long long)(seconds + 0.5);
    if (s < 3600) snprintf(out, 32, "%lld min %02lld s", s / 60, s % 60);
    else snprintf(out, 32, "%lld h %02lld min", s / 3600, s / 60 % 60);
}

int64_t vj_peak_rss_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}
