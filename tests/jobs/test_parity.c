// One training step against PyTorch's, from the files in tests/golden: agreement on every device, and disagreement, by
// name, as soon as anything in the files is another.

#include "jobs/parity/parity.h"

#include <math.h>
#include <string.h>

#include "tests/support/scratch.h"

static const vj_parity_keys from_metadata = { NAN, NAN, NAN, NAN, NAN, 1 };   // one thread

typedef struct files { char model[512], batch[512], expect[512]; } files;

static files golden(const char *type)
{
    files f;
    vj_format(f.model, sizeof f.model, "tests/golden/parity-%s/model.safetensors", type);
    vj_format(f.batch, sizeof f.batch, "tests/golden/parity-%s/batch.safetensors", type);
    vj_format(f.expect, sizeof f.expect, "tests/golden/parity-%s/expect.safetensors", type);
    return f;
}

static vj_status compare(const files *f, const char *device, const char *out, double *worst)
{
    vj_parity p;
    vj_status status = vj_parity_open(&p, f->model, f->batch, f->expect, device, &from_metadata);
    if (status == VJ_OK) status = vj_parity_step(&p);
    if (status == VJ_OK && out) status = vj_parity_write(&p, out);
    vj_parity_row rows[VJ_KINDS_OF_PARITY];
    if (status == VJ_OK) status = vj_parity_compare(&p, rows, worst);
    vj_parity_close(&p);
    return status;
}

static void pytorch_agrees(void **state)
{
    (void)state;
    static const char *const types[] = { "float64", "float32" }, *const devices[] = { "ref", "cpu", "far" };
    for (int t = 0; t < 2; t++) {
        for (int d = 0; d < 3; d++) {
            const files f = golden(types[t]);
            double worst = INFINITY;
            print_message("%s on %s\n", types[t], devices[d]);
            assert_ok(compare(&f, devices[d], NULL, &worst));
            assert_true(worst <= 1);
        }
    }
}

// A copy of a file in which one value of `name` is another, or `name` is missing, or `extra` is there too.
typedef struct change { const char *name, *missing, *extra; double factor; } change;

static void copy_with(const char *from, const char *to, const change *c)
{
    vj_safetensors *f = NULL;
    vj_st_writer *w = NULL;
    assert_ok(vj_safetensors_open(&f, from));
    assert_ok(vj_st_writer_create(&w, to));
    static const char *const keys[] = { "heads", "pred_heads", "lr", "weight_decay", "momentum" };
    for (int i = 0; i < 5; i++) {
        if (vj_safetensors_meta(f, keys[i])) assert_ok(vj_st_writer_meta(w, keys[i], vj_safetensors_meta(f, keys[i])));
    }
    bool met = false;
    for (int data = 0; data < 2; data++) {
        for (int64_t i = 0; i < vj_safetensors_count(f); i++) {
            const vj_st_entry *e = vj_safetensors_at(f, i);
            if (c->missing && strcmp(e->name, c->missing) == 0) {
                met = true;
                continue;
            }
            if (!data) {
                assert_ok(vj_st_writer_declare(w, e->name, e->dtype, e->rank, e->shape));
                continue;
            }
            char *bytes = malloc(e->bytes);
            memcpy(bytes, e->data, e->bytes);
            if (c->name && strcmp(e->name, c->name) == 0) {
                assert_int_equal(e->dtype, VJ_F64);
                double v;
                memcpy(&v, bytes, sizeof v);
                v *= c->factor;
                memcpy(bytes, &v, sizeof v);
                met = true;
            }
            assert_ok(vj_st_writer_data(w, bytes, e->bytes));
            free(bytes);
        }
        const double zero = 0;
        if (c->extra && !data) assert_ok(vj_st_writer_declare(w, c->extra, VJ_F64, 1, (const int64_t[]){ 1 }));
        if (c->extra && data) assert_ok(vj_st_writer_data(w, &zero, sizeof zero));
    }
    assert_true(met || c->extra);
    assert_ok(vj_st_writer_finish(&w));
    vj_safetensors_close(&f);
}

