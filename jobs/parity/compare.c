// The step, and its comparison: tolerances and the meaning of "relative error" are those of contracts section 8.
//
// A sign flip of (prediction - target) is legitimate rounding with an L1 loss, so the tolerance of float32 gradients grows
// with the number of flips, which is printed. Updated parameters are checked apart from gradients: the optimiser and the
// target encoder's update run on the *expected* gradients.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/parity/parity.h"
#include "runtime/base/str.h"

static const struct { vj_network network; const char *name; } networks[] = { { VJ_ENCODER, "encoder" }, { VJ_PREDICTOR, "predictor" }, { VJ_TARGET_ENCODER, "target_encoder" } };

static vj_step_options options_of(const vj_parity *p)
{
    return (vj_step_options){ .lr = p->lr, .weight_decay = p->weight_decay, .momentum = p->momentum, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .adam_step = 1 };
}

vj_status vj_parity_step(vj_parity *p)
{
    int64_t rows = 0;
    const vj_step_options o = options_of(p);
    VJ_TRY(vj_vjepa_predict(p->vjepa, &p->slot, p->pred, p->target, p->rows, &rows));
    VJ_TRY(vj_vjepa_step_begin(p->vjepa, 1));
    VJ_TRY(vj_vjepa_slot(p->vjepa, &p->slot));
    VJ_TRY(vj_vjepa_update(p->vjepa, &o, &p->result));
    VJ_CHECK(p->result.update == VJ_UPDATED, VJ_ERR_NONFINITE, "the step is not finite: loss %g, gradient norm %g", p->result.loss, p->result.grad_norm);
    return VJ_OK;
}

// Norm of the difference over norm of the expected, which counts as at least 1e-7.
static void meet(vj_parity_row *r, const char *name, const double *got, const double *want, int64_t n, double tolerance)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    norm = sqrt(norm);
    double error = sqrt(difference) / (norm > 1e-7 ? norm : 1e-7);
    if (isnan(error)) error = INFINITY;
    r->tensors++;
    if (r->tensors > 1 && error / tolerance <= r->over) return;
    r->worst = error;
    r->over = error / tolerance;
    r->tolerance = tolerance;
    snprintf(r->tensor, sizeof r->tensor, "%s", name);
}

static void shape_text(char *out, size_t size, const int64_t *shape, int rank)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < rank && at + 24 < size; i++) at += (size_t)snprintf(out + at, size - at, "%s%lld", i ? ", " : "", (long long)shape[i]);
}

// One tensor of the expected file, as float64; it must have this shape.
static vj_status expected(const vj_parity *p, const char *name, int rank, const int64_t *shape, double **out)
{
    const vj_st_entry *e = vj_safetensors_find(p->expect, name);
    VJ_CHECK(e != NULL, VJ_ERR_CONFIG, "the expected file holds no tensor '%s'", name);
    if (e->rank != rank || memcmp(e->shape, shape, (size_t)rank * sizeof *shape) != 0) {
        char found[128], wanted[128];
        shape_text(found, sizeof found, e->shape, e->rank);
        shape_text(wanted, sizeof wanted, shape, rank);
        VJ_FAIL(VJ_ERR_CONFIG, "the expected file's '%s' has the shape (%s); (%s) was expected", name, found, wanted);
    }
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    VJ_TRY(vj_host_alloc(out, (size_t)n * sizeof **out, name));
    vj_status status = vj_safetensors_copy(p->expect, name, *out, VJ_F64, n);
    if (status != VJ_OK) {
        vj_host_free(*out);
        *out = NULL;
    }
    return status;
}

static int sign(double x) { return (x > 0) - (x < 0); }

static vj_status compare_outputs(vj_parity *p, vj_parity_row *pred, vj_parity_row *target, double tolerance)
{
    const vj_clip_group *g = &p->slot.groups[0];
    int64_t row_at = 0;
    for (int j = 0; j < g->n_pairs; j++) {
        const int64_t n = g->B * g->pairs[j].P * p->C;
        char name[32], target_name[32];
        double *a = NULL, *b = NULL;
        vj_format(name, sizeof name, "pred_%d", j);
        vj_format(target_name, sizeof target_name, "target_%d", j);
        const int64_t shape[3] = { g->B, g->pairs[j].P, p->C };
        VJ_TRY(expected(p, name, 3, shape, &a));
        vj_status status = expected(p, target_name, 3, shape, &b);
        if (status == VJ_OK) {
            const double *mine = p->pred + row_at * p->C, *mine_t = p->target + row_at * p->C;
            meet(pred, name, mine, a, n, tolerance);
            meet(target, target_name, mine_t, b, n, tolerance);
            for (int64_t i = 0; i < n; i++) p->flips += sign(mine[i] - mine_t[i]) != sign(a[i] - b[i]);
            p->elements += n;
        }
        vj_host_free(a);
        vj_host_free(b);
        VJ_TRY(status);
        row_at += g->B * g->pairs[j].P;
    }
    return VJ_OK;
}

