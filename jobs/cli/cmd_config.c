// vjepa config show|check CONFIG [key=value ...]: what a configuration comes to, and whether it fits this machine.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "configs/run_config.h"
#include "data/loader.h"
#include "data/masks.h"
#include "jobs/cli/commands.h"
#include "jobs/train/mesh_spec.h"
#include "jobs/train/monitor.h"
#include "jobs/train/roof.h"
#include "jobs/train/room.h"
#include "model/layouts.h"
#include "model/vjepa.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"

typedef struct costs {
    int64_t encoder, predictor, mask_tokens;   // parameters
    int64_t tokens;                            // of a clip
    vj_mask_counts masks[VJ_MAX_MASKS];
    vj_memory_plan memory;
    int64_t loader, held_out, monitors, copy, total;     // bytes of memory besides the model's, and of all
    int64_t checkpoint, disk;                  // bytes
    double flop;                               // of a step
} costs;

static int64_t longest(const vj_int_list *fpc)
{
    int64_t n = 0;
    for (int64_t i = 0; i < fpc->n; i++) n = fpc->v[i] > n ? fpc->v[i] : n;
    return n;
}

// FLOP of a step from the mean token counts of simulated masks (mean of squares where squares count).
static double step_flop(const vj_run_config *c, const costs *k)
{
    const vj_model_config *m = &c->model;
    const double d = (double)m->width, q = (double)m->pred_width, brick = (double)(3 * m->tubelet * m->patch * m->patch), N = (double)k->tokens;
    double clip = (double)m->depth * (8 * N * d * d + 4 * N * d * (double)m->hidden + 4 * N * N * d) + 2 * N * brick * d;
    for (int64_t i = 0; i < c->mask.n; i++) {
        const double K = k->masks[i].mean_K, P = k->masks[i].mean_P, KK = k->masks[i].mean_KK, n = K + P;
        clip += 3 * ((double)m->depth * (8 * K * d * d + 4 * K * d * (double)m->hidden + 4 * KK * d) + 2 * K * brick * d);
        clip += 3 * ((double)m->pred_depth * (24 * n * q * q + 4 * n * n * q) + 2 * q * d * n);
    }
    return clip * (double)c->train.batch;
}

static vj_status count(const vj_run_config *c, costs *k)
{
    *k = (costs){ 0 };
    k->mask_tokens = c->model.mask_tokens > 0 ? c->model.mask_tokens : c->mask.n * c->data.fpc.n;
    k->encoder = vj_model_encoder_params(&c->model);
    k->predictor = vj_model_predictor_params(&c->model, k->mask_tokens);
    const int64_t F = longest(&c->data.fpc), side = c->data.crop / c->model.patch;
    const vj_token_grid grid = { F / c->model.tubelet, side, side };
    k->tokens = grid.t * grid.h * grid.w;
    vj_slot_bound bound;
    VJ_TRY(vj_room_expected(c, &bound, k->masks));
    const vj_dtype real = strcmp(c->train.device, "ref") == 0 ? VJ_F64 : VJ_F32;
    vj_memory_plan most;
    VJ_TRY(vj_vjepa_plan(&c->model, k->mask_tokens, &bound, true, real, &most));
    k->checkpoint = most.params + most.moments + most.target;   // of all ranks together
    vj_mesh mesh;
    vj_mesh_spec spec;
    if (c->train.parallel_ranks > 1) {
        VJ_TRY(vj_mesh_spec_of(c, (int)c->train.parallel_ranks, k->mask_tokens, &bound, real, &spec));
        VJ_TRY(vj_mesh_plan(&mesh, &spec, (int)c->train.parallel_ranks, 0));
        bound.mesh = &mesh;
    }
    VJ_TRY(vj_vjepa_plan(&c->model, k->mask_tokens, &bound, true, real, &k->memory));
    const vj_loader_stage stage = { .batch = c->train.batch, .slot = c->mask.group, .crop = c->data.crop, .tubelet = c->model.tubelet,
                                    .patch = c->model.patch, .fpc = c->data.fpc, .fps = c->data.fps, .world = 1, .threads = (int)c->data.threads };
    k->loader = vj_loader_bytes(&c->data, &c->mask, &stage);
    if (c->train.held_out_every > 0) {
        k->held_out = k->tokens * c->model.width * (c->train.held_out_constant * 4 + 4 + 4 * 8) + 2 * 8 * c->mask.n * c->mask.group * k->tokens * c->model.width;
    }
    k->monitors = vj_monitor_bytes(c);
    const int64_t parts = c->train.parallel_ranks > 1 && c->train.parallel_mode != VJ_DDP ? c->train.parallel_ranks : 1;
    if (c->train.checkpoint_async && c->train.checkpoint_every < c->train.steps) k->copy = k->checkpoint / parts;   // the last save needs none
    k->total = k->memory.total + k->loader + k->held_out + k->monitors + k->copy;
    const int64_t for_ever = c->train.checkpoint_keep_every > 0 ? c->train.steps / c->train.checkpoint_keep_every : 0;
    const int64_t kept = c->train.checkpoint_keep + 1 + for_ever;   // one more while the next is written
    k->disk = k->checkpoint * kept;
    k->flop = step_flop(c, k);
    return VJ_OK;
}

