#include "jobs/train/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/log/log.h"

struct vj_watchdog {
    vj_flight *flight;                 // mapped, or in memory alone
    bool mapped, closing, has_thread;
    char run[512];
    vj_comm *world;
    int rank, size;
    vj_watchdog_limits limits;
    double tick;
    int64_t *seen;                     // (size): progress of the others at the last look
    double longest;                    // pause between two signs of progress in steps so far
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

void vj_watchdog_at(vj_watchdog *w, vj_life phase, int64_t step, int slot)
{
    if (!w) return;
    vj_flight_page *p = &w->flight->page;
    if (step >= 0) __atomic_store_n(&p->step, step, __ATOMIC_RELAXED);
    __atomic_store_n(&p->slot, slot, __ATOMIC_RELAXED);
    __atomic_store_n(&p->phase, (int32_t)phase, __ATOMIC_RELAXED);
    __atomic_fetch_add(&p->progress, 1, __ATOMIC_RELAXED);
}

static void report_path(char out[640], const char *run) { vj_path_join(out, 640, run, "ranks/report.txt"); }

char *vj_watchdog_read_report(const char *run)
{
    char path[640], *text = NULL;
    report_path(path, run);
    if (vj_path_exists(path) && vj_file_read(path, &text, NULL, 1 << 20) == VJ_OK) return text;
    vj_error_clear();
    return NULL;
}

// Complete, and by one rank alone. False: another has.
static bool write_report(const vj_watchdog *w, const char *text)
{
    char path[640], mine[704];
    report_path(path, w->run);
    vj_format(mine, sizeof mine, "%s.rank-%d", path, w->rank);
    FILE *f = fopen(mine, "we");
    if (!f) return w->rank == 0;
    fprintf(f, "%s\n", text);
    fclose(f);
    const bool first = link(mine, path) == 0 || (errno != EEXIST && rename(mine, path) == 0);
    unlink(mine);
    return first;
}

void vj_watchdog_report(vj_watchdog *w, const char *text)
{
    if (w && text[0]) (void)write_report(w, text);
}

// Another rank has got on since the last look.
static bool others_move(vj_watchdog *w)
{
    bool moved = false;
    for (int r = 0; r < w->size; r++) {
        char path[640];
        vj_flight_rank rank;
        if (r == w->rank) continue;
        vj_flight_path(path, w->run, r);
        if (vj_flight_read(&rank, path) != VJ_OK) continue;
        moved = moved || w->seen[r] != rank.page.progress;
        w->seen[r] = rank.page.progress;
    }
    vj_error_clear();
    return moved;
}

static void give_up(vj_watchdog *w, double idle)
{
    vj_str text = { 0 }, verdict = { 0 };
    vj_flight_rank *ranks = calloc((size_t)w->size, sizeof *ranks);
    int n = 0;
    for (int r = 0; r < w->size && ranks; r++) {
        char path[640];
        vj_flight_path(path, w->run, r);
        if (vj_flight_read(&ranks[n], path) == VJ_OK) n++;
    }
    const int who = n > 0 ? vj_flight_judge(ranks, n, vj_wall(), 2 + 4 * w->tick, &verdict) : -1;
    const vj_flight_page *me = &w->flight->page;
    vj_str_printf(&text, "the run does not get on: nothing has happened for %.0f s in phase %s of step %lld", idle, vj_life_name(me->phase), (long long)me->step);
    if (who >= 0) vj_str_printf(&text, "; %s", vj_str_text(&verdict));
    else if (w->size == 1) vj_str_printf(&text, " (pid %lld on %s): a file or a disk that does not answer?", (long long)me->pid, me->host);
    else vj_str_add(&text, "; no rank stands out: all wait, `vjepa doctor --run` prints for what");
    if (write_report(w, vj_str_text(&text))) {
        fprintf(stderr, "vjepa: error: %s\n", vj_str_text(&text));
        vj_log(VJ_ERROR, "watchdog", "%s", vj_str_text(&text));
    }
    vj_comm_abort(w->world, vj_status_exit_code(VJ_ERR_HANG));
    _exit(vj_status_exit_code(VJ_ERR_HANG));
}

static double limit_of(const vj_watchdog *w, int phase, bool first)
{
    if (phase == VJ_LIFE_START) return w->limits.start;
    if (phase == VJ_LIFE_SAVE || phase == VJ_LIFE_END) return w->limits.save;
    if (w->limits.step <= 0) return 0;
    double limit = w->limits.step > 10 * w->longest ? w->limits.step : 10 * w->longest;
    if (first && limit < w->limits.start) limit = w->limits.start;   // nothing is known yet of how long anything takes
    return limit;
}

static void *watch(void *context)
{
    vj_watchdog *w = context;
    vj_flight_page *p = &w->flight->page;
    int64_t progress = -1;
    const int64_t first_step = __atomic_load_n(&p->step, __ATOMIC_RELAXED);
    double moved = vj_now(), looked = moved;
    pthread_mutex_lock(&w->mutex);
    while (!w->closing) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        const double at = (double)until.tv_sec + 1e-9 * (double)until.tv_nsec + w->tick;
        until.tv_sec = (time_t)at;
        until.tv_nsec = (long)((at - (double)until.tv_sec) * 1e9);
        if (pthread_cond_timedwait(&w->wake, &w->mutex, &until) != ETIMEDOUT) continue;
        const double now = vj_now();
        const int phase = __atomic_load_n(&p->phase, __ATOMIC_RELAXED);
        const int64_t step = __atomic_load_n(&p->step, __ATOMIC_RELAXED), got = __atomic_load_n(&p->progress, __ATOMIC_RELAXED);
        if (now - looked > 2 + 4 * w->tick) moved = now;   // this process was stopped itself, or the machine slept
        looked = now;
        p->alive++;
        p->alive_wall = vj_wall();
        if (got != progress) {
            if (step > first_step + 2 && (phase == VJ_LIFE_STEP || phase == VJ_LIFE_DATA) && now - moved > w->longest && now - moved < w->limits.step)
                w->longest = now - moved;
            progress = got;
            moved = now;
            p->progress_wall = p->alive_wall;
        }
        const double limit = limit_of(w, phase, step <= first_step + 2);
        if (limit <= 0 || now - moved < limit / 2) continue;
        // Looks from half of the time on: who got on before that stands still by then.
        if (others_move(w) && now - moved > limit / 2 + w->tick) moved = now - limit / 4;
        if (now - moved > limit) give_up(w, now - moved);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static double least(const vj_watchdog_limits *l)
{
    double v = 0;
    const double all[3] = { l->start, l->step, l->save };
    for (int i = 0; i < 3; i++) v = all[i] > 0 && (v == 0 || all[i] < v) ? all[i] : v;
    return v;
}

void vj_watchdog_open(vj_watchdog **out, const char *run, vj_comm *world, const vj_watchdog_limits *limits)
{
    *out = NULL;
    vj_watchdog *w = calloc(1, sizeof *w);
    if (!w) return;
    *w = (vj_watchdog){ .world = world, .rank = vj_comm_rank(world), .size = vj_comm_size(world), .limits = *limits };
    char path[640], folder[640];
    vj_format(w->run, sizeof w->run, "%s", run);
    w->seen = calloc((size_t)w->size, sizeof *w->seen);
    w->tick = least(limits) / 16;
    w->tick = w->tick <= 0 || w->tick > 1 ? 1 : w->tick < 0.05 ? 0.05 : w->tick;
    vj_flight_path(path, run, w->rank);
    vj_path_join(folder, sizeof folder, run, "ranks");
    vj_status status = vj_dir_create(folder);
    if (status == VJ_OK) status = vj_flight_create(&w->flight, path, w->rank, w->size);
    w->mapped = status == VJ_OK;
    if (!w->mapped) {
        vj_log(VJ_WARN, "watchdog", "%s: what this rank does cannot be followed from outside; the training goes on", vj_error_text());
        vj_error_clear();
        w->flight = calloc(1, sizeof *w->flight);
        if (w->flight) vj_flight_begin(w->flight, w->rank, w->size);
    }
    if (!w->flight || !w->seen) {
        free(w->seen);
        free(w);
        return;
    }
    if (w->rank == 0) {   // of an earlier life
        report_path(path, run);
        vj_format(folder, sizeof folder, "%.620s.before", path);
        if (rename(path, folder) != 0 && errno != ENOENT) vj_log(VJ_WARN, "watchdog", "%s: cannot be moved: %s", path, strerror(errno));
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    vj_comm_observe(world, vj_flight_observe, w->flight);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->has_thread = pthread_create(&w->thread, NULL, watch, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!w->has_thread) vj_log(VJ_WARN, "watchdog", "its thread cannot be started: a run that hangs is not ended");
    *out = w;
}

void vj_watchdog_close(vj_watchdog **watchdog, bool well)
{
    vj_watchdog *w = *watchdog;
    if (!w) return;
    *watchdog = NULL;
    if (w->has_thread) {
        pthread_mutex_lock(&w->mutex);
        w->closing = true;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL);
    }
    vj_comm_unobserve(w->world, vj_flight_observe, w->flight);
    if (well) w->flight->page.phase = VJ_LIFE_END;
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->wake);
    if (w->mapped) vj_flight_destroy(&w->flight);
    else free(w->flight);
    free(w->seen);
    free(w);
}
