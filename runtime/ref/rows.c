// Patches, row gathers, loss and flat spans in float64.

#include <math.h>
#include <string.h>

#include "runtime/ref/ref.h"

void ref_patch_gather(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_patch_gather *a = args;
    const int64_t gh = a->height / a->patch, gw = a->width / a->patch, p = a->patch, t = a->tubelet;
    double *out = a->bricks;
    for (int64_t r = 0; r < a->R; r++) {
        const int64_t clip = a->rows[2 * r], id = a->rows[2 * r + 1], z = id / (gh * gw), y = id / gw % gh, x = id % gw;
        for (int64_t c = 0; c < 3; c++) {
            for (int64_t dt = 0; dt < t; dt++) {
                for (int64_t dy = 0; dy < p; dy++) {
                    const double *in = (const double *)a->clips +
                                       (((clip * 3 + c) * a->F + z * t + dt) * a->height + y * p + dy) * a->width +
                                       x * p;
                    memcpy(out, in, (size_t)p * sizeof *out);
                    out += p;
                }
            }
        }
    }
}

void ref_rows_gather(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_rows_gather *a = args;
    for (int64_t r = 0; r < a->R; r++) {
        const int64_t i = a->index[r];
        const double *in = i >= 0 ? (const double *)a->x + i * a->C : (const double *)a->table + (-1 - i) * a->C;
        memcpy((double *)a->y + r * a->C, in, (size_t)a->C * sizeof *in);
    }
}

void ref_rows_sum(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_rows_sum *a = args;
    for (int64_t i = 0; i < a->n; i++) {
        const double *in = (const double *)a->x + a->index[i] * a->C;
        for (int64_t c = 0; c < a->C; c++) ((double *)a->sum)[c] += in[c];
    }
}

void ref_rows_scatter(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_rows_scatter *a = args;
    memset(a->dx, 0, (size_t)(a->R * a->C) * sizeof(double));
    for (int64_t i = 0; i < a->n; i++) {
        memcpy((double *)a->dx + a->index[i] * a->C, (const double *)a->dy + i * a->C, (size_t)a->C * sizeof(double));
    }
}

void ref_loss(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_loss *a = args;
    double total = 0;
    for (int64_t r = 0; r < a->R; r++) {
        const double weight = ((const double *)a->weight)[r];
        double sum = 0;
        for (int64_t c = 0; c < a->C; c++) {
            const double d = ((const double *)a->pred)[r * a->C + c] - ((const double *)a->target)[r * a->C + c];
            sum += a->exponent == 1 ? fabs(d) : 0.5 * d * d;
            ((double *)a->dpred)[r * a->C + c] = weight * (a->exponent == 2 || isnan(d) ? d : (d > 0) - (d < 0));
        }
        if (a->row_loss) ((double *)a->row_loss)[r] = sum;
        total += weight * sum;
    }
    *a->loss = total;
}

void ref_add_inplace(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_add_inplace *a = args;
    for (int64_t i = 0; i < a->n; i++) ((double *)a->y)[i] += ((const double *)a->x)[i];
}

void ref_adamw(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_adamw *a = args;
    const vj_adamw_spec *s = &a->spec;
    double *p = a->p, *m = a->m, *v = a->v;
    const double c1 = 1 - pow(s->beta1, (double)s->step), c2 = sqrt(1 - pow(s->beta2, (double)s->step));
    for (int64_t i = 0; i < a->n; i++) {
        const double g = ((const double *)a->g)[i] * s->grad_scale;
        p[i] *= 1 - s->lr * s->weight_decay;
        m[i] = s->beta1 * m[i] + (1 - s->beta1) * g;
        v[i] = s->beta2 * v[i] + (1 - s->beta2) * g * g;
        p[i] -= s->lr / c1 * m[i] / (sqrt(v[i]) / c2 + s->eps);
    }
}

void ref_ema(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_ema *a = args;
    double *t = a->target;
    for (int64_t i = 0; i < a->n; i++) t[i] = a->momentum * t[i] + (1 - a->momentum) * ((const double *)a->online)[i];
}

void ref_square_sums(const vj_exec *exec, const void *args)
{
    (void)exec;
    const vj_args_square_sums *a = args;
    const double *x = a->x;
    for (int64_t chunk = 0; chunk < a->n / a->chunk; chunk++) {
        double sum = 0;
        for (int64_t i = 0; i < a->chunk; i++, x++) sum += *x * *x;
        a->out[chunk] = sum;
    }
}
