// The asynchronous writer (see the header).
//
// Easy to get wrong: the threads use no communicator and touch nothing of the training; everything they read was copied. The parts
// of one saver are used by one thread at a time: it is handed over by creating and joining threads.

#include "checkpoints/async.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoints/save_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/fault.h"

typedef enum phase { IDLE, WRITING, COMMITTING } phase;

struct vj_async_save {
    vj_comm *comm;                  // NULL: alone
    int rank, ranks;
    void *copy;
    size_t copy_bytes;

    // of the save that runs
    phase phase;
    vj_saver s;
    char run_dir[512];
    int64_t keep, keep_every;
    char *config, *quarantine;
    vj_state_part *parts;           // as given, over the copy
    const vj_state_part **of_rank;  // ranks times `parts`: only the own one's intervals are looked at
    vj_tensor *shards;
    int64_t *begin;

    pthread_t thread;               // of the save, or before the first one that takes memory for the copy
    bool threaded;                  // there is one to join
    atomic_bool cancel, finished;
    vj_status status;               // of the thread's work, with its message
    char message[2048];
};

vj_status vj_async_save_create(vj_async_save **out, vj_comm *comm)
{
    vj_async_save *a = *out = calloc(1, sizeof *a);
    VJ_CHECK(a != NULL, VJ_ERR_NOMEM, "no memory for saving");
    a->comm = comm && vj_comm_size(comm) > 1 ? comm : NULL;
    a->rank = a->comm ? vj_comm_rank(comm) : 0;
    a->ranks = a->comm ? vj_comm_size(comm) : 1;
    return VJ_OK;
}

static vj_status agree(const vj_async_save *a, vj_status status) { return a->comm ? vj_comm_agree(a->comm, status) : status; }

// Back to where a save can start.
static void forget(vj_async_save *a)
{
    vj_saver_free(&a->s);
    free(a->config);
    free(a->quarantine);
    free(a->parts);
    free(a->of_rank);
    free(a->shards);
    free(a->begin);
    a->config = a->quarantine = NULL;
    a->parts = NULL;
    a->of_rank = NULL;
    a->shards = NULL;
    a->begin = NULL;
    a->phase = IDLE;
}

static void join(vj_async_save *a)
{
    if (a->threaded) pthread_join(a->thread, NULL);
    a->threaded = false;
}

void vj_async_save_destroy(vj_async_save **async)
{
    vj_async_save *a = *async;
    if (!a) return;
    atomic_store(&a->cancel, true);
    join(a);
    forget(a);
    if (a->copy) munmap(a->copy, a->copy_bytes);
    free(a);
    *async = NULL;
}

int64_t vj_async_save_step(const vj_async_save *a) { return a && a->phase != IDLE ? a->s.manifest.state.step : -1; }
int64_t vj_async_save_bytes(const vj_async_save *a) { return a ? (int64_t)a->copy_bytes : 0; }

bool vj_async_save_ready(const vj_async_save *a, bool *failed)
{
    const bool ready = a && a->phase != IDLE && atomic_load(&a->finished);
    *failed = ready && a->status != VJ_OK;
    return ready;
}

// ---- the thread ------------------------------------------------------------------------------------------------------------------
static vj_status work(vj_async_save *a)
{
    vj_status status = a->phase == WRITING ? vj_saver_write_shard(&a->s, a->rank) : VJ_OK;
    if (a->comm && a->phase == WRITING) return status;
    if (status == VJ_OK) status = vj_saver_commit(&a->s);
    if (status == VJ_OK) status = vj_saver_end(&a->s, a->run_dir, a->keep, a->keep_every);
    return status;
}

static void do_work(vj_async_save *a)
{
    a->status = work(a);
    vj_format(a->message, sizeof a->message, "%.2000s", a->status == VJ_OK ? "" : vj_error_text());
    vj_error_clear();
    atomic_store(&a->finished, true);
}

// The training and its loader go first: a save has time until the next one.
static void stand_back(void) { (void)!setpriority(PRIO_PROCESS, (id_t)gettid(), 5); }

static void *thread_main(void *context)
{
    stand_back();
    do_work(context);
    return NULL;
}

// Every page is written to once: a first touch costs as much as a copy, or far more where memory is short.
static void *touch_main(void *context)
{
    vj_async_save *a = context;
    stand_back();
    volatile char *p = a->copy;
    for (size_t at = 0; at < a->copy_bytes && !atomic_load(&a->cancel); at += 4096) p[at] = 0;
    return NULL;
}

