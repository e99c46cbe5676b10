// vjepa doctor --run DIR: what the ranks of a run are doing, or were when they ended.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/cli/commands.h"
#include "jobs/train/watchdog.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"

static void put_rank(vj_json_writer *w, const vj_flight_rank *r)
{
    const vj_flight_page *p = &r->page;
    vj_json_begin_object(w, NULL);
    vj_json_put_i64(w, "rank", p->rank);
    vj_json_put_text(w, "host", p->host);
    vj_json_put_i64(w, "pid", p->pid);
    vj_json_put_text(w, "phase", vj_life_name(p->phase));
    vj_json_put_i64(w, "step", p->step);
    vj_json_put_i64(w, "slot", p->slot);
    vj_json_put_text(w, "process", r->gone ? "gone" : r->stopped ? "stopped" : "ok");
    vj_json_put_f64(w, "last_sign_of_life", p->alive_wall);
    vj_json_put_i64(w, "seq", r->has_last ? (int64_t)r->last.seq : 0);
    vj_json_put_text(w, "operation", r->has_last ? r->last.op : "");
    vj_json_put_text(w, "what", r->has_last ? r->last.what : "");
    vj_json_put_i64(w, "unit", r->has_last ? r->last.unit : -1);
    vj_json_put_bool(w, "unfinished", r->unfinished);
    vj_json_end_object(w);
}

static void print_rank(const vj_flight_rank *r, double now)
{
    const vj_flight_page *p = &r->page;
    printf("rank %-4d %-16s pid %-8lld %-8s step %-8lld %-8s last sign of life %.1f s ago", p->rank, p->host, (long long)p->pid, vj_life_name(p->phase),
           (long long)p->step, r->gone ? "gone" : r->stopped ? "stopped" : "", now - p->alive_wall);
    if (r->has_last) {
        printf("; %s %llu: %s %s", r->unfinished ? "in" : "done", (unsigned long long)r->last.seq, r->last.op, r->last.what);
        if (r->last.unit >= 0) printf(" unit %d", r->last.unit);
    }
    printf("\n");
}

vj_status vj_cmd_doctor(int argc, char **argv)
{
    const char *run = NULL;
    bool json = false;
    const vj_option options[] = {
        { "run", VJ_OPT_TEXT, &run, "DIR", "the run" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("doctor", "",
                          "What each rank of a run is doing, or was when it ended (RUN/ranks), and which one the others wait for: rank, host, unit and the\n"
                          "first unfinished operation. Exit code 0: nothing is wrong; 1: a rank is named, or a record cannot be read.\n"
                          "JSON: wrong, rank (-1: none), verdict, report, ranks [rank, host, pid, phase, step, slot, process, last_sign_of_life, seq,\n"
                          "operation, what, unit, unfinished], unreadable.", options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: doctor takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 0, 0, ""));
    VJ_CHECK(run != NULL, VJ_ERR_USAGE, "doctor needs --run DIR");
    char path[640];
    vj_flight_path(path, run, 0);
    VJ_CHECK(vj_path_exists(path), VJ_ERR_USAGE, "%s: there is no such file: %s is not a run, or it has not started", path, run);
    vj_flight_rank *ranks = NULL;
    vj_str verdict = { 0 }, unreadable = { 0 };
    int n = 0, size = 1;
    for (int r = 0; r < size; r++) {
        vj_flight_rank *more = realloc(ranks, (size_t)(n + 1) * sizeof *ranks);
        VJ_CHECK(more != NULL, VJ_ERR_NOMEM, "no memory for %d ranks", n + 1);
        ranks = more;
        vj_flight_path(path, run, r);
        vj_status status = vj_flight_read(&ranks[n], path);
        if (status == VJ_OK && ranks[n].page.rank != r) status = vj_fail(VJ_ERR_DATA, "%s: is of rank %d", path, ranks[n].page.rank);
        if (status != VJ_OK) {
            vj_str_printf(&unreadable, "%s\n", vj_error_text());
            // The number of ranks is in any of the records.
            vj_flight_path(path, run, r + 1);
            if (r + 1 >= size && vj_path_exists(path)) size = r + 2;
            continue;
        }
        if (ranks[n].page.size > size && ranks[n].page.size <= 1 << 20) size = ranks[n].page.size;
        n++;
    }
    vj_error_clear();
    const double now = vj_wall();
    const int who = n > 0 ? vj_flight_judge(ranks, n, now, 10, &verdict) : -1;
    char *report = vj_watchdog_read_report(run);
    if (n == 0) vj_str_add(&verdict, "no rank's record can be read");
    const bool wrong = who >= 0 || unreadable.length > 0 || report != NULL;
    if (json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_json_put_bool(&w, "wrong", wrong);
        vj_json_put_i64(&w, "rank", who >= 0 ? ranks[who].page.rank : -1);
        vj_json_put_text(&w, "verdict", vj_str_text(&verdict));
        vj_json_put_text(&w, "report", report ? report : "");
        vj_json_begin_array(&w, "ranks");
        for (int i = 0; i < n; i++) put_rank(&w, &ranks[i]);
        vj_json_end_array(&w);
        vj_cli_put_lines(&w, "unreadable", vj_str_text(&unreadable));
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    } else {
        for (int i = 0; i < n; i++) print_rank(&ranks[i], now);
        fputs(vj_str_text(&unreadable), stdout);
        if (report) printf("when it ended: %s", report);
        printf("%s\n", vj_str_text(&verdict));
    }
    free(report);
    free(ranks);
    vj_str_free(&verdict);
    vj_str_free(&unreadable);
    return wrong ? VJ_ERR_MISMATCH : VJ_OK;
}
