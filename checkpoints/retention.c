// Which checkpoints of a run stay, and removing the others.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/checkpoint.h"
#include "checkpoints/pins.h"
#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/file.h"

static void pins_path(char out[640], const char *run_dir)
{
    VJ_ASSERT(strlen(run_dir) < 480);
    vj_path_join(out, 640, run_dir, "pins.json");
}

// ---- pins
// -------------------------------------------------------------------------------------------------------------
static vj_status read_pin(const vj_json *v, vj_pin *out)
{
    const char *why = NULL, *when = NULL;
    VJ_TRY(vj_json_i64(v, "step", &out->step));
    VJ_TRY(vj_json_text(v, "why", &why));
    VJ_TRY(vj_json_text(v, "when", &when));
    snprintf(out->why, sizeof out->why, "%s", why);
    snprintf(out->when, sizeof out->when, "%s", when);
    return VJ_OK;
}

vj_status vj_pins_read(const char *run_dir, vj_pins *out)
{
    char path[640];
    *out = (vj_pins){ 0 };
    VJ_CHECK(strlen(run_dir) < 480, VJ_ERR_USAGE, "the run directory's path is too long");
    pins_path(path, run_dir);
    if (!vj_path_exists(path)) return VJ_OK;
    vj_json_doc *doc = NULL;
    VJ_TRY_CTX(vj_json_read(&doc, path), "reading pins (nothing is removed while it cannot be read)");
    const vj_json *list = vj_json_get(vj_json_root(doc), "pins");
    vj_status status = VJ_OK;
    if (!vj_json_is_array(list)) status = vj_fail(VJ_ERR_CONFIG, "a list \"pins\" was expected");
    out->v = calloc((size_t)vj_json_count(list) + 1, sizeof *out->v);
    if (status == VJ_OK && !out->v) status = vj_fail(VJ_ERR_NOMEM, "no memory for a list of pins");
    for (int64_t i = 0; i < vj_json_count(list) && status == VJ_OK; i++)
        status = read_pin(vj_json_at(list, i), &out->v[out->n++]);
    vj_json_destroy(&doc);
    if (status != VJ_OK) {
        vj_context("reading %s (nothing is removed while it cannot be read)", path);
        vj_pins_free(out);
    }
    return status;
}

void vj_pins_free(vj_pins *pins)
{
    free(pins->v);
    *pins = (vj_pins){ 0 };
}

const vj_pin *vj_pins_find(const vj_pins *pins, int64_t step)
{
    for (int64_t i = 0; i < pins->n; i++) {
        if (pins->v[i].step == step) return &pins->v[i];
    }
    return NULL;
}

