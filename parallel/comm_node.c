// Collectives inside one machine: each rank has a stage in memory that all see, in two halves. A round: write into the own half,
// wait for everybody, read the others'. The next round uses the other half, so one wait a round is enough: who comes to the wait
// of round k + 1 has read all of round k, and only after that wait is the half of round k written again.

#include <emmintrin.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "parallel/comm_impl.h"
#include "parallel/tree.h"
#include "runtime/base/arena.h"
#include "runtime/base/str.h"
#include "runtime/base/thread.h"
#include "runtime/log/log.h"

enum { PAST_CACHES = 8 << 20, HALF = 1 << 20, LEAST = 16 << 10, PAGE = 4096, PATIENCE_MS = 100 };

typedef struct control {
    _Alignas(64) atomic_uint arrived;
    _Alignas(64) atomic_uint generation;      // grows by one when all have arrived
    _Alignas(64) atomic_int aborted;          // exit code + 1 of a rank that left
    _Alignas(64) atomic_int pid[];            // (size)
} control;

struct vj_node {
    control *shared;
    size_t bytes;
    char *stages;
    int64_t half;                      // bytes
    unsigned round;
    int spins;                         // before sleeping: none where ranks are more than cores
};

static char *stage(const vj_node *node, int rank) { return node->stages + ((int64_t)rank * 2 + (node->round & 1)) * node->half; }

// ---- the memory ----------------------------------------------------------------------------------------------------------
static size_t control_bytes(int size) { return (sizeof(control) + (size_t)size * sizeof(atomic_int) + PAGE - 1) / PAGE * PAGE; }

typedef struct place { char name[64]; int64_t half; } place;

// Rank 0 makes the file, as large as there is room for (/dev/shm is 64 MB in many containers).
static int make_file(place *p, int size)
{
    vj_format(p->name, sizeof p->name, "/vjepa-ranks-%ld-%llx", (long)getpid(), (unsigned long long)(uintptr_t)p ^ (unsigned long long)time(NULL));
    const int fd = shm_open(p->name, O_RDWR | O_CREAT | O_EXCL, 0600);
    for (p->half = HALF; fd >= 0 && p->half >= LEAST; p->half /= 2) {
        const off_t bytes = (off_t)(control_bytes(size) + 2 * (size_t)size * (size_t)p->half);
        if (posix_fallocate(fd, 0, bytes) == 0) return fd;
        if (ftruncate(fd, 0) != 0) break;
    }
    if (fd >= 0) {
        shm_unlink(p->name);
        close(fd);
    }
    p->half = 0;
    return -1;
}

static void *map(int fd, size_t bytes)
{
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

vj_status vj_node_create(vj_node **out, vj_comm *c)
{
    *out = NULL;
    place p = { 0 };
    int fd = -1;
    if (c->rank == 0) fd = make_file(&p, c->size);
    VJ_TRY(vj_comm_broadcast_now(c, 0, &p, sizeof p));
    if (c->rank != 0 && p.half > 0) fd = shm_open(p.name, O_RDWR, 0);
    const size_t bytes = control_bytes(c->size) + 2 * (size_t)c->size * (size_t)p.half;
    control *shared = map(fd, bytes);
    if (fd >= 0) close(fd);
    double mapped = shared ? 1 : 0;
    const vj_status status = vj_comm_all_reduce_now(c, &mapped, 1, VJ_MIN);
    if (c->rank == 0 && p.half > 0) shm_unlink(p.name);   // the memory stays while it is mapped, and never longer
    if (status != VJ_OK || mapped < 1) {
        if (shared) munmap(shared, bytes);
        if (status == VJ_OK && c->rank == 0)
            vj_log(VJ_WARN, "parallel", "not enough shared memory (/dev/shm) for %d ranks: they exchange messages, which is slower", c->size);
        return status;
    }
    vj_node *node;
    VJ_TRY(vj_host_alloc(&node, sizeof *node, "shared memory"));
    *node = (vj_node){ .shared = shared, .bytes = bytes, .stages = (char *)shared + control_bytes(c->size), .half = p.half,
                       .spins = c->size <= vj_cpu_count() ? 4000 : 0 };
    atomic_store(&shared->pid[c->rank], (int)getpid());
    VJ_TRY(vj_comm_barrier_now(c));
    *out = node;
    return VJ_OK;
}

void vj_node_destroy(vj_node **node)
{
    if (!*node) return;
    munmap((*node)->shared, (*node)->bytes);
    vj_host_free(*node);
    *node = NULL;
}

// ---- waiting -------------------------------------------------------------------------------------------------------------
static void wake(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0); }

