// Completion for bash and zsh, from the same tables as help.

#include <string.h>

#include "configs/run_config.h"
#include "jobs/cli/describe.h"

// Names of subcommands of `command` ("" for the program), with a blank before each.
static void put_subcommands(vj_str *out, const vj_command *table, const vj_descriptions *d, const char *command)
{
    if (command[0] == '\0') {
        for (const vj_command *c = table; c->name; c++) vj_str_printf(out, " %s", c->name);
        return;
    }
    const size_t n = strlen(command);
    for (int i = 0; i < d->n; i++) {
        if (strncmp(d->v[i].command, command, n) == 0 && d->v[i].command[n] == ' ') vj_str_printf(out, " %s", d->v[i].command + n + 1);
    }
}

static bool has_subcommands(const vj_descriptions *d, const char *command)
{
    vj_str names = { 0 };
    put_subcommands(&names, NULL, d, command);
    const bool has = names.length > 0;
    vj_str_free(&names);
    return has;
}

static void put_configs(vj_str *out)
{
    char about[160];
    const char *name;
    for (int i = 0; (name = vj_run_config_builtin(i, about)) != NULL; i++) vj_str_printf(out, " %s", name);
}

static void put_keys(vj_str *out)
{
    const vj_field *f;
    for (int part = 0; (f = vj_run_config_fields(part)) != NULL; part++) {
        for (; f->kind != VJ_FIELD_END; f++) vj_str_printf(out, " %s", f->key);
    }
}

static void put_kinds(vj_str *out, int kinds)
{
    static const struct { int kind; const char *name; } table[] = {
        { VJ_WORD_CONFIG, "config" }, { VJ_WORD_DIR, "dir" }, { VJ_WORD_FILE, "file" }, { VJ_WORD_KEY, "key" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (kinds & table[i].kind) vj_str_printf(out, " %s", table[i].name);
    }
}

// ---- bash ----------------------------------------------------------------------------------------------------------------
static const char bash_tail[] =
    "_vjepa() {\n"
    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= kind\n"
    "  COMPREPLY=()\n"
    "  # bash splits at '=': --out=DIR and key=value come as three words.\n"
    "  local at=1\n"
    "  if [ \"${COMP_WORDS[1]}\" = help ]; then at=2; fi   # `help COMMAND` is completed as COMMAND\n"
    "  if [ \"$cur\" = = ]; then cur=; elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
    "  if [ \"$COMP_CWORD\" -gt $at ] && [ -n \"$(_vjepa_words \"${COMP_WORDS[at]}\")\" ]; then\n"
    "    command=${COMP_WORDS[at]}; at=$((at + 1))\n"
    "    if [ \"$COMP_CWORD\" -gt $at ] && [ -n \"$(_vjepa_words \"$command ${COMP_WORDS[at]}\")\" ]; then command=\"$command ${COMP_WORDS[at]}\"; fi\n"
    "  fi\n"
    "  kind=$(_vjepa_kinds \"$command\")\n"
    "  case $prev in\n"
    "    --*) if [ \"${prev#*=}\" = \"$prev\" ] && [ -n \"$(_vjepa_kinds \"$command $prev\")\" ]; then kind=$(_vjepa_kinds \"$command $prev\"); fi ;;\n"
    "    *.*) if [ \"${COMP_WORDS[COMP_CWORD-1]}\" = = ]; then return; fi ;;   # the value of a key\n"
    "  esac\n"
    "  case $cur in -*) COMPREPLY=($(compgen -W \"$(_vjepa_words \"$command\")\" -- \"$cur\")); return ;; esac\n"
    "  case $kind in *value*) return ;; esac\n"
    "  if [ -z \"$kind\" ]; then COMPREPLY=($(compgen -W \"$(_vjepa_words \"$command\")\" -- \"$cur\")); return; fi\n"
    "  case $kind in *config*) COMPREPLY+=($(compgen -W \"$_vjepa_configs\" -- \"$cur\") $(compgen -f -X '!*.yaml' -- \"$cur\")) ;; esac\n"
    "  case $kind in *dir*) COMPREPLY+=($(compgen -d -- \"$cur\")); compopt -o filenames 2> /dev/null ;; esac\n"
    "  case $kind in *file*) COMPREPLY+=($(compgen -f -- \"$cur\")); compopt -o filenames 2> /dev/null ;; esac\n"
    "  case $kind in *key*)\n"
    "    if [ -n \"$cur\" ]; then\n"
    "      local keys=($(compgen -S = -W \"$_vjepa_keys\" -- \"$cur\"))\n"
    "      if [ ${#keys[@]} -gt 0 ]; then COMPREPLY+=(\"${keys[@]}\"); compopt -o nospace 2> /dev/null; fi\n"
    "    fi ;;\n"
    "  esac\n"
    "}\n"
    "complete -F _vjepa vjepa\n";

void vj_completion_bash(vj_str *out, const vj_command *table, const vj_descriptions *d)
{
    vj_str_add(out, "# bash completion for vjepa, made by `vjepa help --completion bash`\n_vjepa_configs=\"");
    put_configs(out);
    vj_str_add(out, "\"\n_vjepa_keys=\"");
    put_keys(out);
    vj_str_add(out, "\"\n# What may follow a command: subcommands, options.\n_vjepa_words() {\n  case $1 in\n    '') echo '");
    put_subcommands(out, table, d, "");
    vj_str_add(out, " --help --version' ;;\n");
    for (const vj_command *c = table; c->name; c++) {
        if (!has_subcommands(d, c->name)) continue;
        vj_str_printf(out, "    '%s') echo '", c->name);
        put_subcommands(out, table, d, c->name);
        vj_str_add(out, " --help' ;;\n");
    }
    for (int i = 0; i < d->n; i++) {
        vj_str_printf(out, "    '%s') echo '", d->v[i].command);
        for (int k = 0; k < d->v[i].n_options; k++) vj_str_printf(out, " --%s", d->v[i].options[k].name);
        vj_str_add(out, " --help' ;;\n");
    }
    vj_str_add(out, "  esac\n}\n# What a command's words are, or (with an option) its value.\n_vjepa_kinds() {\n  case $1 in\n");
    for (int i = 0; i < d->n; i++) {
        const int words = vj_word_kinds(d->v[i].positional);
        if (words) {
            vj_str_printf(out, "    '%s') echo '", d->v[i].command);
            put_kinds(out, words);
            vj_str_add(out, "' ;;\n");
        }
        for (int k = 0; k < d->v[i].n_options; k++) {
            const vj_described_option *o = &d->v[i].options[k];
            if (o->value[0] == '\0') continue;
            vj_str_printf(out, "    '%s --%s') echo '", d->v[i].command, o->name);
            put_kinds(out, vj_word_kinds(o->value));
            vj_str_add(out, vj_word_kinds(o->value) ? "' ;;\n" : " value' ;;\n");   // a value of its own kind: nothing to offer
        }
    }
    vj_str_add(out, "  esac\n}\n");
    vj_str_add(out, bash_tail);
}

// ---- zsh -----------------------------------------------------------------------------------------------------------------
// A text inside '...' of a spec: quotes end and begin again, colons and brackets are escaped, only the first sentence is said.
static void put_spec(vj_str *out, const char *text)
{
    size_t n = strcspn(text, "\n");
    for (size_t i = 0; i + 1 < n; i++) {
        if (text[i] == '.' && text[i + 1] == ' ') n = i;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\'') vj_str_add(out, "'\\''");
        else if (strchr(":[]\\", text[i])) vj_str_printf(out, "\\%c", text[i]);
        else vj_str_add_n(out, text + i, 1);
    }
}

