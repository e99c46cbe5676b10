// data/pack_journal.c
//
// The file is mapped once at opening and indexed by (kind, source, file name); later records of the same key win. Numbers are
// little-endian, texts have their length in front. The reading side trusts nothing that a CRC could not have caught: counts are
// held against the bytes that are left.

#include "data/pack_journal.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

#define MAGIC "vjepa packing 1\n"
#define MAGIC_ANY "vjepa packing "
enum { MAGIC_BYTES = sizeof MAGIC - 1, FRAME_BYTES = 12 /* length, kind, CRC */, ROW_BYTES = 96, ENTRY_MIN_BYTES = 4 + 4 * 8 + 3 * 32 };
static const double SYNC_SECONDS = 5;

typedef enum record_kind { HEAD = 1, LIFE, SCAN, PACKED, SYNCED, SOURCE, FINISHED, KINDS } record_kind;
static const char *const points[KINDS] = { NULL, "pack.head", "pack.life", "pack.scan", "pack.packed", "pack.synced", "pack.source",
                                           "pack.finished" };

typedef struct record {           // pointers into the map
    record_kind kind;
    uint32_t source;
    const char *name;             // of SCAN and PACKED, not terminated
    size_t name_bytes;
    const unsigned char *body;    // behind source and name
    size_t bytes;
    size_t at;                    // where in the file
} record;

struct vj_journal {
    char path[4096];
    int fd, life;
    pthread_mutex_t mutex;        // guards end, last_sync and the order of records
    int64_t end;
    double last_sync;
    vj_pack_identity id;
    const void *map;
    size_t map_bytes, synced_end;
    record *records;              // sorted by kind, source, name, place
    int64_t n, capacity;
};

// ---- numbers and texts ---------------------------------------------------------------------------------------------

static void put(vj_str *s, uint64_t v, int bytes)
{
    char out[8];
    for (int i = 0; i < bytes; i++) out[i] = (char)(v >> (8 * i));
    vj_str_add_n(s, out, (size_t)bytes);
}

static void put32(vj_str *s, uint32_t v) { put(s, v, 4); }
static void put64(vj_str *s, int64_t v) { put(s, (uint64_t)v, 8); }

static void put_text(vj_str *s, const char *text)
{
    put32(s, (uint32_t)strlen(text));
    vj_str_add(s, text);
}

typedef struct cursor {
    const unsigned char *p;
    size_t left;
    bool ok;                      // false once something did not fit
} cursor;

static const unsigned char *take(cursor *c, size_t bytes)
{
    if (!c->ok || bytes > c->left) {
        c->ok = false;
        return NULL;
    }
    const unsigned char *p = c->p;
    c->p += bytes;
    c->left -= bytes;
    return p;
}

