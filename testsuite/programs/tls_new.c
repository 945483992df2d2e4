// New thread-local variables: every thread has storage for them, those that ran before the patch and those that are made after it, with the initial
// values of the new build.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Flags: -pthread
//#Expect: live
//#Unwritten: HP0614
//#Warm: next 3
//#Warm: worker 5
//#After: next 4 => 4 5 9 1
//#After: worker 6 => 6 5 11 1
//#After: fresh 7 => 7 5 12 1
//#After: next 1 => 1 9 10 2
//#After: worker 2 => 2 11 13 2
//#After: fresh 3 => 3 5 8 1
//#Reverted: next 2 => 2
//#Reverted: worker 1 => 1
//#Reverted: fresh 1 => 1
#include "scenario.h"
#include <pthread.h>

#ifdef NEW
static __thread long depth = 5;
static __thread int calls;
#endif

NOINLINE void next(long x) {
#ifdef NEW
    long before = depth;
    depth += x;
    printf("%ld %ld %ld %d\n", x, before, depth, ++calls);
#else
    printf("%ld\n", x);
#endif
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static long request;
static int pending, started;

static void *work(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!pending)
            pthread_cond_wait(&change, &lock);
        next(request);
        pending = 0;
        pthread_cond_broadcast(&change);
    }
    return NULL;
}

static void *once(void *x) {
    next((long)x);
    return NULL;
}

void command(const char *line) {
    long x;
    pthread_t thread;
    if (sscanf(line, "next %ld", &x) == 1)
        next(x);
    if (sscanf(line, "fresh %ld", &x) == 1) {
        pthread_create(&thread, NULL, once, (void *)x);
        pthread_join(thread, NULL);
    }
    if (sscanf(line, "worker %ld", &x) == 1) {
        pthread_mutex_lock(&lock);
        if (!started++)
            pthread_create(&thread, NULL, work, NULL);
        request = x;
        pending = 1;
        pthread_cond_broadcast(&change);
        while (pending)
            pthread_cond_wait(&change, &lock);
        pthread_mutex_unlock(&lock);
    }
}
