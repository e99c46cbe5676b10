// What every device promises: memory, copies in order, conversions, events, statistics, refusals.

#include <math.h>
#include <string.h>
#include <sys/wait.h>

#include "runtime/ops/ops.h"
#include "tests/support/scratch.h"

static const char *const names[] = { "ref", "cpu", "far" };
enum { DEVICES = 3 };

typedef struct bench { vj_device *device; vj_stream *st; } bench;
static bench open_on(const char *name, int threads)
{
    bench b;
    assert_ok(vj_device_open(&b.device, name, threads));
    assert_ok(vj_stream_create(b.device, &b.st));
    return b;
}
static void close_all(bench *b)
{
    vj_stream_destroy(&b->st);
    vj_device_close(&b->device);
    assert_null(b->st);
    assert_null(b->device);
}

static void devices_say_what_they_are(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) {
        bench b = open_on(names[i], 2);
        assert_string_equal(vj_device_name(b.device), names[i]);
        assert_int_equal(vj_device_real(b.device), i == 0 ? VJ_F64 : VJ_F32);
        assert_int_equal(vj_device_threads(b.device), 2);
        assert_ptr_equal(vj_stream_device(b.st), b.device);
        assert_true(strlen(vj_device_gemm(b.device)) > 0);
        if (i == 0) assert_string_equal(vj_device_isa(b.device), "c");
        close_all(&b);
    }
    vj_stream *none = NULL;
    vj_device *closed = NULL;
    vj_stream_destroy(&none);   // nothing to do
    vj_device_close(&closed);
}

static void unknown_devices_and_threads(void **state)
{
    (void)state;
    vj_device *d = (vj_device *)state;
    assert_fails(vj_device_open(&d, "gpu", 1), VJ_ERR_USAGE, "device 'gpu': unknown");
    assert_non_null(strstr(vj_error_text(), "there are cpu, ref and far"));
    assert_null(d);
    assert_fails(vj_device_open(&d, "", 1), VJ_ERR_USAGE, "there are cpu, ref and far");
    for (int i = 0; i < DEVICES; i++) {
        assert_fails(vj_device_open(&d, names[i], 0), VJ_ERR_USAGE, "threads = 0");
        assert_fails(vj_device_open(&d, names[i], 100000), VJ_ERR_USAGE, "threads = 100000");
        assert_null(d);
    }
}

// VJ_CPU lowers the choice, never raises it, and a word that is no instruction set ends the program with 2.
static void the_choice_of_kernels(void **state)
{
    (void)state;
    const char *before = getenv("VJ_CPU");
    char *kept = before ? strdup(before) : NULL;
    setenv("VJ_CPU", "portable", 1);
    bench b = open_on("cpu", 1);
    assert_string_equal(vj_device_isa(b.device), "portable");
    close_all(&b);
    setenv("VJ_CPU", "avx512", 1);
    b = open_on("far", 1);
    assert_true(strcmp(vj_device_isa(b.device), "avx512") == 0 || !__builtin_cpu_supports("avx512f"));
    close_all(&b);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("VJ_CPU", "avx1024", 1);
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(3);
        vj_device *d = NULL;
        const vj_status status = vj_device_open(&d, "cpu", 1);
        _exit(status == VJ_OK ? 0 : vj_status_exit_code(status));
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 2);
    if (kept) setenv("VJ_CPU", kept, 1);
    else unsetenv("VJ_CPU");
    free(kept);
}

static void memory_is_zeroed_aligned_counted(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) {
        bench b = open_on(names[i], 1);
        assert_int_equal(vj_device_bytes(b.device), 0);
        static const size_t sizes[] = { 0, 1, 4096, 4097, (size_t)9 << 20 };
        void *address[5];
        int64_t total = 0;
        for (int k = 0; k < 5; k++) {
            assert_ok(vj_device_alloc(b.device, &address[k], sizes[k], "a test"));
            assert_int_equal((uintptr_t)address[k] % 4096, 0);
            total += (int64_t)((sizes[k] + 4095) / 4096 * 4096);
            assert_int_equal(vj_device_bytes(b.device), total);
            char *host = malloc(sizes[k] + 1), *zeros = calloc(sizes[k] + 1, 1);
            memset(host, 'x', sizes[k] + 1);
            assert_ok(vj_copy_to_host(b.st, host, address[k], sizes[k]));
            assert_ok(vj_stream_sync(b.st));
            assert_memory_equal(host, zeros, sizes[k]);
            assert_true(host[sizes[k]] == 'x');
            free(host);
            free(zeros);
        }
        for (int k = 0; k < 5; k++) vj_device_free(b.device, address[k]);
        vj_device_free(b.device, NULL);
        assert_int_equal(vj_device_bytes(b.device), 0);
        close_all(&b);
    }
}

