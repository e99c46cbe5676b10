// Command lines from tables of options.

#include "runtime/config/cli.h"

#include <stdint.h>
#include <string.h>

static const vj_option *find(const vj_option *options, const char *name, size_t length)
{
    for (; options->kind != VJ_OPT_END; options++) {
        if (strlen(options->name) == length && strncmp(options->name, name, length) == 0) return options;
    }
    return NULL;
}

static vj_status unknown(const vj_option *options, const char *word)
{
    const char *names[64];
    int n = 0;
    for (const vj_option *o = options; o->kind != VJ_OPT_END && n < 62; o++) names[n++] = o->name;
    names[n++] = "help";
    names[n] = NULL;
    char bare[64];
    vj_format(bare, sizeof bare, "%.*s", (int)strcspn(word, "=") < 60 ? (int)strcspn(word, "=") : 60, word);
    const char *near = vj_nearest(bare, names);
    if (near) return vj_fail(VJ_ERR_USAGE, "unknown option --%s (did you mean --%s?)", bare, near);
    return vj_fail(VJ_ERR_USAGE, "unknown option --%s", bare);
}

static vj_status set(const vj_option *o, const char *value)
{
    switch (o->kind) {
    case VJ_OPT_TEXT: *(const char **)o->target = value; return VJ_OK;
    case VJ_OPT_INT:
        VJ_CHECK(vj_parse_i64(value, o->target), VJ_ERR_USAGE, "--%s %s: a whole number was expected", o->name, value);
        return VJ_OK;
    case VJ_OPT_FLOAT:
        VJ_CHECK(vj_parse_f64(value, o->target), VJ_ERR_USAGE, "--%s %s: a number was expected", o->name, value);
        return VJ_OK;
    default: {
        vj_text_many *many = o->target;
        VJ_CHECK(many->n < VJ_OPT_MANY_MAX, VJ_ERR_USAGE, "--%s is given more than %d times", o->name, VJ_OPT_MANY_MAX);
        many->v[many->n++] = value;
        return VJ_OK;
    }
    }
}

// `seen`: a bit per option of the table. One that takes one value is given once: which of two is meant cannot be known.
static vj_status option(const vj_option *options, uint64_t *seen, const char *word, int *i, int argc, char **argv)
{
    const size_t length = strcspn(word, "=");
    const vj_option *o = find(options, word, length);
    if (!o) return unknown(options, word);
    const uint64_t bit = UINT64_C(1) << ((o - options) & 63);
    VJ_CHECK(!(*seen & bit) || o->kind == VJ_OPT_FLAG || o->kind == VJ_OPT_TEXT_MANY, VJ_ERR_USAGE, "--%s is given twice", o->name);
    *seen |= bit;
    if (o->kind == VJ_OPT_FLAG) {
        VJ_CHECK(word[length] == '\0', VJ_ERR_USAGE, "--%s takes no value", o->name);
        *(bool *)o->target = true;
        return VJ_OK;
    }
    if (word[length] == '=') return set(o, word + length + 1);
    VJ_CHECK(*i + 1 < argc, VJ_ERR_USAGE, "--%s needs %s", o->name, o->value_name ? o->value_name : "a value");
    return set(o, argv[++*i]);
}

vj_status vj_cli_parse(vj_args *out, const vj_option *options, int argc, char **argv)
{
    *out = (vj_args){ 0 };
    bool only_words = false;
    uint64_t seen = 0;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!only_words && strcmp(word, "--") == 0) only_words = true;
        else if (!only_words && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) out->help = true;
        else if (!only_words && strncmp(word, "--", 2) == 0) VJ_TRY(option(options, &seen, word + 2, &i, argc, argv));
        else if (!only_words && word[0] == '-' && word[1]) VJ_FAIL(VJ_ERR_USAGE, "unknown option %s (options have two dashes)", word);
        else {
            const bool override = !only_words && strchr(word, '=') != NULL;
            int *n = override ? &out->n_overrides : &out->n_positional;
            VJ_CHECK(*n < VJ_ARGS_MAX, VJ_ERR_USAGE, "more than %d words", VJ_ARGS_MAX);
            (override ? out->overrides : out->positional)[(*n)++] = word;
        }
    }
    return VJ_OK;
}

static vj_cli_collector collect;
static void *collect_context;

void vj_cli_collect(vj_cli_collector collector, void *context)
{
    collect = collector;
    collect_context = context;
}

bool vj_cli_collecting(void) { return collect != NULL; }

void vj_cli_help(vj_str *out, const char *command, const char *positional, const char *summary, const vj_option *options)
{
    if (collect) {
        collect(collect_context, command, positional, summary, options);
        return;
    }
    vj_str_printf(out, "usage: vjepa %s %s\n\n%s\n", command, positional, summary);
    if (options->kind != VJ_OPT_END) vj_str_add(out, "\noptions:\n");
    for (; options->kind != VJ_OPT_END; options++) {
        char left[64];
        vj_format(left, sizeof left, "--%.30s %.24s", options->name, options->value_name ? options->value_name : "");
        vj_str_printf(out, "  %-28s %s\n", left, options->help);
    }
    vj_str_printf(out, "  %-28s %s\n", "--help", "this text");
}

vj_status vj_cli_expect(const vj_args *args, int low, int high, const char *what)
{
    if (args->n_positional < low) VJ_FAIL(VJ_ERR_USAGE, "%s is missing (--help says more)", what);
    if (args->n_positional > high) VJ_FAIL(VJ_ERR_USAGE, "one word too many: %s (configuration is key=value, without spaces)", args->positional[high]);
    return VJ_OK;
}
