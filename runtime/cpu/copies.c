// Kernels that only move bytes: the same for every instruction set.

#include <string.h>

#include "runtime/cpu/cpu_kernels.h"

enum { ROWS = 64 };   // rows a task

static int64_t blocks(int64_t rows) { return (rows + ROWS - 1) / ROWS; }
static int64_t end_of(int64_t task, int64_t rows) { return (task + 1) * ROWS < rows ? (task + 1) * ROWS : rows; }

static void patches(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_patch_gather *a = context;
    const int64_t gh = a->height / a->patch, gw = a->width / a->patch, p = a->patch, t = a->tubelet;
    for (int64_t r = task * ROWS; r < end_of(task, a->R); r++) {
        const int64_t clip = a->rows[2 * r], id = a->rows[2 * r + 1], z = id / (gh * gw), y = id / gw % gh, x = id % gw;
        float *out = (float *)a->bricks + r * 3 * t * p * p;
        for (int64_t c = 0; c < 3; c++) {
            for (int64_t dt = 0; dt < t; dt++) {
                const float *in = (const float *)a->clips + (((clip * 3 + c) * a->F + z * t + dt) * a->height + y * p) * a->width + x * p;
                for (int64_t dy = 0; dy < p; dy++, in += a->width, out += p) memcpy(out, in, (size_t)p * sizeof *out);
            }
        }
    }
}

void cpu_patch_gather(const vj_exec *exec, const void *args)
{
    vj_args_patch_gather a = *(const vj_args_patch_gather *)args;
    vj_pool_run(exec->pool, blocks(a.R), patches, &a);
}

static void gather(void *context, int64_t task, int worker)
{
    (void)worker;
    const vj_args_rows_gather *a = context;
    for (int64_t r = task * ROWS; r < end_of(task, a->R); r++) {
        const int64_t i = a->index[r];
        const float *in = i >= 0 ? (const float *)a->x + i * a->C : (const float *)a->table + (-1 - i) * a->C;
        memcpy((float *)a->y + r * a->C, in, (size_t)a->C * sizeof *in);
    }
}

void cpu_rows_gather(const vj_exec *exec, const void *args)
{
    vj_args_rows_gather a = *(const vj_args_rows_gather *)args;
    vj_pool_run(exec->pool, blocks(a.R), gather, &a);
}

void cpu_rows_scatter(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_rows_scatter *a = args;
    memset(a->dx, 0, (size_t)(a->R * a->C) * sizeof(float));
    for (int64_t i = 0; i < a->n; i++) {
        memcpy((float *)a->dx + a->index[i] * a->C, (const float *)a->dy + i * a->C, (size_t)a->C * sizeof(float));
    }
}
