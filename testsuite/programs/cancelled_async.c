// A thread that makes no call is cancelled at whatever instruction of the changed function it is: its clean-up runs, then that of its caller,
// which is old.
//#Hazard: C8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Flags: -pthread
//#Expect: live
//#Accept: HP0516
//#Call: cancel 4
#include "scenario.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static int cleaned;
static atomic_int inside;

static void clean(void *by) {
    cleaned = cleaned * 100 + *(int *)by;
}

NOINLINE void turn_for_ever(int x) {
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

static void *work(void *argument) {
    int by = 77;
    pthread_cleanup_push(clean, &by);
    turn_for_ever(*(int *)argument);
    pthread_cleanup_pop(0);
    return NULL;
}

void command(const char *line) {
    int n;
    pthread_t thread;
    void *result = NULL;
    if (sscanf(line, "cancel %d", &n) != 1)
        return;
    cleaned = 0;
    atomic_store(&inside, 0);
    if (pthread_create(&thread, NULL, work, &n))
        abort();
    while (!atomic_load(&inside))
        usleep(100);
    usleep(2000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    printf("%d %s\n", cleaned, result == PTHREAD_CANCELED ? "cancelled" : "returned");
}