static bool start_thread(vj_async_save *a, void *(*body)(void *))
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);   // faults of its own are reported as everybody's
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    a->threaded = pthread_create(&a->thread, NULL, body, a) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return a->threaded;
}

static void start_work(vj_async_save *a)
{
    atomic_store(&a->finished, false);
    if (!start_thread(a, thread_main)) do_work(a);   // slower, and as good
}

// ---- starting --------------------------------------------------------------------------------------------------------------------
static bool make_copy_room(vj_async_save *a, size_t bytes)
{
    if (a->copy_bytes >= bytes) return true;
    const int sharing = a->comm ? vj_comm_local_size(a->comm) : 1;   // all of the machine ask now
    const int64_t available = vj_memory_available();
    if (available > 0 && (double)bytes * sharing > (double)available) return false;
    if (a->copy) munmap(a->copy, a->copy_bytes);
    a->copy_bytes = 0;
    a->copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a->copy == MAP_FAILED) {
        a->copy = NULL;
        return false;
    }
    a->copy_bytes = bytes;
    (void)!madvise(a->copy, bytes, MADV_HUGEPAGE);   // a hint
    return true;
}

static size_t rounded(size_t bytes) { return (bytes + VJ_ALIGN - 1) / VJ_ALIGN * VJ_ALIGN; }

static size_t bytes_of(const vj_state_part *parts, int n_parts)
{
    size_t bytes = VJ_ALIGN;
    for (int p = 0; p < n_parts; p++) {
        for (int u = 0; u < parts[p].layout->n_units; u++) bytes += rounded(vj_tensor_bytes(&parts[p].shards[u]));
    }
    return bytes;
}

void vj_async_save_prepare(vj_async_save *a, const vj_state_part *parts, int n_parts)
{
    const size_t bytes = bytes_of(parts, n_parts);
    if (a->phase == IDLE && !a->threaded && a->copy_bytes < bytes && make_copy_room(a, bytes)) (void)start_thread(a, touch_main);
}

// Lists over the copy, in the shape of `parts`.
static vj_status make_lists(vj_async_save *a, const vj_state_part *parts, int n_parts, const vj_run_state *state)
{
    size_t units = 0;
    for (int p = 0; p < n_parts; p++) units += (size_t)parts[p].layout->n_units;
    a->parts = calloc((size_t)n_parts + 1, sizeof *a->parts);
    a->of_rank = calloc((size_t)a->ranks, sizeof *a->of_rank);
    a->shards = calloc(units + 1, sizeof *a->shards);
    a->begin = calloc(units + 1, sizeof *a->begin);
    VJ_CHECK(a->parts && a->of_rank && a->shards && a->begin, VJ_ERR_NOMEM, "no memory for saving");
    a->config = vj_strdup(state->config_yaml ? state->config_yaml : "");
    a->quarantine = state->quarantine_json ? vj_strdup(state->quarantine_json) : NULL;
    for (int r = 0; r < a->ranks; r++) a->of_rank[r] = a->parts;
    char *at = a->copy;
    size_t i = 0;
    for (int p = 0; p < n_parts; p++) {
        VJ_CHECK(parts[p].fill == NULL, VJ_ERR_BUG, "a state that is not in memory cannot be copied");
        a->parts[p] = parts[p];
        a->parts[p].shards = a->shards + i;
        a->parts[p].begin = a->begin + i;
        for (int u = 0; u < parts[p].layout->n_units; u++, i++) {
            const vj_tensor *t = &parts[p].shards[u];
            a->shards[i] = vj_tensor_1d(at, t->dtype, vj_count(t));
            a->begin[i] = parts[p].begin[u];
            at += rounded(vj_tensor_bytes(t));
        }
    }
    a->s = (vj_saver){ .parts = a->of_rank, .n_parts = n_parts, .cancel = &a->cancel };
    a->s.manifest.state = *state;
    a->s.manifest.state.config_yaml = a->config;
    a->s.manifest.state.quarantine_json = a->quarantine;
    a->s.manifest.n_shards = a->ranks;
    return VJ_OK;
}

static vj_status copy_state(vj_async_save *a, const vj_state_part *parts, int n_parts, vj_stream *st)
{
    size_t i = 0;
    for (int p = 0; p < n_parts; p++) {
        for (int u = 0; u < parts[p].layout->n_units; u++, i++) {
            const size_t bytes = vj_tensor_bytes(&parts[p].shards[u]);
            if (bytes > 0) VJ_TRY(vj_copy_to_host(st, a->shards[i].data, parts[p].shards[u].data, bytes));
        }
    }
    return vj_stream_sync(st);
}

