// A program that could have coroutines and has none at first; the patch's code ends with a call that doesn't return.
//#Hazard: S2
//#Accept: HP0516
//#Expect: live
//#Call: value
#include "scenario.h"
#include <ucontext.h>
#include <unistd.h>

static ucontext_t home, inside;
static char stack[64 * 1024];
static volatile int zero;
// What a program notes of its callers lies in memory like a frame's return address.
void *volatile caller;

NOINLINE int plus(int x, int y) {
    caller = __builtin_return_address(0);
    return x + y + zero;
}

NOINLINE int value(int x) {
    if (x < 0)
        abort();
#ifdef NEW
    if (x > 1000000)
        abort();
    return plus(x, 100) - zero;
#else
    return plus(x, 1) - zero;
#endif
}

// Leaves the address that `plus` returned to on the stack...
NOINLINE void deep(void) {
    volatile char far[1024];
    far[0] = 1;
    zero = value(1) * zero;
}

// ...where this function has room that it doesn't write to while it waits.
NOINLINE void wait_here(void) {
    char line[4096];
    puts("waits\n.");
    fflush(stdout);
    if (read(0, line, 16) > 0)
        puts("goes on");
}

static void body(void) {
    swapcontext(&inside, &home);
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "wait")) {
        deep();
        caller = NULL;
        wait_here();
    }
    if (!strcmp(line, "suspend")) {
        getcontext(&inside);
        inside.uc_stack.ss_sp = stack;
        inside.uc_stack.ss_size = sizeof stack;
        inside.uc_link = &home;
        makecontext(&inside, body, 0);
        swapcontext(&home, &inside);
    }
}
