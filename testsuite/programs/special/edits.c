// One function in three builds that differ in a constant only, and threads that call it; another one that waits inside.
//#Hazard: S1,S12
//#Flags: -pthread
//#Edits: 2
//#Expect: live
//#Call: value
#include "asleep.h"
#include "scenario.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#if defined THIRD
#define SIZE 300
#elif defined NEW
#define SIZE 200
#else
#define SIZE 150
#endif
#ifdef TABLE
static const int steps[] = {0, SIZE};
static volatile int which = 1;
#define STEP steps[which]
#else
#define STEP SIZE
#endif

static atomic_int going, wrong, made;
static int gate[2];
static volatile int left = 1;

// The constant stands in it twice: half of an edit would show.
NOINLINE int value(int x) {
    int first = x + STEP;
    OPAQUE(x);
    return (x + STEP) * 1000 + first;
}

NOINLINE int wait_for_work(int x) {
    char byte;
    int first = x + STEP;
    if (x && read(gate[0], &byte, 1) != 1)
        return -1;
    atomic_fetch_add(&wrong, first != x + STEP);
    return first;
}

static void *caller(void *unused) {
    (void)unused;
    while (atomic_load(&going)) {
        for (int i = 0; i < 200; i++) {
            int got = value(1);
            atomic_fetch_add(&wrong, got % 1000 != got / 1000);
        }
        atomic_store(&made, 1);
        usleep(200);
    }
    return NULL;
}

static void *waiter(void *unused) {
    (void)unused;
    wait_for_work(1);
    left = 1;
    return NULL;
}

void command(const char *line) {
    static pthread_t threads[64];
    int n;
    if (!strcmp(line, "value"))
        printf("%d %d\n", value(1), wait_for_work(0));
    if (sscanf(line, "start %d", &n) == 1) {
        atomic_store(&going, 1);
        for (int i = 0; i < n && i < 64; i++)
            if (pthread_create(&threads[i], NULL, caller, NULL))
                abort();
    }
    if (sscanf(line, "stop %d", &n) == 1) {
        atomic_store(&going, 0);
        for (int i = 0; i < n && i < 64; i++)
            pthread_join(threads[i], NULL);
        printf("wrong %d, calls %s\n", atomic_load(&wrong), atomic_load(&made) ? "made" : "missing");
    }
    if (!strcmp(line, "enter")) {
        pthread_t thread;
        left = 0;
        if (pipe(gate) || pthread_create(&thread, NULL, waiter, NULL))
            abort();
        pthread_detach(thread);
        until_others_sleep();
    }
    if (!strcmp(line, "leave")) {
        if (write(gate[1], "x", 1) != 1)
            abort();
        for (int i = 0; i < 2000 && !left; i++)
            usleep(1000);
        puts(!left ? "still inside" : atomic_load(&wrong) ? "left with both" : "left");
    }
}
