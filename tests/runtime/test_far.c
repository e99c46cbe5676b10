// The device that stands in for a GPU: host code that touches device memory faults, host code that forgets to wait
// reads stale bytes, order holds inside a stream and across events.

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "runtime/base/clock.h"
#include "runtime/ops/ops.h"
#include "runtime/tensor/device_impl.h"
#include "tests/support/scratch.h"

typedef struct fixture { vj_device *device; vj_stream *st; void *memory; } fixture;
enum { BYTES = 1 << 20 };

static bool held;   // a case that fails in between must not leave the queue locked

// Holds a stream up: it gets an op that cannot start before release(). What is queued behind it has certainly not run.
static void hold(const fixture *f, vj_stream *st)
{
    pthread_mutex_lock(&f->device->kernels);
    held = true;
    const vj_tensor one = vj_tensor_1d((void *)((uintptr_t)f->memory + BYTES - 4096), VJ_F32, 1);
    assert_ok(vj_gelu_forward(st, &one, &one));
}
static void release(const fixture *f)
{
    if (held) pthread_mutex_unlock(&f->device->kernels);
    held = false;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (vj_device_open(&f->device, "far", 2) != VJ_OK || vj_stream_create(f->device, &f->st) != VJ_OK ||
        vj_device_alloc(f->device, &f->memory, BYTES, "tests") != VJ_OK) {
        print_error("%s\n", vj_error_text());
        return -1;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    release(f);
    vj_far_delay(f->device, 0);
    vj_stream_destroy(&f->st);
    vj_device_free(f->device, f->memory);
    vj_device_close(&f->device);
    free(f);
    return 0;
}

static void *at(const fixture *f, size_t offset) { return (void *)((uintptr_t)f->memory + offset); }

// 0: the child lived; else what killed it.
static int signal_of(void (*touch)(volatile char *), volatile char *address)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);   // a sanitizer would catch it
        signal(SIGBUS, SIG_DFL);
        touch(address);
        _exit(0);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFSIGNALED(how) ? WTERMSIG(how) : 0;
}
static void read_it(volatile char *p) { (void)*p; }
static void write_it(volatile char *p) { *p = 1; }

static void the_host_cannot_touch_device_memory(void **state)
{
    const fixture *f = *state;
    char mine = 0;
    assert_int_equal(signal_of(read_it, &mine), 0);
    for (size_t offset = 0; offset <= BYTES; offset += BYTES / 4) {   // the first byte, some between, one beyond
        assert_true(signal_of(read_it, at(f, offset)) != 0);
        assert_true(signal_of(write_it, at(f, offset)) != 0);
    }
    // Arithmetic on addresses stays legal: views and arenas work.
    vj_arena a = vj_arena_over("far", f->memory, BYTES);
    vj_tensor t;
    assert_ok(vj_tensor_alloc_2d(&a, &t, VJ_F32, 10, 10));
    assert_ok(vj_tensor_alloc_2d(&a, &t, VJ_F32, 10, 10));
    assert_ptr_equal(t.data, at(f, 448));
    const vj_tensor r = vj_rows(&t, 3, 2);
    assert_ptr_equal(r.data, at(f, 448 + 120));
    const float in[20] = { 1, 2, 3 };
    float out[20] = { 0 };
    assert_ok(vj_upload(f->st, &r, in, VJ_F32));
    assert_ok(vj_download(f->st, out, VJ_F32, &r));
    assert_memory_equal(in, out, sizeof in);
}

static void without_a_wait_bytes_are_stale(void **state)
{
    const fixture *f = *state;
    char from[16] = "new", to[16] = "old";
    hold(f, f->st);
    assert_ok(vj_copy_to_device(f->st, f->memory, from, sizeof from));
    assert_ok(vj_copy_to_host(f->st, to, f->memory, sizeof to));
    assert_string_equal(to, "old");
    release(f);
    assert_ok(vj_stream_sync(f->st));
    assert_string_equal(to, "new");
}

static void the_host_source_is_read_late(void **state)
{
    const fixture *f = *state;
    char from[16] = "first", to[16] = "";
    hold(f, f->st);
    assert_ok(vj_copy_to_device(f->st, f->memory, from, sizeof from));
    memcpy(from, "second", 7);        // against the rule of device.h: what arrives is not what was meant
    release(f);
    assert_ok(vj_copy_to_host(f->st, to, f->memory, sizeof to));
    assert_ok(vj_stream_sync(f->st));
    assert_string_equal(to, "second");
}

