// data/loader_work.c
//
// One sample: read, choose frames, decode, crop. A sample that cannot be read or decoded is replaced by another of the
// same source; which one follows from (g, attempt) alone, so it does not matter whether its row was known to be bad.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/clip_sampler.h"
#include "data/loader_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/rng.h"
#include "runtime/base/str.h"
#include "runtime/log/log.h"

static vj_loader_read_hook read_hook;
static void *read_hook_context;
static double patience = 1, close_seconds = 5;

void vj_loader_test_reads(vj_loader_read_hook hook, void *context)
{
    read_hook = hook;
    read_hook_context = context;
}

void vj_loader_test_patience(double factor, double seconds)
{
    patience = factor;
    close_seconds = seconds;
}

double vj_loader_close_seconds(void) { return close_seconds; }
double vj_loader_patience(void) { return patience; }

// What one thread owns.
typedef struct worker {
    vj_loader *l;
    vj_loader_worker *self;
    vj_decoder *decoder;
    vj_resampler *resampler;
    vj_bytes bytes;
    int64_t *index;      // (longest clip)
    double *seconds;
} worker;

// What one sample cost.
typedef struct cost { int64_t decoded, used, padded; } cost;

// ---- reading ------------------------------------------------------------------------------------------------------

// Sleeps unless the loader is being closed; false then.
static bool pause_for(vj_loader *l, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const double end = (double)until.tv_sec + (double)until.tv_nsec * 1e-9 + seconds;
    until.tv_sec = (time_t)end;
    until.tv_nsec = (long)((end - (double)until.tv_sec) * 1e9);
    pthread_mutex_lock(&l->mutex);
    int rc = 0;
    // `work` is signalled for other reasons too: the time decides.
    while (!l->stop && rc != ETIMEDOUT) rc = pthread_cond_timedwait(&l->work, &l->mutex, &until);
    const bool go_on = !l->stop;
    pthread_mutex_unlock(&l->mutex);
    return go_on;
}

// Errors of the system may pass: three more attempts after 0.1, 1 and 5 s. Bad content does not pass.
static vj_status read_sample(worker *w, int source, int64_t row, vj_sample_info *info)
{
    static const double waits[VJ_READ_RETRIES] = { 0.1, 1, 5 };
    for (int attempt = 0;; attempt++) {
        vj_status status = read_hook ? read_hook(read_hook_context, source, row, attempt) : VJ_OK;
        if (status == VJ_OK) {
            vj_loader_read_begins(w->self, row);
            status = vj_shards_read(w->l->shards, source, w->l->stage.held_out, row, info, &w->bytes);
            if (!vj_loader_read_ends(w->self)) return vj_fail(VJ_ERR_STOPPED, "another thread has taken over the sample");
        }
        if (status != VJ_ERR_IO) return status;
        if (attempt == VJ_READ_RETRIES) {
            vj_context("reading a sample for the %dth time", attempt + 1);
            return status;
        }
        vj_log(VJ_WARN, "data", "%s: trying again", vj_error_text());
        pthread_mutex_lock(&w->l->mutex);
        w->l->stats.retried++;
        pthread_mutex_unlock(&w->l->mutex);
        if (!pause_for(w->l, waits[attempt] * patience)) return vj_fail(VJ_ERR_STOPPED, "the loader is being closed");
    }
}

// ---- decoding -----------------------------------------------------------------------------------------------------

static vj_status decode_clip(worker *w, const vj_sample_info *info, const vj_loader_sample *s, uint32_t attempt,
                             vj_frames *frames,
                             cost *c)
{
    const vj_loader *l = w->l;
    const uint64_t u = vj_rng_u64(l->stage.seed, s->g, VJ_TAG_TEMPORAL, 0, attempt);
    bool padded;
    VJ_CHECK(info->n_frames >= 1, VJ_ERR_DATA, "the sample has no frames");
    if (l->config.temporal == VJ_TEMPORAL_PTS) {
        const double duration = (double)(info->t1_us - info->t0_us) * 1e-6;
        padded = vj_clip_times(duration, s->fpc, l->stage.fps, u, w->seconds);
        VJ_TRY(vj_decode_index_at(info, w->bytes.data, w->bytes.bytes, w->seconds, s->fpc, w->index));
    } else {
        padded = vj_clip_indices(info->n_frames, info->fps_num, info->fps_den, s->fpc, l->stage.fps, u, w->index);
    }
    VJ_TRY(vj_decode_frames(w->decoder, info, w->bytes.data, w->bytes.bytes, w->index, s->fpc, frames));
    c->padded += padded;
    return VJ_OK;
}

