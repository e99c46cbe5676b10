// vjepa data pack|verify|ls|order: shards from videos and images, their checking, and what a run will be given.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/pack.h"
#include "data/verify.h"
#include "jobs/cli/cmd_data.h"
#include "jobs/cli/commands.h"
#include "runtime/base/clock.h"
#include "runtime/base/thread.h"

// "NAME=REST": the name is cut off into `name`, the rest is returned; NULL when there is no '=' or nothing on one side.
static const char *split_name(const char *word, char *name, size_t size)
{
    const char *equals = strchr(word, '=');
    if (equals == NULL || equals == word || equals[1] == '\0' || (size_t)(equals - word) >= size) return NULL;
    memcpy(name, word, (size_t)(equals - word));
    name[equals - word] = '\0';
    return equals + 1;
}

// ---- pack ----------------------------------------------------------------------------------------------------------

typedef struct source_list {
    vj_pack_source v[2 * VJ_OPT_MANY_MAX];
    char names[2 * VJ_OPT_MANY_MAX][VJ_SOURCE_NAME_MAX];
    int n;
} source_list;

static vj_status add_sources(source_list *list, const vj_text_many *words, bool image)
{
    for (int i = 0; i < words->n; i++) {
        char *name = list->names[list->n];
        const char *path = split_name(words->v[i], name, VJ_SOURCE_NAME_MAX);
        VJ_CHECK(path != NULL, VJ_ERR_USAGE, "--%s %s: NAME=%s is expected", image ? "image-source" : "source", words->v[i],
                 image ? "FILE_OR_DIR" : "DIR");
        list->v[list->n++] = (vj_pack_source){ .name = name, .path = path, .image = image, .weight = -1 };
    }
    return VJ_OK;
}

static vj_status add_weights(source_list *list, const vj_text_many *words)
{
    for (int i = 0; i < words->n; i++) {
        char name[VJ_SOURCE_NAME_MAX];
        double weight;
        const char *text = split_name(words->v[i], name, sizeof name);
        VJ_CHECK(text != NULL && vj_parse_f64(text, &weight) && weight >= 0, VJ_ERR_USAGE,
                 "--weight %s: NAME=W with a number that is not negative is expected", words->v[i]);
        int at = 0;
        while (at < list->n && strcmp(list->v[at].name, name) != 0) at++;
        VJ_CHECK(at < list->n, VJ_ERR_USAGE, "--weight %s: there is no source '%s'", words->v[i], name);
        list->v[at].weight = weight;
    }
    return VJ_OK;
}

static void print_packed(const vj_pack_request *request, const vj_pack_report *r)
{
    char bytes[24], time[32];
    vj_bytes_text(bytes, (double)r->bytes);
    vj_duration_text(time, r->seconds);
    printf("%s: %lld samples from %lld files in %lld shards, %s, %lld frames; %lld samples held out; %s\n", request->out,
           (long long)r->rows, (long long)(r->files - r->bad_files), (long long)r->shards, bytes, (long long)r->frames,
           (long long)r->held_out, time);
    if (r->bad_files + r->bad_windows > 0) {
        printf("left out: %lld files and %lld windows, named in the warnings above\n", (long long)r->bad_files, (long long)r->bad_windows);
    }
}

static void print_packed_json(const vj_pack_request *request, const vj_pack_report *r)
{
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "out", request->out);
    vj_json_put_i64(&w, "samples", r->rows);
    vj_json_put_i64(&w, "held_out", r->held_out);
    vj_json_put_i64(&w, "files", r->files);
    vj_json_put_i64(&w, "bad_files", r->bad_files);
    vj_json_put_i64(&w, "bad_windows", r->bad_windows);
    vj_json_put_i64(&w, "shards", r->shards);
    vj_json_put_i64(&w, "frames", r->frames);
    vj_json_put_i64(&w, "bytes", r->bytes);
    vj_json_put_f64(&w, "seconds", r->seconds);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

static vj_status narrow(int *out, int64_t value, const char *option)
{
    VJ_CHECK(value >= -2147483647 && value <= 2147483647, VJ_ERR_USAGE, "--%s %lld is out of range", option, (long long)value);
    *out = (int)value;
    return VJ_OK;
}

