// A keyed permutation of [0, N) that needs no memory (spec/data.md 4.3): where does position i go, and back.
#ifndef VJ_DATA_PERM_H
#define VJ_DATA_PERM_H

#include "runtime/base/status.h"

// i in [0, n), 1 <= n <= 2^62. `tag` and `aux` choose the permutation as in runtime/base/rng.h.
uint64_t vj_perm(uint64_t seed, uint64_t i, uint64_t n, uint32_t tag, uint32_t aux);
uint64_t vj_perm_inverse(uint64_t seed, uint64_t value, uint64_t n, uint32_t tag, uint32_t aux);

#endif
