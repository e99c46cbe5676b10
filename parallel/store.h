// The parameter store of one network: flat buffers per unit, and the calls at unit borders.
//
// Alone, and with parallel.mode ddp and zero2 on many ranks, a unit's full weights are there always. With fsdp and hsdp a rank holds
// a part of them (mesh.h); between gather and release (or reduce) the whole unit stands in one of a few buffers, always the
// same one for a unit, so that addresses never change. What is sent when is a list made once (schedule.h).
//
// Gradients of slots are summed in a binary tree over the slot index (contracts 1): a binary counter of accumulators.
// Accumulator `level` holds the sum of 2^level finished slots; a finished slot merges upwards while its bit is set.
//
// Many ranks (contracts 1, strided): of V slots rank r has r, r + G, r + 2G, ... A round is one slot of each rank. As soon as a
// unit's gradient of the running slot is complete, it is reduce-scattered in tree order, and the accumulators hold this rank's part of
// each unit alone. The last round may lack ranks: they walk through the list without computing. When the step ends, ddp gathers
// the parts of the sum where the slot's gradient was, and every rank updates everything; else a rank has moments of its own
// parts alone, updates those (vj_store_own), and what others hold of the same weights is gathered (vj_store_share_weights).
//
// Gradients of several units may have one place. A unit's gradient then lives from vj_unit_gradient to vj_unit_reduce: with one slot
// a step (optim.in_backward) `reduced` uses it up there; with fsdp and hsdp it is sent from there while the next unit's is
// computed in another place.
#ifndef VJ_PARALLEL_STORE_H
#define VJ_PARALLEL_STORE_H

#include "parallel/mesh.h"
#include "runtime/tensor/device.h"

typedef enum vj_store_kind { VJ_STORE_PARAM, VJ_STORE_EXP_AVG, VJ_STORE_EXP_AVG_SQ, VJ_STORE_KINDS } vj_store_kind;
enum { VJ_MAX_LEVELS = 24 };

typedef struct vj_store vj_store;
typedef struct vj_schedule vj_schedule;
// Called by vj_unit_reduce while the unit's gradient is there.
typedef vj_status (*vj_store_reduced)(void *context, vj_store *s, int unit);

// Units in few places: those before `apart` have their own, the others take turns in `turns` places as long as the longest of them.
typedef struct vj_places {
    int n;                                     // places
    int apart;                                 // units before this one have a place of their own; n_units: all have
    int *of;                                   // n_units: place of a unit
    int64_t *start;                            // n_units: first element of it
    int64_t length;                            // elements of all places
    int *holds;                                // n: id of the unit whose content is there or on its way; -1: none
    vj_ticket *ticket;                         // n: of the operation that fills or empties it
    bool *arrived;                             // n: that was waited for
} vj_places;

struct vj_store {
    const vj_layout *layout;
    vj_device *device;                         // NULL: a store without memory, for measuring
    vj_dtype real;
    int64_t *start;                            // n_units: first element of a unit in a buffer of whole units
    int64_t length;                            // elements of it
    vj_places grads;                           // of the running slot's gradient, or of an accumulator when alone
    vj_store_reduced reduced;                  // NULL: gradients stay where they are
    void *reduced_context;
    void *kind[VJ_STORE_KINDS];                // device memory, NULL when not kept
    void *level[VJ_MAX_LEVELS];                // gradient accumulators
    int64_t level_length;                      // elements of one
    int levels;
    bool full[VJ_MAX_LEVELS];                  // holds a partial sum
    int current;                               // the accumulator the running slot goes into
    bool *held;                                // n_units: between gather and its end

    // several ranks; else NULL
    const vj_mesh *mesh;
    char (*label)[72];                         // n_units: "encoder blocks.3", for whoever watches operations
    vj_schedule *schedule;                     // of all stores of a model; not owned
    int64_t *own_start;                        // n_units: first element of this rank's part in a buffer of what it updates
    int64_t own_length;
    bool any_order;
    int64_t step_slots, round;                 // V of the running step; rounds finished
    void *whole;                               // device: gradients of the running slot in their places, later ddp's sum
    void *host_whole, *host_parts;             // host memory for gradients, where the device's is not the host's

