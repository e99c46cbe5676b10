// Balance of a step over 128 ranks, and the published distribution of masks (bar 12). Counts, so they are the same everywhere.

#include "jobs/bench/balance.h"

#include <math.h>
#include <string.h>

#include "configs/run_config.h"
#include "tests/support/scratch.h"

static vj_bench_balance measure(const char *name, const char *override, int64_t ranks, int64_t slots, int64_t steps)
{
    vj_run_config c;
    vj_config *origins = NULL;
    const char *const overrides[] = { override };
    assert_ok(vj_run_config_load(&c, &origins, name, overrides, 1));
    vj_config_destroy(&origins);
    vj_bench_balance k = { .frames = c.data.fpc.v[0], .crop = c.data.crop, .ranks = ranks, .slots = slots, .steps = steps };
    assert_ok(vj_bench_balance_measure(&c.model, &c.mask, (uint64_t)c.train.seed, &k));
    return k;
}

static void within(double value, double expected, double share, const char *what)
{
    if (!(fabs(value - expected) <= share * expected)) fail_msg("%s: %g, not within %g of %g", what, value, share, expected);
}

// 493/969 and 126/1428 of 2,048 tokens with 24 samples of a rank, with the published generator and with ours. Block shapes, one a step,
// vary more than ranks do, so one rank and many steps: with 4,000 the second context is still anywhere from 129.2 to 130.1.
static void rank_is_the_published_distribution(void **state)
{
    (void)state;
    static const char *const rng[] = { "mask.rng=official", "mask.rng=philox" };
    for (int i = 0; i < 2; i++) {
        const vj_bench_balance k = measure("pretrain/vitg16", rng[i], 1, 1, 50000);
        const vj_bench_cut *rank = &k.cut[VJ_TRUNCATE_RANK];
        within(rank->K[0], 493, 0.03, "context 1");
        within(rank->P[0], 969, 0.03, "targets 1");
        within(rank->K[1], 126, 0.03, "context 2");
        within(rank->P[1], 1428, 0.03, "targets 2");
        assert_memory_equal(rank, &k.cut[VJ_TRUNCATE_SLOT], sizeof *rank);   // one slot of a rank is all its samples
    }
}

static void global_and_fixed_are_even(void **state)
{
    (void)state;
    static const char *const names[] = { "pretrain/vitg16", "cooldown/vitg16-64x256", "cooldown/vitg16-64x384" };
    for (int i = 0; i < 3; i++) {
        for (int64_t slots = 1; slots <= 2; slots++) {
            const vj_bench_balance k = measure(names[i], "mask.rng=philox", 128, slots, 20);
            const vj_bench_cut *slot = &k.cut[VJ_TRUNCATE_SLOT], *global = &k.cut[VJ_TRUNCATE_GLOBAL], *fixed = &k.cut[VJ_TRUNCATE_FIXED];
            assert_true(global->worst <= 1.03 && fixed->worst <= 1.03 && global->balance_recompute <= 1.03 && fixed->balance_recompute <= 1.03);
            assert_true(slot->balance > fixed->balance + 0.05);   // what there is to be evened out
            // fixed leaves about what a group of 24 leaves, global what a group of all samples leaves.
            for (int m = 0; m < 2; m++) assert_true(global->K[m] < fixed->K[m]);
        }
    }
}

// As published: activations are made again in the backward pass. Of model FLOP alone 16 frames come to 1.146.
static void rank_is_uneven(void **state)
{
    (void)state;
    static const struct { const char *name; double model; } cases[] = {
        { "pretrain/vitg16", 1.14 }, { "cooldown/vitg16-64x256", 1.15 }, { "cooldown/vitg16-64x384", 1.15 },
    };
    for (int i = 0; i < 3; i++) {
        const vj_bench_balance k = measure(cases[i].name, "mask.rng=philox", 128, 1, 50);
        assert_true(k.cut[VJ_TRUNCATE_RANK].balance_recompute >= 1.15 && k.cut[VJ_TRUNCATE_RANK].balance >= cases[i].model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_is_the_published_distribution),
        cmocka_unit_test(global_and_fixed_are_even),
        cmocka_unit_test(rank_is_uneven),
    };
    return cmocka_run_group_tests_name("jobs/balance", tests, NULL, NULL);
}
