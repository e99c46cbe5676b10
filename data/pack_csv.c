// data/pack_csv.c
//
// Lists of files, as the published code has them and as spreadsheets write them.

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "data/pack_impl.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

enum { LIST_MAX = 1 << 30, PATH_BYTES = 2000 };

bool vj_pack_is_list(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcasecmp(dot, ".csv") == 0 || strcasecmp(dot, ".txt") == 0);
}

static bool whole_number(const char *text, int32_t *out)
{
    int64_t v;
    if (!vj_parse_i64(text, &v) || v < 0 || v > INT32_MAX) return false;
    *out = (int32_t)v;
    return true;
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r", text[n - 1]); n--) text[n - 1] = '\0';
    return text;
}

// The last `separator` of a line with something in front of it.
static char *last(char *line, const char *separator)
{
    char *found = NULL;
    for (char *at = strstr(line, separator); at; at = strstr(at + 1, separator)) found = at;
    return found && found > line ? found : NULL;
}

// Cuts a line into path and label. `commas`: the list has a header with commas. False: the label is no whole number.
static bool split(char *line, bool commas, char **path, int32_t *label)
{
    char *at;
    *label = -1;
    *path = line;
    if ((at = last(line, "::")) != NULL) {
        *at = '\0';
        *path = trim(line);
        return whole_number(trim(at + 2), label);
    }
    if ((at = last(line, ",")) != NULL && (commas || whole_number(trim(at + 1), label))) {
        *at = '\0';
        *path = trim(line);
        return *trim(at + 1) == '\0' || whole_number(trim(at + 1), label);
    }
    if ((at = last(line, " ")) != NULL && whole_number(trim(at + 1), label)) {
        *at = '\0';
        *path = trim(line);
    }
    return true;
}

static vj_status read_line(vj_pack_files *out, int64_t *capacity, const char *list, const char *dir, char *line, int64_t number, bool commas)
{
    char full[4096], *path;
    struct stat st = { 0 };
    int32_t label;
    VJ_CHECK(split(line, commas, &path, &label), VJ_ERR_CONFIG, "%s:%lld: the label is no whole number from 0", list, (long long)number);
    size_t n = strlen(path);
    if (n >= 2 && path[0] == '"' && path[n - 1] == '"') {
        path[n - 1] = '\0';
        path++;
        n -= 2;
    }
    VJ_CHECK(n > 0 && n < PATH_BYTES, VJ_ERR_CONFIG, "%s:%lld: %s", list, (long long)number, n == 0 ? "a path was expected" : "the path is too long");
    if (path[0] == '/') vj_format(full, sizeof full, "%s", path);
    else vj_path_join(full, sizeof full, dir, path);
    (void)stat(full, &st);   // what is not there is named and counted when it is looked into, like what is broken
    return vj_pack_files_add(out, capacity, path, full, &st, label);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const vj_pack_file *const *)a)->name, (*(const vj_pack_file *const *)b)->name);
}

static vj_status no_twins(const vj_pack_files *files, const char *list)
{
    const vj_pack_file **sorted = malloc((size_t)files->n * sizeof *sorted + 1);
    VJ_CHECK(sorted != NULL, VJ_ERR_NOMEM, "no memory for a list of files");
    for (int64_t i = 0; i < files->n; i++) sorted[i] = &files->v[i];
    qsort(sorted, (size_t)files->n, sizeof *sorted, by_name);
    vj_status status = VJ_OK;
    for (int64_t i = 1; i < files->n && status == VJ_OK; i++) {
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            status = vj_fail(VJ_ERR_CONFIG, "%s: names '%s' twice; --weight NAME=W makes a source count more", list, sorted[i]->name);
    }
    free(sorted);
    return status;
}

static bool is_header(const char *line) { return strcasecmp(line, "path") == 0 || strcasecmp(line, "path,label") == 0 || strcasecmp(line, "path label") == 0; }

vj_status vj_pack_csv(vj_pack_files *out, const char *list)
{
    char *text = NULL, dir[4096];
    size_t bytes = 0;
    int64_t capacity = 0, number = 0;
    bool commas = false;
    *out = (vj_pack_files){ 0 };
    VJ_CHECK(strlen(list) < sizeof dir - 4, VJ_ERR_USAGE, "%.80s...: the path is too long", list);
    vj_format(dir, sizeof dir, "%s", list);
    char *slash = strrchr(dir, '/');
    if (slash) *slash = '\0';
    else vj_format(dir, sizeof dir, ".");
    VJ_TRY(vj_file_read(list, &text, &bytes, LIST_MAX));
    vj_status status = strlen(text) == bytes ? VJ_OK : vj_fail(VJ_ERR_CONFIG, "%s: holds zero bytes: it is no text", list);
    for (char *at = text; status == VJ_OK && *at;) {
        const size_t n = strcspn(at, "\n");
        const bool more = at[n] == '\n';
        at[n] = '\0';
        char *line = trim(at);
        number++;
        if (number == 1 && is_header(line)) commas = strchr(line, ',') != NULL;
        else if (*line) status = read_line(out, &capacity, list, slash ? dir : ".", line, number, commas);
        at += n + more;
    }
    if (status == VJ_OK && out->n == 0) status = vj_fail(VJ_ERR_CONFIG, "%s: names no file", list);
    if (status == VJ_OK) status = no_twins(out, list);
    free(text);
    return status;
}
