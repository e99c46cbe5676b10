// The pool runs every task once and nothing after it returned; the queue keeps order, bounds and its end.

#include "runtime/base/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/support/scratch.h"

enum { TASKS = 2000 };

typedef struct work {
    atomic_int done[TASKS];
    atomic_int inside[8];     // by worker: two tasks at once on one worker share its scratch
    atomic_int wrong;
    int threads;
} work;

static void task(void *context, int64_t i, int worker)
{
    work *w = context;
    if (worker < 0 || worker >= w->threads || atomic_fetch_add(&w->inside[worker], 1) != 0) atomic_fetch_add(&w->wrong, 1);
    atomic_fetch_add(&w->done[i], 1);
    if (worker >= 0 && worker < w->threads) atomic_fetch_sub(&w->inside[worker], 1);
}

static void every_task_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        vj_pool *pool = NULL;
        assert_ok(vj_pool_create(&pool, threads, NULL));
        assert_int_equal(vj_pool_threads(pool), threads);
        static work w;
        memset(&w, 0, sizeof w);
        w.threads = threads;
        for (int round = 1; round <= 3; round++) {
            vj_pool_run(pool, TASKS, task, &w);
            for (int i = 0; i < TASKS; i++) assert_int_equal(w.done[i], round);
        }
        vj_pool_run(pool, 0, task, &w);
        assert_int_equal(w.wrong, 0);
        vj_pool_destroy(&pool);
        assert_null(pool);
        vj_pool_destroy(&pool);
    }
}

typedef struct sums { int64_t value[16]; int64_t total; } sums;
static void add_one(void *context, int64_t i, int worker)
{
    (void)worker;
    ((sums *)context)->value[i]++;   // plain memory: a race shows under ThreadSanitizer
}

// Training is made of very many very short loops: none may be lost, and each sees what the one before wrote.
static void many_short_loops(void **state)
{
    (void)state;
    vj_pool *pool = NULL;
    assert_ok(vj_pool_create(&pool, 3, NULL));
    sums s = { 0 };
    for (int loop = 0; loop < 3000; loop++) {
        vj_pool_run(pool, 1 + loop % 16, add_one, &s);
        if (loop % 500 == 0) usleep(2000);   // long enough for the workers to fall asleep
    }
    for (int i = 0; i < 16; i++) s.total += s.value[i];
    int64_t want = 0;
    for (int loop = 0; loop < 3000; loop++) want += 1 + loop % 16;
    assert_true(s.total == want);
    vj_pool_destroy(&pool);
}

static atomic_int started;
static void count_start(void) { atomic_fetch_add(&started, 1); }

static void workers_start_once(void **state)
{
    (void)state;
    vj_pool *pool = NULL;
    started = 0;
    assert_ok(vj_pool_create(&pool, 4, count_start));
    static work w;
    w.threads = 4;
    vj_pool_run(pool, 100, task, &w);
    vj_pool_destroy(&pool);
    assert_in_range(started, 3, 4);   // the three workers, and the caller when the pool counts it
}

static void a_queue_keeps_order_and_its_end(void **state)
{
    (void)state;
    vj_queue *q = NULL;
    int item[4];
    void *p = NULL;
    assert_ok(vj_queue_create(&q, 3));
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 3; i++) assert_true(vj_queue_push(q, &item[i]));
        for (int i = 0; i < 3; i++) {
            assert_true(vj_queue_pop(q, &p));
            assert_ptr_equal(p, &item[i]);
        }
    }
    assert_true(vj_queue_push(q, &item[3]));
    vj_queue_close(q);
    assert_false(vj_queue_push(q, &item[0]));
    assert_true(vj_queue_pop(q, &p));   // what was there is still given out
    assert_ptr_equal(p, &item[3]);
    assert_false(vj_queue_pop(q, &p));
    vj_queue_destroy(&q);
    vj_queue_destroy(&q);
}

static char items[3000];
static void *produce(void *queue)
{
    for (int i = 0; i < 1000; i++) {
        if (!vj_queue_push(queue, &items[i])) return (void *)1;
    }
    return NULL;
}
static void *consume(void *queue)
{
    int64_t n = 0;
    for (void *p; vj_queue_pop(queue, &p); n++) *(char *)p += 1;
    return (void *)(intptr_t)n;
}

static void a_queue_between_threads(void **state)
{
    (void)state;
    vj_queue *q = NULL;
    pthread_t producer, consumer[2];
    assert_ok(vj_queue_create(&q, 2));
    memset(items, 0, sizeof items);
    assert_int_equal(pthread_create(&producer, NULL, produce, q), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&consumer[i], NULL, consume, q), 0);
    void *result, *count[2];
    assert_int_equal(pthread_join(producer, &result), 0);
    assert_null(result);
    vj_queue_close(q);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(consumer[i], &count[i]), 0);
    assert_int_equal((intptr_t)count[0] + (intptr_t)count[1], 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(items[i], 1);
    vj_queue_destroy(&q);
}

static void *push_twice(void *queue) { return (void *)(intptr_t)(vj_queue_push(queue, items) && vj_queue_push(queue, items)); }

static void closing_wakes_those_who_wait(void **state)
{
    (void)state;
    vj_queue *full = NULL, *empty = NULL;
    pthread_t pusher, popper;
    void *pushed, *popped;
    assert_ok(vj_queue_create(&full, 1));
    assert_ok(vj_queue_create(&empty, 1));
    assert_int_equal(pthread_create(&pusher, NULL, push_twice, full), 0);
    assert_int_equal(pthread_create(&popper, NULL, consume, empty), 0);
    usleep(5000);   // most likely both wait by now; either way they must end
    vj_queue_close(full);
    vj_queue_close(empty);
    assert_int_equal(pthread_join(pusher, &pushed), 0);
    assert_int_equal(pthread_join(popper, &popped), 0);
    assert_null(pushed);
    assert_null(popped);
    vj_queue_destroy(&full);
    vj_queue_destroy(&empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(many_short_loops),
        cmocka_unit_test(workers_start_once),
        cmocka_unit_test(a_queue_keeps_order_and_its_end),
        cmocka_unit_test(a_queue_between_threads),
        cmocka_unit_test(closing_wakes_those_who_wait),
    };
    return cmocka_run_group_tests_name("runtime/thread", tests, NULL, NULL);
}
