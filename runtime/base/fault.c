// The fault shim (see the header). Parsed once; counting is atomic since several threads may write.

#include "runtime/base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/str.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool active;
static char wanted[64];
static int64_t wanted_count;
static bool kills, breaks, halves;
static atomic_int_fast64_t reached;
static int trace = -1;
static char slow_point[64];
static double slow_seconds;

// The fault of reads.
typedef enum how { NOT_READS, FAILS, INTERRUPTED, ONE_BYTE, SLOW, STALLS } how;
static how read_how;
static int read_errno;
static double read_seconds;   // of a stall; negative: for ever
static char read_part[256];
static bool read_on;          // N+: all after it too
static atomic_int_fast64_t reads;

// The slow disk.
static double disk_rate;      // bytes/s; 0: as it is
static double disk_free_at;   // when the writes so far are done
static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;

enum { SLOW_PIECE = 1 << 16 };   // bytes of one slow read

static void malformed(const char *text)
{
    fprintf(stderr, "vjepa: error: VJ_FAULT=%s: expected kill@POINT:N, fail@POINT:N, bug@POINT:N, short@pwrite:N, slowSECONDS@POINT:N or "
            "HOW@read[PART]:N with N from 1 (HOW: eio, estale, eagain, etimedout, eintr, short, slow, stall, stallSECONDS)\n", text);
    _exit(2);
}

static bool parse_how(const char *word)
{
    static const struct { const char *name; how how; int error; } known[] = {
        { "eio", FAILS, EIO }, { "estale", FAILS, ESTALE }, { "eagain", FAILS, EAGAIN }, { "etimedout", FAILS, ETIMEDOUT },
        { "eintr", INTERRUPTED, EINTR }, { "short", ONE_BYTE, 0 }, { "slow", SLOW, 0 }, { "stall", STALLS, 0 },
    };
    read_seconds = -1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(word, known[i].name) != 0) continue;
        read_how = known[i].how;
        read_errno = known[i].error;
        return true;
    }
    if (!vj_str_starts(word, "stall") || !vj_parse_f64(word + 5, &read_seconds) || !(read_seconds >= 0 && read_seconds < 1e6)) return false;
    read_how = STALLS;
    return true;
}

// "HOW@read:N", "HOW@read[PART]:N", "HOW@read:N+"; false: it is no fault of reads.
static bool parse_reads(const char *text)
{
    char word[32], count[32];
    const char *at = strchr(text, '@'), *colon = strrchr(text, ':');
    if (!at || !colon || colon < at || !vj_str_starts(at, "@read") || (at[5] != ':' && at[5] != '[')) return false;
    if ((size_t)(at - text) >= sizeof word || strlen(colon + 1) >= sizeof count) return false;
    memcpy(word, text, (size_t)(at - text));
    word[at - text] = '\0';
    const size_t part = (size_t)(colon - at) - 5;   // "[PART]" or nothing
    if (part > 0) {
        if (part < 3 || colon[-1] != ']' || part - 2 >= sizeof read_part) return false;
        memcpy(read_part, at + 6, part - 2);
    }
    read_part[part > 0 ? part - 2 : 0] = '\0';
    memcpy(count, colon + 1, strlen(colon + 1) + 1);
    const size_t n = strlen(count);
    read_on = n > 1 && count[n - 1] == '+';
    if (read_on) count[n - 1] = '\0';
    return vj_parse_i64(count, &wanted_count) && wanted_count >= 1 && parse_how(word);
}

// "slowSECONDS@POINT:N"; false: it is none.
static bool parse_slow(const char *fault)
{
    char seconds[32];
    const char *at = strchr(fault, '@'), *colon = strrchr(fault, ':');
    if (!vj_str_starts(fault, "slow") || !at || !colon || colon - at < 2 || (size_t)(colon - at) > sizeof slow_point) return false;
    const size_t digits = (size_t)(at - fault) - 4, name = (size_t)(colon - at) - 1;
    if (digits >= sizeof seconds) return false;
    memcpy(seconds, fault + 4, digits);
    seconds[digits] = '\0';
    if (!vj_parse_f64(seconds, &slow_seconds) || !(slow_seconds > 0 && slow_seconds < 1e6)) return false;
    memcpy(slow_point, at + 1, name);
    slow_point[name] = '\0';
    return vj_parse_i64(colon + 1, &wanted_count) && wanted_count >= 1;
}

