// data/loader.c
//
// Life of a loader and the consumer's side (loader_impl.h tells how the threads share the work).
//
// Easy to get wrong: the state is that of batches given back, not of those made ahead.

#include "data/loader.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/loader_impl.h"
#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/str.h"
#include "runtime/base/thread.h"
#include "runtime/log/log.h"

// ---- checks -------------------------------------------------------------------------------------------------------

static int64_t largest_fpc(const vj_loader_stage *stage)
{
    int64_t longest = 0;
    for (int64_t i = 0; i < stage->fpc.n; i++) longest = stage->fpc.v[i] > longest ? stage->fpc.v[i] : longest;
    return longest;
}

int64_t vj_loader_own_slots(const vj_loader_stage *stage) { return (stage->batch / stage->slot - stage->rank + stage->world - 1) / stage->world; }

int64_t vj_loader_bytes(const vj_data_config *config, const vj_mask_config *masks, const vj_loader_stage *stage)
{
    const int64_t slots = vj_loader_own_slots(stage);
    const int64_t pixels = 3 * largest_fpc(stage) * stage->crop * stage->crop, side = stage->crop / stage->patch;
    const int64_t tokens = largest_fpc(stage) / stage->tubelet * side * side;
    const int64_t sample = pixels * (int64_t)sizeof(float) + masks->n * tokens * (int64_t)sizeof(int32_t);
    return (config->prefetch + 1) * slots * stage->slot * sample;
}

static vj_status check_ranks(const vj_loader_stage *s)
{
    VJ_CHECK(s->slot >= 1 && s->batch >= 1 && s->batch % s->slot == 0, VJ_ERR_CONFIG,
             "train.batch %lld is not a multiple of mask.group %lld", (long long)s->batch, (long long)s->slot);
    const int64_t V = s->batch / s->slot;
    VJ_ASSERT(s->world >= 1 && s->rank >= 0 && s->rank < s->world);
    VJ_CHECK(s->world <= V, VJ_ERR_CONFIG,
             "%d ranks, but a step of train.batch %lld / mask.group %lld has %lld slots: use at most %lld ranks", s->world,
             (long long)s->batch, (long long)s->slot, (long long)V, (long long)V);
    return VJ_OK;
}

static vj_status check_shapes(const vj_loader *l)
{
    const vj_loader_stage *s = &l->stage;
    int groups = 0;
    VJ_CHECK(s->tubelet >= 1 && s->patch >= 1 && s->crop >= 1 && s->crop % s->patch == 0, VJ_ERR_CONFIG,
             "data.crop %lld is not a multiple of the patch size %lld", (long long)s->crop, (long long)s->patch);
    VJ_CHECK(s->fps > 0, VJ_ERR_CONFIG, "data.fps is %g, it must be positive", s->fps);
    VJ_CHECK(s->fpc.n == 1 || s->fpc.n == l->catalog->n_sources, VJ_ERR_CONFIG,
             "data.fpc has %lld entries, %s has %d sources: give one for all or one per source", (long long)s->fpc.n,
             l->catalog->dir, l->catalog->n_sources);
    for (int64_t i = 0; i < s->fpc.n; i++) {
        const int64_t fpc = s->fpc.v[i];
        VJ_CHECK(fpc >= 1 && fpc % s->tubelet == 0, VJ_ERR_CONFIG,
                 "data.fpc %lld is not a multiple of the tubelet %lld",
                 (long long)fpc, (long long)s->tubelet);
        bool fresh = true;
        for (int64_t j = 0; j < i; j++) fresh = fresh && s->fpc.v[j] != fpc;
        groups += fresh;
        const int64_t side = s->crop / s->patch;
        VJ_TRY(vj_masks_check(&l->mask_config, (vj_token_grid){ .t = fpc / s->tubelet, .h = side, .w = side }));
    }
    VJ_CHECK(groups <= VJ_MAX_GROUPS, VJ_ERR_CONFIG, "data.fpc has %d different values, at most %d are possible",
             groups, VJ_MAX_GROUPS);
    return VJ_OK;
}

static uint64_t catalog_digest(const vj_catalog *c)
{
    char head[17] = { 0 };
    memcpy(head, c->digest, 16);
    return strtoull(head, NULL, 16);
}

