// vjepa checkpoint export|import|diff|prune|pin|unpin.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/pins.h"
#include "jobs/cli/cmd_checkpoint.h"
#include "jobs/cli/commands.h"
#include "jobs/formats/formats.h"
#include "runtime/base/file.h"

#define REF "REF: a run, RUN@STEP, RUN@recommended or a checkpoint directory"
#define FOREIGN "a folder of Hugging Face (config.json, model.safetensors), a .safetensors file or a published .pt file"

// ---- export
// -----------------------------------------------------------------------------------------------------------
vj_status vj_checkpoint_export(int argc, char **argv)
{
    const char *format = NULL, *out = NULL, *key = "target_encoder";
    bool swap = false, json = false;
    int64_t heads = 0, pred_heads = 0;
    const vj_option options[] = {
        { "format", VJ_OPT_TEXT, &format, "hf|official", "Hugging Face's VJEPA2Model, or the published .pt" },
        { "out", VJ_OPT_TEXT, &out, "DIR|FILE", "hf: a new folder; official: a new file" },
        { "key", VJ_OPT_TEXT, &key, "NETWORK", "hf: target_encoder (default) or encoder" },
        {"swap-mask-token", VJ_OPT_FLAG, &swap, NULL,
         "hf: tokens 0 and 1 change places: HF always predicts with 1, training uses 0"},
        { "heads", VJ_OPT_INT, &heads, "N", "encoder heads, where the source does not say" },
        { "pred-heads", VJ_OPT_INT, &pred_heads, "N", "predictor heads, where the source does not say" },
        VJ_OPT_JSON(&json),
        {NULL, VJ_OPT_END, NULL, NULL, NULL},
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("checkpoint export", "REF --format hf|official --out DIR|FILE",
                          "Weights for other programs, in float32. hf loads with VJEPA2Model.from_pretrained; official "
                          "holds encoder, predictor,\n"
                          "target encoder and AdamW's state. " REF ",\nor " FOREIGN ".\n"
                          "JSON: source, format, out, mask_tokens.",
                          options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: checkpoint takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 1, 1, "a reference"));
    const bool hf = format && strcmp(format, "hf") == 0;
    VJ_CHECK(format && (hf || strcmp(format, "official") == 0), VJ_ERR_USAGE,
             "checkpoint export needs --format hf or --format official");
    VJ_CHECK(out != NULL, VJ_ERR_USAGE, "checkpoint export needs --out");
    VJ_CHECK(strcmp(key, "target_encoder") == 0 || strcmp(key, "encoder") == 0, VJ_ERR_USAGE,
             "--key %s: target_encoder or encoder", key);
    VJ_CHECK(hf || !swap, VJ_ERR_USAGE, "--swap-mask-token belongs to --format hf");
    VJ_CHECK(!vj_path_exists(out), VJ_ERR_USAGE, "%s: exists already; name a new one", out);
    vj_model_source source;
    VJ_TRY(vj_model_source_open(&source, args.positional[0], heads, pred_heads, true));
    const vj_export_options choice = { .network = key, .swap_mask_token = swap };
    const vj_weights_facts *facts = vj_weights_facts_of(source.weights);
    // Single parameters are read without a look at their checksums: all of them are looked at before.
    vj_status status = strcmp(facts->format, "checkpoint") == 0 ? vj_checkpoint_verify(facts->path) : VJ_OK;
    if (status == VJ_ERR_MISMATCH) status = VJ_ERR_CHECKPOINT;
    if (status == VJ_OK) status = hf ? vj_export_hf(&source, out, &choice) : vj_export_official(&source, out);
    if (status == VJ_OK && json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "source", vj_weights_facts_of(source.weights)->path);
        vj_json_put_text(&w, "format", format);
        vj_json_put_text(&w, "out", out);
        vj_json_put_i64(&w, "mask_tokens", source.mask_tokens);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    } else if (status == VJ_OK) {
        printf("%s: %s of %s\n", out, hf ? "VJEPA2Model" : "the published format",
               vj_weights_facts_of(source.weights)->path);
        if (hf && !swap && source.mask_tokens > 1) {
            puts("note: HF predicts with mask token 1, training uses token 0 first; --swap-mask-token makes its "
                 "predictor usable");
        }
    }
    vj_model_source_close(&source);
    return status;
}

