// From foreign weights to a run with one checkpoint. The state is never whole in memory: the writer asks for elements
// of flat units, and they are read tensor by tensor from the source.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configs/run_config.h"
#include "jobs/formats/formats.h"
#include "jobs/train/run_dir.h"
#include "model/layouts.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"
#include "runtime/log/log.h"

typedef struct importer {
    vj_model_source *source;
    vj_layout *layouts[3];       // encoder, predictor, target encoder
    float *values;               // one tensor
    char held[192];
} importer;

static vj_status fill(void *context, const vj_state_part *part, int unit, int64_t first, int64_t count, void *floats)
{
    importer *x = context;
    float *out = floats;
    const vj_unit *u = &part->layout->units[unit];
    memset(out, 0, (size_t)count * sizeof *out);   // padding
    for (int p = u->first_param; p < u->first_param + u->n_params; p++) {
        const vj_param *q = &part->layout->params[p];
        const int64_t low = first > q->offset ? first : q->offset;
        const int64_t high = first + count < q->offset + q->count ? first + count : q->offset + q->count;
        if (low >= high) continue;
        char name[160], what[192];
        vj_format(name, sizeof name, "%s.%s", part->network, q->name);
        vj_format(what, sizeof what, "%s/%d", name, (int)part->kind);
        if (strcmp(what, x->held) != 0) {
            x->held[0] = '\0';
            VJ_TRY(vj_weights_read(x->source->weights, name, part->kind, x->values, q->count));
            vj_format(x->held, sizeof x->held, "%s", what);
        }
        memcpy(out + (low - first), x->values + (low - q->offset), (size_t)(high - low) * sizeof *out);
    }
    return VJ_OK;
}

static vj_status make_layouts(importer *x)
{
    static const char *const networks[] = { "encoder", "predictor", "target_encoder" };
    const vj_model_source *s = x->source;
    const int64_t Q = vj_model_quantum(&s->model);
    VJ_TRY(vj_encoder_layout(&x->layouts[0], &s->model, "encoder", Q));
    VJ_TRY(vj_predictor_layout(&x->layouts[1], &s->model, s->mask_tokens, Q));
    VJ_TRY(vj_encoder_layout(&x->layouts[2], &s->model, "target_encoder", Q));
    int64_t largest = 0, expected = 0;
    for (int n = 0; n < 3; n++) {
        VJ_TRY(vj_weights_fit(s->weights, networks[n], x->layouts[n]));
        expected += x->layouts[n]->n_params;
        for (int p = 0; p < x->layouts[n]->n_params; p++) {
            if (x->layouts[n]->params[p].count > largest) largest = x->layouts[n]->params[p].count;
        }
    }
    for (int64_t i = 0; i < vj_weights_count(s->weights); i++) {   // nothing may be left over
        const vj_weight *w = vj_weights_at(s->weights, i);
        const char *dot = strchr(w->name, '.');
        int n = 0;
        while (n < 3 && !(strlen(networks[n]) == (size_t)(dot - w->name) &&
                          strncmp(w->name, networks[n], strlen(networks[n])) == 0))
            n++;
        VJ_CHECK(n < 3 && vj_layout_find(x->layouts[n], dot + 1) >= 0, VJ_ERR_CONFIG,
                 "%s: tensor %s is none of this model", vj_weights_facts_of(s->weights)->path, w->name);
    }
    VJ_CHECK(expected == vj_weights_count(s->weights), VJ_ERR_CONFIG, "%s: has %lld tensors, this model %lld",
             vj_weights_facts_of(s->weights)->path, (long long)vj_weights_count(s->weights), (long long)expected);
    return vj_host_alloc(&x->values, (size_t)largest * sizeof *x->values, "a tensor");
}

static vj_status make_config(const vj_model_source *s, vj_run_config *config, vj_config **origins)
{
    const vj_model_config *m = &s->model;
    char words[20][96];
    const char *list[20];
    int n = 0;
#define WORD(...) vj_format(words[n], sizeof words[n], __VA_ARGS__), n++
    WORD("model.preset=%s", m->preset);
    if (strcmp(m->preset, "custom") == 0) {
        WORD("model.width=%lld", (long long)m->width);
        WORD("model.depth=%lld", (long long)m->depth);
        WORD("model.heads=%lld", (long long)m->heads);
        WORD("model.hidden=%lld", (long long)m->hidden);
    }
    WORD("model.pred_width=%lld", (long long)m->pred_width);
    WORD("model.pred_depth=%lld", (long long)m->pred_depth);
    WORD("model.pred_heads=%lld", (long long)m->pred_heads);
    WORD("model.patch=%lld", (long long)m->patch);
    WORD("model.tubelet=%lld", (long long)m->tubelet);
    WORD("model.mask_tokens=%lld", (long long)s->mask_tokens);
    if (s->crop > 0) WORD("data.crop=%lld", (long long)s->crop);
    if (s->frames > 0) WORD("data.fpc=[%lld]", (long long)s->frames);
    const int needed = n;
    if (s->batch > 0 && s->group > 0) {
        WORD("train.batch=%lld", (long long)s->batch);
        WORD("mask.group=%lld", (long long)s->group);
    }
    if (s->lr > 0) WORD("optim.lr=%.17g", s->lr);
#undef WORD
    for (int i = 0; i < n; i++) list[i] = words[i];
    if (vj_run_config_load(config, origins, NULL, list, n) == VJ_OK) return VJ_OK;
    vj_error_clear();   // a training that is none of ours; the weights are good all the same
    return vj_run_config_load(config, origins, NULL, list, needed);
}