static vj_status data_pack(int argc, char **argv)
{
    vj_pack_request request;
    vj_pack_defaults(&request);
    source_list *list = NULL;
    vj_text_many videos = { 0 }, images = { 0 }, weights = { 0 };
    bool json = false;
    const int64_t unsaid = INT64_MIN;
    int64_t recode = 0, gop = unsaid, crf = unsaid, threads = vj_cpu_count(), seed = (int64_t)request.seed;
    const vj_option options[] = {
        { "out", VJ_OPT_TEXT, &request.out, "SHARDS", "folder that becomes the shards: new, or empty" },
        { "source", VJ_OPT_TEXT_MANY, &videos, "NAME=DIR|LIST", "a folder of videos, searched with its subfolders; may be repeated" },
        { "image-source", VJ_OPT_TEXT_MANY, &images, "NAME=PATH",
          "a folder of images (jpg, png, webp, bmp, IDX), or one IDX file, also gzipped; may be repeated" },
        { "weight", VJ_OPT_TEXT_MANY, &weights, "NAME=W", "mixing weight of a source; default: its number of training samples" },
        { "window", VJ_OPT_FLOAT, &request.window, "SECONDS",
          "cut videos into windows, a sample each; a rest shorter than half a window joins the last one; default: no cuts" },
        { "hold-out", VJ_OPT_FLOAT, &request.hold_out, "FRACTION",
          "keep this part of the windows of each video source for held-out figures; default 0" },
        { "recode", VJ_OPT_INT, &recode, "SIDE",
          "re-encode with H.264 at this short side in pixels, at most 30 frames a second; default: packets stay as they are" },
        { "gop", VJ_OPT_INT, &gop, "N", "with --recode: frames from one keyframe to the next; default 8" },
        { "crf", VJ_OPT_INT, &crf, "N", "with --recode: quality, 0 (best) to 51; default 23" },
        { "link", VJ_OPT_FLAG, &request.link, NULL,
          "index only: samples stay in the original files, which must neither change nor move; not with --recode" },
        { "threads", VJ_OPT_INT, &threads, "N", "files packed at the same time; default: the CPUs" },
        { "seed", VJ_OPT_INT, &seed, "N", "chooses the held-out windows; default 239" },
        { "max-shard-bytes", VJ_OPT_INT, &request.max_shard_bytes, "N", "a shard is closed before it gets larger; default 1 GiB" },
        { "limit", VJ_OPT_INT, &request.limit, "N", "only the first N images of each image source" },
        { "force", VJ_OPT_FLAG, &request.force, NULL,
          "shards that are already there move aside to SHARDS.old-TIME; what another packing left unfinished is thrown away" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    vj_pack_report report;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("data pack", "--out SHARDS --source NAME=DIR ...",
                   "Make shards of videos and images. Broken files are named and left out; the result does not depend on --threads.\n"
                   "Stopped, killed or out of disk, the same command goes on where it was, file by file.\n"
                   "JSON: out, samples, held_out, files, bad_files, bad_windows, shards, frames, bytes, seconds.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no further word"));
    VJ_CHECK(recode != 0 || (gop == unsaid && crf == unsaid), VJ_ERR_USAGE, "--%s says how to re-encode, and --recode SIDE is missing: packets stay as they are",
             gop != unsaid ? "gop" : "crf");
    if (gop == unsaid) gop = request.gop;
    if (crf == unsaid) crf = request.crf;
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "'%s' belongs to no option; sources are given as --source NAME=DIR", args.overrides[0]);
    VJ_CHECK(request.out != NULL, VJ_ERR_USAGE, "data pack needs --out SHARDS");
    VJ_CHECK(videos.n + images.n > 0, VJ_ERR_USAGE, "data pack needs --source NAME=DIR or --image-source NAME=PATH");
    VJ_TRY(narrow(&request.recode, recode, "recode"));
    VJ_TRY(narrow(&request.gop, gop, "gop"));
    VJ_TRY(narrow(&request.crf, crf, "crf"));
    VJ_TRY(narrow(&request.threads, threads, "threads"));
    request.seed = (uint64_t)seed;
    list = calloc(1, sizeof *list);
    VJ_CHECK(list != NULL, VJ_ERR_NOMEM, "no memory for the list of sources");
    vj_status status = add_sources(list, &videos, false);
    if (status == VJ_OK) status = add_sources(list, &images, true);
    if (status == VJ_OK) status = add_weights(list, &weights);
    request.sources = list->v;
    request.n_sources = list->n;
    if (status == VJ_OK) status = vj_pack(&request, &report);
    if (status == VJ_OK && json) print_packed_json(&request, &report);
    else if (status == VJ_OK) print_packed(&request, &report);
    free(list);
    return status;
}

// ---- verify, ls ----------------------------------------------------------------------------------------------------

// `lines` holds "SHARD: PROBLEM", one a line.
static void print_verified_json(const char *dir, const vj_verify_report *r, bool ok, const char *lines)
{
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "shards_dir", dir);
    vj_json_put_bool(&w, "ok", ok);
    vj_json_put_i64(&w, "shards", r->shards);
    vj_json_put_i64(&w, "samples", r->rows);
    vj_json_put_i64(&w, "bytes", r->bytes);
    vj_json_put_i64(&w, "damaged", r->damaged);
    vj_json_put_i64(&w, "unreadable", r->unreadable);
    vj_cli_put_lines(&w, "problems", lines);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

