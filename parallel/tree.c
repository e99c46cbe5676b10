#include "parallel/tree.h"

#include <string.h>

#include "runtime/base/status.h"

// Block by block, so that partial sums stay in the cache. Each depth of the tree has two blocks: of its left and its right side.
enum { BLOCK = 512, DEPTH = 24 };

#define DEFINE_SUM(name, T)                                                                                                \
    typedef struct name##_blocks { T v[DEPTH][2][BLOCK]; } name##_blocks;                                                  \
    static void name##_add(T *restrict out, const T *a, const T *b, int64_t n)                                             \
    {                                                                                                                      \
        for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];                                                              \
    }                                                                                                                      \
    /* The sum of leaves [low, min(low + span, n)), a leaf itself or in w->v[depth][side]. */                              \
    static const T *name##_node(name##_blocks *w, const void *const *leaf, int n, int low, int span, int depth, int side, int64_t at, int64_t count) \
    {                                                                                                                      \
        if (span == 1) return (const T *)leaf[low] + at;                                                                   \
        const int half = span / 2;                                                                                         \
        if (low + half >= n) return name##_node(w, leaf, n, low, half, depth, side, at, count);                            \
        const T *a = name##_node(w, leaf, n, low, half, depth + 1, 0, at, count);                                          \
        const T *b = name##_node(w, leaf, n, low + half, half, depth + 1, 1, at, count);                                   \
        name##_add(w->v[depth][side], a, b, count);                                                                        \
        return w->v[depth][side];                                                                                          \
    }                                                                                                                      \
    static void name(void *out, const void *const *leaf, int n, int span, int64_t count)                                   \
    {                                                                                                                      \
        name##_blocks w;                                                                                                   \
        for (int64_t at = 0; at < count; at += BLOCK) {                                                                    \
            const int64_t m = count - at < BLOCK ? count - at : BLOCK;                                                     \
            const T *sum = name##_node(&w, leaf, n, 0, span, 0, 0, at, m);                                                 \
            if ((T *)out + at != sum) memcpy((T *)out + at, sum, (size_t)m * sizeof(T));                                   \
        }                                                                                                                  \
    }

DEFINE_SUM(sum_f32, float)
DEFINE_SUM(sum_f64, double)

void vj_tree_sum(void *out, const void *const *leaf, int n, vj_dtype type, int64_t count)
{
    int span = 1;
    while (span < n) span *= 2;
    VJ_ASSERT(n >= 1 && span < 1 << (DEPTH - 1) && (type == VJ_F32 || type == VJ_F64));
    if (type == VJ_F32) sum_f32(out, leaf, n, span, count);
    else sum_f64(out, leaf, n, span, count);
}