static uint64_t get(cursor *c, size_t bytes)
{
    const unsigned char *p = take(c, bytes);
    uint64_t v = 0;
    for (size_t i = 0; p != NULL && i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static uint32_t get32(cursor *c) { return (uint32_t)get(c, 4); }
static int64_t get64(cursor *c) { return (int64_t)get(c, 8); }

static char *get_text(cursor *c)   // free() it
{
    const size_t n = get32(c);
    const unsigned char *p = take(c, n);
    char *text = p != NULL ? malloc(n + 1) : NULL;
    if (text == NULL) {
        c->ok = false;
        return NULL;
    }
    memcpy(text, p, n);
    text[n] = '\0';
    return text;
}

static void get_bytes(cursor *c, void *out, size_t bytes)
{
    const unsigned char *p = take(c, bytes);
    if (p != NULL) memcpy(out, p, bytes);
}

// ---- which packing it is -------------------------------------------------------------------------------------------

static void add_word(vj_str *s, const char *option, const char *name, const char *value)
{
    vj_str_printf(s, " --%s ", option);
    const bool quoted = strpbrk(value, " \t\"'$&|;<>()*?") != NULL;
    vj_str_printf(s, quoted ? "'%s=%s'" : "%s=%s", name, value);
}

vj_status vj_pack_identify(vj_pack_identity *out, const vj_pack_request *r)
{
    vj_str s = { 0 };
    vj_sha256 lists;
    *out = (vj_pack_identity){ 0 };
    vj_sha256_start(&lists);
    for (int i = 0; i < r->n_sources; i++) {
        const vj_pack_source *source = &r->sources[i];
        char *real = realpath(source->path, NULL), number[40];   // the same folder from another place is the same packing
        add_word(&s, source->image ? "image-source" : "source", source->name, real != NULL ? real : source->path);
        free(real);
        vj_format(number, sizeof number, "%.17g", source->weight);
        if (source->weight >= 0) add_word(&s, "weight", source->name, number);
        if (vj_path_is_dir(source->path) || !vj_pack_is_list(source->path)) continue;
        char *text;
        size_t bytes;
        vj_status status = vj_file_read(source->path, &text, &bytes, 0);
        if (status != VJ_OK) {
            vj_str_free(&s);
            return status;
        }
        vj_sha256_add(&lists, &bytes, sizeof bytes);
        vj_sha256_add(&lists, text, bytes);
        free(text);
    }
    vj_sha256_end(&lists, out->lists);
    if (r->window > 0) vj_str_printf(&s, " --window %.17g", r->window);
    if (r->hold_out > 0) vj_str_printf(&s, " --hold-out %.17g", r->hold_out);
    if (r->recode > 0) vj_str_printf(&s, " --recode %d --gop %d --crf %d", r->recode, r->gop, r->crf);
    if (r->link) vj_str_add(&s, " --link");
    if (r->limit > 0) vj_str_printf(&s, " --limit %lld", (long long)r->limit);
    vj_str_printf(&s, " --seed %llu --max-shard-bytes %lld", (unsigned long long)r->seed, (long long)r->max_shard_bytes);
    out->command = s.data;
    return VJ_OK;
}

void vj_pack_identity_free(vj_pack_identity *id)
{
    free(id->command);
    *id = (vj_pack_identity){ 0 };
}

// ---- reading -------------------------------------------------------------------------------------------------------

static int by_key(const record *x, const record *y)
{
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    const size_t n = x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
    const int order = n > 0 ? memcmp(x->name, y->name, n) : 0;
    if (order != 0) return order;
    return x->name_bytes < y->name_bytes ? -1 : x->name_bytes > y->name_bytes ? 1 : 0;
}

static int by_key_and_place(const void *a, const void *b)
{
    const record *x = a, *y = b;
    const int order = by_key(x, y);
    return order != 0 ? order : x->at < y->at ? -1 : x->at > y->at ? 1 : 0;
}

static vj_status keep(vj_journal *j, record_kind kind, cursor *c, size_t at)
{
    if (j->n == j->capacity) {
        j->capacity = j->capacity == 0 ? 256 : 2 * j->capacity;
        record *more = realloc(j->records, (size_t)j->capacity * sizeof *more);
        VJ_CHECK(more != NULL, VJ_ERR_NOMEM, "no memory for the journal %s", j->path);
        j->records = more;
    }
    record r = { .kind = kind, .at = at };
    if (kind == SCAN || kind == PACKED || kind == SOURCE) r.source = get32(c);
    if (kind == SCAN || kind == PACKED) {
        r.name_bytes = get32(c);
        r.name = (const char *)take(c, r.name_bytes);
    }
    r.body = c->p;
    r.bytes = c->left;
    if (c->ok) j->records[j->n++] = r;
    return VJ_OK;
}

// Takes in whole records up to the first that is none; j->end is behind the last.
static vj_status read_records(vj_journal *j)
{
    cursor all = { j->map, j->map_bytes, true };
    (void)take(&all, MAGIC_BYTES);
    for (bool first = true; all.ok; first = false) {
        const size_t at = j->map_bytes - all.left;
        const unsigned char *frame = all.p;
        const uint32_t bytes = get32(&all), kind = get32(&all);
        const unsigned char *body = take(&all, bytes);
        const uint32_t crc = get32(&all);
        if (!all.ok || crc != vj_crc32c(0, frame, 8 + (size_t)bytes) || kind < HEAD || kind >= KINDS || first != (kind == HEAD)) break;
        cursor c = { body, bytes, true };
        if (kind == HEAD) {
            get_bytes(&c, j->id.lists, sizeof j->id.lists);
            j->id.command = get_text(&c);
        } else if (kind == LIFE) {
            j->life = (int)get32(&c);
        } else if (kind == SYNCED) {
            j->synced_end = at;
        } else {
            VJ_TRY(keep(j, (record_kind)kind, &c, at));
        }
        j->end = (int64_t)(at + FRAME_BYTES + bytes);
    }
    if (j->n > 1) qsort(j->records, (size_t)j->n, sizeof *j->records, by_key_and_place);
    return VJ_OK;
}

static vj_status make(vj_journal **out, const char *work)
{
    vj_journal *j = calloc(1, sizeof *j);
    VJ_CHECK(j != NULL, VJ_ERR_NOMEM, "no memory for a journal");
    pthread_mutex_init(&j->mutex, NULL);
    j->fd = -1;
    vj_path_join(j->path, sizeof j->path, work, "journal");
    *out = j;
    return VJ_OK;
}

vj_status vj_journal_open(vj_journal **out, const char *work)
{
    vj_status status = VJ_OK;
    *out = NULL;
    VJ_TRY(make(out, work));
    vj_journal *j = *out;
    if (!vj_path_exists(j->path)) goto none;
    VJ_TRY_GOTO(vj_file_map(j->path, &j->map, &j->map_bytes), none);
    if (j->map_bytes >= MAGIC_BYTES && memcmp(j->map, MAGIC, MAGIC_BYTES) != 0 && memcmp(j->map, MAGIC_ANY, sizeof MAGIC_ANY - 1) == 0) {
        status = vj_fail(VJ_ERR_CONFIG, "%s was begun by another version of the program: go on with that one, or --force throws away "
                         "what it did", work);
        goto none;
    }
    if (j->map_bytes < MAGIC_BYTES || memcmp(j->map, MAGIC, MAGIC_BYTES) != 0) goto none;
    VJ_TRY_GOTO(read_records(j), none);
    if (j->id.command == NULL) goto none;
    return VJ_OK;
none:
    vj_journal_close(out);
    return status;
}

void vj_journal_close(vj_journal **journal)
{
    vj_journal *j = *journal;
    if (j == NULL) return;
    vj_io_close(&j->fd);
    vj_file_unmap(j->map, j->map_bytes);
    vj_pack_identity_free(&j->id);
    free(j->records);
    pthread_mutex_destroy(&j->mutex);
    free(j);
    *journal = NULL;
}

const vj_pack_identity *vj_journal_identity(const vj_journal *j) { return &j->id; }
int vj_journal_life(const vj_journal *j) { return j->life; }

// The last record of a key; NULL: none.
static const record *find(const vj_journal *j, record_kind kind, int source, const char *name)
{
    const record wanted = { .kind = kind, .source = (uint32_t)source, .name = name, .name_bytes = name != NULL ? strlen(name) : 0 };
    int64_t low = 0, high = j->n;
    while (low < high) {   // the first that comes after the key
        const int64_t middle = low + (high - low) / 2;
        if (by_key(&j->records[middle], &wanted) <= 0) low = middle + 1;
        else high = middle;
    }
    return low > 0 && by_key(&j->records[low - 1], &wanted) == 0 ? &j->records[low - 1] : NULL;
}

// ---- writing -------------------------------------------------------------------------------------------------------

// Under the mutex. A record that was written in part is written over by the next.
static vj_status append_locked(vj_journal *j, record_kind kind, const vj_str *body)
{
    vj_str s = { 0 };
    put32(&s, (uint32_t)body->length);
    put32(&s, kind);
    vj_str_add_n(&s, vj_str_text(body), body->length);
    put32(&s, vj_crc32c(0, s.data, s.length));
    vj_status status = vj_fault_point(points[kind], j->path) ? vj_fail(VJ_ERR_IO, "%s: cannot write: injected", j->path) : VJ_OK;
    if (status == VJ_OK) status = vj_io_pwrite(j->fd, s.data, s.length, (off_t)j->end, j->path);
    if (status == VJ_OK) j->end += (int64_t)s.length;
    vj_str_free(&s);
    return status;
}

static vj_status append(vj_journal *j, record_kind kind, vj_str *body)
{
    VJ_ASSERT(body->length < UINT32_MAX);
    pthread_mutex_lock(&j->mutex);
    const vj_status status = append_locked(j, kind, body);
    pthread_mutex_unlock(&j->mutex);
    vj_str_free(body);
    return status;
}

vj_status vj_journal_create(vj_journal **out, const char *work, const vj_pack_identity *id)
{
    vj_status status = VJ_OK;
    VJ_TRY(make(out, work));
    vj_journal *j = *out;
    vj_str body = { 0 };
    vj_str_add_n(&body, (const char *)id->lists, sizeof id->lists);
    put_text(&body, id->command);
    j->end = MAGIC_BYTES;
    VJ_TRY_GOTO(vj_io_create(&j->fd, j->path), fail);
    VJ_TRY_GOTO(vj_io_pwrite(j->fd, MAGIC, MAGIC_BYTES, 0, j->path), fail);
    VJ_TRY_GOTO(append(j, HEAD, &body), fail);
    return VJ_OK;
fail:
    vj_str_free(&body);
    vj_journal_close(out);
    return status;
}

vj_status vj_journal_begin_life(vj_journal *j)
{
    vj_str body = { 0 };
    if (j->fd < 0) j->fd = open(j->path, O_RDWR | O_CLOEXEC);
    VJ_CHECK(j->fd >= 0 && ftruncate(j->fd, (off_t)j->end) == 0, VJ_ERR_IO, "cannot write %s", j->path);
    put32(&body, (uint32_t)++j->life);
    VJ_TRY(append(j, LIFE, &body));
    j->last_sync = vj_now();
    return vj_io_fsync(j->fd, j->path);
}

bool vj_journal_sync_due(vj_journal *j)
{
    pthread_mutex_lock(&j->mutex);
    const bool due = vj_now() - j->last_sync > SYNC_SECONDS;
    pthread_mutex_unlock(&j->mutex);
    return due;
}

// Nobody appends in between, so what stands in front of the record is on the disk.
vj_status vj_journal_sync(vj_journal *j, const vj_packer *packers, int n)
{
    const vj_str none = { 0 };
    vj_status status = VJ_OK;
    pthread_mutex_lock(&j->mutex);
    for (int i = 0; status == VJ_OK && i < n; i++) {
        if (packers[i].spool.fd >= 0) status = vj_io_fsync(packers[i].spool.fd, packers[i].spool.path);
    }
    if (status == VJ_OK) status = append_locked(j, SYNCED, &none);
    if (status == VJ_OK) status = vj_io_fsync(j->fd, j->path);
    j->last_sync = vj_now();
    pthread_mutex_unlock(&j->mutex);
    return status;
}

// ---- files ---------------------------------------------------------------------------------------------------------

static void put_file(vj_str *s, int source, const vj_pack_file *file)
{
    put32(s, (uint32_t)source);
    put_text(s, file->name);
    put64(s, file->bytes);
    put64(s, file->mtime_ns);
    put64(s, file->images);
}

// The last record of a file that is still the same.
static bool find_file(const vj_journal *j, record_kind kind, int source, const vj_pack_file *file, cursor *c, size_t *at)
{
    const record *r = find(j, kind, source, file->name);
    if (r == NULL) return false;
    *c = (cursor){ r->body, r->bytes, true };
    *at = r->at;
    const int64_t bytes = get64(c), mtime = get64(c), images = get64(c);
    return c->ok && bytes == file->bytes && mtime == file->mtime_ns && images == file->images;
}

vj_status vj_journal_add_scan(vj_journal *j, int source, const vj_pack_file *file)
{
    const vj_scan *scan = &file->scan;
    vj_str s = { 0 };
    put_file(&s, source, file);
    put64(&s, scan->duration_us);
    put64(&s, scan->shown);
    put64(&s, file->cut_bytes);
    put32(&s, (uint32_t)scan->stream.width);
    put32(&s, (uint32_t)scan->stream.height);
    put32(&s, (uint32_t)scan->fps_num);
    put32(&s, (uint32_t)scan->fps_den);
    return append(j, SCAN, &s);
}

bool vj_journal_scan(const vj_journal *j, int source, vj_pack_file *file)
{
    cursor c;
    size_t at;
    vj_scan scan = { 0 };
    if (!find_file(j, SCAN, source, file, &c, &at)) return false;
    scan.duration_us = get64(&c);
    scan.shown = get64(&c);
    const int64_t cut_bytes = get64(&c);
    scan.stream.width = (int32_t)get32(&c);
    scan.stream.height = (int32_t)get32(&c);
    scan.fps_num = (int32_t)get32(&c);
    scan.fps_den = (int32_t)get32(&c);
    if (!c.ok || scan.duration_us <= 0 || scan.fps_den <= 0) return false;
    file->scan = scan;
    file->cut_bytes = cut_bytes;
    return true;
}

static void put_row(vj_str *s, const vj_pack_row *row)
{
    const vj_sample_info *i = &row->info;
    put64(s, (int64_t)i->key);
    put64(s, i->bytes);
    put64(s, i->n_frames);
    put64(s, i->t0_us);
    put64(s, i->t1_us);
    put64(s, row->spool_offset);
    const uint32_t small[12] = { (uint32_t)i->fps_num, (uint32_t)i->fps_den, (uint32_t)i->width, (uint32_t)i->height,
                                 (uint32_t)i->orientation, (uint32_t)i->label, i->flags, (uint32_t)i->media, row->crc32c, row->sar_num, row->sar_den, 0 };
    for (int k = 0; k < 12; k++) put32(s, small[k]);
}

static void get_row(cursor *c, vj_pack_row *row)
{
    vj_sample_info *i = &row->info;
    uint32_t small[12];
    i->key = (uint64_t)get64(c);
    i->bytes = get64(c);
    i->n_frames = get64(c);
    i->t0_us = get64(c);
    i->t1_us = get64(c);
    row->spool_offset = get64(c);
    for (int k = 0; k < 12; k++) small[k] = get32(c);
    i->fps_num = (int32_t)small[0];
    i->fps_den = (int32_t)small[1];
    i->width = (int32_t)small[2];
    i->height = (int32_t)small[3];
    i->orientation = (int32_t)small[4];
    i->label = (int32_t)small[5];
    i->flags = small[6];
    i->media = (vj_media)small[7];
    row->crc32c = small[8];
    row->sar_num = (uint16_t)small[9];
    row->sar_den = (uint16_t)small[10];
}

vj_status vj_journal_add_packed(vj_journal *j, int source, const vj_pack_file *file, int worker)
{
    vj_str s = { 0 };
    put_file(&s, source, file);
    put32(&s, (uint32_t)j->life);
    put32(&s, (uint32_t)worker);
    put64(&s, file->bad_rows);
    put64(&s, file->n_rows);
    for (int64_t i = 0; i < file->n_rows; i++) put_row(&s, &file->rows[i]);
    return append(j, PACKED, &s);
}

bool vj_journal_packed(const vj_journal *j, int source, vj_pack_file *file, vj_packed *out)
{
    cursor c;
    size_t at;
    if (!find_file(j, PACKED, source, file, &c, &at)) return false;
    out->life = (int)get32(&c);
    out->worker = (int)get32(&c);
    out->synced = at < j->synced_end;
    const int64_t bad_rows = get64(&c), n = get64(&c);
    if (!c.ok || n < 1 || (uint64_t)n > c.left / ROW_BYTES) return false;
    vj_pack_row *rows = calloc((size_t)n, sizeof *rows);
    bool *held = calloc((size_t)n, sizeof *held);
    for (int64_t i = 0; rows != NULL && i < n; i++) {
        get_row(&c, &rows[i]);
        rows[i].file = file->name;
        rows[i].file_bytes = file->bytes;
        rows[i].file_mtime_ns = file->mtime_ns;
        rows[i].spool_fd = -1;
    }
    if (rows == NULL || held == NULL || !c.ok) {
        free(rows);
        free(held);
        return false;
    }
    free(file->rows);
    free(file->row_held_out);
    file->rows = rows;
    file->row_held_out = held;
    file->n_rows = n;
    file->bad_rows = bad_rows;
    return true;
}

bool vj_journal_uses_spool(const vj_journal *j, int source, int life, int worker)
{
    for (int64_t i = 0; i < j->n; i++) {
        const record *r = &j->records[i];
        if (r->kind != PACKED || r->source != (uint32_t)source) continue;
        cursor c = { r->body, r->bytes, true };
        (void)take(&c, 24);
        const uint32_t its_life = get32(&c), its_worker = get32(&c);
        if (c.ok && its_life == (uint32_t)life && its_worker == (uint32_t)worker) return true;
    }
    return false;
}

// ---- sources -------------------------------------------------------------------------------------------------------

static void put_list(vj_str *s, const vj_shard_list *list)
{
    put64(s, list->rows);
    put64(s, list->files);
    put64(s, list->frames);
    put32(s, (uint32_t)list->n);
    for (int i = 0; i < list->n; i++) {
        const vj_shard_entry *e = &list->v[i];
        put_text(s, e->path);
        put64(s, e->n);
        put64(s, e->file_bytes);
        put64(s, e->blob_offset);
        put64(s, e->blob_bytes);
        vj_str_add_n(s, (const char *)e->metadata_digest, 32);
        vj_str_add_n(s, (const char *)e->blob_digest, 32);
        vj_str_add_n(s, (const char *)e->index_digest, 32);
    }
}

static void get_list(cursor *c, vj_shard_list *list)
{
    list->rows = get64(c);
    list->files = get64(c);
    list->frames = get64(c);
    const uint32_t n = get32(c);
    if (!c->ok || n > c->left / ENTRY_MIN_BYTES) {
        c->ok = false;
        return;
    }
    list->v = calloc((size_t)n + 1, sizeof *list->v);
    c->ok = list->v != NULL;
    for (uint32_t i = 0; c->ok && i < n; i++) {
        vj_shard_entry *e = &list->v[list->n++];
        e->path = get_text(c);
        e->n = get64(c);
        e->file_bytes = get64(c);
        e->blob_offset = get64(c);
        e->blob_bytes = get64(c);
        get_bytes(c, e->metadata_digest, 32);
        get_bytes(c, e->blob_digest, 32);
        get_bytes(c, e->index_digest, 32);
    }
}

vj_status vj_journal_add_source(vj_journal *j, int source, const vj_source_done *done)
{
    vj_str s = { 0 };
    put32(&s, (uint32_t)source);
    vj_str_add_n(&s, (const char *)done->listing, 32);
    put64(&s, done->files);
    put64(&s, done->bad_files);
    put64(&s, done->bad_windows);
    put_list(&s, &done->source.train);
    put_list(&s, &done->source.held_out);
    VJ_TRY(append(j, SOURCE, &s));
    return vj_io_fsync(j->fd, j->path);
}

bool vj_journal_source(const vj_journal *j, int source, vj_source_done *out)
{
    *out = (vj_source_done){ 0 };
    const record *r = find(j, SOURCE, source, NULL);
    if (r == NULL) return false;
    cursor c = { r->body, r->bytes, true };
    get_bytes(&c, out->listing, 32);
    out->files = get64(&c);
    out->bad_files = get64(&c);
    out->bad_windows = get64(&c);
    get_list(&c, &out->source.train);
    get_list(&c, &out->source.held_out);
    if (c.ok) return true;
    vj_shard_list_free(&out->source.train);
    vj_shard_list_free(&out->source.held_out);
    return false;
}

static void finished_fields(vj_pack_report *r, int64_t *out[10])
{
    int64_t *const fields[10] = { &r->files, &r->bad_files, &r->rows, &r->held_out, &r->held_out_files, &r->frames, &r->bad_windows,
                                  &r->ignored_files, &r->bytes, &r->shards };
    memcpy(out, fields, sizeof fields);
}

vj_status vj_journal_add_finished(vj_journal *j, const vj_pack_report *report)
{
    vj_pack_report copy = *report;
    int64_t *fields[10];
    vj_str s = { 0 };
    finished_fields(&copy, fields);
    for (int i = 0; i < 10; i++) put64(&s, *fields[i]);
    VJ_TRY(append(j, FINISHED, &s));
    return vj_io_fsync(j->fd, j->path);
}

bool vj_journal_finished(const vj_journal *j, vj_pack_report *out)
{
    int64_t *fields[10];
    const record *r = find(j, FINISHED, 0, NULL);
    if (r == NULL) return false;
    cursor c = { r->body, r->bytes, true };
    *out = (vj_pack_report){ 0 };
    finished_fields(out, fields);
    for (int i = 0; i < 10; i++) *fields[i] = get64(&c);
    return c.ok;
}
