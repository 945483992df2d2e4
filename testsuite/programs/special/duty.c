// Threads that are nearly always inside the function that the patch replaces, and leave it for a moment now and then.
//#Hazard: S1
//#Expect: live
//#Call: value
//#Flags: -pthread
#include "scenario.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long calls, wrong;
static atomic_int quit, ended;
static int gate[2];

// Keeps the caller's frame on the stack while time goes by.
NOINLINE static void spin(long turns) {
    for (volatile long i = 0; i < turns; i++) {
    }
}

NOINLINE long compute(long x, long turns) {
    spin(turns);
#ifdef NEW
    return x * 3 + 7;
#else
    return x * 2 + 5;
#endif
}

// A worker that waits for its work inside the changed function, and notes down outside that it did some.
NOINLINE long fetch(long x) {
    char byte;
    if (x && read(gate[0], &byte, 1) != 1)
        return -1;
#ifdef NEW
    return x * 3 + 8;
#else
    return x * 2 + 6;
#endif
}

static void check(long answer, long new, long old) {
    if (answer != new && answer != old)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&calls, 1);
}

// No system call anywhere; outside for about one part in fifty.
static void *busy(void *unused) {
    (void)unused;
    for (long x = 1; !atomic_load(&quit); x = (x + 1) & 0xffff) {
        check(compute(x, 400000), x * 3 + 7, x * 2 + 5);
        spin(8000);
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

static void *worker(void *unused) {
    (void)unused;
    for (long x = 1; !atomic_load(&quit); x = (x + 1) & 0xffff) {
        check(fetch(x), x * 3 + 8, x * 2 + 6);
        syscall(SYS_getppid);
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

static void *feeder(void *unused) {
    (void)unused;
    while (write(gate[1], "x", 1) == 1)
        usleep(20000);
    return NULL;
}

void command(const char *line) {
    int n;
    pthread_t thread;
    if (!strcmp(line, "value"))
        printf("%ld %ld\n", compute(10, 1), fetch(0));
    if (sscanf(line, "busy %d", &n) == 1)
        while (n--)
            if (pthread_create(&thread, NULL, busy, NULL))
                abort();
    if (sscanf(line, "workers %d", &n) == 1) {
        if (pipe(gate) || pthread_create(&thread, NULL, feeder, NULL))
            abort();
        while (n--)
            if (pthread_create(&thread, NULL, worker, NULL))
                abort();
        usleep(50000);
    }
    if (sscanf(line, "stop %d", &n) == 1) {
        atomic_store(&quit, 1);
        while (atomic_load(&ended) < n)
            usleep(1000);
        printf("wrong %ld, calls %s\n", atomic_load(&wrong), atomic_load(&calls) > 0 ? "made" : "none");
    }
}
