#include "jobs/train/roof.h"

#include <math.h>

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/ops/ops.h"

enum { SMALLEST = 128, LARGEST = 2048, REPEATS = 8 };
static const double LONG_ENOUGH = 5e-3, ALL_TOGETHER = 0.1;

static vj_status fill(vj_stream *st, const vj_tensor *x)
{
    float *values = NULL;
    const int64_t n = vj_count(x);
    VJ_TRY(vj_host_alloc(&values, (size_t)n * sizeof *values, "numbers to multiply"));
    for (int64_t i = 0; i < n; i++) values[i] = (float)(i % 17) / 16 - 0.5f;
    vj_status status = vj_upload(st, x, values, VJ_F32);
    vj_host_free(values);
    return status;
}

// Best FLOP/s of products of size n, and the time of the fastest.
static vj_status measure(vj_device *device, vj_stream *st, int64_t n, double *rate, double *fastest)
{
    const vj_dtype real = vj_device_real(device);
    const size_t bytes = (size_t)(n * n) * vj_dtype_size(real);
    void *memory = NULL;
    VJ_TRY(vj_device_alloc(device, &memory, 3 * bytes, "measuring the roof"));
    const vj_tensor y = vj_tensor_2d(memory, real, n, n), x = vj_tensor_2d((char *)memory + bytes, real, n, n),
                    w = vj_tensor_2d((char *)memory + 2 * bytes, real, n, n);
    vj_status status = fill(st, &x);
    if (status == VJ_OK) status = fill(st, &w);
    double all = 0;
    *fastest = 1e30;
    for (int i = 0; i < REPEATS && (i < 2 || all < ALL_TOGETHER) && status == VJ_OK; i++) {
        const double began = vj_now();
        status = vj_linear_forward(st, &y, &x, &w, NULL, VJ_EPI_NONE, NULL);
        if (status == VJ_OK) status = vj_stream_sync(st);
        const double seconds = vj_now() - began;
        all += seconds;
        *fastest = seconds < *fastest ? seconds : *fastest;
    }
    vj_device_free(device, memory);
    *rate = 2.0 * (double)n * (double)n * (double)n / *fastest;
    return status;
}

vj_status vj_roof_measure(vj_device *device, double *flop_per_second)
{
    vj_stream *st = NULL;
    VJ_TRY(vj_stream_create(device, &st));
    vj_status status = VJ_OK;
    double best = 0, fastest = 0;
    for (int64_t n = SMALLEST; n <= LARGEST && fastest < LONG_ENOUGH && status == VJ_OK; n *= 2) {
        double rate = 0;
        status = measure(device, st, n, &rate, &fastest);
        best = rate > best ? rate : best;
    }
    vj_stream_destroy(&st);
    *flop_per_second = best;
    return status;
}

double vj_roof_expected_share(double slot_flop)
{
    // The quickstart, its cooldown, and blocks of ViT-L on one clip of 16 frames x 256 px.
    static const struct { double flop, share; } measured[] = { { 1.6e9, 0.39 }, { 7.7e9, 0.62 }, { 8.6e11, 0.86 } };
    enum { N = sizeof measured / sizeof measured[0] };
    if (!(slot_flop > measured[0].flop)) return measured[0].share;
    for (int i = 1; i < N; i++) {
        if (slot_flop >= measured[i].flop) continue;
        const double along = log(slot_flop / measured[i - 1].flop) / log(measured[i].flop / measured[i - 1].flop);
        return measured[i - 1].share + along * (measured[i].share - measured[i - 1].share);
    }
    return measured[N - 1].share;
}
