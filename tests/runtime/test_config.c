// The configuration engine: sources in order, origins, every kind of value, every kind of mistake, resolved text.

#include "runtime/config/config.h"

#include <string.h>

#include "tests/support/scratch.h"

typedef struct part_a { int64_t seed, threads; double lr; bool flip; int mode; char name[16]; } part_a;
typedef struct part_b { vj_int_list blocks; vj_float_list scales; vj_weight_list weights, shares; char dir[VJ_TEXT_MAX]; } part_b;
typedef struct root { part_a a; part_b b; } root;

static const char *const modes[] = { "slow", "fast", NULL };
static const vj_field fields_a[] = {
    { .key = "seed", .kind = VJ_FIELD_INT, .offset = offsetof(part_a, seed), .i = { 239, 0, INT64_C(1) << 62 } },
    { .key = "threads", .kind = VJ_FIELD_INT, .offset = offsetof(part_a, threads), .i = { -1, 1, 64 }, .flags = VJ_FIELD_AUTO | VJ_FIELD_MAY_CHANGE },
    { .key = "optim.lr", .kind = VJ_FIELD_FLOAT, .offset = offsetof(part_a, lr), .f = { 0.1, 0, 1 } },
    { .key = "optim.flip", .kind = VJ_FIELD_BOOL, .offset = offsetof(part_a, flip), .b = true },
    { .key = "optim.mode", .kind = VJ_FIELD_ENUM, .offset = offsetof(part_a, mode), .names = modes, .i = { 1, 0, 1 } },
    { .key = "name", .kind = VJ_FIELD_TEXT, .offset = offsetof(part_a, name), .text = "plain", .i = { 0, 0, 16 } },
    { .kind = VJ_FIELD_END },
};
static const vj_field fields_b[] = {
    { .key = "data.blocks", .kind = VJ_FIELD_INT_LIST, .offset = offsetof(part_b, blocks), .text = "[8, 2]", .i = { 0, 1, 100 } },
    { .key = "data.scales", .kind = VJ_FIELD_FLOAT_LIST, .offset = offsetof(part_b, scales), .text = "[0.75, 1.5]", .f = { 0, 0, 10 } },
    { .key = "data.weights", .kind = VJ_FIELD_WEIGHTS, .offset = offsetof(part_b, weights), .f = { 0, 0, 1e9 } },
    { .key = "data.shares", .kind = VJ_FIELD_WEIGHTS, .offset = offsetof(part_b, shares) },   // no range: any that is not negative
    { .key = "data.dir", .kind = VJ_FIELD_TEXT, .offset = offsetof(part_b, dir), .flags = VJ_FIELD_REQUIRED },
    { .kind = VJ_FIELD_END },
};
static const vj_config_part parts[] = { { fields_a, offsetof(root, a) }, { fields_b, offsetof(root, b) } };

static char dir[4096];
static root r;
static vj_config *config;

static const char *write_file(const char *name, const char *text)
{
    static char path[2][4200];
    static int turn;
    char *out = path[turn++ % 2];
    vj_path_join(out, sizeof path[0], dir, name);
    assert_ok(vj_file_write_atomic(out, text, strlen(text)));
    return out;
}

static vj_status load(const char *path, int n, const char *const *overrides)
{
    vj_config_destroy(&config);
    memset(&r, 0x5a, sizeof r);
    return vj_config_load(&config, &r, parts, 2, path, overrides, n);
}
#define OVER(...) (int)(sizeof (const char *[]){ __VA_ARGS__ } / sizeof(char *)), (const char *[]){ __VA_ARGS__ }
#define YAML(text) write_file("test.yaml", text), 1, (const char *[]){ "data.dir=d" }

static int setup(void **state)
{
    if (scratch_setup(state) != 0) return -1;
    vj_format(dir, sizeof dir, "%s", (const char *)*state);
    return 0;
}
static int teardown(void **state)
{
    vj_config_destroy(&config);
    return scratch_teardown(state);
}