static const char *flop_text(char out[24], double flop)
{
    static const char *const unit[] = { "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP" };
    int u = 0;
    for (flop /= 1e9; flop >= 999.5 && u < 4; u++) flop /= 1000;
    snprintf(out, 24, "%.3g %s", flop, unit[u]);
    return out;
}

static void line(const char *name, double bytes, const char *note)
{
    char text[24];
    vj_bytes_text(text, bytes);
    printf("  %-26s %9s  %s\n", name, text, note);
}

static void print_model(const vj_run_config *c, const costs *k)
{
    printf("model       %s: encoder %lld parameters (%lld x %lld, %lld heads), predictor %lld (%lld x %lld, %lld heads, %lld mask tokens)\n", c->model.preset,
           (long long)k->encoder, (long long)c->model.width, (long long)c->model.depth, (long long)c->model.heads, (long long)k->predictor,
           (long long)c->model.pred_width, (long long)c->model.pred_depth, (long long)c->model.pred_heads, (long long)k->mask_tokens);
}

// Of one stage with `steps` steps.
static void print_stage(const vj_run_config *c, const costs *k, int64_t steps)
{
    printf("clip        %lld frames x %lld px: %lld tokens\n", (long long)longest(&c->data.fpc), (long long)c->data.crop, (long long)k->tokens);
    char over[96];
    switch (c->mask.truncate) {
    case VJ_TRUNCATE_GLOBAL: vj_format(over, sizeof over, "steps of %lld samples", (long long)c->train.batch); break;
    case VJ_TRUNCATE_FIXED: vj_format(over, sizeof over, "block shapes"); break;
    case VJ_TRUNCATE_RANK: vj_format(over, sizeof over, "ranks with one slot of %lld each", (long long)c->mask.group); break;
    default: vj_format(over, sizeof over, "slots of %lld", (long long)c->mask.group);
    }
    for (int64_t i = 0; i < c->mask.n; i++) {
        printf("mask %lld      context %.0f tokens, target %.0f (means over %s; at most %lld and %lld)\n", (long long)i, k->masks[i].mean_K,
               k->masks[i].mean_P, over, (long long)k->masks[i].max_K, (long long)k->masks[i].max_P);
    }
    char step[24], all[24];
    printf("step        %lld samples in %lld slots, %s; %lld steps, %s\n", (long long)c->train.batch,
           (long long)(c->train.batch / c->mask.group), flop_text(step, k->flop), (long long)steps,
           flop_text(all, k->flop * (double)steps));
}

