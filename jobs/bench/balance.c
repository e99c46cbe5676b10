// jobs/bench/balance.c

#include "jobs/bench/balance.h"

#include <stdlib.h>

#include "runtime/base/clock.h"

typedef struct bench {
    const vj_model_config *model;
    vj_mask_config masks;
    vj_bench_balance *out;
    vj_token_grid grid;
    vj_masks *draw;
    uint64_t *g;                 // (slots of a rank * group)
    vj_mask_cut *slot;           // (slots of the step) what a slot alone would be cut to
    double *busy, *again;        // (ranks) FLOP of a step; of what recomputation makes again
    double most[VJ_BENCH_CUTS], mean[VJ_BENCH_CUTS], most_again[VJ_BENCH_CUTS], mean_again[VJ_BENCH_CUTS];   // sums over steps
} bench;

// *forward: of it, one forward pass of encoder and predictor. The target encoder's does not depend on masks, the rest is three of them.
static double flop_of(const bench *b, const vj_mask_cut *cut, double *forward)
{
    vj_slot slot = { .n_groups = 1 };
    slot.groups[0] = (vj_clip_group){ .B = b->masks.group, .F = b->out->frames, .height = b->out->crop, .width = b->out->crop,
                                      .n_pairs = (int)b->masks.n };
    for (int i = 0; i < b->masks.n; i++) slot.groups[0].pairs[i] = (vj_mask_pair){ .K = cut->K[i], .P = cut->P[i] };
    const double all = vj_vjepa_slot_flop(b->model, &slot);
    slot.groups[0].n_pairs = 0;
    *forward = (all - vj_vjepa_slot_flop(b->model, &slot)) / 3;
    return all;
}

static void limit_context(const bench *b, vj_mask_cut *cut)
{
    for (int i = 0; i < b->masks.n; i++) {
        const int64_t most = b->masks.max_keep.v[i];
        if (most > 0 && cut->K[i] > most) cut->K[i] = most;
    }
}

// Adds one rank's slot of one step.
static void add(const bench *b, vj_bench_cut *of, int64_t rank, const vj_mask_cut *lengths)
{
    vj_mask_cut cut = *lengths;
    limit_context(b, &cut);
    const double share = 1.0 / (double)(b->out->steps * b->out->ranks * b->out->slots);
    for (int i = 0; i < b->masks.n; i++) {
        of->K[i] += (double)cut.K[i] * share;
        of->P[i] += (double)cut.P[i] * share;
    }
    double forward;
    const double all = flop_of(b, &cut, &forward);
    b->busy[rank] += all;
    b->again[rank] += all + forward;
}

// Largest and mean of all ranks, which begin anew.
static void take(const bench *b, double *of_rank, double *most, double *mean)
{
    *most = *mean = 0;
    for (int64_t r = 0; r < b->out->ranks; r++) {
        if (of_rank[r] > *most) *most = of_rank[r];
        *mean += of_rank[r] / (double)b->out->ranks;
        of_rank[r] = 0;
    }
}

static void end_step(bench *b, int how)
{
    double most, mean, most_again, mean_again;
    take(b, b->busy, &most, &mean);
    take(b, b->again, &most_again, &mean_again);
    b->most[how] += most;
    b->mean[how] += mean;
    b->most_again[how] += most_again;
    b->mean_again[how] += mean_again;
    if (most / mean > b->out->cut[how].worst) b->out->cut[how].worst = most / mean;
}

static vj_status count_slots(bench *b, int64_t step)
{
    const int64_t B = b->masks.group, V = b->out->ranks * b->out->slots;
    const double began = vj_now();
    for (int64_t v = 0; v < V; v++) {
        b->slot[v] = (vj_mask_cut){ 0 };
        for (int64_t k = 0; k < B; k++) b->g[k] = (uint64_t)((step * V + v) * B + k);
        vj_masks_slot(b->draw, step, v);
        VJ_TRY(vj_masks_count(b->draw, b->grid, b->g, B, &b->slot[v]));
    }
    b->out->count_seconds += (vj_now() - began) / (double)b->out->steps;
    return VJ_OK;
}