static void defaults(void **state)
{
    (void)state;
    assert_ok(load(NULL, OVER("data.dir=x y")));
    assert_true(r.a.seed == 239 && r.a.threads == -1 && r.a.lr == 0.1 && r.a.flip && r.a.mode == 1);
    assert_string_equal(r.a.name, "plain");
    assert_true(r.b.blocks.n == 2 && r.b.blocks.v[0] == 8 && r.b.blocks.v[1] == 2);
    assert_true(r.b.scales.n == 2 && r.b.scales.v[0] == 0.75 && r.b.scales.v[1] == 1.5);
    assert_int_equal(r.b.weights.n, 0);
    assert_string_equal(r.b.dir, "x y");
    assert_false(vj_config_given(config, "seed"));
    assert_true(vj_config_given(config, "data.dir"));
    assert_string_equal(vj_config_origin(config, "seed"), "default");
    assert_string_equal(vj_config_origin(config, "data.dir"), "command line");
}

static void every_kind_from_a_file(void **state)
{
    (void)state;
    assert_ok(load(YAML("seed: 7\nthreads: 3\nname: 'a: b'\noptim:\n  lr: 6.0e-4\n  flip: false\n  mode: slow\n"
                        "data:\n  blocks: [1, 2, 3]\n  scales:\n    - 0.5\n  weights: {a: 0.9, b c: 2}\n")));
    assert_true(r.a.seed == 7 && r.a.threads == 3 && r.a.lr == 6e-4 && !r.a.flip && r.a.mode == 0);
    assert_string_equal(r.a.name, "a: b");
    assert_true(r.b.blocks.n == 3 && r.b.blocks.v[2] == 3 && r.b.scales.n == 1 && r.b.scales.v[0] == 0.5);
    assert_int_equal(r.b.weights.n, 2);
    assert_string_equal(r.b.weights.name[1], "b c");
    assert_true(r.b.weights.v[0] == 0.9 && r.b.weights.v[1] == 2);
    assert_true(vj_str_ends(vj_config_origin(config, "optim.flip"), "test.yaml:6"));
}

static void the_command_line_wins(void **state)
{
    (void)state;
    const char *path = write_file("test.yaml", "seed: 7\noptim:\n  lr: 0.5\ndata:\n  dir: from file\n  weights: {a: 1, b: 1}\n");
    assert_ok(load(path, OVER("seed=8", "seed=9", "threads=auto", "data.blocks=[4]", "data.scales=0.25", "data.weights.b=3", "data.weights.c=4", "name=")));
    assert_true(r.a.seed == 9 && r.a.threads == -1 && r.a.lr == 0.5);
    assert_true(r.b.blocks.n == 1 && r.b.blocks.v[0] == 4 && r.b.scales.n == 1 && r.b.scales.v[0] == 0.25);
    assert_true(r.b.weights.n == 3 && r.b.weights.v[0] == 1 && r.b.weights.v[1] == 3 && r.b.weights.v[2] == 4);
    assert_string_equal(r.a.name, "");
    assert_string_equal(r.b.dir, "from file");
    assert_ok(load(path, OVER("data.weights={z: 5}")));
    assert_true(r.b.weights.n == 1 && r.b.weights.v[0] == 5);
}

static void files_build_on_one_another(void **state)
{
    (void)state;
    char sub[4200];
    vj_path_join(sub, sizeof sub, dir, "sub");
    assert_ok(vj_dir_create(sub));
    write_file("base.yaml", "seed: 1\nname: base\noptim: {lr: 0.25, mode: slow}\n");
    write_file("sub/middle.yaml", "base: ../base.yaml\nseed: 2\ndata: {dir: m}\n");
    const char *path = write_file("sub/top.yaml", "optim: {mode: fast}\nbase: middle.yaml\n");
    assert_ok(load(path, 0, NULL));
    assert_true(r.a.seed == 2 && r.a.lr == 0.25 && r.a.mode == 1);
    assert_string_equal(r.a.name, "base");
    assert_non_null(strstr(vj_config_origin(config, "optim.lr"), "base.yaml:3"));
    assert_non_null(strstr(vj_config_origin(config, "seed"), "middle.yaml:2"));
    assert_fails(load(write_file("loop.yaml", "base: loop.yaml\n"), 0, NULL), VJ_ERR_CONFIG, "based on one another");
    assert_fails(load(write_file("lost.yaml", "base: nowhere.yaml\n"), 0, NULL), VJ_ERR_CONFIG, "nowhere.yaml: no such file");
    assert_fails(load(write_file("odd.yaml", "base: [a, b]\n"), 0, NULL), VJ_ERR_CONFIG, "the name of one file");
}