static void print_memory(const vj_run_config *c, const costs *k)
{
    if (c->train.parallel_ranks > 1) printf("memory of each of %lld ranks\n", (long long)c->train.parallel_ranks);
    else puts("memory");
    line("weights", (double)k->memory.params, "");
    line("target encoder", (double)k->memory.target, "");
    if (k->memory.gathered > 0) line("gathered weights", (double)k->memory.gathered, "whole units on their way through");
    line("Adam's moments", (double)k->memory.moments, "");
    line("gradients", (double)k->memory.gradients, "sums of the tree over slots");
    line("saved activations", (double)k->memory.saved, c->model.recompute ? "with model.recompute=block" : "");
    line("scratch", (double)(k->memory.scratch + k->memory.input), "");
    line("loader", (double)k->loader, "batches in flight (data.prefetch)");
    line("held-out figures", (double)k->held_out, "");
    line("monitors", (double)k->monitors, "");
    line("copy for saves", (double)k->copy, "checkpoint.async");
    line("total", (double)k->total, "");
    puts("disk");
    line("a checkpoint", (double)k->checkpoint, "");
    line("all that are kept", (double)k->disk, "checkpoint.keep, checkpoint.keep_every");
}

static void put_json(vj_json_writer *w, const vj_run_config *c, const costs *k)
{
    const struct { const char *name; int64_t value; } figures[] = {
        { "encoder_parameters", k->encoder }, { "predictor_parameters", k->predictor }, { "mask_tokens", k->mask_tokens },
        { "frames", longest(&c->data.fpc) }, { "crop", c->data.crop }, { "tokens", k->tokens },
        { "batch", c->train.batch }, { "slots", c->train.batch / c->mask.group }, { "steps", c->train.steps },
    };
    const struct { const char *name; int64_t value; } memory[] = {
        { "weights", k->memory.params }, { "target_encoder", k->memory.target }, { "gathered_weights", k->memory.gathered }, { "moments", k->memory.moments },
        { "gradients", k->memory.gradients }, { "saved_activations", k->memory.saved },
        { "scratch", k->memory.scratch + k->memory.input }, { "loader", k->loader }, { "held_out", k->held_out }, { "monitors", k->monitors },
        { "save_copy", k->copy }, { "total", k->total },
    };
    vj_json_put_text(w, "model", c->model.preset);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) vj_json_put_i64(w, figures[i].name, figures[i].value);
    vj_json_put_f64(w, "step_flop", k->flop);
    vj_json_begin_array(w, "masks");
    for (int64_t i = 0; i < c->mask.n; i++) {
        vj_json_begin_object(w, NULL);
        vj_json_put_f64(w, "context_mean", k->masks[i].mean_K);
        vj_json_put_f64(w, "target_mean", k->masks[i].mean_P);
        vj_json_put_i64(w, "context_max", k->masks[i].max_K);
        vj_json_put_i64(w, "target_max", k->masks[i].max_P);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_begin_object(w, "memory_bytes");
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) vj_json_put_i64(w, memory[i].name, memory[i].value);
    vj_json_end_object(w);
    vj_json_put_i64(w, "checkpoint_bytes", k->checkpoint);
    vj_json_put_i64(w, "disk_bytes", k->disk);
}

// ---- what would fit -------------------------------------------------------------------------------------------------
// Changes that save memory, mildest first: the first four leave what is learned as it is.
typedef enum change { SAVE_COPY, PREFETCH, RECOMPUTE, NO_HELD_OUT, GROUP, BATCH, CHANGES } change;

// Takes one more step of a change; false when there is none left.
static bool save_memory(vj_run_config *c, change what)
{
    const int64_t slots = c->train.batch / c->mask.group;
    switch (what) {
    case SAVE_COPY: if (!c->train.checkpoint_async) return false; c->train.checkpoint_async = false; return true;
    case PREFETCH: if (c->data.prefetch == 1) return false; c->data.prefetch = 1; return true;
    case RECOMPUTE: if (c->model.recompute == VJ_RECOMPUTE_BLOCK) return false; c->model.recompute = VJ_RECOMPUTE_BLOCK; return true;
    case NO_HELD_OUT: if (c->train.held_out_every == 0) return false; c->train.held_out_every = 0; return true;
    case GROUP: {
        int64_t g = c->mask.group / 2;
        while (g > 1 && c->train.batch % g != 0) g--;
        if (g < 1) return false;
        c->mask.group = g;
        return true;
    }
    default: if (slots == 1) return false; c->train.batch = (slots + 1) / 2 * c->mask.group; return true;
    }
}

