// The loader's work on one thread (spec/data.md 5.4): bytes of a shard to a normalised clip, by the calls a loader's thread
// makes. The list of what was made lets another program make the same clips from the original files.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "data/clip.h"
#include "data/clip_sampler.h"
#include "data/decode.h"
#include "data/perm.h"
#include "data/shard.h"
#include "jobs/bench/bench.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/rng.h"
#include "runtime/base/str.h"

enum { SEED = 239, DUMPED = 16, MOST_FRAMES = 1024 };

typedef struct maker {
    const vj_bench_clips *work;
    vj_data_config config;
    vj_catalog *catalog;
    vj_shards *shards;
    vj_decoder *decoder;
    vj_resampler *resampler;
    vj_bytes bytes;
    vj_clip table;                  // for times of frames
    float *pixels;                  // (3, frames, side, side)
    int64_t index[MOST_FRAMES];
    int64_t rows;                   // training rows of all sources
    // of the clip made last
    vj_sample_info info;
    vj_crop crop;
    int source;
    int64_t row, used, decoded;
} maker;

static void maker_close(maker *m)
{
    vj_host_free(m->pixels);
    vj_clip_free(&m->table);
    vj_bytes_free(&m->bytes);
    vj_resampler_destroy(&m->resampler);
    vj_decoder_destroy(&m->decoder);
    vj_shards_close(&m->shards);
    vj_catalog_destroy(&m->catalog);
}

static vj_status maker_open(maker *m, const vj_bench_clips *w)
{
    *m = (maker){ .work = w };
    m->config = (vj_data_config){ .fps = w->fps, .crop = w->side, .crop_scale_low = 0.3, .crop_scale_high = 1, .crop_ratio_low = 0.75,
                                  .crop_ratio_high = 1.35, .flip = true };
    VJ_CHECK(w->frames >= 1 && w->frames <= MOST_FRAMES && w->side >= 1 && w->side <= 4096 && w->samples >= 1, VJ_ERR_USAGE,
             "clips of 1 to %d frames and 1 to 4096 pixels are possible, and at least 1 sample", MOST_FRAMES);
    VJ_TRY(vj_catalog_read(&m->catalog, w->shards));
    for (int s = 0; s < m->catalog->n_sources; s++) m->rows += m->catalog->sources[s].train.rows;
    VJ_CHECK(m->rows > 0, VJ_ERR_USAGE, "%s holds no sample for training", w->shards);
    VJ_TRY(vj_shards_open(&m->shards, m->catalog, 0));
    VJ_TRY(vj_decoder_create(&m->decoder));
    VJ_TRY(vj_resampler_create(&m->resampler, w->side));
    return vj_host_alloc(&m->pixels, (size_t)(3 * w->frames * w->side * w->side) * sizeof *m->pixels, "a clip");
}

// Scattered: each frame anywhere in the window, in ascending order.
static void choose_frames(maker *m, uint64_t g)
{
    const int64_t n = m->work->frames;
    if (!m->work->scattered) {
        (void)vj_clip_indices(m->info.n_frames, m->info.fps_num, m->info.fps_den, n, m->work->fps, vj_rng_u64(SEED, g, VJ_TAG_TEMPORAL, 0, 0),
                              m->index);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = (int64_t)vj_rng_below(SEED, g, VJ_TAG_TEMPORAL, (uint32_t)i, 1, (uint64_t)m->info.n_frames);
        int64_t at = i;
        for (; at > 0 && m->index[at - 1] > k; at--) m->index[at] = m->index[at - 1];
        m->index[at] = k;
    }
}

static vj_status make(maker *m, uint64_t g)
{
    const vj_bench_clips *w = m->work;
    int64_t row = (int64_t)vj_perm(SEED, g % (uint64_t)m->rows, (uint64_t)m->rows, 16, (uint32_t)(g / (uint64_t)m->rows));
    int source = 0;
    while (row >= m->catalog->sources[source].train.rows) row -= m->catalog->sources[source++].train.rows;
    m->source = source;
    m->row = row;
    vj_frames f;
    VJ_TRY(vj_shards_read(m->shards, source, false, row, &m->info, &m->bytes));
    if (m->info.media == VJ_MEDIA_CLIP) {
        choose_frames(m, g);
        VJ_TRY(vj_decode_frames(m->decoder, &m->info, m->bytes.data, m->bytes.bytes, m->index, w->frames, &f));
    } else {
        VJ_TRY(vj_decode_image(m->decoder, &m->info, m->bytes.data, m->bytes.bytes, &f));
    }
    vj_crop_draw(&m->crop, &m->config, SEED, g, 0, f.height, f.width);
    vj_resample(m->resampler, f.rgb, f.n, f.height, f.width, &m->crop, m->pixels, f.n == 1 ? 1 : w->frames);
    m->used += f.n;
    m->decoded += f.decoded;
    return VJ_OK;
}

