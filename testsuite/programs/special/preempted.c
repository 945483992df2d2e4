// The changed function is interrupted on a context's stack by a signal, whose handler goes to another stack before it returns.
//#Hazard: S2
//#Accept: HP0516
//#Expect: live
//#Call: value
#include "scenario.h"
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#define SIZE (64 * 1024)

static ucontext_t home, inside, handler;
static char *stack, *alternate;
static volatile int spins, entered;
static int result;

NOINLINE int value(int x) {
    // No call, so no return address leads here.
    entered = spins;
    while (spins)
        ;
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void body(void) {
    result = value(1);
}

static void soon(void) {
    struct itimerval timer = {.it_value = {.tv_usec = 5000}};
    if (setitimer(ITIMER_REAL, &timer, NULL))
        abort();
}

static void preempt(int number) {
    (void)number;
    if (entered)
        swapcontext(&handler, &home);
    else
        soon();
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "suspend")) {
        stack = malloc(SIZE);
        alternate = malloc(SIZE);
        stack_t signals = {.ss_sp = alternate, .ss_size = SIZE};
        struct sigaction action = {.sa_handler = preempt, .sa_flags = SA_ONSTACK};
        getcontext(&inside);
        inside.uc_stack.ss_sp = stack;
        inside.uc_stack.ss_size = SIZE;
        inside.uc_link = &home;
        makecontext(&inside, body, 0);
        spins = 1;
        if (sigaltstack(&signals, NULL) || sigaction(SIGALRM, &action, NULL))
            abort();
        soon();
        swapcontext(&home, &inside);
        spins = 0;
        puts("suspended");
    }
    if (!strcmp(line, "resume")) {
        swapcontext(&home, &handler);
        printf("%d\n", result);
        // Nothing of the two stacks is in use.
        memset(stack, 0, SIZE);
        memset(alternate, 0, SIZE);
    }
}
