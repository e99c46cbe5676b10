// tests/data/test_data_config.c: the tables of data.* and mask.*

#include <string.h>

#include "data/data_config.h"
#include "tests/support/scratch.h"

typedef struct root {
    vj_data_config data;
    vj_mask_config mask;
} root;

static const vj_config_part parts[2] = {
    { vj_data_fields, offsetof(root, data) },
    { vj_mask_fields, offsetof(root, mask) },
};

static vj_status load(root *out, const char *const *overrides, int n)
{
    vj_config *config = NULL;
    vj_status status = vj_config_load(&config, out, parts, 2, NULL, overrides, n);
    if (status == VJ_OK) {
        vj_data_config_check(config, &out->data, &out->mask);
        status = vj_config_problems(config);
    }
    vj_config_destroy(&config);
    return status;
}

static void defaults_are_the_papers(void **state)
{
    (void)state;
    root r;
    assert_ok(load(&r, NULL, 0));
    assert_string_equal(r.data.dir, "");
    assert_int_equal(r.data.weights.n, 0);
    assert_true(r.data.fpc.n == 1 && r.data.fpc.v[0] == 16);
    assert_true(r.data.fps == 4 && r.data.crop == 256 && r.data.flip && !r.data.batch_exact);
    assert_int_equal(r.data.temporal, VJ_TEMPORAL_PAPER_CODE);
    assert_true(r.data.crop_scale_low == 0.3 && r.data.crop_scale_high == 1);
    assert_true(r.data.crop_ratio_low == 0.75 && r.data.crop_ratio_high == 1.35);
    assert_int_equal(r.data.threads, -1);
    assert_true(r.data.max_bad == 0.001);
    assert_true(r.data.io_warn == 30 && r.data.io_hedge == 60 && r.data.io_fatal == 900);
    assert_true(r.mask.n == 2 && r.mask.blocks.v[0] == 8 && r.mask.blocks.v[1] == 2);
    assert_true(r.mask.spatial_low.v[0] == 0.15 && r.mask.spatial_high.v[0] == 0.15);
    assert_true(r.mask.spatial_low.v[1] == 0.7 && r.mask.spatial_high.v[1] == 0.7);
    assert_true(r.mask.aspect_low.v[1] == 0.75 && r.mask.aspect_high.v[1] == 1.5);
    assert_true(r.mask.temporal_low.v[1] == 1 && r.mask.max_temporal_keep.v[1] == 1 && r.mask.max_keep.v[1] == 0);
    assert_int_equal(r.mask.rng, VJ_MASK_PHILOX);
    assert_int_equal(r.mask.truncate, VJ_TRUNCATE_SLOT);
}

static void short_lists_serve_every_mask(void **state)
{
    (void)state;
    static const char *const keys[] = { "mask.blocks=[4, 3, 2]", "mask.spatial_low=[0.2]", "mask.spatial_high=[0.3]",
                                        "mask.temporal_low=[0.5]", "mask.temporal_high=[1.0]", "mask.aspect_low=[1.0]",
                                        "mask.aspect_high=[1.0]", "mask.max_temporal_keep=[1.0]", "mask.max_keep=[50]" };
    root r;
    assert_ok(load(&r, keys, 9));
    assert_int_equal(r.mask.n, 3);
    for (int i = 0; i < 3; i++) {
        assert_true(r.mask.spatial_low.v[i] == 0.2 && r.mask.temporal_low.v[i] == 0.5 && r.mask.max_keep.v[i] == 50);
    }
}

static void contradictions_are_named(void **state)
{
    (void)state;
    static const struct { const char *key, *message; } bad[] = {
        { "mask.blocks=[8]", "mask.spatial_low: has 2 entries, mask.blocks has 1" },
        { "mask.blocks=[0, 2]", "mask.blocks" },
        { "mask.spatial_low=[0.2, 0.7]", "entry 1 is 0.2, above its upper end 0.15" },
        { "mask.truncate=sometimes", "is none of slot, global, fixed, rank" },
        { "data.crop_scale_low=1.5", "above data.crop_scale_high" },
        { "data.crop_ratio_high=0.5", "above data.crop_ratio_high, 0.5" },
        { "data.fps=0", "data.fps" },
        { "data.fpc=[]", "data.fpc" },
        { "data.weights={a: -1}", "data.weights" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        root r;
        assert_fails(load(&r, &bad[i].key, 1), VJ_ERR_CONFIG, bad[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_papers),
        cmocka_unit_test(short_lists_serve_every_mask),
        cmocka_unit_test(contradictions_are_named),
    };
    return cmocka_run_group_tests_name("data/data_config", tests, NULL, NULL);
}
