// vjepa checkpoint ls|show|verify|hash REF; the other subcommands are in cmd_checkpoint_formats.c.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checkpoint.h"
#include "checkpoints/pins.h"
#include "jobs/cli/cmd_checkpoint.h"
#include "jobs/cli/commands.h"
#include "runtime/base/clock.h"

#define REF "REF is a run directory (its newest checkpoint), RUN@STEP, or a checkpoint directory.\n"

// Every subcommand takes one reference and its own options; *done: --help was asked for and given.
static vj_status parse(vj_args *args, const char *command, const char *positional, const char *summary, const vj_option *options,
                       int argc, char **argv, bool *done)
{
    VJ_TRY(vj_cli_parse(args, options, argc, argv));
    *done = args->help;
    if (args->help) {
        vj_cli_print_help(command, positional, summary, options);
        return VJ_OK;
    }
    VJ_CHECK(args->n_overrides == 0, VJ_ERR_USAGE, "%s: checkpoint takes no key=value", args->overrides[0]);
    return vj_cli_expect(args, 1, 1, "a reference");
}

// ---- ls ----------------------------------------------------------------------------------------------------------------
static void list_json(const char *run, const vj_checkpoint_info *infos, int64_t count, const vj_pins *pins)
{
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "run", run);
    vj_json_begin_array(&w, "checkpoints");
    for (int64_t i = 0; i < count; i++) {
        vj_json_begin_object(&w, NULL);
        vj_json_put_i64(&w, "step", infos[i].step);
        vj_json_put_text(&w, "path", infos[i].path);
        vj_json_put_bool(&w, "valid", infos[i].valid);
        if (infos[i].valid) {
            vj_json_put_text(&w, "phase", infos[i].phase);
            vj_json_put_text(&w, "schedule", infos[i].schedule_phase);
            vj_json_put_i64(&w, "bytes", infos[i].bytes);
            vj_json_put_text(&w, "written", infos[i].written);
        } else {
            vj_json_put_text(&w, "problem", infos[i].problem);
        }
        const vj_pin *pin = vj_pins_find(pins, infos[i].step);
        vj_json_put_bool(&w, "pinned", pin != NULL);
        if (pin) vj_json_put_text(&w, "why", pin->why);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

static void list_text(const vj_checkpoint_info *infos, int64_t count, const vj_pins *pins)
{
    printf("%-10s %-10s %-10s %9s  %-20s %s\n", "step", "phase", "schedule", "size", "written", "directory");
    for (int64_t i = 0; i < count; i++) {
        char bytes[24];
        vj_bytes_text(bytes, (double)infos[i].bytes);
        if (infos[i].valid) {
            const vj_pin *pin = vj_pins_find(pins, infos[i].step);
            printf("%-10lld %-10s %-10s %9s  %-20s %s%s%s%s\n", (long long)infos[i].step, infos[i].phase,
                   infos[i].schedule_phase, bytes, infos[i].written, infos[i].path, pin ? "  pinned" : "",
                   pin && pin->why[0] ? ": " : "", pin ? pin->why : "");
        } else {
            printf("%-10lld damaged: %s\n", (long long)infos[i].step, infos[i].problem);
        }
    }
}

static vj_status checkpoint_ls(int argc, char **argv)
{
    bool json = false, done;
    const vj_option options[] = { VJ_OPT_JSON(&json), { NULL, VJ_OPT_END, NULL, NULL, NULL } };
    vj_args args;
    VJ_TRY(
        parse(&args, "checkpoint ls", "RUN",
              "The checkpoints of a run directory, oldest first; those whose manifest is damaged are named.\n"
              "JSON: run, checkpoints [step, path, valid, phase, schedule, bytes, written, or problem; pinned, why].",
              options, argc, argv, &done));
    if (done) return VJ_OK;
    vj_checkpoint_info *infos = NULL;
    int64_t count = 0;
    VJ_TRY(vj_checkpoint_list(args.positional[0], &infos, &count));
    vj_pins pins = { 0 };
    const vj_status status = vj_pins_read(args.positional[0], &pins);
    if (status == VJ_OK && json) list_json(args.positional[0], infos, count, &pins);
    else if (status == VJ_OK) list_text(infos, count, &pins);
    vj_pins_free(&pins);
    free(infos);
    return status;
}

// ---- show --------------------------------------------------------------------------------------------------------------
static const char *const networks[] = { "encoder", "predictor", "target_encoder" };

static void show_content(const vj_checkpoint *c)
{
    for (int n = 0; n < 3; n++) {
        const vj_layout *l = vj_checkpoint_layout(c, networks[n]);
        printf("%-11s %lld parameters in %d tensors, %d units\n", n == 2 ? "target" : networks[n],
               (long long)vj_layout_count(l), l->n_params, l->n_units);
    }
    int64_t bytes = 0;
    const char *name;
    for (int64_t i = 0; (name = vj_checkpoint_file(c, i, &bytes)) != NULL; i++) {
        char size[24];
        vj_bytes_text(size, (double)bytes);
        printf("%-11s %s, %s (%lld bytes)\n", i == 0 ? "files" : "", name, size, (long long)bytes);
    }
}

static void show_text(const vj_checkpoint *c)
{
    const vj_run_state *s = vj_checkpoint_state(c);
    char took[32];
    vj_duration_text(took, s->wall_seconds);
    printf("checkpoint  %s\nrun         %s (%s, schedule: %s)\nstep        %lld (Adam's count %lld)\n",
           vj_checkpoint_path(c), s->run_id, s->phase, s->schedule_phase, (long long)s->step, (long long)s->adam_step);
    printf("data        next sample %llu, seed %llu\ntraining    %s so far, kernels %s, %s\n",
           (unsigned long long)s->cursor, (unsigned long long)s->seed, took, s->isa, s->gemm);
    show_content(c);
    if (s->parent[0]) printf("parent      %s\n", s->parent);
    printf("\nconfiguration:\n%s", s->config_yaml);
}

static void show_json(const vj_checkpoint *c)
{
    const vj_run_state *s = vj_checkpoint_state(c);
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "path", vj_checkpoint_path(c));
    vj_json_put_text(&w, "run_id", s->run_id);
    vj_json_put_text(&w, "phase", s->phase);
    vj_json_put_text(&w, "schedule", s->schedule_phase);
    vj_json_put_i64(&w, "step", s->step);
    vj_json_put_i64(&w, "adam_step", s->adam_step);
    vj_json_put_i64(&w, "cursor", (int64_t)s->cursor);
    vj_json_put_i64(&w, "seed", (int64_t)s->seed);
    vj_json_put_f64(&w, "train_seconds", s->wall_seconds);
    vj_json_put_text(&w, "isa", s->isa);
    vj_json_put_text(&w, "gemm", s->gemm);
    vj_json_put_text(&w, "model_digest", s->model_digest);
    vj_json_put_text(&w, "parent", s->parent);
    vj_json_begin_array(&w, "networks");
    for (int n = 0; n < 3; n++) {
        const vj_layout *l = vj_checkpoint_layout(c, networks[n]);
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "name", networks[n]);
        vj_json_put_i64(&w, "parameters", vj_layout_count(l));
        vj_json_put_i64(&w, "tensors", l->n_params);
        vj_json_put_i64(&w, "units", l->n_units);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_begin_array(&w, "files");
    int64_t bytes = 0;
    const char *name;
    for (int64_t i = 0; (name = vj_checkpoint_file(c, i, &bytes)) != NULL; i++) {
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "name", name);
        vj_json_put_i64(&w, "bytes", bytes);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_put_text(&w, "config_yaml", s->config_yaml);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

static vj_status checkpoint_show(int argc, char **argv)
{
    bool json = false, done;
    const vj_option options[] = { VJ_OPT_JSON(&json), { NULL, VJ_OPT_END, NULL, NULL, NULL } };
    vj_args args;
    VJ_TRY(parse(&args, "checkpoint show", "REF",
                 "What a checkpoint holds: run, step, networks, files, configuration. " REF
                 "JSON: path, run_id, phase, schedule, step, adam_step, cursor, seed, train_seconds, isa, gemm, model_digest, parent,\n"
                 "networks [name, parameters, tensors, units], files [name, bytes], config_yaml.",
                 options, argc, argv, &done));
    if (done) return VJ_OK;
    vj_checkpoint *c = NULL;
    VJ_TRY(vj_checkpoint_open(&c, args.positional[0], false));
    if (json) show_json(c);
    else show_text(c);
    vj_checkpoint_destroy(&c);
    return VJ_OK;
}

// ---- hash, verify ------------------------------------------------------------------------------------------------------
static vj_status checkpoint_hash(int argc, char **argv)
{
    bool json = false, per_tensor = false, done;
    const vj_option options[] = {
        { "per-tensor", VJ_OPT_FLAG, &per_tensor, NULL, "the line of every tensor first" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(parse(&args, "checkpoint hash", "REF",
                 "One line that names every bit of the state, whatever the machine, mesh or time. " REF
                 "JSON: path, step, hash, and with --per-tensor lines.", options, argc, argv, &done));
    if (done) return VJ_OK;
    vj_checkpoint *c = NULL;
    char hex[65];
    vj_str lines = { 0 };
    VJ_TRY(vj_checkpoint_open(&c, args.positional[0], false));
    vj_status status = vj_checkpoint_hash(c, hex, per_tensor ? &lines : NULL);
    if (status == VJ_OK && json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "path", vj_checkpoint_path(c));
        vj_json_put_i64(&w, "step", vj_checkpoint_state(c)->step);
        vj_json_put_text(&w, "hash", hex);
        if (per_tensor) vj_cli_put_lines(&w, "lines", vj_str_text(&lines));
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    } else if (status == VJ_OK) {
        printf("%s%s\n", vj_str_text(&lines), hex);
    }
    vj_str_free(&lines);
    vj_checkpoint_destroy(&c);
    return status;
}

static vj_status checkpoint_verify(int argc, char **argv)
{
    bool json = false, done;
    const vj_option options[] = { VJ_OPT_JSON(&json), { NULL, VJ_OPT_END, NULL, NULL, NULL } };
    vj_args args;
    VJ_TRY(parse(&args, "checkpoint verify", "REF",
                 "Read every byte against its checksum. Exit code 1: bytes are wrong; 74: a file is missing or unreadable. " REF
                 "JSON: ref, ok, problem.", options, argc, argv, &done));
    if (done) return VJ_OK;
    const vj_status status = vj_checkpoint_verify(args.positional[0]);
    const bool judged = status == VJ_OK || status == VJ_ERR_MISMATCH || status == VJ_ERR_CHECKPOINT;
    if (json && judged) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "ref", args.positional[0]);
        vj_json_put_bool(&w, "ok", status == VJ_OK);
        vj_json_put_text(&w, "problem", status == VJ_OK ? "" : vj_error_text());
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    } else if (status == VJ_OK) {
        printf("%s: every byte is as it was written\n", args.positional[0]);
    }
    return status;
}

static const vj_command subcommands[] = {
    { "ls", checkpoint_ls, "the checkpoints of a run" },
    { "show", checkpoint_show, "what a checkpoint holds" },
    { "verify", checkpoint_verify, "every byte against its checksum" },
    { "hash", checkpoint_hash, "one line that names every bit of the state" },
    { "diff", vj_checkpoint_diff, "two checkpoints or files, tensor by tensor" },
    { "reshard", vj_cmd_checkpoint_reshard, "the same state in the files of another number of ranks" },
    { "export", vj_checkpoint_export, "weights for other programs: Hugging Face's format or the published one" },
    { "import", vj_checkpoint_import, "a checkpoint from such files" },
    { "prune", vj_checkpoint_prune, "remove checkpoints of a run" },
    { "pin", vj_checkpoint_pin, "keep a checkpoint for ever" },
    { "unpin", vj_checkpoint_unpin, "let it go again" },
    { NULL, NULL, NULL },
};

vj_status vj_cmd_checkpoint(int argc, char **argv) { return vj_cli_dispatch("checkpoint", subcommands, argc, argv); }
