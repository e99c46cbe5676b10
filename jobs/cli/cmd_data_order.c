// jobs/cli/cmd_data_order.c
//
// vjepa data order SHARDS|CONFIG --from A --to B: what the loader delivers as samples A..B-1 when every sample is good:
// the same pure functions, in the same order, with the same draws (data/loader_work.c).

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configs/run_config.h"
#include "data/augment.h"
#include "data/clip_sampler.h"
#include "data/order.h"
#include "data/shard.h"
#include "jobs/cli/cmd_data.h"
#include "jobs/cli/commands.h"
#include "runtime/base/file.h"
#include "runtime/base/rng.h"

enum { MOST_SAMPLES = 10000000 };

// A folder of shards gets the default configuration; everything else is a configuration.
vj_status vj_order_root_load(vj_order_root *root, const char *word, const vj_args *args)
{
    vj_config *config = NULL;
    if (!vj_path_is_dir(word)) {
        vj_run_config *run = calloc(1, sizeof *run);
        VJ_CHECK(run != NULL, VJ_ERR_NOMEM, "no memory for a configuration");
        const vj_status status = vj_run_config_load(run, &config, word, args->overrides, args->n_overrides);
        if (status == VJ_OK) *root = (vj_order_root){ run->train, run->data, run->mask };
        vj_config_destroy(&config);
        free(run);
        VJ_TRY(status);
        VJ_CHECK(root->data.dir[0] != '\0', VJ_ERR_CONFIG, "%s names no shards: add data.dir=SHARDS", word);
        return VJ_OK;
    }
    const vj_config_part parts[] = {
        { vj_train_fields, offsetof(vj_order_root, train) },
        { vj_data_fields, offsetof(vj_order_root, data) },
        { vj_mask_fields, offsetof(vj_order_root, mask) },
    };
    vj_status status = vj_config_load(&config, root, parts, 3, NULL, args->overrides, args->n_overrides);
    if (status == VJ_OK) {
        vj_data_config_check(config, &root->data, &root->mask);
        status = vj_config_problems(config);
    }
    vj_config_destroy(&config);
    VJ_TRY(status);
    VJ_CHECK(strlen(word) < sizeof root->data.dir, VJ_ERR_USAGE, "the path %.60s... is too long", word);
    vj_format(root->data.dir, sizeof root->data.dir, "%s", word);
    return VJ_OK;
}

static vj_status print_sample(const vj_order_root *root, const vj_catalog *catalog, vj_shards *shards, const vj_plan *plan, uint64_t g,
                              int64_t *index, double *seconds, vj_json_writer *json)
{
    const vj_ref ref = vj_order(plan, g);
    const uint64_t seed = (uint64_t)root->train.seed;
    const int64_t fpc = root->data.fpc.n == 1 ? root->data.fpc.v[0] : root->data.fpc.v[ref.source];
    vj_sample_info info;
    vj_crop crop;
    char file[1024], frames[64] = "image";
    VJ_TRY(vj_shards_info(shards, ref.source, false, ref.row, &info));
    VJ_TRY(vj_shards_file(shards, ref.source, false, ref.row, file, sizeof file));
    if (info.media == VJ_MEDIA_CLIP) {
        const uint64_t u = vj_rng_u64(seed, g, VJ_TAG_TEMPORAL, 0, 0);
        if (root->data.temporal == VJ_TEMPORAL_PTS) {
            (void)vj_clip_times((double)(info.t1_us - info.t0_us) * 1e-6, fpc, root->data.fps, u, seconds);
            vj_format(frames, sizeof frames, "%.3f..%.3fs", seconds[0], seconds[fpc - 1]);
        } else {
            (void)vj_clip_indices(info.n_frames, info.fps_num, info.fps_den, fpc, root->data.fps, u, index);
            vj_format(frames, sizeof frames, "%lld..%lld", (long long)index[0], (long long)index[fpc - 1]);
        }
    }
    vj_crop_draw(&crop, &root->data, seed, g, 0, info.height, info.width);
    const double start = info.media == VJ_MEDIA_CLIP ? (double)info.t0_us * 1e-6 : 0.0;
    if (json) {
        vj_json_begin_object(json, NULL);
        vj_json_put_i64(json, "g", (int64_t)g);
        vj_json_put_text(json, "source", catalog->sources[ref.source].name);
        vj_json_put_i64(json, "ordinal", (int64_t)ref.ordinal);
        vj_json_put_i64(json, "epoch", (int64_t)ref.epoch);
        vj_json_put_i64(json, "row", ref.row);
        vj_json_put_hex(json, "key", info.key);
        vj_json_put_text(json, "file", file);
        vj_json_put_f64(json, "window_start", start);
        vj_json_put_text(json, "frames", frames);
        vj_json_put_i64(json, "crop_top", crop.top);
        vj_json_put_i64(json, "crop_left", crop.left);
        vj_json_put_i64(json, "crop_height", crop.height);
        vj_json_put_i64(json, "crop_width", crop.width);
        vj_json_put_bool(json, "flip", crop.flip);
        vj_json_end_object(json);
        vj_cli_flush_json(json);
        return VJ_OK;
    }
    printf("%llu\t%s\t%llu\t%llu\t%lld\t%016llx\t%s\t%.3f\t%s\t%lld,%lld,%lld,%lld\t%s\n", (unsigned long long)g,
           catalog->sources[ref.source].name, (unsigned long long)ref.ordinal, (unsigned long long)ref.epoch, (long long)ref.row,
           (unsigned long long)info.key, file, start, frames, (long long)crop.top, (long long)crop.left, (long long)crop.height,
           (long long)crop.width, crop.flip ? "flip" : "-");
    return VJ_OK;
}

