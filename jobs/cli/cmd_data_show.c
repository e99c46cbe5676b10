// jobs/cli/cmd_data_show.c
//
// vjepa data show SHARDS|CONFIG SOURCE:ROW|KEY: everything known of one sample, and how it looks.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode.h"
#include "data/augment.h"
#include "data/clip_sampler.h"
#include "data/shard.h"
#include "evals/strip.h"
#include "jobs/cli/cmd_data.h"
#include "jobs/cli/commands.h"
#include "runtime/base/png.h"
#include "runtime/base/rng.h"

enum { SHEET_FRAMES = 8 };

typedef struct place { int source; bool held_out; int64_t row; } place;

typedef struct sample {
    place at;
    vj_sample_info info;
    vj_bytes bytes;
    char file[1024], link[4096], where[4400];
} sample;

static const char *media_name(vj_media m)
{
    switch (m) {
    case VJ_MEDIA_CLIP: return "video";
    case VJ_MEDIA_JPEG: return "jpeg";
    case VJ_MEDIA_PNG: return "png";
    case VJ_MEDIA_GRAY8: return "gray";
    default: return "image";
    }
}

// "SOURCE:ROW" or "SOURCE:held-out:ROW".
static vj_status find_by_place(const vj_catalog *c, const char *word, place *out)
{
    const char *names[VJ_MAX_SOURCES + 1], *colon = strchr(word, ':'), *row = colon ? colon + 1 : "";
    *out = (place){ .source = -1 };
    for (int s = 0; s < c->n_sources; s++) {
        names[s] = c->sources[s].name;
        if (colon && strlen(names[s]) == (size_t)(colon - word) && strncmp(names[s], word, (size_t)(colon - word)) == 0) out->source = s;
    }
    names[c->n_sources] = NULL;
    VJ_CHECK(out->source >= 0, VJ_ERR_USAGE, "%s: SOURCE:ROW, SOURCE:held-out:ROW or a key of 16 hex digits was expected (`vjepa data ls` lists the sources)", word);
    out->held_out = vj_str_starts(row, "held-out:");
    if (out->held_out) row += 9;
    const vj_shard_list *list = out->held_out ? &c->sources[out->source].held_out : &c->sources[out->source].train;
    VJ_CHECK(vj_parse_i64(row, &out->row) && out->row >= 0 && out->row < list->rows, VJ_ERR_USAGE, "%s: rows 0 to %lld are there", word, (long long)list->rows - 1);
    return VJ_OK;
}

static bool is_key(const char *word) { return strlen(word) == 16 && strspn(word, "0123456789abcdef") == 16; }

static vj_status find_by_key(const vj_catalog *c, vj_shards *shards, const char *word, place *out)
{
    const uint64_t key = strtoull(word, NULL, 16);
    for (int s = 0; s < c->n_sources; s++) {
        for (int held = 0; held < 2; held++) {
            const int64_t rows = held ? c->sources[s].held_out.rows : c->sources[s].train.rows;
            for (int64_t r = 0; r < rows; r++) {
                vj_sample_info info;
                VJ_TRY(vj_shards_info(shards, s, held == 1, r, &info));
                if (info.key != key) continue;
                *out = (place){ s, held == 1, r };
                return VJ_OK;
            }
        }
    }
    VJ_FAIL(VJ_ERR_USAGE, "%s: %s has no sample with this key", word, c->dir);
}

static void print_text(const vj_catalog *c, const sample *s)
{
    const vj_sample_info *i = &s->info;
    char bytes[24];
    vj_bytes_text(bytes, (double)i->bytes);
    printf("sample      %s:%s%lld, key %016llx\nstored      %s, %s of %s, checksum right\n", c->sources[s->at.source].name, s->at.held_out ? "held-out:" : "",
           (long long)s->at.row, (unsigned long long)i->key, s->where, bytes, media_name(i->media));
    printf("from        %s", s->file);
    if (i->media == VJ_MEDIA_CLIP) printf(", %.3f to %.3f s", (double)i->t0_us * 1e-6, (double)i->t1_us * 1e-6);
    if (s->link[0] != '\0') printf("\nlinked      %s, unchanged", s->link);
    printf("\npictures    %lld of %d x %d", (long long)i->n_frames, i->width, i->height);
    if (i->media == VJ_MEDIA_CLIP && i->fps_den > 0) printf(", %.3f a second", (double)i->fps_num / i->fps_den);
    if (i->orientation != 1) printf(", turned when decoded (orientation %d)", i->orientation);
    if (i->label >= 0) printf("\nlabel       %d", i->label);
    putchar('\n');
}

