// What commands share: tables of subcommands, help, JSON on stdout.

#include <stdio.h>
#include <string.h>

#include "jobs/cli/commands.h"
#include "runtime/base/file.h"

static vj_status no_such(const char *command, const vj_command *table, const char *word)
{
    const char *names[33] = { NULL };
    vj_str all = { 0 };
    int n = 0;
    for (const vj_command *c = table; c->name && n < 32; c++) {
        vj_str_printf(&all, "%s%s", n ? ", " : "", c->name);
        names[n++] = c->name;
    }
    const char *near = word ? vj_nearest(word, names) : NULL;
    vj_status status;
    if (!word) status = vj_fail(VJ_ERR_USAGE, "%s needs a command: %s", command, vj_str_text(&all));
    else if (near) status = vj_fail(VJ_ERR_USAGE, "%s has no command '%s' (did you mean '%s'?)", command, word, near);
    else status = vj_fail(VJ_ERR_USAGE, "%s has no command '%s': %s", command, word, vj_str_text(&all));
    vj_str_free(&all);
    return status;
}

vj_status vj_cli_dispatch(const char *command, const vj_command *table, int argc, char **argv)
{
    if (argc < 1) return no_such(command, table, NULL);
    for (const vj_command *c = table; c->name; c++) {
        if (strcmp(argv[0], c->name) == 0) return c->run(argc - 1, argv + 1);
    }
    if (strcmp(argv[0], "--help") != 0 && strcmp(argv[0], "-h") != 0) return no_such(command, table, argv[0]);
    if (vj_cli_collecting()) {
        char *only_help[] = { (char[]){ "--help" } };
        for (const vj_command *c = table; c->name; c++) VJ_TRY(c->run(1, only_help));
        return VJ_OK;
    }
    printf("usage: vjepa %s COMMAND ...\n\n", command);
    for (const vj_command *c = table; c->name; c++) printf("  %-8s %s\n", c->name, c->help);
    printf("\n`vjepa %s COMMAND --help` says more.\n", command);
    return VJ_OK;
}

void vj_cli_print_help(const char *command, const char *positional, const char *summary, const vj_option *options)
{
    vj_str text = { 0 };
    vj_cli_help(&text, command, positional, summary, options);
    fputs(vj_str_text(&text), stdout);
    vj_str_free(&text);
}

void vj_cli_put_lines(vj_json_writer *w, const char *key, const char *lines)
{
    vj_json_begin_array(w, key);
    while (*lines) {
        const size_t n = strcspn(lines, "\n");
        vj_str line = { 0 };
        vj_str_add_n(&line, lines, n);
        vj_json_put_text(w, NULL, vj_str_text(&line));
        vj_str_free(&line);
        lines += lines[n] ? n + 1 : n;
    }
    vj_json_end_array(w);
}

void vj_cli_flush_json(vj_json_writer *w)
{
    fputs(vj_str_text(&w->out), stdout);
    vj_str_clear(&w->out);
}

void vj_cli_print_json(vj_json_writer *w)
{
    vj_str_add(&w->out, "\n");
    vj_cli_flush_json(w);
    vj_json_writer_free(w);
}

vj_status vj_cli_out_folder(const char *file)
{
    char folder[1024];
    vj_format(folder, sizeof folder, "%s", file);
    char *cut = strrchr(folder, '/');
    if (cut == NULL || cut == folder) return VJ_OK;
    *cut = '\0';
    VJ_CHECK(vj_path_is_dir(folder), VJ_ERR_USAGE, "--out %s: there is no folder %s", file, folder);
    return VJ_OK;
}
