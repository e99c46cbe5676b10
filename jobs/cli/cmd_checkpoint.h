// Subcommands of `vjepa checkpoint` in files of their own.
#ifndef VJ_JOBS_CLI_CMD_CHECKPOINT_H
#define VJ_JOBS_CLI_CMD_CHECKPOINT_H

#include "runtime/base/status.h"

vj_status vj_checkpoint_export(int argc, char **argv);
vj_status vj_checkpoint_import(int argc, char **argv);
vj_status vj_checkpoint_diff(int argc, char **argv);
vj_status vj_cmd_checkpoint_reshard(int argc, char **argv);
vj_status vj_checkpoint_prune(int argc, char **argv);
vj_status vj_checkpoint_pin(int argc, char **argv);
vj_status vj_checkpoint_unpin(int argc, char **argv);

#endif
