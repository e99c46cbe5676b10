// vjepa config show|check CONFIG [key=value ...]: what a configuration comes to, and whether it fits this machine.

#include <stdio.h>
#include <string.h>

#include "configs/run_config.h"
#include "data/loader.h"
#include "data/masks.h"
#include "jobs/cli/commands.h"
#include "model/layouts.h"
#include "model/vjepa.h"
#include "runtime/base/file.h"

enum { SIMULATED_STEPS = 24 };

typedef struct costs {
    int64_t encoder, predictor, mask_tokens;   // parameters
    int64_t tokens;                            // of a clip
    vj_mask_counts masks[VJ_MAX_MASKS];
    vj_memory_plan memory;
    int64_t loader, held_out, checkpoint, disk;   // bytes
    double flop;                               // of a step
} costs;

static int64_t longest(const vj_int_list *fpc)
{
    int64_t n = 0;
    for (int64_t i = 0; i < fpc->n; i++) n = fpc->v[i] > n ? fpc->v[i] : n;
    return n;
}

// FLOP of a step from the mean token counts of simulated masks (mean of squares where squares count).
static double step_flop(const vj_run_config *c, const costs *k)
{
    const vj_model_config *m = &c->model;
    const double d = (double)m->width, q = (double)m->pred_width, brick = (double)(3 * m->tubelet * m->patch * m->patch), N = (double)k->tokens;
    double clip = (double)m->depth * (8 * N * d * d + 4 * N * d * (double)m->hidden + 4 * N * N * d) + 2 * N * brick * d;
    for (int64_t i = 0; i < c->mask.n; i++) {
        const double K = k->masks[i].mean_K, P = k->masks[i].mean_P, KK = k->masks[i].mean_KK, n = K + P;
        clip += 3 * ((double)m->depth * (8 * K * d * d + 4 * K * d * (double)m->hidden + 4 * KK * d) + 2 * K * brick * d);
        clip += 3 * ((double)m->pred_depth * (24 * n * q * q + 4 * n * n * q) + 2 * q * d * n);
    }
    return clip * (double)c->train.batch;
}

static vj_status count(const vj_run_config *c, costs *k)
{
    *k = (costs){ 0 };
    k->mask_tokens = c->model.mask_tokens > 0 ? c->model.mask_tokens : c->mask.n * c->data.fpc.n;
    k->encoder = vj_model_encoder_params(&c->model);
    k->predictor = vj_model_predictor_params(&c->model, k->mask_tokens);
    const int64_t F = longest(&c->data.fpc), side = c->data.crop / c->model.patch;
    const vj_token_grid grid = { F / c->model.tubelet, side, side };
    k->tokens = grid.t * grid.h * grid.w;
    VJ_TRY(vj_masks_simulate(&c->mask, (uint64_t)c->train.seed, grid, c->mask.group, SIMULATED_STEPS, k->masks));
    vj_slot_bound bound = { .clips = c->mask.group, .F = F, .height = c->data.crop, .width = c->data.crop, .n_pairs = c->mask.n,
                            .slots = c->train.batch / c->mask.group };
    for (int64_t i = 0; i < c->mask.n; i++) {
        bound.ctx_rows += k->masks[i].max_K * c->mask.group;
        bound.tgt_rows += k->masks[i].max_P * c->mask.group;
    }
    bound.rows = bound.ctx_rows + bound.tgt_rows;
    const vj_dtype real = strcmp(c->train.device, "ref") == 0 ? VJ_F64 : VJ_F32;
    VJ_TRY(vj_vjepa_plan(&c->model, k->mask_tokens, &bound, true, real, &k->memory));
    const vj_loader_stage stage = { .batch = c->train.batch, .slot = c->mask.group, .crop = c->data.crop, .tubelet = c->model.tubelet,
                                    .patch = c->model.patch, .fpc = c->data.fpc, .fps = c->data.fps, .world = 1, .threads = (int)c->data.threads };
    k->loader = vj_loader_bytes(&c->data, &c->mask, &stage);
    if (c->train.held_out_every > 0) {
        k->held_out = k->tokens * c->model.width * (c->train.held_out_constant * 4 + 4 + 4 * 8) + 2 * 8 * c->mask.n * c->mask.group * k->tokens * c->model.width;
    }
    k->checkpoint = k->memory.params + k->memory.moments + k->memory.target;
    const int64_t kept = c->train.checkpoint_keep + 1 + (c->train.checkpoint_keep_every > 0 ? c->train.steps / c->train.checkpoint_keep_every : 0);
    k->disk = k->checkpoint * kept;
    k->flop = step_flop(c, k);
    return VJ_OK;
}

// Memory that a new process can have without pushing others out.
static int64_t memory_available(void)
{
    int64_t bytes = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    char line[256];
    long long kb = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemAvailable: %lld kB", &kb) == 1) bytes = (int64_t)kb * 1024;
    }
    if (f) fclose(f);
    return bytes;
}

static void line(const char *name, double bytes, const char *note)
{
    char text[24];
    vj_bytes_text(text, bytes);
    printf("  %-26s %9s  %s\n", name, text, note);
}