void vj_node_abort(vj_node *node, int code)
{
    int nobody = 0;
    atomic_compare_exchange_strong(&node->shared->aborted, &nobody, code + 1);
    wake(&node->shared->generation);
}

// Has somebody left who is waited for?
static vj_status look_around(vj_node *node, const vj_comm *c)
{
    const int aborted = atomic_load(&node->shared->aborted);
    if (aborted != 0) c->engine->peer_code = aborted - 1;
    VJ_CHECK(aborted == 0, VJ_ERR_DEVICE, "given up: another rank has stopped (exit code %d)", aborted - 1);
    VJ_CHECK(!c->engine->stop, VJ_ERR_DEVICE, "given up: this rank stops");
    for (int r = 0; r < c->size; r++) {
        const int pid = atomic_load(&node->shared->pid[r]);
        VJ_CHECK(r == c->rank || kill(pid, 0) == 0 || errno != ESRCH, VJ_ERR_DEVICE, "rank %d (process %d) is gone", c->world_rank[r], pid);
    }
    return VJ_OK;
}

static vj_status everybody(vj_node *node, const vj_comm *c)
{
    control *s = node->shared;
    const unsigned now = atomic_load(&s->generation);
    if (atomic_fetch_add(&s->arrived, 1) + 1 == (unsigned)c->size) {
        atomic_store(&s->arrived, 0);
        atomic_store(&s->generation, now + 1);
        wake(&s->generation);
        return VJ_OK;
    }
    for (int i = 0; i < node->spins; i++) {
        if (atomic_load_explicit(&s->generation, memory_order_acquire) != now) return VJ_OK;
        __builtin_ia32_pause();
    }
    const struct timespec patience = { .tv_nsec = PATIENCE_MS * 1000000L };
    while (atomic_load(&s->generation) == now) {
        const long woken = syscall(SYS_futex, &s->generation, FUTEX_WAIT, now, &patience, NULL, 0);
        if (atomic_load(&s->generation) != now) break;
        if ((woken != 0 && errno == ETIMEDOUT) || atomic_load(&s->aborted) != 0) VJ_TRY(look_around(node, c));
    }
    return VJ_OK;
}

// ---- collectives -----------------------------------------------------------------------------------------------------------
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t longest_part(const vj_comm *c, const vj_comm_op *op)
{
    int64_t begin, end, longest = 0;
    for (int r = 0; r < c->size; r++) {
        vj_comm_part(c, op->n, op->quantum, r, &begin, &end);
        longest = end - begin > longest ? end - begin : longest;
    }
    return longest;
}

// What is too long for the caches is written past them: reading a line only to overwrite it would be a third of the traffic.
static void copy(char *to, const char *from, int64_t n, bool past_caches)
{
    int64_t i = 0;
    const int64_t head = (int64_t)(-(uintptr_t)to & 15);
    if (past_caches && n > 4096) {
        memcpy(to, from, (size_t)head);
        for (i = head; i + 64 <= n; i += 64) {
            for (int k = 0; k < 64; k += 16)
                _mm_stream_si128((__m128i *)(void *)(to + i + k), _mm_loadu_si128((const __m128i *)(const void *)(from + i + k)));
        }
        _mm_sfence();
    }
    memcpy(to + i, from + i, (size_t)(n - i));
}

