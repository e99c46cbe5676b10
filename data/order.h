// Which sample comes when: g -> source, ordinal, row; a pure function without I/O (spec/data.md 4.1 to 4.4).
//
// g counts every sample of a run. A plan mixes the sources in blocks of B samples; each block holds each source in
// exact proportion, so source s has delivered floor-or-ceil of its share at every block end, for ever. Inside a source the
// ordinals 0, 1, 2, ... walk through a permutation of its rows, a new one per source epoch.
#ifndef VJ_DATA_ORDER_H
#define VJ_DATA_ORDER_H

#include "data/catalog.h"
#include "data/data_config.h"

// Weights hold from `first` on. Changing the mix in the middle of a run (data.mix) appends a segment.
typedef struct vj_plan_segment {
    uint64_t first;              // g of its first sample
    uint64_t block;              // B
    uint64_t total;              // P = sum of weights
    uint64_t *weight;            // (n) p_s, integers
    uint64_t *below;             // (n + 1) cumulative weights
    uint64_t *base;              // (n) ordinals used before `first`
} vj_plan_segment;

typedef struct vj_plan {
    uint64_t seed;
    int n;                       // sources, in catalogue order; those without weight never come up
    int64_t *rows;               // (n) training rows N_s
    int n_segments;
    vj_plan_segment *segments;
} vj_plan;

typedef struct vj_ref {
    int source;
    uint64_t ordinal;            // k: how many samples of this source came before
    uint64_t epoch;              // k / N_s
    int64_t row;
} vj_ref;

// `block` 0: the default of 4.4. A positive weight needs rows and block * weight / total >= 2, else VJ_ERR_CONFIG.
vj_status vj_plan_create(vj_plan **out, uint64_t seed, int n, const char *const *names, const int64_t *rows,
                         const uint64_t *weights, uint64_t block) VJ_MUST_CHECK;
// The plan of a run: weights from config->weights, else from the catalogue; blocks of `batch` with data.batch_exact.
vj_status vj_plan_from_catalog(vj_plan **out, uint64_t seed, const vj_catalog *catalog, const vj_data_config *config,
                               int64_t batch) VJ_MUST_CHECK;
// From the first block border at or after sample `g` on the sources mix by `weights`: what comes before stays as it is, and
// every source goes on with its next ordinal, none left out and none repeated. `g` may not be before the last segment's
// beginning. *first (may be NULL): that border.
vj_status vj_plan_append(vj_plan *plan, uint64_t g, const char *const *names, const uint64_t *weights, uint64_t block,
                         uint64_t *first) VJ_MUST_CHECK;
void vj_plan_destroy(vj_plan **plan);
// Of everything that decides the samples before `cursor`: two plans with equal digests agree on them. Later changes of the
// mix are not in it, so a run may be given new ones while it waits.
uint64_t vj_plan_digest(const vj_plan *plan, uint64_t cursor);

vj_ref vj_order(const vj_plan *plan, uint64_t g);
// How many samples of a source precede block `b` of a segment (without its base): A(s, b) of 4.4.
uint64_t vj_plan_before(const vj_plan_segment *segment, int source, uint64_t b);
// The row that substitution attempt `a` >= 1 of sample g reads instead, in the same source.
int64_t vj_order_substitute(uint64_t seed, uint64_t g, uint32_t a, int64_t rows);

// Decimal weights as integers of equal proportion (within 1e-9 when they have at most nine digits).
void vj_weights_to_integers(const double *weights, int n, uint64_t *out);

#endif
