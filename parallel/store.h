// The parameter store of one network: flat buffers per unit, and the calls at unit borders.
//
// On one rank a unit's full weights are its shard, so gather and release do nothing and reduce adds into the slot's
// gradient where it is. Ranks come later; the places where they will talk are these three calls, and they are made
// already.
//
// Gradients of slots are summed in a binary tree over the slot index (contracts 1): a binary counter of accumulators.
// Accumulator `level` holds the sum of 2^level finished slots; a finished slot merges upwards while its bit is set.
//
// With one slot a step, units may share the memory of their gradients (optim.in_backward): a unit's gradient then lives from
// its backward to vj_unit_reduce, where `reduced` uses it up, and the next unit finds zeros in the same place.
#ifndef VJ_PARALLEL_STORE_H
#define VJ_PARALLEL_STORE_H

#include "parallel/layout.h"
#include "runtime/tensor/device.h"

typedef enum vj_store_kind { VJ_STORE_PARAM, VJ_STORE_EXP_AVG, VJ_STORE_EXP_AVG_SQ, VJ_STORE_KINDS } vj_store_kind;
enum { VJ_MAX_LEVELS = 24 };

typedef struct vj_store vj_store;
// Called by vj_unit_reduce while the unit's gradient is there.
typedef vj_status (*vj_store_reduced)(void *context, vj_store *s, int unit);

struct vj_store {
    const vj_layout *layout;
    vj_device *device;                         // NULL: a store without memory, for measuring
    vj_dtype real;
    int64_t *start;                            // n_units: first element of a unit in every flat buffer
    int64_t length;                            // elements of a flat buffer
    int64_t *grad_start;                       // n_units: first element of a unit's gradient in an accumulator
    int64_t grad_length;                       // elements of an accumulator
    int shared;                                // units from this one on share one place in it
    vj_store_reduced reduced;                  // NULL: gradients stay where they are
    void *reduced_context;
    void *kind[VJ_STORE_KINDS];                // device memory, NULL when not kept
    void *level[VJ_MAX_LEVELS];                // gradient accumulators
    int levels;
    bool full[VJ_MAX_LEVELS];                  // holds a partial sum
    int current;                               // the accumulator the running slot writes into
    bool *held;                                // n_units: full weights are there (on one rank: would be)
};

// `trained` adds moments and ceil(log2 slots) + 1 accumulators. Gradients of units from `shared` on have one place together
// (slots must be 1; the layout's n_units: every unit has its own).
// `device` NULL makes a store without memory whose tensors have type `real`: enough to measure with.
vj_status vj_store_create(vj_store **out, const vj_layout *layout, vj_device *device, vj_dtype real, bool trained, int64_t slots,
                          int shared) VJ_MUST_CHECK;
void vj_store_destroy(vj_store **store);
int64_t vj_store_levels(int64_t slots);

vj_tensor vj_store_unit(const vj_store *s, vj_store_kind kind, int unit);
vj_tensor vj_store_param(const vj_store *s, vj_store_kind kind, int param);   // flat
vj_tensor vj_store_grad_unit(const vj_store *s, int unit);                    // of the running slot, or the step's sum
vj_tensor vj_store_grad(const vj_store *s, int param);

// Full weights of a unit are there between gather and release, or gather and reduce. A unit is not gathered twice, and
// what was not gathered is not released: a bug on one rank already.
vj_status vj_unit_gather(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;
vj_status vj_unit_release(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;
// The running slot's gradient of this unit is complete; its full weights, if held, are released. With `reduced`: it is called,
// then a shared place is zeroed for the next unit.
vj_status vj_unit_reduce(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;

// The tree: begin a step, then for each slot begin (zeroes an accumulator) and end (merges), then finish (the sum of
// the whole step is what vj_store_grad gives).
void vj_store_step_begin(vj_store *s);
vj_status vj_store_slot_begin(vj_store *s, vj_stream *st) VJ_MUST_CHECK;
vj_status vj_store_slot_end(vj_store *s, vj_stream *st) VJ_MUST_CHECK;
vj_status vj_store_step_end(vj_store *s, vj_stream *st) VJ_MUST_CHECK;

#endif
