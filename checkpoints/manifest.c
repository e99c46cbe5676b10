// manifest.json: {"xxh64":"16 hex digits","body":{...}} where the checksum is that of the body's bytes. It is written
// last, so a directory with a true manifest is a complete checkpoint.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checkpoint_impl.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"

const char *const vj_state_kind_names[VJ_STATE_KINDS] = { "param", "exp_avg", "exp_avg_sq" };
const char *const vj_ckpt_networks[VJ_CKPT_NETWORKS] = { "encoder", "predictor", "target_encoder" };
static const char head[] = "{\"xxh64\":\"", middle[] = "\",\"body\":";

void vj_block_hash_add(vj_block_hash *h, const void *block, size_t bytes)
{
    h->hashes[h->n++] = vj_xxh64(block, bytes);
    if (h->n < 1024) return;
    h->hashes[0] = vj_xxh64(h->hashes, sizeof h->hashes);   // fold: a checksum of any length fits
    h->n = 1;
}

uint64_t vj_block_hash_end(vj_block_hash *h) { return vj_xxh64(h->hashes, (size_t)h->n * sizeof h->hashes[0]); }

int64_t vj_pieces_of(const vj_shard_file *shard, const vj_interval *v)
{
    const int64_t bytes = (v->end - v->begin) * (int64_t)vj_dtype_size(shard->dtype);
    return bytes <= VJ_CKPT_PIECE ? 0 : (bytes + VJ_CKPT_PIECE - 1) / VJ_CKPT_PIECE;
}

