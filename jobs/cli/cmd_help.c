// vjepa help [COMMAND ...], --man, --completion SHELL.

#include <stdio.h>
#include <string.h>

#include "jobs/cli/describe.h"

void vj_cli_overview(const vj_command *table, FILE *to)
{
    fputs("vjepa: trains V-JEPA 2 from raw video\n\nusage: vjepa COMMAND [options] [key=value ...]\n\n", to);
    for (const vj_command *c = table; c->name; c++) fprintf(to, "  %-12s %s\n", c->name, c->help);
    fputs("\n`vjepa help COMMAND` says more, `vjepa help --man` everything. Exit codes: 0 done, 1 a comparison failed, 2 usage or\n"
          "configuration, 65 data, 70 a bug, 71 memory or device, 74 storage, 75 stopped and resumable, 87 not finite (README).\n", to);
}

vj_status vj_cli_unknown(const vj_command *table, const char *word)
{
    const char *names[65] = { NULL };
    int n = 0;
    for (const vj_command *c = table; c->name && n < 64; c++) names[n++] = c->name;
    const char *near = vj_nearest(word, names);
    if (near) return vj_fail(VJ_ERR_USAGE, "%s: unknown command (did you mean '%s'?); `vjepa --help` lists them", word, near);
    return vj_fail(VJ_ERR_USAGE, "%s: unknown command; `vjepa --help` lists them", word);
}

// `vjepa help data pack` is `vjepa data pack --help`.
static vj_status help_of(const vj_command *table, const vj_args *args)
{
    char *words[8];
    int n = 0;
    VJ_CHECK(args->n_positional <= 4, VJ_ERR_USAGE, "one word too many: %s", args->positional[args->n_positional - 1]);
    char copies[4][64];
    for (int i = 1; i < args->n_positional; i++) {
        vj_format(copies[i - 1], sizeof copies[0], "%.63s", args->positional[i]);
        words[n++] = copies[i - 1];
    }
    words[n++] = (char[]){ "--help" };
    for (const vj_command *c = table; c->name; c++) {
        if (strcmp(c->name, args->positional[0]) == 0) return c->run(n, words);
    }
    return vj_cli_unknown(table, args->positional[0]);
}

typedef void (*writer)(vj_str *out, const vj_command *table, const vj_descriptions *d);

static vj_status print_made(const vj_command *table, writer write)
{
    vj_descriptions d;
    vj_status status = vj_describe(&d, table);
    if (status == VJ_OK) {
        vj_str text = { 0 };
        write(&text, table, &d);
        fputs(vj_str_text(&text), stdout);
        vj_str_free(&text);
    }
    vj_descriptions_free(&d);
    return status;
}

vj_status vj_cli_help_command(const vj_command *table, int argc, char **argv)
{
    bool man = false;
    const char *shell = NULL;
    const vj_option options[] = {
        { "man", VJ_OPT_FLAG, &man, NULL, "the manual in roff: vjepa help --man | man -l -" },
        { "completion", VJ_OPT_TEXT, &shell, "SHELL", "a script for bash or zsh: source <(vjepa help --completion bash)" },
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("help", "[COMMAND ...]", "What a command does and takes; without a command the list of all.", options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: help takes no key=value", args.overrides[0]);
    VJ_CHECK(args.n_positional == 0 || (!man && !shell), VJ_ERR_USAGE, "--man and --completion are about all commands: no %s", args.positional[0]);
    if (man) return print_made(table, vj_man_page);
    if (shell) {
        const bool bash = strcmp(shell, "bash") == 0;
        VJ_CHECK(bash || strcmp(shell, "zsh") == 0, VJ_ERR_USAGE, "--completion %s: bash or zsh is expected", shell);
        return print_made(table, bash ? vj_completion_bash : vj_completion_zsh);
    }
    if (args.n_positional > 0) return help_of(table, &args);
    vj_cli_overview(table, stdout);
    return VJ_OK;
}