static vj_status write_pins(const char *run_dir, const vj_pins *pins, int64_t without, const vj_pin *more)
{
    char path[640];
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_begin_array(&w, "pins");
    for (int64_t i = 0; i <= pins->n; i++) {
        const vj_pin *p = i < pins->n ? &pins->v[i] : more;
        if (!p || (i < pins->n && p->step == without)) continue;
        vj_json_begin_object(&w, NULL);
        vj_json_put_i64(&w, "step", p->step);
        vj_json_put_text(&w, "why", p->why);
        vj_json_put_text(&w, "when", p->when);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    vj_str_add(&w.out, "\n");
    pins_path(path, run_dir);
    const vj_status status = vj_file_write_atomic(path, vj_str_text(&w.out), w.out.length);
    vj_json_writer_free(&w);
    return status;
}

vj_status vj_pin_set(const char *run_dir, int64_t step, const char *why)
{
    vj_pins pins;
    vj_pin pin = { .step = step };
    VJ_CHECK(strlen(why) < sizeof pin.why, VJ_ERR_USAGE, "--why: at most %zu bytes", sizeof pin.why - 1);
    vj_format(pin.why, sizeof pin.why, "%s", why);
    vj_wall_text(pin.when);
    VJ_TRY(vj_pins_read(run_dir, &pins));
    const vj_status status = write_pins(run_dir, &pins, step, &pin);
    vj_pins_free(&pins);
    return status;
}

vj_status vj_pin_clear(const char *run_dir, int64_t step)
{
    vj_pins pins;
    VJ_TRY(vj_pins_read(run_dir, &pins));
    vj_status status = VJ_OK;
    if (!vj_pins_find(&pins, step))
        status = vj_fail(VJ_ERR_USAGE, "%s: the checkpoint of step %lld is not pinned", run_dir, (long long)step);
    if (status == VJ_OK) status = write_pins(run_dir, &pins, step, NULL);
    vj_pins_free(&pins);
    return status;
}

// ---- retention
// --------------------------------------------------------------------------------------------------------
static void keeps(vj_kept *k, const char *why)
{
    const size_t used = strlen(k->why);
    k->stays = true;
    snprintf(k->why + used, sizeof k->why - used, "%s%s", used ? ", " : "", why);
}

static void decide(vj_kept *plan, const vj_checkpoint_info *list, int64_t n, int64_t keep, int64_t keep_every,
                   int64_t recommended, const vj_pins *pins)
{
    int64_t last_constant = -1, newer = 0;
    for (int64_t i = 0; i < n; i++) {
        if (list[i].valid && strcmp(list[i].schedule_phase, "decay") != 0) last_constant = i;   // a cooldown needs it
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        vj_kept *k = &plan[i];
        const vj_pin *pin = vj_pins_find(pins, list[i].step);
        k->step = list[i].step;
        k->bytes = list[i].bytes;
        snprintf(k->path, sizeof k->path, "%s", list[i].path);
        if (!list[i].valid) {   // damaged ones are for a person to look at
            keeps(k, "damaged");
            continue;
        }
        if (newer++ < keep) keeps(k, "among the newest");
        if (keep_every > 0 && list[i].step % keep_every == 0) keeps(k, "a multiple of checkpoint.keep_every");
        if (i == last_constant) keeps(k, "the last of the constant phase");
        if (list[i].step == recommended) keeps(k, "recommended");
        if (pin) {
            char why[240];
            snprintf(why, sizeof why, "pinned%s%s", pin->why[0] ? ": " : "", pin->why);
            keeps(k, why);
        }
    }
}

vj_status vj_retention_plan(const char *run_dir, int64_t keep, int64_t keep_every, vj_kept **out, int64_t *n)
{
    vj_checkpoint_info *list = NULL;
    vj_pins pins = { 0 };
    int64_t recommended = -1;
    *out = NULL;
    VJ_TRY(vj_checkpoint_list(run_dir, &list, n));
    if (vj_checkpoint_recommended(run_dir, &recommended, NULL) != VJ_OK) vj_error_clear();   // there is none, then
    vj_status status = vj_pins_read(run_dir, &pins);
    if (status == VJ_OK) {
        *out = calloc((size_t)*n + 1, sizeof **out);
        if (*out) decide(*out, list, *n, keep, keep_every, recommended, &pins);
        else status = vj_fail(VJ_ERR_NOMEM, "no memory to list checkpoints");
    }
    vj_pins_free(&pins);
    free(list);
    return status;
}

vj_status vj_retention_apply(const char *run_dir, const vj_kept *plan, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (plan[i].stays) continue;
        VJ_CHECK(!vj_fault_point("checkpoint.retention", plan[i].path), VJ_ERR_IO, "%s: cannot be removed (injected)",
                 plan[i].path);
        // Out of sight first: a directory half removed must not look like a checkpoint.
        char gone[700];
        vj_format(gone, sizeof gone, "%s/ckpt/old.tmp-%d", run_dir, (int)getpid());
        VJ_TRY(vj_dir_remove(gone));
        VJ_TRY(vj_io_rename(plan[i].path, gone));
        VJ_TRY(vj_dir_remove(gone));
    }
    return VJ_OK;
}