static int by_offset(const void *a, const void *b)
{
    const vj_h5_range *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

vj_status vj_shard_digest(const vj_shard_file *shard, const char *path, unsigned char out[32])
{
    vj_h5_range *ranges = calloc((size_t)shard->n + 1, sizeof *ranges);
    VJ_CHECK(ranges != NULL, VJ_ERR_NOMEM, "no memory for the digest of %s", path);
    for (int64_t i = 0; i < shard->n; i++) {
        const vj_interval *v = &shard->intervals[i];
        ranges[i] = (vj_h5_range){ v->offset, (v->end - v->begin) * (int64_t)vj_dtype_size(shard->dtype) };
    }
    qsort(ranges, (size_t)shard->n, sizeof *ranges, by_offset);
    vj_status status = vj_h5_metadata_digest(path, ranges, shard->n, out);
    free(ranges);
    return status;
}

static void put_layout(vj_json_writer *w, const vj_layout *l)
{
    vj_json_begin_object(w, NULL);
    vj_json_put_text(w, "network", l->network);
    vj_json_put_i64(w, "quantum", l->quantum);
    vj_json_begin_array(w, "units");
    for (int u = 0; u < l->n_units; u++) {
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "name", l->units[u].name);
        vj_json_put_i64(w, "length", l->units[u].length);
        vj_json_begin_array(w, "params");
        for (int p = l->units[u].first_param; p < l->units[u].first_param + l->units[u].n_params; p++) {
            const vj_param *q = &l->params[p];
            vj_json_begin_object(w, NULL);
            vj_json_put_text(w, "name", q->name);
            vj_json_put_i64(w, "offset", q->offset);
            vj_json_begin_array(w, "shape");
            for (int i = 0; i < q->rank; i++) vj_json_put_i64(w, NULL, q->shape[i]);
            vj_json_end_array(w);
            vj_json_end_object(w);
        }
        vj_json_end_array(w);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_end_object(w);
}

// 16 hexadecimal digits for each.
static void put_pieces(vj_json_writer *w, const uint64_t *pieces, int64_t n)
{
    vj_str text = { 0 };
    for (int64_t i = 0; i < n; i++) vj_str_printf(&text, "%016llx", (unsigned long long)pieces[i]);
    vj_json_put_text(w, "pieces", vj_str_text(&text));
    vj_str_free(&text);
}

static void put_shard(vj_json_writer *w, const vj_shard_file *f)
{
    char hex[65];
    vj_hex(hex, f->digest, 32);
    vj_json_begin_object(w, NULL);
    vj_json_put_text(w, "file", f->name);
    vj_json_put_i64(w, "bytes", f->bytes);
    vj_json_put_text(w, "dtype", vj_dtype_name(f->dtype));
    vj_json_put_text(w, "metadata_sha256", hex);
    vj_json_begin_array(w, "intervals");
    for (int64_t i = 0; i < f->n; i++) {
        const vj_interval *v = &f->intervals[i];
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "network", v->network);
        vj_json_put_text(w, "kind", vj_state_kind_names[v->kind]);
        vj_json_put_i64(w, "unit", v->unit);
        vj_json_put_i64(w, "begin", v->begin);
        vj_json_put_i64(w, "end", v->end);
        vj_json_put_i64(w, "offset", v->offset);
        vj_json_put_hex(w, "xxh64", v->checksum);
        if (v->first_piece >= 0) put_pieces(w, f->pieces + v->first_piece, vj_pieces_of(f, v));
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_end_object(w);
}

void vj_manifest_text(const vj_checkpoint *c, vj_str *out)
{
    const vj_run_state *s = &c->state;
    char wall[32];
    vj_wall_text(wall);
    vj_json_writer w = { 0 };
    vj_json_begin_object(&w, NULL);
    vj_json_put_i64(&w, "format", VJ_CKPT_FORMAT);
    vj_json_put_text(&w, "run_id", s->run_id);
    vj_json_put_text(&w, "phase", s->phase);
    vj_json_put_text(&w, "schedule_phase", s->schedule_phase);
    vj_json_put_i64(&w, "step", s->step);
    vj_json_put_i64(&w, "adam_step", s->adam_step);
    vj_json_put_hex(&w, "cursor", s->cursor);
    vj_json_put_hex(&w, "seed", s->seed);
    vj_json_put_hex(&w, "plan_digest", s->plan_digest);
    vj_json_put_hex(&w, "catalog_digest", s->catalog_digest);
    vj_json_put_hex(&w, "quarantine_digest", s->quarantine_digest);
    vj_json_put_text(&w, "parent", s->parent);
    vj_json_put_text(&w, "model_digest", s->model_digest);
    vj_json_put_text(&w, "isa", s->isa);
    vj_json_put_text(&w, "gemm", s->gemm);
    vj_json_put_f64(&w, "wall_seconds", s->wall_seconds);
    vj_json_put_text(&w, "written", wall);
    vj_json_put_i64(&w, "world", c->n_shards);
    vj_json_put_text(&w, "config", s->config_yaml ? s->config_yaml : "");
    vj_json_put_text(&w, "quarantine", s->quarantine_json ? s->quarantine_json : "");
    vj_json_begin_array(&w, "layouts");
    for (int i = 0; i < 2; i++) put_layout(&w, c->layouts[i]);
    vj_json_end_array(&w);
    vj_json_begin_array(&w, "shards");
    for (int64_t i = 0; i < c->n_shards; i++) put_shard(&w, &c->shards[i]);
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    vj_str_printf(out, "%s%016llx%s", head, (unsigned long long)vj_xxh64(w.out.data, w.out.length), middle);
    vj_str_add_n(out, w.out.data, w.out.length);
    vj_str_add(out, "}\n");
    vj_json_writer_free(&w);
}

// ---- reading: every number is checked before it is used ------------------------------------------------------------
static vj_status text_into(const vj_json *o, const char *key, char *out, size_t size)
{
    const char *text = NULL;
    VJ_TRY(vj_json_text(o, key, &text));
    VJ_CHECK(strlen(text) < size, VJ_ERR_CHECKPOINT, "\"%s\" is too long", key);
    vj_format(out, size, "%s", text);
    return VJ_OK;
}

static vj_status read_state(vj_checkpoint *c, const vj_json *b)
{
    vj_run_state *s = &c->state;
    const char *text = NULL;
    VJ_TRY(text_into(b, "run_id", s->run_id, sizeof s->run_id));
    VJ_TRY(text_into(b, "phase", s->phase, sizeof s->phase));
    VJ_TRY(text_into(b, "schedule_phase", s->schedule_phase, sizeof s->schedule_phase));
    VJ_TRY(vj_json_i64(b, "step", &s->step));
    VJ_TRY(vj_json_i64(b, "adam_step", &s->adam_step));
    VJ_TRY(vj_json_u64_hex(b, "cursor", &s->cursor));
    VJ_TRY(vj_json_u64_hex(b, "seed", &s->seed));
    VJ_TRY(vj_json_u64_hex(b, "plan_digest", &s->plan_digest));
    VJ_TRY(vj_json_u64_hex(b, "catalog_digest", &s->catalog_digest));
    VJ_TRY(vj_json_u64_hex(b, "quarantine_digest", &s->quarantine_digest));
    VJ_TRY(text_into(b, "parent", s->parent, sizeof s->parent));
    VJ_TRY(text_into(b, "model_digest", s->model_digest, sizeof s->model_digest));
    VJ_TRY(text_into(b, "isa", s->isa, sizeof s->isa));
    VJ_TRY(text_into(b, "gemm", s->gemm, sizeof s->gemm));
    VJ_TRY(text_into(b, "written", c->written, sizeof c->written));
    VJ_TRY(vj_json_f64(b, "wall_seconds", &s->wall_seconds));
    VJ_TRY(vj_json_text(b, "config", &text));
    s->config_yaml = c->config_yaml = vj_strdup(text);
    VJ_TRY(vj_json_text(b, "quarantine", &text));
    c->quarantine = vj_strdup(text);
    s->quarantine_json = c->quarantine[0] ? c->quarantine : NULL;
    return VJ_OK;
}

enum { PARAMS_MAX = 1 << 20 };
static const int64_t ELEMENTS_MAX = (int64_t)1 << 38;   // of one parameter; all sums stay far below 2^63

static vj_status read_unit(vj_layout *l, const vj_json *u)
{
    const char *name = NULL;
    int64_t length = 0;
    VJ_TRY(vj_json_text(u, "name", &name));
    VJ_TRY(vj_json_i64(u, "length", &length));
    VJ_CHECK(strlen(name) < sizeof l->units->name, VJ_ERR_CHECKPOINT, "a unit's name is too long");
    VJ_TRY(vj_layout_unit(l, name));
    const vj_json *params = vj_json_get(u, "params");
    for (int64_t i = 0; i < vj_json_count(params); i++) {
        const vj_json *p = vj_json_at(params, i), *shape = vj_json_get(p, "shape");
        vj_param q = { .rank = (int)vj_json_count(shape) };
        int64_t offset = -1, elements = 1;
        VJ_TRY(text_into(p, "name", q.name, sizeof q.name));
        VJ_TRY(vj_json_i64(p, "offset", &offset));
        VJ_CHECK(q.rank >= 1 && q.rank <= VJ_MAX_RANK, VJ_ERR_CHECKPOINT, "parameter %s has %d sizes", q.name, q.rank);
        for (int k = 0; k < q.rank; k++) {
            VJ_CHECK(vj_json_as_i64(vj_json_at(shape, k), &q.shape[k]) && q.shape[k] >= 1 &&
                         !__builtin_mul_overflow(elements, q.shape[k], &elements) && elements <= ELEMENTS_MAX,
                     VJ_ERR_CHECKPOINT, "parameter %s has an impossible size", q.name);
        }
        VJ_CHECK(l->n_params < PARAMS_MAX, VJ_ERR_CHECKPOINT, "more than %d parameters", PARAMS_MAX);
        VJ_TRY(vj_layout_param(l, &q));
        VJ_CHECK(l->params[l->n_params - 1].offset == offset, VJ_ERR_CHECKPOINT,
                 "parameter %s does not lie where it should", q.name);
    }
    VJ_CHECK(l->units[l->n_units - 1].length == length, VJ_ERR_CHECKPOINT,
             "unit %s has another length than its parameters say", name);
    return VJ_OK;
}

static vj_status read_layouts(vj_checkpoint *c, const vj_json *b)
{
    const vj_json *list = vj_json_get(b, "layouts");
    VJ_CHECK(vj_json_count(list) == 2, VJ_ERR_CHECKPOINT, "two networks were expected");
    for (int i = 0; i < 2; i++) {
        const vj_json *o = vj_json_at(list, i), *units = vj_json_get(o, "units");
        const char *network = NULL;
        int64_t quantum = 0;
        VJ_TRY(vj_json_text(o, "network", &network));
        VJ_TRY(vj_json_i64(o, "quantum", &quantum));
        VJ_CHECK(strcmp(network, i ? "predictor" : "encoder") == 0 && quantum >= 1 && quantum < 1 << 24,
                 VJ_ERR_CHECKPOINT, "an unknown network");
        VJ_TRY(vj_layout_create(&c->layouts[i], network, quantum));
        for (int64_t u = 0; u < vj_json_count(units); u++) VJ_TRY(read_unit(c->layouts[i], vj_json_at(units, u)));
    }
    return VJ_OK;
}

// Appended to the shard's list; absent in older checkpoints.
static vj_status read_pieces(vj_shard_file *f, const vj_json *o, vj_interval *v)
{
    v->first_piece = -1;
    if (!vj_json_get(o, "pieces")) return VJ_OK;
    const char *text = NULL;
    VJ_TRY(vj_json_text(o, "pieces", &text));
    const int64_t n = vj_pieces_of(f, v);
    const size_t digits = strlen(text);
    VJ_CHECK(n > 0 && digits == 16 * (size_t)n && strspn(text, "0123456789abcdef") == digits, VJ_ERR_CHECKPOINT,
             "an interval's checksums of pieces are unreadable");
    uint64_t *more = realloc(f->pieces, (size_t)(f->n_pieces + n) * sizeof *more);
    VJ_CHECK(more != NULL, VJ_ERR_NOMEM, "no memory for a manifest");
    f->pieces = more;
    v->first_piece = f->n_pieces;
    for (int64_t i = 0; i < n; i++) {
        char one[17] = "";
        memcpy(one, text + 16 * i, 16);
        f->pieces[f->n_pieces++] = strtoull(one, NULL, 16);
    }
    return VJ_OK;
}

static vj_status read_interval(const vj_checkpoint *c, vj_shard_file *f, const vj_json *o, vj_interval *v)
{
    const char *kind = NULL;
    int64_t unit = 0;
    VJ_TRY(text_into(o, "network", v->network, sizeof v->network));
    VJ_TRY(vj_json_text(o, "kind", &kind));
    VJ_TRY(vj_json_i64(o, "unit", &unit));
    VJ_TRY(vj_json_i64(o, "begin", &v->begin));
    VJ_TRY(vj_json_i64(o, "end", &v->end));
    VJ_TRY(vj_json_i64(o, "offset", &v->offset));
    VJ_TRY(vj_json_u64_hex(o, "xxh64", &v->checksum));
    int k = 0;
    while (k < VJ_STATE_KINDS && strcmp(vj_state_kind_names[k], kind) != 0) k++;
    const vj_layout *l = vj_checkpoint_layout(c, v->network);
    VJ_CHECK(l && k < VJ_STATE_KINDS && unit >= 0 && unit < l->n_units, VJ_ERR_CHECKPOINT,
             "an interval of an unknown network, kind or unit");
    v->kind = (vj_state_kind)k;
    v->unit = (int)unit;
    VJ_CHECK(v->begin >= 0 && v->begin < v->end && v->end <= l->units[unit].length && v->offset >= 0 &&
                 v->offset <= f->bytes &&
                 (v->end - v->begin) * (int64_t)vj_dtype_size(f->dtype) <= f->bytes - v->offset,
             VJ_ERR_CHECKPOINT, "an interval of unit %s lies outside its unit or file", l->units[unit].name);
    return read_pieces(f, o, v);
}

static vj_status read_shards(vj_checkpoint *c, const vj_json *b)
{
    const vj_json *list = vj_json_get(b, "shards");
    const int64_t n = vj_json_count(list);
    VJ_CHECK(n >= 1 && n <= VJ_CKPT_MOST_SHARDS, VJ_ERR_CHECKPOINT, "no shards");
    c->shards = calloc((size_t)n, sizeof *c->shards);
    VJ_CHECK(c->shards != NULL, VJ_ERR_NOMEM, "no memory for a manifest");
    c->n_shards = n;   // counted at once: what is half read when an error comes is freed with the rest
    for (int64_t k = 0; k < n; k++) {
        vj_shard_file *f = &c->shards[k];
        const vj_json *o = vj_json_at(list, k), *intervals = vj_json_get(o, "intervals");
        const char *dtype = NULL, *hex = NULL;
        VJ_TRY(text_into(o, "file", f->name, sizeof f->name));
        VJ_CHECK(strchr(f->name, '/') == NULL, VJ_ERR_CHECKPOINT, "a shard outside the checkpoint: %s", f->name);
        VJ_TRY(vj_json_i64(o, "bytes", &f->bytes));
        VJ_TRY(vj_json_text(o, "dtype", &dtype));
        VJ_TRY(vj_json_text(o, "metadata_sha256", &hex));
        f->dtype = strcmp(dtype, vj_dtype_name(VJ_F64)) == 0 ? VJ_F64 : VJ_F32;
        VJ_CHECK(strcmp(dtype, vj_dtype_name(f->dtype)) == 0, VJ_ERR_CHECKPOINT, "%s: elements of type %.20s", f->name,
                 dtype);
        VJ_CHECK(f->dtype == c->shards[0].dtype, VJ_ERR_CHECKPOINT, "%s: another type than the shards before it", f->name);
        VJ_CHECK(strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64 && f->bytes >= 0, VJ_ERR_CHECKPOINT,
                 "a shard's digest is unreadable");
        for (int i = 0; i < 32; i++) {
            const char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };
            f->digest[i] = (unsigned char)strtoul(pair, NULL, 16);
        }
        f->intervals = calloc((size_t)vj_json_count(intervals) + 1, sizeof *f->intervals);
        VJ_CHECK(f->intervals != NULL, VJ_ERR_NOMEM, "no memory for a manifest");
        for (; f->n < vj_json_count(intervals); f->n++) {
            VJ_TRY(read_interval(c, f, vj_json_at(intervals, f->n), &f->intervals[f->n]));
        }
    }
    return VJ_OK;
}