static vj_status print_order(const vj_order_root *root, int64_t from, int64_t to, bool as_json)
{
    vj_status status = VJ_OK;
    vj_catalog *catalog = NULL;
    vj_shards *shards = NULL;
    vj_plan *plan = NULL;
    int64_t *index = NULL, longest = 1;
    double *seconds = NULL;
    vj_json_writer json = { 0 };

    VJ_TRY_GOTO(vj_catalog_read(&catalog, root->data.dir), done);
    if (root->data.fpc.n != 1 && root->data.fpc.n != catalog->n_sources) {
        status = vj_fail(VJ_ERR_CONFIG, "data.fpc has %lld values for %d sources", (long long)root->data.fpc.n, catalog->n_sources);
        goto done;
    }
    VJ_TRY_GOTO(vj_shards_open(&shards, catalog, 0), done);
    VJ_TRY_GOTO(vj_plan_from_catalog(&plan, (uint64_t)root->train.seed, catalog, &root->data, root->train.batch), done);
    for (int64_t i = 0; i < root->data.fpc.n; i++) longest = root->data.fpc.v[i] > longest ? root->data.fpc.v[i] : longest;
    index = calloc((size_t)longest, sizeof *index);
    seconds = calloc((size_t)longest, sizeof *seconds);
    if (index == NULL || seconds == NULL) {
        status = vj_fail(VJ_ERR_NOMEM, "no memory for %lld frames", (long long)longest);
        goto done;
    }
    if (as_json) {
        json.pretty = true;
        vj_json_begin_object(&json, NULL);
        vj_json_begin_array(&json, "samples");
    } else printf("g\tsource\tordinal\tepoch\trow\tkey\tfile\twindow_start\tframes\tcrop_top,left,height,width\tflip\n");
    for (int64_t g = from; status == VJ_OK && g < to; g++) {
        status = print_sample(root, catalog, shards, plan, (uint64_t)g, index, seconds, as_json ? &json : NULL);
    }
    if (as_json && status == VJ_OK) {
        vj_json_end_array(&json);
        vj_json_end_object(&json);
        vj_cli_print_json(&json);
    }
done:
    vj_json_writer_free(&json);
    free(index);
    free(seconds);
    vj_plan_destroy(&plan);
    vj_shards_close(&shards);
    vj_catalog_destroy(&catalog);
    return status;
}

vj_status vj_cmd_data_order(int argc, char **argv)
{
    int64_t from = 0, to = -1;
    bool json = false;
    const vj_option options[] = {
        { "from", VJ_OPT_INT, &from, "A", "first sample of the run to print; default 0" },
        { "to", VJ_OPT_INT, &to, "B", "where to stop, B not included; default: one batch" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("data order", "SHARDS|CONFIG --from A --to B [key=value ...]",
                          "Print which samples a run is given: global index, source, row, file, frames, crop, mirroring.\n"
                          "JSON: samples [g, source, ordinal, epoch, row, key, file, window_start, frames, crop_top, crop_left, crop_height,\n"
                          "crop_width, flip].", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "SHARDS or CONFIG"));
    vj_order_root *root = calloc(1, sizeof *root);
    VJ_CHECK(root != NULL, VJ_ERR_NOMEM, "no memory for a configuration");
    vj_status status = vj_order_root_load(root, args.positional[0], &args);
    if (status == VJ_OK && to < 0) to = from + root->train.batch;
    if (status == VJ_OK && (from < 0 || to < from || to - from > MOST_SAMPLES)) {
        status = vj_fail(VJ_ERR_USAGE, "--from %lld --to %lld: two numbers from 0 on, in order, at most %d apart, are expected", (long long)from,
                         (long long)to, MOST_SAMPLES);
    }
    if (status == VJ_OK) status = print_order(root, from, to, json);
    free(root);
    return status;
}
