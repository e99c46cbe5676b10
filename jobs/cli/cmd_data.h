// The larger subcommands of `vjepa data`.
#ifndef VJ_JOBS_CLI_CMD_DATA_H
#define VJ_JOBS_CLI_CMD_DATA_H

#include "configs/run_config.h"
#include "runtime/config/cli.h"

vj_status vj_cmd_data_order(int argc, char **argv);
vj_status vj_cmd_data_show(int argc, char **argv);

// What decides which sample comes when and how it is drawn.
typedef struct vj_order_root {
    vj_train_config train;
    vj_data_config data;
    vj_mask_config mask;
} vj_order_root;
// `word` is a configuration that names its shards, or a folder of shards (then the defaults hold); overrides as always.
vj_status vj_order_root_load(vj_order_root *root, const char *word, const vj_args *args) VJ_MUST_CHECK;

#endif
