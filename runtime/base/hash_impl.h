// For tests: the code of CPUs that have no instructions for SHA-256 and CRC-32C, on one that has.
#ifndef VJ_RUNTIME_BASE_HASH_IMPL_H
#define VJ_RUNTIME_BASE_HASH_IMPL_H

#include <stdbool.h>

// false: the portable code from now on. Not to be called while another thread makes a digest.
void vj_hash_use_hardware(bool use);

#endif