static vj_status check_state(const vj_loader *l, const vj_loader_state *state)
{
    VJ_CHECK(state->catalog_digest == catalog_digest(l->catalog), VJ_ERR_CONFIG,
             "%s does not hold the data that the checkpoint was trained on (catalogue %.16s, the checkpoint has %016llx): "
             "set data.dir to the old shards, or start a new run",
             l->catalog->dir, l->catalog->digest, (unsigned long long)state->catalog_digest);
    VJ_CHECK(state->plan_digest == vj_plan_digest(l->plan, state->cursor), VJ_ERR_CONFIG,
             "the order of samples is not the checkpoint's (plan %016llx, the checkpoint has %016llx): seed, data.weights, "
             "data.batch_exact and what data.mix said of the past must stay as they were",
             (unsigned long long)vj_plan_digest(l->plan, state->cursor), (unsigned long long)state->plan_digest);
    VJ_CHECK(vj_quarantine_contains_digest(l->quarantine, state->quarantine_digest), VJ_ERR_CONFIG,
             "the list of bad samples (%lld entries) lacks some that the checkpoint knew (digest %016llx): give the list "
             "that was saved with it",
             (long long)vj_quarantine_count(l->quarantine, -1), (unsigned long long)state->quarantine_digest);
    return VJ_OK;
}

// ---- opening ------------------------------------------------------------------------------------------------------

static vj_status allocate_ring(vj_loader *l)
{
    const vj_loader_stage *s = &l->stage;
    const int64_t bytes = vj_loader_bytes(&l->config, &l->mask_config, s), samples = l->n_slots * s->slot;
    const int64_t memory = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    char need[24], have[24];
    vj_bytes_text(need, (double)bytes);
    vj_bytes_text(have, (double)memory);
    VJ_CHECK(bytes < memory, VJ_ERR_NOMEM,
             "the loader needs %s for %lld batches of %lld clips, this machine has %s: lower train.batch or data.prefetch",
             need,
             (long long)l->config.prefetch + 1, (long long)samples, have);
    const int64_t side = s->crop / s->patch, tokens = l->longest / s->tubelet * side * side;
    l->n_ring = l->config.prefetch + 1;   // one more is in the consumer's hands
    VJ_TRY(vj_host_alloc(&l->ring, (size_t)l->n_ring * sizeof *l->ring, "the loader's ring"));
    for (int64_t i = 0; i < l->n_ring; i++) {
        vj_loader_entry *e = &l->ring[i];
        VJ_TRY(vj_host_alloc(&e->batch.slots, (size_t)l->n_slots * sizeof *e->batch.slots, "slots of a batch"));
        VJ_TRY(vj_host_alloc(&e->samples, (size_t)samples * sizeof *e->samples, "samples of a batch"));
        VJ_TRY(vj_host_alloc(&e->clips, (size_t)(samples * 3 * l->longest * s->crop * s->crop) * sizeof *e->clips,
                             "clips of a batch"));
        VJ_TRY(vj_host_alloc(&e->ids, (size_t)(l->mask_config.n * samples * tokens) * sizeof *e->ids,
                             "masks of a batch"));
        VJ_TRY(vj_host_alloc(&e->g, (size_t)samples * sizeof *e->g, "sample numbers of a batch"));
    }
    if (l->mask_config.truncate == VJ_TRUNCATE_GLOBAL || l->mask_config.truncate == VJ_TRUNCATE_RANK) {
        VJ_TRY(vj_host_alloc(&l->cuts, (size_t)s->fpc.n * sizeof *l->cuts, "lengths of masks"));
        VJ_TRY(vj_host_alloc(&l->counted, (size_t)samples * sizeof *l->counted, "sample numbers"));
        VJ_TRY(vj_host_alloc(&l->fpc_of, (size_t)s->slot * sizeof *l->fpc_of, "frames per clip"));
    }
    return vj_masks_create(&l->masks, &l->mask_config, s->seed, s->slot, tokens);
}

