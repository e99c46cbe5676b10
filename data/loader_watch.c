// data/loader_watch.c
//
// Reads that do not come back. A thread that is stuck in the system cannot be ended, so it is left alone: its sample is given
// to another thread, which reads anew, and what the stuck one brings in the end is thrown away. The sample that comes out is
// the same, since nothing of it depends on who makes it.
//
// Easy to get wrong: a stuck thread may come back at any time. It looks at `left_alone` under the mutex before it touches
// anything of the sample.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/loader_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/str.h"
#include "runtime/log/log.h"

void vj_loader_block_signals(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    const int ours[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) sigdelset(&all, ours[i]);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

vj_status vj_loader_start_worker(vj_loader_worker *worker)
{
    sigset_t before;
    vj_loader_block_signals(&before);
    const int rc = pthread_create(&worker->thread, NULL, vj_loader_work_thread, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    VJ_CHECK(rc == 0, VJ_ERR_NOMEM, "cannot start a loader thread: %s", strerror(rc));
    worker->started = true;
    return VJ_OK;
}

void vj_loader_read_begins(vj_loader_worker *worker, int64_t row)
{
    pthread_mutex_lock(&worker->l->mutex);
    if (!worker->hedged) worker->began = vj_now();   // a read made again goes on counting
    worker->row = row;
    worker->reading = true;
    pthread_mutex_unlock(&worker->l->mutex);
}

bool vj_loader_read_ends(vj_loader_worker *worker)
{
    pthread_mutex_lock(&worker->l->mutex);
    const bool mine = !worker->left_alone;
    worker->reading = worker->warned = worker->hedged = false;
    pthread_mutex_unlock(&worker->l->mutex);
    return mine;
}

// A place for one more thread, or NULL; under the mutex.
static vj_loader_worker *free_place(vj_loader *l)
{
    for (int i = 0; i < l->room_workers; i++) {
        vj_loader_worker *w = &l->workers[i];
        if (w->started && !w->ended) continue;
        if (w->started) pthread_join(w->thread, NULL);   // it has ended: nothing to wait for
        *w = (vj_loader_worker){ .l = l };
        return w;
    }
    return NULL;
}

// Gives the sample of a thread that is stuck to a new one; under the mutex.
static void make_again(vj_loader *l, vj_loader_worker *stuck)
{
    vj_loader_worker *w = free_place(l);
    stuck->hedged = true;   // once, whatever becomes of it
    if (w == NULL) return;
    w->sample = stuck->sample;
    w->entry = stuck->entry;
    w->began = stuck->began;
    w->row = stuck->row;
    w->hedged = w->warned = true;
    if (vj_loader_start_worker(w) != VJ_OK) {
        vj_log(VJ_WARN, "data", "%s", vj_error_text());
        vj_error_clear();
        return;
    }
    stuck->left_alone = true;
    l->stats.hedged++;
}

// One read in flight; under the mutex.
static void look_at(vj_loader *l, vj_loader_worker *w, double now)
{
    const vj_data_config *c = &l->config;
    const double seconds = now - w->began;
    char where[128];
    const bool warn = c->io_warn > 0 && seconds >= c->io_warn && !w->warned, hedge = c->io_hedge > 0 && seconds >= c->io_hedge && !w->hedged;
    const bool fatal = c->io_fatal > 0 && seconds >= c->io_fatal && l->stall == NULL;
    if (!warn && !hedge && !fatal) return;
    vj_shards_where(l->shards, w->sample->source, l->stage.held_out, w->row, where, sizeof where);
    if (warn) {
        w->warned = true;
        l->stats.stalled++;
        vj_log(VJ_WARN, "data", "%s/%s: a read has had no answer for %.0f s (data.io_warn_s)", l->catalog->dir, where, seconds);
    }
    if (hedge) {
        vj_log(VJ_WARN, "data", "%s/%s: no answer for %.0f s (data.io_hedge_s): another thread reads it anew", l->catalog->dir, where, seconds);
        make_again(l, w);
    }
    if (fatal) {
        (void)vj_fail(VJ_ERR_HANG, "%s/%s: a read has had no answer for %.0f s (data.io_fatal_s=%g): the file system hangs; start the same "
                      "command again when it is well", l->catalog->dir, where, seconds, c->io_fatal);
        l->stall = vj_strdup(vj_error_text());
        l->stalled_at = now;
        vj_error_clear();
        pthread_cond_broadcast(&l->ready);
    }
}

// The consumer is to end the run. When it does not come for the message as long again (a minute at most), it is stuck itself,
// in a read that nobody watches: there is nothing left but to leave.
static void leave_when_nobody_comes(const vj_loader *l, double now)
{
    const double grace = l->config.io_fatal < 60 ? l->config.io_fatal : 60;
    if (l->stall == NULL || l->told || now - l->stalled_at < grace) return;
    fprintf(stderr, "vjepa: error: %s\n", l->stall);
    fflush(stderr);
    _exit(vj_status_exit_code(VJ_ERR_HANG));
}

// How often to look: a quarter of the shortest limit, between 10 ms and 1 s.
static double interval(const vj_data_config *c)
{
    double shortest = 4;
    const double limits[] = { c->io_warn, c->io_hedge, c->io_fatal };
    for (int i = 0; i < 3; i++) {
        if (limits[i] > 0 && limits[i] < shortest) shortest = limits[i];
    }
    return shortest / 4 > 0.01 ? shortest / 4 : 0.01;
}

// CLOCK_MONOTONIC plus `seconds`.
static struct timespec after(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const double nanoseconds = (double)t.tv_nsec + seconds * 1e9;
    t.tv_sec += (time_t)(nanoseconds / 1e9);
    t.tv_nsec = (long)(nanoseconds - (double)(int64_t)(nanoseconds / 1e9) * 1e9);
    return t;
}

void *vj_loader_watch_thread(void *loader)
{
    vj_loader *l = loader;
    const double wait = interval(&l->config);
    pthread_mutex_lock(&l->mutex);
    while (!l->stop) {
        const struct timespec until = after(wait);
        (void)pthread_cond_timedwait(&l->tick, &l->mutex, &until);
        const double now = vj_now();
        for (int i = 0; !l->stop && i < l->room_workers; i++) {
            vj_loader_worker *w = &l->workers[i];
            if (w->reading && !w->left_alone) look_at(l, w, now);
        }
        if (!l->stop) leave_when_nobody_comes(l, now);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

// Joins a thread that ends by itself; one that is in a read gets until `until`. False: it is stuck.
static bool join_one(vj_loader *l, vj_loader_worker *w, const struct timespec *until)
{
    pthread_mutex_lock(&l->mutex);
    // No timed join: ThreadSanitizer does not know it.
    bool late = false;
    while (!w->ended && w->reading && !late) late = pthread_cond_timedwait(&l->tick, &l->mutex, until) == ETIMEDOUT;
    const bool stuck = !w->ended && w->reading;
    pthread_mutex_unlock(&l->mutex);
    if (stuck) pthread_detach(w->thread);
    else pthread_join(w->thread, NULL);   // ends with its sample
    return !stuck;
}

bool vj_loader_join(vj_loader *l)
{
    if (l->has_planner) pthread_join(l->planner, NULL);
    if (l->has_watch) pthread_join(l->watch, NULL);   // from here on nobody starts threads
    int stuck = 0;
    const struct timespec until = after(vj_loader_close_seconds());
    for (int i = 0; l->workers && i < l->room_workers; i++) {
        if (l->workers[i].started) stuck += !join_one(l, &l->workers[i], &until);
    }
    if (stuck > 0) vj_log(VJ_WARN, "data", "%d loader threads are stuck in reads and are left behind", stuck);
    return stuck == 0;
}
