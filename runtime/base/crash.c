// Only system calls that a signal handler may make: open, write, close, and glibc's backtrace once it was called before.

#include "runtime/base/crash.h"

#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FRAMES = 64 };
static char command[2048] = "(not known)", directory[512], program_version[32] = "?";
static bool prepared;
static atomic_int written;

static void put(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0) return;   // there is nobody to tell
}

void vj_crash_prepare(int argc, char **argv, const char *version)
{
    void *frames[4];
    size_t used = 0;
    command[0] = '\0';
    for (int i = 0; i < argc && used + 2 < sizeof command; i++) {
        const int n = snprintf(command + used, sizeof command - used, "%s%s", i > 0 ? " " : "", argv[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    snprintf(program_version, sizeof program_version, "%s", version);
    (void)backtrace(frames, 4);
    prepared = true;
}

void vj_crash_dir(const char *dir) { snprintf(directory, sizeof directory, "%s", dir ? dir : ""); }

// "DIR/crash-PID.txt" without stdio.
static void path_of(char out[600])
{
    char digits[24];
    int n = 0;
    size_t at = 0;
    long pid = (long)getpid();
    if (directory[0]) {
        at = strlen(directory);
        memcpy(out, directory, at);
        out[at++] = '/';
    }
    memcpy(out + at, "crash-", 6);
    at += 6;
    do digits[n++] = (char)('0' + pid % 10);
    while ((pid /= 10) > 0);
    while (n > 0) out[at++] = digits[--n];
    memcpy(out + at, ".txt", 5);
}

void vj_crash_report(const char *reason)
{
    int none = 0;
    if (!prepared || !atomic_compare_exchange_strong(&written, &none, 1)) return;
    char path[600];
    void *frames[FRAMES];
    path_of(path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return;
    put(fd, "vjepa ");
    put(fd, program_version);
    put(fd, "\nreason:   ");
    put(fd, reason);
    put(fd, "\ncommand:  ");
    put(fd, command);
    put(fd, "\nmessage:  ");
    put(fd, vj_error_text()[0] ? vj_error_text() : "(none)");
    put(fd, "\nbacktrace (addr2line -e vjepa -f -p ADDRESS):\n");
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), fd);
    close(fd);
    put(2, "  a report is in ");
    put(2, path);
    put(2, "\n");
}
