// The root of a run's configuration: composes the rooms' tables and holds the rules across them.
#ifndef VJ_CONFIGS_RUN_CONFIG_H
#define VJ_CONFIGS_RUN_CONFIG_H

#include "configs/monitor_config.h"
#include "configs/stages_config.h"
#include "configs/train_config.h"
#include "data/data_config.h"
#include "model/model_config.h"

typedef struct vj_run_config {
    vj_train_config train;
    vj_model_config model;      // resolved: no zeros left, see vj_model_resolve
    vj_data_config data;
    vj_mask_config mask;
    vj_stages_config stages;
    vj_monitor_config monitor;
} vj_run_config;

// Loads a file by path, or by name from the built-in ones when no such file exists ("quickstart", "pretrain/vitl16":
// configs/ is embedded in the program). Resolves `auto` values, runs all cross-field checks.
vj_status vj_run_config_load(vj_run_config *out, vj_config **config, const char *path, const char *const *overrides,
                             int n_overrides) VJ_MUST_CHECK;

// The same from a text, such as the resolved configuration inside of a checkpoint; `origin` is named in messages.
vj_status vj_run_config_from_text(vj_run_config *out, vj_config **config, const char *text,
                                  const char *origin) VJ_MUST_CHECK;

// Stages of a run, at least 1, and the one that the step after `step` finished ones belongs to (0-based).
int vj_stage_count(const vj_run_config *config);
int vj_stage_at(const vj_run_config *config, int64_t step);
// `config` with data.crop, data.fpc, data.fps and mask.group as they are in `stage`.
vj_run_config vj_stage_config(const vj_run_config *config, int stage);

// Every key of the root, for documentation: the table of part `part`, ending with kind VJ_FIELD_END; NULL behind the last.
const vj_field *vj_run_config_fields(int part);
// The folder of an installed program that holds these files, PREFIX/share/vjepa/configs beside PREFIX/bin: a file there wins
// over the built-in text of its name. NULL: the program is not installed.
const char *vj_run_config_folder(void);
// Name of built-in configuration `index` ("pretrain/vitl16"), NULL behind the last; what its first line of comment says.
const char *vj_run_config_builtin(int index, char about[160]);

#endif
