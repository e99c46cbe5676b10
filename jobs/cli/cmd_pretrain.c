// vjepa pretrain CONFIG --run DIR, vjepa cooldown CONFIG --from REF --run DIR.

#include <stdio.h>

#include "jobs/cli/commands.h"
#include "jobs/train/trainer.h"

static vj_status train_command(const char *phase, const char *summary, bool has_from, int argc, char **argv)
{
    const char *run = NULL, *from = NULL;
    int64_t steps = INT64_MIN;   // not given: all
    bool fresh = false;
    const vj_option with_from[] = {
        { "run", VJ_OPT_TEXT, &run, "DIR", "run directory: made when missing, continued when it holds this run" },
        { "steps", VJ_OPT_INT, &steps, "N", "until step N of this run, then a checkpoint; schedules stay those of train.steps" },
        { "fresh", VJ_OPT_FLAG, &fresh, NULL, "move the directory's old content to DIR.old-TIME and start anew" },
        { "from", VJ_OPT_TEXT, &from, "REF", "parent checkpoint: RUN (its last constant-phase one), RUN@STEP, or a directory; init.from=... instead takes weights alone" },
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_option options[5];
    for (int i = 0; i < 5; i++) options[i] = with_from[i];
    if (!has_from) options[3] = with_from[4];

    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help(phase, has_from ? "CONFIG --from REF|init.from=WEIGHTS --run DIR [key=value ...]" : "CONFIG --run DIR [key=value ...]", summary, options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "CONFIG"));
    VJ_CHECK(run != NULL, VJ_ERR_USAGE, "%s needs --run DIR", phase);
    VJ_CHECK(steps >= 0 || steps == INT64_MIN, VJ_ERR_USAGE, "--steps %lld: a number of steps is expected", (long long)steps);
    const vj_train_request request = { .phase = phase, .config = args.positional[0], .run = run, .from = from, .fresh = fresh,
                                       .stop_at = steps, .overrides = args.overrides, .n_overrides = args.n_overrides };
    return vj_train(&request);
}

vj_status vj_cmd_pretrain(int argc, char **argv)
{
    return train_command("pretrain", "Train encoder and predictor on shards (warm-up, then constant or cosine).", false, argc, argv);
}

vj_status vj_cmd_cooldown(int argc, char **argv)
{
    return train_command("cooldown", "Anneal a checkpoint at higher resolution or more frames; the parent is only read.", true, argc, argv);
}
