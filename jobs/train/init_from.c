// init.from: a new run, or a cooldown, starts from weights alone, of our own checkpoints or of foreign files; Adam's moments, schedules
// and the data cursor begin anew.

#include <stdlib.h>
#include <string.h>

#include "evals/model_source.h"
#include "jobs/train/trainer_impl.h"
#include "model/layouts.h"
#include "runtime/log/log.h"

static const struct {
    vj_network network;
    const char *name;
} networks[] = { { VJ_ENCODER, "encoder" }, { VJ_TARGET_ENCODER, "target_encoder" }, { VJ_PREDICTOR, "predictor" } };

static vj_status same_heads(const char *ref, const char *key, int64_t theirs, int64_t ours)
{
    VJ_CHECK(theirs == 0 || theirs == ours, VJ_ERR_CONFIG,
             "%s: was made with %lld heads, this run has %s=%lld: with other heads the same weights are another model",
             ref, (long long)theirs, key, (long long)ours);
    return VJ_OK;
}

// Shapes do not say heads and rotation, and tokens are counted: all that a strict comparison of shapes would not
// explain.
static vj_status check(const vj_trainer *t, const vj_model_source *s)
{
    const vj_weights_facts *f = vj_weights_facts_of(s->weights);
    const vj_model_config *m = &t->config.model;
    const bool own = strcmp(f->format, "checkpoint") == 0;
    VJ_TRY(same_heads(f->path, "model.heads", own ? s->model.heads : f->heads, m->heads));
    if (s->mask_tokens > 0) {
        VJ_TRY(same_heads(f->path, "model.pred_heads", own ? s->model.pred_heads : f->pred_heads, m->pred_heads));
    }
    VJ_CHECK(s->model.rope_layout == m->rope_layout, VJ_ERR_CONFIG,
             "%s: was trained with another model.rope_layout than this run's: the same weights are another model",
             f->path);
    VJ_CHECK(s->mask_tokens == 0 || s->mask_tokens == t->mask_tokens, VJ_ERR_CONFIG,
             "%s: has %lld mask tokens, this run %lld (mask configurations x entries of data.fpc): say "
             "model.mask_tokens=%lld; "
             "tokens that no mask uses are carried along",
             f->path, (long long)s->mask_tokens, (long long)t->mask_tokens, (long long)s->mask_tokens);
    return VJ_OK;
}

static vj_status check_shapes(const vj_trainer *t, const vj_model_source *s)
{
    vj_layout *encoder = NULL, *predictor = NULL;
    const int64_t Q = vj_model_quantum(&t->config.model);
    vj_status status = vj_encoder_layout(&encoder, &t->config.model, "encoder", Q);
    if (status == VJ_OK) status = vj_predictor_layout(&predictor, &t->config.model, t->mask_tokens, Q);
    if (status == VJ_OK) status = vj_weights_fit(s->weights, "encoder", encoder);
    if (status == VJ_OK) status = vj_weights_fit(s->weights, "target_encoder", encoder);
    if (status == VJ_OK && s->mask_tokens > 0) status = vj_weights_fit(s->weights, "predictor", predictor);
    vj_layout_destroy(&encoder);
    vj_layout_destroy(&predictor);
    return status;
}

vj_status vj_trainer_init_open(vj_trainer *t, bool exists)
{
    const char *ref = t->config.train.init_from;
    const vj_model_config *m = &t->config.model;
    vj_model_source s;
    if (!ref[0]) return VJ_OK;
    t->mask_tokens = m->mask_tokens > 0 ? m->mask_tokens : t->config.mask.n * t->config.data.fpc.n;
    vj_status status = vj_model_source_open(&s, ref, m->heads, m->pred_heads, false);
    if (status == VJ_OK) status = check(t, &s);
    if (status == VJ_OK) status = check_shapes(t, &s);
    if (status == VJ_OK && strcmp(vj_weights_facts_of(s.weights)->format, "checkpoint") == 0) {
        status = vj_checkpoint_verify(vj_weights_facts_of(s.weights)->path);
        if (status == VJ_ERR_MISMATCH) status = VJ_ERR_CHECKPOINT;
    }
    if (status == VJ_OK) status = vj_weights_digest(s.weights, t->init_digest);
    if (status == VJ_OK) {
        t->init = s.weights;
        return VJ_OK;
    }
    vj_model_source_close(&s);
    if (!exists) {
        vj_context("init.from=%s", ref);
        return status;
    }
    vj_log(VJ_WARN, "train", "init.from=%s cannot be used any more (%s): the figure `moved` is left out", ref,
           vj_error_text());
    vj_error_clear();
    return VJ_OK;
}

void vj_trainer_init_same(vj_trainer *t)
{
    if (!t->init || !t->run.init[0] || strcmp(t->run.init, t->init_digest) == 0) return;
    vj_log(VJ_WARN, "train", "init.from=%s: %s holds other weights now than those this run began with (%s, sha256 %.12s...): "
           "the figure `moved` is left out", t->config.train.init_from, vj_weights_facts_of(t->init)->path,
           t->run.init_from, t->run.init);
    vj_weights_close(&t->init);
}

vj_status vj_trainer_init_read(vj_trainer *t, const char *network, const vj_param *p, double *out)
{
    char name[160];
    float *values = NULL;
    vj_format(name, sizeof name, "%s.%s", network, p->name);
    VJ_TRY(vj_host_alloc(&values, (size_t)p->count * sizeof *values, "a tensor"));
    const vj_status status = vj_weights_read(t->init, name, VJ_STATE_PARAM, values, p->count);
    for (int64_t i = 0; status == VJ_OK && i < p->count; i++) out[i] = values[i];
    vj_host_free(values);
    return status;
}

vj_status vj_trainer_init_weights(vj_trainer *t)
{
    const int n = vj_weights_mask_tokens(t->init) > 0 ? 3 : 2;
    for (int i = 0; i < n; i++) {
        const vj_layout *l = vj_vjepa_layout(t->model, networks[i].network);
        for (int p = 0; p < l->n_params; p++) {
            double *values = NULL;
            VJ_TRY(vj_host_alloc(&values, (size_t)l->params[p].count * sizeof *values, "a tensor"));
            vj_status status = vj_trainer_init_read(t, networks[i].name, &l->params[p], values);
            if (status == VJ_OK) status = vj_vjepa_set_param(t->model, networks[i].network, VJ_BUF_PARAM, p, values);
            vj_host_free(values);
            VJ_TRY(status);
        }
    }
    const vj_weights_facts *f = vj_weights_facts_of(t->init);
    if (n == 2 && t->cooldown) {
        vj_log(VJ_WARN, "train", "%s has no predictor: a new one has to be learned while the learning rate falls already; "
               "`vjepa pretrain` with init.from gives it time", f->path);
    }
    vj_log(VJ_INFO, "train", "weights from %s (%s)%s%s; Adam's moments, schedules and data start anew", f->path,
           f->format, f->one_encoder ? ", its one encoder as both" : "",
           n == 2 ? ", which has no predictor: that one is new" : "");
    return VJ_OK;
}
