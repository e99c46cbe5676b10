// All commands with their options, collected from what each says for --help: one table per command serves parsing, help, the
// man page and completion.
#ifndef VJ_JOBS_CLI_DESCRIBE_H
#define VJ_JOBS_CLI_DESCRIBE_H

#include "jobs/cli/commands.h"

typedef struct vj_described_option {
    char *name, *value, *help;   // value: "DIR", "" for a flag
    bool many;
} vj_described_option;

typedef struct vj_described {
    char *command, *positional, *summary;   // "data pack", "--out SHARDS ...", lines
    vj_described_option *options;           // without --help, which every command has
    int n_options;
} vj_described;

typedef struct vj_descriptions {
    vj_described *v;
    int n;
} vj_descriptions;

// Runs every command of the table (ending with a name of NULL) with --help; vj_descriptions_free() also after a failure.
vj_status vj_describe(vj_descriptions *out, const vj_command *table) VJ_MUST_CHECK;
void vj_descriptions_free(vj_descriptions *d);

// What a word of usage stands for, for completion.
typedef enum vj_word_kind { VJ_WORD_CONFIG = 1, VJ_WORD_DIR = 2, VJ_WORD_FILE = 4, VJ_WORD_KEY = 8 } vj_word_kind;
// Bits of vj_word_kind for "DIR", "NAME=PATH" (none: what stands behind a name is not completed), "CONFIG [key=value ...]".
// Values of options in it ("--run DIR") do not count.
int vj_word_kinds(const char *usage);

extern const struct vj_exit_code { int code; const char *meaning; } vj_exit_codes[];   // ends with a meaning of NULL

// man.c: the manual in roff. completion.c: scripts that a shell reads.
void vj_man_page(vj_str *out, const vj_command *table, const vj_descriptions *d);
void vj_completion_bash(vj_str *out, const vj_command *table, const vj_descriptions *d);
void vj_completion_zsh(vj_str *out, const vj_command *table, const vj_descriptions *d);

#endif
