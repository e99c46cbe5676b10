// The journal of a packing: what is done, so that a packing that was stopped goes on where it stopped.
//
// WORK/journal is a line that says what it is, and records that are only ever appended, each with length, kind and CRC-32C:
//
//   head      the request, once, first
//   life      a process begins or goes on; spool files carry its number, so nobody appends behind a dead one's torn end
//   scan      a video was looked into: duration, sizes
//   packed    all samples of a file lie in a spool: their rows
//   synced    what stands before outlives a power cut too
//   source    the shards of a source are written: what the catalogue will say of them
//   finished  all sources are: only renaming is left
//
// Reading ends at the first record that is torn or damaged; what stood behind it is made again. Scans and packed files count for
// a file of the same name, size and time alone, so a file that changed in between is looked into and packed again.
#ifndef VJ_DATA_PACK_JOURNAL_H
#define VJ_DATA_PACK_JOURNAL_H

#include "data/pack_impl.h"

// Which packing it is. Threads are not in it: they change nothing.
typedef struct vj_pack_identity {
    char *command;                    // the options that matter, as a command line without --out
    unsigned char lists[32];          // SHA-256 over the contents of the sources that are lists
} vj_pack_identity;

vj_status vj_pack_identify(vj_pack_identity *out, const vj_pack_request *request) VJ_MUST_CHECK;
void vj_pack_identity_free(vj_pack_identity *id);

typedef struct vj_journal vj_journal;

vj_status vj_journal_create(vj_journal **out, const char *work, const vj_pack_identity *id) VJ_MUST_CHECK;
// NULL in *out: there is none, or it has no beginning. VJ_ERR_CONFIG: another version of the program wrote it.
vj_status vj_journal_open(vj_journal **out, const char *work) VJ_MUST_CHECK;
void vj_journal_close(vj_journal **journal);
const vj_pack_identity *vj_journal_identity(const vj_journal *journal);

// Cuts off what cannot be read, and records a new life. Before it the journal is only read.
vj_status vj_journal_begin_life(vj_journal *journal) VJ_MUST_CHECK;
int vj_journal_life(const vj_journal *journal);

// Any thread may append. What was found at opening never changes, so looking up needs no lock.
vj_status vj_journal_add_scan(vj_journal *journal, int source, const vj_pack_file *file) VJ_MUST_CHECK;
// All rows of `file` lie in the spool of `worker` of this life.
vj_status vj_journal_add_packed(vj_journal *journal, int source, const vj_pack_file *file, int worker) VJ_MUST_CHECK;
// Syncs the spools and then the journal. `due`: some seconds have gone by since the last time.
vj_status vj_journal_sync(vj_journal *journal, const vj_packer *packers, int n) VJ_MUST_CHECK;
bool vj_journal_sync_due(vj_journal *journal);

// Fills duration, sizes and rate in file->scan. False: not known.
bool vj_journal_scan(const vj_journal *journal, int source, vj_pack_file *file);
typedef struct vj_packed {
    int life, worker;                 // whose spool
    bool synced;                      // else the bytes themselves must be checked
} vj_packed;
// Fills rows (but for spool_fd), n_rows, bad_rows; row_held_out is all false. False: not known, or no memory.
bool vj_journal_packed(const vj_journal *journal, int source, vj_pack_file *file, vj_packed *out);
// Whether any row lies in that spool.
bool vj_journal_uses_spool(const vj_journal *journal, int source, int life, int worker);

// What is said of a source whose shards are written. `listing`: SHA-256 over its files as listed.
typedef struct vj_source_done {
    unsigned char listing[32];
    int64_t files, bad_files, bad_windows;
    vj_source source;                 // shard lists and name; owned by whoever read it
} vj_source_done;

vj_status vj_journal_add_source(vj_journal *journal, int source, const vj_source_done *done) VJ_MUST_CHECK;
bool vj_journal_source(const vj_journal *journal, int source, vj_source_done *out);
vj_status vj_journal_add_finished(vj_journal *journal, const vj_pack_report *report) VJ_MUST_CHECK;
bool vj_journal_finished(const vj_journal *journal, vj_pack_report *out);

#endif