    // weights in parts
    int64_t *held_start;                       // n_units: first element of this rank's part of the weights
    int64_t held_length;
    vj_places own_weights, *weights;           // whole units, gathered: in places of this store, or of another
    int first_id;                              // what such places call this store's unit 0
    void *gathered, *host_gathered;            // whoever's places they are
    void *kept, *host_kept;                    // parallel.reshard_after_forward=k: k-th parts of gathered units, else NULL
    int64_t *kept_start;                       // n_units
    int64_t kept_length;
};

typedef struct vj_store_spec {
    vj_dtype real;
    bool trained;                              // moments and ceil(log2(slots of this rank)) + 1 accumulators
    int64_t slots;                             // V, over all ranks
    int apart;                                 // units before this one are in use while others come and go
    bool in_backward;                          // units from `apart` on share one place for their gradients; slots must be 1
    bool any_order;                            // alone: gradients of slots run into one accumulator, as plain code does; to measure
                                               // what the tree costs, for nothing else
    bool backward;                             // units are used forward and backward: `keep` of the mesh matters
    vj_store *beside;                          // a store of the same layout that is never in use at the same time: with prefetch up to
                                               // 1 one room for gathered units is enough for both (more would have to wait for
                                               // it); lives longer; NULL: none
    const vj_mesh *mesh;                       // not owned; NULL: alone
} vj_store_spec;

// `device` NULL makes a store without memory whose tensors have type `real`: enough to measure with.
vj_status vj_store_create(vj_store **out, const vj_layout *layout, vj_device *device, const vj_store_spec *spec) VJ_MUST_CHECK;
void vj_store_destroy(vj_store **store);
int64_t vj_store_levels(int64_t slots);
// Elements: of weights that stay, of buffers for gathered ones, of one kind of moments, of all gradients.
int64_t vj_store_weight_elements(const vj_store *s);
int64_t vj_store_gathered_elements(const vj_store *s);
int64_t vj_store_moment_elements(const vj_store *s);
int64_t vj_store_gradient_elements(const vj_store *s);

// The interval of a unit that this rank updates: all of it when alone or with ddp.
void vj_store_own(const vj_store *s, int unit, int64_t *begin, int64_t *end);
// The interval of a unit that this rank holds of `kind`.
void vj_store_held(const vj_store *s, vj_store_kind kind, int unit, int64_t *begin, int64_t *end);
// Elements [first, first + n) of a unit, inside what this rank holds of it; flat. `gradient`: of the step's sum.
vj_tensor vj_store_slice(const vj_store *s, vj_store_kind kind, int unit, int64_t first, int64_t n);
vj_tensor vj_store_gradient_slice(const vj_store *s, int unit, int64_t first, int64_t n);
// After the update: everybody's parts of the weights that this rank holds too. What was gathered before is forgotten.
vj_status vj_store_share_weights(vj_store *s, vj_stream *st) VJ_MUST_CHECK;

vj_tensor vj_store_unit(const vj_store *s, vj_store_kind kind, int unit);     // where this rank holds all of it
vj_tensor vj_store_param(const vj_store *s, vj_store_kind kind, int param);   // flat; weights in parts: where they are gathered
vj_tensor vj_store_grad_unit(const vj_store *s, int unit);                    // of the running slot, or the step's sum
vj_tensor vj_store_grad(const vj_store *s, int param);

// Full weights of a unit are there between gather and release, or gather and reduce. A unit is not gathered twice, and
// what was not gathered is not released: a bug on one rank already.
vj_status vj_unit_gather(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;
vj_status vj_unit_release(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;
// The running slot's gradient of this unit is about to be written, into zeros.
vj_status vj_unit_gradient(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;
// The running slot's gradient of this unit is complete; its full weights, if held, are released. With `reduced`: it is called,
// then a shared place is zeroed for the next unit.
vj_status vj_unit_reduce(vj_store *s, vj_stream *st, int unit) VJ_MUST_CHECK;

// The tree: begin a step of `slots` slots over all ranks, then for each slot of this rank begin and end (merges), then finish (the
// sum of the whole step is what vj_store_gradient_slice gives; alone and with ddp vj_store_grad too). `present` false: a round in which
// this rank has no slot.
void vj_store_step_begin(vj_store *s, int64_t slots);
vj_status vj_store_slot_begin(vj_store *s, vj_stream *st, bool present) VJ_MUST_CHECK;
vj_status vj_store_slot_end(vj_store *s, vj_stream *st) VJ_MUST_CHECK;
vj_status vj_store_step_end(vj_store *s, vj_stream *st) VJ_MUST_CHECK;

#endif
