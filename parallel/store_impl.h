// Inside of the store: what store.c and store_ranks.c share.
#ifndef VJ_PARALLEL_STORE_IMPL_H
#define VJ_PARALLEL_STORE_IMPL_H

#include "parallel/store.h"

vj_tensor vj_store_span(const vj_store *s, void *buffer, int64_t first, int64_t n);   // elements of a flat buffer

// store_ranks.c, for stores with `comm`.
vj_status vj_store_join(vj_store *s, vj_comm *comm, vj_parallel_mode mode) VJ_MUST_CHECK;   // memory; sets level_length
void vj_store_leave(vj_store *s);
// The round's gradients of all ranks, reduced into level[current]. `present`: this rank has one.
vj_status vj_store_reduce_round(vj_store *s, vj_stream *st, bool present) VJ_MUST_CHECK;
// level[current] of all ranks, gathered into `whole`.
vj_status vj_store_gather_sum(vj_store *s, vj_stream *st) VJ_MUST_CHECK;

#endif