// Threads of the loader; signals are for the threads that know what to do with them. As many workers again may take over
// from threads that are stuck in a read.
static vj_status start_threads(vj_loader *l)
{
    sigset_t before;
    const int threads = l->stage.threads > 0 ? l->stage.threads : vj_cpu_count();
    l->room_workers = 2 * threads;
    l->workers = calloc((size_t)l->room_workers, sizeof *l->workers);
    VJ_CHECK(l->workers != NULL, VJ_ERR_NOMEM, "no memory for %d loader threads", threads);
    for (int i = 0; i < l->room_workers; i++) l->workers[i].l = l;
    vj_loader_block_signals(&before);
    int rc = pthread_create(&l->planner, NULL, vj_loader_plan_thread, l);
    l->has_planner = rc == 0;
    if (rc == 0) rc = pthread_create(&l->watch, NULL, vj_loader_watch_thread, l);
    l->has_watch = l->has_planner && rc == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    VJ_CHECK(rc == 0, VJ_ERR_NOMEM, "cannot start the loader's threads: %s", strerror(rc));
    for (l->n_workers = 0; l->n_workers < threads; l->n_workers++) VJ_TRY(vj_loader_start_worker(&l->workers[l->n_workers]));
    return VJ_OK;
}

static vj_status open_data(vj_loader *l, const vj_loader_state *state, const char *quarantine_json)
{
    VJ_CHECK(l->config.dir[0] != 0, VJ_ERR_CONFIG,
             "data.dir is not set: give the folder of shards that `vjepa data pack` made");
    VJ_TRY(check_ranks(&l->stage));
    VJ_TRY(vj_catalog_read(&l->catalog, l->config.dir));
    VJ_TRY(check_shapes(l));
    VJ_TRY(vj_shards_open(&l->shards, l->catalog, 0));
    VJ_TRY(vj_quarantine_create(&l->quarantine, l->catalog));
    l->n_slots = vj_loader_own_slots(&l->stage);
    l->longest = largest_fpc(&l->stage);
    if (l->stage.held_out) {
        l->start = VJ_HELD_OUT_BIT;
        return vj_loader_list_held(l);
    }
    if (quarantine_json) VJ_TRY(vj_quarantine_add_json(l->quarantine, quarantine_json));
    VJ_TRY(vj_plan_from_catalog(&l->plan, l->stage.seed, l->catalog, &l->config, l->stage.batch));
    if (!state) return VJ_OK;
    l->start = state->cursor + state->skip;
    l->start_step = state->step;
    return check_state(l, state);
}

