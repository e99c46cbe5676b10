// data/order.c
//
// Easy to get wrong: A(s, b) is a difference of two floors of *cumulative* shares, not the floor of the source's own
// share; only so the quotas of a block add up to B.

#include "data/order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/perm.h"
#include "runtime/base/hash.h"
#include "runtime/base/rng.h"
#include "runtime/base/str.h"

static const uint64_t largest_block = (uint64_t)1 << 40;

// ---- weights ------------------------------------------------------------------------------------------------------

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

void vj_weights_to_integers(const double *weights, int n, uint64_t *out)
{
    double largest = 0;
    for (int s = 0; s < n; s++) largest = fmax(largest, weights[s]);
    double scale = 1;
    for (int digits = 0; digits <= 9 && largest * scale < 1e15; digits++, scale *= 10) {
        bool whole = true;
        for (int s = 0; s < n && whole; s++) {
            const double scaled = weights[s] * scale, near = rint(scaled);
            whole = fabs(scaled - near) <= 1e-9 * fmax(1.0, scaled) && (near > 0 || weights[s] == 0);
        }
        if (!whole) continue;
        for (int s = 0; s < n; s++) out[s] = (uint64_t)rint(weights[s] * scale);
        return;
    }
    // No short decimals (1/3): the best that 40 bits can say.
    scale = largest > 0 ? 0x1p40 / largest : 0;
    for (int s = 0; s < n; s++) {
        out[s] = (uint64_t)rint(weights[s] * scale);
        if (out[s] == 0 && weights[s] > 0) out[s] = 1;
    }
}

// The smallest multiple of P/gcd that is not below 256, while P/gcd is small; and large enough that the rarest source
// comes up at least twice in a block (fewer could make a quota negative).
static uint64_t default_block(const uint64_t *weights, int n, uint64_t total)
{
    uint64_t divisor = total, rarest = total;
    for (int s = 0; s < n; s++) {
        if (weights[s] == 0) continue;
        divisor = gcd(divisor, weights[s]);
        if (weights[s] < rarest) rarest = weights[s];
    }
    const uint64_t period = total / divisor;
    uint64_t block = period <= 65536 ? (256 + period - 1) / period * period : 16384;
    while ((unsigned __int128)block * rarest < (unsigned __int128)2 * total && block < largest_block) block *= 2;
    return block;
}

// ---- plans --------------------------------------------------------------------------------------------------------

static vj_status check_source(const char *name, int64_t rows, uint64_t weight, uint64_t block, uint64_t total)
{
    if (weight == 0) return VJ_OK;
    VJ_CHECK(rows > 0, VJ_ERR_CONFIG, "source %s has a weight but no training samples: pack some, or set data.weights",
             name);
    VJ_CHECK((unsigned __int128)block * weight >= (unsigned __int128)2 * total, VJ_ERR_CONFIG,
             "source %s: %llu of %llu shares give it fewer than two samples in a block of %llu; raise its weight%s",
             name,
             (unsigned long long)weight, (unsigned long long)total, (unsigned long long)block,
             block < largest_block ? " or train.batch, or set data.batch_exact=false" : "");
    return VJ_OK;
}

uint64_t vj_plan_digest(const vj_plan *p, uint64_t cursor)
{
    vj_str text = { 0 };
    vj_str_printf(&text, "plan 1 seed %llu\n", (unsigned long long)p->seed);
    for (int s = 0; s < p->n; s++) vj_str_printf(&text, "rows %lld\n", (long long)p->rows[s]);
    for (int k = 0; k < p->n_segments && (k == 0 || p->segments[k].first < cursor); k++) {
        const vj_plan_segment *seg = &p->segments[k];
        vj_str_printf(&text, "segment %llu block %llu\n", (unsigned long long)seg->first,
                      (unsigned long long)seg->block);
        for (int s = 0; s < p->n; s++) {
            vj_str_printf(&text, "%llu %llu\n", (unsigned long long)seg->weight[s], (unsigned long long)seg->base[s]);
        }
    }
    const uint64_t digest = vj_xxh64(text.data, text.length);
    vj_str_free(&text);
    return digest;
}

static void free_segment(vj_plan_segment *seg)
{
    free(seg->weight);
    free(seg->below);
    free(seg->base);
}