static int network_index(const char *network)
{
    int n = 0;
    while (n < VJ_CKPT_NETWORKS && strcmp(vj_ckpt_networks[n], network) != 0) n++;
    return n;
}

static int by_place(const void *a, const void *b)
{
    const vj_interval *x = *(const vj_interval *const *)a, *y = *(const vj_interval *const *)b;
    const int nx = network_index(x->network), ny = network_index(y->network);
    if (nx != ny) return nx - ny;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->unit != y->unit) return x->unit - y->unit;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static bool belongs(const vj_interval *v, int network, int kind, int unit)
{
    return v->unit == unit && (int)v->kind == kind && network_index(v->network) == network;
}

// Every unit of a kind is tiled by the intervals of all shards: nothing missing, nothing twice. Weights are always
// there; moments may be absent as a whole.
static vj_status check_tiling(const vj_interval *const *sorted, int64_t n, const vj_checkpoint *c)
{
    int64_t i = 0;
    for (int net = 0; net < VJ_CKPT_NETWORKS; net++) {
        const vj_layout *l = vj_checkpoint_layout(c, vj_ckpt_networks[net]);
        for (int kind = 0; kind < VJ_STATE_KINDS; kind++) {
            if (kind != VJ_STATE_PARAM && !vj_checkpoint_has(c, vj_ckpt_networks[net], (vj_state_kind)kind)) continue;
            for (int u = 0; u < l->n_units; u++) {
                int64_t at = 0;
                while (i < n && belongs(sorted[i], net, kind, u) && sorted[i]->begin == at) at = sorted[i++]->end;
                VJ_CHECK(at == l->units[u].length && !(i < n && belongs(sorted[i], net, kind, u)), VJ_ERR_CHECKPOINT,
                         "%s/%s of unit %s: the elements at %lld are missing or there twice", vj_ckpt_networks[net],
                         vj_state_kind_names[kind], l->units[u].name, (long long)at);
            }
        }
    }
    return VJ_OK;
}

