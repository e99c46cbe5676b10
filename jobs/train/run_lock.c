// The lock of a run directory (the header tells how). Plain system calls, not vj_io_*: the fault points of those count what a run
// writes.

#include "jobs/train/run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/log/log.h"

enum { LINE = 768, TRIES = 50 };

typedef struct owner {
    bool there, readable;
    char host[128], started[32], system[96], token[33], since[32], state[12];
    int64_t pid;
    uint64_t inode;           // of the file
    double beat;              // modification time, in the file system's own clock
} owner;

struct vj_run_lock {
    char dir[512], path[640];
    owner me;
    int fd;                   // of our file: renewing and releasing it can never touch another's
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop;
    bool lost;                // under the mutex: the file is not ours any more
    char by[192];             // whose it is
    double looked;            // vj_now() of the last look that found it ours
};

// ---- who we are ---------------------------------------------------------------------------------------------------

static void first_line(const char *path, char *out, size_t size)
{
    out[0] = '\0';
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    const ssize_t n = read(fd, out, size - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

// Start time in ticks since boot; "" when there is no such process, or it has ended and only waits to be fetched.
static void process_started(int64_t pid, char out[32])
{
    char path[64], line[1024];
    out[0] = '\0';
    vj_format(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    first_line(path, line, sizeof line);
    const char *at = strrchr(line, ')');   // the name before it may hold anything
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X') return;
    for (int field = 2; field < 22 && at; field++) at = strchr(at + 1, ' ');
    if (!at) return;
    const size_t n = strspn(at + 1, "0123456789");
    if (n > 0 && n < 32) vj_format(out, 32, "%.*s", (int)n, at + 1);
}

// Boot and pid namespace: only processes that share both can be asked for by their pid.
static void this_system(char out[96])
{
    char boot[64], space[24] = "";
    first_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    struct stat st;
    if (stat("/proc/self/ns/pid", &st) == 0) vj_format(space, sizeof space, "%llu", (unsigned long long)st.st_ino);
    vj_format(out, 96, "%s/%s", boot, space);
}

static vj_status describe_me(owner *me)
{
    unsigned char token[16];
    VJ_CHECK(getrandom(token, sizeof token, 0) == (ssize_t)sizeof token, VJ_ERR_IO, "no random bytes: %s", strerror(errno));
    *me = (owner){ .there = true, .readable = true, .pid = getpid() };
    vj_hex(me->token, token, sizeof token);
    if (gethostname(me->host, sizeof me->host - 1) != 0) vj_format(me->host, sizeof me->host, "unknown");
    process_started(me->pid, me->started);
    this_system(me->system);
    vj_wall_text(me->since);
    vj_format(me->state, sizeof me->state, "held");
    return VJ_OK;
}

// ---- the file -----------------------------------------------------------------------------------------------------

// "held" and "released" take the same room, so that the second can be written over the first.
static size_t put_owner(const owner *o, char line[LINE])
{
    vj_json_writer w = { 0 };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "host", o->host);
    vj_json_put_i64(&w, "pid", o->pid);
    vj_json_put_text(&w, "started", o->started);
    vj_json_put_text(&w, "system", o->system);
    vj_json_put_text(&w, "token", o->token);
    vj_json_put_text(&w, "since", o->since);
    vj_json_put_text(&w, "state", o->state);
    vj_json_end_object(&w);
    const int n = snprintf(line, LINE, "%s%*s\n", vj_str_text(&w.out), strcmp(o->state, "held") == 0 ? 4 : 0, "");
    vj_json_writer_free(&w);
    VJ_ASSERT(n > 0 && n < LINE);
    return (size_t)n;
}

static bool text_of(const vj_json *root, const char *key, char *out, size_t size)
{
    const char *text = NULL;
    if (vj_json_text(root, key, &text) != VJ_OK || strlen(text) >= size) return false;
    for (const char *c = text; *c; c++) {
        if (*c < ' ' || *c > '~') return false;   // it is printed on a terminal
    }
    vj_format(out, size, "%s", text);
    return true;
}

static bool read_members(owner *o, const char *line, size_t n)
{
    vj_json_doc *doc = NULL;
    bool good = vj_json_parse(&doc, line, n, "lock") == VJ_OK;
    const vj_json *root = good ? vj_json_root(doc) : NULL;
    good = good && text_of(root, "host", o->host, sizeof o->host) && text_of(root, "started", o->started, sizeof o->started) &&
           text_of(root, "system", o->system, sizeof o->system) && text_of(root, "token", o->token, sizeof o->token) &&
           text_of(root, "since", o->since, sizeof o->since) && text_of(root, "state", o->state, sizeof o->state) &&
           vj_json_i64(root, "pid", &o->pid) == VJ_OK;
    // The token becomes part of a file's name.
    good = good && strlen(o->token) == 32 && strspn(o->token, "0123456789abcdef") == 32;
    vj_json_destroy(&doc);
    vj_error_clear();
    return good;
}

// False: it cannot be read (errno); a missing file is read as not there.
static bool read_owner(owner *o, const char *path)
{
    *o = (owner){ 0 };
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT;
    char line[LINE];
    struct stat st;
    const bool ok = fstat(fd, &st) == 0;
    const ssize_t n = ok ? pread(fd, line, sizeof line, 0) : -1;
    const int error = errno;
    close(fd);
    errno = error;
    if (n < 0) return false;
    o->there = true;
    o->inode = (uint64_t)st.st_ino;
    o->beat = (double)st.st_mtim.tv_sec + 1e-9 * (double)st.st_mtim.tv_nsec;
    o->readable = read_members(o, line, (size_t)n);
    return true;
}

static void name_after(const vj_run_lock *l, const owner *o, char out[640])
{
    char name[64];
    if (o->readable) vj_format(name, sizeof name, "lock.after-%s", o->token);
    else vj_format(name, sizeof name, "lock.after-file-%llu", (unsigned long long)o->inode);
    vj_path_join(out, 640, l->dir, name);
}

// The last of the chain: who holds the lock or held it last.
static vj_status find_holder(const vj_run_lock *l, owner *out)
{
    char path[640];
    VJ_CHECK(read_owner(out, l->path), VJ_ERR_IO, "%s: cannot be read: %s", l->path, strerror(errno));
    for (int i = 0; i < TRIES && out->there; i++) {
        owner next;
        name_after(l, out, path);
        VJ_CHECK(read_owner(&next, path), VJ_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
        if (!next.there) break;
        *out = next;
    }
    return VJ_OK;
}

// ---- judging ------------------------------------------------------------------------------------------------------

// NULL: it holds the lock; else why it does not.
static const char *why_free(const owner *o, const owner *me, double now)
{
    const double silent = now - o->beat;
    if (!o->there) return "nobody held it";
    if (o->readable && strcmp(o->state, "released") == 0) return "it was released";
    if (o->readable && strcmp(o->host, me->host) == 0 && strcmp(o->system, me->system) == 0) {
        char started[32];
        process_started(o->pid, started);
        return started[0] && strcmp(started, o->started) == 0 ? NULL : "its process is gone";
    }
    return silent > VJ_RUN_LOCK_STALE_S ? "it was not renewed for too long" : NULL;
}

static vj_status refuse(const vj_run_lock *l, const owner *o, double now)
{
    const double silent = now > o->beat ? now - o->beat : 0;
    if (!o->readable) {
        VJ_FAIL(VJ_ERR_CONFIG, "%s: holds no lock that can be read, and was written %.0f s ago; start again once it is %d s old, or "
                "remove it when nothing trains in %s", l->path, silent, VJ_RUN_LOCK_STALE_S, l->dir);
    }
    const bool here = strcmp(o->host, l->me.host) == 0 && strcmp(o->system, l->me.system) == 0;
    char free_when[128];
    if (here) vj_format(free_when, sizeof free_when, "stop it first");
    else
        vj_format(free_when, sizeof free_when, "stop it first (where it died, its place is free %d s after its last sign of life)",
                  VJ_RUN_LOCK_STALE_S);
    VJ_FAIL(VJ_ERR_CONFIG, "%s: another process trains in this directory: pid %lld on %s, since %s, last sign of life %.0f s ago; %s, or "
            "choose another --run", l->dir, (long long)o->pid, o->host, o->since, silent, free_when);
}

// ---- taking -------------------------------------------------------------------------------------------------------

// Makes `name`, complete, unless there is one already. errno says why not.
static bool put_exclusively(const char *candidate, const char *name)
{
    if (vj_fault_point("lock.link", name)) errno = EPERM;
    else if (link(candidate, name) == 0) return true;
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return false;
    // No hard links there: for a moment the name is seen empty, which is read as "unreadable, just written".
    char line[LINE];
    const int from = open(candidate, O_RDONLY | O_CLOEXEC);
    const ssize_t n = from < 0 ? -1 : read(from, line, sizeof line);
    if (from >= 0) close(from);
    const int fd = n > 0 ? open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
    if (fd < 0) return false;
    const bool ok = write(fd, line, (size_t)n) == n;
    const int error = errno;
    close(fd);
    if (!ok) unlink(name);
    errno = error;
    return ok;
}

// Names of lives that were followed, and what killed starts left: nobody needs them.
static void tidy(const vj_run_lock *l, double now)
{
    char **names = NULL, mine[64];
    int64_t count = 0;
    vj_format(mine, sizeof mine, "lock.after-%s", l->me.token);
    if (vj_dir_list(l->dir, &names, &count) != VJ_OK) {
        vj_error_clear();
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        char path[1024];
        struct stat st;
        vj_path_join(path, sizeof path, l->dir, names[i]);
        const bool after = vj_str_starts(names[i], "lock.after-") && strcmp(names[i], mine) != 0;
        const bool left = vj_str_starts(names[i], "lock.new-") && stat(path, &st) == 0 && now - (double)st.st_mtim.tv_sec > VJ_RUN_LOCK_STALE_S;
        if (after || left) unlink(path);
    }
    vj_names_free(&names, count);
}

// Takes part in the chain until we are its end, or somebody is who lives. `candidate`: our file, complete.
static vj_status follow_chain(vj_run_lock *l, const char *candidate, double now)
{
    char made[TRIES][640];
    int n_made = 0;
    vj_status status = VJ_OK;
    owner holder;
    const char *why = NULL;
    for (int i = 0;; i++) {
        VJ_TRY_GOTO(find_holder(l, &holder), done);
        if (holder.there && holder.readable && strcmp(holder.token, l->me.token) == 0) break;
        const char *reason = why_free(&holder, &l->me, now);
        if (!reason) {
            status = refuse(l, &holder, now);
            goto done;
        }
        if (i == TRIES) {
            status = vj_fail(VJ_ERR_IO, "%s: changes all the time; do many processes start in this directory?", l->path);
            goto done;
        }
        if (holder.there && strcmp(holder.state, "released") != 0) why = reason;
        char *name = made[n_made];
        if (holder.there) name_after(l, &holder, name);
        else vj_format(name, 640, "%s", l->path);
        if (put_exclusively(candidate, name)) n_made++;
        else if (errno != EEXIST && errno != ENOENT) {
            status = vj_fail(VJ_ERR_IO, "%s: cannot be made: %s", name, strerror(errno));
            goto done;
        }
    }
    if (why) vj_log(VJ_INFO, "run", "%s: the lock of an earlier process is taken over: %s", l->dir, why);
    if (rename(candidate, l->path) != 0) status = vj_fail(VJ_ERR_IO, "%s: cannot be written: %s", l->path, strerror(errno));
done:
    // `lock` itself stays: it is ours by then, and says so (released), or another's.
    for (int i = 0; i < n_made && status != VJ_OK; i++) {
        if (strcmp(made[i], l->path) != 0) unlink(made[i]);
    }
    return status;
}

static vj_status write_candidate(vj_run_lock *l, const char *candidate, double *now)
{
    char line[LINE];
    struct stat st;
    const size_t n = put_owner(&l->me, line);
    l->fd = open(candidate, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    VJ_CHECK(l->fd >= 0, VJ_ERR_IO, "%s: cannot be written: %s; is the directory writable?", candidate, strerror(errno));
    VJ_CHECK(pwrite(l->fd, line, n, 0) == (ssize_t)n && fsync(l->fd) == 0 && fstat(l->fd, &st) == 0, VJ_ERR_IO,
             "%s: cannot be written: %s", candidate, strerror(errno));
    *now = (double)st.st_mtim.tv_sec + 1e-9 * (double)st.st_mtim.tv_nsec;   // the clock that the other's file has its time from
    return VJ_OK;
}

// ---- holding ------------------------------------------------------------------------------------------------------

// Reads the file; what cannot be read at all says nothing.
static void look(vj_run_lock *l)
{
    owner o;
    if (!read_owner(&o, l->path)) return;
    const bool ours = o.there && o.readable && strcmp(o.token, l->me.token) == 0;
    pthread_mutex_lock(&l->mutex);
    if (ours) l->looked = vj_now();
    else if (!l->lost) {
        l->lost = true;
        if (!o.there) vj_format(l->by, sizeof l->by, "is gone");
        else if (!o.readable) vj_format(l->by, sizeof l->by, "holds something else");
        else vj_format(l->by, sizeof l->by, "was taken by pid %lld on %s at %s", (long long)o.pid, o.host, o.since);
    }
    pthread_mutex_unlock(&l->mutex);
}

static void *beat_thread(void *context)
{
    vj_run_lock *l = context;
    pthread_mutex_lock(&l->mutex);
    while (!l->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += VJ_RUN_LOCK_BEAT_S;
        if (pthread_cond_timedwait(&l->wake, &l->mutex, &until) != ETIMEDOUT) continue;
        pthread_mutex_unlock(&l->mutex);
        (void)!futimens(l->fd, NULL);   // a failure shows as silence
        look(l);
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

static vj_status start_thread(vj_run_lock *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);   // signals are for threads that know what to do with them
    const int rc = pthread_create(&l->thread, NULL, beat_thread, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    VJ_CHECK(rc == 0, VJ_ERR_NOMEM, "cannot start the thread that renews %s: %s", l->path, strerror(rc));
    l->has_thread = true;
    return VJ_OK;
}

vj_status vj_run_lock_take(vj_run_lock **out, const char *dir)
{
    *out = NULL;
    vj_run_lock *l = calloc(1, sizeof *l);
    VJ_CHECK(l != NULL, VJ_ERR_NOMEM, "no memory for a lock");
    l->fd = -1;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    char name[64], candidate[640];
    double now = 0;
    vj_status status;
    vj_format(l->dir, sizeof l->dir, "%s", dir);
    vj_path_join(l->path, sizeof l->path, dir, "lock");
    VJ_TRY_GOTO(describe_me(&l->me), fail);
    vj_format(name, sizeof name, "lock.new-%s", l->me.token);
    vj_path_join(candidate, sizeof candidate, dir, name);
    status = write_candidate(l, candidate, &now);
    if (status == VJ_OK) status = follow_chain(l, candidate, now);
    if (l->fd >= 0) unlink(candidate);   // rename leaves it where both names are one file
    if (status != VJ_OK) goto fail;
    l->looked = vj_now();
    tidy(l, now);
    VJ_TRY_GOTO(start_thread(l), fail);
    *out = l;
    return VJ_OK;
fail:
    vj_run_lock_release(&l);
    return status;
}

vj_status vj_run_lock_check(vj_run_lock *l, bool must_look)
{
    if (!l) return VJ_OK;
    pthread_mutex_lock(&l->mutex);
    // A process that was stopped for a while may come here before its thread has looked.
    if (vj_now() - l->looked > 2 * VJ_RUN_LOCK_BEAT_S) must_look = true;
    pthread_mutex_unlock(&l->mutex);
    if (must_look) look(l);
    pthread_mutex_lock(&l->mutex);
    const bool lost = l->lost;
    pthread_mutex_unlock(&l->mutex);
    VJ_CHECK(!lost, VJ_ERR_IO, "%s: %s: this process (pid %lld on %s, since %s) leaves without writing anything. A lock is lost by hand, or by "
             "silence of more than %d s; the same command continues when nobody else trains here", l->path, l->by, (long long)l->me.pid,
             l->me.host, l->me.since, VJ_RUN_LOCK_STALE_S);
    return VJ_OK;
}

void vj_run_lock_release(vj_run_lock **lock)
{
    vj_run_lock *l = *lock;
    if (!l) return;
    *lock = NULL;
    if (l->has_thread) {
        pthread_mutex_lock(&l->mutex);
        l->stop = true;
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->mutex);
        pthread_join(l->thread, NULL);
    }
    if (l->fd >= 0) {
        char line[LINE];
        vj_format(l->me.state, sizeof l->me.state, "released");
        const size_t n = put_owner(&l->me, line);
        (void)!pwrite(l->fd, line, n, 0);   // else the process is soon gone, which says the same
        close(l->fd);
    }
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->wake);
    free(l);
}
