// A state written by several writers and read by several readers, in one process; states without moments.

#include "tests/checkpoints/state_fixture.h"

// What rank `r` of `world` holds of a model: views into it, the last chunks going to whom the layout says.
typedef struct rank_view {
    vj_tensor shards[PARTS][UNITS];
    int64_t begin[PARTS][UNITS];
    vj_state_part parts[PARTS];
} rank_view;

static void view_rank(rank_view *v, const model *m, int r, int world)
{
    for (int p = 0; p < PARTS; p++) {
        for (int u = 0; u < m->parts[p].layout->n_units; u++) {
            int64_t end = 0;
            vj_layout_owned(m->parts[p].layout, u, r, world, &v->begin[p][u], &end);
            v->shards[p][u] = vj_rows(&m->shards[p][u], v->begin[p][u], end - v->begin[p][u]);
        }
        v->parts[p] = m->parts[p];
        v->parts[p].shards = v->shards[p];
        v->parts[p].begin = v->begin[p];
    }
}

// Two chunks a unit: with 3 and 5 writers some hold nothing of it.
static void any_number_of_writers_and_readers(void **state)
{
    (void)state;
    static rank_view views[5];
    const vj_state_part *parts[5];
    char first[65], hex[65];
    model *m = make_model("cpu");
    fill(m, 7);
    const vj_run_state s = state_of(7);
    for (int writers = 1; writers <= 5; writers++) {
        for (int r = 0; r < writers; r++) {
            view_rank(&views[r], m, r, writers);
            parts[r] = views[r].parts;
        }
        OK(vj_checkpoint_save_as(run_dir, parts, writers, PARTS, &s, m->st, 10, 0));
        newest_is(7);
        hash_of(run_dir, writers == 1 ? first : hex);
        if (writers > 1) assert_string_equal(hex, first);
        vj_checkpoint *c = NULL;
        OK(vj_checkpoint_open(&c, run_dir, false));
        assert_int_equal(c->n_shards, writers);
        for (int readers = 1; readers <= 3; readers++) {
            model *fresh = make_model("cpu");
            for (int r = 0; r < readers; r++) {
                view_rank(&views[r], fresh, r, readers);
                OK(vj_checkpoint_load(c, views[r].parts, PARTS, fresh->st));
            }
            same_values(m, fresh);
            free_model(fresh);
        }
        vj_checkpoint_destroy(&c);
        OK(vj_dir_remove(run_dir));
    }
    OK(vj_dir_create(run_dir));
    free_model(m);
}

static void absent_moments_count_as_zeros(void **state)
{
    (void)state;
    char want[65], got[65];
    const vj_run_state s = state_of(7);
    model *m = make_model("cpu");
    fill(m, 7);
    static const double zeros[1024];
    for (int p = 0; p < PARTS; p++) {
        for (int u = 0; u < m->parts[p].layout->n_units; u++) {
            if (m->parts[p].kind != VJ_STATE_PARAM) OK(vj_upload(m->st, &m->shards[p][u], zeros, VJ_F64));
        }
    }
    OK(vj_checkpoint_save(run_dir, m->parts, PARTS, &s, m->st, 10, 0));
    hash_of(run_dir, want);
    OK(vj_dir_remove(run_dir));
    const vj_state_part weights[] = { m->parts[0], m->parts[3], m->parts[6] };
    OK(vj_checkpoint_save(run_dir, weights, 3, &s, m->st, 10, 0));
    hash_of(run_dir, got);
    assert_string_equal(got, want);
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    OK(vj_checkpoint_load(c, weights, 3, m->st));
    assert_int_equal(vj_checkpoint_load(c, m->parts, PARTS, m->st), VJ_ERR_CHECKPOINT);
    assert_non_null(strstr(vj_error_text(), "exp_avg"));
    vj_checkpoint_destroy(&c);
    free_model(m);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, scratch, scratch_away)
    const struct CMUnitTest tests[] = { T(any_number_of_writers_and_readers), T(absent_moments_count_as_zeros) };
    return cmocka_run_group_tests_name("checkpoints/writers", tests, NULL, NULL);
}
