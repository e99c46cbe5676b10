// Devices, streams, events. Shaped for CUDA: work is queued on a stream and runs in order; a copy or an op is done only
// after the stream (or an event recorded behind it) was synchronised. Three devices share all code above the ops:
//
//   ref   plain C, float64: the oracle
//   cpu   float32; kernels chosen by CPUID at run time (VJ_CPU=portable|avx2|avx512 lowers the choice)
//   far   the cpu kernels behind an opaque address space (host code that dereferences a device address faults) and
//         asynchronous queues (host code that forgets an event reads stale bytes). It gives cpu's bits.
#ifndef VJ_RUNTIME_TENSOR_DEVICE_H
#define VJ_RUNTIME_TENSOR_DEVICE_H

#include "runtime/tensor/tensor.h"

typedef struct vj_device vj_device;
typedef struct vj_stream vj_stream;
typedef struct vj_event vj_event;

// `name`: "ref", "cpu", "far" (VJ_ERR_USAGE lists the names otherwise). `threads` >= 1.
vj_status vj_device_open(vj_device **out, const char *name, int threads) VJ_MUST_CHECK;
void vj_device_close(vj_device **device);
const char *vj_device_name(const vj_device *device);
const char *vj_device_isa(const vj_device *device);     // "portable", "avx2", "avx512"; "c" on ref
vj_dtype vj_device_real(const vj_device *device);       // type of weights and activations: VJ_F64 on ref, else VJ_F32
int vj_device_threads(const vj_device *device);
// The lines of the GEMM library and kernel set in use, for manifests: "oneDNN 2.6.3".
const char *vj_device_gemm(const vj_device *device);

// Device memory, aligned to 4096 bytes, zeroed. VJ_ERR_NOMEM says what was asked for and what the device has.
vj_status vj_device_alloc(vj_device *device, void **address, size_t bytes, const char *what) VJ_MUST_CHECK;
void vj_device_free(vj_device *device, void *address);
int64_t vj_device_bytes(const vj_device *device);       // allocated now
bool vj_device_host_memory(const vj_device *device);    // its addresses can be read by the host, once the stream was synchronised

vj_status vj_stream_create(vj_device *device, vj_stream **out) VJ_MUST_CHECK;
void vj_stream_destroy(vj_stream **stream);             // waits for its work
vj_device *vj_stream_device(const vj_stream *stream);
vj_status vj_stream_sync(vj_stream *stream) VJ_MUST_CHECK;

vj_status vj_event_create(vj_device *device, vj_event **out) VJ_MUST_CHECK;
void vj_event_destroy(vj_event **event);
vj_status vj_event_record(vj_event *event, vj_stream *stream) VJ_MUST_CHECK;
vj_status vj_event_wait(vj_stream *stream, vj_event *event) VJ_MUST_CHECK;   // the stream waits, the host does not
vj_status vj_event_sync(vj_event *event) VJ_MUST_CHECK;                      // the host waits

// Raw bytes, in stream order. Host memory must stay as it is until the stream has been synchronised.
vj_status vj_copy_to_device(vj_stream *st, void *device_dst, const void *host_src, size_t bytes) VJ_MUST_CHECK;
vj_status vj_copy_to_host(vj_stream *st, void *host_dst, const void *device_src, size_t bytes) VJ_MUST_CHECK;
vj_status vj_copy(vj_stream *st, void *device_dst, const void *device_src, size_t bytes) VJ_MUST_CHECK;
vj_status vj_zero(vj_stream *st, void *device_dst, size_t bytes) VJ_MUST_CHECK;

// Whole tensors with conversion on the host; these synchronise the stream and are for set-up, checkpoints and tests
// (they allocate host memory when a conversion is needed).
vj_status vj_upload(vj_stream *st, const vj_tensor *dst, const void *host, vj_dtype host_type) VJ_MUST_CHECK;
vj_status vj_download(vj_stream *st, void *host, vj_dtype host_type, const vj_tensor *src) VJ_MUST_CHECK;

// What ops ran on this device since the last reset: calls, seconds, floating-point operations of GEMM and attention.
typedef struct vj_op_stat {
    const char *name;
    int64_t calls;
    double seconds;
    double flop;
} vj_op_stat;
void vj_device_stats_enable(vj_device *device, bool on);     // off by default
int vj_device_stats(const vj_device *device, vj_op_stat *out, int capacity);   // number of ops with calls > 0
void vj_device_stats_reset(vj_device *device);

#endif
