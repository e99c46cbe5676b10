// A stack machine for the opcodes that torch.save uses (protocol 2; those of 4 and 5 that carry the same things too).
//
// Easy to get wrong: a memo may hold a container that is still being filled, so a value can reach itself. Walkers must
// bound their depth; here only the number of values and of container slots is bounded.

#include "checkpoints/pt_pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/str.h"

enum { VALUES_MAX = 1 << 20, SLOTS_MAX = 1 << 22, MEMO_MAX = 1 << 20, STACK_MAX = 1 << 20, CHUNK = 4096 };

// ---- names that are understood
// ----------------------------------------------------------------------------------------
typedef enum known { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE } known;
static const struct { const char *module, *name; known what; vj_dtype dtype; bool floats; size_t size; } names[] = {
    { "collections", "OrderedDict", ORDERED_DICT, VJ_U8, false, 0 },
    { "torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, VJ_U8, false, 0 },
    { "torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, VJ_U8, false, 0 },
    { "torch", "FloatStorage", STORAGE, VJ_F32, true, 4 },
    { "torch", "DoubleStorage", STORAGE, VJ_F64, true, 8 },
    { "torch", "HalfStorage", STORAGE, VJ_F16, true, 2 },
    { "torch", "BFloat16Storage", STORAGE, VJ_BF16, true, 2 },
    { "torch", "LongStorage", STORAGE, VJ_I64, false, 8 },
    { "torch", "IntStorage", STORAGE, VJ_I32, false, 4 },
    { "torch", "ByteStorage", STORAGE, VJ_U8, false, 1 },
    { "torch", "BoolStorage", STORAGE, VJ_U8, false, 1 },
};
enum { NAMES = sizeof names / sizeof names[0] };

struct vj_pk {
    const unsigned char *at, *end;
    size_t length;
    const char *origin;
    vj_pk_value **chunks;               // CHUNK values each
    int64_t n_chunks, n_values, slots;
    vj_pk_value **stack, **memo;
    int64_t depth, stack_room, memo_room, memo_n;
    vj_pk_value *root;
};

static VJ_PRINTF(2, 3) vj_status refuse(const vj_pk *p, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return vj_fail(VJ_ERR_CONFIG, "%s: its pickle was refused at byte %lld: %s", p->origin,
                   (long long)(p->length - (size_t)(p->end - p->at)), text);
}

static vj_status no_memory(const vj_pk *p) { return vj_fail(VJ_ERR_NOMEM, "no memory to read %s", p->origin); }

// ---- values
// -----------------------------------------------------------------------------------------------------------
static vj_status make(vj_pk *p, vj_pk_kind kind, vj_pk_value **out)
{
    if (p->n_values == VALUES_MAX) return refuse(p, "more than %d values", VALUES_MAX);
    if (p->n_values % CHUNK == 0) {
        vj_pk_value **chunks = realloc(p->chunks, (size_t)(p->n_chunks + 1) * sizeof *chunks);
        if (!chunks) return no_memory(p);
        p->chunks = chunks;
        chunks[p->n_chunks] = calloc(CHUNK, sizeof **chunks);
        if (!chunks[p->n_chunks]) return no_memory(p);
        p->n_chunks++;
    }
    *out = &p->chunks[p->n_chunks - 1][p->n_values++ % CHUNK];
    (*out)->kind = kind;
    return VJ_OK;
}

static vj_status room(vj_pk *p, vj_pk_value ***list, int64_t *capacity, int64_t need, int64_t most, const char *what)
{
    if (need > most) return refuse(p, "%s of more than %lld entries", what, (long long)most);
    if (need <= *capacity) return VJ_OK;
    int64_t n = *capacity > 0 ? 2 * *capacity : 16;
    while (n < need) n *= 2;
    vj_pk_value **grown = realloc(*list, (size_t)n * sizeof *grown);
    if (!grown) return no_memory(p);
    memset(grown + *capacity, 0, (size_t)(n - *capacity) * sizeof *grown);
    *list = grown;
    *capacity = n;
    return VJ_OK;
}

static vj_status push(vj_pk *p, vj_pk_value *v)
{
    VJ_TRY(room(p, &p->stack, &p->stack_room, p->depth + 1, STACK_MAX, "a stack"));
    p->stack[p->depth++] = v;
    return VJ_OK;
}

static vj_status pop(vj_pk *p, vj_pk_value **v)
{
    if (p->depth == 0 || p->stack[p->depth - 1]->kind == VJ_PK_MARK)
        return refuse(p, "a value is missing on the stack");
    *v = p->stack[--p->depth];
    return VJ_OK;
}

// The values above the topmost mark are stack[*first ...]; the mark and they are taken off.
static vj_status to_mark(vj_pk *p, int64_t *first, int64_t *n)
{
    int64_t at = p->depth - 1;
    while (at >= 0 && p->stack[at]->kind != VJ_PK_MARK) at--;
    if (at < 0) return refuse(p, "a mark is missing on the stack");
    *first = at + 1;
    *n = p->depth - at - 1;
    p->depth = at;
    return VJ_OK;
}

static vj_status append(vj_pk *p, vj_pk_value *list, vj_pk_value *const *v, int64_t n)
{
    p->slots += n;
    if (p->slots > SLOTS_MAX) return refuse(p, "more than %d entries of lists", SLOTS_MAX);
    VJ_TRY(room(p, &list->items.v, &list->items.capacity, list->items.n + n, SLOTS_MAX, "a list"));
    if (n > 0) memcpy(list->items.v + list->items.n, v, (size_t)n * sizeof *v);
    list->items.n += n;
    return VJ_OK;
}

static vj_status push_items(vj_pk *p, vj_pk_kind kind, vj_pk_value *const *v, int64_t n)
{
    vj_pk_value *made = NULL;
    VJ_TRY(make(p, kind, &made));
    VJ_TRY(append(p, made, v, n));   // before the push: `v` may lie just above the top of the stack
    return push(p, made);
}

// ---- bytes
// ------------------------------------------------------------------------------------------------------------
static vj_status take(vj_pk *p, size_t n, const unsigned char **out)
{
    if ((size_t)(p->end - p->at) < n) return refuse(p, "it ends in the middle of an operation");
    *out = p->at;
    p->at += n;
    return VJ_OK;
}

static uint64_t little(const unsigned char *b, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint64_t)b[i] << (8 * i);
    return v;
}

static vj_status take_number(vj_pk *p, int n, uint64_t *out)
{
    const unsigned char *b;
    VJ_TRY(take(p, (size_t)n, &b));
    *out = little(b, n);
    return VJ_OK;
}

static vj_status push_int(vj_pk *p, int64_t i)
{
    vj_pk_value *v;
    VJ_TRY(make(p, VJ_PK_INT, &v));
    v->i = i;
    return push(p, v);
}

static vj_status push_bool(vj_pk *p, bool b)
{
    vj_pk_value *v;
    VJ_TRY(make(p, VJ_PK_BOOL, &v));
    v->b = b;
    return push(p, v);
}

static vj_status push_text(vj_pk *p, int size_bytes)
{
    uint64_t n;
    const unsigned char *b;
    vj_pk_value *v;
    VJ_TRY(take_number(p, size_bytes, &n));
    if (n > (uint64_t)(p->end - p->at))
        return refuse(p, "a text of %llu bytes in %lld", (unsigned long long)n, (long long)(p->end - p->at));
    VJ_TRY(take(p, (size_t)n, &b));
    VJ_TRY(make(p, VJ_PK_TEXT, &v));
    v->text.data = (const char *)b;
    v->text.length = (size_t)n;
    return push(p, v);
}

static vj_status push_float(vj_pk *p)
{
    const unsigned char *b;
    vj_pk_value *v;
    VJ_TRY(take(p, 8, &b));
    VJ_TRY(make(p, VJ_PK_FLOAT, &v));
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 8 | b[i];   // big-endian, the only number here that is
    memcpy(&v->f, &bits, sizeof bits);
    return push(p, v);
}

// LONG1: up to 8 bytes, two's complement.
static vj_status push_long(vj_pk *p)
{
    uint64_t n, value;
    VJ_TRY(take_number(p, 1, &n));
    if (n > 8) return refuse(p, "a whole number of %llu bytes", (unsigned long long)n);
    VJ_TRY(take_number(p, (int)n, &value));
    if (n > 0 && n < 8 && (value >> (8 * n - 1) & 1)) value |= ~(uint64_t)0 << (8 * n);
    return push_int(p, (int64_t)value);
}

// ---- names
// ------------------------------------------------------------------------------------------------------------
static bool is(const char *text, size_t length, const char *want)
{
    return strlen(want) == length && memcmp(text, want, length) == 0;
}

static vj_status push_name(vj_pk *p, const char *module, size_t module_length, const char *name, size_t name_length)
{
    for (int i = 0; i < NAMES; i++) {
        if (!is(module, module_length, names[i].module) || !is(name, name_length, names[i].name)) continue;
        vj_pk_value *v;
        VJ_TRY(make(p, VJ_PK_GLOBAL, &v));
        v->global = i;
        return push(p, v);
    }
    char clean[128];
    int n = snprintf(clean, sizeof clean, "%.*s.%.*s", (int)(module_length < 60 ? module_length : 60), module,
                     (int)(name_length < 60 ? name_length : 60), name);
    for (int i = 0; i < n && i < (int)sizeof clean; i++) {
        if (clean[i] && (clean[i] < ' ' || clean[i] > '~')) clean[i] = '?';
    }
    return refuse(p, "it asks for '%s', which is no part of a checkpoint of tensors and numbers; nothing was executed",
                  clean);
}

static vj_status take_line(vj_pk *p, const char **line, size_t *length)
{
    const unsigned char *newline = memchr(p->at, '\n', (size_t)(p->end - p->at));
    if (!newline) return refuse(p, "a name does not end");
    *line = (const char *)p->at;
    *length = (size_t)(newline - p->at);
    p->at = newline + 1;
    return VJ_OK;
}

static vj_status global(vj_pk *p)
{
    const char *module, *name;
    size_t module_length, name_length;
    VJ_TRY(take_line(p, &module, &module_length));
    VJ_TRY(take_line(p, &name, &name_length));
    return push_name(p, module, module_length, name, name_length);
}

static vj_status stack_global(vj_pk *p)
{
    vj_pk_value *name, *module;
    VJ_TRY(pop(p, &name));
    VJ_TRY(pop(p, &module));
    if (name->kind != VJ_PK_TEXT || module->kind != VJ_PK_TEXT) return refuse(p, "a name that is no text");
    return push_name(p, module->text.data, module->text.length, name->text.data, name->text.length);
}

// ('storage', torch.FloatStorage, '0', 'cpu', 1024)
static vj_status storage(vj_pk *p)
{
    vj_pk_value *id, *v;
    VJ_TRY(pop(p, &id));
    vj_pk_value **t = id->items.v;
    const bool fits = id->kind == VJ_PK_TUPLE && id->items.n == 5 && t[0]->kind == VJ_PK_TEXT &&
                      is(t[0]->text.data, t[0]->text.length, "storage") && t[1]->kind == VJ_PK_GLOBAL &&
                      names[t[1]->global].what == STORAGE && t[2]->kind == VJ_PK_TEXT && t[3]->kind == VJ_PK_TEXT &&
                      t[4]->kind == VJ_PK_INT && t[4]->i >= 0;
    if (!fits) return refuse(p, "a storage that is not described as torch.save does");
    VJ_TRY(make(p, VJ_PK_STORAGE, &v));
    v->storage.dtype = names[t[1]->global].dtype;
    v->storage.floats = names[t[1]->global].floats;
    v->storage.key = t[2]->text.data;
    v->storage.key_length = t[2]->text.length;
    v->storage.count = t[4]->i;
    return push(p, v);
}

static bool read_sizes(const vj_pk_value *v, int *n, int64_t out[VJ_MAX_RANK])
{
    if (v->kind != VJ_PK_TUPLE || v->items.n > VJ_MAX_RANK) return false;
    *n = (int)v->items.n;
    for (int i = 0; i < *n; i++) {
        if (v->items.v[i]->kind != VJ_PK_INT || v->items.v[i]->i < 0) return false;
        out[i] = v->items.v[i]->i;
    }
    return true;
}

// (storage, offset, size, stride, requires_grad, hooks[, metadata])
static vj_status rebuild_tensor(vj_pk *p, const vj_pk_value *args)
{
    vj_pk_value *v, **t = args->items.v;
    if (args->items.n < 6 || args->items.n > 7 || t[0]->kind != VJ_PK_STORAGE || t[1]->kind != VJ_PK_INT || t[1]->i < 0)
        return refuse(p, "a tensor that is not described as torch.save does");
    VJ_TRY(make(p, VJ_PK_TENSOR, &v));
    vj_pk_tensor *x = &v->tensor;
    int strides = 0;
    x->storage = t[0];
    x->offset = t[1]->i;
    if (!read_sizes(t[2], &x->rank, x->shape) || !read_sizes(t[3], &strides, x->stride) || strides != x->rank)
        return refuse(p, "a tensor whose sizes and strides are no two lists of at most %d numbers", VJ_MAX_RANK);
    // The last element it can touch must lie in its storage.
    int64_t last = x->offset;
    bool empty = false, over = false;
    for (int i = 0; i < x->rank; i++) {
        int64_t span = 0;
        if (x->shape[i] == 0) empty = true;
        else
            over = over || __builtin_mul_overflow(x->shape[i] - 1, x->stride[i], &span) ||
                   __builtin_add_overflow(last, span, &last);
    }
    if (over || (!empty && last >= x->storage->storage.count) || (empty && x->offset > x->storage->storage.count))
        return refuse(p, "a tensor reaches beyond its storage of %lld elements", (long long)x->storage->storage.count);
    return push(p, v);
}

static vj_status reduce(vj_pk *p)
{
    vj_pk_value *args, *function;
    VJ_TRY(pop(p, &args));
    VJ_TRY(pop(p, &function));
    if (args->kind != VJ_PK_TUPLE || function->kind != VJ_PK_GLOBAL)
        return refuse(p, "a call of something that is no known name");
    switch (names[function->global].what) {
    case ORDERED_DICT:
        if (args->items.n != 0) return refuse(p, "an OrderedDict that is not empty at first");
        return push_items(p, VJ_PK_DICT, NULL, 0);
    case REBUILD_TENSOR: return rebuild_tensor(p, args);
    case REBUILD_PARAMETER:
        if (args->items.n < 1 || args->items.v[0]->kind != VJ_PK_TENSOR)
            return refuse(p, "a parameter without a tensor");
        return push(p, args->items.v[0]);
    default: return refuse(p, "a call of torch.%s", names[function->global].name);
    }
}

// Only state dictionaries have state of their own (_metadata: versions of modules); it says nothing about tensors.
static vj_status build(vj_pk *p)
{
    vj_pk_value *state;
    VJ_TRY(pop(p, &state));
    if (p->depth == 0 || p->stack[p->depth - 1]->kind != VJ_PK_DICT || state->kind != VJ_PK_DICT)
        return refuse(p, "a state for something that is no dictionary");
    return VJ_OK;
}

// ---- containers and memo
// ----------------------------------------------------------------------------------------------
static vj_status target(vj_pk *p, vj_pk_kind kind, vj_pk_value **out)
{
    *out = p->depth > 0 ? p->stack[p->depth - 1] : NULL;
    if (!*out || (*out)->kind != kind)
        return refuse(p, "entries for something that is no %s", kind == VJ_PK_DICT ? "dictionary" : "list");
    return VJ_OK;
}

static vj_status put_items(vj_pk *p, vj_pk_kind kind)
{
    int64_t first, n;
    vj_pk_value *into;
    VJ_TRY(to_mark(p, &first, &n));
    VJ_TRY(target(p, kind, &into));
    if (kind == VJ_PK_DICT && n % 2 != 0) return refuse(p, "a key without a value");
    return append(p, into, p->stack + first, n);
}

static vj_status put_one(vj_pk *p, vj_pk_kind kind)
{
    vj_pk_value *pair[2], *into;
    const int n = kind == VJ_PK_DICT ? 2 : 1;
    for (int i = n - 1; i >= 0; i--) VJ_TRY(pop(p, &pair[i]));
    VJ_TRY(target(p, kind, &into));
    return append(p, into, pair, n);
}

static vj_status tuple_of(vj_pk *p, int n)
{
    vj_pk_value *v[3];
    for (int i = n - 1; i >= 0; i--) VJ_TRY(pop(p, &v[i]));
    return push_items(p, VJ_PK_TUPLE, v, n);
}

static vj_status tuple_to_mark(vj_pk *p)
{
    int64_t first, n;
    VJ_TRY(to_mark(p, &first, &n));
    return push_items(p, VJ_PK_TUPLE, p->stack + first, n);
}

static vj_status memo_put(vj_pk *p, uint64_t index)
{
    if (p->depth == 0 || p->stack[p->depth - 1]->kind == VJ_PK_MARK) return refuse(p, "nothing to remember");
    if (index >= MEMO_MAX) return refuse(p, "a memo of more than %d values", MEMO_MAX);
    VJ_TRY(room(p, &p->memo, &p->memo_room, (int64_t)index + 1, MEMO_MAX, "a memo"));
    p->memo[index] = p->stack[p->depth - 1];
    if ((int64_t)index >= p->memo_n) p->memo_n = (int64_t)index + 1;
    return VJ_OK;
}

static vj_status memo_get(vj_pk *p, uint64_t index)
{
    if (index >= (uint64_t)p->memo_n || !p->memo[index])
        return refuse(p, "value %llu is not remembered", (unsigned long long)index);
    return push(p, p->memo[index]);
}

static vj_status memo_of(vj_pk *p, int bytes, bool put)
{
    uint64_t index;
    VJ_TRY(take_number(p, bytes, &index));
    return put ? memo_put(p, index) : memo_get(p, index);
}

static vj_status push_plain(vj_pk *p, vj_pk_kind kind)
{
    vj_pk_value *v;
    VJ_TRY(make(p, kind, &v));
    return push(p, v);
}

static vj_status skip(vj_pk *p, size_t n)
{
    const unsigned char *b;
    return take(p, n, &b);
}

static vj_status number(vj_pk *p, int bytes)
{
    uint64_t v;
    VJ_TRY(take_number(p, bytes, &v));
    return push_int(p, bytes == 4 ? (int64_t)(int32_t)v : (int64_t)v);
}

// ---- the machine
// ------------------------------------------------------------------------------------------------------
static vj_status step(vj_pk *p, unsigned char op, bool *stop)
{
    switch (op) {
    case 0x80: return skip(p, 1);                        // PROTO
    case 0x95: return skip(p, 8);                        // FRAME
    case '.': *stop = true; return pop(p, &p->root);     // STOP
    case '(': return push_plain(p, VJ_PK_MARK);
    case 'N': return push_plain(p, VJ_PK_NONE);
    case 0x88: case 0x89: return push_bool(p, op == 0x88);
    case 'K': return number(p, 1);
    case 'M': return number(p, 2);
    case 'J': return number(p, 4);
    case 0x8a: return push_long(p);
    case 'G': return push_float(p);
    case 'X': return push_text(p, 4);
    case 0x8c: return push_text(p, 1);
    case '}': return push_items(p, VJ_PK_DICT, NULL, 0);
    case ']': return push_items(p, VJ_PK_LIST, NULL, 0);
    case ')': return push_items(p, VJ_PK_TUPLE, NULL, 0);
    case 't': return tuple_to_mark(p);
    case 0x85: case 0x86: case 0x87: return tuple_of(p, op - 0x84);
    case 's': return put_one(p, VJ_PK_DICT);
    case 'u': return put_items(p, VJ_PK_DICT);
    case 'a': return put_one(p, VJ_PK_LIST);
    case 'e': return put_items(p, VJ_PK_LIST);
    case 'q': return memo_of(p, 1, true);
    case 'r': return memo_of(p, 4, true);
    case 0x94: return memo_put(p, (uint64_t)p->memo_n);  // MEMOIZE
    case 'h': return memo_of(p, 1, false);
    case 'j': return memo_of(p, 4, false);
    case 'c': return global(p);
    case 0x93: return stack_global(p);
    case 'Q': return storage(p);
    case 'R': return reduce(p);
    case 'b': return build(p);
    default:
        return refuse(
            p, "operation 0x%02x, which torch.save does not use for tensors and numbers; nothing was executed", op);
    }
}

vj_status vj_pk_parse(vj_pk **out, const unsigned char *bytes, size_t length, const char *origin)
{
    *out = NULL;
    vj_pk *p = calloc(1, sizeof *p);
    VJ_CHECK(p != NULL, VJ_ERR_NOMEM, "no memory to read %s", origin);
    p->at = bytes;
    p->end = bytes + length;
    p->length = length;
    p->origin = origin;
    vj_status status = VJ_OK;
    bool stop = false;
    while (status == VJ_OK && !stop) {
        const unsigned char *op;
        status = take(p, 1, &op);
        if (status == VJ_OK) status = step(p, *op, &stop);
    }
    if (status != VJ_OK) vj_pk_destroy(&p);
    *out = p;
    return status;
}

void vj_pk_destroy(vj_pk **pickle)
{
    vj_pk *p = *pickle;
    if (!p) return;
    for (int64_t i = 0; i < p->n_values; i++) {
        vj_pk_value *v = &p->chunks[i / CHUNK][i % CHUNK];
        if (v->kind == VJ_PK_TUPLE || v->kind == VJ_PK_LIST || v->kind == VJ_PK_DICT) free(v->items.v);
    }
    for (int64_t i = 0; i < p->n_chunks; i++) free(p->chunks[i]);
    free(p->chunks);
    free(p->stack);
    free(p->memo);
    free(p);
    *pickle = NULL;
}

const vj_pk_value *vj_pk_root(const vj_pk *p) { return p->root; }

const vj_pk_value *vj_pk_get(const vj_pk_value *dict, const char *key)
{
    if (!dict || dict->kind != VJ_PK_DICT) return NULL;
    int64_t number = 0;
    const bool counts = vj_parse_i64(key, &number);
    for (int64_t i = 0; i + 1 < dict->items.n; i += 2) {
        const vj_pk_value *k = dict->items.v[i];
        if (k->kind == VJ_PK_TEXT && is(k->text.data, k->text.length, key)) return dict->items.v[i + 1];
        if (k->kind == VJ_PK_INT && counts && k->i == number) return dict->items.v[i + 1];
    }
    return NULL;
}

bool vj_pk_number(const vj_pk_value *v, double *out)
{
    if (!v) return false;
    if (v->kind == VJ_PK_INT) *out = (double)v->i;
    else if (v->kind == VJ_PK_FLOAT) *out = v->f;
    else if (v->kind == VJ_PK_BOOL) *out = v->b;
    else return false;
    return true;
}
