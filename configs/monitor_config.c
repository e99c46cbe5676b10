#include "configs/monitor_config.h"

#define AT(member) offsetof(vj_monitor_config, member)
#define INT(key_, member, def_, low_, high_, flags_, help_)                                                            \
    { .key = key_, .kind = VJ_FIELD_INT, .offset = AT(member), .help = help_, .i = { def_, low_, high_ },              \
      .flags = flags_ | VJ_FIELD_MAY_CHANGE }

const vj_field vj_monitor_fields[] = {
    INT("monitor.every", every, -1, 0, INT64_C(1) << 40, VJ_FIELD_AUTO,
        "steps between monitor figures; auto: as log.every; 0: never"),
    INT("monitor.clips", clips, 16, 2, 256, 0, "fixed clips behind monitor figures, kept decoded in memory"),
    { .key = NULL, .kind = VJ_FIELD_END },
};
