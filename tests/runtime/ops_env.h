// What test_ops needs: buffers between guard bands on a device, inputs that every device can represent, recorded
// outputs.
#ifndef VJ_TESTS_RUNTIME_OPS_ENV_H
#define VJ_TESTS_RUNTIME_OPS_ENV_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/ops/ops.h"
#include "tests/support/scratch.h"

enum { GUARD = 64, MAX_BUFFERS = 32, MAX_OUTPUTS = 16 };
static const double guard_value = 1234.5;

typedef struct buffer { vj_tensor t, whole; } buffer;
typedef struct output { double *v; int64_t n; } output;
typedef struct env {
    vj_device *device;
    vj_stream *st;
    vj_dtype real;
    buffer buffers[MAX_BUFFERS];
    int n_buffers;
    output out[MAX_OUTPUTS];
    int n_out;
    uint32_t noise;
    int inputs;                 // made by input() so far
    int poisoned_input;         // one element of this input is NaN; -1: of none
    int64_t poisoned_element;
} env;

static inline env env_open(const char *device, int threads)
{
    env e = { .noise = 12345, .poisoned_input = -1 };
    OK(vj_device_open(&e.device, device, threads));
    OK(vj_stream_create(e.device, &e.st));
    e.real = vj_device_real(e.device);
    return e;
}

// A float that both float32 and float64 hold exactly, in (-1, 1).
static inline double draw(env *e)
{
    e->noise = e->noise * 1664525u + 1013904223u;
    return (double)(float)((double)(e->noise >> 8) / 8388608.0 - 1.0);
}

static inline vj_tensor tensor(env *e, vj_dtype type, int64_t n0, int64_t n1, const double *values)
{
    const int64_t n = n0 * n1;
    void *address = NULL;
    OK(vj_device_alloc(e->device, &address, (size_t)(n + 2 * GUARD) * vj_dtype_size(type), "a test buffer"));
    buffer *b = &e->buffers[e->n_buffers++];
    assert_true(e->n_buffers <= MAX_BUFFERS);
    b->whole = vj_tensor_1d(address, type, n + 2 * GUARD);
    double *host = malloc((size_t)(n + 2 * GUARD) * sizeof *host);
    // Outputs begin as NaN: an element that no kernel writes shows.
    for (int64_t i = 0; i < n + 2 * GUARD; i++)
        host[i] = i < GUARD || i >= GUARD + n ? guard_value : values ? values[i - GUARD] : NAN;
    OK(vj_upload(e->st, &b->whole, host, VJ_F64));
    free(host);
    const vj_tensor inner = vj_rows(&b->whole, GUARD, n);
    b->t = n1 == 0 || n0 == 0 ? vj_tensor_2d(inner.data, type, n0, n1) : vj_reshape_2d(&inner, n0, n1);
    return b->t;
}

static inline vj_tensor input(env *e, int64_t n0, int64_t n1, double scale)
{
    double *v = calloc((size_t)(n0 * n1 + 1), sizeof *v);
    for (int64_t i = 0; i < n0 * n1; i++) v[i] = (double)(float)(scale * draw(e));
    if (e->inputs++ == e->poisoned_input) v[e->poisoned_element] = NAN;
    const vj_tensor t = tensor(e, e->real, n0, n1, v);
    free(v);
    return t;
}

static inline vj_tensor constant(env *e, int64_t n0, int64_t n1, double value)
{
    double *v = calloc((size_t)(n0 * n1 + 1), sizeof *v);
    for (int64_t i = 0; i < n0 * n1; i++) v[i] = value;
    const vj_tensor t = tensor(e, e->real, n0, n1, v);
    free(v);
    return t;
}

static inline vj_tensor empty(env *e, int64_t n0, int64_t n1) { return tensor(e, e->real, n0, n1, NULL); }

static inline vj_tensor ints(env *e, int64_t n0, int64_t n1, const int32_t *values)
{
    void *address = NULL;
    OK(vj_device_alloc(e->device, &address, (size_t)(n0 * n1 + 1) * 4, "indices"));
    buffer *b = &e->buffers[e->n_buffers++];
    b->whole = vj_tensor_1d(address, VJ_I32, 0);   // no guards: inputs only
    b->t = n1 == 1 ? vj_tensor_1d(address, VJ_I32, n0) : vj_tensor_2d(address, VJ_I32, n0, n1);
    if (n0 * n1 > 0) OK(vj_upload(e->st, &b->t, values, VJ_I32));
    return b->t;
}

static inline void record(env *e, const vj_tensor *t)
{
    output *o = &e->out[e->n_out++];
    assert_true(e->n_out <= MAX_OUTPUTS);
    o->n = vj_count(t);
    o->v = malloc((size_t)(o->n + 1) * sizeof *o->v);
    OK(vj_download(e->st, o->v, VJ_F64, t));
}

// Checks the guard bands and closes; outputs stay, free them with outputs_free.
static inline void env_close(env *e, const char *what)
{
    for (int i = 0; i < e->n_buffers; i++) {
        buffer *b = &e->buffers[i];
        const int64_t n = vj_count(&b->whole);
        if (n > 0) {
            double *host = malloc((size_t)n * sizeof *host);
            OK(vj_download(e->st, host, VJ_F64, &b->whole));
            for (int64_t k = 0; k < GUARD; k++) {
                if (host[k] == guard_value && host[n - 1 - k] == guard_value) continue;
                print_error("%s: wrote outside buffer %d on %s\n", what, i, vj_device_name(e->device));
                fail();
            }
            free(host);
        }
        vj_device_free(e->device, b->whole.data);
    }
    vj_stream_destroy(&e->st);
    vj_device_close(&e->device);
}

static inline void outputs_free(env *e)
{
    for (int i = 0; i < e->n_out; i++) free(e->out[i].v);
    e->n_out = 0;
}

#endif
