// Weights between programs, against files that PyTorch and transformers wrote (tests/golden/make_formats.py): what the
// models compute from them, every bit of the published checkpoint, and round trips that give the same bytes.

#include <math.h>
#include <string.h>

#include "checkpoints/pt_zip.h"
#include "checkpoints/safetensors.h"
#include "jobs/formats/formats.h"
#include "model/vjepa.h"
#include "runtime/base/hash.h"
#include "tests/support/scratch.h"

enum { C = 24, TOKENS = 32, CLIPS = 2, TARGETS = 12 };
static const char *const dir = "tests/golden/formats";

// ---- what a model computes
// --------------------------------------------------------------------------------------------
static double relative(const char *what, const float *want, const double *got, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += (want[i] - got[i]) * (want[i] - got[i]);
        norm += (double)want[i] * want[i];
    }
    print_message("# %s: relative difference %.3g\n", what, sqrt(difference / norm));
    return sqrt(difference / norm);
}

static vj_vjepa *model_of(vj_model_source *s, vj_device *device)
{
    static const char *const networks[] = { "encoder", "predictor", "target_encoder" };
    const vj_slot_bound bound = { .clips = CLIPS, .F = 4, .height = 16, .width = 16, .n_pairs = 1, .slots = 1 };
    vj_vjepa *m = NULL;
    s->model.shard_quantum = 8;
    OK(vj_vjepa_create(&m, &s->model, s->mask_tokens, device, &bound, false));
    for (int n = 0; n < 3; n++) {
        const vj_layout *l = vj_vjepa_layout(m, (vj_network)n);
        OK(vj_weights_fit(s->weights, networks[n], l));
        for (int p = 0; p < l->n_params; p++) {
            char name[160];
            const int64_t count = l->params[p].count;
            float *v = malloc((size_t)count * sizeof *v);
            double *d = malloc((size_t)count * sizeof *d);
            vj_format(name, sizeof name, "%s.%s", networks[n], l->params[p].name);
            OK(vj_weights_read(s->weights, name, VJ_STATE_PARAM, v, count));
            for (int64_t i = 0; i < count; i++) d[i] = v[i];
            OK(vj_vjepa_set_param(m, (vj_network)n, VJ_BUF_PARAM, p, d));
            free(v);
            free(d);
        }
    }
    return m;
}

static const void *expected(const vj_safetensors *f, const char *name, size_t bytes)
{
    const vj_st_entry *e = vj_safetensors_find(f, name);
    assert_non_null(e);
    assert_int_equal(e->bytes, bytes);
    return e->data;
}

// Features of transformers' encoder, and predictions of its predictor, which always uses mask token 1 where ours uses
// the token of the group, 0: `ref` has them exchanged.
static void computes_what_transformers_does(const char *ref, bool swapped)
{
    char path[200];
    vj_safetensors *want = NULL;
    vj_device *device = NULL;
    vj_model_source s;
    vj_format(path, sizeof path, "%s/expect.safetensors", dir);
    OK(vj_safetensors_open(&want, path));
    OK(vj_device_open(&device, "cpu", 1));
    OK(vj_model_source_open(&s, ref, 0, 0, true));
    vj_vjepa *m = model_of(&s, device);
    vj_slot slot = { .n_groups = 1 };
    slot.groups[0] = (vj_clip_group){ .B = CLIPS, .F = 4, .height = 16, .width = 16, .dtype = VJ_F32, .n_pairs = 1,
                                      .clips = expected(want, "clips", sizeof(float) * CLIPS * 3 * 4 * 16 * 16) };
    slot.groups[0].pairs[0] = (vj_mask_pair){ .K = 20, .P = TARGETS, .ctx = expected(want, "ctx_0", 4 * CLIPS * 20),
                                              .tgt = expected(want, "tgt_0", 4 * CLIPS * TARGETS) };
    static float features[CLIPS * TOKENS * C];
    static double wide[CLIPS * TOKENS * C];
    const int last = 1;
    int64_t rows = 0;
    for (int network = VJ_ENCODER; network <= VJ_TARGET_ENCODER; network += 2) {   // one encoder fills both
        OK(vj_vjepa_features(m, (vj_network)network, &slot, &last, 1, features, CLIPS * TOKENS, &rows));
        assert_int_equal(rows, CLIPS * TOKENS);
        for (int64_t i = 0; i < rows * C; i++) wide[i] = features[i];
        assert_true(relative("features", expected(want, "features", sizeof features), wide, rows * C) < 1e-4);
    }
    OK(vj_vjepa_predict(m, &slot, wide, NULL, CLIPS * TARGETS, &rows));
    assert_int_equal(rows, CLIPS * TARGETS);
    const float *prediction = expected(want, "prediction", sizeof(float) * CLIPS * TARGETS * C);
    const double r =
        relative(swapped ? "predictions, tokens exchanged" : "predictions, as they are", prediction, wide, rows * C);
    if (swapped) assert_true(r < 1e-4);
    else assert_true(r > 1e-2);   // the test can tell the tokens apart
    vj_vjepa_destroy(&m);
    vj_model_source_close(&s);
    vj_device_close(&device);
    vj_safetensors_close(&want);
}

