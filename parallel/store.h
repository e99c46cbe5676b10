// The parameter store of one network: flat buffers per unit, and the calls at unit borders.
//
// On one rank, and with parallel.mode ddp and zero2 on many, a unit's full weights are there always: gather and release do nothing,
// and reduce leaves the slot's gradient where it is.
//
// Many ranks (contracts 1, strided): of V slots rank r has r, r + G, r + 2G, ... A round is one slot of each rank. The running
// slot's gradient is whole; at the end of the round every unit is reduce-scattered in tree order, and the accumulators hold this
// rank's part of each unit alone. The last round may lack ranks: they take part with vj_store_slot_absent. When the step ends, ddp gathers
// the parts of the sum where the slot's gradient was, and every rank updates everything; with zero2 a rank has moments of its own
// parts alone, updates those (vj_store_own), and the weights are gathered (vj_store_gather_weights).
//
// Gradients of slots are summed in a binary tree over the slot index (contracts 1): a binary counter of accumulators.
// Accumulator `level` holds the sum of 2^level finished slots; a finished slot merges upwards while its bit is set.
//
// With one slot a step, units may share the memory of their gradients (optim.in_backward): a unit's gradient then lives from
// its backward to vj_unit_reduce, where `reduced` uses it up, and the next unit finds zeros in the same place.
#ifndef VJ_PARALLEL_STORE_H
#define VJ_PARALLEL_STORE_H

#include "parallel/comm.h"
#include "parallel/layout.h"
#include "runtime/tensor/device.h"

typedef enum vj_parallel_mode { VJ_DDP, VJ_ZERO2 } vj_parallel_mode;
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
    int64_t level_length;                      // elements of one: grad_length, or this rank's parts of it
    int levels;
    bool full[VJ_MAX_LEVELS];                  // holds a partial sum
    int current;                               // the accumulator the running slot writes into
    bool *held;                                // n_units: full weights are there (on one rank: would be)

    // several ranks; else NULL
    vj_comm *comm;
    vj_parallel_mode mode;                     // VJ_DDP when alone
    int64_t *part_start;                       // n_units: first element of this rank's part in a buffer of parts
    int64_t step_slots, round;                 // V of the running step; rounds finished
    void *whole;                               // (grad_length) device: the running slot's gradient, later the step's sum
    void *host_whole, *host_parts;             // host memory for both, where the device's is not the host's
};

// `trained` adds moments and ceil(log2 slots) + 1 accumulators. Gradients of units from `shared` on have one place together
// (slots must be 1; the layout's n_units: every unit has its own).
// `device` NULL makes a store without memory whose tensors have type `real`: enough to measure with. `comm`: the ranks that share
// a step's slots, not owned; NULL or of one rank: alone. All of them then make the same calls from vj_store_step_begin on.
vj_status vj_store_create(vj_store **out, const vj_layout *layout, vj_device *device, vj_dtype real, bool trained, int64_t slots,
                          int shared, vj_comm *comm, vj_parallel_mode mode) VJ_MUST_CHECK;
int64_t vj_store_gradient_elements(const vj_store *s);   // of all accumulators
int64_t vj_store_moment_elements(const vj_store *s);     // of one kind of moments
// The interval of a unit that this rank updates: all of it when alone or with ddp.
void vj_store_own(const vj_store *s, int unit, int64_t *begin, int64_t *end);
// Elements [first, first + n) of a unit, inside what this rank updates; flat. `gradient`: of the step's sum.
vj_tensor vj_store_slice(const vj_store *s, vj_store_kind kind, int unit, int64_t first, int64_t n);
vj_tensor vj_store_gradient_slice(const vj_store *s, int unit, int64_t first, int64_t n);
// zero2, after the update: everybody's parts of the weights, on every rank. Else nothing.
vj_status vj_store_gather_weights(vj_store *s, vj_stream *st) VJ_MUST_CHECK;
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

// The tree: begin a step of `slots` slots over all ranks, then for each slot of this rank begin (zeroes a gradient) and end
// (merges), then finish (the sum of the whole step is what vj_store_gradient_slice gives; with ddp vj_store_grad, on every rank).
void vj_store_step_begin(vj_store *s, int64_t slots);
vj_status vj_store_slot_begin(vj_store *s, vj_stream *st) VJ_MUST_CHECK;
vj_status vj_store_slot_end(vj_store *s, vj_stream *st) VJ_MUST_CHECK;
vj_status vj_store_slot_absent(vj_store *s, vj_stream *st) VJ_MUST_CHECK;   // a round in which this rank has no slot
vj_status vj_store_step_end(vj_store *s, vj_stream *st) VJ_MUST_CHECK;

#endif
