// Records of ranks: the ring, reading what is cut or flipped, and which rank is named, with clocks that differ.

#include "jobs/train/flight.h"

#include <string.h>

#include "runtime/base/clock.h"
#include "tests/support/scratch.h"

static char path[640];

static vj_flight *made(void **state, int rank, int size)
{
    vj_flight *f;
    vj_path_join(path, sizeof path, *state, "rank.rec");
    assert_ok(vj_flight_create(&f, path, rank, size));
    return f;
}

static void operation(vj_flight *f, uint64_t seq, bool ends)
{
    vj_comm_event e = { .seq = seq, .op = "reduce-scatter", .what = "encoder", .unit = 7, .bytes = 4096, .comm = "world", .size = 4, .asked = 1, .began = 2 };
    vj_flight_observe(f, &e);
    e.ended = 3;
    if (ends) vj_flight_observe(f, &e);
}

static void the_ring(void **state)
{
    vj_flight *f = made(state, 1, 4);
    vj_flight_rank r;
    assert_ok(vj_flight_read(&r, path));
    assert_false(r.has_last || r.gone || r.stopped);
    for (uint64_t seq = 1; seq <= 3 * VJ_FLIGHT_ENTRIES + 5; seq++) operation(f, seq, true);
    operation(f, 3 * VJ_FLIGHT_ENTRIES + 6, false);
    assert_ok(vj_flight_read(&r, path));
    assert_true(r.has_last && r.unfinished && r.last.seq == 3 * VJ_FLIGHT_ENTRIES + 6 && r.last.unit == 7);
    assert_string_equal(r.last.what, "encoder");
    assert_int_equal(r.page.progress, 3 * VJ_FLIGHT_ENTRIES + 5);
    assert_true(f->ring[0].seq == 3 * VJ_FLIGHT_ENTRIES + 1 && f->ring[VJ_FLIGHT_ENTRIES - 1].seq == 3 * VJ_FLIGHT_ENTRIES);
    vj_flight_destroy(&f);
}

// Every cut is refused, every flipped byte read without harm, and what is printed stays clean.
static void damage(void **state)
{
    vj_flight *f = made(state, 0, 2);
    operation(f, 1, false);
    vj_flight_destroy(&f);
    char *bytes = NULL;
    size_t n = 0;
    assert_ok(vj_file_read(path, &bytes, &n, 0));
    vj_flight_rank r[2];
    for (size_t cut = 0; cut < n; cut += 1 + cut * 3) {
        assert_ok(vj_file_write_atomic(path, bytes, cut));
        assert_fails(vj_flight_read(&r[0], path), VJ_ERR_DATA, "is cut short");
    }
    int refused = 0;
    for (size_t at = 0; at < sizeof(vj_flight_page) + sizeof(vj_flight_entry); at++) {
        const char was = bytes[at];
        bytes[at] = (char)~was;
        FILE *out = fopen(path, "w");
        assert_non_null(out);
        assert_int_equal(fwrite(bytes, 1, n, out), n);
        fclose(out);
        bytes[at] = was;
        if (vj_flight_read(&r[0], path) != VJ_OK) {
            refused++;
            continue;
        }
        vj_str text = { 0 };
        (void)vj_flight_judge(r, 1, vj_wall(), 10, &text);
        for (const char *c = vj_str_text(&text); *c; c++) assert_true(*c >= ' ' && *c <= '~');
        vj_str_free(&text);
    }
    assert_true(refused > 40);
    free(bytes);
}

static vj_flight_rank rank_of(int rank, double alive, uint64_t seq, bool unfinished)
{
    vj_flight_rank r = { .page = { .rank = rank, .size = 4, .pid = 100 + rank, .phase = VJ_LIFE_STEP, .step = 10, .slot = 2, .alive_wall = alive, .progress_wall = alive },
                         .has_last = true, .unfinished = unfinished, .last = { .seq = seq, .unit = 3, .bytes = 64 } };
    vj_format(r.page.host, sizeof r.page.host, "node%d", rank / 2);
    vj_format(r.last.op, sizeof r.last.op, "all-gather");
    vj_format(r.last.what, sizeof r.last.what, "encoder");
    vj_format(r.last.comm, sizeof r.last.comm, "world");
    return r;
}

static void judged(vj_flight_rank *r, int want, const char *part)
{
    vj_str text = { 0 };
    assert_int_equal(vj_flight_judge(r, 4, 1000, 10, &text), want);
    if (!strstr(vj_str_text(&text), part)) fail_msg("'%s' is not in: %s", part, vj_str_text(&text));
    vj_str_free(&text);
}

static void verdicts(void **state)
{
    (void)state;
    vj_flight_rank r[4];
#define FRESH for (int i = 0; i < 4; i++) r[i] = rank_of(i, 999 + i / 2 * 0.5, 50, false)
    FRESH;   // the other machine's clock is ahead
    judged(r, -1, "all 4 ranks show signs of life");
    for (int i = 0; i < 4; i++) r[i].page.phase = VJ_LIFE_END;
    judged(r, -1, "have ended as they should");
    FRESH;
    r[3].page.alive_wall = 900;
    judged(r, 3, "rank 3 (pid 103 on node1) shows no sign of life; it is in phase step of step 10, slot 2");
    FRESH;
    r[2].stopped = true;
    for (int i = 0; i < 4; i++) r[i].unfinished = i != 2, r[i].last.seq = i == 2 ? 50 : 51;
    judged(r, 2, "the first unfinished operation is operation 51 (all-gather of encoder, unit 3, 64 bytes, world)");
    FRESH;
    r[1].gone = true;
    judged(r, 1, "its process is gone");
    FRESH;   // alive, but it has not asked for what the others wait in
    for (int i = 0; i < 4; i++) r[i].unfinished = i != 1, r[i].last.seq = i == 1 ? 50 : 51, r[i].page.progress_wall = 900;
    judged(r, 1, "is behind the others");
    FRESH;   // all are gone: who fell silent before
    for (int i = 0; i < 4; i++) r[i].gone = true;
    r[0].page.alive_wall = 980;
    judged(r, 0, "rank 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_ring), cmocka_unit_test(damage), cmocka_unit_test(verdicts) };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