static void copy_change(vj_run_config *to, const vj_run_config *from, change what)
{
    switch (what) {
    case SAVE_COPY: to->train.checkpoint_async = from->train.checkpoint_async; break;
    case PREFETCH: to->data.prefetch = from->data.prefetch; break;
    case RECOMPUTE: to->model.recompute = from->model.recompute; break;
    case NO_HELD_OUT: to->train.held_out_every = from->train.held_out_every; break;
    case GROUP: to->mask.group = from->mask.group; break;
    default: to->train.batch = from->train.batch; break;
    }
}

static void name_changes(const vj_run_config *c, const vj_run_config *now, vj_str *out)
{
    if (now->train.checkpoint_async != c->train.checkpoint_async) vj_str_add(out, " checkpoint.async=false");
    if (now->data.prefetch != c->data.prefetch) vj_str_printf(out, " data.prefetch=%lld", (long long)now->data.prefetch);
    if (now->model.recompute != c->model.recompute) vj_str_add(out, " model.recompute=block");
    if (now->train.held_out_every != c->train.held_out_every) vj_str_add(out, " held_out.every=0");
    if (now->mask.group != c->mask.group) vj_str_printf(out, " mask.group=%lld", (long long)now->mask.group);
    if (now->train.batch != c->train.batch) vj_str_printf(out, " train.batch=%lld", (long long)now->train.batch);
}

static bool fits(const costs *k, int64_t have) { return k->total <= have; }

// Words that make it fit into `have` bytes, or why none do. Changes that turn out not to be needed are taken back.
static vj_status what_would_fit(const vj_run_config *c, int64_t have, vj_str *out)
{
    vj_run_config now = *c;
    costs k;
    VJ_TRY(count(&now, &k));
    for (int what = 0; what < CHANGES && !fits(&k, have); what++) {
        while (!fits(&k, have) && save_memory(&now, (change)what)) VJ_TRY(count(&now, &k));
    }
    char bytes[24];
    if (!fits(&k, have)) {
        vj_bytes_text(bytes, (double)k.total);
        vj_str_printf(out, "no batch or setting would, the least is %s; a smaller model.preset, data.crop or data.fpc is needed, "
                           "or a larger machine", bytes);
        return VJ_OK;
    }
    for (int what = 0; what < CHANGES; what++) {
        vj_run_config milder = now;
        costs of_milder;
        copy_change(&milder, c, (change)what);
        if (milder.train.batch % milder.mask.group != 0) continue;
        VJ_TRY(count(&milder, &of_milder));
        if (!fits(&of_milder, have)) continue;
        now = milder;
        k = of_milder;
    }
    vj_bytes_text(bytes, (double)k.total);
    vj_str_add(out, "what would fit:");
    name_changes(c, &now, out);
    vj_str_printf(out, " (%s)", bytes);
    return VJ_OK;
}

static vj_status fits_memory(const vj_run_config *c, const costs *k, int64_t have)
{
    char want[24], there[24];
    vj_bytes_text(want, (double)k->total);
    vj_bytes_text(there, (double)have);
    if (have > 0 && !fits(k, have)) {
        vj_str hint = { 0 };
        VJ_TRY(what_would_fit(c, have, &hint));
        vj_status status = vj_fail(VJ_ERR_CONFIG, "does not fit: %s of memory are needed, %s are available; %s", want, there,
                                   vj_str_text(&hint));
        vj_str_free(&hint);
        return status;
    }
    return VJ_OK;
}

static vj_status fits_disk(const vj_run_config *c, const costs *k, const char *run, int64_t space)
{
    char want[24], there[24];
    vj_bytes_text(want, (double)k->disk);
    vj_bytes_text(there, (double)space);
    if (k->disk > space) {
        // One more is there while the next is written; others write to the disk meanwhile, so a fiftieth stays free.
        int64_t keep = (space - space / 50) / k->checkpoint - 1;
        if (keep > c->train.checkpoint_keep) keep = c->train.checkpoint_keep;
        char hint[96] = "not even one checkpoint has room: another --run is needed";
        if (keep > 0) vj_format(hint, sizeof hint, "what would fit: checkpoint.keep=%lld checkpoint.keep_every=0", (long long)keep);
        VJ_FAIL(VJ_ERR_CONFIG, "does not fit: checkpoints need %s of disk, %s has room for %s; %s", want, run, there, hint);
    }
    return VJ_OK;
}

