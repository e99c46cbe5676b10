// data/pack_list.c
//
// Which files of a folder are worth opening. The extension is only a first filter; what a file is, libav says later.

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "data/idx_images.h"
#include "data/pack_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

static const char *const video_names[] = { "mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "m2v", "ts", "m2ts", "mts",
                                           "flv", "wmv", "asf", "3gp", "3g2", "ogv", "ogg", "vob", "gif", "mxf", "y4m", "ivf",
                                           "h264", "264", "hevc", "265", "mjpeg", "mjpg", "dv", "nut", "divx", "obu", NULL };
static const char *const image_names[] = { "jpg", "jpeg", "png", "webp", "bmp", NULL };

enum { MAX_DEPTH = 64, MAX_FILES = 1 << 28 };

typedef struct walk {
    vj_pack_files *files;
    int64_t capacity;
    bool image;
    dev_t dev[MAX_DEPTH];
    ino_t ino[MAX_DEPTH];
} walk;

static bool has_extension(const char *name, const char *const *list)
{
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot != NULL && dot != name && list[i] != NULL; i++) {
        if (strcasecmp(dot + 1, list[i]) == 0) return true;
    }
    return false;
}

vj_status vj_pack_files_add(vj_pack_files *f, int64_t *capacity, const char *name, const char *path, const struct stat *st, int32_t label)
{
    if (f->n == *capacity) {
        *capacity = *capacity == 0 ? 64 : *capacity * 2;
        vj_pack_file *v = *capacity <= MAX_FILES ? realloc(f->v, (size_t)*capacity * sizeof *v) : NULL;
        VJ_CHECK(v != NULL, VJ_ERR_NOMEM, "no memory for a list of %lld files", (long long)*capacity);
        f->v = v;
    }
    f->v[f->n++] = (vj_pack_file){ .name = vj_strdup(name), .path = vj_strdup(path), .bytes = (int64_t)st->st_size,
                                    .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec, .label = label };
    return VJ_OK;
}

static vj_status add_file(walk *w, const char *name, const char *path, const struct stat *st)
{
    return vj_pack_files_add(w->files, &w->capacity, name, path, st, -1);
}

static vj_status visit(walk *w, const char *dir, const char *relative, int depth);

static vj_status visit_entry(walk *w, const char *dir, const char *relative, const char *name, int depth)
{
    char path[4096], below[4096];
    struct stat st;
    if (strlen(dir) + strlen(name) + 2 > sizeof path || strlen(relative) + strlen(name) + 2 > 2000) {
        w->files->ignored++;
        return VJ_OK;
    }
    vj_path_join(path, sizeof path, dir, name);
    if (relative[0] != '\0') vj_path_join(below, sizeof below, relative, name);
    else vj_format(below, sizeof below, "%s", name);
    if (stat(path, &st) != 0) {   // a dangling link
        w->files->ignored++;
        return VJ_OK;
    }
    if (S_ISDIR(st.st_mode)) {
        for (int i = 0; i <= depth; i++) {
            if (w->dev[i] == st.st_dev && w->ino[i] == st.st_ino) return VJ_OK;   // a link to a folder above
        }
        if (depth + 1 >= MAX_DEPTH) return VJ_OK;
        w->dev[depth + 1] = st.st_dev;
        w->ino[depth + 1] = st.st_ino;
        return visit(w, path, below, depth + 1);
    }
    const bool video = has_extension(name, video_names);
    const bool image = has_extension(name, image_names) || vj_idx_name_matches(name);
    if (!S_ISREG(st.st_mode) || name[0] == '.' || (!video && !image)) {
        w->files->ignored++;
        return VJ_OK;
    }
    if (w->image ? !image : !video) {
        w->files->other_kind++;
        return VJ_OK;
    }
    return add_file(w, below, path, &st);
}

static vj_status visit(walk *w, const char *dir, const char *relative, int depth)
{
    char **names;
    int64_t n;
    VJ_TRY(vj_dir_list(dir, &names, &n));
    vj_status status = VJ_OK;
    for (int64_t i = 0; status == VJ_OK && i < n; i++) status = visit_entry(w, dir, relative, names[i], depth);
    vj_names_free(&names, n);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const vj_pack_file *)a)->name, ((const vj_pack_file *)b)->name);
}

vj_status vj_pack_list(vj_pack_files *out, const char *path, bool image)
{
    struct stat st;
    walk w = { .files = out, .image = image };
    *out = (vj_pack_files){ 0 };
    VJ_CHECK(stat(path, &st) == 0, VJ_ERR_USAGE, "%s: %s", path, strerror(errno));
    if (S_ISREG(st.st_mode) && vj_pack_is_list(path)) {
        const vj_status listed = vj_pack_csv(out, path);
        if (listed != VJ_OK) vj_pack_files_free(out);
        else if (out->n > 1) qsort(out->v, (size_t)out->n, sizeof *out->v, by_name);
        return listed;
    }
    if (image && S_ISREG(st.st_mode)) return add_file(&w, vj_path_base(path), path, &st);
    VJ_CHECK(S_ISDIR(st.st_mode), VJ_ERR_USAGE, "%s is neither a folder nor a list (.csv or .txt)", path);
    w.dev[0] = st.st_dev;
    w.ino[0] = st.st_ino;
    const vj_status status = visit(&w, path, "", 0);
    if (status != VJ_OK) {
        vj_pack_files_free(out);
        return status;
    }
    if (out->n > 1) qsort(out->v, (size_t)out->n, sizeof *out->v, by_name);
    return VJ_OK;
}

void vj_pack_files_free(vj_pack_files *files)
{
    for (int64_t i = 0; i < files->n; i++) {
        vj_pack_file *f = &files->v[i];
        free(f->name);
        free(f->path);
        free(f->windows);
        free(f->rows);
        free(f->row_held_out);
        vj_scan_free(&f->scan);
    }
    free(files->v);
    *files = (vj_pack_files){ 0 };
}
