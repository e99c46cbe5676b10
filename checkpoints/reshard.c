// The same checkpoint in other files: what N ranks would have written. One writer's intervals after the other are read from whatever
// intervals the source has, a block at a time.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/save_impl.h"
#include "runtime/base/file.h"
#include "runtime/log/log.h"

enum { PARTS = VJ_CKPT_NETWORKS * VJ_STATE_KINDS };

typedef struct resharder {
    const vj_checkpoint *from;
    vj_dtype dtype;
    vj_state_part parts[PARTS];
    int n_parts;
    vj_tensor *shards;   // without memory: how many elements the writer whose turn it is has of a unit
    int64_t *begin;
} resharder;

static vj_status fill(void *context, const vj_state_part *part, int unit, int64_t first, int64_t count, void *out)
{
    const resharder *x = context;
    return vj_checkpoint_read_elements(x->from, part->network, part->kind, unit, first, count, out);
}

// The parts that the source has: of imported weights the moments may be absent.
static vj_status make_parts(resharder *x)
{
    size_t units = 0, at = 0;
    for (int n = 0; n < VJ_CKPT_NETWORKS; n++) {
        units += (size_t)vj_checkpoint_layout(x->from, vj_ckpt_networks[n])->n_units * VJ_STATE_KINDS;
    }
    x->shards = calloc(units + 1, sizeof *x->shards);
    x->begin = calloc(units + 1, sizeof *x->begin);
    VJ_CHECK(x->shards && x->begin, VJ_ERR_NOMEM, "no memory to reshard");
    for (int n = 0; n < VJ_CKPT_NETWORKS; n++) {
        const vj_layout *l = vj_checkpoint_layout(x->from, vj_ckpt_networks[n]);
        for (int k = 0; k < VJ_STATE_KINDS; k++) {
            if (!vj_checkpoint_has(x->from, vj_ckpt_networks[n], (vj_state_kind)k)) continue;
            x->parts[x->n_parts++] = (vj_state_part){ .network = vj_ckpt_networks[n], .kind = (vj_state_kind)k, .layout = l,
                                                      .shards = x->shards + at, .begin = x->begin + at, .fill = fill, .fill_context = x };
            at += (size_t)l->n_units;
        }
    }
    return VJ_OK;
}

static void cut(resharder *x, int writer, int writers)
{
    size_t at = 0;
    for (int p = 0; p < x->n_parts; p++) {
        const vj_layout *l = x->parts[p].layout;
        for (int u = 0; u < l->n_units; u++, at++) {
            int64_t end;
            vj_layout_owned(l, u, writer, writers, &x->begin[at], &end);
            x->shards[at] = vj_tensor_1d(NULL, x->dtype, end - x->begin[at]);
        }
    }
}

static vj_status write_all(resharder *x, vj_saver *s)
{
    const int writers = (int)s->manifest.n_shards;
    int64_t payload = 0;
    for (int r = 0; r < writers; r++) {
        cut(x, r, writers);
        payload += vj_saver_payload(s, r);
    }
    VJ_TRY(vj_saver_check_space(s, payload));
    vj_status status = vj_saver_make_room(s);
    if (status == VJ_OK) status = vj_saver_open(s);
    for (int r = 0; r < writers && status == VJ_OK; r++) {
        cut(x, r, writers);
        status = vj_saver_write_shard(s, r);
    }
    if (status == VJ_OK) status = vj_saver_commit(s);
    vj_saver_free(s);
    if (status != VJ_OK) vj_saver_undo(s);
    return status;
}

static vj_status places(vj_saver *s, const char *out)
{
    VJ_CHECK(out[0] && strlen(out) < 480, VJ_ERR_USAGE, "the path of the new checkpoint is empty or too long");
    vj_format(s->final, sizeof s->final, "%s", out);
    for (size_t n = strlen(s->final); n > 1 && s->final[n - 1] == '/'; n--) s->final[n - 1] = '\0';
    VJ_CHECK(!vj_path_exists(s->final), VJ_ERR_USAGE, "%s: exists already; name a new directory", s->final);
    const char *slash = strrchr(s->final, '/');
    if (!slash) vj_format(s->ckpt, sizeof s->ckpt, ".");
    else vj_format(s->ckpt, sizeof s->ckpt, "%.*s", slash == s->final ? 1 : (int)(slash - s->final), s->final);
    vj_format(s->temporary, sizeof s->temporary, "%s.tmp-%d", s->final, (int)getpid());
    return vj_dir_create(s->ckpt);
}

vj_status vj_checkpoint_reshard(const vj_checkpoint *from, const char *out, int64_t ranks)
{
    VJ_CHECK(ranks >= 1 && ranks <= VJ_CKPT_MOST_SHARDS, VJ_ERR_USAGE, "%lld ranks: 1 to %d are possible", (long long)ranks, VJ_CKPT_MOST_SHARDS);
    resharder x = { .from = from, .dtype = from->shards[0].dtype };
    vj_saver s = { .n_parts = 0 };
    s.manifest.state = from->state;
    s.manifest.n_shards = ranks;
    const vj_state_part **writers = calloc((size_t)ranks, sizeof *writers);
    vj_status status = writers ? places(&s, out) : vj_fail(VJ_ERR_NOMEM, "no memory to reshard");
    for (int64_t r = 0; writers && r < ranks; r++) writers[r] = x.parts;
    if (status == VJ_OK) status = vj_checkpoint_check(from);   // what is read below is not looked at again
    if (status == VJ_OK) status = make_parts(&x);
    s.parts = writers;
    s.n_parts = x.n_parts;
    if (status == VJ_OK) status = write_all(&x, &s);
    free(writers);
    free(x.shards);
    free(x.begin);
    return status;
}
