// What this machine can do at most, measured now: the roofs that `vjepa bench` compares with. Only for device `cpu`.
//
// Every figure runs on all of the device's threads, through the same tiles and the same pool as training does.
#ifndef VJ_RUNTIME_CPU_ROOF_H
#define VJ_RUNTIME_CPU_ROOF_H

#include "runtime/tensor/device.h"

typedef enum vj_roof_product {
    VJ_ROOF_OWN,        // our kernel
    VJ_ROOF_ONEDNN,     // oneDNN's sgemm, single-threaded on each tile
    VJ_ROOF_OPENBLAS,   // the serial OpenBLAS the same way, when it is installed (it is loaded at run time)
    VJ_ROOF_PRODUCTS
} vj_roof_product;
extern const char *const vj_roof_product_names[VJ_ROOF_PRODUCTS];

// The three products of a linear layer: y = x w', dx = dy w, dw += dy' x.
typedef enum vj_roof_form { VJ_ROOF_FORWARD, VJ_ROOF_INPUT, VJ_ROOF_WEIGHT } vj_roof_form;

// FLOP/s of one pass of fused multiply-adds in registers: about `seconds` long.
vj_status vj_roof_fma(vj_device *device, double seconds, double *flop_per_second) VJ_MUST_CHECK;
// Bytes/s of a[i] = b[i] + s * c[i] over 3 x 64 MiB (reads and the write counted once each).
vj_status vj_roof_memory(vj_device *device, double *bytes_per_second) VJ_MUST_CHECK;
// FLOP/s of one product of a linear layer with R rows, I inputs, O outputs; 0 when `product` is not there.
typedef struct vj_roof_shape { vj_roof_form form; int64_t R, I, O; } vj_roof_shape;
vj_status vj_roof_gemm(vj_device *device, vj_roof_product product, const vj_roof_shape *shape,
                       double *flop_per_second) VJ_MUST_CHECK;
// "oneDNN 2.6.3, OpenBLAS 0.3.21", what is there.
void vj_roof_versions(char out[96]);

#endif