static void as_transformers(void **state)
{
    char hf[200], imported[200], swapped[200], checkpoint[640];
    vj_model_source s;
    vj_format(hf, sizeof hf, "%s/hf", dir);
    vj_format(imported, sizeof imported, "%s/from-hf", (char *)*state);
    vj_format(swapped, sizeof swapped, "%s/swapped", (char *)*state);
    computes_what_transformers_does(hf, false);
    OK(vj_model_source_open(&s, hf, 0, 0, true));
    assert_true(vj_weights_facts_of(s.weights)->one_encoder);
    OK(vj_import(&s, imported, checkpoint));
    vj_model_source_close(&s);
    OK(vj_model_source_open(&s, imported, 0, 0, true));
    const vj_export_options options = { .network = "encoder", .swap_mask_token = true };
    OK(vj_export_hf(&s, swapped, &options));
    vj_model_source_close(&s);
    computes_what_transformers_does(swapped, true);
}

// ---- files
// ------------------------------------------------------------------------------------------------------------
static void same_bytes(const char *a, const char *b)
{
    char *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    OK(vj_file_read(a, &x, &n, 1 << 24));
    OK(vj_file_read(b, &y, &m, 1 << 24));
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void import(const char *from, const char *run)
{
    char checkpoint[640];
    vj_model_source s;
    OK(vj_model_source_open(&s, from, 2, 2, true));
    OK(vj_import(&s, run, checkpoint));
    vj_model_source_close(&s);
}

static void equal_weights(const char *a, const char *b)
{
    vj_weights *x = NULL, *y = NULL;
    vj_difference *list = NULL;
    int64_t n = 0;
    double worst = 1;
    OK(vj_weights_open(&x, a, true));
    OK(vj_weights_open(&y, b, true));
    OK(vj_diff(x, y, true, &list, &n, &worst));
    assert_true(n > 70 && worst == 0);
    free(list);
    vj_weights_close(&x);
    vj_weights_close(&y);
}

// Every tensor and moment of the published checkpoint is what PyTorch has in it, by its own SHA-256.
static void every_bit_of_the_published_file(void **state)
{
    char file[200], run[200], hex[65], *want = NULL;
    size_t n = 0;
    vj_str lines = { 0 };
    vj_checkpoint *c = NULL;
    vj_format(file, sizeof file, "%s/official.pt", dir);
    vj_format(run, sizeof run, "%s/from-pt", (char *)*state);
    import(file, run);
    OK(vj_checkpoint_open(&c, run, true));   // a cooldown may begin here
    assert_int_equal(vj_checkpoint_state(c)->adam_step, 2);
    OK(vj_checkpoint_hash(c, hex, &lines));
    vj_format(file, sizeof file, "%s/official.lines", dir);
    OK(vj_file_read(file, &want, &n, 1 << 20));
    assert_true(lines.length > n);
    assert_memory_equal(vj_str_text(&lines), want, n);
    assert_string_equal(vj_str_text(&lines) + n, "step 2100\nadam_step 2\ncursor 0\n");   // 7 epochs
    vj_checkpoint_destroy(&c);
    vj_str_free(&lines);
    free(want);
}

static void export_import_export(void **state)
{
    static const char *const sources[] = { "hf", "official.pt" };
    for (int i = 0; i < 2; i++) {
        char from[200], run[2][200], out[2][200], a[240], b[240];
        vj_format(from, sizeof from, "%s/%s", dir, sources[i]);
        for (int k = 0; k < 2; k++) {
            vj_model_source s;
            vj_format(run[k], sizeof run[k], "%s/run-%d%d", (char *)*state, i, k);
            vj_format(out[k], sizeof out[k], "%s/out-%d%d%s", (char *)*state, i, k, i ? ".pt" : "");
            import(k == 0 ? from : out[0], run[k]);
            OK(vj_model_source_open(&s, run[k], 0, 0, true));
            const vj_export_options options = { .network = "target_encoder" };
            OK(i ? vj_export_official(&s, out[k]) : vj_export_hf(&s, out[k], &options));
            vj_model_source_close(&s);
        }
        equal_weights(from, out[1]);
        equal_weights(run[0], run[1]);
        vj_format(a, sizeof a, i ? "%s" : "%s/model.safetensors", out[0]);
        vj_format(b, sizeof b, i ? "%s" : "%s/model.safetensors", out[1]);
        same_bytes(a, b);
    }
}

static void several_files_behind_an_index(void **state)
{
    char hf[200], out[200], path[240];
    vj_model_source s;
    vj_weights *w = NULL;
    const vj_export_options options = { .network = "encoder", .file_bytes = 20000 };
    vj_format(hf, sizeof hf, "%s/hf", dir);
    vj_format(out, sizeof out, "%s/split", (char *)*state);
    OK(vj_model_source_open(&s, hf, 0, 0, true));
    OK(vj_export_hf(&s, out, &options));
    vj_model_source_close(&s);
    vj_format(path, sizeof path, "%s/model-00002-of-00005.safetensors", out);
    assert_true(vj_path_exists(path));
    equal_weights(hf, out);
    assert_int_equal(remove(path), 0);
    assert_fails(vj_weights_open(&w, out, true), VJ_ERR_CONFIG, "model-00002-of-00005.safetensors");
    vj_format(path, sizeof path, "%s/model.safetensors.index.json", out);
    const char *const maps[] = { "{\"weight_map\": {\"a\": \"../../etc/x.safetensors\"}}", "{\"weight_map\": [1]}",
                                 "{\"weight_map\": {\"a\": 3}}",
                                 "{\"weight_map\": {\"a\": \"model-00001-of-00005.safetensors\"}}" };
    const char *const messages[] = { "is in no .safetensors file of this folder", "has no weight_map",
                                     "is in no .safetensors file", "is in none of the folder's files" };
    for (int i = 0; i < 4; i++) {
        OK(vj_file_write_atomic(path, maps[i], strlen(maps[i])));
        assert_fails(vj_weights_open(&w, out, true), VJ_ERR_CONFIG, messages[i]);
    }
}

static void what_cannot_be_written(void **state)
{
    char hf[200], out[200];
    vj_model_source s;
    const vj_export_options options = { .network = "encoder" };
    vj_format(hf, sizeof hf, "%s/hf", dir);
    vj_format(out, sizeof out, "%s/never", (char *)*state);
    OK(vj_model_source_open(&s, hf, 0, 0, true));
    s.model.rope_layout = VJ_ROPE_INTERLEAVED;
    assert_fails(vj_export_hf(&s, out, &options), VJ_ERR_CONFIG, "interleaved cannot be said");
    assert_fails(vj_export_official(&s, out), VJ_ERR_CONFIG, "interleaved cannot be said");
    s.model.rope_layout = VJ_ROPE_TILED;
    assert_fails(vj_export_hf(&s, *state, &options), VJ_ERR_USAGE, "exists already");
    assert_false(vj_path_exists(out));
    vj_model_source_close(&s);
}

// ---- files that are wrong
// --------------------------------------------------------------------------------------------- A stored zip archive of
// one entry, archive/data.pkl.
static void write_pickle(const char *path, const void *pickle, size_t n)
{
    unsigned char b[4096] = { 0 };
    const char name[] = "archive/data.pkl";
    const size_t length = sizeof name - 1;
    const uint32_t crc = vj_crc32(0, pickle, n);
    assert_true(n + 200 < sizeof b);
    memcpy(b, "PK\3\4", 4);
    memcpy(b + 14, &crc, 4);
    memcpy(b + 18, &(uint32_t){ (uint32_t)n }, 4);
    memcpy(b + 22, &(uint32_t){ (uint32_t)n }, 4);
    b[26] = (unsigned char)length;
    memcpy(b + 30, name, length);
    memcpy(b + 30 + length, pickle, n);
    unsigned char *c = b + 30 + length + n;
    memcpy(c, "PK\1\2", 4);
    memcpy(c + 16, &crc, 4);
    memcpy(c + 20, &(uint32_t){ (uint32_t)n }, 4);
    memcpy(c + 24, &(uint32_t){ (uint32_t)n }, 4);
    c[28] = (unsigned char)length;
    memcpy(c + 46, name, length);
    unsigned char *e = c + 46 + length;
    memcpy(e, "PK\5\6", 4);
    e[8] = e[10] = 1;
    memcpy(e + 12, &(uint32_t){ (uint32_t)(46 + length) }, 4);
    memcpy(e + 16, &(uint32_t){ (uint32_t)(c - b) }, 4);
    OK(vj_file_write_atomic(path, b, (size_t)(e + 22 - b)));
}

static void nothing_is_executed(void **state)
{
    char path[200];
    vj_weights *w = NULL;
    vj_format(path, sizeof path, "%s/evil.pt", (char *)*state);
#define P(text) text, sizeof text - 1
    static const struct { const char *bytes; size_t n; const char *message;
    } bad[] = {
        {P("\x80\x02"
           "cos\nsystem\n(X\x04\x00\x00\x00"
           "touchtR."),
         "it asks for 'os.system'"},
        {P("\x80\x02"
           "cbuiltins\neval\n(X\x01\x00\x00\x00"
           "1tR."),
         "it asks for 'builtins.eval'"},
        {P("\x80\x02"
           "ctorch.hub\nload\n)R."),
         "it asks for 'torch.hub.load'"},
        {P("\x80\x04\x8c\x05"
           "posix\x8c\x06"
           "system\x93."),
         "it asks for 'posix.system'"},
        {P("\x80\x02"
           "(X\x02\x00\x00\x00"
           "idios\nsystem\n."),
         "operation 0x69"}, // INST
        {P("\x80\x02"
           "(cos\nsystem\no."),
         "it asks for 'os.system'"}, // OBJ
        {P("\x80\x02"
           "ccollections\nOrderedDict\n)\x81."),
         "operation 0x81"}, // NEWOBJ
        {P("\x80\x02"
           "\x82\x01."),
         "operation 0x82"}, // EXT1
        {P("\x80\x02"
           "ctorch\nFloatStorage\n)R."),
         "a call of torch.FloatStorage"},
        {P("\x80\x02"
           "}X\xff\xff\xff\x7f"
           "a."),
         "a text of 2147483647 bytes"},
        {P("\x80\x02"
           "h\x07."),
         "is not remembered"},
        {P("\x80\x02"
           "r\xff\xff\xff\xff."),
         "nothing to remember"},
        {P("\x80\x02"
           "}r\xff\xff\xff\xff."),
         "a memo of more than"},
        {P("\x80\x02"
           "u."),
         "a mark is missing"},
        {P("\x80\x02"
           "}(K\x01u."),
         "a key without a value"},
        {P("\x80\x02"
           "K\x01"),
         "ends in the middle"},
        {P(""), "0 bytes"},
        {P("\x80\x02"
           "]q\x00h\x00"
           "a."),
         "nested more than"}, // a list that holds itself
        {P("\x80\x02"
           "}."),
         "no encoder"},
    };
#undef P
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_pickle(path, bad[i].bytes, bad[i].n);
        assert_fails(vj_weights_open(&w, path, false), VJ_ERR_CONFIG, bad[i].message);
        assert_null(w);
    }
}

