// Coroutines on small stacks side by side: below each begins its neighbour's.
//#Hazard: S7,S13
//#Accept: HP0516
//#Expect: live
//#Call: value
#include "scenario.h"
#include <time.h>
#include <ucontext.h>

#define STACKS 8

static char stacks[STACKS][16384] __attribute__((aligned(4096)));
static ucontext_t home, inside[STACKS];
static int wrong;

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

// Holds the processor while it sleeps.
static void sleeps(void) {
    struct timespec time = {1, 0};
    for (;;) {
        if (nanosleep(&time, NULL))
            wrong += 1000000;
        swapcontext(&inside[STACKS - 1], &home);
    }
}

static void keeps(int index) {
    volatile long local[512];
    for (;;) {
        for (int i = 0; i < 512; i++)
            local[i] = index * 1000 + i;
        swapcontext(&inside[index], &home);
        for (int i = 0; i < 512; i++)
            wrong += local[i] != index * 1000 + i;
    }
}

static void round_of_all(void) {
    for (int i = 0; i < STACKS; i++)
        swapcontext(&home, &inside[i]);
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "sleep")) {
        for (int i = 0; i < STACKS; i++) {
            getcontext(&inside[i]);
            inside[i].uc_stack.ss_sp = stacks[i];
            inside[i].uc_stack.ss_size = sizeof stacks[i];
            if (i == STACKS - 1)
                makecontext(&inside[i], sleeps, 0);
            else
                makecontext(&inside[i], (void (*)(void))keeps, 1, i);
        }
        round_of_all();
        round_of_all();
        printf("wrong %d\n", wrong);
    }
}