// Compares one buffer of all parameters of a network with PREFIX.NETWORK.NAME; parameters without a gradient may be left out.
static vj_status compare_params(vj_parity *p, vj_parity_row *r, int n, vj_buffer buffer, const char *prefix, bool may_lack, double tolerance)
{
    const vj_layout *l = vj_vjepa_layout(p->vjepa, networks[n].network);
    for (int i = 0; i < l->n_params; i++) {
        char name[200];
        vj_format(name, sizeof name, "%s.%s.%s", prefix, networks[n].name, l->params[i].name);
        double *want = NULL, *got = NULL;
        VJ_TRY(vj_host_alloc(&got, (size_t)l->params[i].count * sizeof *got, name));
        vj_status status = vj_vjepa_get_param(p->vjepa, networks[n].network, buffer, i, got);
        if (status == VJ_OK && may_lack && !vj_safetensors_find(p->expect, name)) {
            for (int64_t k = 0; k < l->params[i].count && status == VJ_OK; k++) {
                if (got[k] != 0) status = vj_fail(VJ_ERR_MISMATCH, "%s: has a gradient here, and none in the expected file", name);
            }
        } else if (status == VJ_OK) {
            status = expected(p, name, l->params[i].rank, l->params[i].shape, &want);
            if (status == VJ_OK) meet(r, name, got, want, l->params[i].count, tolerance);
        }
        vj_host_free(got);
        vj_host_free(want);
        VJ_TRY(status);
    }
    return VJ_OK;
}

// Weights as in the file, gradients as expected, then the optimiser and the target encoder's update.
static vj_status update_from_expected(vj_parity *p)
{
    VJ_TRY(vj_parity_weights(p));
    for (int n = 0; n < 2; n++) {
        const vj_layout *l = vj_vjepa_layout(p->vjepa, networks[n].network);
        for (int i = 0; i < l->n_params; i++) {
            char name[200];
            vj_format(name, sizeof name, "grad.%s.%s", networks[n].name, l->params[i].name);
            if (!vj_safetensors_find(p->expect, name)) continue;   // stays zero, and its token unused
            double *v = NULL;
            VJ_TRY(expected(p, name, l->params[i].rank, l->params[i].shape, &v));
            vj_status status = vj_vjepa_set_param(p->vjepa, networks[n].network, VJ_BUF_GRAD, i, v);
            vj_host_free(v);
            VJ_TRY(status);
        }
    }
    vj_step_result ignored;
    const vj_step_options o = options_of(p);
    return vj_vjepa_update(p->vjepa, &o, &ignored);
}

static bool is_known(const vj_parity *p, const char *name)
{
    if (strcmp(name, "loss") == 0) return true;
    for (int j = 0; j < p->slot.groups[0].n_pairs; j++) {
        char pred[32], target[32];
        vj_format(pred, sizeof pred, "pred_%d", j);
        vj_format(target, sizeof target, "target_%d", j);
        if (strcmp(name, pred) == 0 || strcmp(name, target) == 0) return true;
    }
    for (int n = 0; n < 3; n++) {
        for (int after = n == 2; after < 2; after++) {   // the target encoder has no gradient
            char prefix[40];
            vj_format(prefix, sizeof prefix, "%s.%s.", after ? "after" : "grad", networks[n].name);
            if (!vj_str_starts(name, prefix)) continue;
            return vj_layout_find(vj_vjepa_layout(p->vjepa, networks[n].network), name + strlen(prefix)) >= 0;
        }
    }
    return false;
}

static vj_status nothing_unknown(const vj_parity *p)
{
    for (int64_t k = 0; k < vj_safetensors_count(p->expect); k++) {
        const char *name = vj_safetensors_at(p->expect, k)->name;
        VJ_CHECK(is_known(p, name), VJ_ERR_CONFIG, "the expected file holds '%s', which is nothing of this model and batch", name);
    }
    return VJ_OK;
}

