// Event files of TensorBoard, encoded by hand. Fields are written in the order of their numbers and defaults are left out, as
// protobuf's own writers do, so that the bytes can be compared with theirs.

#include "runtime/log/tfevents.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

// Field numbers of tensorflow.Event, SessionLog, Summary, Summary.Value.
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2 };
enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct vj_tfevents {
    int fd;
    char path[900];
    vj_str event, part, value, record;   // kept, so that a step's event takes no new memory
};

// ---- protobuf ----------------------------------------------------------------------------------------------------------
static void put_varint(vj_str *s, uint64_t v)
{
    char bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v > 0);
    vj_str_add_n(s, bytes, n);
}

static void put_little(vj_str *s, uint64_t v, int bytes)
{
    char out[8];
    for (int i = 0; i < bytes; i++) out[i] = (char)(v >> (8 * i) & 0xff);
    vj_str_add_n(s, out, (size_t)bytes);
}

static void put_key(vj_str *s, int field, enum wire wire) { put_varint(s, (uint64_t)field << 3 | (uint64_t)wire); }

static void put_bytes(vj_str *s, int field, const char *data, size_t n)
{
    put_key(s, field, BYTES);
    put_varint(s, n);
    vj_str_add_n(s, data, n);
}

static void begin_event(vj_tfevents *e, double wall, int64_t step)
{
    uint64_t bits;
    memcpy(&bits, &wall, sizeof bits);
    vj_str_clear(&e->event);
    put_key(&e->event, EVENT_WALL_TIME, FIXED64);
    put_little(&e->event, bits, 8);
    if (step != 0) {
        put_key(&e->event, EVENT_STEP, VARINT);
        put_varint(&e->event, (uint64_t)step);
    }
}

