// Command lines: kinds of options, overrides, what is said about a wrong word, help.

#include "runtime/config/cli.h"

#include <string.h>

#include "tests/support/scratch.h"

static bool fresh;
static const char *run;
static int64_t steps;
static double weight;
static vj_text_many sources;
static const vj_option options[] = {
    { "fresh", VJ_OPT_FLAG, &fresh, NULL, "start anew" },
    { "run", VJ_OPT_TEXT, &run, "DIR", "where" },
    { "steps", VJ_OPT_INT, &steps, "N", "how many" },
    { "weight", VJ_OPT_FLOAT, &weight, "X", "how much" },
    { "source", VJ_OPT_TEXT_MANY, &sources, "NAME=DIR", "what" },
    { .kind = VJ_OPT_END },
};

static vj_args args;
static vj_status parse(int argc, const char *const *argv)
{
    fresh = false;
    run = NULL;
    steps = -1;
    weight = 0;
    sources.n = 0;
    char *copy[80];
    for (int i = 0; i < argc; i++) copy[i] = (char *)(uintptr_t)argv[i];
    return vj_cli_parse(&args, options, argc, copy);
}
#define PARSE(...) parse((int)(sizeof (const char *[]){ __VA_ARGS__ } / sizeof(char *)), (const char *[]){ __VA_ARGS__ })

static void kinds(void **state)
{
    (void)state;
    assert_ok(PARSE("cfg.yaml", "--run", "a b", "--fresh", "optim.lr=1e-3", "--steps=20", "--source", "x=1", "--weight", "-0.5", "--source=y=2", "a=b=c"));
    assert_true(fresh);
    assert_string_equal(run, "a b");
    assert_int_equal(steps, 20);
    assert_true(weight == -0.5);
    assert_int_equal(sources.n, 2);
    assert_string_equal(sources.v[0], "x=1");
    assert_string_equal(sources.v[1], "y=2");
    assert_int_equal(args.n_positional, 1);
    assert_string_equal(args.positional[0], "cfg.yaml");
    assert_int_equal(args.n_overrides, 2);
    assert_string_equal(args.overrides[1], "a=b=c");
    assert_false(args.help);
    assert_ok(PARSE("--help"));
    assert_true(args.help);
    assert_ok(PARSE("-h"));
    assert_true(args.help);
    assert_ok(PARSE("--run=", "--", "--steps", "x=y"));   // behind -- everything is a word
    assert_string_equal(run, "");
    assert_int_equal(args.n_positional, 2);
    assert_int_equal(args.n_overrides, 0);
    assert_ok(PARSE("-"));
    assert_int_equal(args.n_positional, 1);
}

static void wrong_words(void **state)
{
    (void)state;
    assert_fails(PARSE("--stpes", "3"), VJ_ERR_USAGE, "unknown option --stpes (did you mean --steps?)");
    assert_fails(PARSE("--zzzzzzzz"), VJ_ERR_USAGE, "unknown option --zzzzzzzz");
    assert_fails(PARSE("--stpes=3"), VJ_ERR_USAGE, "did you mean --steps?");
    assert_fails(PARSE("-run", "x"), VJ_ERR_USAGE, "two dashes");
    assert_fails(PARSE("--steps", "many"), VJ_ERR_USAGE, "--steps many: a whole number");
    assert_fails(PARSE("--weight", "1,5"), VJ_ERR_USAGE, "--weight 1,5: a number");
    assert_fails(PARSE("--run"), VJ_ERR_USAGE, "--run needs DIR");
    assert_fails(PARSE("--fresh=yes"), VJ_ERR_USAGE, "--fresh takes no value");
    char lengthy[300];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    memcpy(lengthy, "--", 2);
    assert_fails(PARSE(lengthy), VJ_ERR_USAGE, "unknown option --xxx");
    const char *many[66];
    for (int i = 0; i < 66; i++) many[i] = "--source=x";
    assert_fails(parse(66, many), VJ_ERR_USAGE, "more than 64 times");
}

static void how_many_words(void **state)
{
    (void)state;
    assert_ok(PARSE("a", "b"));
    assert_ok(vj_cli_expect(&args, 1, 2, "CONFIG"));
    assert_fails(vj_cli_expect(&args, 3, 3, "CONFIG"), VJ_ERR_USAGE, "CONFIG is missing");
    assert_fails(vj_cli_expect(&args, 0, 1, "CONFIG"), VJ_ERR_USAGE, "one word too many: b");
}

static void help(void **state)
{
    (void)state;
    vj_str out = { 0 };
    vj_cli_help(&out, "pretrain", "CONFIG", "trains", options);
    assert_true(vj_str_starts(vj_str_text(&out), "usage: vjepa pretrain CONFIG"));
    for (const vj_option *o = options; o->kind != VJ_OPT_END; o++) {
        assert_non_null(strstr(vj_str_text(&out), o->name));
        assert_non_null(strstr(vj_str_text(&out), o->help));
    }
    vj_str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(wrong_words),
        cmocka_unit_test(how_many_words),
        cmocka_unit_test(help),
    };
    return cmocka_run_group_tests_name("runtime/cli", tests, NULL, NULL);
}
