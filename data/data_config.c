// data/data_config.c
//
// The tables behind data.* and mask.*, and the rules that need more than one key.

#include "data/data_config.h"

#include <stddef.h>
#include <string.h>

#include "runtime/base/str.h"
#include "runtime/tensor/clip_batch.h"

static const char *const temporal_names[] = { "paper-code", "pts", NULL };
static const char *const rng_names[] = { "philox", "official", NULL };
static const char *const truncate_names[] = { "slot", "global", "fixed", "rank", NULL };

#define AT(member) offsetof(vj_data_config, member)
#define FREE VJ_FIELD_MAY_CHANGE

const vj_field vj_data_fields[] = {
    { .key = "data.dir", .kind = VJ_FIELD_TEXT, .offset = AT(dir), .text = "", .flags = FREE,
      .help = "folder of shards made by `vjepa data pack`" },
    { .key = "data.weights", .kind = VJ_FIELD_WEIGHTS, .offset = AT(weights), .text = "{}",
      .help = "mixing weight per source; sources left out are not used; empty: the weights of the catalogue" },
    { .key = "data.mix", .kind = VJ_FIELD_TEXT, .offset = AT(mix), .text = "", .flags = FREE,
      .help = "weights that change later: \"STEP: a=1 b=3; STEP: a=0\", others stay; what was seen already must stay as it was" },
    { .key = "data.fpc", .kind = VJ_FIELD_INT_LIST, .offset = AT(fpc), .text = "[16]", .i = { 0, 1, 1024 },
      .help = "frames per clip: one for all sources, or one per source in the catalogue's order" },
    { .key = "data.fps", .kind = VJ_FIELD_FLOAT, .offset = AT(fps), .f = { 4.0, 0.01, 1000.0 },
      .help = "frames per second of a clip" },
    { .key = "data.crop", .kind = VJ_FIELD_INT, .offset = AT(crop), .i = { 256, 8, 4096 },
      .help = "side of the square crop in pixels" },
    { .key = "data.temporal", .kind = VJ_FIELD_ENUM, .offset = AT(temporal), .names = temporal_names,
      .i = { VJ_TEMPORAL_PAPER_CODE, 0, 0 },
      .help = "choice of frames: by frame number as published, or by presentation time" },
    { .key = "data.crop_scale_low", .kind = VJ_FIELD_FLOAT, .offset = AT(crop_scale_low), .f = { 0.3, 1e-4, 10.0 },
      .help = "smallest area of a crop, as a fraction of the frame" },
    { .key = "data.crop_scale_high", .kind = VJ_FIELD_FLOAT, .offset = AT(crop_scale_high), .f = { 1.0, 1e-4, 10.0 },
      .help = "largest area of a crop" },
    { .key = "data.crop_ratio_low", .kind = VJ_FIELD_FLOAT, .offset = AT(crop_ratio_low), .f = { 0.75, 0.01, 100.0 },
      .help = "smallest width / height of a crop" },
    { .key = "data.crop_ratio_high", .kind = VJ_FIELD_FLOAT, .offset = AT(crop_ratio_high), .f = { 1.35, 0.01, 100.0 },
      .help = "largest width / height of a crop" },
    { .key = "data.flip", .kind = VJ_FIELD_BOOL, .offset = AT(flip), .b = true,
      .help = "mirror every other clip" },
    { .key = "data.batch_exact", .kind = VJ_FIELD_BOOL, .offset = AT(batch_exact), .b = false,
      .help = "every batch holds the sources in exact proportion (within one sample)" },
    { .key = "data.threads", .kind = VJ_FIELD_INT, .offset = AT(threads), .i = { -1, 1, 1024 },
      .flags = FREE | VJ_FIELD_AUTO, .help = "decoding threads; auto: one per CPU" },
    { .key = "data.prefetch", .kind = VJ_FIELD_INT, .offset = AT(prefetch), .i = { 2, 1, 64 }, .flags = FREE,
      .help = "batches made ahead of the one in use" },
    { .key = "data.max_bad", .kind = VJ_FIELD_FLOAT, .offset = AT(max_bad), .f = { 0.001, 0.0, 1.0 }, .flags = FREE,
      .help = "ceiling of bad samples per source, a fraction; three are always allowed" },
    { .key = "data.io_warn_s", .kind = VJ_FIELD_FLOAT, .offset = AT(io_warn), .f = { 30, 0.0, 1e6 }, .flags = FREE,
      .help = "seconds after which a read that has not come back is named in a warning; 0: never" },
    { .key = "data.io_hedge_s", .kind = VJ_FIELD_FLOAT, .offset = AT(io_hedge), .f = { 60, 0.0, 1e6 }, .flags = FREE,
      .help = "seconds after which such a read is made again by another thread; 0: never" },
    { .key = "data.io_fatal_s", .kind = VJ_FIELD_FLOAT, .offset = AT(io_fatal), .f = { 900, 0.0, 1e6 }, .flags = FREE,
      .help = "seconds after which such a read ends the run (exit code 86); 0: never" },
    { .kind = VJ_FIELD_END },
};

