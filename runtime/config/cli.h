// Command line: tables of options per command, generated help, "did you mean". A word with '=' and no leading dash is an
// override (key=value); other words are positional.
#ifndef VJ_RUNTIME_CONFIG_CLI_H
#define VJ_RUNTIME_CONFIG_CLI_H

#include "runtime/base/str.h"

typedef enum vj_option_kind { VJ_OPT_FLAG, VJ_OPT_TEXT, VJ_OPT_INT, VJ_OPT_FLOAT, VJ_OPT_TEXT_MANY, VJ_OPT_END } vj_option_kind;

enum { VJ_OPT_MANY_MAX = 64, VJ_ARGS_MAX = 256 };
typedef struct vj_text_many { int n; const char *v[VJ_OPT_MANY_MAX]; } vj_text_many;

typedef struct vj_option {
    const char *name;        // "run" for --run
    vj_option_kind kind;
    void *target;            // bool *, const char **, int64_t *, double *, vj_text_many *
    const char *value_name;  // "DIR", shown in help
    const char *help;
} vj_option;

typedef struct vj_args {
    int n_positional;
    const char *positional[VJ_ARGS_MAX];
    int n_overrides;
    const char *overrides[VJ_ARGS_MAX];
    bool help;               // --help or -h was given
} vj_args;

// Parses argv[0..argc) (the words after the command's name). VJ_ERR_USAGE says which word and what is near it.
vj_status vj_cli_parse(vj_args *out, const vj_option *options, int argc, char **argv) VJ_MUST_CHECK;
// "usage: vjepa COMMAND ...", the options and their help, to `out`.
void vj_cli_help(vj_str *out, const char *command, const char *positional, const char *summary, const vj_option *options);
// While a collector is set, vj_cli_help hands what it was given to it and writes nothing: so one table per command serves
// parsing, help, the man page and completion. NULL ends it. The pointers are only good during the call.
typedef void (*vj_cli_collector)(void *context, const char *command, const char *positional, const char *summary,
                                 const vj_option *options);
void vj_cli_collect(vj_cli_collector collector, void *context);
bool vj_cli_collecting(void);
// Exactly between `low` and `high` positional words, else VJ_ERR_USAGE with `what` ("CONFIG").
vj_status vj_cli_expect(const vj_args *args, int low, int high, const char *what) VJ_MUST_CHECK;

#endif