// One value of one tensor, off by a hundred-thousandth of itself: above the tolerance of float64 whatever the kind.
static void a_changed_value_is_seen(void **state)
{
    static const char *const names[] = { "loss", "pred_1", "target_0", "grad.encoder.blocks.0.attn.qkv.weight",
                                         "after.predictor.predictor_proj.weight", "after.target_encoder.norm.weight" };
    files f = golden("float64");
    char changed[512];
    vj_path_join(changed, sizeof changed, *state, "changed.safetensors");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        copy_with(f.expect, changed, &(change){ .name = names[i], .factor = 1 + 1e-5 });
        files g = f;
        vj_format(g.expect, sizeof g.expect, "%s", changed);
        double worst = 0;
        assert_ok(compare(&g, "ref", NULL, &worst));
        if (!(worst > 1)) fail_msg("a changed value of %s was not seen (%g)", names[i], worst);
    }
    // A weight of the model is part of everything.
    copy_with(f.model, changed, &(change){ .name = "predictor.mask_tokens.0", .factor = 1 + 1e-4 });
    vj_format(f.model, sizeof f.model, "%s", changed);
    double worst = 0;
    assert_ok(compare(&f, "ref", NULL, &worst));
    assert_true(worst > 1);
}

static void tensors_are_accounted_for(void **state)
{
    const files f = golden("float64");
    char changed[512];
    vj_path_join(changed, sizeof changed, *state, "changed.safetensors");
    double worst;
    static const struct { char which; change c; vj_status status; const char *part; } cases[] = {
        { 'm', { .missing = "encoder.blocks.1.mlp.fc2.bias" }, VJ_ERR_CONFIG, "encoder.blocks.1.mlp.fc2.bias" },
        { 'm', { .missing = "target_encoder.norm.bias" }, VJ_ERR_CONFIG, "target_encoder.norm.bias" },
        { 'm', { .extra = "encoder.pos_embed" }, VJ_ERR_CONFIG, "encoder.pos_embed" },
        { 'm', { .extra = "enc" }, VJ_ERR_CONFIG, "'enc'" },
        { 'b', { .missing = "tgt_1" }, VJ_ERR_CONFIG, "2 pairs ctx_j, tgt_j" },
        { 'b', { .missing = "clips" }, VJ_ERR_CONFIG, "clips" },
        { 'b', { .extra = "ctx_7" }, VJ_ERR_CONFIG, "tensors" },
        { 'e', { .missing = "loss" }, VJ_ERR_CONFIG, "loss" },
        { 'e', { .missing = "grad.encoder.norm.weight" }, VJ_ERR_MISMATCH, "grad.encoder.norm.weight" },
        { 'e', { .extra = "grad.encoder.norm.weights" }, VJ_ERR_CONFIG, "grad.encoder.norm.weights" },
        { 'e', { .extra = "pred_2" }, VJ_ERR_CONFIG, "pred_2" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        files g = f;
        char *file = cases[i].which == 'm' ? g.model : cases[i].which == 'b' ? g.batch : g.expect;
        copy_with(file, changed, &cases[i].c);
        vj_format(file, sizeof g.model, "%s", changed);
        assert_fails(compare(&g, "ref", NULL, &worst), cases[i].status, cases[i].part);
    }
}

// What we write is read by the same program, and agrees with itself.
static void our_results_are_an_expectation(void **state)
{
    files f = golden("float64");
    char out[512];
    vj_path_join(out, sizeof out, *state, "ours.safetensors");
    double worst = INFINITY;
    assert_ok(compare(&f, "ref", out, &worst));
    vj_format(f.expect, sizeof f.expect, "%s", out);
    assert_ok(compare(&f, "ref", NULL, &worst));
    assert_true(worst == 0);
}

static void keys_win_over_metadata(void **state)
{
    (void)state;
    const files f = golden("float64");
    vj_parity p;
    vj_parity_keys keys = from_metadata;
    keys.heads = 1;
    keys.lr = 0.5;
    assert_ok(vj_parity_open(&p, f.model, f.batch, NULL, "ref", &keys));
    assert_int_equal(p.config.heads, 1);
    assert_int_equal(p.config.pred_heads, 1);
    assert_true(p.lr == 0.5 && p.weight_decay == 0.04 && p.momentum == 0.99925);
    assert_int_equal(p.config.patch, 4);
    assert_int_equal(p.config.tubelet, 2);
    vj_parity_close(&p);
    keys.heads = 5;
    assert_fails(vj_parity_open(&p, f.model, f.batch, NULL, "ref", &keys), VJ_ERR_CONFIG, "not a multiple");
    vj_parity_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pytorch_agrees),
        cmocka_unit_test(a_changed_value_is_seen),
        cmocka_unit_test(tensors_are_accounted_for),
        cmocka_unit_test(our_results_are_an_expectation),
        cmocka_unit_test(keys_win_over_metadata),
    };
    return cmocka_run_group_tests_name("jobs/parity", tests, scratch_setup, scratch_teardown);
}