#undef AT
#define AT(member) offsetof(vj_mask_config, member)

const vj_field vj_mask_fields[] = {
    { .key = "mask.group", .kind = VJ_FIELD_INT, .offset = AT(group), .i = { 24, 1, 65536 },
      .help = "samples of a slot: their masks are cut to equal length together" },
    { .key = "mask.rng", .kind = VJ_FIELD_ENUM, .offset = AT(rng), .names = rng_names, .i = { VJ_MASK_PHILOX, 0, 0 },
      .help = "random numbers of the masks: keyed by sample, or the published generator" },
    { .key = "mask.truncate", .kind = VJ_FIELD_ENUM, .offset = AT(truncate), .names = truncate_names,
      .i = { VJ_TRUNCATE_SLOT, 0, 0 },
      .help = "whose masks are cut to equal length: of a slot, of the step, all by block shape, of a rank (depends on ranks)" },
    { .key = "mask.blocks", .kind = VJ_FIELD_INT_LIST, .offset = AT(blocks), .text = "[8, 2]", .i = { 0, 1, 21 },
      .help = "blocks per mask; its length is the number of masks, the other lists have as many or one" },
    { .key = "mask.spatial_low", .kind = VJ_FIELD_FLOAT_LIST, .offset = AT(spatial_low), .text = "[0.15, 0.7]",
      .f = { 0, 0.0, 1.0 }, .help = "smallest area of a block, as a fraction of the frame's tokens" },
    { .key = "mask.spatial_high", .kind = VJ_FIELD_FLOAT_LIST, .offset = AT(spatial_high), .text = "[0.15, 0.7]",
      .f = { 0, 0.0, 1.0 }, .help = "largest area of a block" },
    { .key = "mask.temporal_low", .kind = VJ_FIELD_FLOAT_LIST, .offset = AT(temporal_low), .text = "[1.0, 1.0]",
      .f = { 0, 0.0, 1.0 }, .help = "shortest duration of a block, as a fraction of the clip" },
    { .key = "mask.temporal_high", .kind = VJ_FIELD_FLOAT_LIST, .offset = AT(temporal_high), .text = "[1.0, 1.0]",
      .f = { 0, 0.0, 1.0 }, .help = "longest duration of a block" },
    { .key = "mask.aspect_low", .kind = VJ_FIELD_FLOAT_LIST, .offset = AT(aspect_low), .text = "[0.75, 0.75]",
      .f = { 0, 0.01, 100.0 }, .help = "smallest height / width of a block" },
    { .key = "mask.aspect_high", .kind = VJ_FIELD_FLOAT_LIST, .offset = AT(aspect_high), .text = "[1.5, 1.5]",
      .f = { 0, 0.01, 100.0 }, .help = "largest height / width of a block" },
    { .key = "mask.max_temporal_keep", .kind = VJ_FIELD_FLOAT_LIST, .offset = AT(max_temporal_keep),
      .text = "[1.0, 1.0]",
      .f = { 0, 0.0, 1.0 }, .help = "context ends after this fraction of the clip" },
    { .key = "mask.max_keep", .kind = VJ_FIELD_INT_LIST, .offset = AT(max_keep), .text = "[0, 0]",
      .i = { 0, 0, 1 << 24 },
      .help = "most context tokens; 0: no limit" },
    { .kind = VJ_FIELD_END },
};

// A list of one entry serves every mask.
static void spread_floats(vj_config *config, const char *key, vj_float_list *list, int64_t n)
{
    if (list->n == 1) {
        while (list->n < n) list->v[list->n++] = list->v[0];
    }
    if (list->n != n) {
        vj_config_problem(config, key, "has %lld entries, mask.blocks has %lld: give one per mask, or a single one",
                          (long long)list->n, (long long)n);
        while (list->n < n) list->v[list->n++] = 1.0;   // later checks read all entries
    }
}

static void spread_ints(vj_config *config, const char *key, vj_int_list *list, int64_t n)
{
    if (list->n == 1) {
        while (list->n < n) list->v[list->n++] = list->v[0];
    }
    if (list->n != n) {
        vj_config_problem(config, key, "has %lld entries, mask.blocks has %lld: give one per mask, or a single one",
                          (long long)list->n, (long long)n);
        while (list->n < n) list->v[list->n++] = 0;
    }
}

static void check_order(vj_config *config, const char *key, const vj_float_list *low, const vj_float_list *high)
{
    for (int64_t i = 0; i < low->n && i < high->n; i++) {
        if (low->v[i] > high->v[i]) {
            vj_config_problem(config, key, "entry %lld is %g, above its upper end %g", (long long)i + 1, low->v[i],
                              high->v[i]);
        }
    }
}

