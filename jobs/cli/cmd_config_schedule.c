// `vjepa config schedule`: the list that ranks carry out in a slot, without any of them.

#include <stdio.h>
#include <string.h>

#include "configs/run_config.h"
#include "jobs/cli/commands.h"
#include "jobs/train/mesh_spec.h"
#include "jobs/train/room.h"
#include "model/vjepa.h"

static vj_status print(const vj_run_config *c, int ranks)
{
    const int64_t mask_tokens = c->model.mask_tokens > 0 ? c->model.mask_tokens : c->mask.n * c->data.fpc.n;
    const vj_dtype real = strcmp(c->train.device, "ref") == 0 ? VJ_F64 : VJ_F32;
    vj_slot_bound bound = vj_room_any(c);
    vj_mesh_spec spec;
    vj_mesh mesh;
    vj_str text = { 0 };
    VJ_TRY(vj_mesh_spec_of(c, ranks, mask_tokens, &bound, real, &spec));
    VJ_TRY(vj_mesh_plan(&mesh, &spec, ranks, 0));
    bound.mesh = &mesh;
    const vj_status status = vj_vjepa_schedule_text(&c->model, mask_tokens, &bound, real, &text);
    if (status == VJ_OK) {
        static const char *const modes[] = { "ddp", "zero2", "fsdp", "hsdp" };
        printf("%d ranks, %s: %d replicas of %d shards, %d units ahead\n", ranks, modes[mesh.mode], vj_mesh_in_parts(&mesh) ? mesh.replicas : ranks,
               vj_mesh_in_parts(&mesh) ? mesh.shards : 1, mesh.prefetch);
        puts(" use  of units                                      then, in this order");
        fputs(vj_str_text(&text), stdout);
    }
    vj_str_free(&text);
    return status;
}

vj_status vj_config_schedule(int argc, char **argv)
{
    const vj_option options[] = { { NULL, VJ_OPT_END, NULL, NULL, NULL } };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("config schedule", "CONFIG parallel.ranks=N [key=value ...]",
                          "What each of N ranks asks the others for during one slot, use by use of the model's units: the one list that all of them carry\n"
                          "out (parallel/schedule.h). parallel.mode, parallel.shard, parallel.prefetch and parallel.reshard_after_forward change it.",
                          options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "a configuration"));
    vj_run_config c;
    vj_config *origins = NULL;
    VJ_TRY(vj_run_config_load(&c, &origins, args.positional[0], args.overrides, args.n_overrides));
    vj_status status = VJ_OK;
    if (c.train.parallel_ranks < 2) status = vj_fail(VJ_ERR_USAGE, "config schedule: alone there is nothing to send; say how many ranks, as parallel.ranks=8");
    else status = print(&c, (int)c.train.parallel_ranks);
    vj_config_destroy(&origins);
    return status;
}
