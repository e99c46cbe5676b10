#include "jobs/train/ranks.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"
#include "runtime/base/thread.h"
#include "runtime/log/log.h"

enum { MESSAGE = 2048 };

vj_status vj_ranks_open(vj_ranks *r, vj_status status, const vj_world_request *request)
{
    char mine[MESSAGE];
    vj_format(mine, sizeof mine, "%s", vj_error_text());
    const vj_world_request any = { .shared_memory = true };
    *r = (vj_ranks){ .lead = true };
    const vj_status opened = vj_world_open(&r->world, status == VJ_OK ? request : &any);
    if (opened != VJ_OK) {
        // Nobody to agree with: all ranks say the same, and one of them is enough.
        const char *rank = getenv("OMPI_COMM_WORLD_RANK") ? getenv("OMPI_COMM_WORLD_RANK") : getenv("SLURM_PROCID");
        if (status != VJ_OK) status = vj_fail_text(status, mine);
        if (rank && strcmp(rank, "0") != 0) vj_error_clear();
        return status != VJ_OK ? status : opened;
    }
    r->lead = vj_comm_rank(r->world) == 0;
    if (!r->lead) vj_log_level_set(VJ_WARN);
    if (status != VJ_OK) status = vj_fail_text(status, mine);
    return vj_ranks_agree(r, status, NULL, 0);
}

void vj_ranks_close(vj_ranks *r) { vj_comm_destroy(&r->world); }

vj_status vj_ranks_agree(vj_ranks *r, vj_status status, double *sums, int n)
{
    if (r->world == NULL || vj_comm_size(r->world) == 1 || (r->agreed && status != VJ_OK)) return status;
    double all[16];
    VJ_ASSERT(n < 16);
    all[0] = status != VJ_OK;
    for (int i = 0; i < n; i++) all[i + 1] = sums[i];
    vj_comm_about(r->world, "agreement", -1);
    VJ_TRY_CTX(vj_comm_all_reduce_now(r->world, all, n + 1, VJ_SUM), "agreeing with the other ranks");
    vj_comm_about(r->world, NULL, -1);
    for (int i = 0; i < n; i++) sums[i] = all[i + 1];
    if (all[0] == 0) return VJ_OK;
    status = vj_comm_agree(r->world, status);
    r->agreed = true;
    if (vj_error_text()[0] && !r->lead) vj_context("on rank %d of %d", vj_comm_rank(r->world), vj_comm_size(r->world));
    return status;
}

vj_status vj_ranks_tell(vj_ranks *r, char *text, size_t size) { return vj_comm_broadcast_now(r->world, 0, text, size); }

// The program's own bytes: another build has other orders of sums, other files, other messages.
static uint64_t program_digest(void)
{
    char *bytes = NULL;
    size_t n = 0;
    uint64_t digest = 0;
    if (vj_file_read("/proc/self/exe", &bytes, &n, 0) == VJ_OK) digest = vj_xxh64(bytes, n);
    else vj_error_clear();
    free(bytes);
    return digest;
}

vj_status vj_ranks_compare(vj_ranks *r, const char *text)
{
    if (vj_comm_size(r->world) == 1) return VJ_OK;
    // As numbers that float64 holds exactly; equal everywhere when the least is the greatest.
    const uint64_t digests[2] = { program_digest(), vj_xxh64(text, strlen(text)) };
    double low[4], high[4];
    for (int i = 0; i < 4; i++) low[i] = high[i] = (double)(uint32_t)(digests[i / 2] >> 32 * (i % 2));
    VJ_TRY(vj_comm_all_reduce_now(r->world, low, 4, VJ_MIN));
    VJ_TRY(vj_comm_all_reduce_now(r->world, high, 4, VJ_MAX));
    r->agreed = true;
    vj_status status = VJ_OK;
    if (low[0] != high[0] || low[1] != high[1])
        status = vj_fail(VJ_ERR_CONFIG, "ranks run different builds of vjepa: install the same one on every machine");
    else if (low[2] != high[2] || low[3] != high[3])
        status = vj_fail(VJ_ERR_CONFIG, "ranks have different configurations: is the file the same on every machine?");
    else r->agreed = false;
    if (status != VJ_OK && !r->lead) vj_error_clear();
    return status;
}

vj_status vj_ranks_threads(vj_ranks *r, int64_t *threads)
{
    const int size = vj_comm_size(r->world);
    if (size == 1) return VJ_OK;
    // Launchers bind ranks to CPUs, or not: those with the same set share it.
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_ZERO(&set);
    const uint64_t mine = vj_xxh64(&set, sizeof set);
    double *masks = NULL;
    VJ_TRY(vj_host_alloc(&masks, (size_t)size * sizeof *masks, "a table of ranks"));
    masks[vj_comm_rank(r->world)] = (double)(uint32_t)mine + 1;
    const vj_status status = vj_comm_all_reduce_now(r->world, masks, size, VJ_SUM);
    int sharing = 0;
    for (int i = 0; i < size; i++) sharing += masks[i] == (double)(uint32_t)mine + 1;
    vj_host_free(masks);
    VJ_TRY(status);
    if (sharing > vj_comm_local_size(r->world)) sharing = vj_comm_local_size(r->world);   // other machines have such sets too
    *threads = vj_cpu_count() / (sharing > 0 ? sharing : 1);
    if (*threads < 1) *threads = 1;
    return VJ_OK;
}

vj_status vj_ranks_exchange(vj_ranks *r, const char *text, vj_ranks_take take, void *context)
{
    const int size = vj_comm_size(r->world), rank = vj_comm_rank(r->world);
    if (size == 1) return VJ_OK;
    double *lengths = NULL;
    VJ_TRY(vj_host_alloc(&lengths, (size_t)size * sizeof *lengths, "a table of ranks"));
    lengths[rank] = text ? (double)strlen(text) : 0;
    vj_status status = vj_comm_all_reduce_now(r->world, lengths, size, VJ_SUM);
    vj_status taken = VJ_OK;   // a failure of one rank must not keep the others waiting
    for (int i = 0; i < size && status == VJ_OK; i++) {
        if (lengths[i] == 0) continue;
        char *buffer = calloc(1, (size_t)lengths[i] + 1);
        VJ_ASSERT(buffer != NULL);
        if (i == rank) memcpy(buffer, text, (size_t)lengths[i]);
        status = vj_comm_broadcast_now(r->world, i, buffer, (size_t)lengths[i]);
        if (status == VJ_OK && taken == VJ_OK && i != rank) taken = take(context, buffer);
        free(buffer);
    }
    vj_host_free(lengths);
    return status != VJ_OK ? status : taken;
}

void vj_ranks_leave(vj_ranks *r, vj_status status)
{
    if (status == VJ_OK || r->world == NULL || vj_comm_size(r->world) == 1) return;
    if (r->agreed) {
        // All ranks meet once more when MPI ends; behind that the launcher may end one that has something to say before it has said it.
        if (vj_error_text()[0]) fprintf(stderr, "vjepa: %s%s\n", status == VJ_ERR_STOPPED ? "" : "error: ", vj_error_text());
        vj_error_clear();
        return;
    }
    if (vj_comm_peer_code(r->world) >= 0) _exit(vj_comm_peer_code(r->world));   // that rank has said why
    fprintf(stderr, "vjepa: error: rank %d: %s\n", vj_comm_rank(r->world), vj_error_text());
    vj_comm_abort(r->world, vj_status_exit_code(status));
}