static vj_status make_segment(vj_plan_segment *seg, int n, const char *const *names, const int64_t *rows,
                              const uint64_t *weights, uint64_t block)
{
    uint64_t total = 0;
    for (int s = 0; s < n; s++) {
        VJ_ASSERT(weights[s] <= (uint64_t)1 << 62 && total <= (uint64_t)1 << 62);
        total += weights[s];
    }
    VJ_CHECK(total > 0, VJ_ERR_CONFIG, "all sources have weight 0: nothing to train on");
    if (block == 0) block = default_block(weights, n, total);
    for (int s = 0; s < n; s++) VJ_TRY(check_source(names[s], rows[s], weights[s], block, total));
    *seg = (vj_plan_segment){ .block = block, .total = total };
    seg->weight = calloc((size_t)n, sizeof *seg->weight);
    seg->below = calloc((size_t)n + 1, sizeof *seg->below);
    seg->base = calloc((size_t)n, sizeof *seg->base);
    if (!seg->weight || !seg->below || !seg->base) {
        free_segment(seg);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for the plan of %d sources", n);
    }
    for (int s = 0; s < n; s++) {
        seg->weight[s] = weights[s];
        seg->below[s + 1] = seg->below[s] + weights[s];
    }
    return VJ_OK;
}

vj_status vj_plan_create(vj_plan **out, uint64_t seed, int n, const char *const *names, const int64_t *rows,
                         const uint64_t *weights, uint64_t block)
{
    *out = NULL;
    vj_plan_segment seg;
    VJ_TRY(make_segment(&seg, n, names, rows, weights, block));
    vj_plan *p = calloc(1, sizeof *p);
    if (p) {
        *p = (vj_plan){ .seed = seed, .n = n };
        p->rows = calloc((size_t)n, sizeof *p->rows);
        p->segments = calloc(1, sizeof *p->segments);
    }
    if (!p || !p->rows || !p->segments) {
        free_segment(&seg);
        vj_plan_destroy(&p);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for the plan of %d sources", n);
    }
    memcpy(p->rows, rows, (size_t)n * sizeof *p->rows);
    p->segments[0] = seg;
    p->n_segments = 1;
    *out = p;
    return VJ_OK;
}

vj_status vj_plan_append(vj_plan *p, uint64_t g, const char *const *names, const uint64_t *weights, uint64_t block,
                         uint64_t *first)
{
    const vj_plan_segment *last = &p->segments[p->n_segments - 1];
    VJ_CHECK(g >= last->first, VJ_ERR_CONFIG, "a change of the mix at sample %llu comes before the one at %llu",
             (unsigned long long)g, (unsigned long long)last->first);
    vj_plan_segment seg;
    VJ_TRY(make_segment(&seg, p->n, names, p->rows, weights, block));
    vj_plan_segment *grown = realloc(p->segments, (size_t)(p->n_segments + 1) * sizeof *grown);
    if (!grown) {
        free_segment(&seg);
        VJ_FAIL(VJ_ERR_NOMEM, "no memory for the plan of %d sources", p->n);
    }
    p->segments = grown;
    last = &grown[p->n_segments - 1];
    const uint64_t blocks = (g - last->first + last->block - 1) / last->block;
    seg.first = last->first + blocks * last->block;
    for (int s = 0; s < p->n; s++) seg.base[s] = last->base[s] + vj_plan_before(last, s, blocks);
    if (first) *first = seg.first;
    grown[p->n_segments++] = seg;
    return VJ_OK;
}

void vj_plan_destroy(vj_plan **plan)
{
    vj_plan *p = *plan;
    if (p == NULL) return;
    for (int k = 0; k < p->n_segments; k++) free_segment(&p->segments[k]);
    free(p->segments);
    free(p->rows);
    free(p);
    *plan = NULL;
}