static void check_masks(vj_config *config, vj_mask_config *m)
{
    m->n = m->blocks.n;
    if (m->n < 1 || m->n > VJ_MAX_MASKS) {
        vj_config_problem(config, "mask.blocks", "has %lld entries: between 1 and %d masks are possible",
                          (long long)m->n,
                          VJ_MAX_MASKS);
        return;
    }
    spread_floats(config, "mask.spatial_low", &m->spatial_low, m->n);
    spread_floats(config, "mask.spatial_high", &m->spatial_high, m->n);
    spread_floats(config, "mask.temporal_low", &m->temporal_low, m->n);
    spread_floats(config, "mask.temporal_high", &m->temporal_high, m->n);
    spread_floats(config, "mask.aspect_low", &m->aspect_low, m->n);
    spread_floats(config, "mask.aspect_high", &m->aspect_high, m->n);
    spread_floats(config, "mask.max_temporal_keep", &m->max_temporal_keep, m->n);
    spread_ints(config, "mask.max_keep", &m->max_keep, m->n);
    check_order(config, "mask.spatial_low", &m->spatial_low, &m->spatial_high);
    check_order(config, "mask.temporal_low", &m->temporal_low, &m->temporal_high);
    check_order(config, "mask.aspect_low", &m->aspect_low, &m->aspect_high);
}

// "a=1 b=3"
static vj_status parse_weights(char *text, vj_weight_list *out)
{
    char *save = NULL;
    for (char *word = strtok_r(text, " ,", &save); word; word = strtok_r(NULL, " ,", &save)) {
        char *equals = strchr(word, '=');
        VJ_CHECK(equals && equals > word && (size_t)(equals - word) < sizeof out->name[0] && out->n < VJ_LIST_MAX, VJ_ERR_CONFIG,
                 "'%.60s': SOURCE=WEIGHT was expected", word);
        *equals = '\0';
        VJ_CHECK(vj_parse_f64(equals + 1, &out->v[out->n]) && out->v[out->n] >= 0, VJ_ERR_CONFIG,
                 "%s: a weight from 0 was expected, not '%.40s'", word, equals + 1);
        vj_format(out->name[out->n++], sizeof out->name[0], "%s", word);
    }
    VJ_CHECK(out->n > 0, VJ_ERR_CONFIG, "weights were expected behind the step");
    return VJ_OK;
}

vj_status vj_mix_parse(const char *text, vj_mix_change out[VJ_LIST_MAX], int *n)
{
    char copy[VJ_TEXT_MAX], *save = NULL;
    *n = 0;
    vj_format(copy, sizeof copy, "%s", text);
    for (char *part = strtok_r(copy, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        part += strspn(part, " ");
        if (!*part) continue;
        char *colon = strchr(part, ':');
        VJ_CHECK(colon != NULL && *n < VJ_LIST_MAX, VJ_ERR_CONFIG, "'%.60s': STEP: SOURCE=WEIGHT ... was expected, up to %d of them with ';' between",
                 part, VJ_LIST_MAX);
        *colon = '\0';
        vj_mix_change *c = &out[*n];
        *c = (vj_mix_change){ 0 };
        VJ_CHECK(vj_parse_i64(part, &c->step) && c->step >= 1 && c->step < INT64_C(1) << 40, VJ_ERR_CONFIG, "'%.40s' is no step from 1", part);
        VJ_CHECK(*n == 0 || c->step > out[*n - 1].step, VJ_ERR_CONFIG, "step %lld does not come after step %lld", (long long)c->step,
                 (long long)out[*n - 1].step);
        VJ_TRY(parse_weights(colon + 1, &c->weights));
        (*n)++;
    }
    return VJ_OK;
}

void vj_data_config_check(vj_config *config, const vj_data_config *data, vj_mask_config *masks)
{
    check_masks(config, masks);
    vj_mix_change changes[VJ_LIST_MAX];
    int n_changes;
    if (vj_mix_parse(data->mix, changes, &n_changes) != VJ_OK) {
        vj_config_problem(config, "data.mix", "%s", vj_error_text());
        vj_error_clear();
    }
    if (data->fpc.n < 1) vj_config_problem(config, "data.fpc", "is empty: give the frames per clip, such as [16]");
    if (data->crop_scale_low > data->crop_scale_high) {
        vj_config_problem(config, "data.crop_scale_low", "%g is above data.crop_scale_high, %g", data->crop_scale_low,
                          data->crop_scale_high);
    }
    if (data->crop_ratio_low > data->crop_ratio_high) {
        vj_config_problem(config, "data.crop_ratio_low", "%g is above data.crop_ratio_high, %g", data->crop_ratio_low,
                          data->crop_ratio_high);
    }
    for (int64_t i = 0; i < data->weights.n; i++) {
        if (data->weights.v[i] < 0) {
            vj_config_problem(config, "data.weights", "%s has weight %g, which must not be negative",
                              data->weights.name[i],
                              data->weights.v[i]);
        }
    }
}
