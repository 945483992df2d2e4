// Thread-local variables that exist in both builds, read and written by a patched function in two threads.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared cflags=-ftls-model=global-dynamic,-ftls-model=local-dynamic,-ftls-model=initial-exec
//#Expect: live
//#Warm: add 3
//#Warm: thread 5
//#After: add 4 => 107
//#After: thread 6 => 1011
//#After: add 1 => 108
//#Reverted: add 1 => 9
//#Reverted: thread 1 => 12
#include "scenario.h"
#include <pthread.h>

static __thread long total;
__thread long offset = 0;

NOINLINE long add(long amount) {
    total += amount;
#ifdef NEW
    return total + offset + 100;
#else
    return total + offset;
#endif
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static long request, result;
static int pending, started;

static void *worker(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    offset = -1;
    for (;;) {
        while (!pending)
            pthread_cond_wait(&change, &lock);
        result = add(request) + 1;
        if (result > 100)
            result += 900;
        pending = 0;
        pthread_cond_broadcast(&change);
    }
    return NULL;
}

static long in_thread(long amount) {
    pthread_mutex_lock(&lock);
    if (!started) {
        pthread_t thread;
        started = 1;
        pthread_create(&thread, NULL, worker, NULL);
    }
    request = amount;
    pending = 1;
    pthread_cond_broadcast(&change);
    while (pending)
        pthread_cond_wait(&change, &lock);
    long value = result;
    pthread_mutex_unlock(&lock);
    return value;
}

void command(const char *line) {
    long amount;
    if (sscanf(line, "add %ld", &amount) == 1)
        printf("%ld\n", add(amount));
    if (sscanf(line, "thread %ld", &amount) == 1)
        printf("%ld\n", in_thread(amount));
}