static void memory_that_is_not_there(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) {
        bench b = open_on(names[i], 1);
        static const size_t sizes[] = { (size_t)1 << 50, SIZE_MAX / 2, SIZE_MAX - 5000, SIZE_MAX };
        for (int k = 0; k < 4; k++) {
            void *address = b.st;
            assert_fails(vj_device_alloc(b.device, &address, sizes[k], "saved activations"), VJ_ERR_NOMEM,
                         "no memory for saved activations (");
            assert_non_null(strstr(vj_error_text(), "the machine has"));
            assert_null(address);
        }
        assert_int_equal(vj_device_bytes(b.device), 0);
        close_all(&b);
    }
}

static void copies_run_in_order(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) {
        bench b = open_on(names[i], 1);
        enum { N = 5000 };
        void *one = NULL, *two = NULL;
        assert_ok(vj_device_alloc(b.device, &one, N, "one"));
        assert_ok(vj_device_alloc(b.device, &two, N, "two"));
        unsigned char from[N], to[N], want[N];
        for (int k = 0; k < N; k++) from[k] = (unsigned char)(k * 7 + k / 256);
        memset(to, 255, N);
        memcpy(want, from, N);
        memset(want + 100, 0, 50);
        memcpy(want + 1000, from + 17, 300);
        assert_ok(vj_copy_to_device(b.st, one, from, N));
        assert_ok(vj_copy(b.st, two, one, N));
        assert_ok(vj_zero(b.st, (char *)((uintptr_t)two + 100), 50));
        assert_ok(vj_copy(b.st, (char *)((uintptr_t)two + 1000), (char *)((uintptr_t)one + 17), 300));
        assert_ok(vj_zero(b.st, one, N));
        assert_ok(vj_copy_to_host(b.st, to, two, N));
        assert_ok(vj_stream_sync(b.st));
        assert_memory_equal(to, want, N);
        assert_ok(vj_copy(b.st, NULL, NULL, 0));   // nothing, wherever
        assert_ok(vj_zero(b.st, NULL, 0));
        assert_ok(vj_copy_to_device(b.st, NULL, NULL, 0));
        assert_ok(vj_copy_to_host(b.st, NULL, NULL, 0));
        vj_device_free(b.device, one);
        vj_device_free(b.device, two);
        close_all(&b);
    }
}

static void uploads_and_downloads_convert(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) {
        bench b = open_on(names[i], 1);
        void *address = NULL;
        assert_ok(vj_device_alloc(b.device, &address, 4096, "a tensor"));
        const vj_tensor t = vj_tensor_2d(address, vj_device_real(b.device), 3, 5),
                        none = vj_tensor_2d(address, VJ_F32, 0, 5);
        double in[15], out[15];
        uint16_t half[15];
        for (int k = 0; k < 15; k++) in[k] = 0.25 * k - 1.5;   // exact in every type
        assert_ok(vj_upload(b.st, &t, in, VJ_F64));
        assert_ok(vj_download(b.st, half, VJ_BF16, &t));
        memset(out, 0, sizeof out);
        assert_ok(vj_upload(b.st, &t, half, VJ_BF16));
        assert_ok(vj_download(b.st, out, VJ_F64, &t));
        assert_memory_equal(out, in, sizeof in);
        assert_ok(vj_upload(b.st, &none, NULL, VJ_F64));
        assert_ok(vj_download(b.st, NULL, VJ_F64, &none));
        const int32_t whole[15] = { 0 };
        assert_fails(vj_upload(b.st, &t, whole, VJ_I32), VJ_ERR_BUG, "no conversion from int32");
        vj_device_free(b.device, address);
        close_all(&b);
    }
}

