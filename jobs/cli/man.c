// The manual in roff, from the tables of commands, configuration keys, environment variables and exit codes.

#include <string.h>

#include "configs/run_config.h"
#include "jobs/cli/describe.h"
#include "runtime/base/env.h"

// One line of text: a backslash and a leading dot or quote would be requests, and '-' is to be copied as it is typed.
static void put_line(vj_str *out, const char *text, size_t n)
{
    if (n > 0 && (text[0] == '.' || text[0] == '\'')) vj_str_add(out, "\\&");
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\\') vj_str_add(out, "\\e");
        else if (text[i] == '-') vj_str_add(out, "\\-");
        else vj_str_add_n(out, text + i, 1);
    }
    vj_str_add(out, "\n");
}

static void put_text(vj_str *out, const char *text) { put_line(out, text, strlen(text)); }

// Lines of a summary flow together; one that begins with "JSON:" begins a paragraph.
static void put_summary(vj_str *out, const char *text)
{
    while (*text) {
        const size_t n = strcspn(text, "\n");
        if (strncmp(text, "JSON:", 5) == 0) vj_str_add(out, ".PP\n");
        put_line(out, text, n);
        text += text[n] ? n + 1 : n;
    }
}

static void put_item(vj_str *out, const char *bold, const char *italic, const char *text)
{
    vj_str_add(out, ".TP\n\\fB");
    put_text(out, bold);
    out->length--;   // the line goes on
    out->data[out->length] = '\0';
    vj_str_add(out, "\\fR");
    if (italic[0]) {
        vj_str_add(out, " \\fI");
        put_text(out, italic);
        out->length--;
        out->data[out->length] = '\0';
        vj_str_add(out, "\\fR");
    }
    vj_str_add(out, "\n");
    put_text(out, text);
}

static void put_command(vj_str *out, const vj_described *d)
{
    vj_str name = { 0 };
    vj_str_printf(&name, "vjepa %s", d->command);
    vj_str_add(out, ".SS ");
    put_text(out, vj_str_text(&name));
    vj_str_add(out, "\\fB");
    put_text(out, vj_str_text(&name));
    vj_str_add(out, "\\fR");
    put_text(out, d->positional);
    vj_str_add(out, ".PP\n");
    put_summary(out, d->summary);
    for (int i = 0; i < d->n_options; i++) {
        vj_str option = { 0 };
        vj_str_printf(&option, "--%s", d->options[i].name);
        put_item(out, vj_str_text(&option), d->options[i].value, d->options[i].help);
        vj_str_free(&option);
    }
    vj_str_free(&name);
}

static void put_keys(vj_str *out)
{
    const vj_field *f;
    for (int part = 0; (f = vj_run_config_fields(part)) != NULL; part++) {
        for (; f->kind != VJ_FIELD_END; f++) put_item(out, f->key, "", f->help ? f->help : "");
    }
}

void vj_man_page(vj_str *out, const vj_command *table, const vj_descriptions *d)
{
    vj_str_add(out, ".\\\" Made by `vjepa help --man` from the tables of the program.\n"
                    ".TH VJEPA 1 \"\" \"vjepa " VJ_VERSION "\" \"User Commands\"\n"
                    ".SH NAME\nvjepa \\- trains V-JEPA 2 from raw video\n"
                    ".SH SYNOPSIS\n.B vjepa\n\\fICOMMAND\\fR [options] [\\fIkey\\fR=\\fIvalue\\fR ...]\n"
                    ".SH DESCRIPTION\nFrom video files to shards, to a pretrained encoder, to a cooldown at higher resolution. Messages go to\n"
                    "standard error, results to standard output; commands that print facts take \\fB\\-\\-json\\fR.\n");
    for (const vj_command *c = table; c->name; c++) put_item(out, c->name, "", c->help);
    vj_str_add(out, ".SH COMMANDS\n");
    for (int i = 0; i < d->n; i++) put_command(out, &d->v[i]);
    vj_str_add(out, ".SH CONFIGURATION\n"
                    "A configuration is a YAML file, or the name of a built\\-in one. Values on the command line win over the file, the file\n"
                    "over its \\fBbase:\\fR, that over the defaults. \\fBvjepa config show\\fR prints every value and where it comes from.\n");
    put_keys(out);
    vj_str_add(out, ".SH ENVIRONMENT\nAn unknown variable that begins with VJ_ is an error.\n");
    const char *name, *values, *meaning;
    for (int i = 0; (name = vj_env_variable(i, &values, &meaning)) != NULL; i++) put_item(out, name, values, meaning);
    vj_str_add(out, ".SH FILES\n");
    put_item(out, "RUN/metrics.jsonl", "", "one line every log.every steps, also in RUN/tb (TensorBoard) and RUN/metrics.prom (Prometheus)");
    put_item(out, "RUN/log_r0.csv", "", "one line every step, in the published code's columns");
    put_item(out, "RUN/ckpt/step-N", "", "checkpoints; complete when their manifest.json is there");
    put_item(out, "RUN/run.json, config.yaml, summary.json", "", "what the run is, how it is configured, its last figures");
    put_item(out, "PREFIX/share/vjepa/configs", "", "the built-in configurations as files; a file that is changed here wins over the built-in one");
    vj_str_add(out, ".SH EXIT STATUS\n");
    for (const struct vj_exit_code *e = vj_exit_codes; e->meaning; e++) {
        char code[16];
        vj_format(code, sizeof code, "%d", e->code);
        put_item(out, code, "", e->meaning);
    }
}
