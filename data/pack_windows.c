// data/pack_windows.c
//
// Cutting videos into windows, and choosing the held-out ones.
//
// Held out: H = round(fraction x windows) of a source, at least one when it has two windows, at least two when two files
// have several windows each (figures that swap targets need different files). Files take turns, in an order drawn by
// hash; a file whose windows are drawn gives one per turn and keeps at least one for training. Only when no file has
// several windows are whole files held out. The choice depends on seed, source, path and start time alone.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/pack_impl.h"
#include "runtime/base/hash.h"
#include "runtime/base/rng.h"

enum { MAX_WINDOWS = 1 << 22 };

vj_status vj_windows_cut(vj_window **out, int64_t *n, int64_t duration_us, double seconds)
{
    int64_t count = 1;
    const int64_t step = llround(seconds * 1e6);
    if (step > 0 && duration_us > step) {
        count = duration_us / step;
        if (2 * (duration_us - count * step) >= step) count++;
    }
    VJ_CHECK(count <= MAX_WINDOWS, VJ_ERR_DATA, "it would give %lld windows", (long long)count);
    vj_window *w = calloc((size_t)count, sizeof *w);
    VJ_CHECK(w != NULL, VJ_ERR_NOMEM, "no memory for %lld windows", (long long)count);
    for (int64_t i = 0; i < count; i++) {
        w[i].t0_us = i * step;
        w[i].t1_us = i + 1 < count ? (i + 1) * step : duration_us;
    }
    *out = w;
    *n = count;
    return VJ_OK;
}

uint64_t vj_sample_key(const char *source, const char *file, int64_t start_us)
{
    unsigned char digest[32];
    char number[32];
    vj_sha256 h;
    const int digits = snprintf(number, sizeof number, "|%lld", (long long)start_us);
    vj_sha256_start(&h);
    vj_sha256_add(&h, source, strlen(source));
    vj_sha256_add(&h, "|", 1);
    vj_sha256_add(&h, file, strlen(file));
    vj_sha256_add(&h, number, (size_t)digits);
    vj_sha256_end(&h, digest);
    uint64_t key = 0;
    for (int i = 0; i < 8; i++) key = key << 8 | digest[i];
    return key;
}

typedef struct candidate {
    uint64_t draw;
    int64_t index;
} candidate;

static int by_draw(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->draw != y->draw) return x->draw < y->draw ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index ? 1 : 0;
}

// The not yet held-out window of a file with the lowest draw; marks it. False when only `keep` are left.
static bool take_window(vj_pack_file *f, const char *source, uint64_t seed, int64_t keep)
{
    int64_t best = -1, left = 0;
    uint64_t best_draw = 0;
    for (int64_t i = 0; i < f->n_windows; i++) {
        if (f->windows[i].held_out) continue;
        left++;
        const uint64_t draw = vj_rng_u64(seed, vj_sample_key(source, f->name, f->windows[i].t0_us), VJ_TAG_HOLD_OUT, 0, 0);
        if (best < 0 || draw < best_draw) {
            best = i;
            best_draw = draw;
        }
    }
    if (left <= keep) return false;
    f->windows[best].held_out = true;
    return true;
}

int64_t vj_hold_out_choose(vj_pack_file *files, int64_t n_files, const char *source, double fraction, uint64_t seed)
{
    int64_t windows = 0, several = 0, usable = 0;
    for (int64_t i = 0; i < n_files; i++) {
        if (files[i].bad) continue;
        windows += files[i].n_windows;
        usable++;
        if (files[i].n_windows > 1) several++;
    }
    if (fraction <= 0 || windows < 2) return 0;
    int64_t wanted = llround(fraction * (double)windows);
    if (wanted < 1) wanted = 1;
    if (several >= 2 && wanted < 2) wanted = 2;
    candidate *order = calloc((size_t)n_files, sizeof *order);
    if (order == NULL) return 0;
    int64_t n = 0, taken = 0;
    for (int64_t i = 0; i < n_files; i++) {
        if (files[i].bad || (several > 0 && files[i].n_windows < 2)) continue;
        order[n++] = (candidate){ vj_rng_u64(seed, vj_sample_key(source, files[i].name, -1), VJ_TAG_HOLD_OUT, 1, 0), i };
    }
    qsort(order, (size_t)n, sizeof *order, by_draw);
    if (several == 0) {   // whole files, never the last one
        for (; taken < wanted && taken < n - 1; taken++) files[order[taken].index].windows[0].held_out = true;
    }
    for (bool more = several > 0; more && taken < wanted;) {
        more = false;
        for (int64_t i = 0; i < n && taken < wanted; i++) {
            if (!take_window(&files[order[i].index], source, seed, 1)) continue;
            taken++;
            more = true;
        }
    }
    free(order);
    return taken;
}
