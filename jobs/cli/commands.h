// The commands of the program. Each lives in jobs/cli/cmd_NAME.c; main.c holds the table, prints errors and exits.
// A command prints what it was asked for to stdout, everything else to stderr through vj_log and progress. With --json it
// prints one JSON document instead of text; what fails still says so on stderr and by its exit code.
#ifndef VJ_JOBS_CLI_COMMANDS_H
#define VJ_JOBS_CLI_COMMANDS_H

#include <stdio.h>

#include "runtime/base/json.h"
#include "runtime/config/cli.h"

#define VJ_VERSION "0.1.0"   // also in CMakeLists.txt

// argv[0] is the first word after the command's name.
vj_status vj_cmd_pretrain(int argc, char **argv);
vj_status vj_cmd_cooldown(int argc, char **argv);
vj_status vj_cmd_watch(int argc, char **argv);
vj_status vj_cmd_doctor(int argc, char **argv);
vj_status vj_cmd_parity(int argc, char **argv);
vj_status vj_cmd_data(int argc, char **argv);
vj_status vj_cmd_checkpoint(int argc, char **argv);
vj_status vj_cmd_config(int argc, char **argv);
// --out FILE: its folder must be there. VJ_ERR_USAGE names it.
vj_status vj_cli_out_folder(const char *file) VJ_MUST_CHECK;
vj_status vj_cmd_bench_loader(int argc, char **argv);
vj_status vj_cmd_bench_collectives(int argc, char **argv);
vj_status vj_cmd_bench_masks(int argc, char **argv);
vj_status vj_cmd_bench_save(int argc, char **argv);
vj_status vj_cmd_bench_overlap(int argc, char **argv);
vj_status vj_cmd_bench_slots(int argc, char **argv);
vj_status vj_cmd_bench(int argc, char **argv);
vj_status vj_cmd_report(int argc, char **argv);
vj_status vj_cmd_encode(int argc, char **argv);

vj_status vj_config_schedule(int argc, char **argv);

// A table of commands, or of the subcommands of one; ends with a name of NULL.
typedef struct vj_command {
    const char *name;
    vj_status (*run)(int argc, char **argv);
    const char *help;   // one line
} vj_command;

// Runs the subcommand that argv[0] names, or lists them for --help. VJ_ERR_USAGE: no such one (the nearest is named).
vj_status vj_cli_dispatch(const char *command, const vj_command *table, int argc, char **argv);
// For main.c, which has the table: the list of commands; the message for a word that is none; `vjepa help ...`.
void vj_cli_overview(const vj_command *table, FILE *to);
vj_status vj_cli_unknown(const vj_command *table, const char *word);
vj_status vj_cli_help_command(const vj_command *table, int argc, char **argv);
// vj_cli_help to stdout.
void vj_cli_print_help(const char *command, const char *positional, const char *summary, const vj_option *options);

// The option every command that prints facts has; its keys stand in the command's summary.
#define VJ_OPT_JSON(target_) { "json", VJ_OPT_FLAG, (target_), NULL, "print one JSON document instead of text" }
// The lines of a text as an array of texts.
void vj_cli_put_lines(vj_json_writer *w, const char *key, const char *lines);
// What the writer holds so far goes to stdout, so that long documents take no memory.
void vj_cli_flush_json(vj_json_writer *w);
// The finished document goes to stdout with a newline; the writer's memory is freed.
void vj_cli_print_json(vj_json_writer *w);

#endif
