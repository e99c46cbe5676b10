// What each rank is doing, in RUN/ranks/rank-00003.rec: a page of signs of life and a ring of the last 4,096 operations of its
// communicators, in a mapped file, so that it can be read while the rank runs and after it was killed.
//
// Reading trusts nothing: a file that is cut, of another version or damaged is one message. Times are the writer's clock.
#ifndef VJ_JOBS_TRAIN_FLIGHT_H
#define VJ_JOBS_TRAIN_FLIGHT_H

#include "parallel/comm.h"
#include "runtime/base/str.h"

enum { VJ_FLIGHT_ENTRIES = 4096, VJ_FLIGHT_VERSION = 1 };
typedef enum vj_life { VJ_LIFE_START, VJ_LIFE_DATA, VJ_LIFE_STEP, VJ_LIFE_FIGURES, VJ_LIFE_SAVE, VJ_LIFE_END, VJ_LIFE_COUNT } vj_life;

typedef struct vj_flight_entry {
    uint64_t seq;
    char op[16], what[24], comm[16];
    int32_t unit, failed;              // unit -1: none
    int64_t bytes;
    double asked, began, ended;        // seconds of the writer's monotonic clock; ended 0: under way
    int64_t step;
    int32_t phase, spare;
} vj_flight_entry;

typedef struct vj_flight_page {
    char magic[8];
    uint32_t version, entries;
    int32_t rank, size;
    int64_t pid;
    char host[64], started[32];        // of the process, as /proc has it
    int64_t alive, progress;           // counters: looks of the watchdog, and all that has been got on with
    double alive_wall, progress_wall;  // when they grew, seconds since 1970
    int64_t step;
    int32_t phase, slot;               // slot -1: none
    uint64_t written;                  // entries so far; the last is (written - 1) % entries
    char spare[824];
} vj_flight_page;

typedef struct vj_flight {
    vj_flight_page page;
    vj_flight_entry ring[VJ_FLIGHT_ENTRIES];
} vj_flight;

// Made anew; an earlier file stays as PATH.before. NULL with a message: the disk is full or cannot map files.
vj_status vj_flight_create(vj_flight **out, const char *path, int rank, int size) VJ_MUST_CHECK;
void vj_flight_begin(vj_flight *f, int rank, int size);   // the page of this process
void vj_flight_destroy(vj_flight **f);
void vj_flight_path(char out[640], const char *run, int rank);
void vj_flight_observe(void *flight, const vj_comm_event *event);   // a vj_comm_observer

// What is known of one rank. `unfinished`: the last operation is under way.
typedef struct vj_flight_rank {
    vj_flight_page page;
    vj_flight_entry last;
    bool has_last, unfinished, gone, stopped;   // gone, stopped: its process, where that can be asked for here
} vj_flight_rank;
// VJ_ERR_DATA: not such a file, cut or damaged.
vj_status vj_flight_read(vj_flight_rank *out, const char *path) VJ_MUST_CHECK;
const char *vj_life_name(int phase);

// Which of `n` ranks the others wait for, -1 where nothing is wrong, and a sentence about it. `silent`: seconds without a sign of
// life after which a rank counts as stopped; `now`: vj_wall().
int vj_flight_judge(const vj_flight_rank *ranks, int n, double now, double silent, vj_str *sentence);

#endif
