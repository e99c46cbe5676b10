// The roof of a device: how many FLOP a second its own matrix product reaches, the best that training could.
#ifndef VJ_JOBS_TRAIN_ROOF_H
#define VJ_JOBS_TRAIN_ROOF_H

#include "runtime/tensor/device.h"

// *flop_per_second: the best of several vj_linear_forward (n, n) x (n, n) on all the device's threads, with n so large
// (128 to 2048) that one takes at least 5 ms. A tenth of a second in all; memory is given back.
vj_status vj_roof_measure(vj_device *device, double *flop_per_second) VJ_MUST_CHECK;

// The share of that roof that training reaches on the cpu, all of a step but waiting for data counted, by the FLOP of one
// slot: small products of matrices are slower ones. Between the runs that were measured (tests/bench/RESULTS.md), on a
// straight line in the logarithm; beyond them, as the nearest. In (0, 1).
double vj_roof_expected_share(double slot_flop);

#endif
