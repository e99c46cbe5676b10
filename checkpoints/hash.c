// `vjepa checkpoint hash`: one line that names every bit of the state (contracts section 4). Padding, mesh, time and
// machine are not in it. All bytes are checked first: a damaged state has no name.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checkpoint_impl.h"
#include "runtime/base/hash.h"

// The target encoder has no moments.
static const int kinds_of[VJ_CKPT_NETWORKS] = { VJ_STATE_KINDS, VJ_STATE_KINDS, 1 };

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static vj_status add_line(const vj_checkpoint *c, const char *network, vj_state_kind kind, const vj_param *p,
                          float *values, char **line)
{
    char name[128], hex[65];
    vj_format(name, sizeof name, "%s.%s", network, p->name);
    if (vj_checkpoint_has(c, network, kind)) VJ_TRY(vj_checkpoint_read_param(c, name, kind, values, p->count));
    else memset(values, 0, (size_t)p->count * sizeof *values);   // absent moments count as zeros
    vj_sha256_hex(hex, values, (size_t)p->count * sizeof *values);   // little-endian as everything here
    vj_str text = { 0 };
    vj_str_printf(&text, "%s/%s float32 [", name, vj_state_kind_names[kind]);
    for (int i = 0; i < p->rank; i++) vj_str_printf(&text, i ? ",%lld" : "%lld", (long long)p->shape[i]);
    vj_str_printf(&text, "] %s\n", hex);
    *line = text.data;
    return VJ_OK;
}

vj_status vj_checkpoint_hash(const vj_checkpoint *c, char hex[65], vj_str *lines)
{
    VJ_TRY(vj_checkpoint_check(c));
    int64_t largest = 0, count = 0;
    for (int n = 0; n < VJ_CKPT_NETWORKS; n++) {
        const vj_layout *l = vj_checkpoint_layout(c, vj_ckpt_networks[n]);
        for (int p = 0; p < l->n_params; p++) largest = l->params[p].count > largest ? l->params[p].count : largest;
        count += (int64_t)l->n_params * kinds_of[n];
    }
    float *values = malloc((size_t)(largest + 1) * sizeof *values);
    char **list = calloc((size_t)count + 1, sizeof *list);
    vj_status status = values && list ? VJ_OK : vj_fail(VJ_ERR_NOMEM, "no memory to hash a checkpoint");
    int64_t at = 0;
    for (int n = 0; n < VJ_CKPT_NETWORKS && status == VJ_OK; n++) {
        const vj_layout *l = vj_checkpoint_layout(c, vj_ckpt_networks[n]);
        for (int p = 0; p < l->n_params && status == VJ_OK; p++) {
            for (int k = 0; k < kinds_of[n] && status == VJ_OK; k++) {
                status = add_line(c, vj_ckpt_networks[n], (vj_state_kind)k, &l->params[p], values, &list[at]);
                if (status == VJ_OK) at++;
            }
        }
    }
    if (status == VJ_OK) {
        qsort(list, (size_t)at, sizeof *list, by_text);
        vj_str all = { 0 };
        for (int64_t i = 0; i < at; i++) vj_str_add(&all, list[i]);
        vj_str_printf(&all, "step %lld\nadam_step %lld\ncursor %llu\n", (long long)c->state.step,
                      (long long)c->state.adam_step, (unsigned long long)c->state.cursor);
        vj_sha256_hex(hex, all.data, all.length);
        if (lines) vj_str_add(lines, vj_str_text(&all));
        vj_str_free(&all);
    }
    for (int64_t i = 0; i < at; i++) free(list[i]);
    free(list);
    free(values);
    return status;
}
