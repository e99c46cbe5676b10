// The larger subcommands of `vjepa data`.
#ifndef VJ_JOBS_CLI_CMD_DATA_H
#define VJ_JOBS_CLI_CMD_DATA_H

#include "runtime/base/status.h"

vj_status vj_cmd_data_order(int argc, char **argv);

#endif