static vj_status all_gather(vj_node *node, vj_comm *c, const vj_comm_op *op)
{
    const int64_t size = (int64_t)vj_dtype_size(op->type), longest = longest_part(c, op) * size;
    const bool long_one = op->n * size >= PAST_CACHES;
    int64_t begin, end;
    for (int64_t at = 0; at < longest; at += node->half, node->round++) {
        vj_comm_part(c, op->n, op->quantum, c->rank, &begin, &end);
        const int64_t mine = least((end - begin) * size - at, node->half);
        const char *from = op->in ? (const char *)op->in + at : (const char *)op->out + begin * size + at;
        if (mine > 0) memcpy(stage(node, c->rank), from, (size_t)mine);
        if (mine > 0 && op->in) memcpy((char *)op->out + begin * size + at, from, (size_t)mine);
        VJ_TRY(everybody(node, c));
        for (int step = 1; step < c->size; step++) {
            const int r = (c->rank + step) % c->size;
            vj_comm_part(c, op->n, op->quantum, r, &begin, &end);
            const int64_t theirs = least((end - begin) * size - at, node->half);
            if (theirs > 0) copy((char *)op->out + begin * size + at, stage(node, r), theirs, long_one);
        }
    }
    return VJ_OK;
}

// A half holds a piece for each rank. The own piece is added from where it is.
static vj_status reduce_scatter(vj_node *node, vj_comm *c, const vj_comm_op *op)
{
    const int64_t size = (int64_t)vj_dtype_size(op->type), room = node->half / c->size / 64 * 64, longest = longest_part(c, op) * size;
    int64_t begin, end;
    VJ_ASSERT(room > 0);
    for (int64_t at = 0; at < longest; at += room, node->round++) {
        for (int step = 1; step < c->size && c->rank < op->present; step++) {
            const int r = (c->rank + step) % c->size;
            vj_comm_part(c, op->n, op->quantum, r, &begin, &end);
            const int64_t theirs = least((end - begin) * size - at, room);
            if (theirs > 0) memcpy(stage(node, c->rank) + r * room, (const char *)op->in + begin * size + at, (size_t)theirs);
        }
        VJ_TRY(everybody(node, c));
        vj_comm_part(c, op->n, op->quantum, c->rank, &begin, &end);
        const int64_t mine = least((end - begin) * size - at, room);
        if (mine <= 0) continue;
        for (int r = 0; r < op->present; r++)
            c->leaf[r] = r == c->rank ? (const char *)op->in + begin * size + at : stage(node, r) + c->rank * room;
        vj_tree_sum((char *)op->out + at, c->leaf, op->present, op->type, mine / size);
    }
    return VJ_OK;
}

static vj_status all_reduce(vj_node *node, vj_comm *c, const vj_comm_op *op)
{
    const int64_t bytes = op->n * (int64_t)sizeof(double);
    for (int64_t at = 0; at < bytes; at += node->half, node->round++) {
        const int64_t n = least(bytes - at, node->half);
        memcpy(stage(node, c->rank), (char *)op->out + at, (size_t)n);
        VJ_TRY(everybody(node, c));
        for (int r = 0; r < c->size; r++) c->leaf[r] = stage(node, r);
        vj_fold((double *)op->out + at / (int64_t)sizeof(double), c->leaf, c->size, n / (int64_t)sizeof(double), op->how);
    }
    return VJ_OK;
}

static vj_status broadcast(vj_node *node, vj_comm *c, const vj_comm_op *op)
{
    for (int64_t at = 0; at < op->n; at += node->half, node->round++) {
        const size_t n = (size_t)least(op->n - at, node->half);
        if (c->rank == op->root) memcpy(stage(node, c->rank), (char *)op->out + at, n);
        VJ_TRY(everybody(node, c));
        if (c->rank != op->root) memcpy((char *)op->out + at, stage(node, op->root), n);
    }
    return VJ_OK;
}

vj_status vj_node_run(vj_node *node, vj_comm *c, const vj_comm_op *op)
{
    switch (op->kind) {
    case VJ_ALL_GATHER: return all_gather(node, c, op);
    case VJ_REDUCE_SCATTER: return reduce_scatter(node, c, op);
    case VJ_ALL_REDUCE: return all_reduce(node, c, op);
    case VJ_BROADCAST: return broadcast(node, c, op);
    default: return everybody(node, c);
    }
}
