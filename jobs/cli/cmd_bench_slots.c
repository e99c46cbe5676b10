// vjepa bench slots: what it costs that gradients of slots are summed in a tree (contracts 1), the same on any number of ranks: steps of
// several slots in turns with steps whose gradients run into one accumulator in the order of slots.

#include <stdio.h>

#include "jobs/bench/bench.h"
#include "jobs/cli/commands.h"
#include "runtime/base/thread.h"

enum { MOST = 64 };
typedef struct side { vj_vjepa *m; int64_t step; double seconds[MOST]; } side;

static vj_status one_step(side *s, const vj_slot *slot, int64_t slots, double *seconds)
{
    vj_step_result r;
    return vj_bench_step(s->m, slot, slots, slots, ++s->step, false, &r, seconds);
}

static vj_status measure(const vj_bench_work *w, int64_t slots, int pairs, bool json)
{
    vj_device *d = NULL;
    vj_slot slot;
    side sides[2] = { 0 };   // tree, any order
    double ratio[MOST], warm;
    VJ_TRY(vj_device_open(&d, "cpu", (int)w->threads));
    VJ_TRY(vj_bench_slot(w, &slot));
    for (int i = 0; i < 2; i++) {
        vj_slot_bound bound = vj_bench_bound(w);
        bound.slots = slots;
        bound.any_order = i == 1;
        VJ_TRY(vj_vjepa_create(&sides[i].m, &w->model, 2, d, &bound, true));
        VJ_TRY(vj_vjepa_init(sides[i].m, 1));
        VJ_TRY(one_step(&sides[i], &slot, slots, &warm));
    }
    for (int r = 0; r < pairs; r++) {
        for (int i = 0; i < 2; i++) VJ_TRY(one_step(&sides[(i + r) % 2], &slot, slots, &sides[(i + r) % 2].seconds[r]));
        ratio[r] = sides[0].seconds[r] / sides[1].seconds[r];
    }
    if (json) {
        vj_json_writer out = { .pretty = true };
        vj_json_begin_object(&out, NULL);
        vj_bench_put_machine(&out, w->threads);
        vj_json_put_text(&out, "model", w->model.preset);
        vj_json_put_i64(&out, "slots", slots);
        vj_bench_put_figure(&out, "tree_seconds", sides[0].seconds, pairs);
        vj_bench_put_figure(&out, "any_order_seconds", sides[1].seconds, pairs);
        vj_bench_put_figure(&out, "ratio", ratio, pairs);
        vj_json_end_object(&out);
        vj_cli_print_json(&out);
    } else {
        vj_bench_print_machine(w->threads);
        printf("%s, %lld slots of %lld clips: %.1f ms a step in the order of the tree, %.1f ms in any order: %.3f x (median of %d pairs)\n", w->model.preset,
               (long long)slots, (long long)w->batch, 1e3 * vj_bench_median(sides[0].seconds, pairs), 1e3 * vj_bench_median(sides[1].seconds, pairs),
               vj_bench_median(ratio, pairs), pairs);
    }
    for (int i = 0; i < 2; i++) vj_vjepa_destroy(&sides[i].m);
    vj_device_close(&d);
    return VJ_OK;
}

vj_status vj_cmd_bench_slots(int argc, char **argv)
{
    const char *model = "quickstart";
    int64_t crop = 64, frames = 8, batch = 1, slots = 8, threads = 0, pairs = 11;
    bool json = false;
    const vj_option options[] = {
        { "model", VJ_OPT_TEXT, &model, "PRESET", "model.preset (default: quickstart)" },
        { "crop", VJ_OPT_INT, &crop, "PX", "side of a clip (default: 64)" },
        { "frames", VJ_OPT_INT, &frames, "N", "frames of a clip (default: 8)" },
        { "batch", VJ_OPT_INT, &batch, "N", "clips of a slot (default: 1)" },
        { "slots", VJ_OPT_INT, &slots, "N", "slots of a step (default: 8)" },
        { "threads", VJ_OPT_INT, &threads, "N", "threads (default: CPUs this process may use)" },
        { "pairs", VJ_OPT_INT, &pairs, "N", "pairs of steps (default: 11)" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("bench slots", "",
                          "What it costs that gradients of slots are summed in a tree, which gives the same bits on any number of ranks: a step, in turns with\n"
                          "one whose gradients run into one sum in the order of slots.\nJSON: model, slots, tree_seconds, any_order_seconds, ratio.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, "no word"));
    VJ_CHECK(slots >= 1 && slots <= 4096 && pairs >= 1 && pairs <= MOST && threads >= 0, VJ_ERR_USAGE,
             "--slots 1 to 4096, --pairs 1 to %d and --threads from 0 on are possible", MOST);
    vj_bench_work w = { .frames = frames, .crop = crop, .batch = batch, .threads = threads > 0 ? threads : vj_cpu_count() };
    VJ_TRY(vj_bench_model(&w, model, 0, 0, VJ_RECOMPUTE_NONE));
    VJ_TRY(vj_bench_masks(&w, NULL, NULL));
    return measure(&w, slots, (int)pairs, json);
}