static void print_json(const vj_catalog *c, const sample *s)
{
    const vj_sample_info *i = &s->info;
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "source", c->sources[s->at.source].name);
    vj_json_put_bool(&w, "held_out", s->at.held_out);
    vj_json_put_i64(&w, "row", s->at.row);
    vj_json_put_hex(&w, "key", i->key);
    vj_json_put_hex(&w, "file_key", i->file_key);
    vj_json_put_text(&w, "where", s->where);
    vj_json_put_text(&w, "file", s->file);
    vj_json_put_text(&w, "linked_file", s->link);
    vj_json_put_text(&w, "media", media_name(i->media));
    vj_json_put_i64(&w, "bytes", i->bytes);
    vj_json_put_i64(&w, "frames", i->n_frames);
    vj_json_put_f64(&w, "window_start", (double)i->t0_us * 1e-6);
    vj_json_put_f64(&w, "window_end", (double)i->t1_us * 1e-6);
    vj_json_put_i64(&w, "fps_num", i->fps_num);
    vj_json_put_i64(&w, "fps_den", i->fps_den);
    vj_json_put_i64(&w, "width", i->width);
    vj_json_put_i64(&w, "height", i->height);
    vj_json_put_i64(&w, "orientation", i->orientation);
    vj_json_put_i64(&w, "label", i->label);
    vj_json_put_i64(&w, "flags", i->flags);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

// ---- the picture ------------------------------------------------------------------------------------------------------
// Upper row: frames as decoded, whole, squeezed into squares. Lower row: frames of the clip of sample `g`, cropped, mirrored
// and resized as the model gets them.
static vj_status draw_rows(const vj_order_root *root, const sample *s, vj_decoder *decoder, vj_resampler *resampler, uint64_t g, vj_strip *strip, float *pixels)
{
    const int64_t fpc = root->data.fpc.n == 1 ? root->data.fpc.v[0] : root->data.fpc.v[s->at.source], side = root->data.crop;
    const vj_crop whole = { .height = s->info.height, .width = s->info.width };
    const bool image = s->info.media != VJ_MEDIA_CLIP;
    int64_t *clip = calloc((size_t)fpc, sizeof *clip);
    VJ_CHECK(clip != NULL, VJ_ERR_NOMEM, "no memory for a clip");
    if (!image) (void)vj_clip_indices(s->info.n_frames, s->info.fps_num, s->info.fps_den, fpc, root->data.fps, vj_rng_u64((uint64_t)root->train.seed, g, VJ_TAG_TEMPORAL, 0, 0), clip);
    vj_crop crop;
    vj_crop_draw(&crop, &root->data, (uint64_t)root->train.seed, g, 0, s->info.height, s->info.width);
    vj_status status = VJ_OK;
    for (int64_t k = 0; k < strip->columns && status == VJ_OK; k++) {
        const int64_t n = strip->columns > 1 ? strip->columns - 1 : 1;
        const int64_t index[2] = { image ? 0 : k * (s->info.n_frames - 1) / n, clip[k * (fpc - 1) / n] };
        for (int row = 0; row < 2 && status == VJ_OK; row++) {
            vj_frames f;
            status = vj_decode_frames(decoder, &s->info, s->bytes.data, s->bytes.bytes, &index[row], 1, &f);
            if (status != VJ_OK) break;
            vj_resample(resampler, f.rgb, 1, f.height, f.width, row == 0 ? &whole : &crop, pixels, 1);
            vj_strip_frame(strip, row, k, pixels, 1, 0, side);
        }
    }
    free(clip);
    return status;
}

