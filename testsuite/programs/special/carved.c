// The changed function is suspended on a stack that was carved out of the stack of the thread that goes on, or that lies in shared memory.
//#Hazard: S2
//#Accept: HP0516
//#Expect: live
//#Call: value
#define _GNU_SOURCE
#include "scenario.h"
#include <sys/mman.h>
#include <ucontext.h>

enum { SIZE = 65536 };

static ucontext_t home, first, second;
static int result, leaves;

// Not a tail call: the context would hold the address in `value`.
NOINLINE static void yield(void) {
    swapcontext(&first, &second);
    __asm__ volatile("");
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

static void suspended(void) {
    result = value(1, 1);
}

// Answers from here on.
static void serves(void) {
    char line[512];
    puts("done\n.");
    while (!leaves && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        command(line);
        if (!leaves)
            puts(".");
    }
    if (!leaves)
        exit(0);
}

static void prepare(ucontext_t *context, char *stack, ucontext_t *next, void (*body)(void)) {
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = SIZE;
    context->uc_link = next;
    makecontext(context, body, 0);
}

NOINLINE static void go_inside(char *lower, char *upper) {
    prepare(&first, lower, &second, suspended);
    prepare(&second, upper, &home, serves);
    swapcontext(&home, &first);
    puts("out");
}

// Not in `command`, which is called on them.
NOINLINE static void carve(void) {
    char stacks[2][SIZE] __attribute__((aligned(16)));
    char *lower = stacks[0];
    OPAQUE(lower);
    go_inside(lower, lower + SIZE);
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1, 0));
    if (!strcmp(line, "go inside"))
        carve();
    if (!strcmp(line, "share"))
        go_inside(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), malloc(SIZE));
    if (!strcmp(line, "resume")) {
        swapcontext(&second, &first);
        printf("%d\n", result);
    }
    if (!strcmp(line, "leave"))
        leaves = 1;
}
