// data/catalog.c
//
// The digest covers a canonical text that is written anew from the parsed catalogue, a line per source, list and shard:
// how the JSON is laid out does not matter, and nothing in the file can be misunderstood without notice.

#include "data/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"

// Version 2: at least one source is linked. What knows version 1 alone cannot read those, and says so.
enum { FORMAT_VERSION = 1, FORMAT_VERSION_LINKED = 2 };

static int version_of(const vj_catalog *c)
{
    for (int i = 0; i < c->n_sources; i++) {
        if (c->sources[i].linked) return FORMAT_VERSION_LINKED;
    }
    return FORMAT_VERSION;
}

static void put_digest(vj_json_writer *w, const char *key, const unsigned char digest[32])
{
    char hex[65];
    vj_hex(hex, digest, 32);
    vj_json_put_text(w, key, hex);
}

static void put_list(vj_json_writer *w, const char *key, const vj_shard_list *list)
{
    vj_json_begin_object(w, key);
    vj_json_put_i64(w, "rows", list->rows);
    vj_json_put_i64(w, "files", list->files);
    vj_json_put_i64(w, "frames", list->frames);
    vj_json_begin_array(w, "shards");
    for (int i = 0; i < list->n; i++) {
        const vj_shard_entry *e = &list->v[i];
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "path", e->path);
        vj_json_put_i64(w, "rows", e->n);
        vj_json_put_i64(w, "file_bytes", e->file_bytes);
        vj_json_put_i64(w, "blob_offset", e->blob_offset);
        vj_json_put_i64(w, "blob_bytes", e->blob_bytes);
        put_digest(w, "metadata_digest", e->metadata_digest);
        put_digest(w, "blob_digest", e->blob_digest);
        put_digest(w, "index_digest", e->index_digest);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_end_object(w);
}

static void put_catalog(vj_json_writer *w, const vj_catalog *c, const char *digest)
{
    w->pretty = true;
    vj_json_begin_object(w, NULL);
    vj_json_put_text(w, "format", "vjepa shards");
    vj_json_put_i64(w, "version", version_of(c));
    vj_json_put_text(w, "digest", digest);
    vj_json_begin_array(w, "sources");
    for (int i = 0; i < c->n_sources; i++) {
        const vj_source *s = &c->sources[i];
        vj_json_begin_object(w, NULL);
        vj_json_put_text(w, "name", s->name);
        vj_json_put_text(w, "kind", vj_source_kind_name(s->kind));
        if (s->linked) vj_json_put_bool(w, "linked", true);
        vj_json_put_f64(w, "weight", s->weight);
        put_list(w, "train", &s->train);
        put_list(w, "held_out", &s->held_out);
        vj_json_end_object(w);
    }
    vj_json_end_array(w);
    vj_json_end_object(w);
}

static void add_canonical(vj_str *text, const char *list_name, const vj_shard_list *list)
{
    vj_str_printf(text, "%s %lld %lld %lld\n", list_name, (long long)list->rows, (long long)list->files, (long long)list->frames);
    for (int i = 0; i < list->n; i++) {
        const vj_shard_entry *e = &list->v[i];
        char hex[3][65];
        vj_hex(hex[0], e->metadata_digest, 32);
        vj_hex(hex[1], e->blob_digest, 32);
        vj_hex(hex[2], e->index_digest, 32);
        vj_str_printf(text, "shard %s %lld %lld %lld %lld %s %s %s\n", e->path, (long long)e->n, (long long)e->file_bytes,
                      (long long)e->blob_offset, (long long)e->blob_bytes, hex[0], hex[1], hex[2]);
    }
}

