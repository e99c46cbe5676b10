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

// Saved by `writers` as their layout cuts; *hash of it.
static void save_cut(const model *m, int writers, char hash[65])
{
    static rank_view views[8];
    const vj_state_part *parts[8];
    const vj_run_state s = state_of(7);
    for (int r = 0; r < writers; r++) {
        view_rank(&views[r], m, r, writers);
        parts[r] = views[r].parts;
    }
    OK(vj_checkpoint_save_as(run_dir, parts, writers, PARTS, &s, m->st, 10, 0));
    hash_of(run_dir, hash);
}

// Whoever holds intervals of any size and beginning gets them: nothing need fit chunks, or anybody else's.
static void intervals_of_any_size_and_beginning(void **state)
{
    (void)state;
    static rank_view view;
    char hash[65];
    model *m = make_model("cpu");
    fill(m, 7);
    save_cut(m, 8, hash);
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    for (int turn = 0; turn < 20; turn++) {
        model *fresh = make_model("cpu");
        // Two readers share every unit at a border of their own; one of them may have nothing.
        for (int half = 0; half < 2; half++) {
            view_rank(&view, fresh, 0, 1);
            for (int p = 0; p < PARTS; p++) {
                for (int u = 0; u < m->parts[p].layout->n_units; u++) {
                    const int64_t n = m->parts[p].layout->units[u].length, cut = turn == 0 ? 0 : (turn * 7919 + p * 31 + u * 17) % (n + 1);
                    view.begin[p][u] = half ? cut : 0;
                    view.shards[p][u] = vj_rows(&fresh->shards[p][u], view.begin[p][u], half ? n - cut : cut);
                }
            }
            OK(vj_checkpoint_load(c, view.parts, PARTS, fresh->st));
        }
        same_values(m, fresh);
        free_model(fresh);
    }
    vj_checkpoint_destroy(&c);
    free_model(m);
}

// ---- what is read of large units ---------------------------------------------------------------------------------------
enum { LARGE = 3200000, READERS = 8 };   // elements of a unit: 12.2 pieces

typedef struct large {
    vj_layout *layouts[2];
    float *values[3];
    vj_tensor shards[READERS][3];
    int64_t begin[READERS][3];
    vj_state_part parts[READERS][3];
} large;

static void cut_large(large *g, int ranks)
{
    for (int r = 0; r < ranks; r++) {
        for (int p = 0; p < 3; p++) {
            const vj_layout *l = g->layouts[p == 1];
            int64_t end;
            vj_layout_owned(l, 0, r, ranks, &g->begin[r][p], &end);
            g->shards[r][p] = vj_tensor_1d(g->values[p] + g->begin[r][p], VJ_F32, end - g->begin[r][p]);
            g->parts[r][p] = (vj_state_part){ .network = vj_ckpt_networks[p], .kind = VJ_STATE_PARAM, .layout = l, .shards = &g->shards[r][p],
                                              .begin = &g->begin[r][p] };
        }
    }
}

static void make_large(large *g)
{
    for (int i = 0; i < 2; i++) {
        OK(vj_layout_create(&g->layouts[i], i ? "predictor" : "encoder", 8));
        OK(vj_layout_unit(g->layouts[i], "large"));
        vj_param q = { .rank = 1, .shape = { LARGE } };
        strcpy(q.name, "large.weight");
        OK(vj_layout_param(g->layouts[i], &q));
    }
    for (int p = 0; p < 3; p++) {
        g->values[p] = calloc((size_t)g->layouts[0]->units[0].length, sizeof *g->values[p]);
        assert_non_null(g->values[p]);
    }
}

static void each_reads_what_it_needs(void **state)
{
    (void)state;
    static large g, back;
    char want[65], hex[65], again[80];
    const vj_run_state s = state_of(7);
    vj_device *d = NULL;
    vj_stream *st = NULL;
    vj_checkpoint *c = NULL;
    OK(vj_device_open(&d, "cpu", 1));
    OK(vj_stream_create(d, &st));
    make_large(&g);
    make_large(&back);
    for (int p = 0; p < 3; p++) {
        for (int64_t i = 0; i < LARGE; i++) g.values[p][i] = (float)(i % 4093) + (float)p;
    }
    snprintf(again, sizeof again, "%s/again", run_dir);
    static const int writers[] = { 8, 1, 3 }, readers[] = { 1, 2, 3, 4, 6, 8 };
    for (int w = 0; w < 3; w++) {
        const vj_state_part *parts[READERS];
        cut_large(&g, writers[w]);
        for (int r = 0; r < READERS; r++) parts[r] = g.parts[r];
        OK(vj_checkpoint_save_as(run_dir, parts, writers[w], 3, &s, st, 10, 0));
        hash_of(run_dir, want);
        OK(vj_checkpoint_open(&c, run_dir, false));
        for (size_t n = 0; n < sizeof readers / sizeof *readers; n++) {
            cut_large(&back, readers[n]);
            for (int p = 0; p < 3; p++) memset(back.values[p], 0, LARGE * sizeof(float));
            int64_t all = 0, most = 0;
            for (int r = 0; r < readers[n]; r++) {
                const int64_t before = vj_checkpoint_bytes_read();
                OK(vj_checkpoint_load(c, back.parts[r], 3, st));
                const int64_t read = vj_checkpoint_bytes_read() - before;
                int64_t needed = 0;
                for (int p = 0; p < 3; p++) needed += (int64_t)vj_tensor_bytes(&back.shards[r][p]);
                assert_true(read >= needed);
                assert_true(read <= needed + 3 * 2 * VJ_CKPT_PIECE);   // a piece at either end of each of three intervals
                all += needed;
                most = read > most ? read : most;
            }
            print_message("saved by %d, read by %d: at most %.2f MB by one of %.2f MB\n", writers[w], readers[n], (double)most * 1e-6, (double)all * 1e-6);
            for (int p = 0; p < 3; p++) assert_memory_equal(back.values[p], g.values[p], LARGE * sizeof(float));
            const vj_state_part *there[READERS];   // saved again by the readers: the same state
            for (int r = 0; r < READERS; r++) there[r] = back.parts[r];
            OK(vj_checkpoint_save_as(again, there, readers[n], 3, &s, st, 10, 0));
            hash_of(again, hex);
            assert_string_equal(hex, want);
            OK(vj_dir_remove(again));
        }
        // A flipped bit in a piece is found by those who need it, and only by them.
        if (writers[w] == 1) {
            char path[700];
            vj_path_join(path, sizeof path, vj_checkpoint_path(c), c->shards[0].name);
            FILE *f = fopen(path, "r+b");
            assert_non_null(f);
            const long at = (long)(c->shards[0].intervals[0].offset + (LARGE - 5) * (int64_t)sizeof(float));
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            const int byte = fgetc(f);
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            assert_true(fputc(byte ^ 16, f) >= 0);
            fclose(f);
            cut_large(&back, 4);
            for (int r = 0; r < 3; r++) OK(vj_checkpoint_load(c, back.parts[r], 3, st));
            assert_int_equal(vj_checkpoint_load(c, back.parts[3], 3, st), VJ_ERR_CHECKPOINT);
            assert_non_null(strstr(vj_error_text(), "encoder/param of unit large is damaged"));
        }
        vj_checkpoint_destroy(&c);
        OK(vj_dir_remove(run_dir));
    }
    OK(vj_dir_create(run_dir));
    for (int i = 0; i < 2; i++) {
        vj_layout_destroy(&g.layouts[i]);
        vj_layout_destroy(&back.layouts[i]);
    }
    for (int p = 0; p < 3; p++) {
        free(g.values[p]);
        free(back.values[p]);
    }
    vj_stream_destroy(&st);
    vj_device_close(&d);
}

