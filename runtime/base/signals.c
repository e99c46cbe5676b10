// Signal handlers only set flags or leave; everything else happens at the next safe point.

#include "runtime/base/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/crash.h"

enum { BY_NAME = -1, NAMING = -2 };
static atomic_int requested;   // 0, a signal's number, BY_NAME, or NAMING while the name is being written
static char reason_text[64];
static atomic_int interrupts;

static void on_stop(int signal)
{
    if (signal == SIGINT && atomic_fetch_add(&interrupts, 1) >= 1) _exit(130);
    int none = 0;
    atomic_compare_exchange_strong(&requested, &none, signal);
}

static void on_crash(int signal)
{
    const char *what = signal == SIGSEGV ? "SIGSEGV" : signal == SIGBUS ? "SIGBUS" : signal == SIGFPE ? "SIGFPE" : "SIGABRT";
    static const char before[] = "vjepa: bug: crashed with ", after[] = "; please report this with the command and its log\n";
    if (write(2, before, sizeof before - 1) < 0 || write(2, what, strlen(what)) < 0 || write(2, after, sizeof after - 1) < 0) _exit(70);
    vj_crash_report(what);
    _exit(70);
}

vj_status vj_signals_install(void)
{
    static char stack[64 * 1024];   // a stack overflow must still be able to say so
    const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
    VJ_CHECK(sigaltstack(&alternate, NULL) == 0, VJ_ERR_DEVICE, "sigaltstack: %s", strerror(errno));
    static const int stops[] = { SIGUSR2, SIGTERM, SIGINT }, crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGABRT };
    for (int i = 0; i < 3; i++) {
        struct sigaction action = { .sa_handler = on_stop, .sa_flags = SA_RESTART };
        VJ_CHECK(sigaction(stops[i], &action, NULL) == 0, VJ_ERR_DEVICE, "sigaction: %s", strerror(errno));
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    for (int i = 0; i < 4; i++) {
        struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND };
        VJ_CHECK(sigaction(crashes[i], &action, NULL) == 0, VJ_ERR_DEVICE, "sigaction: %s", strerror(errno));
    }
#else
    (void)crashes;
    (void)on_crash;
#endif
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    VJ_CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0, VJ_ERR_DEVICE, "sigaction: %s", strerror(errno));
    return VJ_OK;
}

bool vj_stop_requested(void)
{
    const int value = atomic_load(&requested);
    return value != 0 && value != NAMING;
}

const char *vj_stop_reason(void)
{
    switch (atomic_load(&requested)) {
    case 0:
    case NAMING: return "";
    case SIGUSR2: return "SIGUSR2";
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    default: return reason_text;
    }
}

// The first request is the one that is told.
void vj_stop_request(const char *reason)
{
    int none = 0;
    if (!atomic_compare_exchange_strong(&requested, &none, NAMING)) return;
    snprintf(reason_text, sizeof reason_text, "%s", reason);
    atomic_store(&requested, BY_NAME);
}
