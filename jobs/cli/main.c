// The only main: the table of commands, the one place that prints errors and exits.

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jobs/cli/commands.h"
#include "runtime/base/crash.h"
#include "runtime/base/env.h"
#include "runtime/base/signals.h"

static vj_status help_command(int argc, char **argv);

static const vj_command commands[] = {
    { "pretrain", vj_cmd_pretrain, "train encoder and predictor on shards of video" },
    { "cooldown", vj_cmd_cooldown, "anneal a checkpoint at higher resolution or more frames" },
    { "watch", vj_cmd_watch, "follow a run in the terminal: progress, curves, warnings" },
    { "doctor", vj_cmd_doctor, "what the ranks of a run do, and which one the others wait for" },
    { "data", vj_cmd_data, "pack videos into shards; verify, list and order them" },
    { "checkpoint", vj_cmd_checkpoint, "list, show, verify or hash checkpoints" },
    { "config", vj_cmd_config, "show a resolved configuration, check whether it fits this machine" },
    { "encode", vj_cmd_encode, "frozen features of your own videos" },
    { "report", vj_cmd_report, "one HTML page about runs: curves, pictures, warnings, configuration" },
    { "parity", vj_cmd_parity, "one training step on tensors from files, compared with another program's" },
    { "bench", vj_cmd_bench, "speed and memory, as ratios of what is possible here or of another program" },
    { "help", help_command, "what a command does and takes; the manual, completion for shells" },
    { NULL, NULL, NULL },
};

static vj_status help_command(int argc, char **argv) { return vj_cli_help_command(commands, argc, argv); }

static vj_status dispatch(int argc, char **argv)
{
    if (argc < 2) {
        vj_cli_overview(commands, stderr);
        return vj_fail(VJ_ERR_USAGE, "a command is missing");
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        vj_cli_overview(commands, stdout);
        return VJ_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("vjepa " VJ_VERSION);
        return VJ_OK;
    }
    for (const vj_command *c = commands; c->name; c++) {
        if (strcmp(c->name, argv[1]) != 0) continue;
        VJ_TRY(vj_env_check());
        VJ_TRY(vj_signals_install());
        return c->run(argc - 2, argv + 2);
    }
    return vj_cli_unknown(commands, argv[1]);
}

int main(int argc, char **argv)
{
    vj_crash_prepare(argc, argv, VJ_VERSION);
    vj_status status = dispatch(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == VJ_OK) {
        status = vj_fail(VJ_ERR_IO, "standard output cannot be written: %s", strerror(errno));
    }
    if (status != VJ_OK && vj_error_text()[0]) fprintf(stderr, "vjepa: %s%s\n", status == VJ_ERR_STOPPED ? "" : "error: ", vj_error_text());
    return vj_status_exit_code(status);
}
