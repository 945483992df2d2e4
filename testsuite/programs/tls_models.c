// A function comes to use thread-local variables that the old build has, but reaches through no GOT entry of that model: the patch brings entries
// of its own, and each thread keeps its values.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Flags: -pthread
//#Expect: live
//#Expect[cc=clang,opt=-O0,kind=shared]: refuse HP0214
//#Unwritten: HP0614
//#Warm: add 3
//#Warm: thread 5
//#After: add 4 => 641
//#After: thread 6 => 661
//#After: add 1 => 649
//#Reverted: add 1 => 21
//#Reverted: thread 1 => 27
#include "scenario.h"
#include <pthread.h>

#define MODEL(model) static __attribute__((used, tls_model(model))) __thread long
MODEL("initial-exec") fixed = 1;
MODEL("initial-exec") fixed_spare = 100;
MODEL("global-dynamic") dynamic = 2;
MODEL("global-dynamic") dynamic_spare = 200;
MODEL("local-dynamic") local_spare = 300;

NOINLINE long add(long amount) {
    fixed += amount;
    dynamic += amount;
#ifdef NEW
    fixed_spare += amount;
    dynamic_spare += 2 * amount;
    local_spare += 3 * amount;
    return fixed + dynamic + fixed_spare + dynamic_spare + local_spare;
#else
    return fixed + dynamic;
#endif
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static long request, result;
static int pending, started;

static void *worker(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!pending)
            pthread_cond_wait(&change, &lock);
        result = add(request);
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
