// The changed function is suspended on a stack that no thread runs on.
//#Hazard: S2
//#Accept: HP0516
//#Expect: live
//#Call: value
#include "scenario.h"
#include <ucontext.h>

static ucontext_t home, inside;
static char *stack;
static int result;

NOINLINE int value(int x, int suspend) {
    if (suspend)
        swapcontext(&inside, &home);
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void body(void) {
    result = value(1, 1);
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1, 0));
    if (!strcmp(line, "suspend")) {
        stack = malloc(64 * 1024);
        getcontext(&inside);
        inside.uc_stack.ss_sp = stack;
        inside.uc_stack.ss_size = 64 * 1024;
        inside.uc_link = &home;
        makecontext(&inside, body, 0);
        swapcontext(&home, &inside);
    }
    if (!strcmp(line, "resume")) {
        swapcontext(&home, &inside);
        printf("%d\n", result);
        free(stack);
    }
}