static vj_status check_complete(const vj_checkpoint *c)
{
    int64_t n = 0;
    for (int64_t k = 0; k < c->n_shards; k++) n += c->shards[k].n;
    const vj_interval **sorted = calloc((size_t)n + 1, sizeof *sorted);
    VJ_CHECK(sorted != NULL, VJ_ERR_NOMEM, "no memory for a manifest");
    int64_t at = 0;
    for (int64_t k = 0; k < c->n_shards; k++) {
        for (int64_t i = 0; i < c->shards[k].n; i++) sorted[at++] = &c->shards[k].intervals[i];
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_place);
    const vj_status status = check_tiling(sorted, n, c);
    free(sorted);
    return status;
}

static vj_status parse(vj_checkpoint *c, const char *text, size_t bytes, const char *file)
{
    const size_t prefix = sizeof head - 1 + 16 + sizeof middle - 1;
    VJ_CHECK(bytes > prefix + 2 && memcmp(text, head, sizeof head - 1) == 0 &&
                 memcmp(text + sizeof head - 1 + 16, middle, sizeof middle - 1) == 0 &&
                 memcmp(text + bytes - 2, "}\n", 2) == 0,
             VJ_ERR_CHECKPOINT, "%s: is no manifest, or is cut off", file);
    char expected[17];
    vj_format(expected, sizeof expected, "%016llx", (unsigned long long)vj_xxh64(text + prefix, bytes - prefix - 2));
    VJ_CHECK(memcmp(expected, text + sizeof head - 1, 16) == 0, VJ_ERR_CHECKPOINT,
             "%s: its checksum does not fit its content", file);
    vj_json_doc *doc = NULL;
    VJ_TRY(vj_json_parse(&doc, text + prefix, bytes - prefix - 2, file));
    const vj_json *b = vj_json_root(doc);
    int64_t format = 0;
    vj_status status = vj_json_i64(b, "format", &format);
    if (status == VJ_OK && format != VJ_CKPT_FORMAT) {
        status = vj_fail(VJ_ERR_CHECKPOINT, "format %lld, this program reads %d", (long long)format, VJ_CKPT_FORMAT);
    }
    if (status == VJ_OK) status = read_state(c, b);
    if (status == VJ_OK) status = read_layouts(c, b);
    if (status == VJ_OK) status = read_shards(c, b);
    if (status == VJ_OK) status = check_complete(c);
    vj_json_destroy(&doc);
    return status;
}