static void compute_digest(const vj_catalog *c, char digest[65])
{
    vj_str text = { 0 };
    vj_str_printf(&text, "vjepa shards %d\n", version_of(c));
    for (int i = 0; i < c->n_sources; i++) {
        const vj_source *s = &c->sources[i];
        vj_str_printf(&text, "source %s %s %.17g%s\n", s->name, vj_source_kind_name(s->kind), s->weight, s->linked ? " linked" : "");
        add_canonical(&text, "train", &s->train);
        add_canonical(&text, "held_out", &s->held_out);
    }
    vj_sha256_hex(digest, text.data, text.length);
    vj_str_free(&text);
}

static void sum_list(vj_shard_list *list)
{
    list->rows = list->blob_bytes = 0;
    for (int i = 0; i < list->n; i++) {
        list->v[i].first = list->rows;
        list->rows += list->v[i].n;
        list->blob_bytes += list->v[i].blob_bytes;
    }
}

vj_status vj_catalog_write(vj_catalog *catalog, const char *dir)
{
    for (int i = 0; i < catalog->n_sources; i++) {
        sum_list(&catalog->sources[i].train);
        sum_list(&catalog->sources[i].held_out);
    }
    compute_digest(catalog, catalog->digest);
    vj_json_writer w = { 0 };
    put_catalog(&w, catalog, catalog->digest);
    vj_str_add(&w.out, "\n");
    char path[4096];
    vj_path_join(path, sizeof path, dir, VJ_CATALOG_NAME);
    const vj_status status = vj_file_write_atomic(path, w.out.data, w.out.length);
    vj_json_writer_free(&w);
    return status;
}

static vj_status read_digest(const vj_json *object, const char *key, unsigned char out[32])
{
    const char *hex;
    VJ_TRY(vj_json_text(object, key, &hex));
    VJ_CHECK(strlen(hex) == 64, VJ_ERR_DATA, "%s has %zu digits, expected 64", key, strlen(hex));
    for (int i = 0; i < 32; i++) {
        int value = 0;
        for (int j = 0; j < 2; j++) {
            const char c = hex[2 * i + j];
            const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            VJ_CHECK(digit >= 0, VJ_ERR_DATA, "%s holds '%c', expected digits of base 16", key, c);
            value = value * 16 + digit;
        }
        out[i] = (unsigned char)value;
    }
    return VJ_OK;
}

// A path out of the folder would let a catalogue read any file of the user.
static bool path_is_safe(const char *path)
{
    return path[0] != '\0' && path[0] != '/' && strstr(path, "..") == NULL && strlen(path) < 1024;
}

static vj_status read_entry(const vj_json *json, vj_shard_entry *e)
{
    const char *path;
    VJ_TRY(vj_json_text(json, "path", &path));
    VJ_CHECK(path_is_safe(path), VJ_ERR_DATA, "shard path '%s' leaves the folder", path);
    e->path = vj_strdup(path);
    VJ_TRY(vj_json_i64(json, "rows", &e->n));
    VJ_TRY(vj_json_i64(json, "file_bytes", &e->file_bytes));
    VJ_TRY(vj_json_i64(json, "blob_offset", &e->blob_offset));
    VJ_TRY(vj_json_i64(json, "blob_bytes", &e->blob_bytes));
    VJ_CHECK(e->n >= 1 && e->n <= (1 << 24) && e->blob_offset >= 0 && e->blob_bytes >= 0 && e->file_bytes >= e->blob_bytes &&
                 e->blob_offset <= e->file_bytes - e->blob_bytes,
             VJ_ERR_DATA, "shard %s: impossible sizes", path);
    VJ_TRY(read_digest(json, "metadata_digest", e->metadata_digest));
    VJ_TRY(read_digest(json, "blob_digest", e->blob_digest));
    return read_digest(json, "index_digest", e->index_digest);
}

