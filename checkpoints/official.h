// The order of parameters in the published code's optimiser (spec/pretrain.md 6.1, 9.1): groups encoder decayed,
// predictor decayed, encoder not, predictor not; inside a group as the modules register them.
#ifndef VJ_CHECKPOINTS_OFFICIAL_H
#define VJ_CHECKPOINTS_OFFICIAL_H

#include <stdint.h>

typedef struct vj_official_sizes { int64_t depth, pred_depth, mask_tokens; } vj_official_sizes;
enum { VJ_OFFICIAL_GROUPS = 4, VJ_OFFICIAL_EPOCH = 300 };   // groups; steps of an epoch

// Calls `fn` with 0, 1, 2, ... and the name with its network. Returns how many there are.
int64_t vj_official_order(const vj_official_sizes *sizes, void (*fn)(void *context, int64_t index, const char *name),
                          void *context);
// The first number of each group, and of the end.
void vj_official_groups(const vj_official_sizes *sizes, int64_t first[VJ_OFFICIAL_GROUPS + 1]);

#endif
