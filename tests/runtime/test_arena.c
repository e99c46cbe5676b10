// Arenas: alignment, marks, measuring, ends; counted host memory.

#include "runtime/base/arena.h"

#include <string.h>

#include "tests/support/scratch.h"

static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    _Alignas(64) static char memory[4096];
    vj_arena a = vj_arena_over("test", memory, sizeof memory);
    char *before = NULL;
    for (size_t bytes = 0; bytes < 200; bytes += 33) {
        void *p;
        assert_ok(vj_arena_alloc(&a, &p, bytes));
        assert_int_equal((uintptr_t)p % VJ_ALIGN, 0);
        assert_true((char *)p >= memory && (char *)p + bytes <= memory + sizeof memory);
        if (before) assert_true((char *)p >= before);
        memset(p, 0x5a, bytes);
        before = (char *)p + bytes;
    }
    assert_int_equal(a.used % VJ_ALIGN, 0);
}

static void marks_give_back(void **state)
{
    (void)state;
    _Alignas(64) char memory[1024];
    vj_arena a = vj_arena_over("test", memory, sizeof memory);
    void *p, *q, *r;
    assert_ok(vj_arena_alloc(&a, &p, 64));
    const vj_mark mark = vj_arena_mark(&a);
    assert_ok(vj_arena_alloc(&a, &q, 512));
    vj_arena_reset(&a, mark);
    assert_ok(vj_arena_alloc(&a, &r, 64));
    assert_ptr_equal(q, r);
    assert_int_equal(a.used, 128);
    assert_int_equal(a.peak, 576);
}

static void the_end_is_an_error(void **state)
{
    (void)state;
    _Alignas(64) char memory[256];
    vj_arena a = vj_arena_over("saved", memory, sizeof memory);
    void *p;
    assert_ok(vj_arena_alloc(&a, &p, 192));
    assert_fails(vj_arena_alloc(&a, &p, 65), VJ_ERR_NOMEM, "arena saved: 65 bytes wanted, 64 of 256 left");
    assert_fails(vj_arena_alloc(&a, &p, SIZE_MAX), VJ_ERR_NOMEM, "arena saved");         // rounding up must not wrap
    assert_fails(vj_arena_alloc(&a, &p, SIZE_MAX - 100), VJ_ERR_NOMEM, "arena saved");
    assert_int_equal(a.used, 192);
    assert_ok(vj_arena_alloc(&a, &p, 64));
}

// A dry run needs exactly what the real run needs.
static size_t use(vj_arena *a)
{
    void *p;
    assert_ok(vj_arena_alloc(a, &p, 100));
    for (int i = 0; i < 3; i++) {
        const vj_mark mark = vj_arena_mark(a);
        assert_ok(vj_arena_alloc(a, &p, 1000 * (size_t)(i + 1)));
        vj_arena_reset(a, mark);
    }
    return a->peak;
}

static void measuring_is_exact(void **state)
{
    (void)state;
    vj_arena dry = vj_arena_measure("dry");
    assert_true(vj_arena_measuring(&dry));
    const size_t need = use(&dry);
    assert_int_equal(need, 128 + 3008);
    char *memory = NULL;
    assert_ok(vj_host_alloc(&memory, need, "a test"));
    vj_arena real = vj_arena_over("real", memory, need);
    assert_false(vj_arena_measuring(&real));
    assert_int_equal(use(&real), need);
    void *p;
    assert_ok(vj_arena_alloc(&dry, &p, (size_t)1 << 50));   // never fails
    assert_non_null(p);
    vj_host_free(memory);
}

static void host_memory_is_zero_aligned_counted(void **state)
{
    (void)state;
    const int64_t calls = vj_host_alloc_calls();
    unsigned char *p = NULL;
    assert_ok(vj_host_alloc(&p, 1000, "a test"));
    assert_int_equal((uintptr_t)p % VJ_ALIGN, 0);
    for (int i = 0; i < 1000; i++) assert_int_equal(p[i], 0);
    vj_host_free(p);
    assert_ok(vj_host_alloc(&p, 0, "nothing"));
    assert_non_null(p);
    vj_host_free(p);
    vj_host_free(NULL);
    assert_int_equal(vj_host_alloc_calls() - calls, 2);
    assert_fails(vj_host_alloc(&p, SIZE_MAX - 10, "the moon"), VJ_ERR_NOMEM, "the moon");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(marks_give_back),
        cmocka_unit_test(the_end_is_an_error),
        cmocka_unit_test(measuring_is_exact),
        cmocka_unit_test(host_memory_is_zero_aligned_counted),
    };
    return cmocka_run_group_tests_name("runtime/arena", tests, NULL, NULL);
}