// Twelve lists, each naming the next one 64 times: 64^12 ways to the end.
static void a_small_file_is_no_endless_tree(void **state)
{
    char path[200];
    unsigned char p[2048] = "\x80\x02]q";
    size_t n = 5;   // memo 0: an empty list
    vj_weights *w = NULL;
    for (int level = 1; level <= 12; level++) {
        p[n++] = ']';
        p[n++] = '(';
        for (int i = 0; i < 64; i++, n += 2) memcpy(p + n, (unsigned char[]){ 'h', (unsigned char)(level - 1) }, 2);
        p[n++] = 'e';
        p[n++] = 'q';
        p[n++] = (unsigned char)level;
    }
    p[n++] = '.';
    vj_format(path, sizeof path, "%s/tree.pt", (char *)*state);
    write_pickle(path, p, n);
    assert_fails(vj_weights_open(&w, path, false), VJ_ERR_CONFIG, "values in its dictionaries and lists");
}

// Every byte of the published file changed once, one after the other: an error or the same tensors, never a crash.
static void damaged_files(void **state)
{
    char file[200], path[200], *bytes = NULL;
    size_t n = 0;
    int64_t refused = 0, tries = 0;
    vj_format(file, sizeof file, "%s/official.pt", dir);
    vj_format(path, sizeof path, "%s/damaged.pt", (char *)*state);
    OK(vj_file_read(file, &bytes, &n, 1 << 24));
    for (size_t at = 0; at < n; at += at < n - 30000 && at > 200 ? 4001 : 61) {   // the directory is at the end
        vj_weights *w = NULL;
        bytes[at] = (char)(bytes[at] ^ 0x5a);
        OK(vj_file_write_atomic(path, bytes, n));
        bytes[at] = (char)(bytes[at] ^ 0x5a);
        vj_status status = vj_weights_open(&w, path, true);
        static float values[1 << 14];
        for (int64_t i = 0; status == VJ_OK && i < vj_weights_count(w); i++) {
            const vj_weight *t = vj_weights_at(w, i);
            if (t->count <= 1 << 14) status = vj_weights_read(w, t->name, VJ_STATE_PARAM, values, t->count);
        }
        tries++;
        refused += status != VJ_OK;
        if (status != VJ_OK) vj_error_clear();
        vj_weights_close(&w);
    }
    for (size_t cut = 0; cut < n; cut += cut < 200 ? 7 : 9973) {
        vj_weights *w = NULL;
        OK(vj_file_write_atomic(path, bytes, cut));
        assert_int_equal(vj_weights_open(&w, path, true), VJ_ERR_CONFIG);
    }
    print_message("# %lld of %lld damaged files refused\n", (long long)refused, (long long)tries);
    assert_true(refused > tries / 4);
    free(bytes);
}

