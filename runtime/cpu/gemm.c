// Linear layers. Tiles are fixed by the shape alone and handed to threads as they become free. Inside a tile stands our
// own kernel, or, on an instruction set that says so, oneDNN's single-threaded sgemm for large products (README, "which
// product when").

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>

#include "runtime/cpu/cpu_kernels.h"

const char *vj_cpu_gemm_name(void)
{
    static char name[64];
    const dnnl_version_t *v = dnnl_version();
    if (cpu_chosen->library_floor == INT64_MAX)
        snprintf(name, sizeof name, "own kernels");
    else
        snprintf(name, sizeof name, "own kernels, oneDNN %d.%d.%d for large products", v->major, v->minor, v->patch);
    return name;
}

// oneDNN opens an OpenMP team in each call unless the calling thread asks for one thread only.
void vj_cpu_thread_start(void) { omp_set_num_threads(1); }

typedef struct tiling {
    cpu_product p;
    int64_t tm, tn, across;   // tile sizes, tiles in a row of tiles
    cpu_library library;      // never CPU_BY_SIZE
    char **scratch;
} tiling;

static void tile(void *context, int64_t task, int worker)
{
    const tiling *t = context;
    const cpu_product *p = &t->p;
    const int64_t m0 = task / t->across * t->tm, n0 = task % t->across * t->tn;
    const int64_t m = p->M - m0 < t->tm ? p->M - m0 : t->tm, n = p->N - n0 < t->tn ? p->N - n0 : t->tn;
    if (t->library == CPU_OWN) {
        cpu_chosen->product_tile(p, m0, m, n0, n, (float *)t->scratch[worker]);
        return;
    }
    const bool ta = p->a_k != 1, tb = p->b_col != 1;
    const int64_t lda = ta ? p->a_k : p->a_row, ldb = tb ? p->b_col : p->b_k;
    const float *A = p->A + m0 * p->a_row, *B = p->B + n0 * p->b_col, beta = p->accumulate ? 1.0f : 0.0f;
    float *C = p->C + m0 * p->N + n0;
    if (t->library == CPU_ONEDNN) {
        dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, p->K, 1.0f, A, lda, B, ldb, beta, C, p->N);
    } else {
        enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };
        cpu_openblas()(ROW_MAJOR, ta ? TRANSPOSED : PLAIN, tb ? TRANSPOSED : PLAIN, (int)m, (int)n, (int)p->K, 1.0f, A,
                       (int)lda, B, (int)ldb, beta, C, (int)p->N);
    }
    if (p->finish != CPU_FINISH_NONE || p->bias) cpu_chosen->finish_tile(p, m0, m, n0, n);
}

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Tiles of about 384 x 512 (a library's: 512 x 1024); a shape that gives fewer than eight is cut further while the
// pieces stay at least 48 long, so that several threads find work. First along the side that costs no packing twice:
// columns, or rows when A is transposed.
static void choose_tiles(tiling *t)
{
    const cpu_product *p = &t->p;
    if (t->library == CPU_BY_SIZE)
        t->library = p->M * p->N * p->K < cpu_chosen->library_floor ? CPU_OWN : CPU_ONEDNN;
    const int64_t tallest = t->library == CPU_OWN ? 384 : 512, widest = t->library == CPU_OWN ? 512 : 1024;
    int64_t down = (p->M + tallest - 1) / tallest, across = (p->N + widest - 1) / widest;
    while (down * across < 8) {
        const bool rows = p->M / down >= 96, columns = p->N / across >= 96;
        if (rows && (p->a_k != 1 || !columns))
            down++;
        else if (columns)
            across++;
        else
            break;
    }
    t->tm = up((p->M + down - 1) / down, 6);
    t->tn = up((p->N + across - 1) / across, 32);
    t->across = (p->N + t->tn - 1) / t->tn;
}

void cpu_product_run(const vj_exec *exec, const cpu_product *p, cpu_library library)
{
    if (p->M == 0 || p->N == 0) return;   // no inputs: the weight gradient is empty, the bias gradient is not
    tiling t = { .p = *p, .library = library, .scratch = exec->scratch };
    choose_tiles(&t);
    vj_pool_run(exec->pool, (p->M + t.tm - 1) / t.tm * t.across, tile, &t);
}

static void run(const vj_exec *exec, const cpu_product *p) { cpu_product_run(exec, p, CPU_BY_SIZE); }

void cpu_linear_forward(const vj_exec *exec, const void *args)
{
    const vj_args_linear_forward *a = args;
    const bool onto = a->epilogue == VJ_EPI_ADD && a->aux == a->y;   // the residual lies in y already
    static const int finish[] = {
        [VJ_EPI_NONE] = CPU_FINISH_NONE, [VJ_EPI_GELU] = CPU_FINISH_GELU, [VJ_EPI_ADD] = CPU_FINISH_ADD
    };
    run(exec, &(cpu_product){ .C = a->y,
                              .A = a->x,
                              .B = a->w,
                              .M = a->R,
                              .N = a->O,
                              .K = a->I,
                              .a_row = a->I,
                              .a_k = 1,
                              .b_k = 1,
                              .b_col = a->I,
                              .accumulate = onto,
                              .bias = a->bias,
                              .aux = a->aux,
                              .finish = onto ? CPU_FINISH_NONE : finish[a->epilogue] });
}

void cpu_linear_backward_input(const vj_exec *exec, const void *args)
{
    const vj_args_linear_backward_input *a = args;
    run(exec, &(cpu_product){ .C = a->dx,
                              .A = a->dy,
                              .B = a->w,
                              .M = a->R,
                              .N = a->I,
                              .K = a->O,
                              .a_row = a->O,
                              .a_k = 1,
                              .b_k = a->I,
                              .b_col = 1,
                              .aux = (float *)(uintptr_t)a->gelu_pre,
                              .finish = a->gelu_pre ? CPU_FINISH_GELU_SLOPE : CPU_FINISH_NONE });
}

enum { BIAS_COLUMNS = 128 };
static void bias_columns(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_linear_backward_weight *a = context;
    const int64_t o = task * BIAS_COLUMNS, n = a->O - o < BIAS_COLUMNS ? a->O - o : BIAS_COLUMNS;
    cpu_chosen->column_sums((float *)a->dbias + o, (const float *)a->dy + o, a->R, a->O, n);
}

void cpu_linear_backward_weight(const vj_exec *exec, const void *args)
{
    vj_args_linear_backward_weight a = *(const vj_args_linear_backward_weight *)args;
    run(exec, &(cpu_product){ .C = a.dw,
                              .A = a.dy,
                              .B = a.x,
                              .M = a.O,
                              .N = a.I,
                              .K = a.R,
                              .a_row = 1,
                              .a_k = a.O,
                              .b_k = a.I,
                              .b_col = 1,
                              .accumulate = true });
    if (a.dbias) vj_pool_run(exec->pool, (a.O + BIAS_COLUMNS - 1) / BIAS_COLUMNS, bias_columns, &a);
}