// The delay that other tests switch on, so that a forgotten wait shows: every item waits that long first.
static void a_delay_is_kept(void **state)
{
    const fixture *f = *state;
    vj_far_delay(f->device, 5000);
    const double started = vj_now();
    for (int i = 0; i < 10; i++) assert_ok(vj_zero(f->st, f->memory, 8));
    assert_ok(vj_stream_sync(f->st));
    assert_true(vj_now() - started >= 0.05);
}

// Arguments belong to the queue once the call has returned: tensors and specs of the caller may go.
static void arguments_are_copied(void **state)
{
    const fixture *f = *state;
    enum { N = 100 };
    float p[N], zero[N] = { 0 }, got[N];
    for (int i = 0; i < N; i++) p[i] = (float)i;
    vj_tensor t = vj_tensor_1d(f->memory, VJ_F32, N), m = vj_tensor_1d(at(f, 4096), VJ_F32, N),
              v = vj_tensor_1d(at(f, 8192), VJ_F32, N), g = vj_tensor_1d(at(f, 12288), VJ_F32, N);
    assert_ok(vj_upload(f->st, &t, p, VJ_F32));
    assert_ok(vj_upload(f->st, &m, zero, VJ_F32));
    assert_ok(vj_upload(f->st, &v, zero, VJ_F32));
    assert_ok(vj_upload(f->st, &g, zero, VJ_F32));
    vj_adamw_spec spec = {
        .lr = 0.5, .weight_decay = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .grad_scale = 1, .step = 1
    };
    hold(f, f->st);
    assert_ok(vj_adamw(f->st, &t, &m, &v, &g, &spec));   // gradient 0: only the decay acts, p * (1 - 0.5)
    memset(&spec, 0xff, sizeof spec);
    const vj_tensor kept = t;
    memset(&t, 0, sizeof t);
    release(f);
    assert_ok(vj_download(f->st, got, VJ_F32, &kept));
    for (int i = 0; i < N; i++) assert_true(got[i] == 0.5f * (float)i);
}

static void many_items_keep_their_order(void **state)
{
    const fixture *f = *state;
    enum { N = 5000 };   // many times round the ring
    static int32_t from[N], to[N];
    const int64_t allocations = vj_host_alloc_calls();
    for (int i = 0; i < N; i++) {
        from[i] = i * 3 + 1;
        assert_ok(vj_copy_to_device(f->st, f->memory, &from[i], 4));   // always the same four bytes
        assert_ok(vj_copy_to_host(f->st, &to[i], f->memory, 4));
    }
    assert_ok(vj_stream_sync(f->st));
    assert_memory_equal(from, to, sizeof from);
    assert_int_equal(vj_host_alloc_calls(), allocations);
}

static void a_stream_waits_for_another(void **state)
{
    const fixture *f = *state;
    vj_stream *other = NULL;
    vj_event *e = NULL;
    assert_ok(vj_stream_create(f->device, &other));
    assert_ok(vj_event_create(f->device, &e));
    for (int round = 0; round < 3; round++) {
        char from[8] = "begin", to[8] = "", early[8] = "";
        from[0] = (char)('a' + round);
        hold(f, f->st);
        assert_ok(vj_copy_to_device(f->st, f->memory, from, 8));
        assert_ok(vj_event_record(e, f->st));
        assert_ok(vj_copy_to_host(other, early, f->memory, 8));   // asks nobody
        assert_ok(vj_stream_sync(other));
        assert_true(memcmp(early, from, 8) != 0);
        assert_ok(vj_event_wait(other, e));
        assert_ok(vj_copy_to_host(other, to, f->memory, 8));
        assert_string_equal(to, "");
        release(f);
        assert_ok(vj_stream_sync(other));
        assert_memory_equal(to, from, 8);
        assert_ok(vj_stream_sync(f->st));
    }
    vj_event_destroy(&e);
    vj_stream_destroy(&other);
}

static void an_event_is_waited_for_by_the_host(void **state)
{
    const fixture *f = *state;
    vj_event *e = NULL;
    assert_ok(vj_event_create(f->device, &e));
    char from[8] = "event", to[8] = "", last[8] = "";
    vj_far_delay(f->device, 5000);
    assert_ok(vj_copy_to_device(f->st, f->memory, from, 8));
    assert_ok(vj_copy_to_host(f->st, to, f->memory, 8));
    assert_ok(vj_event_record(e, f->st));
    hold(f, f->st);
    assert_ok(vj_copy_to_host(f->st, last, f->memory, 8));
    assert_ok(vj_event_sync(e));
    assert_string_equal(to, "event");
    assert_string_equal(last, "");   // the event does not wait for what was queued after it
    release(f);
    assert_ok(vj_stream_sync(f->st));
    assert_string_equal(last, "event");
    vj_event_destroy(&e);
}