// Adam's correction for the first steps would be applied to moments of many steps.
static void moments_without_a_step(void **state)
{
    char path[200], *bytes = NULL;
    size_t n = 0, changed = 0;
    vj_zip z;
    vj_weights *w = NULL;
    vj_format(path, sizeof path, "%s/official.pt", dir);
    OK(vj_file_read(path, &bytes, &n, 1 << 24));
    OK(vj_zip_open(&z, path));
    const vj_zip_entry *e = vj_zip_find(&z, "data.pkl");
    assert_non_null(e);
    char *pickle = bytes + e->offset;
    for (int64_t i = 0; i + 9 <= e->bytes; i++) {
        if (memcmp(pickle + i, "X\4\0\0\0step", 9) != 0) continue;
        pickle[i + 7] = 'o';
        changed++;
    }
    const uint32_t crc = vj_crc32(0, pickle, (size_t)e->bytes);
    for (size_t i = (size_t)(e->offset + e->bytes); i + 4 <= n; i++) {
        if (memcmp(bytes + i, &e->crc, 4) == 0) memcpy(bytes + i, &crc, 4);
    }
    vj_zip_close(&z);
    assert_true(changed > 0);
    vj_format(path, sizeof path, "%s/stepless.pt", (char *)*state);
    OK(vj_file_write_atomic(path, bytes, n));
    free(bytes);
    assert_fails(vj_weights_open(&w, path, true), VJ_ERR_CONFIG, "does not say after how many steps");
}