static void make_locks(vj_loader *l)
{
    pthread_condattr_t monotonic;   // waits between retries must not follow the wall clock
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->room, NULL);
    pthread_cond_init(&l->ready, NULL);
    pthread_cond_init(&l->work, &monotonic);
    pthread_cond_init(&l->tick, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

vj_status vj_loader_open(vj_loader **out, const vj_data_config *config, const vj_mask_config *masks,
                         const vj_loader_stage *stage,
                         const vj_loader_state *state, const char *quarantine_json)
{
    *out = NULL;
    vj_loader *l = calloc(1, sizeof *l);
    VJ_CHECK(l != NULL, VJ_ERR_NOMEM, "no memory for a loader");
    l->config = *config;
    l->mask_config = *masks;
    l->stage = *stage;
    make_locks(l);
    vj_status status;
    VJ_TRY_GOTO(open_data(l, state, quarantine_json), fail);
    VJ_TRY_GOTO(allocate_ring(l), fail);
    VJ_TRY_GOTO(start_threads(l), fail);
    *out = l;
    return VJ_OK;
fail:
    vj_loader_close(&l);
    return status;
}

static void free_ring(vj_loader *l)
{
    for (int64_t i = 0; l->ring && i < l->n_ring; i++) {
        vj_loader_entry *e = &l->ring[i];
        for (int64_t k = 0; e->samples && k < l->n_slots * l->stage.slot; k++) free(e->samples[k].file);
        vj_host_free(e->batch.slots);
        vj_host_free(e->samples);
        vj_host_free(e->clips);
        vj_host_free(e->ids);
        vj_host_free(e->g);
        free(e->error);
    }
    vj_host_free(l->ring);
}

void vj_loader_close(vj_loader **loader)
{
    vj_loader *l = *loader;
    if (l == NULL) return;
    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    pthread_cond_broadcast(&l->room);
    pthread_cond_broadcast(&l->work);
    pthread_cond_broadcast(&l->ready);
    pthread_cond_broadcast(&l->tick);
    pthread_mutex_unlock(&l->mutex);
    *loader = NULL;
    if (!vj_loader_join(l)) return;
    free(l->workers);
    free(l->stall);
    free_ring(l);
    vj_masks_destroy(&l->masks);
    vj_host_free(l->cuts);
    vj_host_free(l->counted);
    vj_host_free(l->fpc_of);
    vj_plan_destroy(&l->plan);
    free(l->held);
    vj_quarantine_destroy(&l->quarantine);
    vj_shards_close(&l->shards);
    vj_catalog_destroy(&l->catalog);
    pthread_cond_destroy(&l->room);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->tick);
    pthread_cond_destroy(&l->ready);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

// ---- the consumer -------------------------------------------------------------------------------------------------

static vj_status too_many_bad(const vj_loader *l, int source, int64_t count, int64_t allowed)
{
    char list[2048];
    vj_quarantine_describe(l->quarantine, source, 5, list, sizeof list);
    VJ_FAIL(VJ_ERR_DATA,
            "source %s: %lld of %lld samples are bad, %lld are allowed (data.max_bad=%g, at least 3); `vjepa data verify "
            "%s` tells more. The first ones:%s",
            l->catalog->sources[source].name, (long long)count, (long long)vj_loader_rows(l, source), (long long)allowed,
            l->config.max_bad, l->catalog->dir, list);
}

static int64_t allowed_of(const vj_loader *l, int source)
{
    const int64_t share = (int64_t)(l->config.max_bad * (double)vj_loader_rows(l, source));
    return share > 3 ? share : 3;
}

int64_t vj_loader_met(const vj_loader *l) { return vj_quarantine_met(l->quarantine, -1); }

vj_status vj_loader_judge(const vj_loader *l)
{
    for (int s = 0; s < l->catalog->n_sources; s++) {
        const int64_t count = vj_quarantine_met(l->quarantine, s);
        if (count > allowed_of(l, s)) return too_many_bad(l, s, count, allowed_of(l, s));
    }
    return VJ_OK;
}

// Counts the bad rows that a complete step's samples met, in order, up to the sample that failed if there is one. Here and
// not where they are found: the threads are ahead of the consumer, how far depends on time, and the end of a run must not.
static vj_status judge(vj_loader *l, const vj_loader_entry *e)
{
    const bool failed = e->status != VJ_OK;
    const vj_loader_sample *s = e->samples;
    for (const vj_loader_sample *end = s + (failed ? e->failed + 1 : e->batch.samples); s < end; s++) {
        const int64_t allowed = allowed_of(l, s->source);
        for (int k = 0; k < s->n_bad; k++) {
            const int64_t count = vj_quarantine_meet(l->quarantine, s->source, s->bad[k], s->g);
            if (count > allowed) return too_many_bad(l, s->source, count, allowed);
        }
    }
    if (!failed) return VJ_OK;
    char list[2048] = "";
    if (e->status == VJ_ERR_DATA && e->failed >= 0) {
        vj_quarantine_describe(l->quarantine, e->samples[e->failed].source, 5, list, sizeof list);
    }
    return vj_fail(e->status, "%s%s", e->error, list);
}

vj_status vj_loader_next(vj_loader *l, const vj_batch **batch)
{
    *batch = NULL;
    const double asked = vj_now();
    pthread_mutex_lock(&l->mutex);
    if (l->delivered - l->released == l->n_ring) {
        pthread_mutex_unlock(&l->mutex);
        VJ_FAIL(VJ_ERR_BUG, "all %lld batches of the loader are held: release one before asking for the next",
                (long long)l->n_ring);
    }
    vj_loader_entry *e = vj_loader_entry_of(l, l->delivered);
    while ((l->planned <= l->delivered || e->left > 0) && l->stall == NULL) pthread_cond_wait(&l->ready, &l->mutex);
    if (l->planned <= l->delivered || e->left > 0) {
        l->told = true;
        pthread_mutex_unlock(&l->mutex);
        return vj_fail_text(VJ_ERR_HANG, l->stall);
    }
    const double waited = vj_now() - asked;
    l->stats.wait_seconds += waited;
    e->batch.wait_seconds = waited;
    if (!e->judged) {   // the step is complete: nobody else looks at it now
        const vj_status verdict = judge(l, e);
        if (verdict != VJ_OK) {
            char *text = vj_strdup(vj_error_text());
            free(e->error);
            e->error = text;
            e->status = verdict;
            l->failed = true;
        }
        e->judged = true;
    }
    const vj_status status = e->status;
    if (status == VJ_OK) l->delivered++;
    pthread_mutex_unlock(&l->mutex);
    if (status != VJ_OK) return vj_fail_text(status, e->error);
    *batch = &e->batch;
    return VJ_OK;
}

void vj_loader_release(vj_loader *l, const vj_batch *batch)
{
    pthread_mutex_lock(&l->mutex);
    VJ_ASSERT(l->released < l->delivered && batch == &vj_loader_entry_of(l, l->released)->batch);
    l->released++;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->mutex);
}

