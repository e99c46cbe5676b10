// Float32 kernels: chosen by CPUID at run time, lowered by VJ_CPU (README of this folder).
#ifndef VJ_RUNTIME_CPU_CPU_KERNELS_H
#define VJ_RUNTIME_CPU_CPU_KERNELS_H

#include "runtime/ops/ops_impl.h"

// A product C (M, N) = [C +] A (M, K) B (K, N) with free strides in A and B.
typedef struct cpu_product {
    float *C;
    const float *A, *B;
    int64_t M, N, K, a_row, a_k, b_k, b_col;
    int64_t c_row, panel;   // row stride of C and aux, columns of a panel: set by cpu_product_run
    bool accumulate;
    // What is done to a finished tile: bias (N), then gelu with the pre-activation kept in aux, or + aux; or *
    // gelu'(aux).
    const float *bias;
    float *aux;
    int finish;   // CPU_FINISH_*
    float *row_sums;   // (M) += sums of A over k, or NULL; only for a transposed A (a_row = 1). The tile at column 0 does it.
} cpu_product;
enum { CPU_FINISH_NONE, CPU_FINISH_GELU, CPU_FINISH_ADD, CPU_FINISH_GELU_SLOPE };

// What one instruction set offers; gemm.c and cpu_kernels.c use it without knowing which.
typedef struct cpu_isa {
    const char *name;
    int64_t (*panel_width)(int64_t N);                    // columns of a panel of packed B, for N columns in all
    int64_t (*panel_floats)(int64_t K, int64_t width);   // floats from one panel of K steps to the next
    // Steps [k0, k0 + K) of columns [n0, n0 + n) of B into panels that begin with column n0 and hold all steps.
    void (*pack_panels)(const cpu_product *p, float *panels, int64_t k0, int64_t K, int64_t n0, int64_t n);
    // Columns [n0, n0 + n) of rows [m0, m0 + m), any sizes, with what follows the product. `panels`: B from column n0 on, all
    // steps of K, or NULL: the tile packs them itself. scratch: gemm.c says how much.
    void (*product_tile)(const cpu_product *p, int64_t m0, int64_t m, int64_t n0, int64_t n, const float *panels, float *scratch);
    void (*finish_tile)(const cpu_product *p, int64_t m0, int64_t m, int64_t n0, int64_t n);
    // 2 * 12 * lanes * rounds FLOP of independent multiply-adds in registers; a value that depends on all (roof.c)
    float (*fma_rounds)(int64_t rounds);
    int64_t fma_flop;             // FLOP of one round
    vj_kernel run[VJ_OP_COUNT];   // NULL where a shared kernel serves
} cpu_isa;

// ln x for x >= 1
float cpu_log_portable(float x);
float cpu_log_avx2(float x);
float cpu_log_avx512(float x);

extern const cpu_isa cpu_isa_portable, cpu_isa_avx2, cpu_isa_avx512;
extern const cpu_isa *cpu_chosen;   // set by vj_cpu_kernels

const char *vj_cpu_gemm_name(void);
void vj_cpu_thread_start(void);

// gemm.c
typedef enum cpu_library { CPU_OWN, CPU_ONEDNN, CPU_OPENBLAS } cpu_library;
void cpu_product_run(const vj_exec *exec, const cpu_product *p, cpu_library library);
// roof.c: the serial OpenBLAS's cblas_sgemm, NULL when it is not installed.
typedef void (*cpu_cblas_sgemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                                const float *b, int ldb, float beta, float *c, int ldc);
cpu_cblas_sgemm cpu_openblas(void);
void cpu_linear_forward(const vj_exec *exec, const void *args);
void cpu_linear_backward_input(const vj_exec *exec, const void *args);
void cpu_linear_backward_weight(const vj_exec *exec, const void *args);
// copies.c: what only moves bytes
void cpu_patch_gather(const vj_exec *exec, const void *args);
void cpu_rows_gather(const vj_exec *exec, const void *args);
void cpu_rows_scatter(const vj_exec *exec, const void *args);

#endif
