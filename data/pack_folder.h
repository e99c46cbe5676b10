// Where a packing works: OUT under a lock, OUT/.tmp-pack with the journal, spools and shards that have no place yet.
#ifndef VJ_DATA_PACK_FOLDER_H
#define VJ_DATA_PACK_FOLDER_H

#include "data/pack_journal.h"

// A spool of an earlier life that is still read.
typedef struct vj_old_spool {
    int life, worker, fd;
    int64_t bytes;
} vj_old_spool;

typedef struct vj_pack_folder {
    int lock_fd;
    char work[4096];              // "" until it is there
    vj_journal *journal;
    bool finished;                // the catalogue is in place already; only tidying is left
    vj_old_spool *old;            // of the source that is being packed
    int64_t n_old;
} vj_pack_folder;

// Begins, or goes on where the same request stopped. VJ_ERR_CONFIG: OUT is in use, holds shards or what another request began
// (unless `force`), or holds something else. `report` is filled when `finished`.
vj_status vj_pack_folder_open(vj_pack_folder *folder, const vj_pack_request *request, vj_pack_report *report) VJ_MUST_CHECK;
// `keep`: the work folder stays for the same command. Keeps the message of a failure.
void vj_pack_folder_close(vj_pack_folder *folder, bool keep);

void vj_pack_spool_name(char *out, size_t size, const vj_pack_folder *folder, int source, int life, int worker);
// Earlier lives' spools of a source; `bytes`: what they hold. Closing also forgets the last source's.
vj_status vj_pack_spools_open(vj_pack_folder *folder, int source, int64_t *bytes) VJ_MUST_CHECK;
void vj_pack_spools_close(vj_pack_folder *folder);
void vj_pack_spools_remove(const vj_pack_folder *folder, int source);
// Fills the rows of a file that an earlier life packed, with the held-out marks of the windows as they are now. False: it is to be
// packed (again). Any thread, between opening and closing the spools.
bool vj_pack_restore(const vj_pack_folder *folder, int source, vj_pack_file *file);

#endif
