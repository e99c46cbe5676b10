// vjepa report RUN [RUN ...].

#include <stdio.h>
#include <string.h>

#include "jobs/cli/commands.h"
#include "jobs/report/report.h"
#include "runtime/base/file.h"

vj_status vj_cmd_report(int argc, char **argv)
{
    vj_report_request q = { .clips = 3, .checkpoints = 4 };
    const char *out = NULL;
    int64_t threads = 0;
    bool json = false;
    const vj_option options[] = {
        { "out", VJ_OPT_TEXT, &out, "FILE", "where the page goes (default: report.html in the last run's directory)" },
        { "clips", VJ_OPT_INT, &q.clips, "N", "held-out clips in pictures, up to 4 (default: 3; 0: no pictures)" },
        { "checkpoints", VJ_OPT_INT, &q.checkpoints, "N", "checkpoints whose features are drawn, up to 6 (default: 4; 0: none)" },
        { "threads", VJ_OPT_INT, &threads, "N", "threads that compute features (default: CPUs this process may use)" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("report", "RUN [RUN ...]",
                          "One HTML file, readable without a network: did it learn, curves with their baselines, warnings, masks over frames, features\n"
                          "of held-out clips at several checkpoints (of the last run named), where time went, bad samples, configuration.\n"
                          "JSON (instead of a page): runs [run, phase, outcome, step, steps, loss, held_out_ratio, swapped_ratio, rank,\n"
                          "samples_per_second, warning_lines, recommended_step, recommended, bad_samples, broken_lines, missing].", options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: report takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 1, 6, "RUN"));
    VJ_CHECK(q.clips >= 0 && q.clips <= 4, VJ_ERR_USAGE, "--clips %lld: 0 to 4 are possible", (long long)q.clips);
    VJ_CHECK(q.checkpoints >= 0 && q.checkpoints <= 6, VJ_ERR_USAGE, "--checkpoints %lld: 0 to 6 are possible", (long long)q.checkpoints);
    VJ_CHECK(threads >= 0 && threads <= 1024, VJ_ERR_USAGE, "--threads %lld: 0 to 1024 are possible", (long long)threads);
    q.runs = args.positional;
    q.n_runs = args.n_positional;
    q.threads = (int)threads;
    if (json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        const vj_status status = vj_report_json(&q, &w);
        vj_json_end_object(&w);
        if (status == VJ_OK) vj_cli_print_json(&w);
        else vj_json_writer_free(&w);
        return status;
    }
    char path[1100];
    if (out) VJ_TRY(vj_cli_out_folder(out));
    if (out) vj_format(path, sizeof path, "%.1000s", out);
    else vj_path_join(path, sizeof path, args.positional[args.n_positional - 1], "report.html");
    q.out = path;
    VJ_TRY(vj_report_write(&q));
    printf("%s\n", path);
    return VJ_OK;
}
