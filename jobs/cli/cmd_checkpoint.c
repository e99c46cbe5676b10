// vjepa checkpoint ls|show|verify|hash REF.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checkpoint.h"
#include "jobs/cli/commands.h"
#include "runtime/base/clock.h"

static vj_status list(const char *run)
{
    vj_checkpoint_info *infos = NULL;
    int64_t count = 0;
    VJ_TRY(vj_checkpoint_list(run, &infos, &count));
    printf("%-10s %-10s %-10s %9s  %-20s %s\n", "step", "phase", "schedule", "size", "written", "directory");
    for (int64_t i = 0; i < count; i++) {
        char bytes[24];
        vj_bytes_text(bytes, (double)infos[i].bytes);
        if (infos[i].valid) {
            printf("%-10lld %-10s %-10s %9s  %-20s %s\n", (long long)infos[i].step, infos[i].phase,
                   infos[i].schedule_phase, bytes, infos[i].written, infos[i].path);
        } else {
            printf("%-10lld damaged: %s\n", (long long)infos[i].step, infos[i].problem);
        }
    }
    free(infos);
    return VJ_OK;
}

static void show_content(const vj_checkpoint *c)
{
    static const char *const networks[] = { "encoder", "predictor", "target_encoder" };
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

static vj_status show(const char *ref)
{
    vj_checkpoint *c = NULL;
    VJ_TRY(vj_checkpoint_open(&c, ref, false));
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
    vj_checkpoint_destroy(&c);
    return VJ_OK;
}

static vj_status hash(const char *ref, bool per_tensor)
{
    vj_checkpoint *c = NULL;
    char hex[65];
    vj_str lines = { 0 };
    VJ_TRY(vj_checkpoint_open(&c, ref, false));
    vj_status status = vj_checkpoint_hash(c, hex, per_tensor ? &lines : NULL);
    if (status == VJ_OK) printf("%s%s\n", vj_str_text(&lines), hex);
    vj_str_free(&lines);
    vj_checkpoint_destroy(&c);
    return status;
}

vj_status vj_cmd_checkpoint(int argc, char **argv)
{
    bool per_tensor = false;
    const vj_option options[] = {
        { "per-tensor", VJ_OPT_FLAG, &per_tensor, NULL, "hash: print the line of every tensor first" },
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_str text = { 0 };
        vj_cli_help(&text, "checkpoint", "ls RUN | show REF | verify REF | hash REF",
                    "REF is a run directory (its newest checkpoint), RUN@STEP, or a checkpoint directory.\n"
                    "verify reads every byte against its checksum; hash names every bit of the state in one line.",
                    options);
        fputs(vj_str_text(&text), stdout);
        vj_str_free(&text);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: checkpoint takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 2, 2, "ls, show, verify or hash, and a reference,"));
    const char *what = args.positional[0], *ref = args.positional[1];
    if (strcmp(what, "ls") == 0) return list(ref);
    if (strcmp(what, "show") == 0) return show(ref);
    if (strcmp(what, "hash") == 0) return hash(ref, per_tensor);
    if (strcmp(what, "verify") == 0) {
        vj_status status = vj_checkpoint_verify(ref);
        if (status == VJ_OK) printf("%s: every byte is as it was written\n", ref);
        return status;
    }
    const char *near = vj_nearest(what, (const char *const[]){ "ls", "show", "verify", "hash", NULL });
    VJ_FAIL(VJ_ERR_USAGE, "checkpoint %s: unknown%s%s%s; there are ls, show, verify and hash", what,
            near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}