// Weights of the configuration, which must name existing sources; `key` is where they stand.
static vj_status configured_weights(const vj_catalog *catalog, const vj_weight_list *list, const char *key, double *weights)
{
    const char *names[VJ_MAX_SOURCES + 1];
    for (int s = 0; s < catalog->n_sources; s++) names[s] = catalog->sources[s].name;
    names[catalog->n_sources] = NULL;
    for (int64_t i = 0; i < list->n; i++) {
        int at = -1;
        for (int s = 0; s < catalog->n_sources; s++) {
            if (strcmp(names[s], list->name[i]) == 0) at = s;
        }
        if (at >= 0) {
            weights[at] = list->v[i];
            continue;
        }
        const char *near = vj_nearest(list->name[i], names);
        VJ_FAIL(VJ_ERR_CONFIG, "%s: %s has no source '%s'%s%s%s (`vjepa data ls` lists its sources)",
                key, catalog->dir,
                list->name[i], near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return VJ_OK;
}

vj_status vj_plan_from_catalog(vj_plan **out, uint64_t seed, const vj_catalog *catalog, const vj_data_config *config,
                               int64_t batch)
{
    const char *names[VJ_MAX_SOURCES];
    int64_t rows[VJ_MAX_SOURCES];
    double weights[VJ_MAX_SOURCES] = { 0 };
    uint64_t integers[VJ_MAX_SOURCES];
    *out = NULL;
    const int n = catalog->n_sources;
    VJ_CHECK(n >= 1 && n <= VJ_MAX_SOURCES, VJ_ERR_DATA, "%s has %d sources, between 1 and %d are possible",
             catalog->dir, n,
             (int)VJ_MAX_SOURCES);
    for (int s = 0; s < n; s++) {
        names[s] = catalog->sources[s].name;
        rows[s] = catalog->sources[s].train.rows;
        // A source whose few windows are all held out has nothing to train on and no weight unless one is asked for.
        if (config->weights.n == 0 && rows[s] > 0) weights[s] = catalog->sources[s].weight;
        VJ_CHECK(isfinite(weights[s]) && weights[s] >= 0, VJ_ERR_DATA, "%s: source %s has weight %g", catalog->dir,
                 names[s],
                 weights[s]);
    }
    VJ_TRY(configured_weights(catalog, &config->weights, "data.weights", weights));
    vj_weights_to_integers(weights, n, integers);
    const uint64_t block = config->batch_exact ? (uint64_t)batch : 0;
    VJ_TRY(vj_plan_create(out, seed, n, names, rows, integers, block));
    vj_mix_change changes[VJ_LIST_MAX];
    int n_changes = 0;
    vj_status status = vj_mix_parse(config->mix, changes, &n_changes);
    for (int i = 0; i < n_changes && status == VJ_OK; i++) {   // sources that are not named keep their weight
        status = configured_weights(catalog, &changes[i].weights, "data.mix", weights);
        if (status != VJ_OK) break;
        vj_weights_to_integers(weights, n, integers);
        status = vj_plan_append(*out, (uint64_t)changes[i].step * (uint64_t)batch, names, integers, block, NULL);
        if (status != VJ_OK) vj_context("changing the mix from step %lld on (data.mix)", (long long)changes[i].step);
    }
    if (status != VJ_OK) vj_plan_destroy(out);
    return status;
}

// ---- order --------------------------------------------------------------------------------------------------------

uint64_t vj_plan_before(const vj_plan_segment *seg, int source, uint64_t b)
{
    const unsigned __int128 samples = (unsigned __int128)b * seg->block;
    // samples * weight could pass 128 bits only beyond 2^66 samples.
    return (uint64_t)(samples * seg->below[source + 1] / seg->total - samples * seg->below[source] / seg->total);
}

vj_ref vj_order(const vj_plan *plan, uint64_t g)
{
    int k = plan->n_segments - 1;
    while (k > 0 && plan->segments[k].first > g) k--;
    const vj_plan_segment *seg = &plan->segments[k];
    const uint64_t at = g - seg->first, b = at / seg->block;
    const uint64_t slot = vj_perm(plan->seed, at % seg->block, seg->block, VJ_TAG_MIX, (uint32_t)b);
    uint64_t first = 0;
    for (int s = 0; s < plan->n; s++) {
        const uint64_t before = vj_plan_before(seg, s, b), quota = vj_plan_before(seg, s, b + 1) - before;
        if (slot - first < quota) {
            vj_ref ref = { .source = s, .ordinal = seg->base[s] + before + (slot - first) };
            const uint64_t rows = (uint64_t)plan->rows[s];
            ref.epoch = ref.ordinal / rows;
            ref.row = (int64_t)vj_perm(plan->seed, ref.ordinal % rows, rows, VJ_TAG_SOURCE + (uint32_t)s,
                                       (uint32_t)ref.epoch);
            return ref;
        }
        first += quota;
    }
    vj_bug_at(__FILE__, __LINE__, __func__, "slot %llu of block %llu belongs to no source", (unsigned long long)slot,
              (unsigned long long)b);
}

int64_t vj_order_substitute(uint64_t seed, uint64_t g, uint32_t a, int64_t rows)
{
    return (int64_t)vj_rng_below(seed, g, VJ_TAG_SUBSTITUTE, 0, a, (uint64_t)rows);
}
