// `vjepa encode` against transformers on the same frames (tests/golden/make_encode.py): every token of every clip, crop and
// layer, through both containers; and what the pooled file and the picture are made of.

#include <math.h>
#include <string.h>

#include "checkpoints/safetensors.h"
#include "evals/encode.h"
#include "runtime/base/h5.h"
#include "tests/support/scratch.h"

enum { C = 24 };
static const char *const model = "tests/golden/formats/hf";
static const char *const wide = "tests/golden/encode/wide.mkv", *const tall = "tests/golden/encode/tall.mkv";

typedef struct wanted {
    const char *name, *video;
    int64_t clips, frames, crop;   // as asked for
    double fps;
    int crops, n_layers, layers[2];
    int64_t shape[5];
    double start[3];
} wanted;

static const wanted cases[] = {
    { "whole", wide, 0, 0, 0, 0, 1, 2, { 0, -1 }, { 3, 1, 2, 32, C }, { 0, 1, 2 } },    // half of the last clip is behind the end
    { "views", tall, 2, 0, 0, 0, 3, 0, { 0 }, { 2, 3, 1, 32, C }, { 0, 1.5 } },         // portrait, three squares
    { "large", wide, 1, 6, 24, 8, 1, 1, { 1 }, { 1, 1, 1, 108, C }, { 0.875 } },        // not the size it was trained with
};

static int64_t product(const int64_t *shape, int rank)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    return n;
}

static void encode(const wanted *w, const char *out, bool pool, const char *png)
{
    const vj_encode_request q = { .checkpoint = model, .network = "target_encoder", .videos = &w->video, .n_videos = 1, .out = out,
                                  .png = png, .pool = pool, .n_layers = w->n_layers, .layers = { w->layers[0], w->layers[1] },
                                  .clips = w->clips, .crops = w->crops, .frames = w->frames, .crop = w->crop, .fps = w->fps,
                                  .threads = 2 };
    vj_encode_result r;
    OK(vj_encode(&q, &r));
    assert_int_equal(r.videos[0].clips, w->shape[0]);
    free(r.videos);
}

static const vj_st_entry *entry(const vj_safetensors *f, const char *video, const char *what)
{
    char name[200];
    vj_format(name, sizeof name, "%s/%s", video, what);
    const vj_st_entry *e = vj_safetensors_find(f, name);
    assert_non_null(e);
    return e;
}

// The largest difference of one number, over the root mean square of all.
static double largest(const float *want, const float *got, int64_t n)
{
    double worst = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)want[i] - got[i]));
        squares += (double)want[i] * want[i];
    }
    return worst / sqrt(squares / (double)n);
}

static float *numbers(const vj_safetensors *f, const char *name, int64_t n)
{
    float *v = malloc((size_t)n * sizeof *v);
    OK(vj_safetensors_copy(f, name, v, VJ_F32, n));
    return v;
}

static void same_as_transformers(void **state)
{
    vj_safetensors *want = NULL;
    OK(vj_safetensors_open(&want, "tests/golden/encode/expect.safetensors"));
    for (int i = 0; i < 3; i++) {
        const wanted *w = &cases[i];
        const int64_t n = product(w->shape, 5);
        char out[200], name[200];
        vj_safetensors *got = NULL;
        vj_format(out, sizeof out, "%s/%s.safetensors", (char *)*state, w->name);
        encode(w, out, false, NULL);
        OK(vj_safetensors_open(&got, out));
        const vj_st_entry *e = entry(got, w->video, "features");
        assert_int_equal(e->rank, 5);
        assert_memory_equal(e->shape, w->shape, sizeof w->shape);
        vj_format(name, sizeof name, "%s/features", w->video);
        float *expected = numbers(want, w->name, n), *features = numbers(got, name, n);
        const double worst = largest(expected, features, n);
        print_message("# %s: largest relative difference %.3g\n", w->name, worst);
        assert_true(worst < 1e-4);
        double times[6];
        vj_format(name, sizeof name, "%s/times", w->video);
        OK(vj_safetensors_copy(got, name, times, VJ_F64, 2 * w->shape[0]));
        for (int k = 0; k < w->shape[0]; k++) assert_true(times[2 * k] == w->start[k]);
        free(expected);
        free(features);
        vj_safetensors_close(&got);
    }
    vj_safetensors_close(&want);
}