static void missing_and_mis_shaped(void **state)
{
    char path[200];
    vj_st_writer *w = NULL;
    vj_weights *weights = NULL;
    static const float zeros[24 * 3 * 2 * 4 * 4];
    vj_format(path, sizeof path, "%s/part.safetensors", (char *)*state);
    const struct { const char *name; int rank; int64_t shape[5]; const char *message;
    } one[] = {
        {"encoder.layer.0.attention.query.weight",
         2,
         {24, 24},
         "of query, key and value for encoder.blocks.0.attn.qkv.weight only 1"},
        { "encoder.layer.0.attention.key.weight", 2, {24, 24}, "only 1 are there" },
        { "predictor.embeddings.mask_tokens", 2, {3, 24}, "no stack of mask tokens" },
        { "lm_head.weight", 2, {3, 24}, "'lm_head.weight' is none of V-JEPA 2's" },
        { "predictor.norm.weight", 1, {24}, "holds no encoder" },
    };
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++) {
        int64_t n = 1;
        for (int k = 0; k < one[i].rank; k++) n *= one[i].shape[k];
        OK(vj_st_writer_create(&w, path));
        OK(vj_st_writer_declare(w, one[i].name, VJ_F32, one[i].rank, one[i].shape));
        OK(vj_st_writer_data(w, zeros, (size_t)n * sizeof *zeros));
        OK(vj_st_writer_finish(&w));
        assert_fails(vj_weights_open(&weights, path, true), VJ_ERR_CONFIG, one[i].message);
    }
    vj_model_source s;
    vj_format(path, sizeof path, "%s/official.pt", dir);
    assert_fails(vj_model_source_open(&s, path, 0, 0, true), VJ_ERR_CONFIG, "give --heads");
    OK(vj_model_source_open(&s, path, 2, 2, true));
    s.mask_tokens = 4;
    char checkpoint[640], run[200];
    vj_format(run, sizeof run, "%s/no-run", (char *)*state);
    assert_fails(vj_import(&s, run, checkpoint), VJ_ERR_CONFIG,
                 "predictor.mask_tokens.3 [1,1,24] is missing (the file has");
    s.mask_tokens = 3;
    s.model.hidden = 64;
    assert_fails(vj_import(&s, run, checkpoint), VJ_ERR_CONFIG, "mlp.fc1.weight is [48,24], this model's is [64,24]");
    assert_false(vj_path_exists(run));
    vj_model_source_close(&s);
}

int main(void)
{
#define T(f) cmocka_unit_test(f)
    const struct CMUnitTest tests[] = {
        T(as_transformers),      T(every_bit_of_the_published_file), T(export_import_export),
        T(several_files_behind_an_index), T(what_cannot_be_written), T(nothing_is_executed),
        T(a_small_file_is_no_endless_tree), T(damaged_files),         T(missing_and_mis_shaped),
        T(moments_without_a_step),
    };
    return cmocka_run_group_tests_name("jobs/formats", tests, scratch_setup, scratch_teardown);
}
