// One blocking system call a process, of every kind that `hpatch`'s own tests know.
//#Hazard: S5,S7
//#Flags: -pthread -Wno-unused-result
//#Expect: live
//#Call: value
#define _GNU_SOURCE
#include "scenario.h"
#include "threads.h"
#include <unistd.h>

static pid_t self;

// The answer ends with the process, of which a call may have made a child.
static void finish(int status) {
    if (getpid() == self)
        puts(".");
    _exit(status);
}

// Longer than several switches take, one after another.
#define MS 1500
#define main block
#define _exit finish
#include "../../../loader/hpatch/tests/targets/calls.c"
#undef main

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void *run(void *name) {
    block(2, (char *[]){"calls", name});
    return NULL;
}

void command(const char *line) {
    static char name[64];
    sigset_t taken;
    self = getpid();
    sigemptyset(&taken);
    sigaddset(&taken, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &taken, NULL);
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "names"))
        block(1, NULL);
    if (sscanf(line, "call %63s", name) == 1)
        start_thread(run, name);
}
