// Checkpoints that are not as they were written: flipped, cut, lying, another model's, saved once more.

#include "tests/checkpoints/state_fixture.h"

static void flip(const char *path, int64_t at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, (long)at, SEEK_SET);
    const int byte = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(byte ^ 0x20, f);
    fclose(f);
}

static void the_same_state_again(void **state)
{
    (void)state;
    saved(5);
    saved(5);   // a resumed run comes by here once more
    model *m = make_model("cpu");
    fill(m, 5);
    vj_run_state s = state_of(5);
    s.cursor++;
    assert_int_equal(vj_checkpoint_save(run_dir, m->parts, PARTS, &s, m->st, 10, 0), VJ_ERR_CHECKPOINT);
    assert_non_null(strstr(vj_error_text(), "another state"));
    free_model(m);
    newest_is(5);
    // Damaged payload under a true manifest: never taken for the saved state.
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    char path[640], hex[65];
    snprintf(path, sizeof path, "%s/%s", c->path, c->shards[0].name);
    flip(path, c->shards[0].intervals[4].offset);
    assert_int_equal(vj_checkpoint_hash(c, hex, NULL), VJ_ERR_CHECKPOINT);
    assert_non_null(strstr(vj_error_text(), "encoder/exp_avg of unit unit.1"));
    vj_checkpoint_destroy(&c);
    saved(4);
    assert_int_equal(vj_checkpoint_verify(run_dir), VJ_ERR_MISMATCH);   // of the newest, though 4 is good
    saved(5);
    newest_is(5);
}