// One row into the sample's place. VJ_ERR_DATA: another row is to be tried.
static vj_status make_clip(worker *w, vj_loader_sample *s, int64_t row, uint32_t attempt, cost *c)
{
    vj_loader *l = w->l;
    vj_sample_info info = { 0 };
    vj_frames frames;
    vj_crop crop;
    VJ_TRY(read_sample(w, s->source, row, &info));
    s->key = info.key;
    s->image = info.media != VJ_MEDIA_CLIP;
    if (s->image) VJ_TRY(vj_decode_image(w->decoder, &info, w->bytes.data, w->bytes.bytes, &frames));
    else VJ_TRY(decode_clip(w, &info, s, attempt, &frames, c));
    vj_crop_draw(&crop, &l->config, l->stage.seed, s->g, attempt, frames.height, frames.width);
    vj_resample(w->resampler, frames.rgb, frames.n, frames.height, frames.width, &crop, s->clip, s->fpc);
    c->decoded += frames.decoded;
    c->used += frames.n;
    return VJ_OK;
}

// ---- substitution -------------------------------------------------------------------------------------------------

// Notes a bad row. Whether its source has too many is judged by the consumer, in the order of samples.
static void put_in_quarantine(vj_loader *l, const vj_loader_sample *s, int64_t row)
{
    vj_quarantined entry = { .source = s->source, .row = row, .key = s->key, .g = s->g };
    char reason[sizeof entry.reason];
    const char *text = vj_error_text();
    const size_t length = strcspn(text, "\n");
    memset(reason, 0, sizeof reason);
    memcpy(reason, text, length < sizeof reason ? length : sizeof reason - 1);
    vj_error_clear();
    vj_shards_where(l->shards, s->source, l->stage.held_out, row, entry.where, sizeof entry.where);
    if (entry.key == 0) {   // its bytes were never read; the index may know its key all the same
        vj_sample_info info;
        if (vj_shards_info(l->shards, s->source, l->stage.held_out, row, &info) == VJ_OK) entry.key = info.key;
        vj_error_clear();
    }
    memcpy(entry.reason, reason, sizeof reason);
    const char *name = l->catalog->sources[s->source].name;
    if (vj_quarantine_add(l->quarantine, &entry, NULL)) {
        vj_log(VJ_WARN, "data", "source %s, %s (key %016llx) is bad and will be replaced: %s", name, entry.where,
               (unsigned long long)entry.key, entry.reason);
        pthread_mutex_lock(&l->mutex);
        l->stats.bad++;
        pthread_mutex_unlock(&l->mutex);
    }
}

static vj_status make_sample(worker *w, vj_loader_sample *s, cost *c)
{
    vj_loader *l = w->l;
    for (uint32_t attempt = 0; attempt <= VJ_SUBSTITUTES; attempt++) {
        const int64_t row = attempt == 0 ? s->row
            : vj_order_substitute(l->stage.seed, s->g, attempt, vj_loader_rows(l, s->source));
        if (vj_quarantine_has(l->quarantine, s->source, row)) {
            s->bad[s->n_bad++] = row;
            continue;
        }
        s->key = 0;
        const vj_status status = make_clip(w, s, row, attempt, c);
        if (status == VJ_OK) {
            s->delivered = row;
            s->substitution = (int)attempt;
            return VJ_OK;
        }
        if (status != VJ_ERR_DATA) return status;
        put_in_quarantine(l, s, row);
        s->bad[s->n_bad++] = row;
    }
    VJ_FAIL(VJ_ERR_DATA, "source %s: no good sample in place of a bad one after %d attempts (sample %llu); `vjepa data verify "
            "%s` tells more. Bad ones of the source:", l->catalog->sources[s->source].name, VJ_SUBSTITUTES,
            (unsigned long long)s->g, l->catalog->dir);
}