static void events_without_and_with_work(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) {
        bench b = open_on(names[i], 1);
        vj_event *e = NULL;
        vj_stream *other = NULL;
        void *address = NULL;
        char to[64] = { 0 }, from[64];
        memset(from, 'a', sizeof from);
        assert_ok(vj_event_create(b.device, &e));
        assert_ok(vj_stream_create(b.device, &other));
        assert_ok(vj_device_alloc(b.device, &address, 64, "an event's test"));
        assert_ok(vj_event_sync(e));          // never recorded: nothing to wait for
        assert_ok(vj_event_wait(b.st, e));
        for (int round = 0; round < 20; round++, from[0]++) {   // the same event again and again
            assert_ok(vj_copy_to_device(b.st, address, from, 64));
            assert_ok(vj_event_record(e, b.st));
            assert_ok(vj_event_wait(other, e));
            assert_ok(vj_copy_to_host(other, to, address, 64));
            assert_ok(vj_stream_sync(other));
            assert_memory_equal(to, from, 64);
        }
        assert_ok(vj_event_record(e, other));
        assert_ok(vj_event_sync(e));
        vj_event_destroy(&e);
        assert_null(e);
        vj_event_destroy(&e);
        vj_stream_destroy(&other);
        vj_device_free(b.device, address);
        close_all(&b);
    }
}

static void statistics_count_what_ran(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) {
        bench b = open_on(names[i], 1);
        const vj_dtype t = vj_device_real(b.device);
        void *address = NULL;
        assert_ok(vj_device_alloc(b.device, &address, 65536, "statistics"));
        const vj_tensor x = vj_tensor_2d(address, t, 6, 8),
                        w = vj_tensor_2d((char *)((uintptr_t)address + 8192), t, 4, 8),
                        y = vj_tensor_2d((char *)((uintptr_t)address + 16384), t, 6, 4),
                        none = vj_tensor_2d(NULL, t, 0, 8);
        vj_op_stat s[8];
        assert_ok(vj_linear_forward(b.st, &y, &x, &w, NULL, VJ_EPI_NONE, NULL));
        assert_ok(vj_stream_sync(b.st));
        assert_int_equal(vj_device_stats(b.device, s, 8), 0);   // off until asked for
        vj_device_stats_enable(b.device, true);
        for (int k = 0; k < 3; k++) assert_ok(vj_linear_forward(b.st, &y, &x, &w, NULL, VJ_EPI_NONE, NULL));
        assert_ok(vj_gelu_forward(b.st, &y, &y));
        assert_ok(vj_gelu_forward(b.st, &none, &none));   // no elements: never reaches a kernel
        assert_ok(vj_stream_sync(b.st));
        assert_int_equal(vj_device_stats(b.device, s, 1), 1);
        assert_int_equal(vj_device_stats(b.device, s, 8), 2);
        assert_string_equal(s[0].name, "linear_forward");
        assert_int_equal(s[0].calls, 3);
        assert_true(s[0].flop == 3 * 2.0 * 6 * 4 * 8 && s[0].seconds >= 0 && isfinite(s[0].seconds));
        assert_string_equal(s[1].name, "gelu_forward");
        assert_int_equal(s[1].calls, 1);
        assert_true(s[1].flop == 0);
        vj_device_stats_reset(b.device);
        assert_int_equal(vj_device_stats(b.device, s, 8), 0);
        vj_device_stats_enable(b.device, false);
        assert_ok(vj_gelu_forward(b.st, &y, &y));
        assert_ok(vj_stream_sync(b.st));
        assert_int_equal(vj_device_stats(b.device, s, 8), 0);
        vj_device_free(b.device, address);
        close_all(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_say_what_they_are),     cmocka_unit_test(unknown_devices_and_threads),
        cmocka_unit_test(the_choice_of_kernels),         cmocka_unit_test(memory_is_zeroed_aligned_counted),
        cmocka_unit_test(memory_that_is_not_there),      cmocka_unit_test(copies_run_in_order),
        cmocka_unit_test(uploads_and_downloads_convert), cmocka_unit_test(events_without_and_with_work),
        cmocka_unit_test(statistics_count_what_ran),
    };
    return cmocka_run_group_tests_name("runtime/device", tests, NULL, NULL);
}
