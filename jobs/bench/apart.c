// Work in processes of their own: peak memory is a process' figure, and nothing of one measurement stays for the next.

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs/bench/bench.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"

static bool write_all(int fd, const void *data, size_t bytes)
{
    const char *p = data;
    while (bytes > 0) {
        const ssize_t n = write(fd, p, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        bytes -= (size_t)n;
    }
    return true;
}

static size_t read_all(int fd, void *data, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        const ssize_t n = read(fd, (char *)data + at, bytes - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        at += (size_t)n;
    }
    return at;
}

vj_status vj_bench_apart(vj_status (*work)(const void *context, void *result), const void *context, void *result, size_t bytes)
{
    int ends[2];
    VJ_CHECK(pipe(ends) == 0, VJ_ERR_IO, "no pipe to a child process: %s", strerror(errno));
    fflush(NULL);
    const pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        VJ_FAIL(VJ_ERR_NOMEM, "no child process: %s", strerror(errno));
    }
    if (child == 0) {
        close(ends[0]);
        const vj_status status = work(context, result);
        const char *text = status == VJ_OK ? "" : vj_error_text();
        const bool sent = write_all(ends[1], &status, sizeof status) &&
                          (status == VJ_OK ? write_all(ends[1], result, bytes) : write_all(ends[1], text, strlen(text)));
        _exit(sent ? 0 : 1);
    }
    close(ends[1]);
    vj_status status = VJ_ERR_BUG;
    char text[1024] = "";
    bool whole = read_all(ends[0], &status, sizeof status) == sizeof status;
    if (whole && status == VJ_OK) whole = read_all(ends[0], result, bytes) == bytes;
    else if (whole) text[read_all(ends[0], text, sizeof text - 1)] = '\0';
    close(ends[0]);
    int how = 0;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR) {}
    if (WIFSIGNALED(how)) VJ_FAIL(VJ_ERR_NOMEM, "the measuring process ended by signal %d (%s)", WTERMSIG(how), strsignal(WTERMSIG(how)));
    VJ_CHECK(whole, VJ_ERR_BUG, "the measuring process ended with status %d and without a result", WEXITSTATUS(how));
    return status == VJ_OK ? VJ_OK : vj_fail(status, "%s", text);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double vj_bench_median(const double *v, int n)
{
    double sorted[256];
    if (n < 1 || n > 256) return NAN;
    memcpy(sorted, v, (size_t)n * sizeof *v);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    return n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

void vj_bench_put_figure(vj_json_writer *w, const char *name, const double *v, int n)
{
    vj_json_begin_object(w, name);
    vj_json_put_f64(w, "median", vj_bench_median(v, n));
    vj_json_begin_array(w, "all");
    for (int i = 0; i < n; i++) vj_json_put_f64(w, NULL, v[i]);
    vj_json_end_array(w);
    vj_json_end_object(w);
}

// ---- another program ------------------------------------------------------------------------------------------------------

// The number in front of `unit`, behind `word`: "total 1.25 s" and "peak 11.10 GiB".
static bool number_behind(const char *line, const char *word, const char *unit, double *out)
{
    const char *at = strstr(line, word);
    if (!at) return false;
    char *end;
    const double v = strtod(at + strlen(word), &end);
    if (end == at + strlen(word) || strncmp(end, unit, strlen(unit)) != 0 || !isfinite(v) || v <= 0) return false;
    *out = v;
    return true;
}

vj_status vj_bench_peer_run(const char *command, vj_bench_peer *out)
{
    *out = (vj_bench_peer){ 0 };
    fflush(NULL);
    FILE *f = popen(command, "r");
    VJ_CHECK(f != NULL, VJ_ERR_IO, "the peer could not be started: %s", strerror(errno));
    char line[4096];
    int steps = 0;
    while (fgets(line, sizeof line, f)) {
        double seconds, peak;
        if (number_behind(line, "peak ", " GiB", &peak)) out->peak_rss = peak * 0x1p30;
        if (!number_behind(line, "total ", " s", &seconds)) continue;
        if (steps++ > 0 && out->n < VJ_BENCH_STEPS) out->seconds[out->n++] = seconds;
    }
    const int how = pclose(f);
    VJ_CHECK(how == 0, VJ_ERR_USAGE, "the peer ended with status %d: %s", WIFEXITED(how) ? WEXITSTATUS(how) : 128, command);
    VJ_CHECK(out->n > 0, VJ_ERR_USAGE, "the peer printed %d lines with \"total SECONDS s\": two or more are expected (the first step is left out): %s",
             steps, command);
    return VJ_OK;
}

// ---- the machine ----------------------------------------------------------------------------------------------------------

static void cpu_name(char out[128])
{
    char line[512];
    snprintf(out, 128, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        snprintf(out, 128, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
}

typedef struct facts { char cpu[128], versions[96], now[32]; const char *isa; } facts;
static facts facts_of(void)
{
    facts f = { .isa = "?" };
    cpu_name(f.cpu);
    vj_roof_versions(f.versions);
    vj_wall_text(f.now);
    vj_device *d = NULL;
    if (vj_device_open(&d, "cpu", 1) == VJ_OK) f.isa = vj_device_isa(d);
    vj_device_close(&d);
    return f;
}

void vj_bench_put_machine(vj_json_writer *w, int64_t threads)
{
    const facts f = facts_of();
    vj_json_put_text(w, "time", f.now);
    vj_json_put_text(w, "cpu", f.cpu);
    vj_json_put_text(w, "isa", f.isa);
    vj_json_put_text(w, "libraries", f.versions);
    vj_json_put_i64(w, "threads", threads);
}

void vj_bench_print_machine(int64_t threads)
{
    const facts f = facts_of();
    printf("%s  %s, %s, %lld threads, %s\n", f.now, f.cpu, f.isa, (long long)threads, f.versions);
}
