// New builds of one old build, all of which count in variables of their own. TWO has more of them, in other places; the others have something that
// keeps the count from going along.
//#Hazard: D2,S12
//#Flags: -pthread
//#Expect: live
//#Call: show
#include "scenario.h"
#include <pthread.h>

#define THREADS 4

static struct {
    pthread_t threads[THREADS], none;
    long known[THREADS];
    volatile int ends;
} own __attribute__((aligned(128)));

#if defined ONE || defined TWO || defined NEW || defined RETYPED || defined LENT || defined HELD || defined CHAIN || defined GROWN
#define COUNTS
#ifdef RETYPED
static unsigned long hits;
#else
static long hits;
#endif
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#ifdef TWO
static short before = 5;
static long at_most = 1;
#endif
#ifdef LENT
long *volatile lent;
#endif
#if defined CHAIN || defined GROWN
// Only the new builds have it.
static struct link {
    long by;
#ifdef GROWN
    long more;
#endif
    struct link *next;
} *chain;
#endif
#ifdef HELD
static NOINLINE long plain(long count) {
    OPAQUE(count);
    return count;
}
static long (*volatile shown)(long) = plain;
#endif
#endif

// Gives what it has counted.
NOINLINE long step(int slot) {
#ifdef COUNTS
    static long last[THREADS];
    pthread_mutex_lock(&lock);
    hits++;
    last[slot] += 3;
#ifdef TWO
    before++;
    if (hits > at_most)
        at_most = hits;
#endif
#ifdef LENT
    lent = (long *)&hits;
#endif
#if defined CHAIN || defined GROWN
    if (!chain)
        chain = calloc(1, sizeof *chain);
    chain->by++;
#endif
    long odd = last[slot] % 3;
    pthread_mutex_unlock(&lock);
    return 1 + odd;
#else
    return slot < 0;
#endif
}

NOINLINE long count(void) {
#ifdef COUNTS
#ifdef HELD
    return shown(hits);
#else
    return (long)hits;
#endif
#else
    return -1;
#endif
}

// So that who calls it needn't be replaced with it.
static long (*volatile stepping)(int) = step;

static void *run(void *argument) {
    int slot = (int)(long)argument;
    // At least once, however soon it is to end.
    do
        own.known[slot] += stepping(slot);
    while (!own.ends);
    return NULL;
}

void command(const char *line) {
    if (!strcmp(line, "start")) {
        own.ends = 0;
        for (long i = 0; i < THREADS; i++)
            if (pthread_create(&own.threads[i], NULL, run, (void *)i))
                abort();
        puts("ok");
    } else if (!strcmp(line, "stop")) {
        own.ends = 1;
        for (int i = 0; i < THREADS; i++)
            pthread_join(own.threads[i], NULL);
        puts("ok");
    } else if (!strcmp(line, "show")) {
        long all = 0;
        for (int i = 0; i < THREADS; i++)
            all += own.known[i];
        printf("%s\n", count() < 0 ? "old" : count() == all ? "all of them" : count() < all ? "anew" : "too many");
    } else if (!strcmp(line, "forget")) {
        memset(own.known, 0, sizeof own.known);
        puts("ok");
    }
}
