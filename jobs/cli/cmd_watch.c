// vjepa watch RUN: a page in the terminal that follows a run by its files. Without a terminal, a line per line of metrics.

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "jobs/cli/commands.h"
#include "jobs/watch/page.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"

// ---- the terminal ----------------------------------------------------------------------------------------------------------
// Ours from enter() to leave(): other screen, no cursor, keys unread by the line editor. Whatever ends the program in between
// goes through leave(): signals set a flag, exit() runs it too.
static struct termios saved_keys;
static bool have_keys;
static atomic_bool inside;
static volatile sig_atomic_t stop_signal, suspend, resized;

static void put(const char *text, size_t n)
{
    while (n > 0) {
        const ssize_t k = write(STDOUT_FILENO, text, n);
        if (k < 0 && errno != EINTR) {
            stop_signal = SIGPIPE;   // the terminal is gone
            return;
        }
        text += k > 0 ? k : 0;
        n -= k > 0 ? (size_t)k : 0;
    }
}

static void enter(void)
{
    static const char screen[] = "\033[?1049h\033[?25l\033[H\033[J";
    have_keys = tcgetattr(STDIN_FILENO, &saved_keys) == 0;
    if (have_keys) {
        struct termios keys = saved_keys;
        keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    }
    atomic_store(&inside, true);
    put(screen, sizeof screen - 1);
}

static void leave(void)
{
    static const char screen[] = "\033[?25h\033[?1049l";
    if (!atomic_exchange(&inside, false)) return;
    put(screen, sizeof screen - 1);
    if (have_keys) tcsetattr(STDIN_FILENO, TCSANOW, &saved_keys);
}

static void on_signal(int signal)
{
    if (signal == SIGTSTP) suspend = 1;
    else if (signal == SIGWINCH) resized = 1;
    else stop_signal = signal;
}

static vj_status catch_signals(bool terminal)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP };
    for (int i = 0; i < (terminal ? 6 : 3); i++) {
        struct sigaction action = { .sa_handler = on_signal };
        VJ_CHECK(sigaction(signals[i], &action, NULL) == 0, VJ_ERR_DEVICE, "sigaction: %s", strerror(errno));
    }
    return VJ_OK;
}

static void window_size(vj_page_style *style)
{
    struct winsize size;
    const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    style->width = known ? size.ws_col : 80;
    style->height = known ? size.ws_row : 24;
}

static bool says_utf8(void)
{
    const char *locale = getenv("LC_ALL");
    if (!locale || !*locale) locale = getenv("LC_CTYPE");
    if (!locale || !*locale) locale = getenv("LANG");
    return locale && (strcasestr(locale, "utf-8") || strcasestr(locale, "utf8"));
}

// Drawn over what is there, line by line, so that nothing flickers.
static void draw(const vj_watch *w, vj_page_style *style)
{
    vj_str page = { 0 }, screen = { 0 };
    window_size(style);
    vj_page(&page, w, style);
    vj_str_add(&screen, "\033[H");
    for (const char *line = vj_str_text(&page); *line;) {
        const size_t n = strcspn(line, "\n");
        vj_str_add_n(&screen, line, n);
        vj_str_add(&screen, "\033[K");
        line += n + (line[n] != '\0');
        if (*line) vj_str_add(&screen, "\r\n");   // none behind the last: the screen would move
    }
    vj_str_add(&screen, "\033[J");
    put(vj_str_text(&screen), screen.length);
    vj_str_free(&page);
    vj_str_free(&screen);
}

// Until the time is over, a key, or a signal; true for a key that ends the page.
static bool wait_for(double seconds, bool keys)
{
    struct pollfd in = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
    if (poll(&in, 1, (int)(seconds * 1000)) <= 0 || !(in.revents & (POLLIN | POLLHUP))) return false;
    char key[32];
    const ssize_t n = read(STDIN_FILENO, key, sizeof key);
    return n <= 0 || memchr(key, 'q', (size_t)n) != NULL || memchr(key, 4, (size_t)n) != NULL;
}

static vj_status live(vj_watch *w, double interval)
{
    vj_page_style style = { .unicode = says_utf8(), .colour = getenv("NO_COLOR") == NULL };
    VJ_TRY(catch_signals(true));
    if (atexit(leave) != 0) VJ_FAIL(VJ_ERR_NOMEM, "no memory for the end of the page");
    const bool keys = isatty(STDIN_FILENO) == 1;
    enter();
    vj_status status = VJ_OK;
    bool quit = false;
    while (status == VJ_OK && !stop_signal && !quit) {
        bool changed;
        status = vj_watch_poll(w, vj_wall(), &changed);
        if (status == VJ_OK) draw(w, &style);
        for (double waited = 0; status == VJ_OK && waited < interval && !stop_signal && !quit && !suspend && !resized; waited += 0.25) {
            quit = wait_for(fmin(0.25, interval - waited), keys);
        }
        resized = 0;
        if (suspend) {   // Ctrl-Z: the shell gets its own screen, and we ours when we come back
            suspend = 0;
            leave();
            kill(getpid(), SIGSTOP);
            enter();
        }
    }
    leave();
    return status;
}