// What `check` says of one stage of a run.
typedef struct stage_costs {
    vj_run_config config;
    costs costs;
    int64_t from, steps;
} stage_costs;

// Every stage of a run; free() *out. *largest is the index of the one that needs most memory.
static vj_status count_stages(const vj_run_config *c, stage_costs **out, int *n, int *largest)
{
    *n = vj_stage_count(c);
    *largest = 0;
    stage_costs *s = calloc((size_t)*n, sizeof *s);
    VJ_CHECK(s != NULL, VJ_ERR_NOMEM, "no memory for a list of %d stages", *n);
    for (int i = 0; i < *n; i++) {
        const int64_t end = i + 1 < *n ? c->stages.from.v[i + 1] : c->train.steps;
        s[i].config = vj_stage_config(c, i);
        s[i].from = *n > 1 ? c->stages.from.v[i] : 0;
        s[i].steps = end - s[i].from;
        vj_status status = count(&s[i].config, &s[i].costs);
        if (status != VJ_OK) {
            free(s);
            return status;
        }
        if (s[i].costs.total > s[*largest].costs.total) *largest = i;
    }
    *out = s;
    return VJ_OK;
}

// What the device reaches, FLOP/s; 0 for `ref`, which is made to be right: nobody waits for its steps.
static vj_status measure_roof(const vj_run_config *c, double *roof)
{
    *roof = 0;
    if (strcmp(c->train.device, "ref") == 0) return VJ_OK;
    vj_device *device = NULL;
    VJ_TRY(vj_device_open(&device, c->train.device, (int)c->train.threads));
    const vj_status status = vj_roof_measure(device, roof);
    vj_device_close(&device);
    return status;
}

static double expected_share(const stage_costs *s)
{
    return vj_roof_expected_share(s->costs.flop * (double)s->config.mask.group / (double)s->config.train.batch);
}

static double step_seconds(const stage_costs *s, double roof) { return s->costs.flop / (roof * expected_share(s)); }

static double run_seconds(const stage_costs *s, int n, double roof)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += step_seconds(&s[i], roof) * (double)s[i].steps;
    return sum;
}

static void time_text(char out[32], double seconds)
{
    const double day = 86400, year = 365.25 * day;
    if (seconds < 10) snprintf(out, 32, "%.2g s", seconds);
    else if (seconds < 2 * day) vj_duration_text(out, seconds);
    else if (seconds < 2 * year) snprintf(out, 32, "%.0f days", seconds / day);
    else snprintf(out, 32, "%.0f years", seconds / year);
}

static void print_time(const stage_costs *s, double roof)
{
    char step[32], all[32];
    time_text(step, step_seconds(s, roof));
    time_text(all, step_seconds(s, roof) * (double)s->steps);
    printf("time        about %s a step, %s for all: %.0f %% of the %.0f GFLOP/s that %lld %s here now\n", step, all,
           100 * expected_share(s), roof * 1e-9, (long long)s->config.train.threads, s->config.train.threads == 1 ? "thread reaches" : "threads reach");
}

// The roof is 0 where no time is expected.
static void print(const stage_costs *s, int n, int largest, double roof)
{
    print_model(&s[0].config, &s[0].costs);
    for (int i = 0; i < n; i++) {
        if (n > 1) printf("stage %d     steps %lld to %lld\n", i + 1, (long long)s[i].from, (long long)(s[i].from + s[i].steps));
        print_stage(&s[i].config, &s[i].costs, s[i].steps);
        if (roof > 0) print_time(&s[i], roof);
    }
    print_memory(&s[largest].config, &s[largest].costs);
}