static vj_status draw(const vj_order_root *root, const sample *s, uint64_t g, const char *path)
{
    const int64_t side = root->data.crop;
    vj_decoder *decoder = NULL;
    vj_resampler *resampler = NULL;
    vj_strip strip = { 0 };
    float *pixels = NULL;
    vj_status status = vj_decoder_create(&decoder);
    if (status == VJ_OK) status = vj_resampler_create(&resampler, side);
    if (status == VJ_OK) status = vj_strip_create(&strip, side, s->info.media == VJ_MEDIA_CLIP ? SHEET_FRAMES : 1, 2);
    if (status == VJ_OK) status = vj_host_alloc(&pixels, (size_t)(3 * side * side) * sizeof *pixels, "a frame");
    if (status == VJ_OK) status = draw_rows(root, s, decoder, resampler, g, &strip, pixels);
    if (status == VJ_OK) status = vj_png_write(path, strip.rgb, strip.width, strip.height);
    vj_host_free(pixels);
    vj_strip_free(&strip);
    vj_resampler_destroy(&resampler);
    vj_decoder_destroy(&decoder);
    return status;
}

// ---- the command ------------------------------------------------------------------------------------------------------
static vj_status show(const vj_order_root *root, const char *word, uint64_t g, const char *png, bool json)
{
    vj_catalog *catalog = NULL;
    vj_shards *shards = NULL;
    sample s = { 0 };
    vj_status status = vj_catalog_read(&catalog, root->data.dir);
    if (status == VJ_OK && root->data.fpc.n != 1 && root->data.fpc.n != catalog->n_sources) {
        status = vj_fail(VJ_ERR_CONFIG, "data.fpc has %lld values for %d sources", (long long)root->data.fpc.n, catalog->n_sources);
    }
    if (status == VJ_OK) status = vj_shards_open(&shards, catalog, 0);
    if (status == VJ_OK) status = is_key(word) ? find_by_key(catalog, shards, word, &s.at) : find_by_place(catalog, word, &s.at);
    if (status == VJ_OK) status = vj_shards_read(shards, s.at.source, s.at.held_out, s.at.row, &s.info, &s.bytes);
    if (status == VJ_OK) status = vj_shards_file(shards, s.at.source, s.at.held_out, s.at.row, s.file, sizeof s.file);
    if (status == VJ_OK) status = vj_shards_link(shards, s.at.source, s.at.held_out, s.at.row, s.link, sizeof s.link);
    if (status == VJ_OK) vj_shards_where(shards, s.at.source, s.at.held_out, s.at.row, s.where, sizeof s.where);
    if (status == VJ_OK && png) status = draw(root, &s, g, png);
    if (status == VJ_OK && json) print_json(catalog, &s);
    else if (status == VJ_OK) print_text(catalog, &s);
    vj_bytes_free(&s.bytes);
    vj_shards_close(&shards);
    vj_catalog_destroy(&catalog);
    return status;
}

vj_status vj_cmd_data_show(int argc, char **argv)
{
    const char *png = NULL;
    int64_t g = 0;
    bool json = false;
    const vj_option options[] = {
        { "png", VJ_OPT_TEXT, &png, "FILE", "above: frames as decoded; below: the clip as the model gets it" },
        { "g", VJ_OPT_INT, &g, "N", "draws of global sample N (`vjepa data order` lists them; default: 0)" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("data show", "SHARDS|CONFIG SOURCE:ROW|KEY [key=value ...]",
                          "Everything known of one sample: SOURCE:ROW, SOURCE:held-out:ROW, or a key. Its bytes are checked.\n"
                          "JSON: source, held_out, row, key, file_key, where, file, linked_file (\"\": the shard holds it), media, bytes, frames,\n"
                          "window_start, window_end, fps_num, fps_den, width, height, orientation, label, flags.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 2, 2, "SHARDS|CONFIG or the sample"));
    VJ_CHECK(g >= 0, VJ_ERR_USAGE, "--g %lld: a sample number from 0 is expected", (long long)g);
    vj_order_root *root = calloc(1, sizeof *root);
    VJ_CHECK(root != NULL, VJ_ERR_NOMEM, "no memory for a configuration");
    vj_status status = vj_order_root_load(root, args.positional[0], &args);
    if (status == VJ_OK) status = show(root, args.positional[1], (uint64_t)g, png, json);
    free(root);
    return status;
}
