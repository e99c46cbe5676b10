// The part of vj_cpu_count that reads files, apart so that a test can give it files of its own.
#ifndef VJ_RUNTIME_BASE_CPUS_IMPL_H
#define VJ_RUNTIME_BASE_CPUS_IMPL_H

// CPUs that the quotas of this process' control groups leave, 0 when there is no quota. `groups` is /proc/self/cgroup,
// `mount` is /sys/fs/cgroup. The smallest quota on the way from the process' group up to the root counts; half a CPU
// is rounded up.
int vj_cgroup_cpus(const char *groups, const char *mount);

#endif