// ---- import
// -----------------------------------------------------------------------------------------------------------
// Every size that differs, in one message.
static vj_status is_preset(const vj_model_source *s, const vj_model_config *wanted)
{
    const vj_model_config *m = &s->model;
    const bool predictor = s->mask_tokens > 0;
    const struct { const char *what; int64_t has, wants; bool there; } sizes[] = {
        { "width", m->width, wanted->width, true },
        { "depth", m->depth, wanted->depth, true },
        { "heads", m->heads, wanted->heads, true },
        { "hidden", m->hidden, wanted->hidden, true },
        { "pred_width", m->pred_width, wanted->pred_width, predictor },
        { "pred_depth", m->pred_depth, wanted->pred_depth, predictor },
        { "pred_heads", m->pred_heads, wanted->pred_heads, predictor },
    };
    vj_str list = { 0 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (!sizes[i].there || sizes[i].has == sizes[i].wants) continue;
        vj_str_printf(&list, "%s%s %lld instead of %lld", list.length ? ", " : "", sizes[i].what, (long long)sizes[i].has,
                      (long long)sizes[i].wants);
    }
    const vj_status status = list.length == 0 ? VJ_OK : vj_fail(VJ_ERR_CONFIG, "%s: is no %s: %s", vj_weights_facts_of(s->weights)->path,
                                                                wanted->preset, vj_str_text(&list));
    vj_str_free(&list);
    return status;
}

vj_status vj_checkpoint_import(int argc, char **argv)
{
    const char *out = NULL, *preset = NULL;
    bool json = false;
    int64_t heads = 0, pred_heads = 0;
    const vj_option options[] = {
        { "out", VJ_OPT_TEXT, &out, "RUN", "a new run directory" },
        { "heads", VJ_OPT_INT, &heads, "N", "encoder heads, where the file does not say (ViT-g of the paper: 22)" },
        { "pred-heads", VJ_OPT_INT, &pred_heads, "N", "predictor heads, where the file does not say" },
        { "model", VJ_OPT_TEXT, &preset, "PRESET", "what it has to be: sizes are compared, heads are taken from it" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("checkpoint import", "FILE|DIR --out RUN",
                          "A checkpoint of our own from " FOREIGN
                          ";\nwith AdamW's state when the file has it. Nothing in a file is executed. "
                          "Cool down from it, start from it\n(init.from=RUN), encode or hash it.\n"
                          "JSON: source, format, run, checkpoint, model, mask_tokens, moments, one_encoder.",
                          options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: checkpoint takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 1, 1, "a file or folder"));
    VJ_CHECK(out != NULL, VJ_ERR_USAGE, "checkpoint import needs --out RUN");
    vj_model_source source;
    char path[640];
    vj_model_config wanted = { .patch = 16, .tubelet = 2, .loss_exponent = 1 };
    if (preset) {
        vj_format(wanted.preset, sizeof wanted.preset, "%.31s", preset);
        VJ_TRY(vj_model_resolve(&wanted));
        if (heads == 0) heads = wanted.heads;
        if (pred_heads == 0) pred_heads = wanted.pred_heads;
    }
    VJ_TRY(vj_model_source_open(&source, args.positional[0], heads, pred_heads, true));
    const vj_weights_facts *f = vj_weights_facts_of(source.weights);
    vj_status status = preset ? is_preset(&source, &wanted) : VJ_OK;
    if (status == VJ_OK) status = vj_import(&source, out, path);
    if (status == VJ_OK && json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "source", f->path);
        vj_json_put_text(&w, "format", f->format);
        vj_json_put_text(&w, "run", out);
        vj_json_put_text(&w, "checkpoint", path);
        vj_json_put_text(&w, "model", source.model.preset);
        vj_json_put_i64(&w, "mask_tokens", source.mask_tokens);
        vj_json_put_bool(&w, "moments", f->moments);
        vj_json_put_bool(&w, "one_encoder", f->one_encoder);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    } else if (status == VJ_OK) {
        printf("%s: %s from %s (%s), %lld mask tokens, %s%s\n", path, source.model.preset, f->path, f->format,
               (long long)source.mask_tokens, f->moments ? "with AdamW's state" : "weights only",
               f->one_encoder ? ", its one encoder serves as both" : "");
    }
    vj_model_source_close(&source);
    return status;
}