static vj_status read_list(const vj_json *source, const char *key, vj_shard_list *list)
{
    const vj_json *json = vj_json_get(source, key);
    VJ_CHECK(vj_json_is_object(json), VJ_ERR_DATA, "%s is missing", key);
    const vj_json *shards = vj_json_get(json, "shards");
    VJ_CHECK(vj_json_is_array(shards), VJ_ERR_DATA, "%s.shards is not a list", key);
    int64_t rows;
    VJ_TRY(vj_json_i64(json, "rows", &rows));
    VJ_TRY(vj_json_i64(json, "files", &list->files));
    VJ_TRY(vj_json_i64(json, "frames", &list->frames));
    const int64_t n = vj_json_count(shards);
    VJ_CHECK(n <= 10000000, VJ_ERR_DATA, "%s lists %lld shards", key, (long long)n);
    list->v = calloc((size_t)n + 1, sizeof *list->v);
    VJ_CHECK(list->v != NULL, VJ_ERR_NOMEM, "no memory for a list of %lld shards", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        list->n = (int)i + 1;
        VJ_TRY(read_entry(vj_json_at(shards, i), &list->v[i]));
    }
    sum_list(list);
    VJ_CHECK(list->rows == rows, VJ_ERR_DATA, "%s: the shards' rows add up to %lld, %lld are claimed", key, (long long)list->rows,
             (long long)rows);
    return VJ_OK;
}

static vj_status read_source(const vj_json *json, vj_source *s)
{
    const char *name, *kind;
    VJ_TRY(vj_json_text(json, "name", &name));
    VJ_CHECK(name[0] != '\0' && strlen(name) < sizeof s->name, VJ_ERR_DATA, "source name '%s' is empty or too long", name);
    vj_format(s->name, sizeof s->name, "%s", name);
    VJ_TRY_CTX(vj_json_text(json, "kind", &kind), "reading source %s", name);
    VJ_CHECK(strcmp(kind, "video") == 0 || strcmp(kind, "image") == 0, VJ_ERR_DATA, "source %s: kind '%s' is none of video, image",
             name, kind);
    s->kind = strcmp(kind, "video") == 0 ? VJ_SOURCE_VIDEO : VJ_SOURCE_IMAGE;
    if (vj_json_get(json, "linked") != NULL) VJ_TRY_CTX(vj_json_bool(json, "linked", &s->linked), "reading source %s", name);
    VJ_TRY_CTX(vj_json_f64(json, "weight", &s->weight), "reading source %s", name);
    VJ_CHECK(s->weight >= 0, VJ_ERR_DATA, "source %s: weight %g is negative", name, s->weight);
    VJ_TRY_CTX(read_list(json, "train", &s->train), "reading source %s", name);
    VJ_TRY_CTX(read_list(json, "held_out", &s->held_out), "reading source %s", name);
    return VJ_OK;
}

static vj_status read_root(const vj_json *root, vj_catalog *c)
{
    const char *text;
    int64_t version;
    VJ_CHECK(vj_json_is_object(root), VJ_ERR_DATA, "it is not an object");
    VJ_TRY(vj_json_text(root, "format", &text));
    VJ_CHECK(strcmp(text, "vjepa shards") == 0, VJ_ERR_DATA, "format is '%s', expected 'vjepa shards'", text);
    VJ_TRY(vj_json_i64(root, "version", &version));
    VJ_CHECK(version == FORMAT_VERSION || version == FORMAT_VERSION_LINKED, VJ_ERR_DATA, "version %lld; this program reads versions %d and %d",
             (long long)version, FORMAT_VERSION, FORMAT_VERSION_LINKED);
    const vj_json *sources = vj_json_get(root, "sources");
    const int64_t n = vj_json_count(sources);
    VJ_CHECK(vj_json_is_array(sources) && n >= 1 && n <= VJ_MAX_SOURCES, VJ_ERR_DATA, "%lld sources, expected 1 to %d", (long long)n,
             VJ_MAX_SOURCES);
    c->sources = calloc((size_t)n, sizeof *c->sources);
    VJ_CHECK(c->sources != NULL, VJ_ERR_NOMEM, "no memory for %lld sources", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        c->n_sources = (int)i + 1;
        VJ_TRY(read_source(vj_json_at(sources, i), &c->sources[i]));
        for (int64_t j = 0; j < i; j++) {
            VJ_CHECK(strcmp(c->sources[j].name, c->sources[i].name) != 0, VJ_ERR_DATA, "source %s appears twice", c->sources[i].name);
        }
    }
    VJ_TRY(vj_json_text(root, "digest", &text));
    VJ_CHECK(version == version_of(c), VJ_ERR_DATA, "version %lld, but its sources need version %d", (long long)version, version_of(c));
    compute_digest(c, c->digest);
    VJ_CHECK(strcmp(text, c->digest) == 0, VJ_ERR_DATA, "its digest is %.16s..., its content gives %.16s...: damaged or edited by hand",
             text, c->digest);
    return VJ_OK;
}