static vj_status data_verify(int argc, char **argv)
{
    int64_t threads = vj_cpu_count();
    int n = 0;
    bool json = false;
    const vj_option options[] = {
        { "threads", VJ_OPT_INT, &threads, "N", "shards checked at the same time; default: the CPUs" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("data verify", "SHARDS",
                          "Check every byte of the shards. Exit code 1: damaged; 74: unreadable.\n"
                          "JSON: shards_dir, ok, shards, samples, bytes, damaged, unreadable, problems [\"SHARD: PROBLEM\"].", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "SHARDS"));
    VJ_TRY(narrow(&n, threads, "threads"));
    VJ_CHECK(n >= 1 && n <= 256, VJ_ERR_USAGE, "--threads %d: 1 to 256 are expected", n);
    vj_verify_report report = { 0 };
    vj_str lines = { 0 };
    const vj_status status = vj_verify(args.positional[0], n, &report, &lines);
    const bool judged = status == VJ_OK || lines.length > 0;   // else nothing was looked at
    if (json && judged) print_verified_json(args.positional[0], &report, status == VJ_OK, vj_str_text(&lines));
    else fputs(vj_str_text(&lines), stdout);
    vj_str_free(&lines);
    VJ_TRY(status);
    if (json) return VJ_OK;
    char bytes[24];
    vj_bytes_text(bytes, (double)report.bytes);
    printf("%s: %lld shards, %lld samples, %s: all checksums are right\n", args.positional[0], (long long)report.shards,
           (long long)report.rows, bytes);
    return VJ_OK;
}

static void list_text(const vj_catalog *catalog)
{
    printf("%-20s %-6s %10s %10s %10s %10s %7s %10s\n", "source", "kind", "weight", "samples", "held out", "files", "shards", "bytes");
    for (int i = 0; i < catalog->n_sources; i++) {
        const vj_source *s = &catalog->sources[i];
        char bytes[24];
        vj_bytes_text(bytes, (double)(s->train.blob_bytes + s->held_out.blob_bytes));
        printf("%-20s %-6s %10g %10lld %10lld %10lld %7d %10s%s\n", s->name, vj_source_kind_name(s->kind), s->weight, (long long)s->train.rows,
               (long long)s->held_out.rows, (long long)s->train.files, s->train.n + s->held_out.n, bytes, s->linked ? "  linked" : "");
    }
    printf("catalogue %s\n", catalog->digest);
}

static void list_json(const vj_catalog *catalog)
{
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "catalogue", catalog->digest);
    vj_json_begin_array(&w, "sources");
    for (int i = 0; i < catalog->n_sources; i++) {
        const vj_source *s = &catalog->sources[i];
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "name", s->name);
        vj_json_put_text(&w, "kind", vj_source_kind_name(s->kind));
        vj_json_put_f64(&w, "weight", s->weight);
        vj_json_put_i64(&w, "samples", s->train.rows);
        vj_json_put_i64(&w, "held_out", s->held_out.rows);
        vj_json_put_i64(&w, "files", s->train.files);
        vj_json_put_i64(&w, "frames", s->train.frames);
        vj_json_put_i64(&w, "shards", s->train.n + s->held_out.n);
        vj_json_put_i64(&w, "bytes", s->train.blob_bytes + s->held_out.blob_bytes);
        vj_json_put_bool(&w, "linked", s->linked);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

static vj_status data_ls(int argc, char **argv)
{
    bool json = false;
    const vj_option options[] = { VJ_OPT_JSON(&json), { NULL, VJ_OPT_END, NULL, NULL, NULL } };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("data ls", "SHARDS",
                          "Sources, samples and sizes of a folder of shards.\n"
                          "JSON: catalogue, sources [name, kind, weight, samples, held_out, files, frames, shards, bytes, linked].", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "SHARDS"));
    vj_catalog *catalog;
    VJ_TRY(vj_catalog_read(&catalog, args.positional[0]));
    if (json) list_json(catalog);
    else list_text(catalog);
    vj_catalog_destroy(&catalog);
    return VJ_OK;
}

// ---- the command ---------------------------------------------------------------------------------------------------

static const vj_command subcommands[] = {
    { "pack", data_pack, "make shards of folders of videos and images" },
    { "verify", data_verify, "check every byte of the shards" },
    { "ls", data_ls, "sources, samples and sizes" },
    { "order", vj_cmd_data_order, "which samples a run is given" },
    { "show", vj_cmd_data_show, "everything known of one sample, and how it looks" },
    { NULL, NULL, NULL },
};

vj_status vj_cmd_data(int argc, char **argv) { return vj_cli_dispatch("data", subcommands, argc, argv); }
