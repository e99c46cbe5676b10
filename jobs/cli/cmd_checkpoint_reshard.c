// vjepa checkpoint reshard REF OUT --ranks N.

#include <stdio.h>

#include "checkpoints/checkpoint.h"
#include "jobs/cli/cmd_checkpoint.h"
#include "jobs/cli/commands.h"

// What the files of a checkpoint come to; *files counts them.
static int64_t bytes_of(const vj_checkpoint *c, int64_t *files)
{
    int64_t sum = 0, bytes = 0;
    for (*files = 0; vj_checkpoint_file(c, *files, &bytes) != NULL; ++*files) sum += bytes;
    return sum;
}

static void say(const vj_checkpoint *from, const vj_checkpoint *made, bool json)
{
    int64_t before, after;
    (void)bytes_of(from, &before);
    const int64_t bytes = bytes_of(made, &after);
    if (!json) {
        printf("%s: step %lld of %s, %lld shards instead of %lld, %lld bytes\n", vj_checkpoint_path(made), (long long)vj_checkpoint_state(made)->step,
               vj_checkpoint_path(from), (long long)after, (long long)before, (long long)bytes);
        return;
    }
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "source", vj_checkpoint_path(from));
    vj_json_put_text(&w, "checkpoint", vj_checkpoint_path(made));
    vj_json_put_i64(&w, "step", vj_checkpoint_state(made)->step);
    vj_json_put_i64(&w, "shards_before", before);
    vj_json_put_i64(&w, "shards", after);
    vj_json_put_i64(&w, "bytes", bytes);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

vj_status vj_cmd_checkpoint_reshard(int argc, char **argv)
{
    int64_t ranks = 0;
    bool json = false;
    const vj_option options[] = {
        { "ranks", VJ_OPT_INT, &ranks, "N", "how many ranks' files to write" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("checkpoint reshard", "REF DIR --ranks N",
                          "Writes a checkpoint again as the new directory DIR, in the files that N ranks which hold the state in parts would have\n"
                          "written. Hash and state stay; nothing that is there is overwritten. Not needed to go on: any number of ranks reads any\n"
                          "checkpoint. REF is a run directory (its newest checkpoint), RUN@STEP, or a checkpoint directory.\n"
                          "JSON: source, checkpoint, step, shards_before, shards, bytes.",
                          options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: checkpoint takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 2, 2, "a reference and the new checkpoint's directory"));
    VJ_CHECK(ranks != 0, VJ_ERR_USAGE, "checkpoint reshard needs --ranks N");
    vj_checkpoint *from = NULL, *made = NULL;
    VJ_TRY(vj_checkpoint_open(&from, args.positional[0], false));
    vj_status status = vj_checkpoint_reshard(from, args.positional[1], ranks);
    if (status == VJ_OK) status = vj_checkpoint_open(&made, args.positional[1], false);
    if (status == VJ_OK) say(from, made, json);
    vj_checkpoint_destroy(&made);
    vj_checkpoint_destroy(&from);
    return status;
}
