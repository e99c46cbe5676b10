// Float64 kernels: the oracle that everything else is compared with. Plain loops; libm is allowed here only.
#ifndef VJ_RUNTIME_REF_REF_H
#define VJ_RUNTIME_REF_REF_H

#include "runtime/ops/ops_impl.h"

#define X(op, type, pointers) void ref_##op(const vj_exec *exec, const void *args);
VJ_OP_LIST(X)
#undef X

#endif