// ---- reshard -------------------------------------------------------------------------------------------------------------
static void same_file(const char *dir_a, const char *dir_b, const char *name)
{
    char a[800], b[800], *x, *y;
    size_t n, k;
    vj_path_join(a, sizeof a, dir_a, name);
    vj_path_join(b, sizeof b, dir_b, name);
    OK(vj_file_read(a, &x, &n, 0));
    OK(vj_file_read(b, &y, &k, 0));
    assert_int_equal(n, k);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static void resharded_is_as_written(void **state)
{
    (void)state;
    char hash[65], hex[65], out[80];
    static const char *const devices[] = { "cpu", "ref" };
    for (int d = 0; d < 2; d++) {
        model *m = make_model(devices[d]);
        fill(m, 7);
        for (int from = 1; from <= 8; from += 7) {
            for (int to = 1; to <= 8; to++) {
                vj_checkpoint *c = NULL, *made = NULL, *want = NULL;
                save_cut(m, from, hash);
                OK(vj_checkpoint_open(&c, run_dir, false));
                snprintf(out, sizeof out, "%s/to-%d", run_dir, to);
                OK(vj_checkpoint_reshard(c, out, to));
                hash_of(out, hex);
                assert_string_equal(hex, hash);
                vj_checkpoint_destroy(&c);
                char ckpt[80];
                snprintf(ckpt, sizeof ckpt, "%s/ckpt", run_dir);
                OK(vj_dir_remove(ckpt));
                save_cut(m, to, hash);
                OK(vj_checkpoint_open(&want, run_dir, false));
                OK(vj_checkpoint_open(&made, out, false));
                assert_int_equal(made->n_shards, to);
                for (int r = 0; r < to; r++) same_file(vj_checkpoint_path(want), out, made->shards[r].name);
                vj_checkpoint_destroy(&made);
                vj_checkpoint_destroy(&want);
                OK(vj_dir_remove(ckpt));
                OK(vj_dir_remove(out));
            }
        }
        free_model(m);
    }
}

static void reshard_overwrites_nothing_and_believes_nothing(void **state)
{
    (void)state;
    char hash[65], out[80], path[700];
    model *m = make_model("cpu");
    fill(m, 7);
    save_cut(m, 2, hash);
    vj_checkpoint *c = NULL;
    OK(vj_checkpoint_open(&c, run_dir, false));
    snprintf(out, sizeof out, "%s/out", run_dir);
    OK(vj_dir_create(out));
    assert_int_equal(vj_checkpoint_reshard(c, out, 3), VJ_ERR_USAGE);
    assert_non_null(strstr(vj_error_text(), "exists already"));
    OK(vj_dir_remove(out));
    assert_int_equal(vj_checkpoint_reshard(c, out, 0), VJ_ERR_USAGE);
    vj_path_join(path, sizeof path, vj_checkpoint_path(c), c->shards[1].name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)c->shards[1].intervals[2].offset, SEEK_SET), 0);
    assert_true(fputc(77, f) >= 0);
    fclose(f);
    assert_int_equal(vj_checkpoint_reshard(c, out, 3), VJ_ERR_CHECKPOINT);
    assert_non_null(strstr(vj_error_text(), "damaged"));
    assert_false(vj_path_exists(out));
    vj_checkpoint_destroy(&c);
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
    const struct CMUnitTest tests[] = { T(any_number_of_writers_and_readers), T(intervals_of_any_size_and_beginning),
                                        T(each_reads_what_it_needs), T(resharded_is_as_written), T(reshard_overwrites_nothing_and_believes_nothing), T(absent_moments_count_as_zeros) };
    return cmocka_run_group_tests_name("checkpoints/writers", tests, NULL, NULL);
}