// ---- TFRecord ----------------------------------------------------------------------------------------------------------
static uint32_t masked(const void *data, size_t n)
{
    const uint32_t crc = vj_crc32c(0, data, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static vj_status write_event(vj_tfevents *e)
{
    vj_str *r = &e->record;
    vj_str_clear(r);
    put_little(r, e->event.length, 8);
    put_little(r, masked(r->data, 8), 4);
    vj_str_add_n(r, e->event.data, e->event.length);
    put_little(r, masked(e->event.data, e->event.length), 4);
    const ssize_t n = write(e->fd, r->data, r->length);
    VJ_CHECK(n == (ssize_t)r->length, VJ_ERR_IO, "%s: cannot write: %s", e->path, n < 0 ? strerror(errno) : "no space left on device");
    return VJ_OK;
}

// ---- files -------------------------------------------------------------------------------------------------------------
static const char prefix[] = "events.out.tfevents.";

// The TIME for a new file's name: now, or just behind the latest that is there.
static vj_status next_time(const char *dir, double wall, int64_t *out)
{
    char **names = NULL;
    int64_t count = 0;
    *out = wall > 0 && wall < 9e9 ? (int64_t)wall : 0;
    VJ_TRY(vj_dir_list(dir, &names, &count));
    for (int64_t i = 0; i < count; i++) {
        if (!vj_str_starts(names[i], prefix)) continue;
        const int64_t there = strtoll(names[i] + sizeof prefix - 1, NULL, 10);
        if (there >= *out && there < 9000000000) *out = there + 1;
    }
    vj_names_free(&names, count);
    return VJ_OK;
}

static vj_status make_file(vj_tfevents *e, const char *dir, double wall)
{
    char host[65] = "", name[160];
    int64_t time = 0;
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') vj_format(host, sizeof host, "localhost");
    for (char *c = host; *c; c++) {
        const bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr(".-_", *c);
        if (!plain) *c = '_';
    }
    VJ_TRY(vj_dir_create(dir));
    VJ_TRY(next_time(dir, wall, &time));
    vj_format(name, sizeof name, "%s%010lld.%s.%d.0", prefix, (long long)time, host, (int)getpid());
    VJ_CHECK(strlen(dir) + strlen(name) + 2 < sizeof e->path, VJ_ERR_IO, "%s: the path is too long for an event file", dir);
    vj_path_join(e->path, sizeof e->path, dir, name);
    e->fd = open(e->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    VJ_CHECK(e->fd >= 0, VJ_ERR_IO, "%s: cannot be made: %s", e->path, strerror(errno));
    return VJ_OK;
}

static vj_status write_head(vj_tfevents *e, double wall, int64_t restart_from)
{
    static const char version[] = "brain.Event:2";
    begin_event(e, wall, 0);
    put_bytes(&e->event, EVENT_FILE_VERSION, version, sizeof version - 1);
    VJ_TRY(write_event(e));
    if (restart_from < 0) return VJ_OK;
    vj_str_clear(&e->part);
    put_key(&e->part, SESSION_STATUS, VARINT);
    put_varint(&e->part, SESSION_START);
    begin_event(e, wall, restart_from);
    put_bytes(&e->event, EVENT_SESSION_LOG, e->part.data, e->part.length);
    return write_event(e);
}

vj_status vj_tfevents_open(vj_tfevents **out, const char *dir, double wall, int64_t restart_from)
{
    *out = NULL;
    vj_tfevents *e = calloc(1, sizeof *e);
    VJ_CHECK(e != NULL, VJ_ERR_NOMEM, "no memory for an event file");
    e->fd = -1;
    vj_status status = make_file(e, dir, wall);
    if (status == VJ_OK) status = write_head(e, wall, restart_from);
    if (status == VJ_OK) *out = e;
    else vj_tfevents_close(&e);
    return status;
}

vj_status vj_tfevents_put(vj_tfevents *e, double wall, int64_t step, const vj_scalar *scalars, int n)
{
    vj_str_clear(&e->part);
    for (int i = 0; i < n; i++) {
        if (!(fabs(scalars[i].value) <= (double)FLT_MAX)) continue;
        const float value = (float)scalars[i].value;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        vj_str_clear(&e->value);
        put_bytes(&e->value, VALUE_TAG, scalars[i].name, strlen(scalars[i].name));
        put_key(&e->value, VALUE_SIMPLE, FIXED32);
        put_little(&e->value, bits, 4);
        put_bytes(&e->part, SUMMARY_VALUE, e->value.data, e->value.length);
    }
    if (e->part.length == 0) return VJ_OK;
    begin_event(e, wall, step);
    put_bytes(&e->event, EVENT_SUMMARY, e->part.data, e->part.length);
    return write_event(e);
}

// ---- cutting -----------------------------------------------------------------------------------------------------------
static uint64_t little(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

// False: the bytes end inside the number, or it has more than 64 bits.
static bool get_varint(const unsigned char **p, const unsigned char *end, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        const unsigned char byte = *(*p)++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

// The step of an event, 0 when it has none; false for what is no event.
static bool step_of(const unsigned char *p, const unsigned char *end, int64_t *step)
{
    *step = 0;
    while (p < end) {
        uint64_t key, value = 0;
        if (!get_varint(&p, end, &key)) return false;
        switch ((enum wire)(key & 7)) {
        case VARINT:
            if (!get_varint(&p, end, &value)) return false;
            if (key >> 3 == EVENT_STEP) *step = (int64_t)value;
            continue;
        case FIXED64: value = 8; break;
        case FIXED32: value = 4; break;
        case BYTES:
            if (!get_varint(&p, end, &value)) return false;
            break;
        default: return false;
        }
        if (value > (uint64_t)(end - p)) return false;
        p += value;
    }
    return true;
}

// Bytes of the leading records that are whole and not beyond `last_step`.
static size_t keep(const unsigned char *data, size_t bytes, int64_t last_step)
{
    size_t at = 0;
    while (bytes - at >= 16) {
        const unsigned char *r = data + at;
        const uint64_t n = little(r, 8);
        int64_t step;
        if (little(r + 8, 4) != masked(r, 8) || n > bytes - at - 16 || little(r + 12 + n, 4) != masked(r + 12, n)) break;
        if (!step_of(r + 12, r + 12 + n, &step) || step > last_step) break;
        at += 16 + (size_t)n;
    }
    return at;
}

static vj_status cut_file(const char *path, int64_t last_step)
{
    const void *data = NULL;
    size_t bytes = 0;
    VJ_TRY(vj_file_map(path, &data, &bytes));
    const size_t kept = data ? keep(data, bytes, last_step) : 0;
    vj_file_unmap(data, bytes);
    VJ_CHECK(kept == bytes || truncate(path, (off_t)kept) == 0, VJ_ERR_IO, "%s: cannot be cut to the restored step: %s", path, strerror(errno));
    return VJ_OK;
}

vj_status vj_tfevents_cut(const char *dir, int64_t last_step)
{
    char **names = NULL, path[900];
    int64_t count = 0;
    if (!vj_path_is_dir(dir)) return VJ_OK;
    VJ_TRY(vj_dir_list(dir, &names, &count));
    vj_status status = VJ_OK;
    for (int64_t i = 0; i < count && status == VJ_OK; i++) {
        if (!vj_str_starts(names[i], prefix) || strlen(dir) + strlen(names[i]) + 2 > sizeof path) continue;
        vj_path_join(path, sizeof path, dir, names[i]);
        if (!vj_path_is_dir(path)) status = cut_file(path, last_step);
    }
    vj_names_free(&names, count);
    return status;
}

const char *vj_tfevents_path(const vj_tfevents *e) { return e->path; }

void vj_tfevents_close(vj_tfevents **e)
{
    if (!*e) return;
    if ((*e)->fd >= 0) close((*e)->fd);
    vj_str_free(&(*e)->event);
    vj_str_free(&(*e)->part);
    vj_str_free(&(*e)->value);
    vj_str_free(&(*e)->record);
    free(*e);
    *e = NULL;
}
