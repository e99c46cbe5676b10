// Element types. Compute happens in the device's real type (float64 on `ref`, float32 on `cpu` and `far`); the others
// are indices, bytes and formats of files.
#ifndef VJ_RUNTIME_TENSOR_DTYPE_H
#define VJ_RUNTIME_TENSOR_DTYPE_H

#include "runtime/base/status.h"

typedef enum vj_dtype { VJ_F32, VJ_F64, VJ_BF16, VJ_F16, VJ_I32, VJ_I64, VJ_U8 } vj_dtype;

size_t vj_dtype_size(vj_dtype t);
const char *vj_dtype_name(vj_dtype t);              // "float32", "float64", "bfloat16", ...
bool vj_dtype_is_float(vj_dtype t);
// Host memory only; floating types in any pair (round to nearest even, NaN kept), or equal types.
vj_status vj_convert(void *out, vj_dtype out_type, const void *in, vj_dtype in_type, int64_t count) VJ_MUST_CHECK;

#endif
