// Linear layers. Tiles are fixed by the shape alone and handed to threads as they become free. Inside a tile stands our
// own kernel; oneDNN and OpenBLAS are here to be measured against (roof.c), on tiles of the same kind.

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>

#include "runtime/cpu/cpu_kernels.h"

const char *vj_cpu_gemm_name(void)
{
    return "own kernels";
}

// oneDNN opens an OpenMP team in each call unless the calling thread asks for one thread only.
void vj_cpu_thread_start(void) { omp_set_num_threads(1); }

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// How C is cut: tiles of tm x tn, `across` of them in a row of tiles.
typedef struct tiling {
    cpu_product p;
    int64_t tm, tn, across;
    cpu_library library;
    char **scratch;
    float *panels;            // packed B, or NULL: each tile packs what it needs
    int64_t pack_across;      // packing tasks side by side
} tiling;

// ---- our own product ----------------------------------------------------------------------------------------------
enum {
    CHUNK = 8192,       // steps of k that are done at once: bounds the panels
    SHORT = 384,        // up to so many rows, a tile has all of them and packs its own columns of B
    ROWS = 192,         // of a tile, otherwise
    COLUMNS = 1024,     // of a tile: rows of A are copied once per tile
    TASKS = 16,         // tiles there should be, so that two threads of uneven speed end together
    PACK_COLUMNS = 256, // of a packing task, about
    PACK_STEPS = 512    // of k
};

static void own_tile(void *context, int64_t task, int worker)
{
    const tiling *t = context;
    const cpu_product *p = &t->p;
    const int64_t m0 = task / t->across * t->tm, n0 = task % t->across * t->tn;
    const float *panels = t->panels ? t->panels + n0 / p->panel * cpu_chosen->panel_floats(p->K, p->panel) : NULL;
    cpu_chosen->product_tile(p, m0, least(p->M - m0, t->tm), n0, least(p->N - n0, t->tn), panels, (float *)t->scratch[worker]);
}

static int64_t pack_columns(const cpu_product *p) { return PACK_COLUMNS / p->panel * p->panel; }

static void pack(void *context, int64_t task, int worker)
{
    (void)worker;
    const tiling *t = context;
    const cpu_product *p = &t->p;
    const int64_t columns = pack_columns(p), k0 = task / t->pack_across * PACK_STEPS, n0 = task % t->pack_across * columns;
    cpu_chosen->pack_panels(p, t->panels + n0 / p->panel * cpu_chosen->panel_floats(p->K, p->panel), k0,
                            least(p->K - k0, PACK_STEPS), n0, least(p->N - n0, columns));
}

// Columns of one go: what the shared memory holds of packed B.
static int64_t group_columns(const vj_exec *exec, int64_t K, int64_t panel)
{
    const int64_t panels = (int64_t)(exec->shared_bytes / sizeof(float)) / cpu_chosen->panel_floats(K, panel);
    return panels / 16 * 16 * panel;
}

static void own_columns(const vj_exec *exec, tiling *t)
{
    const cpu_product *p = &t->p;
    const int64_t panel = p->panel;
    // A tile that has all rows packs its own columns of B; there must be enough of them for that.
    const bool alone = p->M <= SHORT && p->N >= TASKS / 2 * panel;
    int64_t down = alone ? 1 : (p->M + ROWS - 1) / ROWS, across = (p->N + COLUMNS - 1) / COLUMNS;
    if (alone && across < TASKS / 2) across = TASKS / 2;
    // First along the side that costs less to repeat: a transposed A is packed by every tile that reads it.
    while (p->a_k != 1 && !alone && down * across < TASKS && p->M / down >= 96) down++;
    while (down * across < TASKS && p->N / across >= 2 * panel) across++;
    while (!alone && down * across < TASKS && p->M / down >= 96) down++;
    t->tm = up((p->M + down - 1) / down, 6);
    t->tn = up((p->N + across - 1) / across, panel);
    t->across = (p->N + t->tn - 1) / t->tn;
    t->panels = alone ? NULL : (float *)exec->shared;
    if (!alone) {
        t->pack_across = (p->N + pack_columns(p) - 1) / pack_columns(p);
        vj_pool_run(exec->pool, t->pack_across * ((p->K + PACK_STEPS - 1) / PACK_STEPS), pack, t);
    }
    vj_pool_run(exec->pool, (p->M + t->tm - 1) / t->tm * t->across, own_tile, t);
}

