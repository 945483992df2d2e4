// A thread is cancelled inside the changed function: its clean-up runs, then that of its caller, which is old.
//#Hazard: C8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Flags: -pthread -fexceptions
//#Expect: live
//#Call: cancel 4
#include "asleep.h"
#include "scenario.h"
#include "cancel.h"
#include <unistd.h>

static int gate[2];

NOINLINE void stay(int x) {
    char byte;
#ifdef NEW
    int by = x * 2 + 1;
#else
    int by = x;
#endif
    pthread_cleanup_push(clean, &by);
    while (read(gate[0], &byte, 1) == 1)
        ;
    pthread_cleanup_pop(0);
}

static void until_it_waits(void) {
    until_others_sleep();
}

void command(const char *line) {
    int n;
    if (sscanf(line, "cancel %d", &n) != 1)
        return;
    if (pipe(gate))
        abort();
    cancel(n, until_it_waits);
    close(gate[0]);
    close(gate[1]);
}