// ---- threads ------------------------------------------------------------------------------------------------------

static vj_status worker_create(worker *w, vj_loader_worker *self)
{
    vj_loader *l = self->l;
    *w = (worker){ .l = l, .self = self };
    w->index = calloc((size_t)l->longest, sizeof *w->index);
    w->seconds = calloc((size_t)l->longest, sizeof *w->seconds);
    VJ_CHECK(w->index && w->seconds, VJ_ERR_NOMEM, "no memory for a decoding thread");
    VJ_TRY(vj_decoder_create(&w->decoder));
    return vj_resampler_create(&w->resampler, l->stage.crop);
}

static void worker_destroy(worker *w)
{
    vj_resampler_destroy(&w->resampler);
    vj_decoder_destroy(&w->decoder);
    vj_bytes_free(&w->bytes);
    free(w->index);
    free(w->seconds);
}

void vj_loader_fail_entry(vj_loader *l, vj_loader_entry *e, vj_status status, int64_t at)
{
    if (e->status == VJ_OK || at < e->failed) {
        e->status = status;
        e->failed = at;
        free(e->error);
        e->error = vj_strdup(vj_error_text());
    }
    l->failed = true;
}

// The next sample in order, or NULL when the loader is being closed; under the mutex.
static vj_loader_sample *take(vj_loader *l, vj_loader_entry **entry)
{
    for (;;) {
        while (!l->stop && l->working == l->planned) pthread_cond_wait(&l->work, &l->mutex);
        if (l->stop) return NULL;
        vj_loader_entry *e = vj_loader_entry_of(l, l->working);
        if (e->handed == e->batch.samples) {   // a step that could not be planned
            l->working++;
            continue;
        }
        vj_loader_sample *s = &e->samples[e->handed++];
        // Counted now, so that `working` never points at an entry that was given back and filled anew.
        if (e->handed == e->batch.samples) l->working++;
        *entry = e;
        return s;
    }
}

// Makes the sample that the thread holds and notes what it cost; under the mutex, which is free meanwhile. False: the sample
// is another thread's now.
static bool work_on(worker *w, vj_status made)
{
    vj_loader *l = w->l;
    vj_loader_sample *s = w->self->sample;
    vj_loader_entry *e = w->self->entry;
    const bool skip = e->status != VJ_OK;   // the step is lost: nobody will look at it
    s->n_bad = 0;
    pthread_mutex_unlock(&l->mutex);
    cost c = { 0 };
    const double began = vj_thread_seconds();
    const vj_status status = skip ? VJ_OK : made != VJ_OK ? made : make_sample(w, s, &c);
    const double spent = vj_thread_seconds() - began;
    pthread_mutex_lock(&l->mutex);
    if (w->self->left_alone) return false;
    if (status != VJ_OK) vj_loader_fail_entry(l, e, status, s - e->samples);
    if (!skip) l->stats.samples++;
    l->stats.substituted += s->substitution > 0;
    l->stats.padded_clips += c.padded;
    l->stats.frames_decoded += c.decoded;
    l->stats.frames_used += c.used;
    l->stats.decode_seconds += spent;
    if (--e->left == 0) pthread_cond_broadcast(&l->ready);
    return true;
}

void *vj_loader_work_thread(void *context)
{
    vj_loader_worker *self = context;
    vj_loader *l = self->l;
    worker w;
    const vj_status made = worker_create(&w, self);
    pthread_mutex_lock(&l->mutex);
    // One that takes over a sample begins with it.
    bool mine = self->sample == NULL || l->stop || work_on(&w, made);
    while (mine && (self->sample = take(l, &self->entry)) != NULL) mine = work_on(&w, made);
    self->ended = true;
    pthread_cond_broadcast(&l->tick);
    pthread_mutex_unlock(&l->mutex);
    worker_destroy(&w);
    return NULL;
}
