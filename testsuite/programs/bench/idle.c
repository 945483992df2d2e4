// Threads that sleep, threads that make threads; ten small functions that change, or the first of them only.
//#Hazard: S4
//#Expect: live
//#Call: value
//#Flags: -pthread
#include "scenario.h"
#include <pthread.h>
#include <unistd.h>

#ifdef NEW
#define FIRST(x, n) ((x ^ n) * (n + 3) + 100)
#else
#define FIRST(x, n) (x * (n + 3) + 1)
#endif
#ifdef TEN
#define OTHERS(x, n) ((x ^ n) * (n + 3) + 100)
#else
#define OTHERS(x, n) (x * (n + 3) + 1)
#endif

// Each with numbers of its own, so that none is folded into another; new ones of another shape, so that none is edited in place.
#define FUNCTION(n, body) \
    NOINLINE int f##n(int x) { return body(x, n); }
FUNCTION(0, FIRST)
FUNCTION(1, OTHERS)
FUNCTION(2, OTHERS)
FUNCTION(3, OTHERS)
FUNCTION(4, OTHERS)
FUNCTION(5, OTHERS)
FUNCTION(6, OTHERS)
FUNCTION(7, OTHERS)
FUNCTION(8, OTHERS)
FUNCTION(9, OTHERS)

static int gate[2];

static void *idle(void *unused) {
    char byte;
    while (read(gate[0], &byte, 1) < 0) {
    }
    return unused;
}

static void *born(void *unused) {
    return unused;
}

static void *creator(void *unused) {
    pthread_t threads[4];
    for (;;) {
        for (int i = 0; i < 4; i++)
            if (pthread_create(threads + i, NULL, born, unused))
                abort();
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    return NULL;
}

static void start(void *(*body)(void *), int n) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    while (n--) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, body, NULL))
            abort();
    }
    usleep(100000);
}

void command(const char *line) {
    int n;
    if (!gate[1] && pipe(gate))
        abort();
    if (!strcmp(line, "value"))
        printf("%d\n", f0(1) + f1(1) + f2(1) + f3(1) + f4(1) + f5(1) + f6(1) + f7(1) + f8(1) + f9(1));
    if (sscanf(line, "idle %d", &n) == 1)
        start(idle, n);
    if (sscanf(line, "churn %d", &n) == 1)
        start(creator, n);
}
