#include "runtime/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/str.h"

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

// The number in a file behind a line's first word ("" for a line that is a number); 0 when there is none ("max").
static int64_t number_in(const char *path, const char *word)
{
    FILE *f = fopen(path, "re");
    char line[256];
    int64_t found = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (vj_str_starts(line, word)) found = strtoll(line + strlen(word), NULL, 10);
    }
    if (f) fclose(f);
    return found;
}

int64_t vj_memory_available(void)
{
    int64_t bytes = number_in("/proc/meminfo", "MemAvailable:") * 1024;
    char group[512] = "", path[640], text[600];
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(text, sizeof text, f)) sscanf(text, "0::%511s", group);
    if (f) fclose(f);
    for (;;) {
        vj_format(path, sizeof path, "/sys/fs/cgroup%s/memory.max", strcmp(group, "/") == 0 ? "" : group);
        int64_t limit = number_in(path, "");
        if (limit > 0) {   // what all of the group hold already is gone from it; files in memory can be given back
            vj_format(path, sizeof path, "/sys/fs/cgroup%s/memory.stat", strcmp(group, "/") == 0 ? "" : group);
            limit -= number_in(path, "anon ");
            if (limit < 1) limit = 1;
        }
        if (limit > 0 && (bytes == 0 || limit < bytes)) bytes = limit;
        char *slash = strrchr(group, '/');
        if (!slash) break;
        *slash = '\0';
    }
    const int64_t old_limit = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", "");
    return old_limit > 0 && (bytes == 0 || old_limit < bytes) ? old_limit : bytes;
}
