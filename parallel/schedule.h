// What is sent when in a slot: one list for all networks of a model, made once from the order in which the passes use their units,
// carried out alike by every rank. A rank without a slot walks through it without computing.
//
// The list is made by running the passes once without launching anything (vj_schedule_record): the calls at unit borders (store.h)
// write down the uses. vj_schedule_compile then attaches operations to them:
//
//   gather u      all-gather of u and of the next `prefetch` units, unless they are there; wait for u
//   release u     (what had to wait for u's buffer is gathered)
//   gradient u    wait until the place for u's gradient has been sent
//   reduce u      reduce-scatter of u's gradient; prefetch 0: wait for it
//
// So the all-gather of the next unit is always asked for before this one's reduce-scatter, and a unit is gathered once for
// all masks. Between steps a list is of no use: passes that look at clips gather when they need to (vj_schedule_alone).
//
// Easy to get wrong: skipping a gather whose unit is still there must happen on all ranks or on none. It is decided from `holds`,
// which only the list and vj_schedule_follow change, alike everywhere.
#ifndef VJ_PARALLEL_SCHEDULE_H
#define VJ_PARALLEL_SCHEDULE_H

#include "parallel/store.h"
#include "runtime/base/str.h"

typedef enum vj_use_kind { VJ_USE_GATHER, VJ_USE_RELEASE, VJ_USE_GRADIENT, VJ_USE_REDUCE } vj_use_kind;

// `mesh`: not owned; the stores are told of their schedule by vj_schedule_add.
vj_status vj_schedule_create(vj_schedule **out, const vj_mesh *mesh) VJ_MUST_CHECK;
void vj_schedule_destroy(vj_schedule **q);
void vj_schedule_add(vj_schedule *q, vj_store *s);

// Uses are written down from here (begin) to vj_schedule_compile; or not looked at (`ignored`: other passes that only measure).
void vj_schedule_record(vj_schedule *q);
void vj_schedule_ignore(vj_schedule *q, bool ignored);
vj_status vj_schedule_compile(vj_schedule *q) VJ_MUST_CHECK;

// Around a slot: the uses must come as they were written down. Walk: all of them, without a slot.
void vj_schedule_begin(vj_schedule *q);
vj_status vj_schedule_end(vj_schedule *q) VJ_MUST_CHECK;
vj_status vj_schedule_walk(vj_schedule *q, vj_stream *st) VJ_MUST_CHECK;

// Weights have changed: what was gathered is old.
void vj_schedule_forget(vj_schedule *q);

// Weights in parts: rank 0 of the world runs passes of its own between begin and end, gathering as it goes; all others are in
// vj_schedule_follow meanwhile. Else nothing happens.
vj_status vj_schedule_alone(vj_schedule *q, bool begins) VJ_MUST_CHECK;
vj_status vj_schedule_follow(vj_schedule *q, vj_stream *st) VJ_MUST_CHECK;

// The list, to read: a line a use.
void vj_schedule_text(const vj_schedule *q, vj_str *out);

// From the calls at unit borders.
vj_status vj_schedule_use(vj_schedule *q, vj_stream *st, vj_use_kind kind, vj_store *s, int unit) VJ_MUST_CHECK;

#endif
