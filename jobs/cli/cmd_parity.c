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

static void print_rows(const vj_parity *p, const vj_parity_row *rows)
{
    printf("%-20s %8s  %-11s %-11s %s\n", "kind", "tensors", "worst error", "tolerance", "worst tensor");
    for (int i = 0; i < VJ_KINDS_OF_PARITY; i++) {
        printf("%-20s %8lld  %-11.3g %-11.3g %s%s\n", rows[i].kind, (long long)rows[i].tensors, rows[i].worst, rows[i].tolerance,
               rows[i].tensor, rows[i].over > 1 ? "   <-- above" : "");
    }
    printf("sign flips of (prediction - target): %lld of %lld\n", (long long)p->flips, (long long)p->elements);
}

static void put_rows(vj_json_writer *w, const vj_parity *p, const vj_parity_row *rows, double worst)
{
    vj_json_begin_array(w, "kinds");
    for (int i = 0; i < VJ_KINDS_OF_PARITY; i++) {
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "kind", rows[i].kind);
        vj_json_put_i64(w, "tensors", rows[i].tensors);
        vj_json_put_f64(w, "worst", rows[i].worst);
        vj_json_put_f64(w, "tolerance", rows[i].tolerance);
        vj_json_put_text(w, "tensor", rows[i].tensor);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_put_i64(w, "sign_flips", p->flips);
    vj_json_put_i64(w, "elements", p->elements);
    vj_json_put_f64(w, "worst_over_tolerance", worst);
    vj_json_put_bool(w, "agreement", worst <= 1);
}

static vj_status run(vj_parity *p, const char *out, bool json)
{
    vj_parity_row rows[VJ_KINDS_OF_PARITY];
    double worst = 0;
    VJ_TRY(vj_parity_step(p));
    if (!json) printf("loss %.12g, gradient norm %.12g\n", p->result.loss, p->result.grad_norm);
    if (out) VJ_TRY(vj_parity_write(p, out));
    if (p->expect) VJ_TRY(vj_parity_compare(p, rows, &worst));
    if (json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_json_put_f64(&w, "loss", p->result.loss);
        vj_json_put_f64(&w, "grad_norm", p->result.grad_norm);
        if (p->expect) put_rows(&w, p, rows, worst);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    } else if (p->expect) {
        print_rows(p, rows);
    }
    VJ_CHECK(worst <= 1, VJ_ERR_MISMATCH, "disagreement: the worst error is %.3g times its tolerance", worst);
    if (p->expect && !json) puts("agreement");
    return VJ_OK;
}

vj_status vj_cmd_parity(int argc, char **argv)
{
    const char *model = NULL, *batch = NULL, *expect = NULL, *out = NULL, *device = "ref";
    bool json = false;
    const vj_option options[] = {
        { "model", VJ_OPT_TEXT, &model, "FILE", "weights: encoder.*, predictor.*, target_encoder.* (safetensors)" },
        { "batch", VJ_OPT_TEXT, &batch, "FILE", "clips, ctx_j, tgt_j" },
        { "expect", VJ_OPT_TEXT, &expect, "FILE", "loss, pred_j, target_j, grad.*, after.* of the other program" },
        { "out", VJ_OPT_TEXT, &out, "FILE", "write our results under the same names" },
        { "device", VJ_OPT_TEXT, &device, "NAME", "ref (float64, default), cpu or far" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("parity", "--model FILE --batch FILE [--expect FILE] [--out FILE] [key=value ...]",
                          "One training step (AdamW, betas 0.9 and 0.999, eps 1e-8) on tensors from files. With --expect: the worst relative\n"
                          "error per kind, and exit code 1 above the tolerance (1e-9 in float64; in float32 loss 1e-5, predictions and targets\n"
                          "1e-4, gradients 1e-3 + 2 sqrt(sign flips / elements), updates from the expected gradients 1e-6).\n"
                          "Keys heads, pred_heads, lr, weight_decay, momentum are read from the model file's metadata when not given.\n"
                          "JSON: loss, grad_norm; with --expect kinds [kind, tensors, worst, tolerance, tensor], sign_flips, elements,\n"
                          "worst_over_tolerance, agreement.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, ""));
    VJ_CHECK(model && batch, VJ_ERR_USAGE, "parity needs --model FILE and --batch FILE");
    vj_parity_keys keys;
    VJ_TRY(read_keys(&args, &keys));
    vj_parity p;
    vj_status status = vj_parity_open(&p, model, batch, expect, device, &keys);
    if (status == VJ_OK) status = run(&p, out, json);
    vj_parity_close(&p);
    return status;
}