static const char *zsh_action(int kinds)
{
    if (kinds & VJ_WORD_CONFIG) return "_vjepa_config";
    if (kinds & VJ_WORD_FILE) return "_files";
    if (kinds & VJ_WORD_DIR) return "_files -/";
    return " ";
}

static void put_zsh_arguments(vj_str *out, const vj_described *d)
{
    vj_str_add(out, "_arguments");
    for (int k = 0; k < d->n_options; k++) {
        const vj_described_option *o = &d->options[k];
        vj_str_printf(out, " \\\n          '%s--%s%s[", o->many ? "*" : "", o->name, o->value[0] ? "=" : "");
        put_spec(out, o->help);
        vj_str_add(out, "]");
        if (o->value[0]) {
            vj_str_add(out, ":");
            put_spec(out, o->value);
            vj_str_printf(out, ":%s", zsh_action(vj_word_kinds(o->value)));
        }
        vj_str_add(out, "'");
    }
    vj_str_add(out, " \\\n          '--help[this text]'");
    const int kinds = vj_word_kinds(d->positional);
    if (kinds) vj_str_printf(out, " '*:word:%s'", zsh_action(kinds));
    vj_str_add(out, " ;;\n");
}

static void put_zsh_names(vj_str *out, const vj_command *table, const vj_descriptions *d, const char *command)
{
    const size_t n = strlen(command);
    for (const vj_command *c = table; c->name && n == 0; c++) {
        vj_str_printf(out, " '%s:", c->name);
        put_spec(out, c->help);
        vj_str_add(out, "'");
    }
    for (int i = 0; i < d->n && n > 0; i++) {
        if (strncmp(d->v[i].command, command, n) != 0 || d->v[i].command[n] != ' ') continue;
        vj_str_printf(out, " '%s:", d->v[i].command + n + 1);
        put_spec(out, d->v[i].summary);
        vj_str_add(out, "'");
    }
}

void vj_completion_zsh(vj_str *out, const vj_command *table, const vj_descriptions *d)
{
    vj_str_add(out, "#compdef vjepa\n# zsh completion for vjepa, made by `vjepa help --completion zsh`\n"
                    "_vjepa_config() {\n  local -a configs keys\n  configs=(");
    put_configs(out);
    vj_str_add(out, ")\n  keys=(");
    put_keys(out);
    vj_str_add(out, ")\n  compadd -a configs\n  _files -g '*.yaml'\n  [[ -z $PREFIX ]] || compadd -S = -a keys\n}\n"
                    "_vjepa() {\n  local -a names\n  if (( CURRENT == 2 )); then\n    names=(");
    put_zsh_names(out, table, d, "");
    vj_str_add(out, ")\n    _describe command names\n    return\n  fi\n  local command=$words[2]\n  case $command in\n");
    for (const vj_command *c = table; c->name; c++) {
        if (!has_subcommands(d, c->name)) continue;
        vj_str_printf(out, "    %s)\n      if (( CURRENT == 3 )); then\n        names=(", c->name);
        put_zsh_names(out, table, d, c->name);
        vj_str_add(out, ")\n        _describe subcommand names\n        return\n      fi\n      command=\"$command $words[3]\"\n"
                        "      shift words\n      (( CURRENT-- )) ;;\n");
    }
    vj_str_add(out, "  esac\n  shift words\n  (( CURRENT-- ))\n  case $command in\n");
    for (int i = 0; i < d->n; i++) {
        vj_str_printf(out, "    '%s') ", d->v[i].command);
        put_zsh_arguments(out, &d->v[i]);
    }
    vj_str_add(out, "  esac\n}\n_vjepa \"$@\"\n");
}
