// Inside of the loader. Private to data/ and its tests.
//
//   planner  1 thread: waits for a free entry of the ring, lists the step's samples, groups and masks
//   workers  n threads: take samples in order (step by step), read, decode, crop into their place
//   watch    1 thread: looks at reads that do not come back (loader_watch.c)
//   consumer the caller: waits for the next step's entry, gives it back
//
// Entries move through FREE -> planned (samples are handed out) -> ready (left == 0) -> held by the consumer -> FREE,
// always in step order, so four counters describe the whole ring.
#ifndef VJ_DATA_LOADER_IMPL_H
#define VJ_DATA_LOADER_IMPL_H

#include <pthread.h>
#include <signal.h>

#include "data/augment.h"
#include "data/catalog.h"
#include "data/decode.h"
#include "data/loader.h"
#include "data/masks.h"
#include "data/order.h"
#include "data/quarantine.h"
#include "data/shard.h"

// Held-out samples count from here, so that they share no random draw with training.
#define VJ_HELD_OUT_BIT ((uint64_t)1 << 63)
enum { VJ_SUBSTITUTES = 8, VJ_HELD_OUT_MOST = 16384, VJ_READ_RETRIES = 3 };

typedef struct vj_held_window { int source; int64_t row; } vj_held_window;

typedef struct vj_loader_sample {
    uint64_t g;
    int source;
    int64_t row;             // the first choice
    int64_t fpc;
    float *clip;             // (3, fpc, crop, crop): its place in the group
    // filled by the worker
    int64_t delivered;       // row
    uint64_t key;
    int substitution;
    bool image;
    char *file;              // asked for by vj_loader_origin, else NULL
    int n_bad;
    int64_t bad[VJ_SUBSTITUTES + 1];   // rows that were tried first and are bad
} vj_loader_sample;

typedef struct vj_loader_entry {
    vj_batch batch;              // first: a batch pointer is an entry pointer
    vj_loader_sample *samples;   // (own samples) in slot order, by g inside a slot
    float *clips;                // (own samples, largest clip)
    int32_t *ids;                // (own slots, masks * slot * largest N)
    uint64_t *g;                 // (own samples) by slot and group
    int64_t handed, left;        // samples given to workers, samples not ready
    vj_status status;            // the problem of the first sample in order that has one
    char *error;
    int64_t failed;              // that sample's place; -1: the step could not be planned
    bool judged;                 // its bad rows were counted by the consumer
} vj_loader_entry;

// A thread that makes samples, and its read in flight.
typedef struct vj_loader_worker {
    struct vj_loader *l;
    pthread_t thread;
    bool started, ended;                 // under the mutex, as all below; a started one is joined
    bool left_alone;                     // its sample was given to another thread: what it reads is thrown away
    vj_loader_sample *sample;            // being made; a new thread starts with it
    vj_loader_entry *entry;
    bool reading, warned, hedged;        // a read is in flight; was named; was made again (by or for this thread)
    double began;                        // when; of a read made again: when the first one began
    int64_t row;
} vj_loader_worker;

struct vj_loader {
    vj_data_config config;
    vj_mask_config mask_config;
    vj_loader_stage stage;
    vj_catalog *catalog;
    vj_shards *shards;
    vj_plan *plan;                       // NULL when serving held-out windows
    vj_held_window *held;                // the held-out windows in their order
    int64_t n_held;
    vj_quarantine *quarantine;
    vj_masks *masks;                     // planner only, as the next three
    vj_mask_cut *cuts;                   // (stage.fpc.n) with mask.truncate global or rank, else NULL
    uint64_t *counted;                   // (own samples) sample numbers of a group that is counted
    int *fpc_of;                         // (slot) places in the list of frames per clip
    uint64_t start;                      // cursor and step of entry 0
    int64_t start_step;
    int64_t n_slots;                     // this rank's
    int64_t longest;                     // largest fpc
    vj_loader_entry *ring;
    int64_t n_ring;

    pthread_mutex_t mutex;               // guards everything below and the entries' counters
    pthread_cond_t room, work, ready;    // an entry is free; samples wait; an entry is done
    int64_t planned, working, delivered, released;   // steps: listed; handed out completely; given; given back
    bool stop, failed;
    vj_loader_stats stats;

    pthread_t planner, watch;
    bool has_planner, has_watch;
    pthread_cond_t tick;                 // wakes the watch
    char *stall;                         // a read took data.io_fatal_s: the message
    double stalled_at;                   // when that was noticed
    bool told;                           // the consumer has it
    vj_loader_worker *workers;           // (room_workers): n_workers at first, then those that took over samples
    int n_workers, room_workers;
};

// loader.c: the slots [*first, *first + *count) of a step that this rank delivers
int64_t vj_loader_own_slots(const vj_loader_stage *stage);   // how many: rank, rank + world, rank + 2 world, ...
// loader_plan.c
vj_status vj_loader_list_held(vj_loader *l) VJ_MUST_CHECK;
int64_t vj_loader_fpc(const vj_loader *l, int source, int *fpc_index);
void *vj_loader_plan_thread(void *loader);
// loader_work.c
void *vj_loader_work_thread(void *worker);
// loader_watch.c
vj_status vj_loader_start_worker(vj_loader_worker *worker) VJ_MUST_CHECK;   // VJ_ERR_NOMEM; signals are blocked in it
void *vj_loader_watch_thread(void *loader);
void vj_loader_block_signals(sigset_t *before);
void vj_loader_read_begins(vj_loader_worker *worker, int64_t row);
bool vj_loader_read_ends(vj_loader_worker *worker);   // false: another thread has taken over the sample
bool vj_loader_join(vj_loader *l);                    // false: a thread is stuck, the loader's memory must stay

static inline int64_t vj_loader_rows(const vj_loader *l, int source)
{
    const vj_source *s = &l->catalog->sources[source];
    return l->stage.held_out ? s->held_out.rows : s->train.rows;
}
static inline vj_loader_entry *vj_loader_entry_of(vj_loader *l, int64_t step) { return &l->ring[step % l->n_ring]; }
// Puts a problem of the calling thread, met at sample `at`, into an entry; under the mutex. Samples are handed out in order
// and those before a failed one are always finished, so the first in order is kept, whichever thread was first in time.
void vj_loader_fail_entry(vj_loader *l, vj_loader_entry *e, vj_status status, int64_t at);

// --- for tests ---
// Called before each read of a sample's bytes; what it returns (with a message) replaces the read unless VJ_OK.
typedef vj_status (*vj_loader_read_hook)(void *context, int source, int64_t row, int attempt);
void vj_loader_test_reads(vj_loader_read_hook hook, void *context);
// Factor on the waits between retries (1 = 0.1, 1 and 5 s), and how long closing waits for reads in flight (5 s).
void vj_loader_test_patience(double factor, double close_seconds);
double vj_loader_patience(void);
double vj_loader_close_seconds(void);

#endif