static void put_stages(vj_json_writer *w, const stage_costs *s, int n, double roof)
{
    vj_json_begin_array(w, "stages");
    for (int i = 0; i < n; i++) {
        vj_json_begin_object(w, NULL);
        vj_json_put_i64(w, "from", s[i].from);
        vj_json_put_i64(w, "steps", s[i].steps);
        vj_json_put_i64(w, "frames", longest(&s[i].config.data.fpc));
        vj_json_put_i64(w, "crop", s[i].config.data.crop);
        vj_json_put_i64(w, "tokens", s[i].costs.tokens);
        vj_json_put_f64(w, "step_flop", s[i].costs.flop);
        vj_json_put_f64(w, "step_seconds", roof > 0 ? step_seconds(&s[i], roof) : NAN);
        vj_json_put_i64(w, "total_bytes", s[i].costs.total);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
}

static void print_fits(const costs *k, int64_t memory, int64_t disk)
{
    char need[24], have[24];
    vj_bytes_text(need, (double)k->total);
    vj_bytes_text(have, (double)memory);
    printf("fits: %s of memory, ", need);
    if (memory > 0) printf("%s are available", have);
    else printf("how much this machine has is not known");
    vj_bytes_text(need, (double)k->disk);
    vj_bytes_text(have, (double)disk);
    printf("; %s of disk, %s are free\n", need, have);
}

static vj_status check(const vj_args *args, const char *run, bool json)
{
    vj_run_config whole;
    vj_config *origins = NULL;
    stage_costs *stages = NULL;
    int n, largest;
    VJ_TRY(vj_run_config_load(&whole, &origins, args->positional[0], args->overrides, args->n_overrides));
    vj_config_destroy(&origins);
    VJ_TRY(count_stages(&whole, &stages, &n, &largest));
    const vj_run_config *c = &stages[largest].config;
    const costs *k = &stages[largest].costs;
    double roof = 0;
    vj_status status = measure_roof(c, &roof);
    if (status == VJ_OK && !json) print(stages, n, largest, roof);
    fflush(stdout);
    if (status != VJ_OK) {
        free(stages);
        return status;
    }
    const int64_t memory = vj_memory_available();
    int64_t disk = 0;
    status = vj_disk_free(run, &disk);
    if (status == VJ_OK) status = fits_memory(c, k, memory);
    if (status == VJ_OK) status = fits_disk(c, k, run, disk);
    if (json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        put_json(&w, c, k);
        vj_json_put_f64(&w, "roof_flop_per_second", roof > 0 ? roof : NAN);
        vj_json_put_f64(&w, "expected_roof_share", roof > 0 ? expected_share(&stages[largest]) : NAN);
        vj_json_put_f64(&w, "step_seconds", roof > 0 ? step_seconds(&stages[largest], roof) : NAN);
        vj_json_put_f64(&w, "run_seconds", roof > 0 ? run_seconds(stages, n, roof) : NAN);
        put_stages(&w, stages, n, roof);
        if (memory > 0) vj_json_put_i64(&w, "memory_available_bytes", memory);
        else vj_json_put_null(&w, "memory_available_bytes");
        vj_json_put_i64(&w, "disk_free_bytes", disk);
        vj_json_put_bool(&w, "fits", status == VJ_OK);
        vj_json_put_text(&w, "problem", status == VJ_OK ? "" : vj_error_text());
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    } else if (status == VJ_OK) {
        print_fits(k, memory, disk);
    }
    free(stages);
    return status;
}

static vj_status show(const vj_args *args, bool origin, bool json)
{
    vj_run_config c;
    vj_config *origins = NULL;
    VJ_TRY(vj_run_config_load(&c, &origins, args->positional[0], args->overrides, args->n_overrides));
    if (json) {
        vj_json_writer w = { .pretty = true };
        vj_json_begin_object(&w, NULL);
        vj_config_put_json(origins, &w);
        vj_json_end_object(&w);
        vj_cli_print_json(&w);
    } else {
        vj_str text = { 0 };
        vj_config_resolved(origins, origin, &text);
        fputs(vj_str_text(&text), stdout);
        vj_str_free(&text);
    }
    vj_config_destroy(&origins);
    return VJ_OK;
}

#define CONFIG "CONFIG is a file, or the name of a built-in one: quickstart, pretrain/vitl16, cooldown/vitl16-64x384, ...\n"

static vj_status config_show(int argc, char **argv)
{
    bool origin = false, json = false;
    const vj_option options[] = {
        { "origin", VJ_OPT_FLAG, &origin, NULL, "say where each value comes from" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("config show", "CONFIG [key=value ...]",
                          "Every key with its value, as YAML that loads to the same. " CONFIG
                          "JSON: an object by key, each {value, origin}.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "a configuration"));
    return show(&args, origin, json);
}

static vj_status config_check(int argc, char **argv)
{
    const char *run = ".";
    bool json = false;
    const vj_option options[] = {
        { "run", VJ_OPT_TEXT, &run, "DIR", "where checkpoints would lie (default: here)" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("config check", "CONFIG [key=value ...]",
                          "What a configuration costs (parameters, memory, disk, FLOP and expected time of a step, from products of matrices\n"
                          "measured for a moment); exit code 2 when it does not fit this machine. " CONFIG
                          "JSON: model, encoder_parameters, predictor_parameters, mask_tokens, frames, crop, tokens, batch, slots, steps,\n"
                          "step_flop, masks [context_mean, target_mean, context_max, target_max], memory_bytes (of each rank where parallel.ranks says\n"
                          "several) {weights, target_encoder, gathered_weights, moments, gradients, saved_activations, scratch, loader, held_out, monitors, total}, checkpoint_bytes, disk_bytes,\n"
                          "roof_flop_per_second, expected_roof_share, step_seconds, run_seconds (null with device=ref), stages [from, steps,\n"
                          "frames, crop, tokens, step_flop, step_seconds, total_bytes], memory_available_bytes, disk_free_bytes, fits, problem.\n"
                          "Of a run in stages, the figures outside of `stages` are those of the one that needs most memory.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 1, 1, "a configuration"));
    return check(&args, run, json);
}

// Built-in configurations, with the file that stands for one in an installed program.
static void list(bool json)
{
    const char *folder = vj_run_config_folder(), *name;
    char about[160], file[600];
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_begin_array(&w, "configs");
    for (int i = 0; (name = vj_run_config_builtin(i, about)) != NULL; i++) {
        file[0] = '\0';
        if (folder) vj_format(file, sizeof file, "%s/%s.yaml", folder, name);
        if (!vj_path_exists(file)) file[0] = '\0';
        if (!json) printf("%-28s %s\n", name, about);
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "name", name);
        vj_json_put_text(&w, "about", about);
        vj_json_put_text(&w, "file", file);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_put_text(&w, "folder", folder ? folder : "");
    vj_json_end_object(&w);
    if (json) vj_cli_print_json(&w);
    else if (folder) printf("\nA file in %s wins over the built-in one of its name.\n", folder);
    vj_json_writer_free(&w);
}

static vj_status config_ls(int argc, char **argv)
{
    bool json = false;
    const vj_option options[] = { VJ_OPT_JSON(&json), { NULL, VJ_OPT_END, NULL, NULL, NULL } };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("config ls", "",
                          "The built-in configurations. To change one, write a file that begins with `base: NAME`, or override keys on the\n"
                          "command line.\nJSON: configs [name, about, file], folder.", options);
        return VJ_OK;
    }
    VJ_TRY(vj_cli_expect(&args, 0, 0, ""));
    list(json);
    return VJ_OK;
}

static const vj_command subcommands[] = {
    { "ls", config_ls, "the built-in configurations" },
    { "show", config_show, "every key with its value, and where it comes from" },
    { "check", config_check, "what it costs, and whether it fits this machine" },
    { "schedule", vj_config_schedule, "what ranks send each other during a slot, and when" },
    { NULL, NULL, NULL },
};

vj_status vj_cmd_config(int argc, char **argv) { return vj_cli_dispatch("config", subcommands, argc, argv); }
