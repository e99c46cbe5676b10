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

static void print_help(const char *command, const char *positional, const char *summary, const vj_option *options)
{
    vj_str text = { 0 };
    vj_cli_help(&text, command, positional, summary, options);
    fputs(vj_str_text(&text), stdout);
    vj_str_free(&text);
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
    int64_t recode = 0, gop = request.gop, crf = request.crf, threads = vj_cpu_count(), seed = (int64_t)request.seed;
    const vj_option options[] = {
        { "out", VJ_OPT_TEXT, &request.out, "SHARDS", "folder that becomes the shards: new, or empty" },
        { "source", VJ_OPT_TEXT_MANY, &videos, "NAME=DIR", "a folder of videos, searched with its subfolders; may be repeated" },
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
        { "threads", VJ_OPT_INT, &threads, "N", "files packed at the same time; default: the CPUs" },
        { "seed", VJ_OPT_INT, &seed, "N", "chooses the held-out windows; default 239" },
        { "max-shard-bytes", VJ_OPT_INT, &request.max_shard_bytes, "N", "a shard is closed before it gets larger; default 1 GiB" },
        { "limit", VJ_OPT_INT, &request.limit, "N", "only the first N images of each image source" },
        { "force", VJ_OPT_FLAG, &request.force, NULL, "shards that are already there move aside to SHARDS.old-TIME" },
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    vj_pack_report report;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        print_help("data pack", "--out SHARDS --source NAME=DIR ...",
                   "Make shards of videos and images. Broken files are named and left out; the result does not depend on --threads.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no further word"));
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
    if (status == VJ_OK) print_packed(&request, &report);
    free(list);
    return status;
}

// ---- verify, ls ----------------------------------------------------------------------------------------------------

static vj_status data_verify(int argc, char **argv)
{
    int64_t threads = vj_cpu_count();
    int n = 0;
    const vj_option options[] = {
        { "threads", VJ_OPT_INT, &threads, "N", "shards checked at the same time; default: the CPUs" },
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        print_help("data verify", "SHARDS", "Check every byte of the shards. Exit code 1: damaged; 74: unreadable.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "SHARDS"));
    VJ_TRY(narrow(&n, threads, "threads"));
    VJ_CHECK(n >= 1 && n <= 256, VJ_ERR_USAGE, "--threads %d: 1 to 256 are expected", n);
    vj_verify_report report;
    vj_str lines = { 0 };
    const vj_status status = vj_verify(args.positional[0], n, &report, &lines);
    fputs(vj_str_text(&lines), stdout);
    vj_str_free(&lines);
    VJ_TRY(status);
    char bytes[24];
    vj_bytes_text(bytes, (double)report.bytes);
    printf("%s: %lld shards, %lld samples, %s: all checksums are right\n", args.positional[0], (long long)report.shards,
           (long long)report.rows, bytes);
    return VJ_OK;
}

static vj_status data_ls(int argc, char **argv)
{
    const vj_option options[] = { { NULL, VJ_OPT_END, NULL, NULL, NULL } };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        print_help("data ls", "SHARDS", "Sources, samples and sizes of a folder of shards.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "SHARDS"));
    vj_catalog *catalog;
    VJ_TRY(vj_catalog_read(&catalog, args.positional[0]));
    printf("%-20s %-6s %10s %10s %10s %10s %7s %10s\n", "source", "kind", "weight", "samples", "held out", "files", "shards", "bytes");
    for (int i = 0; i < catalog->n_sources; i++) {
        const vj_source *s = &catalog->sources[i];
        char bytes[24];
        vj_bytes_text(bytes, (double)(s->train.blob_bytes + s->held_out.blob_bytes));
        printf("%-20s %-6s %10g %10lld %10lld %10lld %7d %10s\n", s->name, vj_source_kind_name(s->kind), s->weight, (long long)s->train.rows,
               (long long)s->held_out.rows, (long long)s->train.files, s->train.n + s->held_out.n, bytes);
    }
    printf("catalogue %s\n", catalog->digest);
    vj_catalog_destroy(&catalog);
    return VJ_OK;
}

// ---- the command ---------------------------------------------------------------------------------------------------

static const struct subcommand {
    const char *name, *help;
    vj_status (*run)(int argc, char **argv);
} subcommands[] = {
    { "pack", "make shards of folders of videos and images", data_pack },
    { "verify", "check every byte of the shards", data_verify },
    { "ls", "sources, samples and sizes", data_ls },
    { "order", "which samples a run is given", vj_cmd_data_order },
    { NULL, NULL, NULL },
};

vj_status vj_cmd_data(int argc, char **argv)
{
    const char *names[sizeof subcommands / sizeof subcommands[0]] = { NULL };
    for (int i = 0; subcommands[i].name != NULL; i++) {
        names[i] = subcommands[i].name;
        if (argc >= 1 && strcmp(argv[0], subcommands[i].name) == 0) return subcommands[i].run(argc - 1, argv + 1);
    }
    if (argc >= 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        printf("usage: vjepa data COMMAND ...\n\n");
        for (int i = 0; subcommands[i].name != NULL; i++) printf("  %-8s %s\n", subcommands[i].name, subcommands[i].help);
        printf("\nvjepa data COMMAND --help says more\n");
        return VJ_OK;
    }
    VJ_CHECK(argc >= 1, VJ_ERR_USAGE, "data needs a command: pack, verify, ls, order");
    const char *near = vj_nearest(argv[0], names);
    VJ_FAIL(VJ_ERR_USAGE, "data has no command '%s'%s%s%s", argv[0], near != NULL ? " (did you mean '" : ": pack, verify, ls, order",
            near != NULL ? near : "", near != NULL ? "'?)" : "");
}
