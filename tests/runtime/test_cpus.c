// The number of CPUs: OMP_NUM_THREADS, and quotas of control groups read from made-up files.

#include "runtime/base/cpus_impl.h"

#include <sched.h>
#include <string.h>

#include "runtime/base/thread.h"
#include "tests/support/scratch.h"

static char mount[64], groups[128];

static int setup(void **state)
{
    if (scratch_setup(state) != 0) return -1;
    vj_format(mount, sizeof mount, "%s", (const char *)*state);
    vj_format(groups, sizeof groups, "%s/groups", mount);
    return 0;
}

static void put(const char *dir, const char *name, const char *text)
{
    char folder[512], path[600];
    vj_format(folder, sizeof folder, "%s%s", mount, dir);
    assert_ok(vj_dir_create(folder));
    vj_path_join(path, sizeof path, folder, name);
    assert_ok(vj_file_write_atomic(path, text, strlen(text)));
}

static int quota(const char *lines)
{
    put("", "groups", lines);
    return vj_cgroup_cpus(groups, mount);
}

static void version_2(void **state)
{
    (void)state;
    assert_int_equal(quota("0::/\n"), 0);                      // no file at all
    put("/job/step", "cpu.max", "max 100000\n");
    assert_int_equal(quota("0::/job/step\n"), 0);
    put("/job", "cpu.max", "150000 100000\n");                 // a group above counts: one and a half CPUs
    assert_int_equal(quota("0::/job/step\n"), 2);
    put("/job/step", "cpu.max", "400000 100000\n");            // the smallest of all
    assert_int_equal(quota("0::/job/step\n"), 2);
    put("/job/step", "cpu.max", "10000 100000\n");
    assert_int_equal(quota("0::/job/step\n"), 1);
    assert_int_equal(quota("0::/elsewhere\n"), 0);
    put("", "cpu.max", "300000 100000\n");                     // the root, as a container shows its own group
    assert_int_equal(quota("0::/of/the/host\n"), 3);
    assert_int_equal(quota("0::/\n"), 3);
}

static void version_1(void **state)
{
    (void)state;
    put("/cpu/docker/12", "cpu.cfs_quota_us", "250000\n");
    put("/cpu/docker/12", "cpu.cfs_period_us", "50000\n");
    put("/cpu", "cpu.cfs_quota_us", "-1\n");
    put("/cpu", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota("3:cpuset:/docker/12\n4:cpu,cpuacct:/docker/12\n"), 5);
    assert_int_equal(quota("3:cpuset:/docker/12\n4:cpuacct:/docker/12\n"), 0);   // not the group of quotas
    assert_int_equal(quota("4:cpuacct,cpu:/docker\n"), 0);
    assert_ok(vj_dir_remove(mount));
    put("/cpu,cpuacct/a", "cpu.cfs_quota_us", "100000\n");     // where there is no link named cpu
    put("/cpu,cpuacct/a", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota("4:cpu,cpuacct:/a\n0::/a\n"), 1);
}

static void odd_files_mean_no_quota(void **state)
{
    (void)state;
    static const char *const odd[] = { "", "\n", "100000", "100000 ", "x 100000", "100000 x", "-5 100000", "0 100000", "100000 0",
                                       "9223372036854775807 1", "99999999999999999999 1" };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        put("/odd", "cpu.max", odd[i]);
        if (quota("0::/odd\n") != 0) fail_msg("cpu.max '%s' was taken for a quota", odd[i]);
    }
    char lengthy[4000];
    memset(lengthy, 'x', sizeof lengthy);
    memcpy(lengthy, "0::/", 4);
    lengthy[sizeof lengthy - 1] = '\0';
    static const char *const lines[] = { "", "\n", "0:", "0::", "::::", "4:cpu", "4:cpu:" };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) assert_int_equal(quota(lines[i]), 0);
    assert_int_equal(quota(lengthy), 0);
    assert_int_equal(vj_cgroup_cpus("/nonexistent/groups", mount), 0);
}

static void openmp_is_obeyed(void **state)
{
    (void)state;
    unsetenv("OMP_NUM_THREADS");
    const int cpus = vj_cpu_count();
    assert_in_range(cpus, 1, 1 << 16);
    setenv("OMP_NUM_THREADS", "3", 1);
    assert_int_equal(vj_cpu_count(), 3);
    setenv("OMP_NUM_THREADS", "5,2", 1);
    assert_int_equal(vj_cpu_count(), 5);
    static const char *const odd[] = { "", "many", "0", "-2", "1025", ",4", "3x", "00000000000000000000000000003" };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        setenv("OMP_NUM_THREADS", odd[i], 1);
        assert_int_equal(vj_cpu_count(), cpus);
    }
    unsetenv("OMP_NUM_THREADS");
}

static void the_affinity_mask_bounds(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &before)) continue;
        CPU_SET(cpu, &one);
        break;
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    const int cpus = vj_cpu_count();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(cpus, 1);
    assert_in_range(vj_cpu_count(), 1, CPU_COUNT(&before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_2),
        cmocka_unit_test(version_1),
        cmocka_unit_test(odd_files_mean_no_quota),
        cmocka_unit_test(openmp_is_obeyed),
        cmocka_unit_test(the_affinity_mask_bounds),
    };
    return cmocka_run_group_tests_name("runtime/cpus", tests, setup, scratch_teardown);
}
