#include "runtime/cpu/roof.h"

#include <dlfcn.h>
#include <dnnl.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/cpu/cpu_kernels.h"
#include "runtime/tensor/device_impl.h"

const char *const vj_roof_product_names[VJ_ROOF_PRODUCTS] = { "own", "oneDNN", "OpenBLAS" };

static vj_status only_cpu(const vj_device *d)
{
    VJ_CHECK(strcmp(d->name, "cpu") == 0, VJ_ERR_USAGE, "device %s has no measured roof; use device=cpu", d->name);
    return VJ_OK;
}

// ---- OpenBLAS, when it is there -----------------------------------------------------------------------------------
// The serial build by its path: the alternatives system may put a threaded one, or another library, behind the short name.
static const char *const openblas_paths[] = { "/usr/lib/x86_64-linux-gnu/openblas-serial/libopenblas.so.0",
                                              "/usr/lib/aarch64-linux-gnu/openblas-serial/libopenblas.so.0" };
static void *openblas_library(void)
{
    static void *library;
    for (int i = 0; i < 2 && !library; i++) library = dlopen(openblas_paths[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

cpu_cblas_sgemm cpu_openblas(void)
{
    void *library = openblas_library();
    cpu_cblas_sgemm sgemm = NULL;
    if (library) *(void **)&sgemm = dlsym(library, "cblas_sgemm");
    return sgemm;
}

void vj_roof_versions(char out[96])
{
    const dnnl_version_t *v = dnnl_version();
    int n = snprintf(out, 96, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    const char *(*config)(void) = NULL;
    void *library = openblas_library();
    if (library) *(void **)&config = dlsym(library, "openblas_get_config");
    if (config && n > 0 && n < 96) snprintf(out + n, (size_t)(96 - n), ", %.40s", config());
}

// ---- multiply-adds ------------------------------------------------------------------------------------------------
typedef struct fma_job { int64_t rounds; float sum[1024]; } fma_job;
static void fma_task(void *context, int64_t task, int worker)
{
    (void)worker;
    fma_job *job = context;
    job->sum[task] = cpu_chosen->fma_rounds(job->rounds);
}

vj_status vj_roof_fma(vj_device *d, double seconds, double *out)
{
    VJ_TRY(only_cpu(d));
    const int threads = vj_pool_threads(d->exec.pool) < 1024 ? vj_pool_threads(d->exec.pool) : 1024;
    fma_job job = { .rounds = 1 << 20 };
    for (;;) {
        const double began = vj_now();
        vj_pool_run(d->exec.pool, threads, fma_task, &job);
        const double took = vj_now() - began;
        *out = (double)threads * (double)job.rounds * (double)cpu_chosen->fma_flop / took;
        if (took > 0.5 * seconds) return VJ_OK;
        job.rounds = took > 0 ? (int64_t)((double)job.rounds * 0.8 * seconds / took) + 1 : 2 * job.rounds;
    }
}

// ---- memory -------------------------------------------------------------------------------------------------------
enum { STREAM = 16 << 20, PIECES = 64 };   // floats of each array
static void triad(void *context, int64_t task, int worker)
{
    (void)worker;
    float *a = context, *b = a + STREAM, *c = b + STREAM;
    const int64_t n = STREAM / PIECES;
    for (int64_t i = task * n; i < (task + 1) * n; i++) a[i] = b[i] + 3.0f * c[i];
}

vj_status vj_roof_memory(vj_device *d, double *out)
{
    VJ_TRY(only_cpu(d));
    void *memory = NULL;
    VJ_TRY(vj_device_alloc(d, &memory, 3 * (size_t)STREAM * sizeof(float), "the arrays of a memory test"));
    vj_pool_run(d->exec.pool, PIECES, triad, memory);   // touches the pages
    double best = 0;
    for (int i = 0; i < 5; i++) {
        const double began = vj_now();
        vj_pool_run(d->exec.pool, PIECES, triad, memory);
        const double rate = 3.0 * STREAM * sizeof(float) / (vj_now() - began);
        best = rate > best ? rate : best;
    }
    *out = best;
    vj_device_free(d, memory);
    return VJ_OK;
}

// ---- products -----------------------------------------------------------------------------------------------------
static cpu_product product_of(const vj_roof_shape *s, float *memory)
{
    float *x = memory, *w = x + s->R * s->I, *y = w + s->O * s->I;
    switch (s->form) {
    case VJ_ROOF_FORWARD:
        return (cpu_product){ .C = y, .A = x, .B = w, .M = s->R, .N = s->O, .K = s->I, .a_row = s->I, .a_k = 1, .b_k = 1, .b_col = s->I };
    case VJ_ROOF_INPUT:
        return (cpu_product){ .C = x, .A = y, .B = w, .M = s->R, .N = s->I, .K = s->O, .a_row = s->O, .a_k = 1, .b_k = s->I, .b_col = 1 };
    default:
        return (cpu_product){ .C = w, .A = y, .B = x, .M = s->O, .N = s->I, .K = s->R, .a_row = 1, .a_k = s->O, .b_k = s->I, .b_col = 1,
                              .accumulate = true };
    }
}

vj_status vj_roof_gemm(vj_device *d, vj_roof_product product, const vj_roof_shape *s, double *out)
{
    VJ_TRY(only_cpu(d));
    *out = 0;
    if (product == VJ_ROOF_OPENBLAS && !cpu_openblas()) return VJ_OK;
    static const cpu_library libraries[] = { CPU_OWN, CPU_ONEDNN, CPU_OPENBLAS };
    const int64_t floats = s->R * s->I + s->O * s->I + s->R * s->O;
    void *memory = NULL;
    VJ_TRY(vj_device_alloc(d, &memory, (size_t)floats * sizeof(float), "the matrices of a product"));
    float *f = memory;
    for (int64_t i = 0; i < floats; i++) f[i] = (float)(i * 2654435761 % 1024) / 1024 - 0.5f;
    const cpu_product p = product_of(s, f);
    cpu_product_run(&d->exec, &p, libraries[product]);   // caches, pages, code
    const double began = vj_now();
    cpu_product_run(&d->exec, &p, libraries[product]);
    *out = 2.0 * (double)s->R * (double)s->I * (double)s->O / (vj_now() - began);
    vj_device_free(d, memory);
    return VJ_OK;
}
