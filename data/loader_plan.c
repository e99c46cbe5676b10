// data/loader_plan.c
//
// What is in a step: its samples, how they group, where each clip goes, and the masks. All of it follows from the order
// and from g; nothing is read from shards.

#include <stdlib.h>
#include <string.h>

#include "data/loader_impl.h"
#include "data/perm.h"
#include "runtime/base/rng.h"
#include "runtime/base/str.h"

// ---- held-out order -----------------------------------------------------------------------------------------------

// A window with what its place depends on: windows of one file are spread evenly over the whole cycle, so that
// neighbours come from different files wherever that is possible.
typedef struct spread { vj_held_window window; uint64_t file; int64_t rank, of; uint64_t tie; } spread;

static int by_file(const void *pa, const void *pb)
{
    const spread *a = pa, *b = pb;
    if (a->file != b->file) return a->file < b->file ? -1 : 1;
    if (a->tie != b->tie) return a->tie < b->tie ? -1 : 1;
    return 0;
}

// Position (rank + 1/2) / of, compared exactly.
static int by_place(const void *pa, const void *pb)
{
    const spread *a = pa, *b = pb;
    const int64_t left = (2 * a->rank + 1) * b->of, right = (2 * b->rank + 1) * a->of;
    if (left != right) return left < right ? -1 : 1;
    if (a->file != b->file) return a->file < b->file ? -1 : 1;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

// The i-th held-out window of all video sources together.
static vj_held_window held_window(const vj_catalog *c, int64_t i)
{
    for (int s = 0; s < c->n_sources; s++) {
        if (c->sources[s].kind != VJ_SOURCE_VIDEO) continue;
        if (i < c->sources[s].held_out.rows) return (vj_held_window){ .source = s, .row = i };
        i -= c->sources[s].held_out.rows;
    }
    vj_bug_at(__FILE__, __LINE__, __func__, "no such held-out window");
}

vj_status vj_loader_list_held(vj_loader *l)
{
    int64_t all = 0;
    for (int s = 0; s < l->catalog->n_sources; s++) {
        if (l->catalog->sources[s].kind == VJ_SOURCE_VIDEO) all += l->catalog->sources[s].held_out.rows;
    }
    VJ_CHECK(all > 0, VJ_ERR_CONFIG, "%s has no held-out video windows: pack with --hold-out", l->catalog->dir);
    const int64_t n = all < VJ_HELD_OUT_MOST ? all : VJ_HELD_OUT_MOST;
    spread *list = calloc((size_t)n, sizeof *list);
    l->held = calloc((size_t)n, sizeof *l->held);
    vj_status status = list && l->held ? VJ_OK : vj_fail(VJ_ERR_NOMEM, "no memory for the list of held-out windows");
    for (int64_t i = 0; i < n && status == VJ_OK; i++) {
        vj_sample_info info = { 0 };
        const uint64_t at = n < all ? vj_perm(l->stage.seed, (uint64_t)i, (uint64_t)all, VJ_TAG_HOLD_OUT, 0)
            : (uint64_t)i;
        list[i].window = held_window(l->catalog, (int64_t)at);
        status = vj_shards_info(l->shards, list[i].window.source, true, list[i].window.row, &info);
        list[i].file = info.file_key;
        list[i].tie = vj_rng_u64(l->stage.seed, info.key, VJ_TAG_HOLD_OUT, 1, 0);
    }
    if (status == VJ_OK) {
        qsort(list, (size_t)n, sizeof *list, by_file);
        for (int64_t begin = 0, end; begin < n; begin = end) {
            for (end = begin; end < n && list[end].file == list[begin].file; end++) list[end].rank = end - begin;
            for (int64_t i = begin; i < end; i++) list[i].of = end - begin;
        }
        qsort(list, (size_t)n, sizeof *list, by_place);
        for (int64_t i = 0; i < n; i++) l->held[i] = list[i].window;
        l->n_held = n;
    }
    free(list);
    return status;
}

// ---- one step -----------------------------------------------------------------------------------------------------

// Frames per clip of a source, and its place in the configured list: equal values are one group.
int64_t vj_loader_fpc(const vj_loader *l, int source, int *fpc_index)
{
    const vj_int_list *list = &l->stage.fpc;
    const int64_t fpc = list->n == 1 ? list->v[0] : list->v[source];
    int at = 0;
    while (list->v[at] != fpc) at++;
    *fpc_index = at;
    return fpc;
}

static int source_of(const vj_loader *l, uint64_t index)
{
    return l->stage.held_out ? l->held[(index & ~VJ_HELD_OUT_BIT) % (uint64_t)l->n_held].source : vj_order(l->plan, index).source;
}

static void choose_sample(const vj_loader *l, uint64_t index, vj_loader_sample *s)
{
    free(s->file);
    *s = (vj_loader_sample){ .g = index, .delivered = -1 };
    if (l->stage.held_out) {
        const vj_held_window *w = &l->held[(index & ~VJ_HELD_OUT_BIT) % (uint64_t)l->n_held];
        s->source = w->source;
        s->row = w->row;
    } else {
        const vj_ref ref = vj_order(l->plan, index);
        s->source = ref.source;
        s->row = ref.row;
    }
}

static vj_token_grid grid_of(const vj_loader *l, int64_t fpc)
{
    const int64_t side = l->stage.crop / l->stage.patch;
    return (vj_token_grid){ .t = fpc / l->stage.tubelet, .h = side, .w = side };
}

// Groups of one slot in the order of the configured list; clips and g of the slot are laid out group by group.
static void group_slot(vj_loader *l, vj_loader_entry *e, int64_t own, vj_slot *slot)
{
    const int64_t B = l->stage.slot, S = l->stage.crop;
    vj_loader_sample *samples = e->samples + own * B;
    uint64_t *g = e->g + own * B;
    float *clip = e->clips + own * B * 3 * l->longest * S * S;
    slot->n_groups = 0;
    for (int index = 0; index < l->stage.fpc.n; index++) {
        const int64_t fpc = l->stage.fpc.v[index];
        vj_clip_group group =
            { .fpc_index = index, .F = fpc, .height = S, .width = S, .clips = clip, .dtype = VJ_F32, .g = g,
                                .n_pairs = (int)l->mask_config.n };
        for (int64_t b = 0; b < B; b++) {
            int at;
            vj_loader_fpc(l, samples[b].source, &at);
            if (at != index) continue;
            g[group.B++] = samples[b].g;
            samples[b].fpc = fpc;
            samples[b].clip = clip;
            clip += 3 * fpc * S * S;
        }
        if (group.B == 0) continue;
        g += group.B;
        slot->groups[slot->n_groups++] = group;
    }
}

// ---- masks of a step --------------------------------------------------------------------------------------------------

// `global`: the smallest counts of all slots, this rank's or not. What the samples of the others are follows from the order.
static vj_status count_step(vj_loader *l, const vj_loader_entry *e)
{
    const int64_t B = l->stage.slot;
    for (int64_t slot = 0; slot < l->stage.batch / B; slot++) {
        const uint64_t first = e->batch.first + (uint64_t)(slot * B);
        vj_masks_slot(l->masks, e->batch.step, slot);
        for (int64_t b = 0; b < B && l->stage.fpc.n > 1; b++) vj_loader_fpc(l, source_of(l, first + (uint64_t)b), &l->fpc_of[b]);
        for (int index = 0; index < l->stage.fpc.n; index++) {
            int64_t n = 0;
            for (int64_t b = 0; b < B; b++) {
                if (l->fpc_of[b] == index) l->counted[n++] = first + (uint64_t)b;
            }
            if (n > 0) VJ_TRY(vj_masks_count(l->masks, grid_of(l, l->stage.fpc.v[index]), l->counted, n, &l->cuts[index]));
        }
    }
    return VJ_OK;
}

// `rank`: the smallest counts of all this rank's slots, whose samples of equal frames per clip are drawn as one group.
static vj_status count_rank(vj_loader *l, const vj_loader_entry *e)
{
    vj_masks_slot(l->masks, e->batch.step, l->stage.rank);
    for (int index = 0; index < l->stage.fpc.n; index++) {
        int64_t n = 0;
        for (int64_t own = 0; own < l->n_slots; own++) {
            const vj_slot *slot = &e->batch.slots[own];
            for (int i = 0; i < slot->n_groups; i++) {
                if (slot->groups[i].fpc_index != index) continue;
                memcpy(l->counted + n, slot->groups[i].g, (size_t)slot->groups[i].B * sizeof *l->counted);
                n += slot->groups[i].B;
            }
        }
        if (n > 0) VJ_TRY(vj_masks_count(l->masks, grid_of(l, l->stage.fpc.v[index]), l->counted, n, &l->cuts[index]));
    }
    return VJ_OK;
}

static vj_status mask_step(vj_loader *l, vj_loader_entry *e)
{
    const int truncate = l->mask_config.truncate;
    for (int i = 0; l->cuts && i < l->stage.fpc.n; i++) l->cuts[i] = (vj_mask_cut){ 0 };
    if (truncate == VJ_TRUNCATE_GLOBAL) VJ_TRY(count_step(l, e));
    if (truncate == VJ_TRUNCATE_RANK) VJ_TRY(count_rank(l, e));
    for (int64_t own = 0; own < l->n_slots; own++) {
        vj_slot *slot = &e->batch.slots[own];
        const vj_token_grid largest = grid_of(l, l->longest);
        int32_t *ids = e->ids + own * l->mask_config.n * l->stage.slot * largest.t * largest.h * largest.w;
        vj_masks_slot(l->masks, e->batch.step, slot->index);
        for (int i = 0; i < slot->n_groups; i++) {
            vj_clip_group *group = &slot->groups[i];
            const vj_token_grid grid = grid_of(l, group->F);
            VJ_TRY_CTX(vj_masks_group(l->masks, grid, group->g, group->B, l->cuts ? &l->cuts[group->fpc_index] : NULL, ids, group->pairs),
                       "in slot %lld", (long long)slot->index);
            ids += l->mask_config.n * group->B * grid.t * grid.h * grid.w;
        }
    }
    return VJ_OK;
}

// Fills entry e for the `number`-th step of this loader. Nobody else looks at a free entry.
static vj_status plan_entry(vj_loader *l, vj_loader_entry *e, int64_t number)
{
    e->batch.step = l->start_step + number;
    e->batch.first = l->start + (uint64_t)number * (uint64_t)l->stage.batch;
    e->batch.samples = l->n_slots * l->stage.slot;
    e->batch.n_slots = (int)l->n_slots;
    e->batch.wait_seconds = 0;
    for (int64_t own = 0; own < l->n_slots; own++) {
        vj_slot *slot = &e->batch.slots[own];
        slot->index = l->stage.rank + own * l->stage.world;
        for (int64_t b = 0; b < l->stage.slot; b++) {
            choose_sample(l, e->batch.first + (uint64_t)(slot->index * l->stage.slot + b),
                          &e->samples[own * l->stage.slot + b]);
        }
        group_slot(l, e, own, slot);
    }
    VJ_TRY_CTX(mask_step(l, e), "making the masks of step %lld", (long long)e->batch.step);
    return VJ_OK;
}

void *vj_loader_plan_thread(void *loader)
{
    vj_loader *l = loader;
    pthread_mutex_lock(&l->mutex);
    for (;;) {
        while (!l->stop && (l->failed || l->planned - l->released >= l->n_ring)) pthread_cond_wait(&l->room, &l->mutex);
        if (l->stop) break;
        const int64_t number = l->planned;
        vj_loader_entry *e = vj_loader_entry_of(l, number);
        pthread_mutex_unlock(&l->mutex);
        e->status = VJ_OK;
        free(e->error);
        e->error = NULL;
        e->judged = false;
        const vj_status status = plan_entry(l, e, number);
        pthread_mutex_lock(&l->mutex);
        e->handed = 0;
        e->left = e->batch.samples;
        if (status != VJ_OK) {
            vj_loader_fail_entry(l, e, status, -1);
            e->handed = e->batch.samples;
            e->left = 0;
        }
        l->planned++;
        pthread_cond_broadcast(&l->work);
        pthread_cond_broadcast(&l->ready);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}
