// A file of lines that grows: each call hands out the lines that are new. The file may not be there yet, vanish, come back,
// be cut or written anew (a resumed run cuts metrics.jsonl): then it is read from its beginning again.
#ifndef VJ_JOBS_WATCH_FOLLOW_H
#define VJ_JOBS_WATCH_FOLLOW_H

#include "runtime/base/str.h"

typedef struct vj_follow {
    char path[640];
    unsigned long long device, inode;
    int64_t at;              // bytes handed out
    char tail[64];           // the last of them: another content of at least this length is noticed
    int tail_bytes;
    bool there;              // the last call found a file
    double changed;          // its time of change, seconds since 1970
    vj_str buffer;
} vj_follow;

typedef struct vj_follow_sink {
    void *context;
    void (*again)(void *context);                                       // forget everything: the file is read anew
    void (*line)(void *context, const char *line, size_t bytes);        // without its newline, which is there in the file
} vj_follow_sink;

void vj_follow_start(vj_follow *f, const char *path);
// A file that is not there, is no regular file, or cannot be read is no error: `there` says it. A line longer than 4 MiB is
// skipped. VJ_ERR_NOMEM.
vj_status vj_follow_poll(vj_follow *f, const vj_follow_sink *sink) VJ_MUST_CHECK;
void vj_follow_end(vj_follow *f);

#endif
