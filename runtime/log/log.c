// One write per line, so that threads and ranks do not interleave.

#include "runtime/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/log/progress.h"

static const char *const names[] = { "DEBUG", "INFO", "WARN", "ERROR" };
static atomic_int lowest = -1;
static atomic_int_fast64_t warnings;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int file = -1;

static int level_now(void)
{
    int level = atomic_load(&lowest);
    if (level >= 0) return level;
    static const char *const words[] = { "debug", "info", "warn", "error" };
    const char *asked = getenv("VJ_LOG");
    level = VJ_INFO;
    for (int i = 0; asked && i < 4; i++) level = strcmp(asked, words[i]) == 0 ? i : level;
    atomic_store(&lowest, level);
    return level;
}

void vj_log_level_set(vj_log_level level) { atomic_store(&lowest, (int)level); }
int64_t vj_log_warnings(void) { return atomic_load(&warnings); }

void vj_log(vj_log_level level, const char *subsystem, const char *fmt, ...)
{
    if (level >= VJ_WARN) atomic_fetch_add(&warnings, 1);
    if ((int)level < level_now()) return;
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    char line[4300];
    char mark[16] = "";
    if (level != VJ_INFO) snprintf(mark, sizeof mark, "%s ", names[level]);
    int n = snprintf(line, sizeof line, "%02d:%02d:%02d %s %s%s\n", tm.tm_hour, tm.tm_min, tm.tm_sec, subsystem, mark, text);
    if (n < 0) return;
    if ((size_t)n >= sizeof line) n = (int)sizeof line - 1;
    pthread_mutex_lock(&mutex);
    // A progress bar's line is wiped first; it is drawn again at its next update.
    if (vj_progress_is_terminal() && write(2, "\r\033[K", 4) < 0) n = 0;
    if (n > 0 && write(2, line, (size_t)n) < 0) n = 0;
    if (file >= 0) {
        char wall[32], dated[4400];
        vj_wall_text(wall);
        const int k = snprintf(dated, sizeof dated, "%s %s %s%s\n", wall, subsystem, mark, text);
        if (k > 0 && write(file, dated, (size_t)k < sizeof dated ? (size_t)k : sizeof dated - 1) < 0) file = -1;
    }
    pthread_mutex_unlock(&mutex);
}

vj_status vj_log_file(const char *path)
{
    vj_status status = VJ_OK;
    pthread_mutex_lock(&mutex);
    if (file >= 0) close(file);
    file = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (path && file < 0) status = vj_fail(VJ_ERR_IO, "%s: cannot be opened for the log: %s", path, strerror(errno));
    pthread_mutex_unlock(&mutex);
    return status;
}