void vj_loader_state_get(const vj_loader *loader, vj_loader_state *out)
{
    vj_loader *l = (vj_loader *)loader;   // the mutex is ours to lock, nothing else changes
    pthread_mutex_lock(&l->mutex);
    *out = (vj_loader_state){ .cursor = l->start + (uint64_t)l->released * (uint64_t)l->stage.batch,
                              .step = l->start_step + l->released };
    pthread_mutex_unlock(&l->mutex);
    out->catalog_digest = catalog_digest(l->catalog);
    out->plan_digest = l->plan ? vj_plan_digest(l->plan, out->cursor) : 0;
    out->quarantine_digest = vj_quarantine_digest(l->quarantine);
}

vj_status vj_loader_quarantine(const vj_loader *loader, char **json)
{
    return vj_quarantine_to_json(loader->quarantine, json);
}

vj_status vj_loader_quarantine_add(vj_loader *l, const char *json) { return vj_quarantine_add_json(l->quarantine, json); }

void vj_loader_stats_get(const vj_loader *loader, vj_loader_stats *out)
{
    vj_loader *l = (vj_loader *)loader;
    pthread_mutex_lock(&l->mutex);
    *out = l->stats;
    pthread_mutex_unlock(&l->mutex);
}

vj_status vj_loader_origin(const vj_loader *loader, const vj_batch *batch, int64_t index, vj_sample_origin *out)
{
    vj_loader_entry *e = (vj_loader_entry *)batch;
    VJ_ASSERT(index >= 0 && index < batch->samples);
    vj_loader_sample *s = &e->samples[index];
    if (s->file == NULL) {
        char file[4096];
        VJ_TRY(vj_shards_file(loader->shards, s->source, loader->stage.held_out, s->delivered, file, sizeof file));
        s->file = vj_strdup(file);
    }
    *out = (vj_sample_origin){ .g = s->g, .key = s->key, .source = s->source, .row = s->delivered,
                               .source_name = loader->catalog->sources[s->source].name, .file = s->file,
                               .substitution = s->substitution, .image = s->image };
    return VJ_OK;
}

// ---- summary ------------------------------------------------------------------------------------------------------

vj_status vj_data_summary_read(const char *dir, vj_data_summary *out)
{
    VJ_CHECK(dir[0] != 0, VJ_ERR_CONFIG, "data.dir is not set: give the folder of shards that `vjepa data pack` made");
    vj_catalog *c = NULL;
    VJ_TRY(vj_catalog_read(&c, dir));
    *out = (vj_data_summary){ .sources = c->n_sources };
    for (int s = 0; s < c->n_sources; s++) {
        const vj_source *source = &c->sources[s];
        out->bytes += source->train.blob_bytes + source->held_out.blob_bytes;
        if (source->kind == VJ_SOURCE_IMAGE) {
            out->images += source->train.rows;
            continue;
        }
        out->windows += source->train.rows;
        out->held_out += source->held_out.rows;
        out->held_out_files += source->held_out.files;
    }
    memcpy(out->digest, c->digest, sizeof out->digest);
    vj_catalog_destroy(&c);
    return VJ_OK;
}
