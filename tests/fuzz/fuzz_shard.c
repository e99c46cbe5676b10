// The index of a shard: its arrays as they come out of an HDF5 file that somebody else made (without a digest of ours, or with
// one that they computed). What passes the checks is used as a reader does: every byte of every row, every name.

#include "data/shard_impl.h"
#include "tests/fuzz/fuzz.h"

enum { ROWS_MOST = 48, BLOB_MOST = 1 << 16, TEXT_MOST = 1 << 12 };

// The next `bytes` of the input; zeros behind its end.
static void next(const uint8_t **data, size_t *size, void *out, size_t bytes)
{
    const size_t n = bytes < *size ? bytes : *size;
    memset(out, 0, bytes);
    if (n > 0) memcpy(out, *data, n);
    *data += n;
    *size -= n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t head[6];
    uint64_t packed[ROWS_MOST];
    next(&data, &size, head, sizeof head);
    vj_shard_index x = { .n = 1 + head[0] % ROWS_MOST, .n_files = 1 + head[1] % ROWS_MOST, .blob_bytes = head[2] | head[3] << 8,
                         .text_bytes = (head[4] | head[5] << 8) % TEXT_MOST };
    x.rows = calloc((size_t)x.n, sizeof *x.rows);
    x.text_offset = calloc((size_t)x.n_files + 1, sizeof *x.text_offset);
    x.text = calloc((size_t)x.text_bytes + 1, 1);
    uint8_t *blob = calloc((size_t)x.blob_bytes + 1, 1);
    if (!x.rows || !x.text_offset || !x.text || !blob) abort();
    next(&data, &size, x.text_offset, ((size_t)x.n_files + 1) * sizeof *x.text_offset);
    for (const vj_shard_column *c = vj_shard_columns; c->name != NULL; c++) {
        next(&data, &size, packed, (size_t)x.n * vj_h5_type_size(c->type));
        vj_shard_column_unpack(c, x.rows, x.n, packed);
    }
    next(&data, &size, x.text, (size_t)x.text_bytes);
    const vj_status status = vj_shard_index_check(&x);
    unsigned sum = 0;
    uint64_t most = 0;
    for (int64_t i = 0; status == VJ_OK && i < x.n; i++) {
        char name[300];
        const vj_shard_row *r = &x.rows[i];
        // One past the last byte would be found; the middle lies between.
        sum += blob[r->offset] + blob[r->offset + r->nbytes - 1];
        if (r->offset + r->nbytes > (uint64_t)x.blob_bytes) abort();
        if (r->offset < most && (i == 0 || r->offset != x.rows[i - 1].offset)) abort();   // overlaps
        most = r->offset + r->nbytes;
        vj_shard_index_file(&x, i, name, sizeof name);
        sum += (unsigned char)name[0];
    }
    unsigned char digest[32];
    if (status == VJ_OK && vj_shard_index_digest(x.rows, x.n, digest) != VJ_OK) abort();
    free(blob);
    vj_shard_index_free(&x);
    fuzz_status(status);
    return sum == 1 ? 0 : 0;
}