static void hdf5_holds_the_same(void **state)
{
    const wanted *w = &cases[1];
    const int64_t n = product(w->shape, 5);
    char out[200], name[200], path[200];
    vj_safetensors *want = NULL;
    vj_h5 *got = NULL;
    int64_t clips = 0, crops = 0, tokens = 0;
    vj_format(out, sizeof out, "%s/views.h5", (char *)*state);
    encode(w, out, false, NULL);
    vj_format(name, sizeof name, "%s/views.safetensors", (char *)*state);   // of the test before
    OK(vj_safetensors_open(&want, name));
    OK(vj_h5_open(&got, out, NULL));
    OK(vj_h5_get_text(got, "/videos/00000", "path", path, sizeof path));
    OK(vj_h5_get_i64(got, "/videos/00000", "clips", &clips));
    OK(vj_h5_get_i64(got, "/videos/00000", "crops", &crops));
    OK(vj_h5_get_i64(got, "/videos/00000", "tokens", &tokens));
    assert_string_equal(path, w->video);
    assert_true(clips == 2 && crops == 3 && tokens == 32);
    float *features = malloc((size_t)n * sizeof *features);
    double times[4];
    OK(vj_h5_read(got, "/videos/00000/features", VJ_H5_F32, n, features));
    OK(vj_h5_read(got, "/videos/00000/times", VJ_H5_F64, 4, times));
    assert_memory_equal(features, entry(want, w->video, "features")->data, (size_t)n * sizeof *features);
    assert_memory_equal(times, entry(want, w->video, "times")->data, sizeof times);
    free(features);
    OK(vj_h5_close(&got));
    vj_safetensors_close(&want);
}

static void pooled_is_the_mean_over_tokens(void **state)
{
    const wanted *w = &cases[0];
    char out[200], whole[200], name[200], png[200];
    vj_safetensors *all = NULL, *mean = NULL;
    vj_format(out, sizeof out, "%s/pooled.safetensors", (char *)*state);
    vj_format(png, sizeof png, "%s/look.png", (char *)*state);
    vj_format(whole, sizeof whole, "%s/whole.safetensors", (char *)*state);
    vj_format(name, sizeof name, "%s/features", w->video);
    encode(w, out, true, png);
    OK(vj_safetensors_open(&all, whole));
    OK(vj_safetensors_open(&mean, out));
    const vj_st_entry *e = entry(mean, w->video, "features");
    assert_int_equal(e->rank, 4);
    assert_true(e->shape[0] == 3 && e->shape[1] == 1 && e->shape[2] == 2 && e->shape[3] == C);
    float *x = numbers(all, name, product(w->shape, 5)), *m = numbers(mean, name, 6 * C);
    for (int i = 0; i < 6 * C; i++) {
        double sum = 0;
        for (int t = 0; t < 32; t++) sum += x[(i / C * 32 + t) * C + i % C];
        assert_true(fabs(sum / 32 - m[i]) < 1e-6);
    }
    free(x);
    free(m);
    vj_safetensors_close(&all);
    vj_safetensors_close(&mean);
    char *bytes = NULL;
    size_t n = 0;
    OK(vj_file_read(png, &bytes, &n, 1 << 20));
    assert_true(n > 100 && memcmp(bytes, "\x89PNG", 4) == 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_transformers),
        cmocka_unit_test(hdf5_holds_the_same),
        cmocka_unit_test(pooled_is_the_mean_over_tokens),
    };
    return cmocka_run_group_tests_name("evals/encode_hf", tests, scratch_setup, scratch_teardown);
}
