// Inside of the store: what store.c, store_ranks.c, store_weights.c and schedule.c share.
#ifndef VJ_PARALLEL_STORE_IMPL_H
#define VJ_PARALLEL_STORE_IMPL_H

#include "parallel/schedule.h"

vj_tensor vj_store_span(const vj_store *s, void *buffer, int64_t first, int64_t n);   // elements of a flat buffer
size_t vj_store_bytes(const vj_store *s, int64_t elements);
void *vj_store_at(const vj_store *s, void *buffer, int64_t elements);
vj_status vj_places_make(vj_places *p, const vj_layout *layout, int apart, int turns) VJ_MUST_CHECK;
void vj_places_free(vj_places *p);

static inline void vj_store_about(const vj_store *s, vj_comm *c, int unit) { vj_comm_about(c, unit < 0 ? NULL : s->label[unit], unit); }

// store_ranks.c: gradients of stores with a mesh.
vj_status vj_store_join(vj_store *s) VJ_MUST_CHECK;        // memory
void vj_store_leave(vj_store *s);
vj_status vj_store_reduce_ask(vj_store *s, vj_stream *st, int unit, bool present) VJ_MUST_CHECK;
vj_status vj_store_reduce_wait(vj_store *s, int place) VJ_MUST_CHECK;
vj_status vj_store_reduce_end(vj_store *s, vj_stream *st) VJ_MUST_CHECK;   // of the round: waits, and level[current] is there
vj_status vj_store_gather_sum(vj_store *s, vj_stream *st) VJ_MUST_CHECK;   // level[current] of all ranks into `whole`

// store_weights.c: weights of stores with a mesh that holds them in parts.
vj_status vj_store_hold(vj_store *s, bool backward) VJ_MUST_CHECK;         // memory
void vj_store_let_go(vj_store *s);
vj_status vj_store_gather_ask(vj_store *s, vj_stream *st, int unit, bool from_kept) VJ_MUST_CHECK;   // unless it is there
vj_status vj_store_gather_wait(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;
vj_status vj_store_keep(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;
void vj_store_forget(vj_store *s);                                         // what was gathered is old

#endif