static vj_status begin(vj_async_save *a, const vj_state_part *parts, int n_parts, vj_stream *st, bool *done)
{
    vj_saver *s = &a->s;
    VJ_TRY(a->comm ? vj_saver_begin_together(s, a->comm, a->run_dir, done) : vj_saver_begin(s, a->run_dir, done));
    if (*done) return agree(a, a->rank == 0 ? vj_saver_end(s, a->run_dir, a->keep, a->keep_every) : VJ_OK);
    vj_status status;
    if (a->comm) status = vj_saver_open_together(s, a->comm);
    else {
        status = vj_saver_check_space(s, vj_saver_payload(s, 0));
        if (status == VJ_OK) status = vj_saver_make_room(s);
        if (status == VJ_OK) status = vj_saver_open(s);
    }
    if (status == VJ_OK) status = agree(a, copy_state(a, parts, n_parts, st));
    if (status != VJ_OK && a->rank == 0) vj_saver_undo(s);
    return status;
}

vj_status vj_async_save_start(vj_async_save *a, const char *run_dir, const vj_state_part *parts, int n_parts, const vj_run_state *state,
                              vj_stream *st, int64_t keep, int64_t keep_every, vj_async_outcome *how)
{
    VJ_CHECK(a->phase == IDLE, VJ_ERR_BUG, "a save is started while another one runs");
    *how = VJ_ASYNC_NO_ROOM;
    join(a);   // the one that takes memory, if it still does
    double room = !vj_fault_point("checkpoint.copy", "") && make_copy_room(a, bytes_of(parts, n_parts)) ? 1 : 0;
    if (a->comm) VJ_TRY(vj_comm_all_reduce_now(a->comm, &room, 1, VJ_MIN));
    if (room == 0) return VJ_OK;

    vj_status status = strlen(run_dir) < sizeof a->run_dir ? VJ_OK : vj_fail(VJ_ERR_USAGE, "the run directory's path is too long");
    if (status == VJ_OK) {
        vj_format(a->run_dir, sizeof a->run_dir, "%s", run_dir);
        a->keep = keep;
        a->keep_every = keep_every;
        status = make_lists(a, parts, n_parts, state);
    }
    status = agree(a, status);
    bool done = false;
    if (status == VJ_OK) status = begin(a, parts, n_parts, st, &done);
    if (status != VJ_OK || done) {
        forget(a);
        *how = VJ_ASYNC_THERE;
        return status;
    }
    *how = VJ_ASYNC_STARTED;
    a->phase = WRITING;
    atomic_store(&a->cancel, false);
    start_work(a);
    return VJ_OK;
}

// ---- going on --------------------------------------------------------------------------------------------------------------------
// This rank's writer has ended, and so have the others': the shards are made known, and the first rank commits.
static vj_status share_and_commit(vj_async_save *a, vj_status status)
{
    status = agree(a, status);
    for (int r = 0; r < a->ranks && status == VJ_OK; r++) status = vj_saver_share_shard(&a->s, a->comm, r);
    VJ_TRY(status);
    a->phase = COMMITTING;
    a->status = VJ_OK;
    if (a->rank == 0) start_work(a);
    return VJ_OK;
}

vj_status vj_async_save_advance(vj_async_save *a, bool failed, bool *saved)
{
    *saved = false;
    VJ_CHECK(a->phase != IDLE, VJ_ERR_BUG, "no save runs");
    if (failed) atomic_store(&a->cancel, true);
    join(a);
    vj_status status = a->status;
    if (status != VJ_OK && a->message[0]) status = vj_fail_text(status, a->message);
    else if (status != VJ_OK) vj_error_clear();
    if (a->comm && a->phase == WRITING) {
        status = share_and_commit(a, status);
        if (status == VJ_OK) return VJ_OK;
    } else {
        status = agree(a, status);
        *saved = status == VJ_OK;
    }
    if (status != VJ_OK && a->rank == 0) vj_saver_undo(&a->s);
    forget(a);
    return status;
}

vj_status vj_async_save_finish(vj_async_save *a, bool *saved)
{
    *saved = false;
    while (a && a->phase != IDLE) VJ_TRY(vj_async_save_advance(a, false, saved));
    return VJ_OK;
}
