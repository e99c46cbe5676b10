// vjepa parity: one training step on tensors from files, compared with another program's.

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jobs/cli/commands.h"
#include "jobs/parity/parity.h"

static vj_status read_keys(const vj_args *args, vj_parity_keys *k)
{
    const struct { const char *name; double *value; } table[] = { { "heads", &k->heads }, { "pred_heads", &k->pred_heads }, { "lr", &k->lr },
                                                                  { "weight_decay", &k->weight_decay }, { "momentum", &k->momentum }, { "threads", &k->threads } };
    for (int i = 0; i < 6; i++) *table[i].value = NAN;
    for (int i = 0; i < args->n_overrides; i++) {
        const char *equals = strchr(args->overrides[i], '=');
        int t = 0;
        while (t < 6 && (strlen(table[t].name) != (size_t)(equals - args->overrides[i]) || strncmp(table[t].name, args->overrides[i], strlen(table[t].name)) != 0)) t++;
        VJ_CHECK(t < 6, VJ_ERR_USAGE, "%s: unknown key; there are heads, pred_heads, lr, weight_decay, momentum and threads", args->overrides[i]);
        VJ_CHECK(vj_parse_f64(equals + 1, table[t].value) && *table[t].value >= 0, VJ_ERR_USAGE, "%s: a number was expected", args->overrides[i]);
    }
    return VJ_OK;
}

static vj_status run(vj_parity *p, const char *out)
{
    VJ_TRY(vj_parity_step(p));
    printf("loss %.12g, gradient norm %.12g\n", p->result.loss, p->result.grad_norm);
    if (out) VJ_TRY(vj_parity_write(p, out));
    if (!p->expect) return VJ_OK;
    double worst = 0;
    VJ_TRY(vj_parity_compare(p, &worst));
    VJ_CHECK(worst <= 1, VJ_ERR_MISMATCH, "disagreement: the worst error is %.3g times its tolerance", worst);
    puts("agreement");
    return VJ_OK;
}

vj_status vj_cmd_parity(int argc, char **argv)
{
    const char *model = NULL, *batch = NULL, *expect = NULL, *out = NULL, *device = "ref";
    const vj_option options[] = {
        { "model", VJ_OPT_TEXT, &model, "FILE", "weights: encoder.*, predictor.*, target_encoder.* (safetensors)" },
        { "batch", VJ_OPT_TEXT, &batch, "FILE", "clips, ctx_j, tgt_j" },
        { "expect", VJ_OPT_TEXT, &expect, "FILE", "loss, pred_j, target_j, grad.*, after.* of the other program" },
        { "out", VJ_OPT_TEXT, &out, "FILE", "write our results under the same names" },
        { "device", VJ_OPT_TEXT, &device, "NAME", "ref (float64, default), cpu or far" },
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_str text = { 0 };
        vj_cli_help(&text, "parity", "--model FILE --batch FILE [--expect FILE] [--out FILE] [key=value ...]",
                    "One training step (AdamW, betas 0.9 and 0.999, eps 1e-8) on tensors from files. With --expect: the worst relative error\n"
                    "per kind, and exit code 1 above the tolerance (1e-9 in float64; in float32 loss 1e-5, predictions and targets 1e-4,\n"
                    "gradients 1e-3 + 2 sqrt(sign flips / elements), updates from the expected gradients 1e-6).\n"
                    "Keys heads, pred_heads, lr, weight_decay, momentum are read from the model file's metadata when not given.", options);
        fputs(vj_str_text(&text), stdout);
        vj_str_free(&text);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, ""));
    VJ_CHECK(model && batch, VJ_ERR_USAGE, "parity needs --model FILE and --batch FILE");
    vj_parity_keys keys;
    VJ_TRY(read_keys(&args, &keys));
    vj_parity p;
    vj_status status = vj_parity_open(&p, model, batch, expect, device, &keys);
    if (status == VJ_OK) status = run(&p, out);
    vj_parity_close(&p);
    return status;
}
