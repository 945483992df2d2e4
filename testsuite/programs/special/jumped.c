// A thread's function jumps to one that only the old build has: nobody on the stack has called it. It waits, and then calls a function that takes
// something else in the new build.
//#Hazard: D13,S1
//#Flags: -pthread
//#Expect: live
//#Call: value
#include "scenario.h"
#include <pthread.h>
#include <unistd.h>

struct work {
    int gate[2];
    int base;
    volatile int left;
};

#ifdef NEW
#define wait_for_work wait_for_work_now
#define STEP(work) step(work, "")
NOINLINE int step(const struct work *work, const char *tag) {
    return work->base + 200 + tag[0];
}
#else
#define STEP(work) step((work)->base)
NOINLINE int step(int base) {
    return base + 150;
}
#endif

static NOINLINE void *wait_for_work(struct work *work) {
    char byte;
    if (read(work->gate[0], &byte, 1) != 1)
        abort();
    work->base = STEP(work);
    work->left = 1;
    return work;
}

static NOINLINE void *waiter(void *given) {
    struct work *work = given;
    work->left = 0;
    return wait_for_work(work);
}

void command(const char *line) {
    static struct work work;
    if (!strcmp(line, "value")) {
        work.base = 1;
        int first = STEP(&work);
        work.base = 0;
        printf("%d %d\n", first * 1001, STEP(&work));
    }
    if (!strcmp(line, "enter")) {
        pthread_t thread;
        if (pipe(work.gate) || pthread_create(&thread, NULL, waiter, &work))
            abort();
        pthread_detach(thread);
        usleep(50000);
    }
    if (!strcmp(line, "leave")) {
        if (write(work.gate[1], "x", 1) != 1)
            abort();
        for (int i = 0; i < 2000 && !work.left; i++)
            usleep(1000);
        puts(work.left && work.base >= 150 ? "left" : "still inside");
    }
}
