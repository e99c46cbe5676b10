// The kernel table: the best instruction set the CPU has, or the one VJ_CPU names.

#include "runtime/cpu/cpu_kernels.h"

#include <stdlib.h>
#include <string.h>

const cpu_isa *cpu_chosen = &cpu_isa_portable;

static bool runs(const cpu_isa *isa)
{
#if defined(__x86_64__)
    if (isa == &cpu_isa_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == &cpu_isa_avx512) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
    }
#endif
    return isa == &cpu_isa_portable;
}

static const cpu_isa *choose(void)
{
    static const cpu_isa *const best_first[] = { &cpu_isa_avx512, &cpu_isa_avx2, &cpu_isa_portable };
    const char *asked = getenv("VJ_CPU");
    int first = 0;
    if (asked && *asked) {
        while (first < 3 && strcmp(asked, best_first[first]->name) != 0) first++;
        if (first == 3) {
            (void)vj_fail(VJ_ERR_USAGE,
                          "VJ_CPU=%s: expected portable, avx2 or avx512 (or no VJ_CPU: the best this CPU has)", asked);
            return NULL;
        }
    }
    while (!runs(best_first[first])) first++;   // the portable set always runs
    return best_first[first];
}

const char *vj_cpu_kernels(vj_kernel_table *table)
{
    const cpu_isa *isa = choose();
    if (!isa) return NULL;
    cpu_chosen = isa;
    memcpy(table->run, cpu_chosen->run, sizeof table->run);
    table->run[VJ_OP_linear_forward] = cpu_linear_forward;
    table->run[VJ_OP_linear_backward_input] = cpu_linear_backward_input;
    table->run[VJ_OP_linear_backward_weight] = cpu_linear_backward_weight;
    table->run[VJ_OP_patch_gather] = cpu_patch_gather;
    table->run[VJ_OP_rows_gather] = cpu_rows_gather;
    table->run[VJ_OP_rows_scatter] = cpu_rows_scatter;
    return cpu_chosen->name;
}
