// Sixty-four threads call the changed function without pause and count every answer that is neither the old nor the new one.
//#Hazard: S4,S6
//#Expect: live
//#Call: value
//#Flags: -pthread
#include "scenario.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_long calls, wrong, ended;
static atomic_int quit;

NOINLINE long compute(long x) {
#ifdef NEW
    return x * 3 + 7;
#else
    return x * 2 + 5;
#endif
}

static void *worker(void *argument) {
    long x = (long)argument;
    while (!atomic_load_explicit(&quit, memory_order_relaxed)) {
        for (int i = 0; i < 200; i++, x = (x + 1) & 0xffff) {
            long answer = compute(x);
            if (answer != x * 3 + 7 && answer != x * 2 + 5)
                atomic_fetch_add(&wrong, 1);
        }
        atomic_fetch_add(&calls, 200);
        usleep(200);
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

void command(const char *line) {
    int n;
    if (!strcmp(line, "value"))
        printf("%ld\n", compute(10));
    if (sscanf(line, "start %d", &n) == 1) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 128 * 1024);
        for (long i = 0; i < n; i++) {
            pthread_t thread;
            if (pthread_create(&thread, &attributes, worker, (void *)i))
                abort();
        }
    }
    if (sscanf(line, "stop %d", &n) == 1) {
        atomic_store(&quit, 1);
        while (atomic_load(&ended) < n)
            usleep(1000);
        printf("wrong %ld, calls %s\n", atomic_load(&wrong), atomic_load(&calls) > 0 ? "made" : "none");
    }
    if (!strcmp(line, "calls"))
        printf("%ld\n", atomic_load(&calls));
}