static const char *find(const char *name) { return strcmp(name, "group/one") == 0 ? "seed: 77\ndata: {dir: b}\n" : NULL; }

static void built_in_files(void **state)
{
    (void)state;
    vj_config_builtin(find);
    static const char *const names[] = { "group/one", "configs/group/one.yaml", "./configs/x/../group/one.yaml" };
    for (int i = 0; i < 3; i++) {
        assert_ok(load(names[i], 0, NULL));
        assert_int_equal(r.a.seed, 77);
        assert_string_equal(vj_config_origin(config, "seed"), "configs/group/one.yaml:1");
    }
    char here[4200], name[4200];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(dir), 0);
    vj_path_join(name, sizeof name, "group", "one");
    assert_ok(vj_dir_create(name));                          // a folder of that name is no configuration
    const vj_status found = load("group/one", 0, NULL);
    assert_int_equal(chdir(here), 0);
    assert_ok(found);
    assert_int_equal(r.a.seed, 77);
    assert_fails(load("group/two", 0, NULL), VJ_ERR_CONFIG, "group/two: no such file");
    vj_config_builtin(NULL);
    assert_fails(load("group/one", 0, NULL), VJ_ERR_CONFIG, "no such file");
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct { const char *yaml, *message; } bad[] = {
        { "sede: 1\n", "test.yaml:1:1: sede: unknown key (did you mean 'seed'?)" },
        { "optim:\n  lrr: 1\n", "test.yaml:2:3: optim.lrr: unknown key (did you mean 'optim.lr'?)" },
        { "zzzzzzzzzzzz: 1\n", "zzzzzzzzzzzz: unknown key" },
        { "seed: 1\nseed: 2\n", "test.yaml:2:1: seed: given twice" },
        { "optim: {lr: 0.1}\noptim: {mode: slow}\n", "optim: given twice" },
        { "seed: many\n", "test.yaml:1:7: seed: 'many' is not a whole number" },
        { "seed: 1.5\n", "'1.5' is not a whole number" },
        { "seed: -1\n", "-1 is outside 0 to" },
        { "seed: auto\n", "seed: 'auto' is not a whole number" },
        { "threads: 0\n", "0 is outside 1 to 64" },
        { "threads: -1\n", "threads: -1 is outside 1 to 64" },
        { "seed: [1]\n", "seed: a list was not expected" },
        { "seed: {a: 1}\n", "seed: a mapping was not expected" },
        { "optim: {lr: fast}\n", "'fast' is not a number" },
        { "optim: {lr: 1.5}\n", "1.5 is outside 0 to 1" },
        { "optim: {lr: .nan}\n", "is not a number" },
        { "optim: {flip: yes}\n", "'yes' is neither true nor false" },
        { "optim: {flip: \"true\"}\n", "neither true nor false" },
        { "optim: {mode: medium}\n", "'medium' is none of slow, fast" },
        { "optim: 3\n", "test.yaml:1:8: optim: a mapping of keys was expected" },
        { "name: abcdefghijklmnop\n", "longer than 15 bytes" },
        { "data: {blocks: [1, x]}\n", "'x' is not a whole number" },
        { "data: {blocks: [1, 101]}\n", "101 is outside 1 to 100" },
        { "data: {blocks: [[1]]}\n", "a list of plain values" },
        { "data: {blocks: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}\n", "more than 16 items" },
        { "data: {weights: [1]}\n", "data.weights: a list was not expected" },
        { "data: {weights: 1}\n", "a mapping of names to numbers" },
        { "data: {weights: {a: -1}}\n", "-1 is outside" },
        { "data: {weights: {a: [1]}}\n", "a mapping of names to numbers" },
        { "- 1\n- 2\n", "a mapping of keys was expected" },
        { "optim:\n\tlr: 1\n", "test.yaml:2:1: not valid YAML" },
        { "optim: {lr: 0.1\n", "not valid YAML" },
        { "optmi:\n  lr: 1\n", "test.yaml:1:1: optmi: unknown key (did you mean 'optim'?)" },
        { "lr: 1\n", "test.yaml:1:1: lr: unknown key (did you mean 'optim.lr'?)" },
        { "data: {lr: 1}\n", "data.lr: unknown key (did you mean 'optim.lr'?)" },
        { "seed: 1\n---\nseed: 2\n", "test.yaml:2:1: a second document" },
        { "seed: 1\n---\n\tx", "test.yaml:3:1: not valid YAML" },
        { "data: {weights: {a: 1, b: 1, a: 2}}\n", "data.weights: 'a' is given twice" },
        { "data: {shares: {a: -1}}\n", "'a' has weight -1, which must not be negative" },
        { "name: \xff\n", "not valid YAML" },
        { "name: \"a\\0b\"\n", "NUL" },
        { "? [a]\n: 1\n", "a key must be a short plain word" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const vj_status status = load(YAML(bad[i].yaml));
        if (status != VJ_ERR_CONFIG) fail_msg("%s was taken", bad[i].yaml);
        if (!strstr(vj_error_text(), bad[i].message)) fail_msg("'%s' is not in: %s", bad[i].message, vj_error_text());
        assert_null(config);
    }
    assert_fails(load(NULL, 0, NULL), VJ_ERR_CONFIG, "data.dir: is missing");
    assert_fails(load(NULL, OVER("data.dir=x", "optim.l=1")), VJ_ERR_CONFIG, "command line: optim.l: unknown key (did you mean 'optim.lr'?)");
    assert_fails(load(NULL, OVER("data.dir=x", "seed=")), VJ_ERR_CONFIG, "seed: '' is not a whole number");
    assert_fails(load(NULL, OVER("data.dir=x", "data.blocks=[1")), VJ_ERR_CONFIG, "'[1' is not a value");
    assert_fails(load(NULL, OVER("data.dir=x", "=1")), VJ_ERR_CONFIG, "key=value was expected");
    assert_fails(load(NULL, OVER("data.dir=ab\xff")), VJ_ERR_CONFIG, "data.dir: the text is not UTF-8 from byte 3 on");
    assert_fails(load(NULL, OVER("data.dir=x", "seed=1\n---\n2")), VJ_ERR_CONFIG, "a second document");
    assert_fails(load(dir, OVER("data.dir=x")), VJ_ERR_CONFIG, "is no file");
    assert_fails(load("/dev/zero", OVER("data.dir=x")), VJ_ERR_CONFIG, "/dev/zero: is no file");
}

