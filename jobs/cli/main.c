// The only main: the table of commands, the one place that prints errors and exits.

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jobs/cli/commands.h"
#include "runtime/base/env.h"
#include "runtime/base/signals.h"

typedef struct command { const char *name; vj_status (*run)(int argc, char **argv); const char *help; } command;

static const command commands[] = {
    { "pretrain", vj_cmd_pretrain, "train encoder and predictor on shards of video" },
    { "cooldown", vj_cmd_cooldown, "anneal a checkpoint at higher resolution or more frames" },
    { "data", vj_cmd_data, "pack videos into shards; verify, list and order them" },
    { "checkpoint", vj_cmd_checkpoint, "list, show, verify or hash checkpoints" },
    { "config", vj_cmd_config, "show a resolved configuration, check whether it fits this machine" },
    { "parity", vj_cmd_parity, "one training step on tensors from files, compared with another program's" },
    { "bench", vj_cmd_bench, "speed and memory, as ratios of what is possible here or of another program" },
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void help(FILE *to)
{
    fputs("vjepa: trains V-JEPA 2 from raw video\n\nusage: vjepa COMMAND [options] [key=value ...]\n\n", to);
    for (int i = 0; i < COMMANDS; i++) fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].help);
    fputs("\n`vjepa COMMAND --help` says more. Exit codes: 0 done, 1 a comparison failed, 2 usage or configuration, 65 data,\n"
          "70 a bug, 71 memory or device, 74 storage, 75 stopped and resumable, 87 not finite (README).\n", to);
}

static vj_status unknown(const char *word)
{
    const char *names[COMMANDS + 1];
    for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    names[COMMANDS] = NULL;
    const char *near = vj_nearest(word, names);
    if (near) return vj_fail(VJ_ERR_USAGE, "%s: unknown command (did you mean '%s'?); `vjepa --help` lists them", word, near);
    return vj_fail(VJ_ERR_USAGE, "%s: unknown command; `vjepa --help` lists them", word);
}

static vj_status dispatch(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return vj_fail(VJ_ERR_USAGE, "a command is missing");
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        help(stdout);
        return VJ_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("vjepa 0.1.0");
        return VJ_OK;
    }
    const bool asks_help = strcmp(argv[1], "help") == 0;
    const char *name = argv[asks_help ? 2 : 1];
    char *only_help[] = { (char[]){ "--help" } };
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        VJ_TRY(vj_env_check());
        VJ_TRY(vj_signals_install());
        return asks_help ? commands[i].run(1, only_help) : commands[i].run(argc - 2, argv + 2);
    }
    return unknown(name);
}

int main(int argc, char **argv)
{
    vj_status status = dispatch(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == VJ_OK) {
        status = vj_fail(VJ_ERR_IO, "standard output cannot be written: %s", strerror(errno));
    }
    if (status != VJ_OK && vj_error_text()[0]) fprintf(stderr, "vjepa: %s%s\n", status == VJ_ERR_STOPPED ? "" : "error: ", vj_error_text());
    return vj_status_exit_code(status);
}
