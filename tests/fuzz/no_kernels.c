// The fuzz profile is compiled by clang, which does not know the vector extensions that runtime/cpu is written with. Parsers
// run no kernel: this stands where the linker asks for them.

#include <stdlib.h>

#include "runtime/ops/ops_impl.h"

const char *vj_cpu_gemm_name(void);
void vj_cpu_thread_start(void);

const char *vj_cpu_kernels(vj_kernel_table *table)
{
    (void)table;
    abort();
}

const char *vj_cpu_gemm_name(void) { return "none"; }
void vj_cpu_thread_start(void) {}