static void all_mistakes_at_once(void **state)
{
    (void)state;
    assert_fails(load(YAML("seed: x\noptim:\n  lr: 7\n  flipp: true\nname: abcdefghijklmnopq\n")), VJ_ERR_CONFIG, "4 problems");
    assert_non_null(strstr(vj_error_text(), "'x'"));
    assert_non_null(strstr(vj_error_text(), "7 is outside"));
    assert_non_null(strstr(vj_error_text(), "optim.flip'"));
    assert_non_null(strstr(vj_error_text(), "longer than 15"));
    vj_str many = { 0 };
    for (int i = 0; i < 50; i++) vj_str_printf(&many, "unknown%d: 1\n", i);
    assert_fails(load(YAML(vj_str_text(&many))), VJ_ERR_CONFIG, "50 problems");
    assert_non_null(strstr(vj_error_text(), "unknown19:"));
    assert_null(strstr(vj_error_text(), "unknown20:"));
    assert_non_null(strstr(vj_error_text(), "more were left out"));
    vj_str_free(&many);
}

// Aliases that explode, depth, size: an answer in no time.
static void hostile_files(void **state)
{
    (void)state;
    vj_str text = { 0 };
    vj_str_add(&text, "a0: &a0 {optim: {lr: 1}}\n");
    for (int i = 1; i < 40; i++) vj_str_printf(&text, "a%d: &a%d {x: *a%d, y: *a%d}\n", i, i, i - 1, i - 1);
    assert_int_equal(load(YAML(vj_str_text(&text))), VJ_ERR_CONFIG);
    vj_str_clear(&text);
    vj_str_add(&text, "optim: &o\n  optim: *o\n");
    assert_int_equal(load(YAML(vj_str_text(&text))), VJ_ERR_CONFIG);
    vj_str_clear(&text);
    for (int i = 0; i < 3000; i++) vj_str_add(&text, "[");
    assert_int_equal(load(YAML(vj_str_text(&text))), VJ_ERR_CONFIG);
    vj_str_clear(&text);
    for (int i = 0; i < 60000; i++) vj_str_printf(&text, "k%d: 1\n", i);   // each key is compared with all before it
    assert_fails(load(YAML(vj_str_text(&text))), VJ_ERR_CONFIG, "more were left out");
    vj_str_free(&text);
    char *big = malloc((2 << 20) + 1);
    assert_non_null(big);
    memset(big, '#', 2 << 20);
    big[2 << 20] = '\0';
    assert_fails(load(YAML(big)), VJ_ERR_CONFIG, "is larger than 1048576 bytes");
    free(big);
}

