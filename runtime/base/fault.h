// The fault shim: tests stop the program at an exact point of its writing.
//
//   VJ_FAULT=kill@POINT:N     SIGKILL to ourselves when POINT is reached for the N-th time (N from 1)
//   VJ_FAULT=fail@POINT:N     that call fails with ENOSPC instead
//   VJ_FAULT=short@pwrite:N   of that write half the bytes come to the disk, then it is full
//   VJ_FAULT=bug@POINT:N      as a broken rule of our own: message, report, exit code 70
//   VJ_FAULT=HOW@read[PART]:N     the N-th read of a file whose path contains PART (no brackets: of any file); N+: that one and
//                             all after it. HOW: eio, estale, eagain, etimedout: fails so; eintr: is interrupted (with N+ every
//                             other one); short: gives one byte; slow: at 1 MB/s; stall: never ends; stallS: S seconds late
//   VJ_FAULT=slowSECONDS@POINT:N  from the N-th time on POINT takes so much longer; points of vj_fault_slow
//   VJ_FAULT_TRACE=FILE       appends one line per point reached: "POINT PATH"
//   VJ_FAULT_DISK=BYTES        a disk of so many bytes a second: writes of all threads through vj_io_pwrite take as long
//
// Points: every vj_io_* call is "create", "pwrite", "fsync", "fsync_dir", "rename"; code may add named ones, such as
// "checkpoint.before_manifest". Costs one predictable branch when neither variable is set.
#ifndef VJ_RUNTIME_BASE_FAULT_H
#define VJ_RUNTIME_BASE_FAULT_H

#include <sys/types.h>

#include "runtime/base/status.h"

// Returns true when the caller must fail as if the disk were full.
bool vj_fault_point(const char *point, const char *path);
// After vj_fault_point("pwrite") was true: half of it is to be written first.
bool vj_fault_short(void);
// Sleeps as long as a write of `bytes` takes on the slow disk.
void vj_fault_written(size_t bytes);
void vj_fault_disk_set(double bytes_per_second);   // as VJ_FAULT_DISK; 0: as fast as it is
// A place that can be made slow; no point of the kind above.
void vj_fault_slow(const char *point);
// pread with the read faults above; what vj_io_pread is made of.
ssize_t vj_fault_pread(int fd, void *data, size_t bytes, off_t offset, const char *path);
// For tests in one process: `text` as VJ_FAULT would be (NULL: none), counted from now. Not while others read or write.
void vj_fault_set(const char *text);
// For tests that fork: the child reads the variables anew, whatever its parent has done before. Not while others read or write.
void vj_fault_reread(void);

#endif