vj_status vj_parity_compare(vj_parity *p, vj_parity_row rows[VJ_KINDS_OF_PARITY], double *worst)
{
    // Float64 all the way, or the tolerances of float32.
    const vj_st_entry *weights = vj_safetensors_at(p->model, 0), *theirs = vj_safetensors_find(p->expect, "loss");
    const bool exact = vj_device_real(p->device) == VJ_F64 && weights->dtype == VJ_F64 && theirs && theirs->dtype == VJ_F64;
    static const char *const kinds[VJ_KINDS_OF_PARITY] = { "loss", "predictions", "targets", "gradients", "updated parameters", "target encoder" };
    for (int i = 0; i < VJ_KINDS_OF_PARITY; i++) rows[i] = (vj_parity_row){ .kind = kinds[i] };
    double *loss = NULL;
    VJ_TRY(nothing_unknown(p));
    VJ_TRY(expected(p, "loss", 1, (const int64_t[]){ 1 }, &loss));
    meet(&rows[0], "loss", &p->result.loss, loss, 1, exact ? 1e-9 : 1e-5);
    vj_host_free(loss);
    VJ_TRY(compare_outputs(p, &rows[1], &rows[2], exact ? 1e-9 : 1e-4));
    const double flips = p->elements > 0 ? (double)p->flips / (double)p->elements : 0;
    for (int n = 0; n < 2; n++) VJ_TRY(compare_params(p, &rows[3], n, VJ_BUF_GRAD, "grad", true, exact ? 1e-9 : 1e-3 + 2 * sqrt(flips)));
    VJ_TRY(update_from_expected(p));
    for (int n = 0; n < 2; n++) VJ_TRY(compare_params(p, &rows[4], n, VJ_BUF_PARAM, "after", false, exact ? 1e-9 : 1e-6));
    VJ_TRY(compare_params(p, &rows[5], 2, VJ_BUF_PARAM, "after", false, exact ? 1e-9 : 1e-6));

    *worst = 0;
    for (int i = 0; i < VJ_KINDS_OF_PARITY; i++) {
        if (!(rows[i].over <= *worst)) *worst = rows[i].over;
    }
    return VJ_OK;
}

// ---- our own results, under the same names --------------------------------------------------------------------------------------
static vj_status put(vj_st_writer *w, const vj_parity *p, const double *v, int64_t n)
{
    const vj_dtype t = vj_device_real(p->device);
    void *out = NULL;
    VJ_TRY(vj_host_alloc(&out, (size_t)n * vj_dtype_size(t), "a result"));
    vj_status status = vj_convert(out, t, v, VJ_F64, n);
    if (status == VJ_OK) status = vj_st_writer_data(w, out, (size_t)n * vj_dtype_size(t));
    vj_host_free(out);
    return status;
}

// Declares (data false) or writes all tensors, in one order.
static vj_status results(vj_parity *p, vj_st_writer *w, bool data)
{
    const vj_dtype t = vj_device_real(p->device);
    const vj_clip_group *g = &p->slot.groups[0];
    int64_t row_at = 0;
    VJ_TRY(data ? put(w, p, &p->result.loss, 1) : vj_st_writer_declare(w, "loss", t, 1, (const int64_t[]){ 1 }));
    for (int j = 0; j < g->n_pairs; j++) {
        for (int k = 0; k < 2; k++) {
            char name[32];
            vj_format(name, sizeof name, "%s_%d", k ? "target" : "pred", j);
            const int64_t shape[3] = { g->B, g->pairs[j].P, p->C };
            VJ_TRY(data ? put(w, p, (k ? p->target : p->pred) + row_at * p->C, shape[0] * shape[1] * shape[2]) : vj_st_writer_declare(w, name, t, 3, shape));
        }
        row_at += g->B * g->pairs[j].P;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int n = 0; n < (pass ? 3 : 2); n++) {
            const vj_layout *l = vj_vjepa_layout(p->vjepa, networks[n].network);
            for (int i = 0; i < l->n_params; i++) {
                char name[200];
                vj_format(name, sizeof name, "%s.%s.%s", pass ? "after" : "grad", networks[n].name, l->params[i].name);
                if (!data) {
                    VJ_TRY(vj_st_writer_declare(w, name, t, l->params[i].rank, l->params[i].shape));
                    continue;
                }
                double *v = NULL;
                VJ_TRY(vj_host_alloc(&v, (size_t)l->params[i].count * sizeof *v, name));
                vj_status status = vj_vjepa_get_param(p->vjepa, networks[n].network, pass ? VJ_BUF_PARAM : VJ_BUF_GRAD, i, v);
                if (status == VJ_OK) status = put(w, p, v, l->params[i].count);
                vj_host_free(v);
                VJ_TRY(status);
            }
        }
    }
    return VJ_OK;
}

vj_status vj_parity_write(vj_parity *p, const char *path)
{
    vj_st_writer *w = NULL;
    VJ_TRY(vj_st_writer_create(&w, path));
    vj_status status = results(p, w, false);
    if (status == VJ_OK) status = results(p, w, true);
    if (status == VJ_OK) return vj_st_writer_finish(&w);
    vj_st_writer_abandon(&w);
    return status;
}
