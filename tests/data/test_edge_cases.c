// label: slow
// tests/data/test_edge_cases.c

#include <string.h>

#include "data/decode.h"
#include "data/pack.h"
#include "data/shard.h"
#include "tests/support/scratch.h"

// Every file of a collection of odd ones either packs, and then decodes everywhere, or has a reason.
static void edge_cases_pack_or_have_a_reason(void **state)
{
    const char *dir = "../shared/data/edge_cases";
    if (!vj_path_is_dir(dir)) {
        fprintf(stderr, "SKIPPED: %s is missing: odd video files are not tried\n", dir);
        skip();
    }
    const struct { double window; int recode; const char *out; } modes[2] = { { 0, 0, "edge-copy" }, { 1, 64, "edge-recode" } };
    for (int m = 0; m < 2; m++) {
        char out[4096];
        vj_path_join(out, sizeof out, *state, modes[m].out);
        const vj_pack_source source = { .name = "edge", .path = dir, .weight = -1 };
        vj_pack_request r;
        vj_pack_report report;
        vj_catalog *c;
        vj_shards *s;
        vj_decoder *d;
        vj_bytes bytes = { 0 };
        vj_pack_defaults(&r);
        r.out = out;
        r.sources = &source;
        r.n_sources = 1;
        r.window = modes[m].window;
        r.recode = modes[m].recode;
        r.threads = 2;
        assert_ok(vj_pack(&r, &report));
        assert_true(report.files >= 70 && report.files - report.bad_files >= 60 && report.bad_files >= 10);
        assert_ok(vj_catalog_read(&c, out));
        assert_ok(vj_shards_open(&s, c, 0));
        assert_ok(vj_decoder_create(&d));
        for (int64_t row = 0; row < c->sources[0].train.rows; row++) {
            vj_sample_info info;
            vj_frames f;
            assert_ok(vj_shards_read(s, 0, false, row, &info, &bytes));
            const int64_t n = info.n_frames, index[3] = { 0, n / 2, n - 1 };
            const vj_status status = vj_decode_frames(d, &info, bytes.data, bytes.bytes, index, 3, &f);
            char file[256];
            assert_ok(vj_shards_file(s, 0, false, row, file, sizeof file));
            if (status != VJ_OK) fail_msg("%s packs but does not decode: %s", file, vj_error_text());
            assert_true(f.width == info.width && f.height == info.height && f.repeated == 0);
        }
        vj_bytes_free(&bytes);
        vj_decoder_destroy(&d);
        vj_shards_close(&s);
        vj_catalog_destroy(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(edge_cases_pack_or_have_a_reason) };
    return cmocka_run_group_tests_name("data/edge_cases", tests, scratch_setup, scratch_teardown);
}