// {"file", "image", "start", "times", "frames" (numbers in the window), "top", "left", "height", "width", "flip", "side"}, in seconds and pixels.
static vj_status put_line(maker *m, vj_str *out)
{
    const bool image = m->info.media != VJ_MEDIA_CLIP;
    char file[1024], path[5200];
    VJ_TRY(vj_shards_file(m->shards, m->source, false, m->row, file, sizeof file));
    vj_path_join(path, sizeof path, m->work->originals, file);
    if (!image) VJ_TRY(vj_clip_parse(&m->table, m->bytes.data, m->bytes.bytes));
    vj_json_writer w = { 0 };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "file", path);
    vj_json_put_bool(&w, "image", image);
    vj_json_put_f64(&w, "start", (double)m->info.t0_us * 1e-6);
    vj_json_begin_array(&w, "times");
    for (int64_t i = 0; i < (image ? 0 : m->work->frames); i++) vj_json_put_f64(&w, NULL, (double)m->table.frames[m->index[i]].time_us * 1e-6);
    vj_json_end_array(&w);
    vj_json_begin_array(&w, "frames");
    for (int64_t i = 0; i < (image ? 0 : m->work->frames); i++) vj_json_put_i64(&w, NULL, m->index[i]);
    vj_json_end_array(&w);
    vj_json_put_i64(&w, "top", m->crop.top);
    vj_json_put_i64(&w, "left", m->crop.left);
    vj_json_put_i64(&w, "height", m->crop.height);
    vj_json_put_i64(&w, "width", m->crop.width);
    vj_json_put_bool(&w, "flip", m->crop.flip);
    vj_json_put_i64(&w, "side", m->work->side);
    vj_json_end_object(&w);
    vj_str_add(out, vj_str_text(&w.out));
    vj_str_add(out, "\n");
    vj_json_writer_free(&w);
    return VJ_OK;
}

static vj_status run_clips(const void *context, void *result)
{
    const vj_bench_clips *w = *(const vj_bench_clips *const *)context;
    vj_bench_clips_result *out = result;
    *out = (vj_bench_clips_result){ 0 };
    maker m;   // not closed after a failure: the process ends
    VJ_TRY(maker_open(&m, w));
    for (int64_t g = 0; g < w->samples; g++) VJ_TRY(make(&m, (uint64_t)g));   // files, tables and memory are warm
    m.used = m.decoded = 0;
    const double began = vj_now(), cpu = vj_thread_seconds();
    for (int64_t g = 0; g < w->samples; g++) VJ_TRY(make(&m, (uint64_t)g));
    out->seconds = vj_now() - began;
    out->cpu_seconds = vj_thread_seconds() - cpu;
    out->used = m.used;
    out->decoded = m.decoded;
    out->peak_rss = vj_peak_rss_bytes();
    maker_close(&m);
    return VJ_OK;
}

vj_status vj_bench_clips_run(const vj_bench_clips *w, vj_bench_clips_result *out)
{
    return vj_bench_apart(run_clips, &w, out, sizeof *out);
}

static vj_status write_list(maker *m, FILE *dump)
{
    const vj_bench_clips *w = m->work;
    vj_str text = { 0 };
    vj_status status = VJ_OK;
    for (int64_t g = 0; g < w->samples && status == VJ_OK; g++) {
        status = make(m, (uint64_t)g);
        if (status == VJ_OK) status = put_line(m, &text);
        const size_t n = (size_t)(3 * (m->info.media == VJ_MEDIA_CLIP ? w->frames : 1) * w->side * w->side);
        if (status == VJ_OK && dump && g < DUMPED && fwrite(m->pixels, sizeof *m->pixels, n, dump) != n)
            status = vj_fail(VJ_ERR_IO, "%s: cannot be written", w->dump);
    }
    if (status == VJ_OK) status = vj_file_write_atomic(w->list, vj_str_text(&text), text.length);
    vj_str_free(&text);
    return status;
}

vj_status vj_bench_clips_list(const vj_bench_clips *w)
{
    FILE *dump = w->dump ? fopen(w->dump, "we") : NULL;
    VJ_CHECK(!w->dump || dump, VJ_ERR_IO, "%s: cannot be written", w->dump);
    maker m;
    vj_status status = maker_open(&m, w);
    if (status == VJ_OK) status = write_list(&m, dump);
    maker_close(&m);
    if (dump && fclose(dump) != 0 && status == VJ_OK) status = vj_fail(VJ_ERR_IO, "%s: cannot be written", w->dump);
    return status;
}
