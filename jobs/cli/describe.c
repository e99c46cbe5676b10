// Collecting what commands say of themselves.

#include "jobs/cli/describe.h"

#include <stdlib.h>
#include <string.h>

const struct vj_exit_code vj_exit_codes[] = {
    { 0, "done; also --steps N reached" },
    { 1, "a comparison or verification failed, or a result is incomplete" },
    { 2, "usage or configuration; another run's or another model's files" },
    { 65, "the content of data" },
    { 70, "a bug of vjepa" },
    { 71, "memory or device" },
    { 74, "storage or checkpoint" },
    { 75, "stopped on request with a checkpoint; the same command continues" },
    { 87, "a loss or gradient that is not finite; nothing was changed" },
    { 130, "second Ctrl-C" },
    { 0, NULL },
};

typedef struct collection {
    vj_descriptions *out;
    bool failed;
} collection;

// No memory: noted, and said by vj_describe.
static void collect(void *context, const char *command, const char *positional, const char *summary, const vj_option *options)
{
    collection *c = context;
    int n = 0;
    while (options[n].kind != VJ_OPT_END) n++;
    vj_described *v = realloc(c->out->v, (size_t)(c->out->n + 1) * sizeof *v);
    if (v) c->out->v = v;
    vj_described_option *o = calloc((size_t)n + 1, sizeof *o);
    if (!v || !o) {
        free(o);
        c->failed = true;
        return;
    }
    for (int i = 0; i < n; i++) {
        o[i] = (vj_described_option){ .name = vj_strdup(options[i].name), .help = vj_strdup(options[i].help),
                                      .value = vj_strdup(options[i].kind == VJ_OPT_FLAG ? "" : options[i].value_name ? options[i].value_name : "VALUE"),
                                      .many = options[i].kind == VJ_OPT_TEXT_MANY };
    }
    c->out->v[c->out->n++] = (vj_described){ vj_strdup(command), vj_strdup(positional), vj_strdup(summary), o, n };
}

vj_status vj_describe(vj_descriptions *out, const vj_command *table)
{
    *out = (vj_descriptions){ 0 };
    collection c = { .out = out };
    vj_status status = VJ_OK;
    vj_cli_collect(collect, &c);
    for (const vj_command *t = table; t->name && status == VJ_OK; t++) {
        char *only_help[] = { (char[]){ "--help" } };
        status = t->run(1, only_help);
    }
    vj_cli_collect(NULL, NULL);
    VJ_TRY(status);
    VJ_CHECK(!c.failed, VJ_ERR_NOMEM, "no memory for the list of commands");
    return VJ_OK;
}

void vj_descriptions_free(vj_descriptions *d)
{
    for (int i = 0; i < d->n; i++) {
        vj_described *v = &d->v[i];
        for (int k = 0; k < v->n_options; k++) {
            free(v->options[k].name);
            free(v->options[k].value);
            free(v->options[k].help);
        }
        free(v->options);
        free(v->command);
        free(v->positional);
        free(v->summary);
    }
    free(d->v);
    *d = (vj_descriptions){ 0 };
}

int vj_word_kinds(const char *usage)
{
    static const struct { const char *word; int kind; } table[] = {
        { "CONFIG", VJ_WORD_CONFIG }, { "key=value", VJ_WORD_KEY }, { "DIR", VJ_WORD_DIR }, { "RUN", VJ_WORD_DIR }, { "REF", VJ_WORD_DIR },
        { "SHARDS", VJ_WORD_DIR }, { "FOLDER", VJ_WORD_DIR }, { "FILE", VJ_WORD_FILE }, { "VIDEO", VJ_WORD_FILE }, { "PATH", VJ_WORD_FILE },
    };
    static const char between[] = " |[]().,";
    int kinds = 0;
    bool is_value = false;
    while (*(usage += strspn(usage, between))) {
        const size_t n = strcspn(usage, between);
        for (size_t i = 0; i < sizeof table / sizeof table[0] && !is_value; i++) {
            if (n >= strlen(table[i].word) && strncmp(usage, table[i].word, strlen(table[i].word)) == 0) kinds |= table[i].kind;
        }
        is_value = n > 2 && strncmp(usage, "--", 2) == 0;
        usage += n;
    }
    return kinds;
}
