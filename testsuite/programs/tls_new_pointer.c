// A new thread-local variable that begins with an address, of something that the patch brings and of something that the process has.
//#Hazard: D9,I2
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared
//#Flags: -pthread
//#Expect: live
//#Unwritten: HP0614
//#Call: show
//#Call: fresh
#include "scenario.h"
#include <pthread.h>

static long shared_count = 7;
static void *other(void *x) { return x; }

#ifdef NEW
static char text[] = "begin";
static __thread char *where = text;
static __thread long *count = &shared_count;
static __thread void *(*how)(void *) = other;
#endif

NOINLINE void show(void) {
#ifdef NEW
    where = where ? where : NULL;
    count = *count > 100 ? NULL : count;
    how = how ? how : NULL;
    printf("%s %ld %d\n", where, *count, count == &shared_count && how == other);
#else
    printf("%ld %d\n", shared_count, other(NULL) == NULL);
#endif
}

static void *once(void *x) {
    show();
    return x;
}

void command(const char *line) {
    pthread_t thread;
    if (!strcmp(line, "show"))
        show();
    if (!strcmp(line, "fresh")) {
        pthread_create(&thread, NULL, once, NULL);
        pthread_join(thread, NULL);
    }
}
