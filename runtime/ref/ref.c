#include "runtime/ref/ref.h"

void vj_ref_kernels(vj_kernel_table *table)
{
#define X(op, type, pointers) table->run[VJ_OP_##op] = ref_##op;
    VJ_OP_LIST(X)
#undef X
}