static void parse_fault(const char *fault)
{
    if (parse_reads(fault) || parse_slow(fault)) return;
    read_how = NOT_READS;
    slow_point[0] = '\0';
    kills = vj_str_starts(fault, "kill@");
    breaks = vj_str_starts(fault, "bug@");
    halves = vj_str_starts(fault, "short@pwrite:");
    const char *point = fault + (breaks ? 4 : halves ? 6 : 5), *colon = strrchr(fault, ':');
    if ((!kills && !breaks && !halves && !vj_str_starts(fault, "fail@")) || !colon || colon - point < 1 || (size_t)(colon - point) >= sizeof wanted ||
        !vj_parse_i64(colon + 1, &wanted_count) || wanted_count < 1) {
        malformed(fault);
    }
    memcpy(wanted, point, (size_t)(colon - point));
    wanted[colon - point] = '\0';
    active = true;
}

static void parse(void)
{
    const char *fault = getenv("VJ_FAULT"), *file = getenv("VJ_FAULT_TRACE"), *rate = getenv("VJ_FAULT_DISK");
    if (fault && *fault) parse_fault(fault);
    if (rate && *rate && (!vj_parse_f64(rate, &disk_rate) || !(disk_rate > 0))) {
        fprintf(stderr, "vjepa: error: VJ_FAULT_DISK=%s: bytes a second were expected\n", rate);
        _exit(2);
    }
    if (file && *file) {
        trace = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (trace < 0) {   // a trace that is silently empty would let a test pass
            fprintf(stderr, "vjepa: error: VJ_FAULT_TRACE=%s: cannot be written: %s\n", file, strerror(errno));
            _exit(2);
        }
        active = true;
    }
}

bool vj_fault_point(const char *point, const char *path)
{
    pthread_once(&once, parse);
    if (!active) return false;
    if (trace >= 0) {
        char line[1200];
        const int n = snprintf(line, sizeof line, "%s %s\n", point, path ? path : "");
        if (n > 0 && write(trace, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0) trace = -1;
    }
    if (!wanted[0] || strcmp(point, wanted) != 0) return false;
    if (atomic_fetch_add(&reached, 1) + 1 != wanted_count) return false;
    if (kills) {
        kill(getpid(), SIGKILL);
        pause();
    }
    if (breaks) vj_bug_at(__FILE__, __LINE__, __func__, "injected at %s (%s)", point, path ? path : "");
    return true;
}

void vj_fault_set(const char *text)
{
    pthread_once(&once, parse);
    wanted[0] = slow_point[0] = '\0';
    read_how = NOT_READS;
    atomic_store(&reached, 0);
    atomic_store(&reads, 0);
    if (text) parse_fault(text);
}

void vj_fault_reread(void)
{
    vj_fault_set(NULL);
    parse();
}

static void sleep_for(double seconds)
{
    const struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&t, NULL);
}

bool vj_fault_short(void) { return halves; }

void vj_fault_disk_set(double bytes_per_second)
{
    pthread_once(&once, parse);
    disk_rate = bytes_per_second;
}

void vj_fault_written(size_t bytes)
{
    if (disk_rate <= 0) return;
    pthread_mutex_lock(&disk);
    const double now = vj_now();
    disk_free_at = (disk_free_at > now ? disk_free_at : now) + (double)bytes / disk_rate;
    const double wait = disk_free_at - now;
    pthread_mutex_unlock(&disk);
    sleep_for(wait);
}

void vj_fault_slow(const char *point)
{
    pthread_once(&once, parse);
    if (!slow_point[0] || strcmp(point, slow_point) != 0 || atomic_fetch_add(&reached, 1) + 1 < wanted_count) return;
    sleep_for(slow_seconds);
}

ssize_t vj_fault_pread(int fd, void *data, size_t bytes, off_t offset, const char *path)
{
    pthread_once(&once, parse);
    if (read_how == NOT_READS || (read_part[0] && !(path && strstr(path, read_part)))) return pread(fd, data, bytes, offset);
    const int64_t n = atomic_fetch_add(&reads, 1) + 1 - wanted_count;
    if (n < 0 || (n > 0 && !read_on)) return pread(fd, data, bytes, offset);
    switch (read_how) {
    case INTERRUPTED: if (n % 2 == 1) break;   // a read that is always interrupted would never end
        errno = EINTR;
        return -1;
    case FAILS: errno = read_errno; return -1;
    case ONE_BYTE: bytes = bytes > 0 ? 1 : 0; break;
    case SLOW: bytes = bytes < SLOW_PIECE ? bytes : SLOW_PIECE; sleep_for((double)bytes * 1e-6); break;
    case STALLS:
        while (read_seconds < 0) sleep_for(3600);
        sleep_for(read_seconds);
        break;
    case NOT_READS: break;
    }
    return pread(fd, data, bytes, offset);
}
