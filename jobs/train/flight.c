#include "jobs/train/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"

static const char magic[8] = "VJFLIGHT";   // eight bytes, no end

const char *vj_life_name(int phase)
{
    static const char *const names[] = { "start", "data", "step", "figures", "save", "end" };
    return phase >= 0 && phase < VJ_LIFE_COUNT ? names[phase] : "unknown";
}

void vj_flight_path(char out[640], const char *run, int rank)
{
    char name[64];
    vj_format(name, sizeof name, "ranks/rank-%05d.rec", rank);
    vj_path_join(out, 640, run, name);
}

// State letter and start time of a process; false: there is none.
static bool process(int64_t pid, char *state, char started[32])
{
    char path[64], line[1024] = "";
    vj_format(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = '\0';
    const char *at = strrchr(line, ')');   // the name before it may hold anything
    if (!at || at[1] != ' ') return false;
    *state = at[2];
    for (int field = 2; field < 22 && at; field++) at = strchr(at + 1, ' ');
    if (!at) return false;
    vj_format(started, 32, "%.*s", (int)(strspn(at + 1, "0123456789") % 31), at + 1);
    return *state != 'Z' && *state != 'X';
}

void vj_flight_begin(vj_flight *f, int rank, int size)
{
    char state;
    vj_flight_page *p = &f->page;
    *p = (vj_flight_page){ .version = VJ_FLIGHT_VERSION, .entries = VJ_FLIGHT_ENTRIES, .rank = rank, .size = size, .pid = getpid(), .slot = -1,
                           .alive_wall = vj_wall(), .progress_wall = vj_wall() };
    if (gethostname(p->host, sizeof p->host - 1) != 0) vj_format(p->host, sizeof p->host, "unknown");
    (void)process(p->pid, &state, p->started);
    memcpy(p->magic, magic, sizeof magic);
}

vj_status vj_flight_create(vj_flight **out, const char *path, int rank, int size)
{
    *out = NULL;
    char before[704];
    vj_format(before, sizeof before, "%s.before", path);
    if (rename(path, before) != 0 && errno != ENOENT) VJ_FAIL(VJ_ERR_IO, "%s: cannot be moved: %s", path, strerror(errno));
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    VJ_CHECK(fd >= 0, VJ_ERR_IO, "%s: %s", path, strerror(errno));
    // All of it now: a hole on a full disk would end the program where it is written to.
    const int full = posix_fallocate(fd, 0, (off_t)sizeof(vj_flight));
    void *at = full ? MAP_FAILED : mmap(NULL, sizeof(vj_flight), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const int why = full ? full : errno;
    close(fd);
    if (at == MAP_FAILED) {
        unlink(path);
        VJ_FAIL(VJ_ERR_IO, "%s: %s", path, strerror(why));
    }
    *out = at;
    vj_flight_begin(*out, rank, size);
    return VJ_OK;
}

void vj_flight_destroy(vj_flight **f)
{
    if (*f) munmap(*f, sizeof **f);
    *f = NULL;
}

static void put(char *out, size_t size, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    if (n >= size) n = size - 1;
    if (n) memcpy(out, text, n);
    out[n] = '\0';
}

void vj_flight_observe(void *flight, const vj_comm_event *e)
{
    vj_flight *f = flight;
    vj_flight_page *p = &f->page;
    if (e->ended == 0) {
        vj_flight_entry *n = &f->ring[p->written % VJ_FLIGHT_ENTRIES];
        n->ended = 0;
        n->seq = e->seq;
        put(n->op, sizeof n->op, e->op);
        put(n->what, sizeof n->what, e->what);
        put(n->comm, sizeof n->comm, e->comm);
        n->unit = e->unit;
        n->failed = 0;
        n->bytes = e->bytes;
        n->asked = e->asked;
        n->began = e->began;
        n->step = __atomic_load_n(&p->step, __ATOMIC_RELAXED);
        n->phase = __atomic_load_n(&p->phase, __ATOMIC_RELAXED);
        __atomic_store_n(&p->written, p->written + 1, __ATOMIC_RELEASE);
    } else if (p->written > 0) {
        vj_flight_entry *n = &f->ring[(p->written - 1) % VJ_FLIGHT_ENTRIES];
        if (n->seq == e->seq && e->failed) n->failed = 1;
        else if (n->seq == e->seq) n->ended = e->ended;
        if (!e->failed) __atomic_fetch_add(&p->progress, 1, __ATOMIC_RELAXED);
    }
}

// ---- reading ------------------------------------------------------------------------------------------------------

// Goes to a terminal.
static bool clean(const char *text, size_t size)
{
    if (memchr(text, '\0', size) == NULL) return false;
    for (; *text; text++) {
        if (*text < ' ' || *text > '~') return false;
    }
    return true;
}

static vj_status damaged(const char *path, const char *what)
{
    VJ_FAIL(VJ_ERR_DATA, "%s: %s; it cannot be used", path, what);
}

static vj_status take(vj_flight_rank *r, const char *data, size_t n, const char *path)
{
    const vj_flight_page *p = &r->page;
    if (n != sizeof(vj_flight)) return damaged(path, n < sizeof(vj_flight) ? "is cut short" : "is longer than a rank's record");
    memcpy(&r->page, data, sizeof r->page);
    if (memcmp(p->magic, magic, sizeof magic) != 0) return damaged(path, "is not a rank's record");
    if (p->version != VJ_FLIGHT_VERSION || p->entries != VJ_FLIGHT_ENTRIES) return damaged(path, "has another version");
    if (p->size < 1 || p->rank < 0 || p->rank >= p->size || p->pid < 1 || p->phase < 0 || p->phase >= VJ_LIFE_COUNT || !clean(p->host, sizeof p->host) ||
        !clean(p->started, sizeof p->started) || !(p->alive_wall > 0 && p->alive_wall < 1e12) || !(p->progress_wall > 0 && p->progress_wall < 1e12))
        return damaged(path, "is damaged");
    if (p->written == 0) return VJ_OK;
    memcpy(&r->last, data + offsetof(vj_flight, ring) + (p->written - 1) % VJ_FLIGHT_ENTRIES * sizeof r->last, sizeof r->last);
    const vj_flight_entry *e = &r->last;
    if (!clean(e->op, sizeof e->op) || !clean(e->what, sizeof e->what) || !clean(e->comm, sizeof e->comm)) return damaged(path, "is damaged");
    r->has_last = true;
    r->unfinished = e->ended == 0;
    return VJ_OK;
}

vj_status vj_flight_read(vj_flight_rank *out, const char *path)
{
    char *data = NULL, state = 0, started[32] = "", host[64] = "";
    size_t n = 0;
    *out = (vj_flight_rank){ 0 };
    VJ_TRY(vj_file_read(path, &data, &n, 0));
    const vj_status status = take(out, data, n, path);
    free(data);
    VJ_TRY(status);
    if (gethostname(host, sizeof host - 1) != 0 || strcmp(host, out->page.host) != 0) return VJ_OK;
    const bool there = process(out->page.pid, &state, started) && strcmp(started, out->page.started) == 0;
    out->gone = !there && out->page.phase != VJ_LIFE_END;
    out->stopped = there && (state == 'T' || state == 't');
    return VJ_OK;
}

// ---- judging ------------------------------------------------------------------------------------------------------
static void say_op(vj_str *s, const vj_flight_entry *e)
{
    vj_str_printf(s, "operation %llu (%s", (unsigned long long)e->seq, e->op);
    if (e->what[0]) vj_str_printf(s, " of %s", e->what);
    if (e->what[0] && e->unit >= 0) vj_str_printf(s, ", unit %d", e->unit);
    vj_str_printf(s, ", %lld bytes, %s)", (long long)e->bytes, e->comm);
}

int vj_flight_judge(const vj_flight_rank *ranks, int n, double now, double silent, vj_str *s)
{
    int who = -1, gone = 0, running = 0;
    double newest = 0;
    const char *why = NULL;
    for (int i = 0; i < n; i++) {
        gone += ranks[i].gone;
        running += ranks[i].page.phase != VJ_LIFE_END;
        newest = ranks[i].page.alive_wall > newest ? ranks[i].page.alive_wall : newest;
    }
    if (running == 0) {
        vj_str_printf(s, "nothing is wrong: all %d ranks have ended as they should", n);
        return -1;
    }
    // Where all are gone, the one that fell silent before the others.
    const bool all_gone = gone == running;
    const double at = all_gone ? newest : now;
    for (int i = 0; i < n && who < 0; i++) {
        if (ranks[i].stopped) who = i, why = "its process is stopped (signal)";
    }
    for (int i = 0; i < n && who < 0 && !all_gone; i++) {
        if (ranks[i].gone) who = i, why = "its process is gone";
    }
    for (int i = 0; i < n && who < 0; i++) {
        if (ranks[i].page.phase != VJ_LIFE_END && at - ranks[i].page.alive_wall > silent) who = i, why = "shows no sign of life";
    }
    uint64_t low = UINT64_MAX, high = 0;
    for (int i = 0; i < n; i++) {
        const uint64_t seq = ranks[i].has_last ? ranks[i].last.seq : 0;
        if (seq < low) low = seq;
        if (seq > high) high = seq;
    }
    for (int i = 0; i < n && who < 0 && low < high; i++) {
        if ((ranks[i].has_last ? ranks[i].last.seq : 0) == low && (all_gone || now - ranks[i].page.progress_wall > silent)) who = i, why = "is behind the others";
    }
    if (who < 0 && all_gone) who = 0, why = "its process is gone, as those of all ranks are";
    if (who < 0) {
        vj_str_printf(s, "nothing is wrong: all %d ranks show signs of life", n);
        return -1;
    }
    const vj_flight_page *p = &ranks[who].page;
    vj_str_printf(s, "rank %d (pid %lld on %s)%s %s; it is in phase %s of step %lld", p->rank, (long long)p->pid, p->host,
                  strncmp(why, "its", 3) == 0 ? ":" : "", why, vj_life_name(p->phase), (long long)p->step);
    if (p->slot >= 0) vj_str_printf(s, ", slot %d", p->slot);
    // The first operation that some rank has begun and this one has not done.
    const vj_flight_entry *first = ranks[who].unfinished ? &ranks[who].last : NULL;
    const uint64_t done = ranks[who].has_last ? ranks[who].last.seq : 0;
    for (int i = 0; i < n && !first; i++) {
        if (ranks[i].has_last && ranks[i].last.seq > done && ranks[i].unfinished) first = &ranks[i].last;
    }
    if (!first && ranks[who].has_last) {
        vj_str_add(s, "; the last it has done is ");
        say_op(s, &ranks[who].last);
    } else if (first) {
        vj_str_add(s, "; the first unfinished operation is ");
        say_op(s, first);
    }
    return who;
}