static void a_flipped_byte_is_seen(void **state)
{
    (void)state;
    saved(5);
    const char *const files[] = { "shard-00000-of-00001.h5", "manifest.json" };
    uint32_t noise = 99;
    for (int k = 0; k < 200; k++) {
        char path[256];
        snprintf(path, sizeof path, "%s/ckpt/step-00000005/%s", run_dir, files[k % 2]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        noise = noise * 1664525u + 1013904223u;
        const int64_t at = (int64_t)(noise >> 8) % st.st_size;
        flip(path, at);
        char ref[128];
        snprintf(ref, sizeof ref, "%s@5", run_dir);
        const vj_status status = vj_checkpoint_verify(ref);
        if (status != VJ_ERR_MISMATCH) {
            print_error("byte %lld of %s: status %d\n", (long long)at, files[k % 2], (int)status);
            fail();
        }
        flip(path, at);
    }
    newest_is(5);
}

static void a_cut_file_is_seen_and_the_one_before_is_used(void **state)
{
    (void)state;
    saved(4);
    saved(5);
    const char *const files[] = { "shard-00000-of-00001.h5", "manifest.json" };
    for (int k = 0; k < 2; k++) {
        char path[256], ref[128], *data = NULL;
        size_t bytes = 0;
        snprintf(path, sizeof path, "%s/ckpt/step-00000005/%s", run_dir, files[k]);
        snprintf(ref, sizeof ref, "%s@5", run_dir);
        OK(vj_file_read(path, &data, &bytes, 0));
        for (int part = 0; part < 16; part++) {
            assert_int_equal(truncate(path, (off_t)(bytes * (size_t)part / 16)), 0);
            assert_int_equal(vj_checkpoint_verify(ref), VJ_ERR_MISMATCH);
            if (k == 1) newest_is(4);
        }
        assert_int_equal(unlink(path), 0);   // nothing to compare with is another answer than wrong bytes
        assert_int_equal(vj_checkpoint_verify(ref), VJ_ERR_CHECKPOINT);
        OK(vj_file_write_atomic(path, data, bytes));
        free(data);
        newest_is(5);
    }
}

static void put(const char *file, const void *data, size_t bytes)
{
    unlink(file);   // a new file each time: file systems sync one that is cut and written again
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

// A manifest whose checksum is right and whose content is not.
static vj_status open_rewritten(const char *text, size_t bytes)
{
    char path[128], ref[128], sum[17];
    char *copy = malloc(bytes);
    memcpy(copy, text, bytes);
    const size_t body = strlen("{\"xxh64\":\"") + 16 + strlen("\",\"body\":");
    snprintf(sum, sizeof sum, "%016llx", (unsigned long long)vj_xxh64(copy + body, bytes - body - 2));
    memcpy(copy + strlen("{\"xxh64\":\""), sum, 16);
    snprintf(path, sizeof path, "%s/ckpt/step-00000005/manifest.json", run_dir);
    snprintf(ref, sizeof ref, "%s@5", run_dir);
    put(path, copy, bytes);
    free(copy);
    vj_error_clear();
    return vj_checkpoint_verify(ref);
}

static void manifests_that_lie(void **state)
{
    (void)state;
    static const struct { const char *from, *to; } lies[] = {
        { "\"begin\":0,\"end\":128", "\"begin\":0,\"end\":64" },
        { "\"begin\":0,\"end\":128", "\"begin\":-128,\"end\":0" },
        { "\"begin\":0,\"end\":128", "\"begin\":0,\"end\":0" },
        { "\"begin\":0,\"end\":128", "\"begin\":0,\"end\":9223372036854775807" },
        { "\"end\":128,\"offset\":", "\"end\":128,\"offset\":-" },
        { "\"kind\":\"exp_avg\"", "\"kind\":\"param\"" },
        { "\"kind\":\"param\"", "\"kind\":\"parma\"" },
        { "\"unit\":1", "\"unit\":7" },
        { "\"unit\":1", "\"unit\":-1" },
        { "\"unit\":1", "\"unit\":0" },
        { "\"dtype\":\"float32\"", "\"dtype\":\"float64\"" },
        { "\"dtype\":\"float32\"", "\"dtype\":\"float16\"" },
        { "\"file\":\"shard", "\"file\":\"../shard" },
        { "\"file\":\"shard", "\"file\":\"other" },
        { "\"bytes\":", "\"bytes\":1" },
        { "\"shape\":[5,3]", "\"shape\":[4611686018427387904,4611686018427387904]" },
        { "\"shape\":[5,3]", "\"shape\":[0,3]" },
        { "\"shape\":[5,3]", "\"shape\":[5,3,1,1,1,1]" },
        { "\"shape\":[5,3]", "\"shape\":[]" },
        { "\"quantum\":2", "\"quantum\":0" },
        { "\"quantum\":2", "\"quantum\":9223372036854775807" },
        { "\"network\":\"predictor\"", "\"network\":\"dictator\"" },
        { "\"format\":1", "\"format\":2" },
        { "\"step\":5", "\"step\":\"5\"" },
        { "\"shards\":[", "\"shards\":[],\"x\":[" },
        { "\"run_id\":\"", "\"run_id\":\"0123456789012345678901234567890123456789" },
    };
    saved(5);
    char path[128], *text = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/ckpt/step-00000005/manifest.json", run_dir);
    OK(vj_file_read(path, &text, &bytes, 0));
    assert_int_equal(open_rewritten(text, bytes), VJ_OK);   // the rewriting itself is right
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        const char *at = strstr(text, lies[i].from);
        if (!at) fail_msg("%s is not in the manifest", lies[i].from);
        const size_t head = (size_t)(at - text), tail = bytes - head - strlen(lies[i].from);
        char *lie = malloc(bytes + strlen(lies[i].to) + 1);
        memcpy(lie, text, head);
        memcpy(lie + head, lies[i].to, strlen(lies[i].to));
        memcpy(lie + head + strlen(lies[i].to), text + head + strlen(lies[i].from), tail);
        const vj_status status = open_rewritten(lie, head + strlen(lies[i].to) + tail);
        const bool refused = status == VJ_ERR_MISMATCH || status == VJ_ERR_CHECKPOINT;   // the latter: no such file
        if (!refused || !vj_error_text()[0]) {
            print_error("%s for %s: status %d\n", lies[i].to, lies[i].from, (int)status);
            fail();
        }
        free(lie);
    }
    // Anything at all behind a right checksum: an answer, never a crash.
    uint32_t noise = 5;
    char *copy = malloc(bytes);
    for (int k = 0; k < 400; k++) {
        memcpy(copy, text, bytes);
        for (int j = 0; j < 1 + k % 4; j++) {
            noise = noise * 1664525u + 1013904223u;
            copy[40 + (noise >> 4) % (bytes - 42)] = "0123456789-\"[]{},:x"[(noise >> 24) % 19];
        }
        if (open_rewritten(copy, bytes) != VJ_OK) assert_true(vj_error_text()[0] != '\0');
    }
    free(copy);
    free(text);
}

static void another_model_is_refused_by_name(void **state)
{
    (void)state;
    saved(5);
    model *m = make_model("cpu");
    strcpy(m->encoder->params[3].name, "unit.1.other");
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    assert_int_equal(vj_checkpoint_load(c, m->parts, PARTS, m->st), VJ_ERR_CONFIG);
    assert_non_null(strstr(vj_error_text(), "unit.1.other"));
    vj_checkpoint_destroy(&c);
    free_model(m);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch, scratch_away)
    const struct CMUnitTest tests[] = {
        T(the_same_state_again), T(a_flipped_byte_is_seen), T(a_cut_file_is_seen_and_the_one_before_is_used),
        T(manifests_that_lie), T(another_model_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("checkpoints/damage", tests, NULL, NULL);
}
