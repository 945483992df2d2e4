// A thread that makes no call is cancelled at whatever instruction of the changed function it is: its clean-up runs, then that of its caller,
// which is old.
//#Hazard: C8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Flags: -pthread
//#Expect: live
//#Accept: HP0516
//#Call: cancel 4
#include "scenario.h"
#include "cancel.h"
#include <stdatomic.h>
#include <unistd.h>

static atomic_int inside;

NOINLINE void stay(int x) {
    static volatile int turns;
#ifdef NEW
    int by = x * 2 + 1;
#else
    int by = x;
#endif
    pthread_cleanup_push(clean, &by);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    atomic_store(&inside, 1);
    for (;;)
        turns++;
    pthread_cleanup_pop(0);
}

static void until_it_turns(void) {
    while (!atomic_load(&inside))
        usleep(100);
    usleep(2000);
}

void command(const char *line) {
    int n;
    if (sscanf(line, "cancel %d", &n) != 1)
        return;
    atomic_store(&inside, 0);
    cancel(n, until_it_turns);
}
