// Spans of a thread: nested, out of room, left open by an error, and of no thread that did not ask.

#include "runtime/log/timeline.h"

#include <pthread.h>
#include <string.h>

#include "tests/support/scratch.h"

static void expect(const vj_timeline *t, int64_t i, const char *name, int64_t index, int depth)
{
    const vj_span *s = &t->spans[i];
    if (strcmp(s->name, name) != 0 || s->index != index || s->depth != depth)
        fail_msg("span %d: %s %d at depth %d", (int)i, s->name, (int)s->index, s->depth);
    assert_true(s->begin > 0 && s->end >= s->begin);
}

static void spans_nest(void **state)
{
    (void)state;
    vj_timeline *t = NULL;
    vj_span_begin("before", -1);   // nobody wants it
    vj_span_end("before");
    assert_ok(vj_timeline_create(&t, 8));
    vj_timeline_use(t);
    vj_span_begin("step", 7);
    for (int i = 0; i < 2; i++) {
        vj_span_begin("slot", i);
        vj_span_begin("loss", -1);
        vj_span_end("loss");
        vj_span_end("slot");
    }
    vj_span_end("step");
    vj_timeline_use(NULL);
    vj_span_begin("after", -1);
    vj_span_end("after");
    assert_int_equal(t->n, 5);
    assert_int_equal(t->dropped, 0);
    expect(t, 0, "step", 7, 0);
    expect(t, 1, "slot", 0, 1);
    expect(t, 2, "loss", -1, 2);
    expect(t, 3, "slot", 1, 1);
    expect(t, 4, "loss", -1, 2);
    assert_true(t->spans[1].end <= t->spans[3].begin && t->spans[4].end <= t->spans[3].end && t->spans[3].end <= t->spans[0].end);
    vj_timeline_destroy(&t);
    assert_null(t);
    vj_timeline_destroy(&t);
}

// A function that returned early ended nothing: what is around it does. An end without a beginning is nobody's.
static void open_spans_end_with_the_one_around(void **state)
{
    (void)state;
    vj_timeline *t = NULL;
    assert_ok(vj_timeline_create(&t, 8));
    vj_timeline_use(t);
    vj_span_end("step");
    vj_span_begin("step", 1);
    vj_span_begin("slot", 0);
    vj_span_begin("block", 3);
    vj_span_end("step");
    vj_span_begin("step", 2);
    vj_span_end("step");
    assert_int_equal(t->n, 4);
    expect(t, 0, "step", 1, 0);
    expect(t, 1, "slot", 0, 1);
    expect(t, 2, "block", 3, 2);
    expect(t, 3, "step", 2, 0);
    vj_timeline_destroy(&t);   // while it is used: nothing is kept any more
    vj_span_begin("step", 3);
    vj_span_end("step");
}

static void what_finds_no_room_is_counted(void **state)
{
    (void)state;
    vj_timeline *t = NULL;
    assert_ok(vj_timeline_create(&t, 3));
    vj_timeline_use(t);
    vj_span_begin("step", 1);
    for (int i = 0; i < 5; i++) {
        vj_span_begin("slot", i);
        vj_span_begin("loss", -1);
        vj_span_end("loss");
        vj_span_end("slot");
    }
    vj_span_end("step");
    vj_timeline_use(NULL);
    assert_int_equal(t->n, 3);
    assert_int_equal(t->dropped, 8);
    expect(t, 0, "step", 1, 0);
    expect(t, 2, "loss", -1, 2);
    assert_true(t->spans[0].end >= t->spans[1].end && t->spans[1].end >= t->spans[2].end);
    vj_timeline_destroy(&t);
}

static void *other_thread(void *context)
{
    (void)context;
    vj_span_begin("elsewhere", -1);
    vj_span_end("elsewhere");
    return NULL;
}

static void each_thread_has_its_own(void **state)
{
    (void)state;
    vj_timeline *t = NULL;
    pthread_t thread;
    assert_ok(vj_timeline_create(&t, 8));
    vj_timeline_use(t);
    vj_span_begin("here", -1);
    assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
    pthread_join(thread, NULL);
    vj_span_end("here");
    assert_int_equal(t->n, 1);
    vj_timeline_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_nest),
        cmocka_unit_test(open_spans_end_with_the_one_around),
        cmocka_unit_test(what_finds_no_room_is_counted),
        cmocka_unit_test(each_thread_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
