// How many CPUs may this process use? Cores that a quota takes away again are worse than no cores: threads that are
// held back in the middle of a loop keep all the others waiting.

#include "runtime/base/cpus_impl.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/str.h"
#include "runtime/base/thread.h"

// The first line of DIR/NAME without its end, false when it cannot be read.
static bool first_line(char out[128], const char *dir, const char *name)
{
    char path[1400];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return false;
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const bool there = fgets(out, 128, f) != NULL;
    fclose(f);
    if (there) out[strcspn(out, "\n")] = '\0';
    return there;
}

// The quota of one group: cpu.max holds "150000 100000" or "max 100000"; version 1 has two files and -1 for none.
static int quota_of(const char *dir)
{
    char text[128];
    int64_t quota = 0, period = 0;
    if (first_line(text, dir, "cpu.max")) {
        char *blank = strchr(text, ' ');
        if (!blank) return 0;
        *blank = '\0';
        if (!vj_parse_i64(text, &quota) || !vj_parse_i64(blank + 1, &period)) return 0;
    } else {
        if (!first_line(text, dir, "cpu.cfs_quota_us") || !vj_parse_i64(text, &quota)) return 0;
        if (!first_line(text, dir, "cpu.cfs_period_us") || !vj_parse_i64(text, &period)) return 0;
    }
    if (quota <= 0 || period <= 0) return 0;
    const int64_t cpus = quota / period + (quota % period != 0);
    return cpus < 1 << 20 ? (int)cpus : 0;
}

static int smaller(int a, int b) { return a == 0 || (b != 0 && b < a) ? b : a; }

// Of MOUNT/group and all groups above it. A container may show the host's path here, of which it sees only the root.
static int quota_up(const char *mount, const char *group)
{
    char dir[1300];
    const size_t root = strlen(mount);
    int cpus = 0;
    if (snprintf(dir, sizeof dir, "%s%s", mount, group) >= (int)sizeof dir) return quota_of(mount);
    for (;;) {
        cpus = smaller(cpus, quota_of(dir));
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < root) return cpus;
        *slash = '\0';
    }
}

static bool has_cpu(const char *controllers)
{
    for (const char *c = controllers; c; c = strchr(c, ',')) {
        if (*c == ',') c++;
        if (strncmp(c, "cpu", 3) == 0 && (c[3] == '\0' || c[3] == ',')) return true;
    }
    return false;
}

// Lines of /proc/self/cgroup: "0::/user.slice" for version 2, "4:cpu,cpuacct:/docker/1234" for version 1.
int vj_cgroup_cpus(const char *groups, const char *mount)
{
    FILE *f = fopen(groups, "re");
    if (!f) return 0;
    char line[1200], dir[1300];
    int cpus = 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || strlen(mount) > 90) continue;
        *group++ = '\0';
        controllers++;
        if (*controllers == '\0') {
            cpus = smaller(cpus, quota_up(mount, group));
        } else if (has_cpu(controllers)) {
            vj_format(dir, sizeof dir, "%s/cpu", mount);
            if (access(dir, F_OK) != 0) vj_format(dir, sizeof dir, "%s/%.1000s", mount, controllers);
            cpus = smaller(cpus, quota_up(dir, group));
        }
    }
    fclose(f);
    return cpus;
}

static int affinity_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);   // more CPUs than the mask has bits
    return online > 0 ? (int)online : 1;
}

int vj_cpu_count(void)
{
    // "4" or, for nested teams, "4,2": the first is ours.
    char first[16] = "";
    const char *omp = getenv("OMP_NUM_THREADS");
    int64_t asked = 0;
    if (omp && strcspn(omp, ",") < sizeof first) {
        memcpy(first, omp, strcspn(omp, ","));
        if (vj_parse_i64(first, &asked) && asked >= 1 && asked <= 1024) return (int)asked;
    }
    const int cpus = smaller(vj_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup"), affinity_cpus());
    return cpus > 0 ? cpus : 1;
}
