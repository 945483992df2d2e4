// A crowd of threads that never sleep, each about half of its time in the changed function: in a few it is always, whoever has the processor.
//#Hazard: S4,S6
//#Expect: live
//#Call: value
//#Flags: -pthread
#include "scenario.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static atomic_long wrong, ended;
static atomic_int quit;
static _Thread_local volatile long spun;

NOINLINE long compute(long x, long turns) {
    for (long i = 0; i < turns; i++)
        spun += i;
#ifdef NEW
    return x * 3 + 7;
#else
    return x * 2 + 5;
#endif
}

static void *worker(void *argument) {
    long x = (long)argument;
    while (!atomic_load_explicit(&quit, memory_order_relaxed)) {
        long answer = compute(x, 100000);
        if (answer != x * 3 + 7 && answer != x * 2 + 5)
            atomic_fetch_add(&wrong, 1);
        for (long i = 0; i < 100000; i++)
            spun += i;
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

void command(const char *line) {
    int n;
    if (!strcmp(line, "value"))
        printf("%ld\n", compute(10, 0));
    if (sscanf(line, "start %d", &n) == 1) {
        for (long i = 0; i < n; i++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, worker, (void *)i))
                abort();
        }
    }
    if (sscanf(line, "stop %d", &n) == 1) {
        atomic_store(&quit, 1);
        while (atomic_load(&ended) < n)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        printf("wrong %ld\n", atomic_load(&wrong));
    }
}
