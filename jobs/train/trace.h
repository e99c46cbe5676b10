// A trace of some steps on all ranks, for chrome://tracing or Perfetto: train.trace=FROM:TO.
//
// One process for each rank, with two threads: what the rank computes, as spans that nest (step, slot, pass, block; waiting for
// data, for other ranks; saving, held-out figures), and what its communication thread carries out: every operation with its unit
// and bytes. Devices with queues of their own (far) show when work was asked for. The lead writes RUN/trace-%08d.json, named by the
// first step traced, when the last one's border is over. Nothing is left of a range that an error ended.
//
// Clocks: the lead asks for the time sixteen times when the trace begins, by a broadcast and a sum over ranks. The round that came
// back soonest gives every rank's clock against the lead's, wrong by at most half of that round; this stands in the file ("clock",
// error_us). A difference within the error, as on one machine, where there is one clock, is taken to be none.
#ifndef VJ_JOBS_TRAIN_TRACE_H
#define VJ_JOBS_TRAIN_TRACE_H

#include "jobs/train/ranks.h"

typedef struct vj_trace vj_trace;

// From this step on, of every rank; spans of the calling thread are taken. All ranks call it at the same step border.
vj_status vj_trace_begin(vj_trace **out, vj_ranks *ranks) VJ_MUST_CHECK;
// Writes and ends it: *trace is NULL afterwards, whatever happens. All ranks call it. A file that cannot be written is warned of,
// and nothing stops. `host`: this rank's; `path`: the lead's file.
vj_status vj_trace_end(vj_trace **trace, vj_ranks *ranks, const char *host, const char *path) VJ_MUST_CHECK;
// Without a file.
void vj_trace_drop(vj_trace **trace);

#endif
