// Where the time of a rank goes, and which rank is slow.
//
// A rank's time is cut into phases, without gaps; what it spends in one of them waiting for other ranks is counted as
// communication instead. Every log.every steps the ranks put their phases together (jobs/train/ranks.h).
//
//   data            waiting for the loader
//   compute         forward and backward of the rank's own slots
//   update          norms and finite check, AdamW, EMA of the target encoder
//   communication   waiting for other ranks, wherever that happens; what goes on beside computing is not in it
//   save            checkpoints
//   report          lines, held-out and monitor figures: the lead's alone
//
// Stragglers: a rank's pace is the median over the window's steps of its compute time by the FLOP of its slots, since masks
// give slots of different sizes. A rank is a straggler when its pace is above `limit` times the median rank's (of an even
// number the faster one) in `patience` windows in a row, and until it is below the limit by the margin of `hysteresis` in as
// many. One at a time is named: the one that was first, of several the slowest.
#ifndef VJ_JOBS_TRAIN_PHASES_H
#define VJ_JOBS_TRAIN_PHASES_H

#include "parallel/comm.h"

typedef enum vj_phase {
    VJ_PHASE_DATA, VJ_PHASE_COMPUTE, VJ_PHASE_UPDATE, VJ_PHASE_COMMUNICATION, VJ_PHASE_SAVE, VJ_PHASE_REPORT, VJ_PHASES
} vj_phase;
extern const char *const vj_phase_names[VJ_PHASES];

// The least limit where ranks and their threads are more than the CPUs of a machine: who has a CPU to itself for a while is fast.
#define VJ_STRAGGLER_CROWDED 2.0

enum { VJ_PACE_STEPS = 256 };   // of a longer window its last steps count
typedef struct vj_phase_clock {
    double last, waited;              // when the last lap ended; what this thread had waited for other ranks then
    double seconds[VJ_PHASES];        // since the window began
    double pace[VJ_PACE_STEPS];       // seconds of computing by FLOP, of each step
    int64_t steps;
} vj_phase_clock;

void vj_phase_start(vj_phase_clock *c);   // of the thread that calls this and all that follows
// What was since the last lap is `phase`. Returns its seconds, without those of waiting for other ranks.
double vj_phase_lap(vj_phase_clock *c, vj_phase phase);
// A step with `flop` of own slots is over, which took `compute` seconds.
void vj_phase_step(vj_phase_clock *c, double compute, double flop);

// One rank's window as it travels, VJ_PHASE_FIGURES numbers: seconds a step of each phase, then the pace (0: no step had FLOP).
enum { VJ_PHASE_FIGURES = VJ_PHASES + 1 };
// Ends the window: the next one begins.
void vj_phase_window(vj_phase_clock *c, double *out);

typedef struct vj_straggler {
    int slowest;                      // the slowest rank of the last window, -1: none yet
    double slowdown;                  // its pace over the median rank's
    int named;                        // the rank that is a straggler, -1: none
    double named_slowdown, limit;     // NAN where none is named; what it had to be
} vj_straggler;

typedef struct vj_stragglers vj_stragglers;
// `limit` 0: nobody is named.
vj_status vj_stragglers_create(vj_stragglers **out, int ranks, double limit, int64_t patience, double hysteresis) VJ_MUST_CHECK;
void vj_stragglers_destroy(vj_stragglers **s);
// A window of all ranks: their figures one behind the other.
void vj_stragglers_add(vj_stragglers *s, const double *figures, vj_straggler *out);

#endif
