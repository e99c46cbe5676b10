// Units, offsets, owners: arithmetic only.

#include "parallel/layout.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/str.h"

enum { START = 64 };   // every parameter starts on a multiple of this many elements

vj_status vj_layout_create(vj_layout **out, const char *network, int64_t quantum)
{
    *out = NULL;
    VJ_ASSERT(quantum >= 1);
    vj_layout *l = NULL;
    VJ_TRY(vj_host_alloc(&l, sizeof *l, "a parameter table"));
    vj_format(l->network, sizeof l->network, "%s", network);
    l->quantum = quantum;
    *out = l;
    return VJ_OK;
}

// Capacity grows by doubling whenever the count is a power of two.
static vj_status grow(void **list, int count, size_t size)
{
    if (count != 0 && (count & (count - 1)) != 0) return VJ_OK;
    void *more = realloc(*list, (size_t)(count ? 2 * count : 1) * size);
    VJ_CHECK(more != NULL, VJ_ERR_NOMEM, "no memory for a parameter table");
    *list = more;
    return VJ_OK;
}

vj_status vj_layout_unit(vj_layout *l, const char *name)
{
    void *list = l->units;
    VJ_TRY(grow(&list, l->n_units, sizeof *l->units));
    l->units = list;
    vj_unit *u = &l->units[l->n_units++];
    *u = (vj_unit){ .first_param = l->n_params };
    vj_format(u->name, sizeof u->name, "%s", name);
    return VJ_OK;
}

static bool is_bias(const char *name) { return strstr(name, "bias") != NULL; }

vj_status vj_layout_param(vj_layout *l, const vj_param *p)
{
    VJ_ASSERT(l->n_units > 0);
    void *list = l->params;
    VJ_TRY(grow(&list, l->n_params, sizeof *l->params));
    l->params = list;
    vj_unit *u = &l->units[l->n_units - 1];
    vj_param *q = &l->params[l->n_params++];
    *q = *p;
    q->unit = l->n_units - 1;
    q->offset = (u->used + START - 1) / START * START;
    q->count = 1;
    for (int i = 0; i < q->rank; i++) q->count *= q->shape[i];
    q->decay = q->rank > 1 && !is_bias(q->name);
    u->used = q->offset + q->count;
    u->n_params++;
    const int64_t step = l->quantum * START;
    u->length = (u->used + step - 1) / step * step;
    return VJ_OK;
}

void vj_layout_destroy(vj_layout **l)
{
    if (!*l) return;
    free((*l)->params);
    free((*l)->units);
    vj_host_free(*l);
    *l = NULL;
}

int vj_layout_find(const vj_layout *l, const char *name)
{
    for (int i = 0; i < l->n_params; i++) {
        if (strcmp(l->params[i].name, name) == 0) return i;
    }
    return -1;
}

int64_t vj_layout_count(const vj_layout *l)
{
    int64_t n = 0;
    for (int i = 0; i < l->n_params; i++) n += l->params[i].count;
    return n;
}

int64_t vj_layout_length(const vj_layout *l)
{
    int64_t n = 0;
    for (int i = 0; i < l->n_units; i++) n += l->units[i].length;
    return n;
}

void vj_layout_owned(const vj_layout *l, int u, int r, int G, int64_t *begin, int64_t *end)
{
    const int64_t chunk = l->units[u].length / l->quantum;
    *begin = r * l->quantum / G * chunk;
    *end = (r + 1) * l->quantum / G * chunk;
}