vj_status vj_manifest_read(vj_checkpoint **out, const char *dir)
{
    *out = NULL;
    char file[640];
    VJ_CHECK(strlen(dir) < sizeof (*out)->path, VJ_ERR_CHECKPOINT, "the path of the checkpoint is too long");
    vj_path_join(file, sizeof file, dir, "manifest.json");
    VJ_CHECK(vj_path_exists(file), VJ_ERR_CHECKPOINT, "%s: has no manifest.json: it was never completed", dir);
    vj_checkpoint *c = calloc(1, sizeof *c);
    VJ_CHECK(c != NULL, VJ_ERR_NOMEM, "no memory for a manifest");
    vj_format(c->path, sizeof c->path, "%s", dir);
    char *text = NULL;
    size_t bytes = 0;
    vj_status status = vj_file_read(file, &text, &bytes, 0);
    if (status == VJ_OK) status = parse(c, text, bytes, file);
    free(text);
    if (status != VJ_OK) {
        vj_context("reading %s", file);
        vj_checkpoint_destroy(&c);
        return status == VJ_ERR_NOMEM ? status : VJ_ERR_CHECKPOINT;
    }
    *out = c;
    return VJ_OK;
}

void vj_checkpoint_destroy(vj_checkpoint **checkpoint)
{
    vj_checkpoint *c = *checkpoint;
    if (!c) return;
    for (int64_t i = 0; i < c->n_shards; i++) {
        free(c->shards[i].intervals);
        free(c->shards[i].pieces);
    }
    free(c->shards);
    for (int i = 0; i < 2; i++) vj_layout_destroy(&c->layouts[i]);
    free(c->config_yaml);
    free(c->quarantine);
    free(c);
    *checkpoint = NULL;
}
