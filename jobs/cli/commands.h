// The commands of the program. Each lives in jobs/cli/cmd_NAME.c; main.c holds the table, prints errors and exits.
// A command prints what it was asked for to stdout, everything else to stderr through vj_log and progress.
#ifndef VJ_JOBS_CLI_COMMANDS_H
#define VJ_JOBS_CLI_COMMANDS_H

#include "runtime/config/cli.h"

// argv[0] is the first word after the command's name.
vj_status vj_cmd_pretrain(int argc, char **argv);
vj_status vj_cmd_cooldown(int argc, char **argv);
vj_status vj_cmd_parity(int argc, char **argv);
vj_status vj_cmd_data(int argc, char **argv);
vj_status vj_cmd_checkpoint(int argc, char **argv);
vj_status vj_cmd_config(int argc, char **argv);

#endif