// ---- without a terminal --------------------------------------------------------------------------------------------------
static vj_status follow_lines(vj_watch *w, double interval)
{
    VJ_TRY(catch_signals(false));
    vj_watch_state said = VJ_WATCH_RUNNING;
    int64_t step = -1;
    while (!stop_signal) {
        bool changed;
        VJ_TRY(vj_watch_poll(w, vj_wall(), &changed));
        if (w->step != step || (w->state != said && (w->state != VJ_WATCH_RUNNING || said != VJ_WATCH_STARTING))) {
            vj_str text = { 0 };
            vj_page_line(&text, w);
            fputs(vj_str_text(&text), stdout);
            vj_str_free(&text);
            if (fflush(stdout) != 0) return VJ_OK;   // nobody reads any more
        }
        step = w->step;
        said = w->state;
        if (w->state == VJ_WATCH_ENDED) return VJ_OK;
        for (double waited = 0; waited < interval && !stop_signal; waited += 0.25) wait_for(fmin(0.25, interval - waited), false);
    }
    return VJ_OK;
}

static vj_status once(vj_watch *w, bool json)
{
    bool changed;
    VJ_TRY(vj_watch_poll(w, vj_wall(), &changed));
    VJ_CHECK(w->state != VJ_WATCH_MISSING || vj_path_exists(w->path), VJ_ERR_CONFIG, "%s: does not exist", w->path);
    VJ_CHECK(w->state != VJ_WATCH_MISSING, VJ_ERR_CONFIG, "%s: holds no run (no run.json, no metrics.jsonl)", w->path);
    if (json) {
        vj_json_writer out = { .pretty = true };
        vj_json_begin_object(&out, NULL);
        vj_watch_put_json(w, &out);
        vj_json_end_object(&out);
        vj_cli_print_json(&out);
        return VJ_OK;
    }
    vj_page_style style = { .width = 100, .unicode = says_utf8() };
    if (isatty(STDOUT_FILENO) == 1) window_size(&style);
    style.height = 0;
    vj_str page = { 0 };
    vj_page(&page, w, &style);
    fputs(vj_str_text(&page), stdout);
    vj_str_free(&page);
    return VJ_OK;
}

vj_status vj_cmd_watch(int argc, char **argv)
{
    bool json = false, one = false, lines = false;
    double interval = 1;
    const vj_option options[] = {
        { "once", VJ_OPT_FLAG, &one, NULL, "one page as it is now, without escape sequences" },
        { "lines", VJ_OPT_FLAG, &lines, NULL, "a line per line of metrics until the run ends, as without a terminal" },
        { "interval", VJ_OPT_FLOAT, &interval, "SECONDS", "how often the files are looked at; default 1" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("watch", "RUN",
                          "Follow a run by its files, on this machine or another: progress, rate, time left, loss, held-out figures and monitors\n"
                          "as curves, warnings in force, checkpoints. The run may not be there yet. q or Ctrl-C leaves; the run goes on.\n"
                          "JSON (of now): run, run_id, state (starting, running, quiet, ended, gone), outcome, phase, schedule, model, step, steps,\n"
                          "steps_per_second, seconds_left, seconds_since_last_line, warnings [name, step, text], checkpoints, checkpoint_step,\n"
                          "recommended_step, recommended_why, figures {members of metrics.jsonl, \"held_out/ratio\"}, lines, odd_lines.", options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: watch takes no key=value", args.overrides[0]);
    VJ_TRY(vj_cli_expect(&args, 1, 1, "a run directory"));
    VJ_CHECK(interval >= 0.1 && interval <= 3600, VJ_ERR_USAGE, "--interval %g: 0.1 to 3600 seconds are expected", interval);
    vj_watch *w = calloc(1, sizeof *w);
    VJ_CHECK(w != NULL, VJ_ERR_NOMEM, "no memory for a page");
    vj_status status = vj_watch_open(w, args.positional[0]);
    if (status == VJ_OK) {
        const char *term = getenv("TERM");
        const bool terminal = isatty(STDOUT_FILENO) == 1 && term && *term && strcmp(term, "dumb") != 0;
        if (one || json) status = once(w, json);
        else status = terminal && !lines ? live(w, interval) : follow_lines(w, interval);
    }
    vj_watch_close(w);
    free(w);
    return status;
}