static void print(const vj_run_config *c, const costs *k)
{
    printf("model       %s: encoder %lld parameters (%lld x %lld, %lld heads), predictor %lld (%lld x %lld, %lld heads, %lld mask tokens)\n", c->model.preset,
           (long long)k->encoder, (long long)c->model.width, (long long)c->model.depth, (long long)c->model.heads, (long long)k->predictor,
           (long long)c->model.pred_width, (long long)c->model.pred_depth, (long long)c->model.pred_heads, (long long)k->mask_tokens);
    printf("clip        %lld frames x %lld px: %lld tokens\n", (long long)longest(&c->data.fpc), (long long)c->data.crop, (long long)k->tokens);
    for (int64_t i = 0; i < c->mask.n; i++) {
        printf("mask %lld      context %.0f tokens, target %.0f (means over slots of %lld; at most %lld and %lld)\n", (long long)i, k->masks[i].mean_K,
               k->masks[i].mean_P, (long long)c->mask.group, (long long)k->masks[i].max_K, (long long)k->masks[i].max_P);
    }
    printf("step        %lld samples in %lld slots, %.3g TFLOP; %lld steps, %.3g PFLOP\n", (long long)c->train.batch,
           (long long)(c->train.batch / c->mask.group), k->flop / 1e12, (long long)c->train.steps, k->flop * (double)c->train.steps / 1e15);
    puts("memory");
    line("weights", (double)k->memory.params, "");
    line("target encoder", (double)k->memory.target, "");
    line("Adam's moments", (double)k->memory.moments, "");
    line("gradients", (double)k->memory.gradients, "sums of the tree over slots");
    line("saved activations", (double)k->memory.saved, c->model.recompute ? "with model.recompute=block" : "");
    line("scratch", (double)(k->memory.scratch + k->memory.input), "");
    line("loader", (double)k->loader, "batches in flight (data.prefetch)");
    line("held-out figures", (double)k->held_out, "");
    line("total", (double)(k->memory.total + k->loader + k->held_out), "");
    puts("disk");
    line("a checkpoint", (double)k->checkpoint, "");
    line("all that are kept", (double)k->disk, "checkpoint.keep, checkpoint.keep_every");
}

static vj_status fits(const vj_run_config *c, const costs *k, const char *run)
{
    const int64_t have = memory_available(), need = k->memory.total + k->loader + k->held_out;
    char want[24], there[24], least[24];
    vj_bytes_text(want, (double)need);
    vj_bytes_text(there, (double)have);
    vj_bytes_text(least, (double)(k->memory.params + k->memory.target + k->memory.moments));
    VJ_CHECK(have == 0 || need <= have, VJ_ERR_CONFIG,
             "does not fit: %s of memory are needed, %s are available; what would help: mask.group=%lld or less (now %lld), model.recompute=%s, "
             "data.prefetch=1, held_out.every=0, a smaller train.batch. Weights and moments alone are %s",
             want, there, (long long)(c->mask.group > 1 ? c->mask.group / 2 : 1), (long long)c->mask.group, "block", least);
    int64_t space = 0;
    VJ_TRY(vj_disk_free(run, &space));
    vj_bytes_text(want, (double)k->disk);
    vj_bytes_text(there, (double)space);
    VJ_CHECK(k->disk <= space, VJ_ERR_CONFIG, "does not fit: checkpoints need %s of disk, %s holds %s; keep fewer (checkpoint.keep, checkpoint.keep_every) or use another --run",
             want, run, there);
    vj_bytes_text(want, (double)need);
    vj_bytes_text(there, (double)have);
    printf("fits: %s of memory of %s that are available\n", want, there);
    return VJ_OK;
}

static vj_status check(const vj_args *args, const char *run)
{
    vj_run_config c;
    vj_config *origins = NULL;
    costs k;
    VJ_TRY(vj_run_config_load(&c, &origins, args->positional[1], args->overrides, args->n_overrides));
    vj_config_destroy(&origins);
    VJ_TRY(count(&c, &k));
    print(&c, &k);
    fflush(stdout);
    return fits(&c, &k, run);
}

static vj_status show(const vj_args *args, bool origin)
{
    vj_run_config c;
    vj_config *origins = NULL;
    VJ_TRY(vj_run_config_load(&c, &origins, args->positional[1], args->overrides, args->n_overrides));
    vj_str text = { 0 };
    vj_config_resolved(origins, origin, &text);
    fputs(vj_str_text(&text), stdout);
    vj_str_free(&text);
    vj_config_destroy(&origins);
    return VJ_OK;
}

vj_status vj_cmd_config(int argc, char **argv)
{
    bool origin = false;
    const char *run = ".";
    const vj_option options[] = {
        { "origin", VJ_OPT_FLAG, &origin, NULL, "show: say where each value comes from" },
        { "run", VJ_OPT_TEXT, &run, "DIR", "check: where checkpoints would lie (default: here)" },
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_str text = { 0 };
        vj_cli_help(&text, "config", "show|check CONFIG [key=value ...]",
                    "show prints every key with its value, as YAML that loads to the same; check says what it costs (parameters,\n"
                    "memory, disk, FLOP of a step) and fails with exit code 2 when it does not fit this machine.\n"
                    "CONFIG is a file, or the name of a built-in one: quickstart, pretrain/vitl16, cooldown/vitl16-64x384, ...", options);
        fputs(vj_str_text(&text), stdout);
        vj_str_free(&text);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 2, 2, "show or check, and a configuration,"));
    if (strcmp(args.positional[0], "show") == 0) return show(&args, origin);
    if (strcmp(args.positional[0], "check") == 0) return check(&args, run);
    VJ_FAIL(VJ_ERR_USAGE, "config %s: unknown; there are show and check", args.positional[0]);
}
