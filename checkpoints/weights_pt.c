// The published .pt files: dictionaries encoder, predictor, target_encoder under "module.backbone.", and the state of
// AdamW by number (spec/pretrain.md 9.1).

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "checkpoints/official.h"
#include "checkpoints/pt.h"
#include "checkpoints/weights_impl.h"
#include "runtime/base/str.h"
#include "runtime/log/log.h"

static vj_status read_tensor(vj_weights *w, int64_t tensor, int64_t first, int64_t count, float *out)
{
    return vj_pt_read(w->file, tensor, first, count, out);
}

static void close_file(vj_weights *w)
{
    vj_pt *f = w->file;
    vj_pt_close(&f);
}

// "encoder/module.backbone.norm.weight" -> "encoder.norm.weight"; false: not a tensor of a network.
static bool official_name(const char *path, char out[160])
{
    static const char *const networks[] = { "encoder", "predictor", "target_encoder" };
    const char *slash = strchr(path, '/');
    if (!slash || strchr(slash + 1, '/')) return false;
    for (int i = 0; i < 3; i++) {
        if (strlen(networks[i]) != (size_t)(slash - path) || strncmp(path, networks[i], strlen(networks[i])) != 0)
            continue;
        const char *rest = slash + 1;
        if (vj_str_starts(rest, "module.")) rest += 7;
        if (vj_str_starts(rest, "backbone.")) rest += 9;
        if (strlen(rest) > 110) return false;
        vj_format(out, 160, "%s.%s", networks[i], rest);
        return true;
    }
    return false;
}

static int64_t entry_of(const vj_weights *w, const char *name)
{
    for (int64_t i = 0; i < w->n; i++) {
        if (strcmp(w->entries[i].w.name, name) == 0) return i;
    }
    return -1;
}

static int64_t count_of(const vj_weights *w, const char *list, const char *leaf)
{
    for (int64_t n = 0;; n++) {
        char name[120];
        vj_format(name, sizeof name, "%s.%lld%s", list, (long long)n, leaf);
        if (entry_of(w, name) < 0) return n;
    }
}

typedef struct numbering { vj_weights *w; vj_pt *f; int64_t found; vj_status status; } numbering;

static void number_one(void *context, int64_t index, const char *name)
{
    static const char *const kinds[] = { "exp_avg", "exp_avg_sq" };
    numbering *k = context;
    const int64_t at = entry_of(k->w, name);
    for (int i = 0; i < 2 && at >= 0 && k->status == VJ_OK; i++) {
        char path[96];
        vj_format(path, sizeof path, "opt/state/%lld/%s", (long long)index, kinds[i]);
        const int64_t tensor = vj_pt_find(k->f, path);
        if (tensor < 0) continue;   // a mask token that never had a gradient
        if (vj_pt_at(k->f, tensor)->count != k->w->entries[at].w.count) {
            k->status = vj_fail(
                VJ_ERR_CONFIG,
                "%s: %s has %lld elements, %s has %lld: the optimiser's parameters are in another order than published",
                k->w->facts.path, path, (long long)vj_pt_at(k->f, tensor)->count, name,
                (long long)k->w->entries[at].w.count);
            return;
        }
        k->w->entries[at].moments[i] = tensor;
        k->found++;
    }
}

static vj_status read_adam_step(vj_weights *w, vj_pt *f)
{
    double v = 0;
    const int64_t tensor = vj_pt_find(f, "opt/state/0/step");
    if (tensor >= 0 && vj_pt_at(f, tensor)->count == 1) {
        float one;
        VJ_TRY(vj_pt_read(f, tensor, 0, 1, &one));
        v = one;
    } else {
        VJ_CHECK(vj_pt_number(f, "opt/state/0/step", &v), VJ_ERR_CONFIG,   // a plain number before PyTorch 1.12
                 "%s: has moments, but opt/state/0/step does not say after how many steps", w->facts.path);
    }
    VJ_CHECK(v >= 0 && v <= 0x1p53 && v == floor(v), VJ_ERR_CONFIG,
             "%s: opt/state/0/step is %g; a whole number was expected", w->facts.path, v);
    w->facts.adam_step = (int64_t)v;
    return VJ_OK;
}

static vj_status map_moments(vj_weights *w, vj_pt *f)
{
    const vj_official_sizes sizes = { .depth = count_of(w, "encoder.blocks", ".norm1.weight"),
                                      .pred_depth = count_of(w, "predictor.predictor_blocks", ".norm1.weight"),
                                      .mask_tokens = count_of(w, "predictor.mask_tokens", "") };
    if (sizes.depth == 0 || sizes.pred_depth == 0) return VJ_OK;
    numbering k = { .w = w, .f = f, .status = VJ_OK };
    vj_official_order(&sizes, number_one, &k);
    VJ_TRY(k.status);
    w->facts.moments = k.found > 0;
    return k.found > 0 ? read_adam_step(w, f) : VJ_OK;
}

// The whole number at `path` when it is one from 0 to `most`, else 0.
static int64_t whole(const vj_pt *f, const char *path, int64_t most)
{
    double v = 0;
    return vj_pt_number(f, path, &v) && v >= 0 && v <= (double)most && v == floor(v) ? (int64_t)v : 0;
}

static void read_training(vj_weights *w, const vj_pt *f)
{
    double lr = 0;
    w->facts.step = whole(f, "epoch", 1 << 30) * VJ_OFFICIAL_EPOCH;
    w->facts.group = whole(f, "batch_size", 1 << 20);
    w->facts.batch = w->facts.group * whole(f, "world_size", 1 << 20);
    if (vj_pt_number(f, "lr", &lr) && lr > 0 && lr <= 1) w->facts.lr = lr;
}

vj_status vj_weights_open_pt(vj_weights *w, const char *file, bool strict)
{
    vj_pt *f = NULL;
    VJ_TRY(vj_pt_open(&f, file));
    w->file = f;
    w->read = read_tensor;
    w->close = close_file;
    vj_format(w->facts.format, sizeof w->facts.format, "official");
    read_training(w, f);
    for (int64_t i = 0; i < vj_pt_count(f); i++) {
        const vj_pt_tensor *t = vj_pt_at(f, i);
        char name[160];
        if (!official_name(t->path, name)) {
            const bool known = vj_str_starts(t->path, "opt/") || vj_str_starts(t->path, "scaler/") ||
                               !strchr(t->path, '/');   // a loss that was saved as a tensor
            VJ_CHECK(known || !strict, VJ_ERR_CONFIG, "%s: tensor '%s' is none of a V-JEPA 2 checkpoint's", file,
                     t->path);
        } else if (vj_str_ends(name, "pos_embed")) {
            vj_log(VJ_INFO, "weights", "%s: tensor '%s' of an old file is passed over", file, t->path);
        } else {
            VJ_TRY(vj_weights_add_whole(w, name, t->rank, t->shape, i));
        }
    }
    return map_moments(w, f);
}