static void resolved_text_loads_to_the_same(void **state)
{
    (void)state;
    assert_ok(load(NULL, OVER("data.dir=a \"b\" \\ # : x", "seed=4611686018427387904", "optim.lr=0.3333333333333333", "optim.flip=false",
                              "data.scales=[0.1, 1e-7, 9.999999]", "data.weights={a b: 0.1, 'c: d': 3}", "name=no")));
    vj_str first = { 0 }, second = { 0 }, origins = { 0 };
    const root before = r;
    vj_config_resolved(config, false, &first);
    vj_config_resolved(config, true, &origins);
    assert_ok(load(write_file("resolved.yaml", vj_str_text(&first)), 0, NULL));
    vj_config_resolved(config, false, &second);
    assert_string_equal(vj_str_text(&first), vj_str_text(&second));
    assert_true(r.a.seed == before.a.seed && r.a.lr == before.a.lr && r.a.threads == -1 && !r.a.flip);
    assert_string_equal(r.b.dir, before.b.dir);
    assert_string_equal(r.a.name, "no");
    assert_memory_equal(&r.b.scales, &before.b.scales, sizeof(int64_t) + 3 * sizeof(double));
    assert_string_equal(r.b.weights.name[1], "c: d");
    assert_non_null(strstr(vj_str_text(&origins), "# command line"));
    assert_non_null(strstr(vj_str_text(&origins), "# default"));
    // With origins it is still a configuration.
    assert_ok(load(write_file("origins.yaml", vj_str_text(&origins)), 0, NULL));
    vj_str_clear(&second);
    vj_config_resolved(config, false, &second);
    assert_string_equal(vj_str_text(&first), vj_str_text(&second));
    vj_str_free(&first);
    vj_str_free(&second);
    vj_str_free(&origins);
}