vj_status vj_catalog_read(vj_catalog **out, const char *dir)
{
    vj_status status = VJ_OK;
    vj_json_doc *doc = NULL;
    vj_catalog *c = NULL;
    char path[4096];

    *out = NULL;
    VJ_CHECK(vj_path_exists(dir), VJ_ERR_CONFIG, "%s does not exist; make shards with: vjepa data pack --out %s --source NAME=DIR", dir, dir);
    VJ_CHECK(vj_path_is_dir(dir), VJ_ERR_CONFIG, "%s is not a folder; a folder of shards is expected", dir);
    VJ_CHECK(strlen(dir) < sizeof path - 1100, VJ_ERR_CONFIG, "the path %.80s... is too long", dir);
    vj_path_join(path, sizeof path, dir, VJ_CATALOG_NAME);
    VJ_CHECK(vj_path_exists(path), VJ_ERR_CONFIG,
             "%s has no %s: packing was not finished, or these are not shards; make them with: vjepa data pack --out %s --source NAME=DIR",
             dir, VJ_CATALOG_NAME, dir);
    c = calloc(1, sizeof *c);
    VJ_CHECK(c != NULL, VJ_ERR_NOMEM, "no memory for a catalogue");
    c->dir = vj_strdup(dir);
    VJ_TRY_GOTO(vj_json_read(&doc, path), done);
    status = read_root(vj_json_root(doc), c);
    if (status != VJ_OK) vj_context("reading %s", path);
done:
    vj_json_destroy(&doc);
    // Whatever is wrong inside the file is a matter of its content.
    if (status == VJ_ERR_CONFIG) {
        char *text = vj_strdup(vj_error_text());
        status = vj_fail_text(VJ_ERR_DATA, text);
        free(text);
    }
    if (status != VJ_OK) {
        vj_catalog_destroy(&c);
        return status;
    }
    *out = c;
    return VJ_OK;
}

void vj_shard_list_free(vj_shard_list *list)
{
    for (int i = 0; i < list->n; i++) free(list->v[i].path);
    free(list->v);
}

void vj_catalog_destroy(vj_catalog **catalog)
{
    vj_catalog *c = *catalog;
    if (c == NULL) return;
    for (int i = 0; i < c->n_sources; i++) {
        vj_shard_list_free(&c->sources[i].train);
        vj_shard_list_free(&c->sources[i].held_out);
    }
    free(c->sources);
    free(c->dir);
    free(c);
    *catalog = NULL;
}

const vj_source *vj_catalog_find(const vj_catalog *catalog, const char *name)
{
    for (int i = 0; i < catalog->n_sources; i++) {
        if (strcmp(catalog->sources[i].name, name) == 0) return &catalog->sources[i];
    }
    return NULL;
}

int vj_shard_list_locate(const vj_shard_list *list, int64_t row, int64_t *row_in_shard)
{
    VJ_ASSERT(row >= 0 && row < list->rows);
    int low = 0, high = list->n - 1;   // the last shard with first <= row
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (list->v[middle].first <= row) low = middle;
        else high = middle - 1;
    }
    *row_in_shard = row - list->v[low].first;
    return low;
}
