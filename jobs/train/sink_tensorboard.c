// TensorBoard: every number of a line as a scalar. The file is made at the first line, so a start that does nothing leaves
// none; the files of earlier starts are cut to the restored step, and the new one begins with a restart behind it for readers
// that have seen more.

#include "jobs/train/sinks_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/log/tfevents.h"

typedef struct board {
    char dir[640];
    int64_t restart_from;
    vj_tfevents *events;
    int capacity;
    char (*names)[128];
    vj_scalar *scalars;
} board;

static bool wanted(const vj_train_config *config) { return config->log_tensorboard; }

static vj_status cut(const vj_sink_place *place)
{
    char dir[640];
    vj_path_join(dir, sizeof dir, place->run_path, "tb");
    return vj_tfevents_cut(dir, place->last_step);
}

static vj_status open_board(void **state, const vj_sink_place *place)
{
    board *b = calloc(1, sizeof *b);
    VJ_CHECK(b != NULL, VJ_ERR_NOMEM, "no memory for TensorBoard's file");
    vj_path_join(b->dir, sizeof b->dir, place->run_path, "tb");
    b->restart_from = place->resumed ? place->last_step + 1 : -1;
    *state = b;
    return VJ_OK;
}

static vj_status reserve(board *b, int n)
{
    if (n <= b->capacity) return VJ_OK;
    void *names = realloc(b->names, (size_t)n * sizeof *b->names);
    if (names) b->names = names;
    void *scalars = realloc(b->scalars, (size_t)n * sizeof *b->scalars);
    if (scalars) b->scalars = scalars;
    VJ_CHECK(names && scalars, VJ_ERR_NOMEM, "no memory for %d figures", n);
    b->capacity = n;
    return VJ_OK;
}

// Tags are grouped by what stands before the first '/': members of the line itself are "train/...".
static vj_status put(void *state, const vj_record *r)
{
    board *b = state;
    int n = 0;
    VJ_TRY(reserve(b, r->n));
    if (!b->events) VJ_TRY(vj_tfevents_open(&b->events, b->dir, r->wall, b->restart_from));
    for (int i = 0; i < r->n; i++) {
        const vj_record_value *v = &r->v[i];
        if (v->text[0]) continue;
        const char *group = strchr(v->name, '/') || v->index >= 0 ? "" : "train/";
        if (v->index >= 0) vj_format(b->names[n], sizeof b->names[n], "%s/%lld", v->name, (long long)v->index);
        else vj_format(b->names[n], sizeof b->names[n], "%s%s", group, v->name);
        b->scalars[n] = (vj_scalar){ b->names[n], v->value };
        n++;
    }
    return vj_tfevents_put(b->events, r->wall, r->step, b->scalars, n);
}

static void close_board(void *state)
{
    board *b = state;
    vj_tfevents_close(&b->events);
    free(b->names);
    free(b->scalars);
    free(b);
}

const vj_sink_kind vj_sink_tensorboard = { .name = "TensorBoard's file", .wanted = wanted, .prepare = cut, .open = open_board, .record = put, .close = close_board };