// Paths hold anything; on the command line they are taken as they stand, unless quoted.
static void texts_of_every_kind(void **state)
{
    (void)state;
    static const char *const texts[] = { "a #b: [c] {d} *e &f !g %h @i", "- x", "~", "null", "with \ttab", "\x7f", "\xc2\x85|\xc2\x9f|\xc2\xa0",
                                         "\xe2\x80\xa8|\xe2\x80\xa9|\xef\xbb\xbf|\xef\xbf\xbe|\xef\xbf\xbf", "\xc3\xa4 \xf0\x9f\x8e\x9e", "a\nb\n", " x " };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char word[300];
        vj_str text = { 0 };
        vj_format(word, sizeof word, "data.dir=%s", texts[i]);
        assert_ok(load(NULL, OVER(word)));
        assert_string_equal(r.b.dir, texts[i]);
        vj_config_resolved(config, false, &text);
        assert_ok(load(write_file("text.yaml", vj_str_text(&text)), 0, NULL));
        assert_string_equal(r.b.dir, texts[i]);
        vj_str_free(&text);
    }
    assert_ok(load(NULL, OVER("data.dir=\"a\\x41\"")));
    assert_string_equal(r.b.dir, "aA");
    assert_ok(load(NULL, OVER("data.dir='it''s'", "data.shares={a: 2e9}", "data.shares.b=1")));
    assert_string_equal(r.b.dir, "it's");
    assert_true(r.b.shares.n == 2 && r.b.shares.v[0] == 2e9 && r.b.shares.v[1] == 1);
    // A group whose keys are all comments.
    assert_ok(load(YAML("optim:\n  # lr: 0.5\nseed: 3\n")));
    assert_true(r.a.seed == 3 && r.a.lr == 0.1);
}

static void differences_of_a_run(void **state)
{
    (void)state;
    vj_str text = { 0 }, list = { 0 };
    int count = -1;
    assert_ok(load(NULL, OVER("data.dir=x", "optim.lr=0.5")));
    vj_config_resolved(config, false, &text);
    char path[4200];
    vj_format(path, sizeof path, "%s", write_file("run.yaml", vj_str_text(&text)));
    assert_ok(vj_config_differences(config, path, &list, &count));
    assert_int_equal(count, 0);
    assert_string_equal(vj_str_text(&list), "");
    assert_ok(load(NULL, OVER("data.dir=x", "optim.lr=0.25", "threads=5", "data.blocks=[8]")));   // threads may change
    assert_ok(vj_config_differences(config, path, &list, &count));
    assert_int_equal(count, 2);
    assert_non_null(strstr(vj_str_text(&list), "optim.lr: 0.5 in the run, 0.25 now (command line)"));
    assert_non_null(strstr(vj_str_text(&list), "data.blocks: [8, 2] in the run, [8] now"));
    assert_int_equal(vj_config_differences(config, "no/such/file", &list, &count), VJ_ERR_CONFIG);
    vj_str_free(&text);
    vj_str_free(&list);
}

static void rules_and_values_from_code(void **state)
{
    (void)state;
    assert_ok(load(YAML("optim: {lr: 0.5}\n")));
    vj_config_problem(config, "optim.lr", "does not go with %s", "that");
    vj_config_problem(config, "seed", "neither");
    assert_fails(vj_config_problems(config), VJ_ERR_CONFIG, "test.yaml:1: optim.lr: does not go with that");
    assert_non_null(strstr(vj_error_text(), "default: seed: neither"));
    assert_ok(vj_config_problems(config));   // said once
    assert_ok(vj_config_set(config, "threads", "2", "the machine"));
    assert_int_equal(r.a.threads, 2);
    assert_string_equal(vj_config_origin(config, "threads"), "the machine");
    assert_fails(vj_config_set(config, "threads", "100", "the machine"), VJ_ERR_CONFIG, "the machine: threads: 100 is outside");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_kind_from_a_file),
        cmocka_unit_test(the_command_line_wins),
        cmocka_unit_test(files_build_on_one_another),
        cmocka_unit_test(built_in_files),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(all_mistakes_at_once),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(resolved_text_loads_to_the_same),
        cmocka_unit_test(texts_of_every_kind),
        cmocka_unit_test(differences_of_a_run),
        cmocka_unit_test(rules_and_values_from_code),
    };
    return cmocka_run_group_tests_name("runtime/config", tests, setup, teardown);
}