// ---- diff
// -------------------------------------------------------------------------------------------------------------
static void print_differences(const vj_difference *list, int64_t n, double tolerance, bool all)
{
    int64_t equal = 0;
    for (int64_t i = 0; i < n; i++) {
        const vj_difference *d = &list[i];
        equal += !d->problem && d->max_abs == 0;
        if (d->problem) printf("%-56s %s\n", d->name, d->problem);
        else if (all || d->relative > tolerance) printf("%-56s %10.3g %10.3g\n", d->name, d->max_abs, d->relative);
    }
    printf("%lld tensors, %lld equal bit for bit\n", (long long)n, (long long)equal);
}

static void put_differences(const vj_difference *list, int64_t n, double worst, double tolerance)
{
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_i64(&w, "tensors", n);
    vj_json_put_f64(&w, "worst_relative", worst);
    vj_json_put_f64(&w, "tolerance", tolerance);
    vj_json_put_bool(&w, "agreement", worst <= tolerance);
    vj_json_begin_array(&w, "differences");
    for (int64_t i = 0; i < n; i++) {
        if (!list[i].problem && list[i].max_abs == 0) continue;
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "name", list[i].name);
        if (list[i].problem) vj_json_put_text(&w, "problem", list[i].problem);
        vj_json_put_f64(&w, "max_abs", list[i].max_abs);
        vj_json_put_f64(&w, "relative", list[i].relative);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

vj_status vj_checkpoint_diff(int argc, char **argv)
{
    double tolerance = 0;
    bool all = false, weights = false, json = false;
    const vj_option options[] = {
        {"tolerance", VJ_OPT_FLOAT, &tolerance, "T",
         "largest relative difference of a tensor that is still agreement (default: 0)"},
        { "weights", VJ_OPT_FLAG, &weights, NULL, "weights alone; AdamW's moments are left out" },
        { "all", VJ_OPT_FLAG, &all, NULL, "print equal tensors too" },
        VJ_OPT_JSON(&json),
        {NULL, VJ_OPT_END, NULL, NULL, NULL},
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help(
            "checkpoint diff", "A B",
            "Per tensor: the largest absolute difference, and the L2 norm of the difference over that of A. Exit code "
            "0: all within\n"
            "the tolerance, 1: not. A and B: runs, checkpoints, or foreign files.\n"
            "JSON: tensors, worst_relative, tolerance, agreement, differences [name, problem, max_abs, relative].",
            options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: checkpoint takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 2, 2, "one of two references"));
    VJ_CHECK(tolerance >= 0, VJ_ERR_USAGE, "--tolerance %g: a number from 0 was expected", tolerance);
    vj_weights *a = NULL, *b = NULL;
    vj_difference *list = NULL;
    int64_t n = 0;
    double worst = 0;
    vj_status status = vj_weights_open(&a, args.positional[0], false);
    if (status == VJ_OK) status = vj_weights_open(&b, args.positional[1], false);
    if (status == VJ_OK) status = vj_diff(a, b, !weights, &list, &n, &worst);
    if (status == VJ_OK && json) put_differences(list, n, worst, tolerance);
    else if (status == VJ_OK) print_differences(list, n, tolerance, all);
    if (status == VJ_OK && !(worst <= tolerance))
        status = vj_fail(VJ_ERR_MISMATCH, "the largest relative difference is %g, the tolerance %g", worst, tolerance);
    free(list);
    vj_weights_close(&a);
    vj_weights_close(&b);
    return status;
}

// ---- prune, pin, unpin
// ------------------------------------------------------------------------------------------------
static void print_plan(const vj_kept *plan, int64_t n, bool dry)
{
    double freed = 0;
    char bytes[24];
    for (int64_t i = 0; i < n; i++) {
        vj_bytes_text(bytes, (double)plan[i].bytes);
        printf("%-10lld %9s  %s\n", (long long)plan[i].step, bytes,
               plan[i].stays ? plan[i].why
               : dry         ? "would be removed"
                             : "removed");
        if (!plan[i].stays) freed += (double)plan[i].bytes;
    }
    vj_bytes_text(bytes, freed);
    printf("%s %s\n", bytes, dry ? "would be freed" : "freed");
}

static void put_plan(const vj_kept *plan, int64_t n, bool dry)
{
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_bool(&w, "dry_run", dry);
    vj_json_begin_array(&w, "checkpoints");
    for (int64_t i = 0; i < n; i++) {
        vj_json_begin_object(&w, NULL);
        vj_json_put_i64(&w, "step", plan[i].step);
        vj_json_put_text(&w, "path", plan[i].path);
        vj_json_put_i64(&w, "bytes", plan[i].bytes);
        vj_json_put_bool(&w, "stays", plan[i].stays);
        vj_json_put_text(&w, "why", plan[i].why);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

vj_status vj_checkpoint_prune(int argc, char **argv)
{
    int64_t keep = 3, keep_every = 0;
    bool dry = false, json = false;
    const vj_option options[] = {
        { "keep", VJ_OPT_INT, &keep, "N", "newest checkpoints that stay (default: 3)" },
        { "keep-every", VJ_OPT_INT, &keep_every, "N", "multiples of N stay (default: none)" },
        { "dry-run", VJ_OPT_FLAG, &dry, NULL, "only say what would go" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("checkpoint prune", "RUN",
                          "Removes checkpoints of a run. What always stays: the last of the constant phase, the "
                          "recommended one, pinned and\n"
                          "damaged ones.\nJSON: dry_run, checkpoints [step, path, bytes, stays, why].",
                          options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: checkpoint takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 1, 1, "a run directory"));
    VJ_CHECK(keep >= 1 && keep_every >= 0, VJ_ERR_USAGE, "--keep from 1 and --keep-every from 0 are possible");
    vj_kept *plan = NULL;
    int64_t n = 0;
    VJ_TRY(vj_retention_plan(args.positional[0], keep, keep_every, &plan, &n));
    vj_status status = dry ? VJ_OK : vj_retention_apply(args.positional[0], plan, n);
    if (status == VJ_OK && json) put_plan(plan, n, dry);
    else if (status == VJ_OK) print_plan(plan, n, dry);
    free(plan);
    return status;
}

// The run directory and step of a checkpoint that exists.
static vj_status run_of(const char *ref, char run[512], int64_t *step)
{
    vj_checkpoint *c = NULL;
    VJ_TRY(vj_checkpoint_open(&c, ref, false));
    *step = vj_checkpoint_state(c)->step;
    snprintf(run, 512, "%s", vj_checkpoint_path(c));
    vj_checkpoint_destroy(&c);
    for (int i = 0; i < 2; i++) {   // RUN/ckpt/step-...
        char *slash = strrchr(run, '/');
        VJ_CHECK(slash != NULL && slash != run, VJ_ERR_USAGE, "%s: lies in no run directory", ref);
        if (i == 1) VJ_CHECK(strcmp(slash, "/ckpt") == 0, VJ_ERR_USAGE, "%s: lies in no run directory", ref);
        *slash = '\0';
    }
    return VJ_OK;
}

static vj_status pin_or_unpin(int argc, char **argv, bool pin)
{
    const char *why = "";
    bool json = false;
    const vj_option with_why[] = {{"why", VJ_OPT_TEXT, &why, "TEXT", "what for, shown by ls and prune"},
                                  VJ_OPT_JSON(&json),
                                  {NULL, VJ_OPT_END, NULL, NULL, NULL}};
    const vj_option *options = pin ? with_why : with_why + 1;
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help(pin ? "checkpoint pin" : "checkpoint unpin", "REF",
                          pin ? "A pinned checkpoint is never removed, neither by training nor by prune. " REF ".\n"
                                "JSON: run, step, pinned, why."
                              : "Retention may remove the checkpoint again. " REF ".\nJSON: run, step, pinned.",
                          options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: checkpoint takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 1, 1, "a reference"));
    char run[512];
    int64_t step = 0;
    VJ_TRY(run_of(args.positional[0], run, &step));
    VJ_TRY(pin ? vj_pin_set(run, step, why) : vj_pin_clear(run, step));
    if (json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "run", run);
        vj_json_put_i64(&w, "step", step);
        vj_json_put_bool(&w, "pinned", pin);
        if (pin) vj_json_put_text(&w, "why", why);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
        return VJ_OK;
    }
    printf("%s: the checkpoint of step %lld is %s\n", run, (long long)step, pin ? "pinned" : "no longer pinned");
    return VJ_OK;
}

vj_status vj_checkpoint_pin(int argc, char **argv) { return pin_or_unpin(argc, argv, true); }
vj_status vj_checkpoint_unpin(int argc, char **argv) { return pin_or_unpin(argc, argv, false); }
