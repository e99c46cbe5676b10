// The closed subset of pickle that torch.save writes for dictionaries of tensors and numbers. Nothing is ever executed:
// a pickle names functions, and only those listed in pt_pickle.c are understood (as data); any other is refused by
// name.
#ifndef VJ_CHECKPOINTS_PT_PICKLE_H
#define VJ_CHECKPOINTS_PT_PICKLE_H

#include "runtime/tensor/dtype.h"
#include "runtime/tensor/tensor.h"

typedef enum vj_pk_kind {
    VJ_PK_NONE, VJ_PK_BOOL, VJ_PK_INT, VJ_PK_FLOAT, VJ_PK_TEXT, VJ_PK_TUPLE, VJ_PK_LIST, VJ_PK_DICT, VJ_PK_GLOBAL,
    VJ_PK_STORAGE, VJ_PK_TENSOR, VJ_PK_MARK
} vj_pk_kind;

typedef struct vj_pk_value vj_pk_value;
typedef struct vj_pk_tensor {
    const vj_pk_value *storage;
    int64_t offset;                     // elements from the storage's start
    int rank;
    int64_t shape[VJ_MAX_RANK], stride[VJ_MAX_RANK];
} vj_pk_tensor;

struct vj_pk_value {
    vj_pk_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct { const char *data; size_t length; } text;       // into the pickle's bytes; not NUL-terminated
        struct { vj_pk_value **v; int64_t n, capacity; } items; // TUPLE, LIST; DICT: key, value, key, value, ...
        int global;                                             // index into the list of known names
        struct { vj_dtype dtype; bool floats; const char *key; size_t key_length; int64_t count; } storage;
        vj_pk_tensor tensor;
    };
};

typedef struct vj_pk vj_pk;   // a parsed pickle owns its values

// `bytes` must stay while the values are used. `origin` names the file in messages. VJ_ERR_CONFIG: damaged, an opcode
// or a name outside of the subset, or beyond a limit (1 million values, 4 million entries).
vj_status vj_pk_parse(vj_pk **out, const unsigned char *bytes, size_t length, const char *origin) VJ_MUST_CHECK;
void vj_pk_destroy(vj_pk **p);
const vj_pk_value *vj_pk_root(const vj_pk *p);
// Of a dictionary by a key of text, or by a whole number written out ("17"); NULL when absent or no dictionary.
const vj_pk_value *vj_pk_get(const vj_pk_value *dict, const char *key);
bool vj_pk_number(const vj_pk_value *v, double *out);   // INT, FLOAT or BOOL

#endif