// All samples of a rank, whose slots are rank, rank + ranks, ...: one group.
static vj_status count_rank(bench *b, int64_t step, int64_t rank, vj_mask_cut *cut)
{
    const int64_t B = b->masks.group, G = b->out->ranks, V = G * b->out->slots;
    for (int64_t own = 0; own < b->out->slots; own++) {
        for (int64_t k = 0; k < B; k++) b->g[own * B + k] = (uint64_t)((step * V + rank + own * G) * B + k);
    }
    *cut = (vj_mask_cut){ 0 };
    vj_masks_slot(b->draw, step, rank);
    return vj_masks_count(b->draw, b->grid, b->g, b->out->slots * B, cut);
}

static vj_status one_step(bench *b, int64_t step)
{
    const int64_t G = b->out->ranks, V = G * b->out->slots;
    vj_mask_cut all, fixed = { 0 };
    VJ_TRY(count_slots(b, step));
    all = b->slot[0];
    for (int64_t v = 1; v < V; v++) {
        for (int i = 0; i < b->masks.n; i++) {
            if (b->slot[v].K[i] < all.K[i]) all.K[i] = b->slot[v].K[i];
            if (b->slot[v].P[i] < all.P[i]) all.P[i] = b->slot[v].P[i];
        }
    }
    for (int i = 0; i < b->masks.n; i++) VJ_TRY(vj_masks_fixed(b->draw, i, b->grid, &fixed.K[i], &fixed.P[i]));
    for (int how = 0; how < VJ_BENCH_CUTS; how++) {
        vj_bench_cut *of = &b->out->cut[how];
        for (int64_t r = 0; r < G; r++) {
            vj_mask_cut of_rank;
            if (how == VJ_TRUNCATE_RANK) VJ_TRY(count_rank(b, step, r, &of_rank));
            const vj_mask_cut *cut = how == VJ_TRUNCATE_GLOBAL ? &all : how == VJ_TRUNCATE_FIXED ? &fixed : &of_rank;
            for (int64_t v = r; v < V; v += G) add(b, of, r, how == VJ_TRUNCATE_SLOT ? &b->slot[v] : cut);
        }
        end_step(b, how);
    }
    return VJ_OK;
}

vj_status vj_bench_balance_measure(const vj_model_config *model, const vj_mask_config *masks, uint64_t seed, vj_bench_balance *out)
{
    *out = (vj_bench_balance){ .frames = out->frames, .crop = out->crop, .ranks = out->ranks, .slots = out->slots, .steps = out->steps };
    const int64_t side = out->crop / model->patch;
    bench b = { .model = model, .masks = *masks, .out = out, .grid = { out->frames / model->tubelet, side, side } };
    b.masks.truncate = VJ_TRUNCATE_SLOT;
    VJ_TRY(vj_masks_check(&b.masks, b.grid));
    VJ_TRY(vj_masks_create(&b.draw, &b.masks, seed, 1, b.grid.t * side * side));
    b.g = calloc((size_t)(out->slots * masks->group), sizeof *b.g);
    b.slot = calloc((size_t)(out->ranks * out->slots), sizeof *b.slot);
    b.busy = calloc((size_t)out->ranks, sizeof *b.busy);
    b.again = calloc((size_t)out->ranks, sizeof *b.again);
    vj_status status = b.g && b.slot && b.busy && b.again ? VJ_OK : vj_fail(VJ_ERR_NOMEM, "no memory for %lld ranks", (long long)out->ranks);
    for (int64_t step = 0; step < out->steps && status == VJ_OK; step++) status = one_step(&b, step);
    for (int how = 0; how < VJ_BENCH_CUTS && status == VJ_OK; how++) {
        out->cut[how].balance = b.most[how] / b.mean[how];
        out->cut[how].balance_recompute = b.most_again[how] / b.mean_again[how];
        out->cut[how].flop = b.mean[how] / (double)out->steps;
    }
    free(b.g);
    free(b.slot);
    free(b.busy);
    free(b.again);
    vj_masks_destroy(&b.draw);
    return status;
}