enum { PARTS = 7 };
static vj_status save(importer *x, vj_run_dir *run, const char *yaml, char path[640])
{
    static const struct { const char *network; int layout; vj_state_kind kind;
    } table[PARTS] = {
        { "encoder", 0, VJ_STATE_PARAM},        {"encoder", 0, VJ_STATE_EXP_AVG },
        { "encoder", 0, VJ_STATE_EXP_AVG_SQ},   {"predictor", 1, VJ_STATE_PARAM },
        { "predictor", 1, VJ_STATE_EXP_AVG},    {"predictor", 1, VJ_STATE_EXP_AVG_SQ },
        { "target_encoder", 2, VJ_STATE_PARAM },
    };
    const vj_weights_facts *facts = vj_weights_facts_of(x->source->weights);
    int most = 0, n = 0;
    for (int i = 0; i < 3; i++) most = x->layouts[i]->n_units > most ? x->layouts[i]->n_units : most;
    vj_tensor *shards = NULL;   // no memory behind them: they only say how many elements a unit has
    int64_t *zeros = NULL;
    VJ_TRY(vj_host_alloc(&shards, (size_t)(3 * most) * sizeof *shards, "a list of units"));
    vj_status status = vj_host_alloc(&zeros, (size_t)most * sizeof *zeros, "a list of units");
    vj_state_part parts[PARTS];
    for (int i = 0; i < 3; i++) {
        for (int u = 0; u < x->layouts[i]->n_units; u++)
            shards[i * most + u] = vj_tensor_1d(NULL, VJ_F32, x->layouts[i]->units[u].length);
    }
    for (int i = 0; i < PARTS; i++) {
        if (table[i].kind != VJ_STATE_PARAM && !facts->moments) continue;
        parts[n++] = (vj_state_part){.network = table[i].network,
                                     .kind = table[i].kind,
                                     .layout = x->layouts[table[i].layout],
                                     .shards = shards + table[i].layout * most,
                                     .begin = zeros,
                                     .fill = fill,
                                     .fill_context = x};
    }
    vj_run_state state = {.step = facts->step, .adam_step = facts->moments ? facts->adam_step : 0, .config_yaml = yaml};
    vj_format(state.run_id, sizeof state.run_id, "%s", run->run_id);
    vj_format(state.phase, sizeof state.phase, "import");
    vj_format(state.schedule_phase, sizeof state.schedule_phase, "constant");
    snprintf(state.parent, sizeof state.parent, "%.319s", facts->path);
    vj_model_digest(x->layouts[0], x->layouts[1], state.model_digest);
    vj_format(state.isa, sizeof state.isa, "-");
    vj_format(state.gemm, sizeof state.gemm, "imported");
    if (status == VJ_OK) status = vj_checkpoint_save(run->path, parts, n, &state, NULL, 1, 0);
    if (status == VJ_OK) vj_format(path, 640, "%s/ckpt/step-%08lld", run->path, (long long)state.step);
    vj_host_free(shards);
    vj_host_free(zeros);
    return status;
}

vj_status vj_import(vj_model_source *source, const char *out, char path[640])
{
    importer x = { .source = source };
    vj_run_config config;
    vj_config *origins = NULL;
    vj_run_dir run = { 0 };
    vj_str yaml = { 0 };
    const char *from = vj_weights_facts_of(source->weights)->path;
    VJ_CHECK(!vj_path_exists(out), VJ_ERR_USAGE, "%s: exists already; name a new directory", out);
    VJ_CHECK(source->mask_tokens > 0, VJ_ERR_CONFIG,
             "%s: holds no predictor; a checkpoint needs one; `vjepa pretrain init.from=FILE` starts from the encoder "
             "with a new predictor", from);
    vj_status status = make_layouts(&x);
    if (status == VJ_OK) status = make_config(source, &config, &origins);
    if (status == VJ_OK) status = vj_run_dir_open(&run, out, "import", from, -1, "", "", origins, false);
    if (status == VJ_OK) {
        vj_config_resolved(origins, false, &yaml);
        status = save(&x, &run, vj_str_text(&yaml), path);
        char text[2048];
        if (status != VJ_OK) {   // nothing half-made stays
            snprintf(text, sizeof text, "%s", vj_error_text());
            if (vj_dir_remove(out) != VJ_OK) vj_log(VJ_WARN, "import", "%s is left over and can be removed", out);
            status = vj_fail_text(status, text);
        }
    }
    vj_run_dir_close(&run);
    vj_config_destroy(&origins);
    vj_str_free(&yaml);
    for (int i = 0; i < 3; i++) vj_layout_destroy(&x.layouts[i]);
    vj_host_free(x.values);
    return status;
}
