#include "configs/stages_config.h"

#define AT(member) offsetof(vj_stages_config, member)

const vj_field vj_stages_fields[] = {
    { .key = "stages.from", .kind = VJ_FIELD_INT_LIST, .offset = AT(from), .text = "[]", .i = { 0, 0, INT64_C(1) << 40 },
      .help = "first step of each stage, ascending from 0; empty: the run is one stage" },
    { .key = "stages.crop", .kind = VJ_FIELD_INT_LIST, .offset = AT(crop), .text = "[]", .i = { 0, 8, 4096 },
      .help = "crop of each stage in pixels; empty: data.crop in all" },
    { .key = "stages.frames", .kind = VJ_FIELD_INT_LIST, .offset = AT(frames), .text = "[]", .i = { 0, 1, 1024 },
      .help = "frames per clip of each stage; empty: data.fpc in all" },
    { .key = "stages.fps", .kind = VJ_FIELD_FLOAT_LIST, .offset = AT(fps), .text = "[]", .f = { 0, 0.01, 1000.0 },
      .help = "frame rate of each stage; empty: data.fps in all" },
    { .key = "stages.group", .kind = VJ_FIELD_INT_LIST, .offset = AT(group), .text = "[]", .i = { 0, 1, 65536 },
      .help = "samples of a slot of each stage; empty: mask.group in all" },
    { .key = NULL, .kind = VJ_FIELD_END },
};
