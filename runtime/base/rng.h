// Counter-based random numbers: Philox4x32-10 (spec/data.md 4.2). No state anywhere: a draw is a pure function of
// (seed, id, tag, draw, aux), so results do not depend on threads, ranks or restarts.
#ifndef VJ_RUNTIME_BASE_RNG_H
#define VJ_RUNTIME_BASE_RNG_H

#include "runtime/base/status.h"

// out = Philox4x32-10(counter, key). Known answers: tests/runtime/test_rng.c.
void vj_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

// One 64-bit draw: counter = (id lo, id hi, (tag << 8) | draw, aux), key = seed; the result is c0 | c1 << 32.
uint64_t vj_rng_u64(uint64_t seed, uint64_t id, uint32_t tag, uint32_t draw, uint32_t aux);
// [0, 1): the top 53 bits times 2^-53.
double vj_rng_uniform(uint64_t seed, uint64_t id, uint32_t tag, uint32_t draw, uint32_t aux);
// [0, n): the high 64 bits of u64 * n; n >= 1.
uint64_t vj_rng_below(uint64_t seed, uint64_t id, uint32_t tag, uint32_t draw, uint32_t aux, uint64_t n);

static inline double vj_u64_to_unit(uint64_t u) { return (double)(u >> 11) * 0x1p-53; }
static inline uint64_t vj_mulhi64(uint64_t a, uint64_t b) { return (uint64_t)(((unsigned __int128)a * b) >> 64); }

// MT19937 (init_genrand seeding), only for the published mask generator and its goldens (spec/pretrain.md 3.5).
typedef struct vj_mt19937 {
    uint32_t state[624];
    int index;
} vj_mt19937;
void vj_mt19937_seed(vj_mt19937 *mt, uint32_t seed);
uint32_t vj_mt19937_next(vj_mt19937 *mt);

// Inverse of the normal distribution's cumulative function, for u in (0, 1) (double accuracy; set-up only, it uses libm).
double vj_normal_inverse(double u);

// Tags in use, so that no two draws ever share a stream (spec/data.md 4.2; 0x3xxxx are ours).
enum {
    VJ_TAG_MIX = 1,                   // mixing block permutation
    VJ_TAG_SOURCE = 16,               // + source index: per-source permutation
    VJ_TAG_TEMPORAL = 0x20000,
    VJ_TAG_CROP = 0x20001,            // draw = 4*try + {area, ratio, top, left}
    VJ_TAG_FLIP = 0x20002,
    VJ_TAG_MASK_SEED = 0x20003,
    VJ_TAG_SUBSTITUTE = 0x20004,
    VJ_TAG_RESOLUTION = 0x20010,
    VJ_TAG_MASK_SIZE = 0x30000,       // id = step, draw = 4*mask config + {t, area, ratio}
    VJ_TAG_MASK_POSITION = 0x30001,   // id = global sample index, aux = redraw; draw and config: data/masks.h
    VJ_TAG_MASK_FIXED = 0x30002,      // id = draw, aux = redraw, draw as for positions; with seed 0: counts of mask.truncate=fixed
    VJ_TAG_INIT = 0x31000,            // + parameter index: initial weights, id = element
    VJ_TAG_HOLD_OUT = 0x32000         // which windows are held out at pack time
};

#endif