static void closing_a_stream_finishes_its_work(void **state)
{
    const fixture *f = *state;
    vj_stream *st = NULL;
    char from[8] = "done", to[8] = "";
    assert_ok(vj_stream_create(f->device, &st));
    vj_far_delay(f->device, 5000);
    for (int i = 0; i < 10; i++) assert_ok(vj_copy_to_device(st, f->memory, from, 8));
    assert_ok(vj_copy_to_host(st, to, f->memory, 8));
    vj_stream_destroy(&st);
    assert_string_equal(to, "done");
}

// Two streams share one pool and one scratch: kernels must not meet. The products on each stream must have the bits
// that the plain device gives.
static void two_streams_share_the_pool(void **state)
{
    const fixture *f = *state;
    enum { R = 64, C = 96, N = R * C, W = C * C, ROUNDS = 20 };
    static float x[2][N], w[W], got[2][N], want[2][N];
    for (int i = 0; i < N; i++) {
        x[0][i] = (float)(i % 37) / 37 - 0.5f;
        x[1][i] = (float)(i % 41) / 41 - 0.5f;
    }
    for (int i = 0; i < W; i++) w[i] = (float)(i % 29) / 290 - 0.05f;
    vj_stream *streams[2] = { f->st, NULL };
    assert_ok(vj_stream_create(f->device, &streams[1]));
    vj_device *cpu = NULL;
    vj_stream *plain = NULL;
    void *memory = NULL;
    assert_ok(vj_device_open(&cpu, "cpu", 1));
    assert_ok(vj_stream_create(cpu, &plain));
    assert_ok(vj_device_alloc(cpu, &memory, BYTES, "tests"));
    const vj_tensor weight = vj_tensor_2d(at(f, 0), VJ_F32, C, C), plain_weight = vj_tensor_2d(memory, VJ_F32, C, C);
    assert_ok(vj_upload(f->st, &weight, w, VJ_F32));
    assert_ok(vj_upload(plain, &plain_weight, w, VJ_F32));
    vj_tensor a[2], b[2], pa, pb;
    for (int s = 0; s < 2; s++) {
        a[s] = vj_tensor_2d(at(f, 65536 * (size_t)(1 + 2 * s)), VJ_F32, R, C);
        b[s] = vj_tensor_2d(at(f, 65536 * (size_t)(2 + 2 * s)), VJ_F32, R, C);
        assert_ok(vj_upload(streams[s], &a[s], x[s], VJ_F32));
        pa = vj_tensor_2d((char *)memory + 65536, VJ_F32, R, C);
        pb = vj_tensor_2d((char *)memory + 131072, VJ_F32, R, C);
        assert_ok(vj_upload(plain, &pa, x[s], VJ_F32));
        for (int k = 0; k < ROUNDS; k++) {
            assert_ok(vj_linear_forward(plain, &pb, &pa, &plain_weight, NULL, VJ_EPI_GELU, NULL));
            assert_ok(vj_linear_forward(plain, &pa, &pb, &plain_weight, NULL, VJ_EPI_ADD, &pa));
        }
        assert_ok(vj_download(plain, want[s], VJ_F32, &pa));
    }
    for (int k = 0; k < ROUNDS; k++) {
        for (int s = 0; s < 2; s++) {
            assert_ok(vj_linear_forward(streams[s], &b[s], &a[s], &weight, NULL, VJ_EPI_GELU, NULL));
            assert_ok(vj_linear_forward(streams[s], &a[s], &b[s], &weight, NULL, VJ_EPI_ADD, &a[s]));
        }
    }
    for (int s = 0; s < 2; s++) {
        assert_ok(vj_download(streams[s], got[s], VJ_F32, &a[s]));
        assert_memory_equal(got[s], want[s], sizeof want[s]);
    }
    vj_stream_destroy(&streams[1]);
    vj_device_free(cpu, memory);
    vj_stream_destroy(&plain);
    vj_device_close(&cpu);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(the_host_cannot_touch_device_memory),
        CASE(without_a_wait_bytes_are_stale),
        CASE(the_host_source_is_read_late),
        CASE(a_delay_is_kept),
        CASE(arguments_are_copied),
        CASE(many_items_keep_their_order),
        CASE(a_stream_waits_for_another),
        CASE(an_event_is_waited_for_by_the_host),
        CASE(closing_a_stream_finishes_its_work),
        CASE(two_streams_share_the_pool),
    };
    return cmocka_run_group_tests_name("runtime/far", tests, NULL, NULL);
}