// Steps of k by chunks, columns by groups of what fits into the panels; what follows the product is done with the last k.
static void own_product(const vj_exec *exec, const cpu_product *p)
{
    const int64_t chunks = p->K > CHUNK ? (p->K + CHUNK - 1) / CHUNK : 1, depth = (p->K + chunks - 1) / chunks;
    for (int64_t i = 0; i < chunks; i++) {
        tiling t = { .p = *p, .library = CPU_OWN, .scratch = exec->scratch };
        const int64_t k0 = i * depth, group = group_columns(exec, depth, p->panel);
        VJ_ASSERT(group > 0);
        t.p.K = least(p->K - k0, depth);
        t.p.A += k0 * p->a_k;
        t.p.accumulate = p->accumulate || i > 0;
        if (i + 1 < chunks) {
            t.p.bias = NULL;
            t.p.finish = CPU_FINISH_NONE;
        }
        for (int64_t n0 = 0; n0 < p->N; n0 += group) {
            tiling g = t;
            g.p.N = least(p->N - n0, group);
            g.p.C += n0;
            g.p.B += k0 * p->b_k + n0 * p->b_col;
            if (g.p.bias) g.p.bias += n0;
            if (g.p.aux) g.p.aux += n0;
            if (n0 > 0) g.p.row_sums = NULL;
            own_columns(exec, &g);
        }
    }
}

// ---- libraries ----------------------------------------------------------------------------------------------------
static void library_tile(void *context, int64_t task, int worker)
{
    (void)worker;
    const tiling *t = context;
    const cpu_product *p = &t->p;
    const int64_t m0 = task / t->across * t->tm, n0 = task % t->across * t->tn;
    const int64_t m = least(p->M - m0, t->tm), n = least(p->N - n0, t->tn);
    const bool ta = p->a_k != 1, tb = p->b_col != 1;
    const int64_t lda = ta ? p->a_k : p->a_row, ldb = tb ? p->b_col : p->b_k;
    const float *A = p->A + m0 * p->a_row, *B = p->B + n0 * p->b_col, beta = p->accumulate ? 1.0f : 0.0f;
    float *C = p->C + m0 * p->c_row + n0;
    if (t->library == CPU_ONEDNN) {
        dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, p->K, 1.0f, A, lda, B, ldb, beta, C, p->c_row);
    } else {
        enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };
        cpu_openblas()(ROW_MAJOR, ta ? TRANSPOSED : PLAIN, tb ? TRANSPOSED : PLAIN, (int)m, (int)n, (int)p->K, 1.0f, A,
                       (int)lda, B, (int)ldb, beta, C, (int)p->c_row);
    }
    if (p->finish != CPU_FINISH_NONE || p->bias) cpu_chosen->finish_tile(p, m0, m, n0, n);
}

// Tiles of about 512 x 1024, where a library is at its best; a shape that gives fewer than eight is cut further while the
// pieces stay at least 48 long. First along the side that costs no packing twice: columns, or rows when A is transposed.
static void library_product(const vj_exec *exec, const cpu_product *p, cpu_library library)
{
    tiling t = { .p = *p, .library = library };
    int64_t down = (p->M + 511) / 512, across = (p->N + 1023) / 1024;
    while (down * across < 8) {
        const bool rows = p->M / down >= 96, columns = p->N / across >= 96;
        if (rows && (p->a_k != 1 || !columns))
            down++;
        else if (columns)
            across++;
        else
            break;
    }
    t.tm = up((p->M + down - 1) / down, 6);
    t.tn = up((p->N + across - 1) / across, 32);
    t.across = (p->N + t.tn - 1) / t.tn;
    vj_pool_run(exec->pool, (p->M + t.tm - 1) / t.tm * t.across, library_tile, &t);
}

void cpu_product_run(const vj_exec *exec, const cpu_product *product, cpu_library library)
{
    cpu_product p = *product;
    if (p.M == 0 || p.N == 0) return;   // no inputs: the weight gradient is empty, the bias gradient is not
    p.c_row = p.N;
    p.panel = cpu_chosen->panel_width(p.N);
    if (library == CPU_OWN)
        own_product(exec, &p);
    else
        library_product(exec, &p, library);
}

static void run(const vj_exec *exec, const cpu_product *p) { cpu_product_run(exec, p, CPU_OWN); }

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

// dw (O, 0) has no tile that could do it.
static void bias_alone(const vj_args_linear_backward_weight *a)
{
    for (int64_t r = 0; r < a->R; r++) {
        for (int64_t o = 0; o < a->O; o++) ((float *)a->dbias)[o] += ((const float *)a->dy)[r * a->O + o];
    }
}

void cpu_linear_backward_weight(const vj_exec *exec, const void *args)
{
    const vj_args_linear_backward_weight *a = args;
    if (a->I == 0 && a->dbias) bias_alone(a);
    run(exec, &(cpu_product){ .C = a->dw,
                              .A = a->dy,
                              .B = a->x,
                              .M = a->O,
                              .N = a->I,
                              .K = a->R,
                              .a_row = 1,
                              .a_k = a->O,
                              .b_k = a->I,
                              .b_col = 1,
                              .accumulate = true,
                              .row_sums = a->dbias });
}
