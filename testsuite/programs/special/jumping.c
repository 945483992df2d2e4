// A coroutine that began as the handler of a signal on a stack of its own, and is gone to and left by jumps. The changed function is suspended on it.
//#Hazard: S2
//#Expect: live
//#Call: value
#define _GNU_SOURCE
#include "scenario.h"
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf home, inside;
static char stack[256 * 1024];
static int result;

NOINLINE static void yield(void) {
    if (!sigsetjmp(inside, 0))
        siglongjmp(home, 1);
}

NOINLINE int value(int x, int suspend) {
    if (suspend)
        yield();
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

NOINLINE static void body(void) {
    for (;;) {
        result = value(1, 1);
        yield();
    }
}

static void begin(int signal) {
    (void)signal;
    if (sigsetjmp(inside, 0))
        body();
}

static void prepare(void) {
    stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = begin, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&own, NULL) || sigaction(SIGUSR2, &action, NULL) || raise(SIGUSR2))
        abort();
    own.ss_flags = SS_DISABLE;
    sigaltstack(&own, NULL);
}

NOINLINE static void go_on(void) {
    if (!sigsetjmp(home, 0))
        siglongjmp(inside, 1);
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1, 0));
    if (!strcmp(line, "prepare")) {
        prepare();
        puts("done");
    }
    if (!strcmp(line, "suspend")) {
        go_on();
        puts("suspended");
    }
    if (!strcmp(line, "resume")) {
        go_on();
        printf("%d\n", result);
    }
}
